"""Finding events: filters, pages in both directions, search. Every read stands on an index and reads about a page.

No count, no OFFSET, and never the table from end to end. What person, action and team there are has an index for each
combination (models/search.py). A number, a word, a request give events in their order from a place of their own
(places.py); what else they have to be is then looked for among these, some hundred at a time. The newest events, which
are not filed yet (filing.py), are looked at one by one.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from purchasing.audit.search_places import (
    ENTRIES,
    EVENTS,
    LAST,
    NONE,
    Column,
    Digits,
    Way,
    Words,
    has_word,
    told,
)
from purchasing.models import AuditEvent

COLUMNS = ", ".join(
    f"e.{field.column}" for field in AuditEvent._meta.concrete_fields if field.name != "words"
)
NEAR = 300  # events that a search looks at one by one before it goes by segments; more than `filing.LOT`
NARROWED = 800  # that it then takes from its place when they have to be something else as well


@dataclass(frozen=True)
class Filter:
    """What somebody wants to see: `number` is a part of a phone number, `words` are beginnings of words."""

    words: tuple[str, ...] = ()
    number: str = ""
    person: str = ""
    action: str = ""
    team: int | None = None
    request: int | None = None
    click: str = ""
    since: datetime | None = None
    until: datetime | None = None  # what happened before it
    nothing: bool = False  # two of the filters exclude each other


@dataclass(frozen=True)
class Found:
    """Events in the order in which they were looked for; `reached` is where a search stopped that has not ended."""

    events: list
    reached: int | None = None


@dataclass(frozen=True)
class Told:
    """What one look at a place says of itself; see `Column.matches`."""

    looked: int | None
    farthest: int | None
    filed: int


class Reader:
    """Reads what a filter lets through, of the teams whose ids are in `teams` (None: of all, and of none).

    `limits` is the range of numbers that the filter's dates leave (`places.limits_of`).
    """

    def __init__(self, wanted, *, teams=None, limits=(0, LAST)):
        self.wanted, self.limits = wanted, limits
        hidden = bool(wanted.team) and teams is not None and wanted.team not in teams
        self.teams = None if teams is None or wanted.team else tuple(teams)
        self.is_empty = wanted.nothing or hidden or self.teams == () or limits[0] >= limits[1]
        self.place = self._place()

    def _place(self):
        """Where to look first; None for the indexes of all events."""
        wanted = self.wanted
        if wanted.request or wanted.click:
            return Column("click", wanted.click) if wanted.click else Column("request_id", wanted.request)
        if wanted.number:
            return Digits(wanted.number)
        return Words(max(wanted.words, key=len)) if wanted.words else None

    # --- Reading --------------------------------------------------------------------------------------------------

    def older(self, than, most):
        """The newest events that are older than event `than`, newest first."""
        return self._page(Way(True, self.limits), min(than, self.limits[1]), most)

    def newer(self, than, most):
        """The oldest events that are newer than event `than`, oldest first."""
        return self._page(Way(False, self.limits), max(than, self.limits[0] - 1), most)

    def _page(self, way, bound, most):
        if self.is_empty:
            return Found([])
        if self.place is None:
            return Found(_events(*self._direct(way, bound, most, COLUMNS)))
        found = []

        def look(place, take, bound):
            rows = _events(*self._there(place, way, bound, take, COLUMNS, most - len(found)))
            found.extend(event for event in rows if event.seq is not None)
            return self._end(place, way, rows[0], take), rows[0].filed

        end = bound
        if way.older and self._starts_near():
            end, _ = look(_Nearest(self), NEAR, bound)
        if end is not None and len(found) < most:
            end, filed = look(self.place, self._take(most), end)
            if end is None and self.place.is_filed and not way.older and len(found) < most:
                look(_Nearest(self), NEAR, max(bound, filed))
        return Found(found, reached=end if len(found) < most else None)

    def _starts_near(self):
        """Whether the nearest events are looked at first: what is frequent stands there, and what is not filed yet."""
        return isinstance(self.place, Digits) or (isinstance(self.place, Words) and self._is_narrowed())

    def _is_narrowed(self):
        """Whether what is found at the place has to be something else as well."""
        return bool(self._columns(self.place)[0] or self._said(self.place)[0])

    def _take(self, most):
        """How many matches are looked at before a search stops and says how far it came."""
        return NARROWED // self.place.events_each if self._is_narrowed() else self.place.matches_each * most

    def batches(self, columns, size):
        """Everything, newest first, as lists of tuples of `columns` (SQL on `e`, the number first); some at a time."""
        way, bound = Way(True, self.limits), None if self.is_empty else self.limits[1]
        place = _Nearest(self) if self._starts_near() else self.place
        while bound is not None:
            if place is None:
                rows = _tuples(*self._direct(way, bound, size, columns))
                bound = rows[-1][0] if len(rows) == size else None
            else:
                take = max(size, NEAR)
                rows = _tuples(*self._there(place, way, bound, take, columns))
                bound = self._end(place, way, Told(*rows[0][-3:]), take)
                rows = [row[:-3] for row in rows if row[0] is not None]
                place = self.place
            if rows:
                yield rows

    # --- What an event has to be ----------------------------------------------------------------------------------

    def _columns(self, place=None):
        """What columns have to be, other than that of `place`: `(SQL texts on e, parameters)`."""
        texts, parameters = self._equal(self.wanted.team, without=getattr(place, "column", ""))
        if self.teams is not None:
            texts.append(f"e.team_id IN ({', '.join(['%s'] * len(self.teams))})")
            parameters += self.teams
        dates, moments = self._dates()
        return texts + dates, parameters + moments

    def _equal(self, team, *, without=""):
        wanted = self.wanted
        equal = {
            "actor_name": wanted.person,
            "action": wanted.action,
            "team_id": team,
            "request_id": wanted.request,
            "click": wanted.click,
        }
        equal = {column: value for column, value in equal.items() if value and column != without}
        return [f"e.{column} = %s" for column in equal], list(equal.values())

    def _dates(self):
        """The times themselves: within the limits there may be others, where a clock went back."""
        texts, parameters = [], []
        for moment, sign in ((self.wanted.since, ">="), (self.wanted.until, "<")):
            if moment:
                texts.append(f"e.at {sign} %s")
                parameters.append(connection.ops.adapt_datetimefield_value(moment))
        return texts, parameters

    def _said(self, place=None):
        """What is searched for, but for what `place` sees to, looked up in one event at a time; as `_columns`."""
        texts, parameters, number = [], [], self.wanted.number
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

    def _direct(self, way, bound, most, columns):
        """Straight from the index that holds exactly this, for several teams from as many places of it."""
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

    def _there(self, place, way, bound, take, columns, most=None):
        """What is at `place` among its next `take` matches, and is all else that it has to be.

        Each row ends with what is told of the look; there is one without an event for none.
        """
        texts, wanted = self._said(place)
        inside = NONE if isinstance(place, _Nearest) else self._columns(place)
        if not isinstance(place, Digits):
            texts, wanted, inside = inside[0] + texts, inside[1] + wanted, NONE
        clauses, parameters = place.matches(way, bound, take, None if texts else most, inside)
        limit = "" if most is None else f" LIMIT {most}"
        sql = (
            f"WITH {clauses} SELECT {columns}, told.looked, told.farthest, told.filed FROM told LEFT JOIN ("
            f"SELECT e.* FROM seqs CROSS JOIN {EVENTS} e WHERE {' AND '.join(['e.seq = seqs.seq', *texts])} "
            f"ORDER BY e.seq {way.order}{limit}) e ON 1 = 1 ORDER BY e.seq {way.order}"
        )
        return sql, [*parameters, *wanted]

    def _end(self, place, way, row, take):
        """Where to go on behind what was looked at; None at the end."""
        return place.end(way, row.farthest) if row.looked == take else None


class _Nearest:
    """The events that lie nearest and are all that is wanted but for the search: for what is frequent or not filed."""

    def __init__(self, reader):
        self._reader = reader

    def matches(self, way, bound, most, limit=None, conditions=NONE):
        """As `Column.matches`."""
        nearest, parameters = self._reader._direct(way, bound, most, "e.seq")
        return f"lot AS ({nearest}), seqs AS (SELECT seq FROM lot), told AS ({told(way, 'seq')})", parameters

    def end(self, way, farthest):
        """The bound from which it goes on behind the farthest event."""
        return farthest


def _arm(table, columns, conditions, way, within, most):
    texts, parameters = conditions
    where = " AND ".join([*texts, within[0]])
    sql = f"SELECT {columns} FROM {table} e WHERE {where} ORDER BY e.seq {way.order} LIMIT {most}"
    return sql, [*parameters, *within[1]]


def newest_first(wanted):
    """All events that a filter lets through, one by one, for who stops early."""
    reader, bound = Reader(wanted), LAST
    while bound is not None:
        found = reader.older(bound, NEAR)
        yield from found.events
        bound = found.events[-1].seq if len(found.events) == NEAR else found.reached


def _events(sql, parameters):
    return list(AuditEvent.objects.raw(sql, parameters))


def _tuples(sql, parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
