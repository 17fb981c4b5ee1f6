"""Later changes of the record are found: ten kinds of tampering, each named, by every way of checking."""

import io
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from purchasing import audit, clock, guard, tasks
from purchasing.audit import export, proof, seals, verification
from purchasing.audit.search import Filter, Reader
from purchasing.management.commands.verify_audit import Bar
from purchasing.models import AuditCheck, AuditEvent, AuditHead, AuditSeal, User
from purchasing.worker import processes
from tests import factories
from tests.audit.test_events import tamper
from tests.views.access import words

pytestmark = [pytest.mark.django_db, pytest.mark.database]
EVENTS, SEALS = AuditEvent._meta.db_table, AuditSeal._meta.db_table
OTHERS = ", ".join(field.column for field in AuditEvent._meta.concrete_fields if field.column != "seq")


@pytest.fixture
def record(db):
    """Events 1 to 6, seal 1 over 6 (recorded by 7), events 8 and 9, seal 2 over 9 (recorded by 10), event 11."""
    for n in range(1, 12):
        if n in (7, 10):
            assert audit.seal(actor=factories.SYSTEM).seq == n - 1
        else:
            audit.record("test.done", actor=factories.SYSTEM, note=f"step {n}")
    assert audit.verify() == audit.Verdict(11, seals=2)


def rebuild(first):
    """Change the reason of an event, and rewrite its hash, all later hashes and the head."""
    statements, before = [], AuditEvent.objects.get(seq=first - 1).hash
    for event in AuditEvent.objects.filter(seq__gte=first).order_by("seq"):
        event.note = "something else" if event.seq == first else event.note
        event.previous_hash = before
        before = event.hash = audit.fingerprint(event)
        statements.append(
            f"UPDATE {EVENTS} SET note = '{event.note}', previous_hash = '{event.previous_hash}', "
            f"hash = '{event.hash}' WHERE seq = {event.seq}"
        )
    tamper(*statements, f"UPDATE purchasing_audithead SET hash = '{before}'")


def forge(number, **changes):
    """A seal with other content, signed with another key."""
    seal, before = AuditSeal.objects.get(pk=number), AuditSeal.objects.filter(pk=number - 1).first()
    for name, value in changes.items():
        setattr(seal, name, value)
    key = Ed25519PrivateKey.generate()
    signed = key.sign(
        seals.message(number, seal.seq, seal.hash, seal.at, before.signature if before else "")
    ).hex()
    public = key.public_key().public_bytes_raw().hex()
    tamper(
        f"UPDATE {SEALS} SET hash = '{seal.hash}', public_key = '{public}', signature = '{signed}' "
        f"WHERE number = {number}"
    )


def sql(*statements):
    return lambda: tamper(*statements)


def drop_a_trigger():
    with connection.cursor() as cursor:
        cursor.execute(guard.OFF[connection.vendor][0])


def disarm():
    """Replace a trigger with one of the same name that refuses nothing."""
    if connection.vendor == "postgresql":
        return run(
            "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RETURN NULL; END $$"
        )
    drop_a_trigger()
    name = guard.names("sqlite", EVENTS)[0]
    return run(f"CREATE TRIGGER {name} BEFORE UPDATE ON {EVENTS} WHEN 0 BEGIN SELECT 1; END")


def cut_off(last):
    """Remove the events after `last` and their seals, and set the head back so that the chain is consistent."""
    hash_ = AuditEvent.objects.get(seq=last).hash
    tamper(
        f"DELETE FROM {SEALS} WHERE seq > {last}",
        f"DELETE FROM {EVENTS} WHERE seq > {last}",
        f"UPDATE purchasing_audithead SET seq = {last}, hash = '{hash_}'",
    )


# The tampering, the event that must be named (None: no event), and a part of the expected problem.
TEN = {
    "a row changed": (sql(f"UPDATE {EVENTS} SET note = 'step X' WHERE seq = 3"), 3, "was changed"),
    "a row removed": (sql(f"DELETE FROM {EVENTS} WHERE seq = 3"), 3, "is missing"),
    "a row inserted": (
        sql(
            *(f"UPDATE {EVENTS} SET seq = {n + 1} WHERE seq = {n}" for n in range(11, 3, -1)),
            f"INSERT INTO {EVENTS} (seq, {OTHERS}) SELECT 4, {OTHERS} FROM {EVENTS} WHERE seq = 3",
            "UPDATE purchasing_audithead SET seq = 12",
        ),
        4,
        "does not follow",
    ),
    "two rows swapped": (
        sql(
            f"UPDATE {EVENTS} SET seq = 99 WHERE seq = 2",
            f"UPDATE {EVENTS} SET seq = 2 WHERE seq = 5",
            f"UPDATE {EVENTS} SET seq = 5 WHERE seq = 99",
        ),
        2,
        "does not follow",
    ),
    "a time changed": (
        sql(f"UPDATE {EVENTS} SET at = '2020-01-01 00:00:00+00:00' WHERE seq = 2"),
        2,
        "was changed",
    ),
    "the head cut off": (lambda: (settle_mails(), cut_off(10)), 11, "cut off"),
    "the chain rebuilt from a row on": (lambda: rebuild(4), 6, "rewritten somewhere after event 0"),
    "a seal removed": (sql(f"DELETE FROM {SEALS} WHERE number = 1"), 7, "seal 1, which is missing"),
    "a seal forged": (lambda: forge(2, hash="f" * 64), 9, "AUDIT_SEAL_KEYS does not hold"),
    "a trigger dropped": (drop_a_trigger, None, "trigger audit_no_"),
}
MORE = {
    "a row removed behind the last seal": (sql(f"DELETE FROM {EVENTS} WHERE seq = 11"), 11, "is missing"),
    "the chain rebuilt between two seals": (lambda: rebuild(8), 9, "rewritten somewhere after event 6"),
    "the first row rewritten": (lambda: rebuild(2), 6, "rewritten somewhere after event 0"),
    "the last seal removed": (sql(f"DELETE FROM {SEALS} WHERE number = 2"), 10, "seal 2, which is missing"),
    "all seals removed": (sql(f"DELETE FROM {SEALS}"), 7, "seal 1, which is missing"),
    "a seal's signature changed": (
        sql(f"UPDATE {SEALS} SET signature = '{'0' * 128}' WHERE number = 1"),
        6,
        "forged",
    ),
    "a seal's signature is none": (sql(f"UPDATE {SEALS} SET signature = 'x' WHERE number = 1"), 6, "forged"),
    "a seal's time changed": (
        sql(f"UPDATE {SEALS} SET at = '2020-01-01 00:00:00+00:00' WHERE number = 2"),
        9,
        "forged",
    ),
    "a seal's number of an event changed": (sql(f"UPDATE {SEALS} SET seq = 8 WHERE number = 2"), 8, "forged"),
    "a seal renumbered": (sql(f"UPDATE {SEALS} SET number = 3 WHERE number = 2"), 9, "seal 2 is missing"),
    "a seal with a key of one's own, else true": (lambda: forge(1), 6, "AUDIT_SEAL_KEYS does not hold"),
    "cut off together with a seal": (lambda: (settle_mails(), cut_off(8)), 9, "cut off"),
    "a time with something behind it": (
        sql(
            f"UPDATE {EVENTS} SET at = at || '+05:00' WHERE seq = 2"
            if connection.vendor == "sqlite"
            else f"UPDATE {EVENTS} SET at = at + interval '1 microsecond' WHERE seq = 2"
        ),
        2,
        "was changed",
    ),
    "a text that is none": (
        sql(
            f"UPDATE {EVENTS} SET note = CAST(x'ff' AS TEXT) WHERE seq = 3"
            if connection.vendor == "sqlite"
            else f"UPDATE {EVENTS} SET note = U&'\\FFFD' WHERE seq = 3"
        ),
        3,
        "was changed",
    ),
    "a trigger that does nothing": (disarm, None, "trigger audit_no_"),
    "events that no search finds": (
        sql("UPDATE purchasing_audithead SET filed = seq"),
        None,
        "a search does not find all of them: 0 of 11 are filed",
    ),
    "a trigger on the seals dropped": (
        lambda: [run(statement) for statement in guard.OFF[connection.vendor] if "seal" in statement],
        None,
        "trigger audit_seal_no_",
    ),
}


def settle_mails():
    """Another record refers to the last event: the position of the mails."""
    run("UPDATE purchasing_mailcursor SET seq = 11")


def run(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(("done", "named", "problem"), [*TEN.values(), *MORE.values()], ids=[*TEN, *MORE])
def test_tampering_is_found_and_named(record, done, named, problem):
    done()
    found = audit.verify()
    assert (found.bad_seq, problem in found.problem, found.whole) == (named, True, False), found


@pytest.mark.parametrize(("done", "named", "problem"), TEN.values(), ids=TEN)
class TestEveryWayOfChecking:
    def test_the_command_exits_with_1_and_says_it(self, record, capsys, done, named, problem):
        done()
        with pytest.raises(SystemExit) as ended:
            call_command("verify_audit")
        assert ended.value.code == 1
        output = capsys.readouterr().err
        where = "at event" if named is None else f"at event {named}:"
        assert problem in output and (where in output) == (named is not None)
        assert "broken" in AuditEvent.objects.latest("seq").data["result"]

    def test_the_queue_says_it_as_well(self, record, done, named, problem):
        ida = User.objects.create(username="ida", is_auditor=True)
        check = verification.begin(actor=factories.actor(ida))
        done()
        verification.go_on(check.pk)
        check.refresh_from_db()
        if problem == "cut off":  # during the check: the event at its end is gone
            problem = "event 11 is missing"
        assert (check.bad_seq, problem in check.problem) == (named, True)


@pytest.mark.parametrize("data", [{}, {"seal": "x"}, {"seal": None, "signature": 1}])
def test_an_event_that_tells_of_no_seal_in_earnest_is_named(record, data):
    """Correctly hashed, so written by somebody with access to the database."""
    audit.record("audit.sealed", actor=factories.SYSTEM, **data)
    found = audit.verify()
    assert (found.bad_seq, found.problem) == (12, "it records a seal, but not its number")


class TestWhatSomebodyKept:
    """Without any seal a rewritten chain is consistent in itself. An earlier export reveals it."""

    @pytest.fixture
    def kept(self, record, tmp_path):
        path = tmp_path / "events.csv"
        call_command("export_audit", str(path), stdout=io.StringIO())
        return path

    def rewrite(self):
        """Rewrite the chain from event 2 on, and remove every seal."""
        rebuild(2)
        tamper(f"DELETE FROM {SEALS}")

    def test_names_events_that_are_as_they_were(self, kept, capsys):
        line = kept.read_text(encoding="utf-8-sig").splitlines()[0]
        assert audit.compare(line) == {9: audit.Kept.UNCHANGED, 11: audit.Kept.UNCHANGED}
        call_command("verify_audit", kept=str(kept))
        assert f"Event 11 is unchanged since {kept} was exported." in capsys.readouterr().out

    def test_tells_of_a_chain_that_was_rewritten(self, kept, capsys):
        self.rewrite()
        with pytest.raises(SystemExit) as ended:
            call_command("verify_audit", kept=str(kept))
        assert ended.value.code == 1
        assert "Event 9 has changed since" in capsys.readouterr().err

    def test_tells_of_an_older_copy_that_was_restored(self, record, tmp_path, capsys, client):
        """The check itself is recorded, and must not take the place of what is missing."""
        path, before = tmp_path / "events.csv", transaction.savepoint()
        audit.record("team.stopped", actor=factories.SYSTEM, note="lost")
        call_command("export_audit", str(path), stdout=io.StringIO())
        seq = AuditEvent.objects.order_by("-seq")[1].seq  # the export is recorded as well
        transaction.savepoint_rollback(before)
        client.force_login(User.objects.create(username="ida", is_auditor=True))
        line = path.read_text(encoding="utf-8-sig").splitlines()[0]
        ends = f"The record ends before event {seq}, which it held"
        assert ends in words(client.post("/audit/proof/compare/", {"kept": line}))
        with pytest.raises(SystemExit) as ended:
            call_command("verify_audit", kept=str(path))
        assert ended.value.code == 1
        assert ends in capsys.readouterr().err

    @pytest.mark.parametrize("text", ["No event here", ""])
    def test_or_is_no_export(self, kept, text):
        kept.write_text(text)
        with pytest.raises(CommandError, match="names no event"):
            call_command("verify_audit", kept=str(kept))
        with pytest.raises(CommandError, match="cannot be read"):
            call_command("verify_audit", kept=f"{kept}.gone")

    def test_is_compared_on_the_page(self, kept, client):
        client.force_login(User.objects.create(username="ida", is_auditor=True))
        line = kept.read_text(encoding="utf-8-sig").splitlines()[0]
        compare = lambda text: words(client.post("/audit/proof/compare/", {"kept": text}))  # noqa: E731
        assert "Event 11 is unchanged since this export" in compare(line)
        assert "This names no event with its hash." in compare("event 9, f00")
        assert "This names no event with its hash." in compare(f"event {'9' * 40}, {'f' * 64}")
        assert "Ensure this value has at most" in compare("x" * 20_001)
        self.rewrite()
        assert "Event 11 has changed since this export" in compare(line)


class TestSeals:
    def test_say_where_the_chain_stands_and_can_be_checked_by_anybody(self, record):
        first, second = AuditSeal.objects.order_by("number")
        assert (first.seq, first.hash) == (6, AuditEvent.objects.get(seq=6).hash)
        assert (second.number, seals.problem_of(second, first), seals.problem_of(first, None)) == (2, "", "")
        recorded = AuditEvent.objects.get(seq=10)
        assert (recorded.action, recorded.data["seal"], recorded.data["signature"]) == (
            "audit.sealed",
            2,
            second.signature,
        )

    def test_are_made_once_a_day(self, db, monkeypatch):
        audit.record("test.done", actor=factories.SYSTEM)
        real = clock.now
        assert audit.seal_if_due().seq == 1
        audit.record("test.done", actor=factories.SYSTEM)
        assert audit.seal_if_due() is None
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(days=1))
        assert audit.seal_if_due().seq == 3
        assert audit.verify() == audit.Verdict(4, seals=2)

    def test_are_made_again_when_a_clock_went_back(self, db, monkeypatch):
        audit.record("test.done", actor=factories.SYSTEM)
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(days=400))
        assert audit.seal_if_due()
        monkeypatch.undo()
        audit.record("test.done", actor=factories.SYSTEM)
        assert audit.seal_if_due()

    def test_are_not_made_of_nothing(self, db, monkeypatch):
        assert audit.seal(actor=factories.SYSTEM) is None
        audit.record("test.done", actor=factories.SYSTEM)
        assert audit.seal(actor=factories.SYSTEM)
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(days=1))
        assert audit.seal_if_due() is None  # nothing has happened since but the seal itself

    def test_of_an_older_key_count_while_the_settings_know_it(self, record, settings):
        settings.AUDIT_SEAL_KEYS = ["a new one", *settings.AUDIT_SEAL_KEYS]
        assert audit.seal(actor=factories.SYSTEM).public_key == seals.trusted_keys()[0]
        assert audit.verify() == audit.Verdict(12, seals=3)
        settings.AUDIT_SEAL_KEYS = ["a new one"]
        found = audit.verify()
        assert (found.bad_seq, "AUDIT_SEAL_KEYS" in found.problem) == (6, True)

    def test_come_from_the_secret_key_where_no_other_is_set(self):
        assert settings.AUDIT_SEAL_KEYS == [settings.SECRET_KEY]

    def test_by_the_command(self, record, capsys):
        call_command("seal_audit")
        output = capsys.readouterr().out
        made = AuditSeal.objects.latest("number")
        assert f"event {made.seq}, {made.hash}" in output and made.signature in output
        call_command("seal_audit")
        assert "Nothing has happened since the last seal." in capsys.readouterr().out

    def test_can_be_changed_by_nobody(self, record):
        seal = AuditSeal.objects.first()
        for change in (seal.save, seal.delete):
            with pytest.raises(TypeError):
                change()

    def test_are_made_by_the_worker(self):
        assert processes.audit.seal_if_due is audit.seal_if_due


class TestTheCommand:
    def test_says_that_all_is_whole_and_records_it(self, record, capsys):
        call_command("verify_audit")
        assert capsys.readouterr().out == (
            "The audit chain is whole: 11 events.\nIts 2 seals are valid; the last one covers event 9.\n"
        )
        event = AuditEvent.objects.latest("seq")
        assert (event.action, event.actor_name) == ("audit.verified", "command line")
        assert event.data == {"result": "whole: 11 events, 2 seals", "events": 11}

    def test_draws_how_far_it_is_on_one_line(self):
        terminal = io.StringIO()
        bar = Bar(terminal)
        bar(500, 1000)
        bar(1000, 1000)
        assert terminal.getvalue().split("\r")[1:] == [
            f"[{'#' * 20}{'.' * 20}]  50% 500 of 1,000 events",
            f"[{'#' * 40}] 100% 1,000 of 1,000 events\n",
        ]

    def test_tells_its_progress(self, record, monkeypatch):
        monkeypatch.setattr(proof, "BATCH", 4)
        progress = []
        assert audit.verify(progress=lambda done, of: progress.append((done, of))).whole
        assert progress == [(4, 11), (8, 11)]


class TestTheQueue:
    @pytest.fixture
    def ida(self, record):
        return factories.auditor()  # event 12

    def test_checks_in_slices_and_shows_how_far_it_is(self, ida, monkeypatch, client):
        monkeypatch.setattr(proof, "BATCH", 5)
        monkeypatch.setattr(verification, "SLICE", -1)  # one batch at a time
        client.force_login(ida)
        page = client.post("/audit/proof/check/", follow=True).content.decode()
        check = AuditCheck.objects.get()
        assert "Checking: 0 of 12 events" in page and 'value="0" max="12"' in page
        seen = []
        for _ in range(3):
            verification.go_on(check.pk)
            check.refresh_from_db()
            seen.append((check.done, check.ended_at is None))
        assert seen == [(5, True), (10, True), (12, False)]
        assert "12 events" in client.get("/audit/proof/live/").content.decode()
        event = AuditEvent.objects.latest("seq")
        assert (event.action, event.actor_name, event.data["result"]) == (
            "audit.verified",
            "ida",
            "whole: 12 events, 2 seals",
        )

    def test_a_slice_that_is_delivered_twice_counts_once(self, ida, monkeypatch):
        monkeypatch.setattr(proof, "BATCH", 5)
        monkeypatch.setattr(verification, "SLICE", -1)
        check = verification.begin(actor=factories.actor(ida))
        real = proof.Walk.step

        def also_elsewhere(walk):
            monkeypatch.setattr(proof.Walk, "step", real)
            verification.go_on(check.pk)  # another worker runs the same task
            return real(walk)

        monkeypatch.setattr(proof.Walk, "step", also_elsewhere)
        verification.go_on(check.pk)
        check.refresh_from_db()
        assert check.done == 5

    def test_one_check_at_a_time(self, ida):
        first = verification.begin(actor=factories.actor(ida))
        assert verification.begin(actor=factories.actor(ida)) == first
        tasks.check_record.call(first.pk)
        assert verification.begin(actor=factories.actor(ida)) != first

    def test_what_is_added_meanwhile_is_left_for_the_next_check(self, ida, monkeypatch):
        check = verification.begin(actor=factories.actor(ida))
        audit.record("test.done", actor=factories.SYSTEM)
        audit.seal(actor=factories.SYSTEM)
        verification.go_on(check.pk)
        check.refresh_from_db()
        assert (check.done, check.problem) == (12, "")

    def test_the_page_asks_again_only_while_something_moves(self, ida, client):
        client.force_login(ida)
        assert "hx-trigger" not in client.get("/audit/proof/").content.decode()
        verification.begin(actor=factories.actor(ida))
        page = client.get("/audit/proof/")
        assert "every 2s" in page.content.decode()
        seen = page.context["seen"]
        assert client.get("/audit/proof/live/", {"seen": seen}).status_code == 204
        verification.go_on(AuditCheck.objects.get().pk)
        assert client.get("/audit/proof/live/", {"seen": seen}).status_code == 200


def test_an_export_holds_what_proves_it(record):
    head = AuditHead.objects.get()
    about = "".join(
        export.begin(
            "jsonl",
            reader=Reader(Filter()),
            filtered="everything",
            actor=factories.SYSTEM,
            sees_all=True,
        )
    ).splitlines()[0]
    seal = AuditSeal.objects.latest("number")
    assert f"event {head.seq}, {head.hash}" in about and seal.signature in about and seal.public_key in about


def test_a_check_that_a_transaction_took_back_is_not_recorded(record):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        audit.seal(actor=factories.SYSTEM)
        raise ZeroDivisionError
    assert audit.verify() == audit.Verdict(11, seals=2)
