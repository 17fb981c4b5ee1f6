"""The price guard: compares the approved costs with what the provider asks just before the claim."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from purchasing import words
from purchasing.identitycall.resources import Offer
from purchasing.models import Approval, Purchase
from purchasing.states import Cause

COSTS = ("upfront_cost", "monthly_cost")


class Hold(Exception):
    """A person has to decide before this is bought."""

    def __init__(self, cause: Cause, words: str) -> None:
        super().__init__(words)
        self.cause, self.words = cause, words


def hold_if_dearer(purchase: Purchase, approvals: Sequence[Approval], offer: Offer | None) -> None:
    """Raise `Hold`, with both prices, for a cost above the approved one or one that the provider never confirmed.

    An unconfirmed cost is allowed if it was approved as such. `offer` is what the list shows just before the claim,
    None where it lacks the number. A cost that was unknown when approved may not rise once a look has shown it.
    """
    approved = _approved_costs(purchase, approvals)
    if offer is not None and any(
        None not in (getattr(offer, name), cost) and getattr(offer, name) > cost
        for name, cost in approved.items()
    ):
        raise Hold(
            Cause.PRICE, _prices("Approved" if _is_known(approvals) else "Shown before", approved, offer)
        )
    may_be_unknown = all(approval.unconfirmed_cost_ok for approval in approvals)
    if may_be_unknown:
        return
    if offer is not None and None in (offer.upfront_cost, offer.monthly_cost):
        raise Hold(
            Cause.COST_UNKNOWN,
            "IdentityCall lists this number, but no cost that can be read. "
            "It was not approved at a price nobody has confirmed.",
        )
    if offer is not None and None in approved.values():
        raise Hold(Cause.COST_UNKNOWN, _prices("Approved", approved, offer))
    if offer is None and purchase.cost_confirmed_at is None:
        raise Hold(
            Cause.COST_UNKNOWN,
            "IdentityCall does not list this number just now and has not confirmed its cost. "
            "It was not approved at a price nobody has confirmed.",
        )


def _approved_costs(purchase: Purchase, approvals: Sequence[Approval]) -> dict[str, Decimal | None]:
    """What it may cost, by name: the lowest approved cost, else what a look has shown since, else None."""
    found: dict[str, Decimal | None] = {}
    for name in COSTS:
        known = [cost for approval in approvals if (cost := getattr(approval, name)) is not None]
        found[name] = min(known, default=getattr(purchase, name))
    return found


def _is_known(approvals: Sequence[Approval]) -> bool:
    return all(None not in (approval.upfront_cost, approval.monthly_cost) for approval in approvals)


def _prices(what: str, costs: dict[str, Decimal | None], offer: Offer) -> str:
    return (
        f"{what}: {words.money(costs['upfront_cost'])} once and {words.money(costs['monthly_cost'])} a "
        f"month. IdentityCall now asks {words.money(offer.upfront_cost)} once and {words.money(offer.monthly_cost)} "
        "a month."
    )


class Seen(Protocol):
    """The offer of a look, and when it was seen."""

    @property
    def offer(self) -> Offer | None: ...
    @property
    def seen_at(self) -> datetime: ...


def shown_costs(purchase: Purchase, look: Seen) -> dict[str, datetime | Decimal]:
    """The columns that a look fills in: when the list confirmed the costs, and any cost that was unknown until now.

    An unknown cost was approved as such; once known it counts towards the team's budget.
    """
    offer = look.offer
    if offer is None or None in (offer.upfront_cost, offer.monthly_cost):
        return {}
    unknown = {name: getattr(offer, name) for name in COSTS if getattr(purchase, name) is None}
    return {"cost_confirmed_at": look.seen_at, **unknown}
