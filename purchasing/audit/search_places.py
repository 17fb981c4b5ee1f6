"""Places that give the numbers of matching events in order: events with a word, or with a part of a phone number.

Each place gives SQL for the next event numbers in one direction, and for how far it read. `Words` and `Digits` go
through the segments of models/search.py: one index lookup per segment until `most` matches are found, then all events
of those segments.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db import connection

from purchasing.audit import search_terms
from purchasing.audit.filing import QUARTER
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

Condition = tuple[str, list[Any]]  # SQL and its parameters
# Several conditions on `e`, to be joined by AND, and their parameters.
Conditions = tuple[list[str], list[Any]]

EVENTS, ENTRIES, SEGMENTS, WORDS, DIGITS, STRETCHES = (
    model._meta.db_table
    for model in (AuditEvent, AuditEntry, AuditSegment, AuditWord, AuditDigits, AuditStretch)
)
# SQL for the number up to which events are filed.
FILED = f"(SELECT filed FROM {AuditHead._meta.db_table} WHERE id = {AuditHead.ONLY})"
LAST = 2**62  # above the number of any event


@dataclass(frozen=True)
class Way:
    """The direction in which events are read, and its limits: the first number and the one after the last."""

    older: bool
    limits: tuple[int, int] = (0, LAST)

    @property
    def order(self) -> str:
        """The SQL order of the event numbers."""
        return "DESC" if self.older else "ASC"

    @property
    def farthest(self) -> str:
        """The SQL function that gives the number read last."""
        return "MIN" if self.older else "MAX"

    def within(self, column: str, bound: int) -> Condition:
        """Beyond `bound` and within the limits: `(SQL, parameters)`."""
        if self.older:
            return f"{column} < %s AND {column} >= %s", [bound, self.limits[0]]
        return f"{column} > %s AND {column} < %s", [bound, self.limits[1]]

    def unfiled(self, column: str, bound: int) -> Condition:
        """As `within`, for events not filed yet. One condition per end: SQLite uses only one for its range."""
        greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
        if self.older:
            return f"{column} < %s AND {column} > {greatest}({FILED}, %s)", [bound, self.limits[0] - 1]
        return f"{column} > {greatest}({FILED}, %s) AND {column} < %s", [bound, self.limits[1]]

    def segments(self, column: str, bound: int) -> tuple[str, list[Any], int]:
        """The segments beyond the one with `bound` in it, and the number of that one: `(SQL, parameters, number)`."""
        first, last = self.limits[0] // SEGMENT, self.limits[1] // SEGMENT
        if self.older:
            start = (bound - 1) // SEGMENT
            return f"{column} < %s AND {column} >= %s", [start, first], start
        start = (bound + 1) // SEGMENT
        return f"{column} > %s AND {column} <= %s", [start, last], start

    def end_of(self, segment: int) -> int:
        """The bound to continue from once `segment` has been read."""
        return segment * SEGMENT if self.older else (segment + 1) * SEGMENT - 1


def progress_sql(way: Way, column: str) -> str:
    """SQL for the row `progress` about the clause `lot`; see `Column.matches`."""
    return f"SELECT SUM(1) AS matched, {way.farthest}({column}) AS farthest, {FILED} AS filed FROM lot"


NONE: Conditions = ([], [])


class Column:
    """Events with one value in a column that is indexed together with the number: a request, a click."""

    is_filed = False  # the index covers every event at once
    events_each = 1  # roughly how many events a match stands for
    matches_each = 1  # how many matches an event can have

    def __init__(self, column: str, value: int | str) -> None:
        self.column, self.value = column, value

    def matches(
        self, way: Way, bound: int, most: int, limit: int | None = None, conditions: Conditions = NONE
    ) -> Condition:
        """The next `most` matches as SQL: `(WITH clauses, parameters)`.

        `conditions` are conditions on columns of `e`, for a place that can apply them. The clause `seqs` holds event
        numbers (at most `limit`, if given). `progress` is one row: how many matches were read (`matched`, null for
        none), the `farthest` of them, and the number up to which events were `filed` then.
        """
        within, limits = way.within("seq", bound)
        first = "" if limit is None else f" ORDER BY seq {way.order} LIMIT {limit}"
        clauses = (
            f"lot AS (SELECT seq FROM {EVENTS} WHERE {self.column} = %s AND {within} "
            f"ORDER BY seq {way.order} LIMIT {most}), seqs AS (SELECT seq FROM lot{first}), "
            f"progress AS ({progress_sql(way, 'seq')})"
        )
        return clauses, [self.value, *limits]

    def end(self, way: Way, farthest: int) -> int:
        """The bound to continue from after the farthest match."""
        return farthest


class _InSegments:
    """Matches of a prefix in a search table, by segment: the column `match` is compared, `key` leads to events."""

    table = match = key = ""
    column = ""
    is_filed = True
    events_each = matches_each = 1

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def matches(
        self, way: Way, bound: int, most: int, limit: int | None = None, conditions: Conditions = NONE
    ) -> Condition:
        """As `Column.matches`. If the matches end inside a segment, all of that segment is read."""
        beyond, parameters, start = way.segments("s.number", bound)
        lot, parameters = self._hits(beyond, parameters)
        last, more = self._hits("s.number IN (%s, (SELECT farthest FROM progress))", [start])
        events, within = self._events(way, bound, conditions)
        first = "" if limit is None else f" LIMIT {limit}"
        clauses = (
            f"lot AS ({lot} ORDER BY s.number {way.order} LIMIT {most}), "
            f"progress AS ({progress_sql(way, 'number')}), "
            f"hits AS (SELECT number, key FROM lot WHERE number <> (SELECT farthest FROM progress) UNION ALL {last}), "
            f"seqs AS (SELECT DISTINCT seq FROM ({events}) found ORDER BY seq {way.order}{first})"
        )
        return clauses, [*parameters, *more, *within]

    def _events(self, way: Way, bound: int, conditions: Conditions) -> Condition:
        """SQL for the numbers of the events behind the clause `hits`."""
        raise NotImplementedError

    def _hits(self, where: str, parameters: list[Any]) -> Condition:
        sql = (
            f"SELECT s.number AS number, m.{self.key} AS key FROM {SEGMENTS} s CROSS JOIN {self.table} m "
            f"WHERE {where} AND m.segment = s.number AND m.{self.match} >= %s AND m.{self.match} < %s"
        )
        return sql, [*parameters, self.prefix, search_terms.after(self.prefix)]

    def end(self, way: Way, farthest: int) -> int:
        """The bound to continue from after the farthest segment."""
        return way.end_of(farthest)


class Words(_InSegments):
    """Events with a word that starts with the prefix; when reading older ones, also events not filed yet."""

    table, match, key = WORDS, "word", "seq"
    matches_each = 2  # several words of one event may start with the prefix

    def _events(self, way: Way, bound: int, conditions: Conditions) -> Condition:
        within, limits = way.within("key", bound)
        filed = f"SELECT key AS seq FROM hits WHERE {within}"
        if not way.older:
            return filed, limits
        unfiled, more = way.unfiled("e.seq", bound)
        has_prefix, word = has_word(self.prefix)
        return f"{filed} UNION ALL SELECT e.seq FROM {EVENTS} e WHERE {unfiled} AND {has_prefix}", [
            *limits,
            *more,
            word,
        ]


class Digits(_InSegments):
    """Events of a phone number that contains the prefix; with a plus sign, that starts with it."""

    table, match, key = DIGITS, "digits", "phone_number"
    events_each = 8

    def _events(self, way: Way, bound: int, conditions: Conditions) -> Condition:
        within, limits = way.within("e.seq", bound)
        texts, wanted = conditions
        where = " AND ".join(["e.segment = hits.number", "e.phone_number = hits.key", within, *texts])
        # Without statistics SQLite may choose the index by team and read all events of that team.
        by_number = "INDEXED BY entry_by_number " if connection.vendor == "sqlite" else ""
        return f"SELECT e.seq AS seq FROM hits CROSS JOIN {ENTRIES} e {by_number}WHERE {where}", [
            *limits,
            *wanted,
        ]


def has_word(prefix: str) -> tuple[str, str]:
    """Whether an event has a word that starts with `prefix`: `(SQL on e, parameter)`."""
    # A prefix has only letters and digits, so LIKE has nothing to escape.
    return "e.words LIKE %s", f"% {prefix}%"


def _one(sql: str, parameters: list[Any]) -> tuple[int, int]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        low, high = cursor.fetchone()
    return low, high


# --- Dates ----------------------------------------------------------------------------------------------------------


def limits_sql(since: datetime | None, until: datetime | None) -> Condition:
    """SQL for the range of event numbers from `since` on and before `until` (each may be None).

    `(SQL of one row of two numbers, parameters)`; the second number is excluded. Where a clock went back, the range may
    be a little too wide: the caller has to filter by time as well.
    """
    first, last = "0", str(LAST)
    parameters: list[Any] = []
    if since:
        first = (
            f"COALESCE((SELECT first_seq FROM {STRETCHES} WHERE reached >= %s ORDER BY reached, first_seq LIMIT 1), "
            f"{LAST})"
        )
        parameters.append(int(since.timestamp()) // QUARTER)
    if until:
        # The last stretch before that time, and the last one before it that was written after a clock went back.
        before = (
            f"SELECT MAX(first_seq) FROM (SELECT first_seq FROM (SELECT first_seq FROM {STRETCHES} "
            f"WHERE quarter < %s AND quarter = reached ORDER BY quarter DESC, first_seq DESC LIMIT 1) ahead "
            f"UNION ALL SELECT first_seq FROM (SELECT first_seq FROM {STRETCHES} "
            f"WHERE quarter < %s AND quarter < reached ORDER BY first_seq DESC LIMIT 1) back) before"
        )
        last = (
            f"CASE WHEN ({before}) IS NULL THEN 0 ELSE "
            f"COALESCE((SELECT MIN(first_seq) FROM {STRETCHES} WHERE first_seq > ({before})), {LAST}) END"
        )
        parameters += [-(-int(until.timestamp()) // QUARTER)] * 4
    return f"SELECT {first} AS low, {last} AS high", parameters


class Dated(Protocol):
    """The dates of a filter (`search.Filter`, which this module cannot import)."""

    @property
    def since(self) -> datetime | None: ...
    @property
    def until(self) -> datetime | None: ...


def limits_of(wanted: Dated) -> tuple[int, int]:
    """The range of event numbers that a filter's dates allow."""
    return _one(*limits_sql(wanted.since, wanted.until)) if wanted.since or wanted.until else (0, LAST)
