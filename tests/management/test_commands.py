"""The commands of operators: what they create, what they refuse with a sentence, and that no secret is shown."""

import os
import subprocess
import sys
from datetime import timedelta

import pytest
import requests
from cryptography.fernet import Fernet
from django.conf import settings
from django.core import checks
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError

from purchasing import audit, clock
from purchasing.audit import restores
from purchasing.management.commands import work
from purchasing.models import ApiKey, AuditEvent, Desk, Membership, Purchase, PurchaseRequest, Team, User
from purchasing.states import State
from purchasing.teams import keys, restore_alarm, teams
from purchasing.worker import processes
from sandbox import keys as sandbox_keys
from sandbox import server
from tests import factories
from tests.buying.test_procurement import buy
from tests.healthy_provider import ONE, owned

pytestmark = pytest.mark.django_db
KEY = "idc_" + "Ab1" * 10 + "9z"
NUMBER = "+12125550101"


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text("correct horse battery staple\n")
    return path


def run(capsys, *arguments, **options):
    call_command(*map(str, arguments), **options)
    return capsys.readouterr()


class TestCreateTeam:
    def test_makes_a_team_with_its_key_and_shows_four_characters(self, key_file, capsys):
        output = run(capsys, "create_team", "Support", "--api-key-file", key_file)
        team, key = Team.objects.get(), ApiKey.objects.get()
        assert (team.name, team.slug, key.team, key.secret) == ("Support", "support", team, KEY)
        assert "…b19z" in output.out
        assert KEY not in output.out + output.err
        events = AuditEvent.objects.order_by("seq")
        assert [(event.action, event.actor_name) for event in events] == [
            ("team.created", "command line"),
            ("key.stored", "command line"),
        ]
        assert KEY not in str(list(events.values()))

    @pytest.mark.parametrize(
        "text", ["", " \n", "idc_short", "sk_" + "a" * 33, KEY + "x", KEY + "\n" + KEY, "\0"]
    )
    def test_what_is_no_key_is_refused_and_nothing_is_left(self, tmp_path, capsys, text):
        path = tmp_path / "key"
        path.write_text(text)
        with pytest.raises(CommandError) as refused:
            run(capsys, "create_team", "Support", "--api-key-file", path)
        assert KEY not in str(refused.value)
        assert not Team.objects.exists()
        assert not AuditEvent.objects.exists()

    @pytest.mark.parametrize("problem", ["missing", "a folder", "not text"])
    def test_a_file_that_cannot_be_read_is_named(self, tmp_path, capsys, problem):
        path = tmp_path / "key"
        if problem == "a folder":
            path.mkdir()
        if problem == "not text":
            path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(CommandError, match="Cannot read"):
            run(capsys, "create_team", "Support", "--api-key-file", path)

    def test_a_second_team_of_the_name_is_refused(self, key_file, capsys):
        run(capsys, "create_team", "Support", "--api-key-file", key_file)
        with pytest.raises(CommandError, match="already"):
            run(capsys, "create_team", "support", "--api-key-file", key_file)

    @pytest.mark.parametrize("name", ["", "  ", "x" * 101])
    def test_a_name_has_1_to_100_characters(self, key_file, capsys, name):
        with pytest.raises(CommandError, match="1 to 100"):
            run(capsys, "create_team", name, "--api-key-file", key_file)

    def test_names_of_other_scripts_and_alike_get_addresses_of_their_own(self, key_file, capsys):
        for name in ("Support!", "Support?", "東京", "Поддержка"):
            run(capsys, "create_team", name, "--api-key-file", key_file)
        assert list(Team.objects.order_by("pk").values_list("slug", flat=True)) == [
            "support",
            "support-2",
            "team",
            "team-2",
        ]


class TestSetKey:
    def test_replaces_the_key_and_what_waited_is_due(self, approved, team, key_file, capsys):
        Purchase.objects.update(due_at=clock.now() + timedelta(minutes=5))
        run(capsys, "set_key", "Support", "--api-key-file", key_file)
        old, new = ApiKey.objects.order_by("pk")
        assert (old.retired_at is None, new.retired_at, new.secret) == (False, None, KEY)
        assert Purchase.objects.get().due_at <= clock.now()
        assert AuditEvent.objects.order_by("-seq").first().action == "key.replaced"

    def test_the_team_goes_by_its_slug_as_well(self, team, key_file, capsys):
        run(capsys, "set_key", "support", "--api-key-file", key_file)
        assert ApiKey.objects.filter(retired_at=None).get().secret == KEY

    def test_an_unknown_team_is_answered_with_those_there_are(self, team, key_file, capsys):
        with pytest.raises(CommandError, match="Teams: Support"):
            run(capsys, "set_key", "Sales", "--api-key-file", key_file)


class TestCreateMember:
    def make(self, capsys, password_file, *arguments):
        return run(capsys, "create_member", *arguments, "--password-file", password_file)

    @pytest.mark.parametrize("role", ["requester", "approver", "admin"])
    def test_gives_a_role_in_a_team(self, team, capsys, password_file, role):
        self.make(capsys, password_file, "eve", "--team", "Support", "--role", role)
        assert Membership.objects.get().role == role
        assert User.objects.get().check_password("correct horse battery staple")
        assert AuditEvent.objects.order_by("-seq").first().data == {"member": "eve", "role": role}

    def test_an_auditor_belongs_to_no_team(self, team, capsys, password_file):
        self.make(capsys, password_file, "ida", "--role", "auditor")
        assert User.objects.get().is_auditor
        with pytest.raises(CommandError):
            self.make(capsys, password_file, "ida", "--role", "auditor", "--team", "Support")

    def test_who_exists_gets_the_password_and_keeps_other_roles(self, team, ana, capsys, password_file):
        self.make(capsys, password_file, "ana", "--team", "Support", "--role", "admin")
        assert User.objects.get().check_password("correct horse battery staple")
        assert set(Membership.objects.values_list("role", flat=True)) == {"approver", "admin"}

    def test_twice_is_one_membership(self, team, capsys, password_file):
        for _ in range(2):
            self.make(capsys, password_file, "eve", "--team", "Support", "--role", "approver")
        assert Membership.objects.count() == 1

    def test_a_team_is_needed_for_a_role(self, team, capsys, password_file):
        with pytest.raises(CommandError, match="team"):
            self.make(capsys, password_file, "eve", "--role", "approver")
        assert not User.objects.exists()

    @pytest.mark.parametrize("username", ["", "two words", "x" * 151, "new\nline", KEY])
    def test_what_is_no_username_is_refused(self, team, capsys, password_file, username):
        with pytest.raises(CommandError) as refused:
            self.make(capsys, password_file, username, "--team", "Support", "--role", "approver")
        assert not User.objects.exists()
        assert KEY not in str(refused.value)

    def test_an_unknown_role_is_refused(self, team, capsys, password_file):
        with pytest.raises(CommandError):
            self.make(capsys, password_file, "eve", "--team", "Support", "--role", "boss")

    def test_a_weak_password_is_taken_with_a_warning_and_never_shown(self, team, capsys, tmp_path):
        path = tmp_path / "weak"
        path.write_text("12345")
        output = self.make(capsys, path, "eve", "--team", "Support", "--role", "approver")
        assert "Warning" in output.err
        assert "12345" not in output.out + output.err

    def test_an_empty_password_is_refused(self, team, capsys, tmp_path):
        path = tmp_path / "empty"
        path.write_text("\n")
        with pytest.raises(CommandError, match="empty"):
            self.make(capsys, path, "eve", "--team", "Support", "--role", "approver")


class TestReconcile:
    def test_reads_evidence_now_and_never_buys(self, approved, provider, capsys):
        provider.answer_purchase(requests.ReadTimeout())
        buy(approved)
        provider.owned_numbers = [owned(NUMBER, 77)]
        Purchase.objects.update(due_at=clock.now())
        output = run(capsys, "reconcile")
        assert "1 purchased" in output.out
        assert len(provider.purchases) == 1

    def test_applies_what_is_missing_after_a_purchase(self, approved, provider, capsys):
        provider.sells(NUMBER)
        buy(approved)
        provider.http.add("GET", ONE, json={"data": owned(NUMBER, 501, recording=True, name="Desk")})
        run(capsys, "reconcile")
        assert Purchase.objects.get().applied_at is not None

    def test_an_approved_purchase_is_left_to_the_worker(self, approved, provider, capsys):
        run(capsys, "reconcile")
        assert (factories.state_of(approved), provider.calls) == (State.APPROVED, [])

    def test_with_nothing_to_do_it_says_so(self, db, capsys):
        assert "none" in run(capsys, "reconcile").out


class TestSeedDemo:
    @pytest.fixture(autouse=True)
    def sandbox(self, settings, tmp_path):
        with server.running(tmp_path / "sandbox", rate_limit=0) as provider:
            settings.SANDBOX, settings.IDENTITYCALL_API_URL = True, provider.api_url
            yield

    @pytest.fixture
    def renamed(self, db, capsys):
        """The demo people and teams; one of the teams was renamed since."""
        run(capsys, "seed_demo", "--people-only")
        root = audit.Actor.person(User.objects.get(username="root"))
        teams.rename_team(Team.objects.get(name="Support"), "Help desk", actor=root)

    def test_goes_on_with_a_renamed_team(self, renamed, capsys):
        run(capsys, "seed_demo")
        teams = PurchaseRequest.objects.order_by("pk").values_list("team__name", flat=True)
        assert list(teams) == ["Help desk", "Help desk", "Help desk", "Sales"]

    def test_sees_to_the_key_of_a_renamed_team(self, renamed, settings, capsys):
        settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        run(capsys, "seed_demo", "--people-only")
        current = ApiKey.objects.filter(retired_at=None).order_by("team__name")
        assert [(key.team.name, key.secret) for key in current] == [
            ("Help desk", sandbox_keys.SUPPORT_KEY),
            ("Sales", sandbox_keys.SALES_KEY),
        ]


class TestWork:
    @pytest.mark.parametrize("count", ["0", "1", "-3"])
    def test_needs_at_least_two_processes(self, db, capsys, count):
        with pytest.raises(CommandError, match="at least 2"):
            run(capsys, "work", "--processes", count)

    def test_checks_the_system_once_and_not_in_each_of_its_processes(self, db, monkeypatch):
        def start(**options):
            asked = {
                "processes": 2,
                "parent": 1,
                "skip_checks": False,
                "force_color": False,
                "no_color": True,
            }
            work.Command().execute(**asked, **options)

        ran = []
        monkeypatch.setattr(processes, "supervise", lambda count, parent: ran.append(count))
        monkeypatch.setattr(processes, "run_one", lambda queue, parent: ran.append(queue))
        checks.register(broken := lambda **options: [checks.Error("It cannot work like this.")])
        try:
            start(one="purchases")
            with pytest.raises(SystemCheckError, match="cannot work like this"):
                start(one=None)
        finally:
            checks.registry.registry.registered_checks.discard(broken)
        start(one=None)
        assert ran == ["purchases", 2]


class TestStopAndGoOn:
    def test_stop_all_buying_and_let_it_go_on(self, db, capsys):
        assert "All buying is stopped." in run(capsys, "stop", reason="Year end").out
        desk = Desk.objects.get()
        assert (desk.stopped_at is None, desk.stopped_by, desk.stop_reason) == (False, None, "Year end")
        with pytest.raises(CommandError, match="already stopped"):
            run(capsys, "stop", reason="Again")
        assert "Buying is active." in run(capsys, "go_on", reason="Done").out
        with pytest.raises(CommandError, match="not stopped"):
            run(capsys, "go_on", reason="Again")
        events = AuditEvent.objects.order_by("seq").values_list("action", "actor_name", "note")
        assert list(events) == [
            ("desk.stopped", "command line", "Year end"),
            ("desk.goes_on", "command line", "Done"),
        ]

    def test_an_alarm_ends_first_and_a_stop_is_said_to_stand(self, approved, capsys):
        restore_alarm.sound(restores.Alarm("It is a copy.", epoch=0))
        run(capsys, "stop", reason="Year end")
        output = run(capsys, "go_on", reason="Checked").out
        assert "Approved numbers that need a new decision: 1." in output
        assert "All buying is still stopped: Year end" in output
        assert factories.state_of(approved) == State.HELD
        assert "Buying is active." in run(capsys, "go_on", reason="Done").out

    @pytest.mark.parametrize("command", ["stop", "go_on"])
    def test_without_a_reason_are_refused(self, db, capsys, command):
        with pytest.raises(CommandError, match="Say why"):
            run(capsys, command, reason=" ")

    @pytest.mark.parametrize("stopped", [True, False])
    def test_work_stops_at_every_start_where_the_settings_say_so(self, db, monkeypatch, settings, stopped):
        settings.START_STOPPED = stopped
        monkeypatch.setattr(processes, "supervise", lambda count, parent: None)
        for _ in range(2):
            call_command("work")
            desk = Desk.objects.get()
            assert (desk.stopped_at is not None) == stopped
            assert desk.stop_reason == ("START_STOPPED is on." if stopped else "")
        monkeypatch.setattr(processes, "run_one", lambda queue, parent: None)
        Desk.objects.update(stopped_at=None)
        call_command("work", one="purchases")  # a process of it that starts again stops nothing
        assert Desk.objects.get().stopped_at is None


@pytest.mark.parametrize(
    "command",
    [
        ["stop"],
        ["go_on"],
        ["create_team"],
        ["create_team", "Support"],
        ["create_member", "eve"],
        ["set_key", "Support"],
        ["work", "--one", "other"],
    ],
    ids=" ".join,
)
def test_what_is_missing_on_the_command_line_is_said_without_a_traceback(command):
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=settings.BASE_DIR,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "usage:" in done.stderr


def test_a_key_that_is_stored_again_is_a_new_row_and_the_old_one_stays_for_reads(team):
    keys.set_key(team, KEY, actor=factories.SYSTEM)
    keys.set_key(team, KEY, actor=factories.SYSTEM)
    assert [key.retired_at is None for key in ApiKey.objects.order_by("pk")] == [False, False, True]
