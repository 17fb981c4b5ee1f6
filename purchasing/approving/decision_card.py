"""What an approver needs for a decision, on one screen, and up to which version each person has seen a request.

What several requests share (a team's budget and key, what IdentityCall showed last) is read once for all of them; what
belongs to a request is read once for all its numbers.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Q

from purchasing import permissions, selectors
from purchasing.approving import approvals
from purchasing.approving.approvals import Costs
from purchasing.asking import versions
from purchasing.identitycall.resources import Offer
from purchasing.models import Approval, Purchase, PurchaseRequest, SeenVersion, User
from purchasing.provider import offers, pauses
from purchasing.states import State
from purchasing.teams import budgets, papers

EARLIER_SHOWN = 5  # earlier requests of the same requester on the card


@dataclass(frozen=True)
class Money:
    """A team's budget and what a decision does to it: `needs` is what it adds to the committed spend.

    Unknown costs are in no sum; flags and `unknown` say which sums lack some.
    """

    budget: budgets.Budget
    committed_unknown: bool
    pending_unknown: bool
    needs: Decimal = Decimal(0)
    unknown: int = 0  # how many costs `needs` lacks

    @classmethod
    def of(cls, team):
        """The team's budget, committed and pending spend."""
        unknown = Purchase.objects.filter(Q(upfront_cost=None) | Q(monthly_cost=None), request__team=team)
        states = set(unknown.filter(released_at=None).values_list("state", flat=True))
        return cls(
            budgets.of(team),
            committed_unknown=bool(states & {*budgets.COMMITTED_STATES, State.PURCHASED}),
            pending_unknown=State.PENDING in states,
        )

    def needing(self, needs, unknown=0):
        """The same for a decision that adds `needs`, in which `unknown` costs are missing."""
        return replace(self, needs=needs, unknown=unknown)

    @property
    def is_hard(self):
        """Whether the team has a hard budget: nothing is approved beyond it."""
        return self.budget.amount is not None and self.budget.hard

    @property
    def committed_after(self):
        """The committed spend after the decision."""
        return self.budget.committed + self.needs

    @property
    def left_after(self):
        """What is left after the decision, negative beyond the budget; None without a budget."""
        return None if self.budget.amount is None else self.budget.left - self.needs

    @property
    def too_much(self):
        """By how much the decision goes beyond the budget, 0 where it does not."""
        return (
            max(Decimal(0), -self.left_after) if self.needs and self.budget.amount is not None else Decimal(0)
        )


@dataclass(frozen=True)
class Again:
    """What approving a held purchase again would cost, and what that does to the budget."""

    costs: Costs
    money: Money

    @property
    def may_fit(self):
        """Whether the budget allows it; if not, the page has no button for it."""
        return not self.money.is_hard or (self.costs.is_sure and not self.money.too_much)


def again(purchase, offered, offered_at, money):
    """What approving a held purchase again would mean. `offered` is the offer that IdentityCall shows for it, or None.

    The costs it was approved at are committed already, so only what it costs beyond them is needed.
    """
    reserved = Costs.of(purchase)
    costs = Costs(offered.upfront_cost, offered.monthly_cost, offered_at) if offered else reserved
    unknown = int(None in (costs.upfront, costs.monthly))
    return Again(costs, money.needing(max(costs.sum - reserved.sum, Decimal(0)), unknown))


@dataclass(frozen=True)
class Check:
    """When IdentityCall last showed a request's pending numbers, and a mark of what it showed, to detect changes."""

    asked_at: datetime | None
    mark: str

    def changes(self, drawn):
        """What differs from `drawn`, the mark that a page was drawn with: a sentence for each difference."""
        sentences = (
            "The request was changed.",
            "Some of its numbers were decided.",
            "A price changed, or IdentityCall has confirmed it.",
            "What IdentityCall offers changed.",
        )
        before, now = drawn.split("."), self.mark.split(".")
        if len(before) != len(now):
            return [sentences[0]]
        return [sentence for sentence, old, new in zip(sentences, before, now, strict=True) if old != new]


@dataclass(frozen=True)
class PendingNumber:
    """A pending number as the decision card shows it."""

    purchase: Purchase
    papers: papers.Papers
    # What the team's key showed last, and when. Both are None before anybody looked; only the offer, where the number
    # was not listed.
    offered: Offer | None
    looked_at: datetime | None
    approvals: str  # a sentence on who approved it and who has to approve it too, '' while nobody has
    is_blocked: bool  # a hard budget allows no price that IdentityCall has not confirmed

    @property
    def costs(self):
        """What an approval of it agrees to pay."""
        return Costs.of(self.purchase)

    @property
    def price_differs(self):
        """Whether IdentityCall offers it at another price."""
        if self.offered is None:
            return False
        return (self.offered.upfront_cost, self.offered.monthly_cost) != (
            self.purchase.upfront_cost,
            self.purchase.monthly_cost,
        )


@dataclass(frozen=True)
class Briefing:
    """One request as its decision card shows it to one person. Money in CURRENCY."""

    asked: PurchaseRequest
    undecided: list[PendingNumber]  # those that this person can approve
    # Those that this person or their principal approved and that wait for another approver.
    approved: list[PendingNumber]
    approved_by_user: bool  # whether it was this person who gave all these approvals
    figures: selectors.Figures  # of the undecided
    principal: User | None  # for whom the person decides, where that is somebody else
    money: Money
    approvals_needed: int
    earlier: list[selectors.Summary]
    check: Check
    seen: bool  # whether `changes` are those since this person decided or clicked 'Seen', else since it was sent
    changes: list[str] = field(default_factory=list)

    @property
    def pending_count(self):
        """How many numbers of the request are pending."""
        return len(self.undecided) + len(self.approved)

    @property
    def unconfirmed(self):
        """How many of the undecided have a price that IdentityCall has not confirmed."""
        return sum(not number.costs.is_sure for number in self.undecided)

    @property
    def may_fit(self):
        """Whether the budget allows any of the undecided; if not, the card has no button to approve."""
        return not self.money.is_hard or any(
            not number.is_blocked and number.costs.sum <= self.money.budget.left for number in self.undecided
        )

    @property
    def allowed(self):
        """The budget after approving all of the undecided that are not blocked."""
        able = selectors.figures(number.purchase for number in self.undecided if not number.is_blocked)
        return self.money.needing(able.first_month, able.unknown)


def with_pending_figures(requests):
    """Pairs of each request and the `Figures` of its pending numbers, with one query for all of them."""
    requests = list(requests)
    pending = _pending(requests)
    return [(asked, selectors.figures(pending[asked.pk])) for asked in requests]


def briefings(requests, user):
    """The `Briefing` of each request for `user`, in their order."""
    requests = list(requests)
    pending = _pending(requests)
    sightings = _sightings(requests, pending)
    standing = _standing(pending)
    teams = {asked.team for asked in requests}
    money_of = {team.pk: Money.of(team) for team in teams}
    register_of = {team.pk: papers.Register(team) for team in teams}
    seen = dict(SeenVersion.objects.filter(user=user, request__in=requests).values_list("request", "version"))
    result = []
    for asked in requests:
        money, register = money_of[asked.team_id], register_of[asked.team_id]
        deciding_as, needed = permissions.deciding_as(user, asked), permissions.approvals_needed(asked)
        sentences = _sentences(asked, pending[asked.pk], standing)
        undecided, approved = [], []
        for purchase in pending[asked.pk]:
            offered, looked_at = sightings[purchase.pk]
            number = PendingNumber(
                purchase=purchase,
                papers=register.of_purchase(purchase),
                offered=offered,
                looked_at=looked_at,
                approvals=sentences[purchase.pk],
                is_blocked=money.is_hard and not Costs.of(purchase).is_sure,
            )
            waits_for_others = _waits_for_others(standing[purchase.pk].counting, deciding_as, needed)
            (approved if waits_for_others else undecided).append(number)
        figures = selectors.figures(number.purchase for number in undecided)
        result.append(
            Briefing(
                asked=asked,
                undecided=undecided,
                approved=approved,
                approved_by_user=all(
                    user.pk in {one.approver_id for one in standing[number.purchase.pk].counting}
                    for number in approved
                ),
                figures=figures,
                principal=next((each.principal for each in deciding_as if each.principal != user), None),
                money=money.needing(figures.first_month, figures.unknown),
                approvals_needed=needed,
                earlier=_earlier(asked),
                check=_check(asked, pending[asked.pk], sightings),
                seen=asked.pk in seen,
                changes=versions.changes_since(asked, seen.get(asked.pk, 1)),
            )
        )
    return result


def _pending(requests):
    """The pending numbers of each request: `{request id: [Purchase]}`."""
    found = {asked.pk: [] for asked in requests}
    requests = {asked.pk: asked for asked in requests}
    for purchase in Purchase.objects.filter(request__in=found, state=State.PENDING).order_by("pk"):
        purchase.request = requests[purchase.request_id]
        found[purchase.request_id].append(purchase)
    return found


def _earlier(asked):
    earlier = PurchaseRequest.objects.filter(requester=asked.requester_id, team=asked.team)
    return selectors.summaries(earlier.exclude(pk=asked.pk).order_by("-pk")[:EARLIER_SHOWN])


# --- Who has approved ---------------------------------------------------------------------------------------------


def _standing(pending):
    """How the approvals of the pending numbers of requests stand: `{purchase id: approvals.Standing}`.

    One query for all of them, and one check for each pair of people.
    """
    by_pk = {purchase.pk: purchase for numbers in pending.values() for purchase in numbers}
    found, counts = defaultdict(list), {}
    rows = Approval.objects.filter(
        approvals.SINCE_MOVED, purchase__request__in=pending, purchase__state=State.PENDING
    )
    for approval in rows.select_related("approver", "on_behalf_of").order_by("pk"):
        purchase = by_pk.get(approval.purchase_id)
        if purchase is None:
            continue
        who = (purchase.request_id, approval.approver_id, approval.on_behalf_of_id)
        if who not in counts:
            counts[who] = permissions.still_counts(approval, purchase.request)
        if counts[who]:
            found[approval.purchase_id].append(approval)
    return {pk: approvals.standing_of(purchase, found[pk]) for pk, purchase in by_pk.items()}


def _waits_for_others(given, deciding_as, needed):
    """Whether a number has every approval that these `Decider`s can give, and still waits for somebody else's."""
    approved_by = approvals.people_of(given)
    return (
        len(given) < needed
        and bool(approved_by)
        and all(approved_by & decider.ids for decider in deciding_as)
    )


def _sentences(asked, pending, standing):
    """Who approved each number and who has to approve it too, or again: `{purchase id: sentence}`.

    Numbers whose approvals stand alike share a sentence, which takes several queries.
    """
    alike, sentences = {}, {}
    for purchase in pending:
        its = standing[purchase.pk]
        people = tuple((approval.approver_id, approval.on_behalf_of_id) for approval in its.counting)
        if (people, its.outdated) not in alike:
            alike[people, its.outdated] = approvals.sentence(asked, its)
        sentences[purchase.pk] = alike[people, its.outdated]
    return sentences


def describe_approvals(asked, pending):
    """How far the approval of a request's pending numbers is: `(sentences, missing)`.

    `sentences` maps the ids of the numbers to who approved them and who has to approve them too, '' while nobody has.
    `missing` are the names of those who may still approve some of them.
    """
    for purchase in pending:
        purchase.request = asked
    standing = _standing({asked.pk: pending})
    approved_all = [approvals.people_of(standing[purchase.pk].counting) for purchase in pending]
    done = set.intersection(*approved_all) if pending else set()
    missing = [str(decider) for decider in permissions.deciders(asked) if not decider.ids & done]
    return _sentences(asked, pending, standing), list(dict.fromkeys(missing))


# --- What IdentityCall showed -------------------------------------------------------------------------------------


def checks(requests):
    """What IdentityCall showed last of the pending numbers of requests: `{request id: Check}`."""
    requests = list(requests)
    pending = _pending(requests)
    sightings = _sightings(requests, pending)
    return {asked.pk: _check(asked, pending[asked.pk], sightings) for asked in requests}


def _sightings(requests, pending):
    """What each team's key showed last of the pending numbers: `{purchase id: (Offer or None, when or None)}`."""
    by_team, found = defaultdict(list), {}
    for asked in requests:
        by_team[asked.team] += pending[asked.pk]
    for team, purchases in by_team.items():
        places = {place for purchase in purchases for place in offers.places_of(purchase)}
        sightings = offers.Sightings(pauses.current_key(team), places)
        found |= {purchase.pk: sightings.of(purchase) for purchase in purchases}
    return found


def _check(asked, pending, sightings):
    shown = [(purchase, *sightings[purchase.pk]) for purchase in pending]
    looks = [looked_at for _, _, looked_at in shown if looked_at]
    prices = [(p.pk, p.upfront_cost, p.monthly_cost, p.cost_confirmed_at is None) for p in pending]
    offered = [(p.pk, offer and (offer.upfront_cost, offer.monthly_cost)) for p, offer, _ in shown]
    mark = f"{asked.version}.{len(pending)}.{_digest(prices)}.{_digest(offered)}"
    return Check(asked_at=min(looks, default=None), mark=mark)


def _digest(rows):
    return hashlib.blake2s(repr(rows).encode(), digest_size=4).hexdigest()


# --- What a person has seen ---------------------------------------------------------------------------------------


def note_seen(asked, user, version):
    """Record that a person has seen a request up to `version`: on every device, later changes are shown to them."""
    version = min(version, asked.version)
    with transaction.atomic():
        row, made = SeenVersion.objects.get_or_create(user=user, request=asked, defaults={"version": version})
        if not made:
            SeenVersion.objects.filter(pk=row.pk, version__lt=version).update(version=version)
