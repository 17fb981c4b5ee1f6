"""Log-ins: recorded without secrets, and slowed down against guessing, by account and by address."""

from datetime import timedelta

import pytest
from django.db import connection

from purchasing import clock
from purchasing.models import AuditEvent, FailedLogins
from purchasing.teams import logins
from tests import factories
from tests.test_races import race
from tests.views.access import words

pytestmark = [pytest.mark.django_db]
PASSWORD = factories.PASSWORD
LOGIN = "/accounts/login/"


def log_in(client, username="sam", password="wrong", ip="10.0.0.1", **fields):
    return client.post(LOGIN, {"username": username, "password": password, **fields}, REMOTE_ADDR=ip)


def events(*actions):
    """The recorded log-ins, oldest first: `[(action, actor, data)]`."""
    found = AuditEvent.objects.filter(action__startswith="login.").order_by("seq")
    return [(event.action.removeprefix("login."), event.actor_name, event.data) for event in found]


@pytest.fixture
def later(monkeypatch):
    """Let time pass."""
    real, passed = clock.now, [timedelta()]

    def wait(**time):
        passed[0] += timedelta(**time)

    monkeypatch.setattr(clock, "now", lambda: real() + passed[0])
    return wait


class TestTheRecord:
    def test_of_a_log_in_a_failed_one_and_a_log_out(self, client, sam):
        log_in(client)
        log_in(client, password=PASSWORD)
        client.post("/accounts/logout/")
        assert events() == [
            ("failed", "somebody", {"tried": "sam", "member": "sam", "member_id": sam.pk}),
            ("succeeded", "sam", {}),
            ("ended", "sam", {}),
        ]
        event = AuditEvent.objects.get(action="login.succeeded")
        assert (event.ip, event.actor_id, event.team_id, bool(event.click)) == (
            "10.0.0.1",
            sam.pk,
            None,
            True,
        )

    def test_of_a_new_password(self, client, sam):
        client.force_login(sam)
        new = {"new_password1": "another one of the tests", "new_password2": "another one of the tests"}
        client.post("/accounts/password/", {"old_password": "wrong", **new})
        assert not AuditEvent.objects.filter(action="member.password_changed").exists()
        client.post("/accounts/password/", {"old_password": PASSWORD, **new})
        event = AuditEvent.objects.get(action="member.password_changed")
        assert (event.actor_name, event.data) == ("sam", {"member": "sam", "member_id": sam.pk})

    @pytest.mark.parametrize(
        "typed", [PASSWORD, "Tr0ub4dor&3", "sam@example.com", "+12125550101", "x" * 5000, "\x00"]
    )
    def test_stores_no_unknown_name_since_it_may_be_a_password(self, client, sam, typed):
        log_in(client, username=typed, password="x")
        kept = stored()
        assert typed[:20] not in kept or typed == "\x00"
        assert events()[-1:] in ([], [("failed", "somebody", {"tried": logins.NOBODY})])

    def test_names_the_account_however_its_name_was_written(self, client, sam):
        log_in(client, username=" SAM ")
        assert events()[-1][2]["tried"] == "sam"

    def test_says_when_the_account_is_switched_off(self, client, sam):
        type(sam).objects.update(is_active=False)
        page = log_in(client, password=PASSWORD)
        assert events() == [
            (
                "failed",
                "somebody",
                {"tried": "sam", "member": "sam", "member_id": sam.pk, "account": "switched off"},
            )
        ]
        assert "password is wrong" in words(page)  # as for everybody: nobody learns which accounts there are

    @pytest.mark.parametrize(
        "fields", [{"username": "", "password": "x"}, {"username": "sam", "password": ""}, {}]
    )
    def test_is_not_written_of_a_form_that_is_not_filled_in(self, client, sam, fields):
        assert client.post(LOGIN, fields).status_code == 200
        assert (events(), FailedLogins.objects.count()) == ([], 0)

    def test_is_read_by_auditors_alone(self, client, sam, team):
        log_in(client)
        log_in(client, password=PASSWORD)
        assert "tried to log in" not in words(client.get("/audit/"))
        client.force_login(factories.auditor())
        assert "tried to log in as sam and failed" in words(client.get("/audit/"))


def stored():
    """Everything in the database, as one text."""
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            texts += [str(value) for row in cursor.fetchall() for value in row]
    return "\n".join(texts)


class TestGuessing:
    def test_one_account_from_one_address_has_to_wait(self, client, sam):
        assert [log_in(client).status_code for _ in range(6)] == [200] * 5 + [429]
        page = log_in(client, password=PASSWORD)  # also with the right one
        assert page.status_code == 429
        assert "Too many failed log-ins. Try again at" in words(page)
        assert 'value="sam"' in page.content.decode() and PASSWORD not in page.content.decode()
        assert [action for action, *_ in events()] == ["failed"] * 5 + ["blocked"]

    def test_waiting_gets_longer_and_ends(self, client, sam, later):
        for wait in (60, 120, 240, 480, 900, 900):
            while log_in(client).status_code != 429:
                pass
            later(seconds=wait - 5)
            assert log_in(client).status_code == 429
            later(seconds=6)
        assert log_in(client, password=PASSWORD).status_code == 302

    def test_is_forgotten_after_half_an_hour(self, client, sam, later):
        for _ in range(4):
            log_in(client)
        later(minutes=31)
        assert [log_in(client).status_code for _ in range(4)] == [200] * 4

    def test_is_forgotten_with_a_log_in(self, client, sam):
        for _ in range(3):
            assert [log_in(client).status_code for _ in range(4)] == [200] * 4
            assert log_in(client, password=PASSWORD).status_code == 302

    def test_an_unknown_name_has_to_wait_too(self, client, db):
        assert [log_in(client, "nobody").status_code for _ in range(6)] == [200] * 5 + [429]

    def test_one_account_from_many_addresses_has_to_wait(self, client, sam):
        found = [log_in(client, ip=f"10.0.1.{n}").status_code for n in range(21)]
        assert found == [200] * 20 + [429]
        assert log_in(client, "tom", ip="10.0.1.99").status_code == 200  # others do not

    def test_does_not_keep_people_out_where_they_have_logged_in_before(self, client, sam):
        log_in(client, password=PASSWORD, ip="10.9.9.9")
        for n in range(20):
            log_in(client, ip=f"10.0.1.{n}")
        assert log_in(client, password=PASSWORD, ip="10.0.1.77").status_code == 429
        assert log_in(client, password=PASSWORD, ip="10.9.9.9").status_code == 302

    def test_many_accounts_from_one_address_have_to_wait(self, client, sam):
        found = [log_in(client, f"name{n}").status_code for n in range(61)]
        assert found == [200] * 60 + [429]
        assert log_in(client, password=PASSWORD).status_code == 429
        assert log_in(client, password=PASSWORD, ip="10.0.0.2").status_code == 302

    def test_behind_an_unconfigured_proxy_everybody_has_the_same_address(self, client, sam, settings):
        settings.ADDRESS_IS_OF_PROXY = True
        assert {log_in(client, f"name{n}").status_code for n in range(70)} == {200}

    def test_a_clock_set_back_blocks_nobody_for_long(self, client, sam, later):
        for _ in range(6):
            log_in(client)
        later(days=-2)
        assert log_in(client, password=PASSWORD).status_code == 302

    def test_old_counts_are_removed(self, client, sam, later):
        log_in(client)
        logins.forget_old()
        assert FailedLogins.objects.count() == 3
        later(hours=2)
        logins.forget_old()
        assert FailedLogins.objects.count() == 0


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_many_guesses_at_once_gain_nothing(sam):
    from purchasing import audit

    def guess():
        attempt = logins.Try("sam", audit.Actor.nobody(ip="10.0.0.1"))
        return attempt.begin() is None

    found = [result.value for result in race(*[guess] * 12)]
    assert sorted(found) == [False] * 7 + [True] * 5


class TestAddresses:
    @pytest.mark.parametrize(
        "proxies, forwarded_for, found",
        [
            (0, "1.1.1.1", "10.0.0.1"),
            (1, "1.1.1.1", "1.1.1.1"),
            (1, "6.6.6.6, 1.1.1.1", "1.1.1.1"),
            (2, "6.6.6.6, 1.1.1.1, 2.2.2.2", "1.1.1.1"),
            (2, "1.1.1.1", "10.0.0.1"),
            (1, "", "10.0.0.1"),
            (1, "not an address", "10.0.0.1"),
            (1, "2001:DB8::1", "2001:db8::1"),
        ],
    )
    def test_are_trusted_as_far_as_our_own_proxies_go(
        self, client, sam, settings, proxies, forwarded_for, found
    ):
        settings.TRUSTED_PROXIES = proxies
        client.post(
            LOGIN,
            {"username": "sam", "password": "wrong"},
            REMOTE_ADDR="10.0.0.1",
            headers={"X-Forwarded-For": forwarded_for},
        )
        assert AuditEvent.objects.latest("seq").ip == found


class TestTheClick:
    def test_ties_together_what_one_request_does_and_is_named_in_the_answer(self, client, pending, ana):
        client.force_login(ana)
        purchase = pending.purchases.get()
        answer = client.post(f"/requests/{pending.pk}/approve/", {"version": 1, "purchase": [purchase.pk]})
        event = AuditEvent.objects.get(action="purchase.approved")
        assert event.click == answer["X-Request-ID"]
        assert (event.actor_role, event.on_behalf_of) == ("approver", "")

    def test_ids_lie_in_order(self):
        from purchasing.audit.actors import new_click

        clicks = [new_click() for _ in range(50)]
        assert len(set(clicks)) == 50
        assert [click[:8] for click in clicks] == sorted(click[:8] for click in clicks)
        assert {click[14] for click in clicks} == {"7"}


class TestRoles:
    def test_are_those_of_the_moment_in_the_team_of_the_event(self, team, sam):
        sales = factories.team("Sales", key=None)
        factories.member("sam", sales, "approver")
        factories.member("sam", sales, "admin")
        from purchasing import audit

        actor = audit.Actor.person(sam)
        found = [
            audit.record("test.done", actor=actor, team=where).actor_role for where in (team, sales, None)
        ]
        assert found == ["requester", "approver, admin", ""]

    def test_of_who_spans_all_teams(self, team):
        from purchasing import audit

        for person, role in ((factories.auditor(), "auditor"), (factories.superuser(), "superuser")):
            assert audit.record("test.done", actor=audit.Actor.person(person), team=team).actor_role == role
            assert audit.record("test.done", actor=audit.Actor.person(person)).actor_role == role

    def test_are_looked_up_once_in_a_click(self, team, sam, django_assert_num_queries):
        from purchasing import audit

        actor = audit.Actor.person(sam)
        audit.record("test.done", actor=actor, team=team)
        with django_assert_num_queries(0):
            assert actor.role_in(team.pk) == "requester"


class TestTheAdminSite:
    def test_has_no_log_in_of_its_own(self, client, sam):
        response = client.get("/admin/login/?next=/admin/purchasing/")
        assert response["Location"] == "/accounts/login/?next=/admin/purchasing/"
        assert client.post("/admin/login/", {"username": "sam", "password": "x"}).status_code == 302
        assert events() == []

    def test_changes_passwords_and_logs_out_where_it_is_recorded(self, client):
        client.force_login(factories.superuser())
        assert client.get("/admin/password_change/")["Location"] == "/accounts/password/"
        client.post("/admin/logout/")
        assert [action for action, *_ in events()] == ["ended"]

    def test_has_nothing_that_could_be_changed_there(self, client):
        client.force_login(factories.superuser())
        page = client.get("/admin/").content.decode()
        assert "/add/" not in page and "/change/" not in page and "auth/group" not in page
        assert "auditseal" in page and "auditevent" in page
