"""Filing events: what they are found by is written for a lot of them at once, in the order of each index.

An append that went into every index would cost more the more events there are. So it only puts the event at the end of
the table, and the one that fills a lot files all of it, in the same transaction. Searches look at the events that are
not filed yet one by one (finding.py); there are never as many as `LOT`.
"""

import json
from datetime import UTC, datetime

from django.db import connection

from purchasing.audit import search_terms
from purchasing.models import (
    AuditDigits,
    AuditEntry,
    AuditEvent,
    AuditHead,
    AuditSegment,
    AuditStretch,
    AuditWord,
)
from purchasing.models.search import SEGMENT

LOT = 256  # events
QUARTER = 15 * 60  # seconds
CHUNK = 500  # rows in one statement
NAMES = ("name", "member", "stand_in", "approver", "papers", "before", "after")

_EVENTS, _ENTRIES, _HEAD = (model._meta.db_table for model in (AuditEvent, AuditEntry, AuditHead))
# Of an event, that it is filed by.
COLUMNS = ("seq", "at", "action", "actor_name", "team_id", "phone_number", "words")
TABLES = {
    AuditSegment._meta.db_table: ("number",),
    AuditEntry._meta.db_table: ("segment", *COLUMNS[:-1]),
    AuditDigits._meta.db_table: ("segment", "digits", "phone_number"),
    AuditWord._meta.db_table: ("segment", "word", "seq"),
}
_SEGMENTS, _, _DIGITS, _WORDS = TABLES


def words_of(event):
    """What an event is found by: the words of its reason, and of the names of people and things in it."""
    names = [value for name in NAMES if isinstance(value := event.data.get(name), str)]
    people = [event.actor_name, event.on_behalf_of] if event.actor_role != "system" else []
    if not (event.note or names or people):
        return []
    return search_terms.words(event.note, *people, *names)


def joined(words):
    """Words as `AuditEvent.words` holds them: ' berlin desk '."""
    return f" {' '.join(words)} " if words else ""


def insert(table, *columns, rows=1):
    """The statement that inserts so many rows."""
    marks = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * rows)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {marks}"


class Lot:
    """Rows of the search tables for events that are added in order: `rows`, by table.

    `known` are the numbers that have rows already in the segment of the first event.
    """

    def __init__(self, segment=-1, known=()):
        self._segment, self._known = segment, set(known)
        self.rows = {table: [] for table in TABLES}

    def add(self, event):
        """Take in the next event, the values of `COLUMNS`."""
        *entry, words = event
        seq, number = entry[0], entry[-1]
        segment = seq // SEGMENT
        if segment != self._segment:
            self._segment, self._known = segment, set()
            self.rows[_SEGMENTS].append((segment,))
        self.rows[_ENTRIES].append((segment, *entry))
        if number and number not in self._known:
            self._known.add(number)
            parts = dict.fromkeys(search_terms.digits(number))
            self.rows[_DIGITS] += [(segment, part, number) for part in parts]
        self.rows[_WORDS] += [(segment, word, seq) for word in words.split()]


def file(cursor, after, until):
    """Make the events behind number `after`, up to `until`, findable. The caller holds the head and moves `filed`."""
    cursor.execute(
        f"SELECT {', '.join(COLUMNS)} FROM {_EVENTS} WHERE seq > %s AND seq <= %s ORDER BY seq",
        [after, until],
    )
    events = cursor.fetchall()
    segment = after // SEGMENT if after else -1
    lot = Lot(segment, _known(cursor, segment, {event[-2] for event in events} if after else set()))
    for event in events:
        lot.add(event)
    for table, rows in lot.rows.items():
        _write(cursor, table, sorted(rows) if table in (_DIGITS, _WORDS) else rows)


def _known(cursor, segment, numbers):
    """Those of the numbers that events of this segment are about which are filed already."""
    numbers -= {""}
    if not numbers:
        return []
    marks = ", ".join(["%s"] * len(numbers))
    cursor.execute(
        f"SELECT DISTINCT phone_number FROM {_ENTRIES} WHERE segment = %s AND phone_number IN ({marks})",
        [segment, *numbers],
    )
    return [number for (number,) in cursor.fetchall()]


def _write(cursor, table, rows):
    if not rows:
        return
    columns = TABLES[table]
    if connection.vendor == "postgresql":
        with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    for place in range(0, len(rows), CHUNK):
        chunk = rows[place : place + CHUNK]
        cursor.execute(insert(table, *columns, rows=len(chunk)), [value for row in chunk for value in row])


class Stretches:
    """Rows of `AuditStretch` for events that are added in order, and what the head says of times."""

    def __init__(self, quarter=0, reached=0):
        self.quarter, self.reached = quarter, reached
        self.rows = []

    def add(self, seq, at):
        """Take in the next event."""
        quarter = int(at.timestamp()) // QUARTER
        if quarter != self.quarter:
            self.quarter, self.reached = quarter, max(quarter, self.reached)
            self.rows.append((seq, quarter, self.reached))


STRETCHES = (AuditStretch._meta.db_table, "first_seq", "quarter", "reached")


# --- All over again -------------------------------------------------------------------------------------------------


class _Event:
    """As much of an event as its words and its time need."""

    def __init__(self, seq, at, actor_name, actor_role, on_behalf_of, note, data):
        self.seq, self.note, self.data = seq, note, json.loads(data)
        self.actor_name, self.actor_role, self.on_behalf_of = actor_name, actor_role, on_behalf_of
        at = datetime.fromisoformat(at) if isinstance(at, str) else at
        self.at = at if at.tzinfo else at.replace(tzinfo=UTC)


def file_all(apps, schema_editor):
    """For `RunPython`, with the triggers off: make the search tables and the words anew from the events."""
    connection = schema_editor.connection
    data = "data::text" if connection.vendor == "postgresql" else "data || ''"
    names = f"seq, at, actor_name, actor_role, on_behalf_of, note, {data}"
    stretches, seq = Stretches(), 0
    with connection.cursor() as cursor:
        for table in (*TABLES, STRETCHES[0]):
            cursor.execute(f"DELETE FROM {table}")
        while True:
            cursor.execute(
                f"SELECT {names} FROM {_EVENTS} WHERE seq > %s ORDER BY seq LIMIT %s", [seq, SEGMENT]
            )
            events = [_Event(*row) for row in cursor.fetchall()]
            if not events:
                break
            for event in events:
                stretches.add(event.seq, event.at)
            words = [(joined(words_of(event)), event.seq) for event in events]
            cursor.executemany(f"UPDATE {_EVENTS} SET words = %s WHERE seq = %s", words)
            file(cursor, seq, events[-1].seq)
            seq = events[-1].seq
        for row in stretches.rows:
            cursor.execute(insert(*STRETCHES), row)
        cursor.execute(
            f"UPDATE {_HEAD} SET quarter = %s, reached = %s, filed = %s",
            [stretches.quarter, stretches.reached, seq],
        )
