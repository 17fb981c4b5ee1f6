"""The auditors' desk: the choices of the filter, events as rows, the details of one event."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import NamedTuple

from django.db import connection
from django.utils import timezone

from purchasing import permissions, words
from purchasing.audit.chain import moment
from purchasing.audit.search import Filter, Reader
from purchasing.audit.search_places import LAST, limits_sql
from purchasing.models import AuditEvent, AuditSeal, Membership, Team, User
from purchasing.states import State

MOST_PEOPLE = 300  # in the list of suggestions; other names can be typed


class Seal(NamedTuple):
    """The newest seal, as far as the desk shows it."""

    number: int
    seq: int
    hash: str
    at: datetime


@dataclass
class Offered:
    """The choices that somebody has, the newest seal, and the range of event numbers that the dates allow."""

    teams: dict[int, Team] = field(default_factory=dict)  # by id, in the order of names
    people: list[str] = field(default_factory=list)
    seal: Seal | None = None
    limits: tuple[int, int] = (0, LAST)


def everything(since: datetime | None = None, until: datetime | None = None) -> Offered:
    """All choices, for commands on the server."""
    return _offered("", "", [], since, until)


def offered_to(user: User, *, since: datetime | None = None, until: datetime | None = None) -> Offered:
    """The choices of `user`, in one query."""
    if permissions.sees_every_team(user):
        return everything(since, until)
    team, membership = Team._meta.db_table, Membership._meta.db_table
    mine = f"WHERE t.id IN (SELECT team_id FROM {membership} WHERE user_id = %s)"
    theirs = f"WHERE u.id IN (SELECT m.user_id FROM {membership} m JOIN {team} t ON t.id = m.team_id {mine})"
    return _offered(mine, theirs, [user.pk, user.pk], since, until)


def _offered(
    mine: str, theirs: str, who: list[int], since: datetime | None, until: datetime | None
) -> Offered:
    team, person, seal = (model._meta.db_table for model in (Team, User, AuditSeal))
    limits, moments = limits_sql(since, until)
    sql = f"""
        SELECT 'team', t.id, 0, t.name, t.slug FROM {team} t {mine}
        UNION ALL SELECT 'person', 0, 0, username, '' FROM (
            SELECT u.username FROM {person} u {theirs} ORDER BY u.username LIMIT {MOST_PEOPLE}) p
        UNION ALL SELECT 'seal', number, seq, hash, {moment(connection.vendor, "at")}
            FROM {seal} WHERE number = (SELECT MAX(number) FROM {seal})
        UNION ALL SELECT 'limits', l.low, l.high, '', '' FROM ({limits}) l
    """
    offered = Offered()
    with connection.cursor() as cursor:
        cursor.execute(sql, [*who, *moments])
        for kind, first, second, name, more in cursor.fetchall():
            if kind == "team":
                offered.teams[first] = Team(pk=first, name=name, slug=more)
            elif kind == "person":
                offered.people.append(name)
            elif kind == "seal":
                offered.seal = Seal(first, second, name, datetime.fromisoformat(more))
            else:
                offered.limits = (first, second)
    offered.teams = dict(sorted(offered.teams.items(), key=lambda item: item[1].name.casefold()))
    return offered


def reader_for(user: User, wanted: Filter, offered: Offered) -> Reader:
    """A reader of the events that match `wanted` and that `user` may see."""
    teams = None if permissions.sees_every_team(user) else tuple(offered.teams)
    return Reader(wanted, teams=teams, limits=offered.limits)


# --- Rows -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Row:
    """An event as a row of the table, with every value ready to show."""

    seq: int
    at: str
    when: str
    who: str
    role: str
    stands_in_for: str
    state: str
    label: str
    sentence: str
    note: str
    number: str
    purchase: int | None
    request: int | None
    team: str
    has_answer: bool


def rows_of(events: Iterable[AuditEvent], teams: Mapping[int, Team]) -> list[Row]:
    """Events as rows; `teams` holds the teams that may be named, by id."""
    zone = timezone.get_current_timezone()
    return [_row(event, teams, zone) for event in events]


_LABELS = {str(state): state.label for state in State}


def _row(event: AuditEvent, teams: Mapping[int, Team], zone: tzinfo) -> Row:
    team = None if event.team_id is None else teams.get(event.team_id)
    if team is not None:
        event.team = team
    at = event.at.astimezone(zone)
    state = event.became if event.purchase_id else ""
    return Row(
        seq=event.seq,
        at=at.isoformat(timespec="seconds"),
        when=words.moment(at),
        who=event.actor_name,
        role=event.actor_role,
        stands_in_for=event.on_behalf_of,
        state=state,
        label=_LABELS.get(state, state),
        sentence=words.sentence(event),
        note=event.note,
        number=words.phone(event.phone_number),
        purchase=event.purchase_id,
        request=event.request_id,
        team=team.name if team else "",
        has_answer=event.attempt_id is not None,
    )


# --- One event ------------------------------------------------------------------------------------------------------


class Detail(NamedTuple):
    """One entry of the data of an event; a long `text` is shown folded."""

    name: str
    text: str
    is_long: bool


def details_of(event: AuditEvent) -> list[Detail]:
    """The content of an event that has no column of its own."""
    return [Detail(name.replace("_", " "), *_plain(value)) for name, value in event.data.items()]


def _plain(value: object) -> tuple[str, bool]:
    if isinstance(value, bool):
        return "yes" if value else "no", False
    if value is None or value == "":
        return "none", False
    if isinstance(value, list | dict):
        return json.dumps(value, indent=2, ensure_ascii=False), True
    return str(value), False
