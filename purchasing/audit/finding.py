"""Finding events: filters, pages in both directions, search. Every read stands on an index and reads about a page.

No count, no OFFSET, and never the table from end to end. What person, action and team there are has an index for each
combination (models/audit.py). A number, a word, a request give events in their order from a place of their own
(places.py); what else they have to be is then looked for among these, some hundred at a time.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from purchasing import terms
from purchasing.audit.places import EVENTS, LAST, WORDS, Column, Digits, Way, Words
from purchasing.models import AuditEvent

COLUMNS = ", ".join(f"e.{field.column}" for field in AuditEvent._meta.concrete_fields)
NEAR = 300  # events that a search looks at one by one before it goes by segments
NARROWED = 1000  # that it takes from its place at once when they have to be something else as well
ROUNDS = 5  # after which such a search stops and says how far it came


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
        narrowed = bool(self._conditions(self.place)[0])
        if isinstance(self.place, Digits) or (isinstance(self.place, Words) and narrowed):
            near = self._near(way, bound, most)
            if near is not None:
                return Found(near)
        found, take = [], NARROWED // self.place.events_each if narrowed else 2 * most
        for _ in range(ROUNDS):
            rows = _events(*self._there(way, bound, take, COLUMNS, most - len(found)))
            found += [event for event in rows if event.seq is not None]
            bound = self._end(way, rows[0].looked, rows[0].farthest, take)
            if bound is None or len(found) == most:
                return Found(found)
        return Found(found, reached=bound)

    def batches(self, columns, size):
        """Everything, newest first, as lists of tuples of `columns` (SQL on `e`, the number first); some at a time."""
        way, bound = Way(True, self.limits), None if self.is_empty else self.limits[1]
        while bound is not None:
            if self.place is None:
                rows = _tuples(*self._direct(way, bound, size, columns))
                bound = rows[-1][0] if len(rows) == size else None
            else:
                rows = _tuples(*self._there(way, bound, size, columns))
                bound = self._end(way, *rows[0][-2:], size)
                rows = [row[:-2] for row in rows if row[0] is not None]
            if rows:
                yield rows

    # --- What an event has to be ----------------------------------------------------------------------------------

    def _conditions(self, place=None):
        """All that `place` does not see to: `(SQL texts on e, parameters)`."""
        texts, parameters = self._columns(without=getattr(place, "column", None))
        said, more = self._said(without=place)
        return texts + said, parameters + more

    def _columns(self, *, without=None, team=None):
        wanted = self.wanted
        equal = {
            "actor_name": wanted.person,
            "action": wanted.action,
            "team_id": team or wanted.team,
            "request_id": wanted.request,
            "click": wanted.click,
        }
        equal = {column: value for column, value in equal.items() if value and column != without}
        texts, parameters = [f"e.{column} = %s" for column in equal], list(equal.values())
        if self.teams is not None and not team:
            texts.append(f"e.team_id IN ({', '.join(['%s'] * len(self.teams))})")
            parameters += self.teams
        for moment, sign in ((wanted.since, ">="), (wanted.until, "<")):
            if moment:
                texts.append(f"e.at {sign} %s")
                parameters.append(connection.ops.adapt_datetimefield_value(moment))
        return texts, parameters

    def _said(self, *, without=None, on="e"):
        """What is searched for, looked up for one event at a time."""
        texts, parameters, number = [], [], self.wanted.number
        if number and not isinstance(without, Digits):
            texts.append(f"{on}.phone_number LIKE %s")
            parameters.append(f"{number}%" if number.startswith("+") else f"%{number}%")
        for word in self.wanted.words:
            if not (isinstance(without, Words) and without.prefix == word):
                texts.append(
                    # Not EXISTS, which PostgreSQL may turn into a read of all events with the word.
                    f"(SELECT MIN(w.word) FROM {WORDS} w WHERE w.seq = {on}.seq AND w.word >= %s AND w.word < %s) "
                    "IS NOT NULL"
                )
                parameters += [word, terms.after(word)]
        return texts, parameters

    # --- SQL ------------------------------------------------------------------------------------------------------

    def _direct(self, way, bound, most, columns):
        """Straight from the index that holds exactly this; for several teams from as many places of it."""
        if self.teams is None:
            return self._arm(way, bound, most, columns)
        arms = [self._arm(way, bound, most, "e.seq", team) for team in self.teams]
        seqs = " UNION ALL ".join(f"SELECT seq FROM ({sql}) arm" for sql, _ in arms)
        sql = (
            f"SELECT {columns} FROM (SELECT seq FROM ({seqs}) arms ORDER BY seq {way.order} LIMIT {most}) c "
            f"CROSS JOIN {EVENTS} e WHERE e.seq = c.seq ORDER BY e.seq {way.order}"
        )
        return sql, [value for _, parameters in arms for value in parameters]

    def _arm(self, way, bound, most, columns, team=None):
        texts, parameters = self._columns(team=team)
        within, limits = way.within("e.seq", bound)
        where = " AND ".join([*texts, within])
        sql = f"SELECT {columns} FROM {EVENTS} e WHERE {where} ORDER BY e.seq {way.order} LIMIT {most}"
        return sql, [*parameters, *limits]

    def _there(self, way, bound, take, columns, most=None):
        """What is at the place among its next `take` matches, and is all else that it has to be.

        Each row ends with how many matches were looked at, and the farthest; there is one without an event for none.
        """
        texts, wanted = self._conditions(self.place)
        clauses, parameters = self.place.matches(way, bound, take, None if texts else most)
        limit = "" if most is None else f" LIMIT {most}"
        sql = (
            f"WITH {clauses} SELECT {columns}, told.looked, told.farthest FROM told LEFT JOIN ("
            f"SELECT e.* FROM seqs CROSS JOIN {EVENTS} e WHERE {' AND '.join(['e.seq = seqs.seq', *texts])} "
            f"ORDER BY e.seq {way.order}{limit}) e ON 1 = 1 ORDER BY e.seq {way.order}"
        )
        return sql, [*parameters, *wanted]

    def _end(self, way, looked, farthest, take):
        """Where to go on behind what was looked at; None at the end."""
        return self.place.end(way, farthest) if looked == take else None

    def _near(self, way, bound, most):
        """The page, when the events that lie nearest fill it or are all there are, else None: for what is frequent."""
        nearest, parameters = self._direct(way, bound, NEAR, "e.seq, e.phone_number")
        said, searched = self._said(on="near")
        sql = f"SELECT seq, CASE WHEN {' AND '.join(said)} THEN 1 ELSE 0 END FROM ({nearest}) near"
        rows = _tuples(sql, [*searched, *parameters])
        seqs = sorted((seq for seq, matches in rows if matches), reverse=way.older)[:most]
        if len(seqs) < most and len(rows) == NEAR:
            return None
        marks = ", ".join(["%s"] * len(seqs))
        sql = f"SELECT {COLUMNS} FROM {EVENTS} e WHERE e.seq IN ({marks}) ORDER BY e.seq {way.order}"
        return _events(sql, seqs) if seqs else []


def _events(sql, parameters):
    return list(AuditEvent.objects.raw(sql, parameters))


def _tuples(sql, parameters):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
