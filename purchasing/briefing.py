"""What an approver needs for one decision, on one screen."""

from dataclasses import dataclass, field
from decimal import Decimal

from purchasing import approving, budgets, changes, inventory, pauses, rules, selectors
from purchasing.models import Purchase, PurchaseRequest, User
from purchasing.states import State

EARLIER = 5  # requests of the same person that are shown


@dataclass(frozen=True)
class Briefing:
    """One request as its decision form shows it. Money in CURRENCY."""

    pending: list[Purchase]
    figures: selectors.Figures
    unconfirmed: int
    principal: User | None  # for whom the person decides, where that is somebody else
    budget: budgets.Budget
    after: Decimal  # committed once all of it is approved
    yeses_needed: int
    earlier: list[PurchaseRequest]
    changes: list[str] = field(default_factory=list)

    @property
    def fits(self):
        """Whether the budget holds all of it, as far as its costs are known."""
        return self.budget.amount is None or (not self.unconfirmed and self.after <= self.budget.amount)


def with_what_waits(requests):
    """Give each request the figures of its pending numbers (`waits`), with one query for all of them."""
    requests = list(requests)
    waiting = {asked.pk: [] for asked in requests}
    for purchase in Purchase.objects.filter(request__in=waiting, state=State.PENDING):
        waiting[purchase.request_id].append(purchase)
    for asked in requests:
        asked.waits = selectors.figures(waiting[asked.pk])
    return requests


def brief(asked, user, *, seen_version=None):
    """The briefing on a request for `user`, who saw `seen_version` of it last."""
    pending = list(asked.purchases.filter(state=State.PENDING).order_by("pk"))
    key = pauses.current_key(asked.team)
    for purchase in pending:
        offer, seen_at = inventory.last_offer(key, purchase) if key else (None, None)
        purchase.offered, purchase.looked_at = offer, seen_at
        purchase.request = asked
        purchase.second_words = approving.waits_for_second(purchase, asked)
    figures = selectors.figures(pending)
    budget = budgets.of(asked.team)
    principals = rules.approves_as(user, asked)
    earlier = PurchaseRequest.objects.filter(requester=asked.requester_id, team=asked.team).exclude(
        pk=asked.pk
    )
    return Briefing(
        pending=pending,
        figures=figures,
        unconfirmed=sum(purchase.cost_confirmed_at is None for purchase in pending),
        principal=next((person for person in principals if person != user), None)
        if user not in principals
        else None,
        budget=budget,
        after=budget.committed + figures.first_month,
        yeses_needed=approving.yeses_needed(asked),
        earlier=selectors.with_summaries(earlier.order_by("-pk")[:EARLIER]),
        changes=changes.since(asked, seen_version) if seen_version else [],
    )
