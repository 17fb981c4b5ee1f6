"""What an approver needs for one decision, on one screen, and up to which version a person has seen a request.

What several requests share (a team's budget and key, what IdentityCall showed last) is read once for all of them, and
what belongs to a request once for all its numbers.
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
from purchasing.models import Approval, Purchase, PurchaseRequest, SeenVersion, User
from purchasing.provider import offers, pauses
from purchasing.states import State
from purchasing.teams import budgets, papers

EARLIER = 5  # requests of the same person that are shown


@dataclass(frozen=True)
class Money:
    """The money of a team, and what a decision does to it: `needs` is what it adds to what is committed.

    Costs that nobody knows are in no sum; which of them lack some is told with it.
    """

    budget: budgets.Budget
    committed_unknown: bool
    pending_unknown: bool
    needs: Decimal = Decimal(0)
    unknown: int = 0  # costs that `needs` lacks

    @classmethod
    def of(cls, team):
        """How the team stands now."""
        unknown = Purchase.objects.filter(Q(upfront_cost=None) | Q(monthly_cost=None), request__team=team)
        states = set(unknown.filter(released_at=None).values_list("state", flat=True))
        return cls(
            budgets.of(team),
            committed_unknown=bool(states & {*budgets.COMMITTED_STATES, State.PURCHASED}),
            pending_unknown=State.PENDING in states,
        )

    def needing(self, needs, unknown=0):
        """The same, with what a decision needs."""
        return replace(self, needs=needs, unknown=unknown)

    @property
    def is_hard(self):
        """Whether there is a budget beyond which nothing is approved."""
        return self.budget.amount is not None and self.budget.hard

    @property
    def committed_after(self):
        """What is committed once it is decided so."""
        return self.budget.committed + self.needs

    @property
    def left_after(self):
        """What is left then, below 0 where it goes beyond the budget; None without a budget."""
        return None if self.budget.amount is None else self.budget.left - self.needs

    @property
    def too_much(self):
        """By how much it is more than the budget allows, 0 where it is not."""
        return (
            max(Decimal(0), -self.left_after) if self.needs and self.budget.amount is not None else Decimal(0)
        )


@dataclass(frozen=True)
class Again:
    """What another yes to a held purchase would be given to, and what that does to the budget."""

    costs: Costs
    money: Money

    @property
    def may_fit(self):
        """Whether the budget lets it through: else no button for it is offered."""
        return not self.money.is_hard or (self.costs.is_sure and not self.money.too_much)


def again(purchase, offered, offered_at, money):
    """What another yes to a held purchase would mean: `offered` is what IdentityCall shows for it, or None.

    What is reserved for it already is committed, so it needs only what it costs more now.
    """
    reserved = Costs.of(purchase)
    costs = Costs(offered.upfront_cost, offered.monthly_cost, offered_at) if offered else reserved
    unknown = int(None in (costs.upfront, costs.monthly))
    return Again(costs, money.needing(max(costs.sum - reserved.sum, Decimal(0)), unknown))


@dataclass(frozen=True)
class Check:
    """What IdentityCall showed last of the pending numbers of a request: when, and a mark of it to tell changes by."""

    asked_at: datetime | None
    mark: str

    def changes(self, drawn):
        """What is different from the mark `drawn` with which a page was drawn, a sentence each."""
        told = (
            "The request was changed.",
            "Numbers of it were decided.",
            "A price changed, or IdentityCall has confirmed it.",
            "What IdentityCall offers changed.",
        )
        before, now = drawn.split("."), self.mark.split(".")
        if len(before) != len(now):
            return [told[0]]
        return [sentence for sentence, old, new in zip(told, before, now, strict=True) if old != new]


@dataclass(frozen=True)
class Briefing:
    """One request as its decision form shows it to one person. Money in CURRENCY."""

    pending: list[Purchase]
    undecided: list[Purchase]  # those to which this person can say yes
    said_yes: list[
        Purchase
    ]  # those that have this person's yes, or that of whom they stand in for, and lack another
    said_it_all: bool  # whether it was this person who said yes to all of these
    figures: selectors.Figures  # of the undecided
    principal: User | None  # for whom the person decides, where that is somebody else
    money: Money
    yeses_needed: int
    earlier: list[PurchaseRequest]
    check: Check
    seen: bool  # whether `changes` are those since this person decided or said 'seen', else since it was sent
    changes: list[str] = field(default_factory=list)

    @property
    def unconfirmed(self):
        """How many of the undecided have a price that IdentityCall has not confirmed."""
        return sum(not Costs.of(purchase).is_sure for purchase in self.undecided)

    @property
    def may_fit(self):
        """Whether a yes to some of it can go through: else no button for it is offered."""
        return not self.money.is_hard or any(
            not purchase.is_blocked and Costs.of(purchase).sum <= self.money.budget.left
            for purchase in self.undecided
        )

    @property
    def allowed(self):
        """What of it the budget may allow, all in all, with what that needs."""
        able = selectors.figures(purchase for purchase in self.undecided if not purchase.is_blocked)
        return self.money.needing(able.first_month, able.unknown)


def with_what_waits(requests):
    """Give each request the figures of its pending numbers (`waits`), with one query for all of them."""
    requests = list(requests)
    waiting = _pending(requests)
    for asked in requests:
        asked.waits = selectors.figures(waiting[asked.pk])
    return requests


def brief(requests, user):
    """Give each request its `briefing` for `user`, and each pending number of it what its row shows."""
    requests = list(requests)
    pending, checks = _looked_up(requests)
    given = _yeses(pending)
    money_of = {team.pk: Money.of(team) for team in {asked.team for asked in requests}}
    seen = dict(SeenVersion.objects.filter(user=user, request__in=requests).values_list("request", "version"))
    for asked in requests:
        numbers, money = pending[asked.pk], money_of[asked.team_id]
        voices, needed = permissions.deciding_as(user, asked), permissions.approvals_needed(asked)
        _tell_yeses(asked, numbers, given)
        said_yes = [p for p in numbers if _has_yes_of(given[p.pk], voices, needed)]
        undecided = [purchase for purchase in numbers if purchase not in said_yes]
        for purchase in numbers:
            purchase.is_blocked = money.is_hard and not Costs.of(purchase).is_sure
        figures = selectors.figures(undecided)
        asked.briefing = Briefing(
            pending=numbers,
            undecided=undecided,
            said_yes=said_yes,
            said_it_all=all(user.pk in {yes.approver_id for yes in given[p.pk]} for p in said_yes),
            figures=figures,
            principal=next((voice.principal for voice in voices if voice.principal != user), None),
            money=money.needing(figures.first_month, figures.unknown),
            yeses_needed=needed,
            earlier=_earlier(asked),
            check=checks[asked.pk],
            seen=asked.pk in seen,
            changes=versions.changes_since(asked, seen.get(asked.pk, 1)),
        )
    return requests


def _pending(requests):
    found = {asked.pk: [] for asked in requests}
    requests = {asked.pk: asked for asked in requests}
    for purchase in Purchase.objects.filter(request__in=found, state=State.PENDING).order_by("pk"):
        purchase.request = requests[purchase.request_id]
        found[purchase.request_id].append(purchase)
    return found


def _earlier(asked):
    earlier = PurchaseRequest.objects.filter(requester=asked.requester_id, team=asked.team)
    return selectors.with_summaries(earlier.exclude(pk=asked.pk).order_by("-pk")[:EARLIER])


# --- Who has said yes ---------------------------------------------------------------------------------------------


def _yeses(pending):
    """The yeses that count, by number, oldest first, for the pending numbers of requests (by their ids).

    One query for all, and one question for each pair of people.
    """
    by_pk = {purchase.pk: purchase for numbers in pending.values() for purchase in numbers}
    found, counts = defaultdict(list), {}
    rows = Approval.objects.filter(
        purchase__request__in=pending, purchase__state=State.PENDING, superseded_at=None
    )
    for approval in rows.select_related("approver", "on_behalf_of").order_by("pk"):
        purchase = by_pk.get(approval.purchase_id)
        if purchase is None or approval.version != purchase.version:
            continue
        who = (purchase.request_id, approval.approver_id, approval.on_behalf_of_id)
        if who not in counts:
            counts[who] = permissions.still_counts(approval, purchase.request)
        if counts[who]:
            found[approval.purchase_id].append(approval)
    return found


def _people(yeses):
    """Whose yes it is: who gave it, and for whom."""
    return {pk for yes in yeses for pk in (yes.approver_id, yes.on_behalf_of_id) if pk}


def _has_yes_of(yeses, voices, needed):
    """Whether a number has every yes that somebody with these `voices` can give, and waits for somebody else's."""
    said = _people(yeses)
    return len(yeses) < needed and bool(said) and all(said & voice.ids for voice in voices)


def _tell_yeses(asked, pending, given):
    """Give each number the sentence on who said yes and who is missing; the same for all with the same yeses."""
    told = {}
    for purchase in pending:
        who = tuple((yes.approver_id, yes.on_behalf_of_id) for yes in given[purchase.pk])
        if who and who not in told:
            told[who] = approvals.waits_for_second(purchase, asked)
        purchase.second_words = told.get(who, "")


def tell_yeses(asked, pending):
    """Give the pending numbers of a request their `second_words`; returns who may still say yes to some of them."""
    for purchase in pending:
        purchase.request = asked
    given = _yeses({asked.pk: pending})
    _tell_yeses(asked, pending, given)
    done = set.intersection(*(_people(given[purchase.pk]) for purchase in pending)) if pending else set()
    return list(dict.fromkeys(str(voice) for voice in permissions.deciders(asked) if not voice.ids & done))


# --- What IdentityCall showed -------------------------------------------------------------------------------------


def checks(requests):
    """What IdentityCall showed last of the pending numbers of some requests: a `Check` by the request's id."""
    return _looked_up(list(requests))[1]


def _looked_up(requests):
    """The pending numbers of each request with what was shown of them (`offered`, `looked_at`), and its `Check`."""
    pending, found = _pending(requests), {}
    by_team = defaultdict(list)
    for asked in requests:
        by_team[asked.team].append(asked)
    for team, of_team in by_team.items():
        _look_up(team, [purchase for asked in of_team for purchase in pending[asked.pk]])
    for asked in requests:
        numbers = pending[asked.pk]
        looks = [purchase.looked_at for purchase in numbers if purchase.looked_at]
        prices = [(p.pk, p.upfront_cost, p.monthly_cost, p.cost_confirmed_at is None) for p in numbers]
        offered = [(p.pk, p.offered and (p.offered.upfront_cost, p.offered.monthly_cost)) for p in numbers]
        mark = f"{asked.version}.{len(numbers)}.{_digest(prices)}.{_digest(offered)}"
        found[asked.pk] = Check(asked_at=min(looks, default=None), mark=mark)
    return pending, found


def _digest(rows):
    return hashlib.blake2s(repr(rows).encode(), digest_size=4).hexdigest()


def _look_up(team, purchases):
    """Give each number what is known of its papers, the offer that the team's key showed last, and when.

    Offer and time are None where nobody knows.
    """
    papers.tell(team, purchases)
    key = pauses.current_key(team)
    places = {place for purchase in purchases for place in offers.places_of(purchase)}
    sightings = offers.Sightings(key, places)
    for purchase in purchases:
        purchase.offered, purchase.looked_at = sightings.of(purchase)
        purchase.price_differs = purchase.offered is not None and (
            (purchase.offered.upfront_cost, purchase.offered.monthly_cost)
            != (purchase.upfront_cost, purchase.monthly_cost)
        )


# --- What a person has seen ---------------------------------------------------------------------------------------


def note_seen(asked, user, version):
    """Keep that a person has seen a request up to `version`, on every device: later changes are shown to them."""
    version = min(version, asked.version)
    with transaction.atomic():
        row, made = SeenVersion.objects.get_or_create(user=user, request=asked, defaults={"version": version})
        if not made:
            SeenVersion.objects.filter(pk=row.pk, version__lt=version).update(version=version)
