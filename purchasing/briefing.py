"""What an approver needs for one decision, on one screen."""

from dataclasses import dataclass, field
from decimal import Decimal

from purchasing import approving, budgets, inventory, pauses, rules, selectors, words
from purchasing.models import Purchase, PurchaseRequest, RequestVersion, User
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
        yeses_needed=rules.yeses_needed(asked),
        earlier=selectors.with_summaries(earlier.order_by("-pk")[:EARLIER]),
        changes=changes_since(asked, seen_version) if seen_version else [],
    )


LABELS = {
    "name": "name",
    "number_type": "type",
    "requirement_group_id": "requirement group",
    "record_calls": "recording",
    "upfront_cost": "cost once",
    "monthly_cost": "cost a month",
}


def changes_since(asked, version):
    """What changed in a request since its `version`, a sentence each."""
    old = RequestVersion.objects.filter(request=asked, version__gte=version).order_by("version").first()
    if old is None:
        return []
    sentences = []
    if old.reason != asked.reason:
        sentences.append(f"The reason was: {old.reason}")
    now = {purchase.phone_number: purchase for purchase in asked.purchases.all()}
    for line in old.lines:
        purchase = now.get(line["phone_number"])
        if purchase is not None:
            sentences += _differences(line, purchase)
    return sentences


def _differences(line, purchase):
    number = words.phone(purchase.phone_number)
    if purchase.state != State.PENDING:
        return [f"{number} is now: {State(purchase.state).label}."]
    return [
        f"{number}: {label} was {_shown(field, line.get(field))}, is {_shown(field, getattr(purchase, field))}."
        for field, label in LABELS.items()
        if _shown(field, line.get(field)) != _shown(field, getattr(purchase, field))
    ]


def _shown(field, value):
    if field in ("upfront_cost", "monthly_cost"):
        return words.money(value)
    if field == "record_calls":
        return "recorded" if value else "not recorded"
    return str(value) if value not in (None, "") else "none"
