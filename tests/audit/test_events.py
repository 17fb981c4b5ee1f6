"""The chain of audit events: what is kept, what is never kept, and that every tampering is reported."""

import os
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from purchasing import audit, clock, guard
from purchasing.models import AuditEvent, AuditHead
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.database]
TABLE = AuditEvent._meta.db_table
KEY = "idc_" + "Ab1" * 10 + "Zz"
EVENTS = 6


@pytest.fixture
def chain(db):
    """Six events."""
    return [
        audit.record("test.done", actor=factories.SYSTEM, note=f"step {n}", step=n) for n in range(EVENTS)
    ]


def tamper(*statements):
    """Run SQL with the triggers dropped, then restore them."""
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (*guard.OFF[connection.vendor], *statements, *guard.ON[connection.vendor]):
            cursor.execute(statement)


def verdict():
    found = audit.verify()
    return found.bad_seq, found.problem


class TestChain:
    def test_an_empty_chain_is_whole(self, db):
        assert audit.verify() == audit.Verdict(0)

    def test_each_event_carries_the_hash_of_the_one_before(self, chain):
        rows = list(AuditEvent.objects.order_by("seq"))
        assert [row.seq for row in rows] == list(range(1, EVENTS + 1))
        assert [row.previous_hash for row in rows] == [audit.FIRST_HASH, *(row.hash for row in rows[:-1])]
        head = AuditHead.objects.get()
        assert (head.seq, head.hash) == (EVENTS, rows[-1].hash)
        assert audit.verify() == audit.Verdict(EVENTS)

    def test_what_is_read_back_has_the_hash_of_what_was_written(self, pending, approved):
        odd = "Zoë ☎ «№1»\u2028line\ttab\n\u00a0 \U0001f4de {'a': 1} \\u0041 '; DROP TABLE x; --"
        audit.record(
            "test.done",
            actor=factories.SYSTEM,
            purchase=approved,
            note=odd,
            nested={"list": [1, None, True, {"deep": odd}], "cost": Decimal("1.50"), "when": clock.now()},
            large=2**62,
        )
        assert audit.verify().whole

    def test_a_rolled_back_event_leaves_no_gap(self, chain):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            audit.record("test.done", actor=factories.SYSTEM)
            raise ZeroDivisionError
        audit.record("test.done", actor=factories.SYSTEM)
        assert audit.verify() == audit.Verdict(EVENTS + 1)

    def test_a_clock_that_goes_back_breaks_nothing(self, chain, monkeypatch):
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() - timedelta(hours=2))
        audit.record("test.done", actor=factories.SYSTEM)
        assert audit.verify() == audit.Verdict(EVENTS + 1)


# A change of the table by SQL, and the event that `verify` must name.
TAMPERINGS = {
    "a note changed": (3, [f"UPDATE {TABLE} SET note = 'step X' WHERE seq = 3"]),
    "the data changed": (3, [f"UPDATE {TABLE} SET data = '{{}}' WHERE seq = 3"]),
    "the time changed": (2, [f"UPDATE {TABLE} SET at = '2020-01-01 00:00:00+00:00' WHERE seq = 2"]),
    "the first removed": (1, [f"DELETE FROM {TABLE} WHERE seq = 1"]),
    "one removed": (3, [f"DELETE FROM {TABLE} WHERE seq = 3"]),
    "the last removed": (6, [f"DELETE FROM {TABLE} WHERE seq = 6"]),
    "one removed, the rest moved up": (
        3,
        [
            f"DELETE FROM {TABLE} WHERE seq = 3",
            *(f"UPDATE {TABLE} SET seq = {n - 1} WHERE seq = {n}" for n in (4, 5, 6)),
            "UPDATE purchasing_audithead SET seq = 5",
        ],
    ),
    "all removed": (1, [f"DELETE FROM {TABLE}"]),
    "two swapped": (
        2,
        [
            f"UPDATE {TABLE} SET seq = 99 WHERE seq = 2",
            f"UPDATE {TABLE} SET seq = 2 WHERE seq = 4",
            f"UPDATE {TABLE} SET seq = 4 WHERE seq = 99",
        ],
    ),
    "one added behind the head": (
        7,
        [
            f"CREATE TEMPORARY TABLE copied AS SELECT * FROM {TABLE} WHERE seq = 6",
            "UPDATE copied SET seq = 7",
            f"INSERT INTO {TABLE} SELECT * FROM copied",
            "DROP TABLE copied",
        ],
    ),
    "the head's hash changed": (6, [f"UPDATE purchasing_audithead SET hash = '{'f' * 64}'"]),
    "the head set back": (6, ["UPDATE purchasing_audithead SET seq = 5"]),
    "the head set forward": (7, ["UPDATE purchasing_audithead SET seq = 7"]),
    "a hash changed": (4, [f"UPDATE {TABLE} SET hash = '{'f' * 64}' WHERE seq = 4"]),
    "the link changed": (4, [f"UPDATE {TABLE} SET previous_hash = '{'f' * 64}' WHERE seq = 4"]),
}


class TestTampering:
    @pytest.mark.parametrize(("named", "statements"), TAMPERINGS.values(), ids=TAMPERINGS.keys())
    def test_is_named(self, chain, named, statements):
        tamper(*statements)
        bad_seq, problem = verdict()
        if named == 6 and "seq = 5" in statements[0]:  # the head before the last event: either can be named
            assert bad_seq in (5, 6)
        else:
            assert bad_seq == named
        assert problem

    def test_every_column_counts(self, chain, team, approved):
        """A change of any column of any event is found."""
        event = AuditEvent.objects.filter(purchase=approved).order_by("-seq").first()
        for field in AuditEvent._meta.concrete_fields:
            if field.name in ("seq", "hash", "previous_hash", "words"):  # words are derived from the others
                continue
            value = (
                "NULL"
                if field.null
                else {"at": "'2020-01-01 00:00:00+00:00'", "data": "'[]'"}.get(field.name, "'x'")
            )
            if field.null and getattr(event, field.attname) is None:
                continue  # set for another kind of event, which is checked below
            with transaction.atomic():
                tamper(f"UPDATE {TABLE} SET {field.column} = {value} WHERE seq = {event.seq}")
                assert verdict() == (event.seq, "its content was changed"), field.name
                transaction.set_rollback(True)
            assert audit.verify().whole

    def test_the_command_exits_with_1_and_names_the_row(self, chain, capsys):
        call_command("verify_audit")
        assert "whole: 6 events" in capsys.readouterr().out
        tamper(f"UPDATE {TABLE} SET note = 'step X' WHERE seq = 4")
        with pytest.raises(SystemExit) as ended:
            call_command("verify_audit")
        assert ended.value.code == 1
        assert "event 4" in capsys.readouterr().err


@pytest.mark.django_db(transaction=True)
def test_the_command_as_a_process(team):
    """The commands of an auditor: exit codes and streams as a shell sees them."""
    environment = os.environ | {"DATABASE_URL": database_url()}

    def run():
        return subprocess.run(
            [sys.executable, "manage.py", "verify_audit"],
            cwd=settings.BASE_DIR,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    sound = run()
    assert (sound.returncode, sound.stdout) == (0, "The audit chain is whole: 2 events.\n")
    tamper(f"UPDATE {TABLE} SET actor_name = 'mallory' WHERE seq = 2")
    broken = run()
    assert (broken.returncode, broken.stdout) == (1, "")
    assert "event 2" in broken.stderr


def database_url():
    """The URL of the test database, for a separate process."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    options = "&".join(f"{name}={value}" for name, value in database["OPTIONS"].items() if name == "host")
    host = database["HOST"] or options.removeprefix("host=")
    return f"postgresql://{database['USER']}:@/{database['NAME']}?host={host}"


HIDDEN = {
    "plain": KEY,
    "in a command": f"curl -H 'Authorization: Bearer {KEY}' https://api",
    "a null byte inside": KEY[:14] + "\0" + KEY[14:],
    "a control character inside": KEY[:14] + "\x07" + KEY[14:],
    "an invisible character inside": KEY[:14] + "\u200b" + KEY[14:],
    "a private character inside": KEY[:14] + "\ue000" + KEY[14:],
    "a direction mark inside": KEY[:14] + "\u202a" + KEY[14:],
    "a carriage return inside": KEY[:14] + "\r" + KEY[14:],
    "a null byte in the prefix": "id\0c_" + KEY[4:],
    "in capitals": KEY.upper(),
    "escaped": KEY.replace("_", "%5F"),
}


class TestSecrets:
    @pytest.mark.parametrize("text", HIDDEN.values(), ids=HIDDEN.keys())
    def test_nothing_of_the_form_of_a_key_is_kept(self, text):
        audit.record(
            "test.done",
            actor=audit.Actor(name=text, on_behalf_of=text),
            note=text,
            data={"nested": [{"list": [text, {text: text}]}], text: 1},
        )
        kept = str(AuditEvent.objects.values())
        assert KEY[4:] not in kept
        assert KEY[4:].upper() not in kept
        assert "[removed]" in kept
        assert audit.verify().whole

    @pytest.mark.parametrize("text", ["a\0b", "lone \ud800 surrogate", "bell\x07", "\r\n"])
    def test_what_no_database_keeps_is_left_out(self, text):
        event = audit.record("test.done", actor=factories.SYSTEM, note=text, text=text)
        event.refresh_from_db()
        assert not {"\0", "\r", "\x07", "\ud800"} & set(event.note + event.data["text"])
        assert audit.verify().whole

    @pytest.mark.parametrize("text", ["idc_short", "Zoë", "a_b", "https://x/idc_", "😀", "line\nline\ttab"])
    def test_other_text_is_kept_as_it_was(self, text):
        assert audit.clean(text) == text
