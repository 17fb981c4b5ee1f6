"""What people decide about numbers that are rented, as lists show, but that the record does not explain.

A team keeps such a number, with a reason and, where a person states it, its cost; or it is dismissed. A key's first
list on an old account is its baseline: dismissed in one go.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db import transaction

from purchasing import audit, clock, permissions, selectors
from purchasing.buying import adoption, outcomes
from purchasing.models import Purchase, RentedNumber, Team, VirtualNumber
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.provider import unrecorded
from purchasing.states import State
from purchasing.workflow import locked, locked_team, text_of

WHO_DECIDES = "Only the team admin can decide about numbers that are rented but not in the record."


@dataclass(frozen=True)
class Unknown:
    """A number that a list shows and the record does not explain, with the open purchase of it here, if any."""

    number: VirtualNumber
    record: Purchase | None

    @property
    def is_asked_for(self) -> bool:
        """Whether it was asked for here and is not bought yet: keeping it moves that purchase."""
        return self.record is not None and self.record.state != State.PURCHASED


def unknown_for(team: Team) -> list[Unknown]:
    """What the keys of a team show and the record does not explain, one for each id."""
    rows = {row.provider_id: row for row in unrecorded.unknown_for(team)}
    records = selectors.records_of([row.phone_number for row in rows.values()])
    return [Unknown(row, records.get(row.phone_number)) for row in rows.values()]


@transaction.atomic
def keep(
    team: Team,
    provider_ids: Collection[int],
    *,
    reason: str,
    actor: audit.Actor,
    upfront_cost: Decimal | None = None,
    monthly_cost: Decimal | None = None,
) -> int:
    """Record these numbers as the team's, with the cost of each where it is stated. Returns how many.

    One that was asked for here becomes that purchase, bought; only a superuser may do that. All or none.
    """
    chosen, team = _chosen(team, provider_ids, reason, actor)
    costs = {"upfront_cost": upfront_cost, "monthly_cost": monthly_cost}
    # By purchase: of two ids of one number the first becomes the purchase, the other one stays without a record.
    asked_for = {
        unknown.record.pk: (unknown.number.provider_id, unknown.record)
        for unknown in reversed(chosen)
        if unknown.record is not None and unknown.is_asked_for
    }
    records = dict(asked_for.values())
    for request_id in sorted(
        {record.request_id for record in records.values()}
    ):  # all locks before any event
        locked(request_id, [record.pk for record in records.values() if record.request_id == request_id])
    for unknown in chosen:
        record = records.get(unknown.number.provider_id)
        if record is not None:
            adoption.keep(record, provider_id=unknown.number.provider_id, reason=reason, actor=actor, **costs)
        else:
            _decide(team, unknown.number, reason, actor, kept=True, **costs)
    return len(chosen)


@transaction.atomic
def dismiss(team: Team, provider_ids: Collection[int], *, reason: str, actor: audit.Actor) -> int:
    """Record that these numbers are no concern of the team's. Returns how many. All or none."""
    chosen, team = _chosen(team, provider_ids, reason, actor)
    for unknown in chosen:
        _decide(team, unknown.number, reason, actor, kept=False)
    return len(chosen)


def _chosen(
    team: Team, provider_ids: Collection[int], reason: str, actor: audit.Actor
) -> tuple[list[Unknown], Team]:
    """Lock the ids and the team, and find what is chosen. Raises `Problem` for what was decided in the meantime."""
    if not reason.strip():
        raise Problem("Say why: the reason stays in the record.")
    outcomes.lock_ids()
    team = locked_team(team.pk)
    if actor.user is None or not permissions.may_manage(permissions.as_stored(actor.user), team):
        raise NotYours(WHO_DECIDES)
    wanted = set(provider_ids)
    if not wanted:
        raise Problem("Tick at least one number.")
    chosen = [unknown for unknown in unknown_for(team) if unknown.number.provider_id in wanted]
    if len(chosen) != len(wanted):
        raise AlreadyMoved(
            "Some of these numbers were decided about, or are gone, since you opened this page. Look at it again."
        )
    return chosen, team


def _decide(
    team: Team,
    number: VirtualNumber,
    reason: str,
    actor: audit.Actor,
    *,
    kept: bool,
    upfront_cost: Decimal | None = None,
    monthly_cost: Decimal | None = None,
) -> None:
    assert actor.user is not None  # a team admin, as `_chosen` found
    RentedNumber.objects.update_or_create(
        provider_id=number.provider_id,
        defaults={
            "phone_number": number.phone_number,
            "team": team,
            "kept": kept,
            "reason": reason.strip(),
            "upfront_cost": upfront_cost,
            "monthly_cost": monthly_cost,
            "decided_by": actor.user,
            "decided_at": clock.now(),
            "ended_at": None,
        },
    )
    data: dict[str, Any] = {"provider_id": number.provider_id, "phone_number": number.phone_number}
    if kept:
        data |= {"upfront_cost": text_of(upfront_cost), "monthly_cost": text_of(monthly_cost)}
    audit.record(
        "number.kept" if kept else "number.dismissed",
        actor=actor,
        team=team,
        note=reason.strip(),
        **data,
    )
