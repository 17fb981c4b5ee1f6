"""Filing events: the search tables are written for a lot of events at once, in the order of each index.

If every append updated every index, it would cost more the more events there are. So an append only adds the event to
the end of its table, and the append that fills a lot files all of it in the same transaction. Searches read the events
that are not filed yet one by one (search.py); there are always fewer than `LOT`.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from django.apps.registry import Apps
from django.db import connection
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.utils import CursorWrapper

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
# The columns of an event that it is filed by.
COLUMNS = ("seq", "at", "action", "actor_name", "team_id", "phone_number", "words")
TABLES = {
    AuditSegment._meta.db_table: ("number",),
    AuditEntry._meta.db_table: ("segment", *COLUMNS[:-1]),
    AuditDigits._meta.db_table: ("segment", "digits", "phone_number"),
    AuditWord._meta.db_table: ("segment", "word", "seq"),
}
_SEGMENTS, _, _DIGITS, _WORDS = TABLES


def words_of(event: "AuditEvent | _Event") -> list[str]:
    """The words that find an event: those of its reason and of the names of people and things in it."""
    names = [value for name in NAMES if isinstance(value := event.data.get(name), str)]
    people = [event.actor_name, event.on_behalf_of] if event.actor_role != "system" else []
    if not (event.note or names or people):
        return []
    return search_terms.words(event.note, *people, *names)


def joined(words: Sequence[str]) -> str:
    """Words as `AuditEvent.words` holds them: ' berlin desk '."""
    return f" {' '.join(words)} " if words else ""


def insert(table: str, *columns: str, rows: int = 1) -> str:
    """The SQL statement that inserts `rows` rows."""
    marks = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * rows)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES {marks}"


class Lot:
    """The search table rows of events added in order: `rows`, by table.

    `known` holds the phone numbers that already have rows in the segment of the first event.
    """

    def __init__(self, segment: int = -1, known: Iterable[str] = ()) -> None:
        self._segment, self._known = segment, set(known)
        self.rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLES}

    def add(self, event: Sequence[Any]) -> None:
        """Add the next event, given as the values of `COLUMNS`."""
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


def file(cursor: CursorWrapper, after: int, until: int) -> None:
    """Write the search rows of events `after` + 1 to `until`. The caller has locked the head and moves `filed`."""
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


def _known(cursor: CursorWrapper, segment: int, numbers: set[str]) -> list[str]:
    """Those of the phone numbers that are already filed in this segment."""
    numbers -= {""}
    if not numbers:
        return []
    marks = ", ".join(["%s"] * len(numbers))
    cursor.execute(
        f"SELECT DISTINCT phone_number FROM {_ENTRIES} WHERE segment = %s AND phone_number IN ({marks})",
        [segment, *numbers],
    )
    return [number for (number,) in cursor.fetchall()]


def _write(cursor: CursorWrapper, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
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
    """The `AuditStretch` rows of events added in order, and the `quarter` and `reached` of the head after them."""

    def __init__(self, quarter: int = 0, reached: int = 0) -> None:
        self.quarter, self.reached = quarter, reached
        self.rows: list[tuple[int, int, int]] = []

    def add(self, seq: int, at: datetime) -> None:
        """Add the next event."""
        quarter = int(at.timestamp()) // QUARTER
        if quarter != self.quarter:
            self.quarter, self.reached = quarter, max(quarter, self.reached)
            self.rows.append((seq, quarter, self.reached))


STRETCHES = (AuditStretch._meta.db_table, "first_seq", "quarter", "reached")


# --- Filing from scratch --------------------------------------------------------------------------------------------


class _Event:
    """The parts of an event that its words and its time are made of."""

    def __init__(
        self,
        seq: int,
        at: datetime | str,
        actor_name: str,
        actor_role: str,
        on_behalf_of: str,
        note: str,
        data: str,
    ) -> None:
        self.seq, self.note, self.data = seq, note, json.loads(data)
        self.actor_name, self.actor_role, self.on_behalf_of = actor_name, actor_role, on_behalf_of
        at = datetime.fromisoformat(at) if isinstance(at, str) else at
        self.at = at if at.tzinfo else at.replace(tzinfo=UTC)


def file_all(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For `RunPython`, with the triggers off: rebuild the search tables and the words from the events."""
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
