"""Finding events: filters, pages in both directions, search. Every read uses an index and reads about a page.

No count, no OFFSET, never a full scan of the table. Each combination of person, action and team has an index
(models/search.py). A phone number, a word or a request gives its events in order from a place of its own
(search_places.py); the other conditions are then checked on these events, some hundreds at a time. The newest events,
which are not filed yet (filing.py), are read one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from django.db import connection

from purchasing.audit.search_places import (
    ENTRIES,
    EVENTS,
    LAST,
    NONE,
    Column,
    Condition,
    Conditions,
    Digits,
    Way,
    Words,
    has_word,
    progress_sql,
)
from purchasing.models import AuditEvent

COLUMNS = ", ".join(
    f"e.{field.column}" for field in AuditEvent._meta.concrete_fields if field.name != "words"
)
NEAR = 300  # events that a search reads one by one before it goes by segments; more than `filing.LOT`
NARROWED = 800  # events that it then takes from its place if they have to meet other conditions as well


@dataclass(frozen=True)
class Filter:
    """The events that somebody wants: `number` is a part of a phone number, `words` are beginnings of words."""

    words: tuple[str, ...] = ()
    number: str = ""
    person: str = ""
    action: str = ""
    team: int | None = None
    request: int | None = None
    click: str = ""
    since: datetime | None = None
    until: datetime | None = None  # excluded
    nothing: bool = False  # two of the filters exclude each other


@dataclass(frozen=True)
class Found:
    """Events in reading order; `reached` is where a search stopped before its end, or None."""

    events: list[AuditEvent]
    reached: int | None = None


@dataclass(frozen=True)
class Progress:
    """How far one read of a place came; see `Column.matches`."""

    matched: int | None
    farthest: int | None
    filed: int

    @classmethod
    def of(cls, event: AuditEvent) -> Self:
        """The progress that each row of a raw query carries."""
        return cls(*(getattr(event, name) for name in ("matched", "farthest", "filed")))


class Reader:
    """Reads the events that match a filter, of the teams with these ids (None: all events, also those of no team).

    `limits` is the range of event numbers that the filter's dates allow (`search_places.limits_of`).
    """

    def __init__(
        self, wanted: Filter, *, teams: Sequence[int] | None = None, limits: tuple[int, int] = (0, LAST)
    ) -> None:
        self.wanted, self.limits = wanted, limits
        hidden = bool(wanted.team) and teams is not None and wanted.team not in teams
        self.teams = None if teams is None or wanted.team else tuple(teams)
        self.is_empty = wanted.nothing or hidden or self.teams == () or limits[0] >= limits[1]
        self.place = self._place()

    def _place(self) -> Column | Digits | Words | None:
        """Where to read first; None for the indexes over all events."""
        wanted = self.wanted
        if wanted.click:
            return Column("click", wanted.click)
        if wanted.request:
            return Column("request_id", wanted.request)
        if wanted.number:
            return Digits(wanted.number)
        return Words(max(wanted.words, key=len)) if wanted.words else None

    # --- Reading --------------------------------------------------------------------------------------------------

    def older(self, than: int, most: int) -> Found:
        """The newest events that are older than event `than`, newest first."""
        return self._page(Way(True, self.limits), min(than, self.limits[1]), most)

    def newer(self, than: int, most: int) -> Found:
        """The oldest events that are newer than event `than`, oldest first."""
        return self._page(Way(False, self.limits), max(than, self.limits[0] - 1), most)

    def _page(self, way: Way, bound: int, most: int) -> Found:
        if self.is_empty:
            return Found([])
        if self.place is None:
            return Found(_events(*self._direct(way, bound, most, COLUMNS)))
        found: list[AuditEvent] = []

        def read(place: Place, take: int, bound: int) -> tuple[int | None, int]:
            rows = _events(*self._at(place, way, bound, take, COLUMNS, most - len(found)))
            found.extend(event for event in rows if event.seq is not None)
            progress = Progress.of(rows[0])
            return self._end(place, way, progress, take), progress.filed

        end: int | None = bound
        if way.older and self._starts_near():
            end, _ = read(_Nearest(self), NEAR, bound)
        if end is not None and len(found) < most:
            end, filed = read(self.place, self._take(self.place, most), end)
            if end is None and self.place.is_filed and not way.older and len(found) < most:
                read(_Nearest(self), NEAR, max(bound, filed))
        return Found(found, reached=end if len(found) < most else None)

    def _starts_near(self) -> bool:
        """Whether the nearest events are read first: they hold frequent matches, and those not filed yet."""
        return isinstance(self.place, Digits) or (isinstance(self.place, Words) and self._is_narrowed())

    def _is_narrowed(self) -> bool:
        """Whether events found at the place have to meet other conditions as well."""
        return bool(self._columns(self.place)[0] or self._searched(self.place)[0])

    def _take(self, place: Column | Digits | Words, most: int) -> int:
        """How many matches are read before a search stops and reports how far it came."""
        return NARROWED // place.events_each if self._is_narrowed() else place.matches_each * most

    def batches(self, columns: str, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Every event, newest first, as lists of tuples of `columns` (SQL on `e`, the number first), `size` at once."""
        way = Way(True, self.limits)
        bound = None if self.is_empty else self.limits[1]
        place: Place | None = _Nearest(self) if self._starts_near() else self.place
        while bound is not None:
            if place is None:
                rows = _tuples(*self._direct(way, bound, size, columns))
                bound = rows[-1][0] if len(rows) == size else None
            else:
                take = max(size, NEAR)
                rows = _tuples(*self._at(place, way, bound, take, columns))
                bound = self._end(place, way, Progress(*rows[0][-3:]), take)
                rows = [row[:-3] for row in rows if row[0] is not None]
                place = self.place
            if rows:
                yield rows

    # --- Conditions -----------------------------------------------------------------------------------------------

    def _columns(self, place: "Place | None" = None) -> Conditions:
        """The conditions on columns other than that of `place`: `(SQL texts on e, parameters)`."""
        texts, parameters = self._equal(self.wanted.team, without=getattr(place, "column", ""))
        if self.teams is not None:
            texts.append(f"e.team_id IN ({', '.join(['%s'] * len(self.teams))})")
            parameters += self.teams
        dates, moments = self._dates()
        return texts + dates, parameters + moments

    def _equal(self, team: int | None, *, without: str = "") -> Conditions:
        wanted = self.wanted
        equal: dict[str, int | str | None] = {
            "actor_name": wanted.person,
            "action": wanted.action,
            "team_id": team,
            "request_id": wanted.request,
            "click": wanted.click,
        }
        equal = {column: value for column, value in equal.items() if value and column != without}
        return [f"e.{column} = %s" for column in equal], list(equal.values())

    def _dates(self) -> Conditions:
        """The times themselves: if a clock went back, the limits also hold events of other times."""
        texts: list[str] = []
        parameters: list[Any] = []
        for moment, sign in ((self.wanted.since, ">="), (self.wanted.until, "<")):
            if moment:
                texts.append(f"e.at {sign} %s")
                parameters.append(connection.ops.adapt_datetimefield_value(moment))
        return texts, parameters

    def _searched(self, place: "Place | None" = None) -> Conditions:
        """The search conditions that `place` does not cover, checked event by event; as `_columns`."""
        texts: list[str] = []
        parameters: list[Any] = []
        number = self.wanted.number
        if number and not isinstance(place, Digits):
            texts.append("e.phone_number LIKE %s")
            parameters.append(f"{number}%" if number.startswith("+") else f"%{number}%")
        for word in self.wanted.words:
            if not (isinstance(place, Words) and place.prefix == word):
                text, parameter = has_word(word)
                texts.append(text)
                parameters.append(parameter)
        return texts, parameters

    # --- SQL ------------------------------------------------------------------------------------------------------

    def _direct(self, way: Way, bound: int, most: int, columns: str) -> Condition:
        """Straight from the index for exactly this filter; with several teams, one range of it for each."""
        if not self._equal(self.wanted.team)[0] and self.teams is None:
            return _arm(EVENTS, columns, self._columns(), way, way.within("e.seq", bound), most)
        dates, moments = self._dates()
        arms = [_arm(EVENTS, "e.seq", self._columns(), way, way.unfiled("e.seq", bound), most)]
        for team in (self.wanted.team,) if self.teams is None else self.teams:
            texts, parameters = self._equal(team)
            filed = (texts + dates, parameters + moments)
            arms.append(_arm(ENTRIES, "e.seq", filed, way, way.within("e.seq", bound), most))
        seqs = " UNION ALL ".join(f"SELECT seq FROM ({sql}) arm" for sql, _ in arms)
        sql = (
            f"SELECT {columns} FROM (SELECT seq FROM ({seqs}) arms ORDER BY seq {way.order} LIMIT {most}) c "
            f"CROSS JOIN {EVENTS} e WHERE e.seq = c.seq ORDER BY e.seq {way.order}"
        )
        return sql, [value for _, parameters in arms for value in parameters]

    def _at(
        self, place: "Place", way: Way, bound: int, take: int, columns: str, most: int | None = None
    ) -> Condition:
        """The events among the next `take` matches at `place` that meet all conditions.

        Each row ends with the columns of `Progress`. Without events there is one row with nothing else.
        """
        texts, wanted = self._searched(place)
        inside = NONE if isinstance(place, _Nearest) else self._columns(place)
        if not isinstance(place, Digits):
            texts, wanted, inside = inside[0] + texts, inside[1] + wanted, NONE
        clauses, parameters = place.matches(way, bound, take, None if texts else most, inside)
        limit = "" if most is None else f" LIMIT {most}"
        sql = (
            f"WITH {clauses} SELECT {columns}, progress.matched, progress.farthest, progress.filed FROM progress "
            f"LEFT JOIN (SELECT e.* FROM seqs CROSS JOIN {EVENTS} e WHERE {' AND '.join(['e.seq = seqs.seq', *texts])} "
            f"ORDER BY e.seq {way.order}{limit}) e ON 1 = 1 ORDER BY e.seq {way.order}"
        )
        return sql, [*parameters, *wanted]

    def _end(self, place: "Place", way: Way, progress: Progress, take: int) -> int | None:
        """Where to continue after what was read; None at the end."""
        if progress.matched != take or progress.farthest is None:
            return None
        return place.end(way, progress.farthest)


class _Nearest:
    """The nearest events that meet all conditions but the search: for frequent matches, and events not filed yet."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def matches(
        self, way: Way, bound: int, most: int, limit: int | None = None, conditions: Conditions = NONE
    ) -> Condition:
        """As `Column.matches`."""
        nearest, parameters = self._reader._direct(way, bound, most, "e.seq")
        progress = progress_sql(way, "seq")
        return f"lot AS ({nearest}), seqs AS (SELECT seq FROM lot), progress AS ({progress})", parameters

    def end(self, way: Way, farthest: int) -> int:
        """The bound to continue from after the farthest event."""
        return farthest


Place = Column | Digits | Words | _Nearest


def _arm(
    table: str, columns: str, conditions: Conditions, way: Way, within: Condition, most: int
) -> Condition:
    texts, parameters = conditions
    where = " AND ".join([*texts, within[0]])
    sql = f"SELECT {columns} FROM {table} e WHERE {where} ORDER BY e.seq {way.order} LIMIT {most}"
    return sql, [*parameters, *within[1]]


def newest_first(wanted: Filter) -> Iterator[AuditEvent]:
    """All events that match a filter, one by one, for callers that stop early."""
    reader = Reader(wanted)
    bound: int | None = LAST
    while bound is not None:
        found = reader.older(bound, NEAR)
        yield from found.events
        bound = found.events[-1].seq if len(found.events) == NEAR else found.reached


def _events(sql: str, parameters: list[Any]) -> list[AuditEvent]:
    return list(AuditEvent.objects.raw(sql, parameters))


def _tuples(sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
