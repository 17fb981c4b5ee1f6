"""Where the numbers of events that have something in common stand in order: of a word, of a part of a phone number.

Each place gives SQL for the next numbers on a way, which also says how far it came. `Words` and `Digits` go through the
segments of models/search.py: as many of them as hold `most` matches, by one look each, then all that is in these.
"""

from dataclasses import dataclass

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

EVENTS, ENTRIES, SEGMENTS, WORDS, DIGITS, STRETCHES = (
    model._meta.db_table
    for model in (AuditEvent, AuditEntry, AuditSegment, AuditWord, AuditDigits, AuditStretch)
)
FILED = f"(SELECT filed FROM {AuditHead._meta.db_table} WHERE id = {AuditHead.ONLY})"  # SQL: events up to it are filed
LAST = 2**62  # above every number of an event


@dataclass(frozen=True)
class Way:
    """The direction in which events are read, and the limits within: the first number, and the one behind the last."""

    older: bool
    limits: tuple[int, int] = (0, LAST)

    @property
    def order(self):
        return "DESC" if self.older else "ASC"

    @property
    def farthest(self):
        """The SQL function that gives what lies farthest on the way."""
        return "MIN" if self.older else "MAX"

    def within(self, column, bound):
        """Beyond `bound` and within the limits: `(SQL, parameters)`."""
        if self.older:
            return f"{column} < %s AND {column} >= %s", [bound, self.limits[0]]
        return f"{column} > %s AND {column} < %s", [bound, self.limits[1]]

    def unfiled(self, column, bound):
        """As `within`, behind what is filed. One condition at each end: SQLite takes one of them for its range."""
        greatest = "MAX" if connection.vendor == "sqlite" else "GREATEST"
        if self.older:
            return f"{column} < %s AND {column} > {greatest}({FILED}, %s)", [bound, self.limits[0] - 1]
        return f"{column} > {greatest}({FILED}, %s) AND {column} < %s", [bound, self.limits[1]]

    def segments(self, column, bound):
        """The segments that lie beyond the one in which `bound` is, and that one: `(SQL, parameters, its number)`."""
        first, last = self.limits[0] // SEGMENT, self.limits[1] // SEGMENT
        if self.older:
            start = (bound - 1) // SEGMENT
            return f"{column} < %s AND {column} >= %s", [start, first], start
        start = (bound + 1) // SEGMENT
        return f"{column} > %s AND {column} <= %s", [start, last], start

    def end_of(self, segment):
        """The bound from which it goes on when `segment` has been read."""
        return segment * SEGMENT if self.older else (segment + 1) * SEGMENT - 1


def told(way, column):
    """SQL for the row `told` about the clause `lot`; see `Column.matches`."""
    return f"SELECT SUM(1) AS looked, {way.farthest}({column}) AS farthest, {FILED} AS filed FROM lot"


NONE = ([], [])  # no conditions


class Column:
    """Events with one value in a column that has an index with the number: a request, a click."""

    is_filed = False  # every event stands there at once
    events_each = 1  # events that a match stands for, about
    matches_each = 1  # matches that an event can have

    def __init__(self, column, value):
        self.column, self.value = column, value

    def matches(self, way, bound, most, limit=None, conditions=NONE):
        """The next `most` matches as SQL: `(WITH clauses, parameters)`.

        `conditions` are what columns have to be, on `e`, for a place that can see to them. The clause `seqs` holds
        numbers of events (`limit` of them, if that is given). `told` is one row about what was looked at: how many
        matches `looked` counts (null for none), the `farthest`, and what was `filed` then.
        """
        within, limits = way.within("seq", bound)
        first = "" if limit is None else f" ORDER BY seq {way.order} LIMIT {limit}"
        clauses = (
            f"lot AS (SELECT seq FROM {EVENTS} WHERE {self.column} = %s AND {within} "
            f"ORDER BY seq {way.order} LIMIT {most}), seqs AS (SELECT seq FROM lot{first}), "
            f"told AS ({told(way, 'seq')})"
        )
        return clauses, [self.value, *limits]

    def end(self, way, farthest):
        """The bound from which it goes on behind the farthest match."""
        return farthest


class _InSegments:
    """Matches of a prefix in a table of the search, segment by segment: `match` is looked at, `key` leads to events."""

    table = match = key = ""
    column = ""
    is_filed = True
    events_each = matches_each = 1

    def __init__(self, prefix):
        self.prefix = prefix

    def matches(self, way, bound, most, limit=None, conditions=NONE):
        """As `Column.matches`. The matches may end in the midst of a segment, which is then read as a whole."""
        beyond, parameters, start = way.segments("s.number", bound)
        lot, parameters = self._hits(beyond, parameters)
        whole, more = self._hits("s.number IN (%s, (SELECT farthest FROM told))", [start])
        found, within = self._found(way, bound, conditions)
        first = "" if limit is None else f" LIMIT {limit}"
        clauses = (
            f"lot AS ({lot} ORDER BY s.number {way.order} LIMIT {most}), "
            f"told AS ({told(way, 'number')}), "
            f"hits AS (SELECT number, key FROM lot WHERE number <> (SELECT farthest FROM told) UNION ALL {whole}), "
            f"seqs AS (SELECT DISTINCT seq FROM ({found}) found ORDER BY seq {way.order}{first})"
        )
        return clauses, [*parameters, *more, *within]

    def _hits(self, where, parameters):
        sql = (
            f"SELECT s.number AS number, m.{self.key} AS key FROM {SEGMENTS} s CROSS JOIN {self.table} m "
            f"WHERE {where} AND m.segment = s.number AND m.{self.match} >= %s AND m.{self.match} < %s"
        )
        return sql, [*parameters, self.prefix, search_terms.after(self.prefix)]

    def end(self, way, farthest):
        """The bound from which it goes on behind the farthest segment."""
        return way.end_of(farthest)


class Words(_InSegments):
    """Events with a word that begins so; on the way to older ones also those that are not filed yet."""

    table, match, key = WORDS, "word", "seq"
    matches_each = 2  # several words of one event may begin so

    def _found(self, way, bound, conditions):
        within, limits = way.within("key", bound)
        filed = f"SELECT key AS seq FROM hits WHERE {within}"
        if not way.older:
            return filed, limits
        unfiled, more = way.unfiled("e.seq", bound)
        said, word = has_word(self.prefix)
        return f"{filed} UNION ALL SELECT e.seq FROM {EVENTS} e WHERE {unfiled} AND {said}", [
            *limits,
            *more,
            word,
        ]


class Digits(_InSegments):
    """Events of a phone number that holds these digits; with a plus sign, that begins with them."""

    table, match, key = DIGITS, "digits", "phone_number"
    events_each = 8

    def _found(self, way, bound, conditions):
        within, limits = way.within("e.seq", bound)
        texts, wanted = conditions
        where = " AND ".join(["e.segment = hits.number", "e.phone_number = hits.key", within, *texts])
        # Without statistics SQLite may take the index of a team instead, and read all that it did.
        by_number = "INDEXED BY entry_by_number " if connection.vendor == "sqlite" else ""
        return f"SELECT e.seq AS seq FROM hits CROSS JOIN {ENTRIES} e {by_number}WHERE {where}", [
            *limits,
            *wanted,
        ]


def has_word(prefix):
    """Whether an event has a word that begins so: `(SQL on e, parameter)`."""
    return "e.words LIKE %s", f"% {prefix}%"  # letters and digits alone: nothing in it means more to LIKE


def _one(sql, parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchone()


# --- Dates ----------------------------------------------------------------------------------------------------------


def limits_sql(since, until):
    """SQL for the numbers between which everything lies that happened from `since` on and before `until` (or None).

    `(SQL of one row of two numbers, parameters)`; the second number is not included. Both may be a little wide, where
    a clock went back; what is outside has to be left out by its time.
    """
    first, last, parameters = "0", str(LAST), []
    if since:
        first = (
            f"COALESCE((SELECT first_seq FROM {STRETCHES} WHERE reached >= %s ORDER BY reached, first_seq LIMIT 1), "
            f"{LAST})"
        )
        parameters.append(int(since.timestamp()) // QUARTER)
    if until:
        # The last stretch before that time, and the last of those that a clock which had gone back wrote.
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


def limits_of(wanted):
    """The limits of a filter's dates."""
    return _one(*limits_sql(wanted.since, wanted.until)) if wanted.since or wanted.until else (0, LAST)
