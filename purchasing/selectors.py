"""Queries, each named for the question it answers."""

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import F, Q
from django.utils import timezone

from purchasing import clock, permissions
from purchasing.models import ApiKey, Approval, AuditEvent, Purchase, PurchaseRequest, Team, User
from purchasing.states import OPEN, Role, State

MOVING = (State.APPROVED, State.PURCHASING, State.UNCONFIRMED)


@dataclass(frozen=True)
class Figures:
    """What some purchases cost, in CURRENCY. `unknown` is how many of them lack a cost."""

    count: int
    upfront: Decimal
    monthly: Decimal
    unknown: int

    @property
    def twelve_months(self):
        """The upfront cost and twelve monthly costs."""
        return self.upfront + 12 * self.monthly

    @property
    def first_month(self):
        """The upfront cost and the first month."""
        return self.upfront + self.monthly


def figures(purchases):
    """The sums over `purchases` (an iterable). Unknown costs are in no sum; `unknown` counts them."""
    purchases = list(purchases)
    return Figures(
        count=len(purchases),
        upfront=sum((p.upfront_cost or Decimal(0) for p in purchases), Decimal(0)),
        monthly=sum((p.monthly_cost or Decimal(0) for p in purchases), Decimal(0)),
        unknown=sum(p.upfront_cost is None or p.monthly_cost is None for p in purchases),
    )


def is_due(now):
    """`clock.has_come` as a condition on `due_at` for the database (for purchases that are not pending)."""
    return Q(due_at__lte=now) | Q(due_at__gt=now + clock.LONGEST_WAIT)


def open_records(phone_number):
    """The purchases of a number that are open, or bought and not released: at most one (`one_record_a_number`)."""
    same = Purchase.objects.filter(phone_number=phone_number)
    return same.filter(Q(state__in=sorted(OPEN)) | Q(state=State.PURCHASED, released_at=None))


def requests_seen_by(user):
    """Requests of the teams that `user` may read."""
    requests = PurchaseRequest.objects.select_related("team", "requester")
    if permissions.sees_every_team(user):
        return requests
    return requests.filter(team__memberships__user=user).distinct()


def purchases_seen_by(user):
    """Purchases of the teams that `user` may read."""
    purchases = Purchase.objects.select_related("request__team", "request__requester", "bought_with").defer(
        "bought_with__secret"
    )
    if permissions.sees_every_team(user):
        return purchases
    return purchases.filter(request__team__memberships__user=user).distinct()


def events_seen_by(user):
    """Audit events of the teams that `user` may read. Only people who see every team see events without a team."""
    events = AuditEvent.objects.select_related("team", "request")
    if permissions.sees_every_team(user):
        return events
    return events.filter(team__in=Team.objects.filter(memberships__user=user))


def requests_to_decide(user):
    """Requests, oldest first, with pending numbers that `user` may decide and that lack their approval."""
    requests = PurchaseRequest.objects.select_related("team", "requester").filter(team__is_active=True)
    requests = requests.exclude(requester=user)
    if user.is_superuser:
        mine = requests.filter(pk__in=_not_approved_by([user]))
    else:
        own = requests.filter(team__memberships__user=user, team__memberships__role=Role.APPROVER)
        mine = own.filter(pk__in=_not_approved_by([user]))
        for row in _stands_in(user):
            others = requests.filter(team=row.team).exclude(requester=row.approver)
            # Nobody decides the requests of the person they stand in for.
            mine = mine.exclude(team=row.team, requester=row.approver)
            if not own.filter(team=row.team).exists() and permissions.is_entitled_approver(
                row.approver, row.team
            ):
                mine = requests.filter(
                    Q(pk__in=mine.values("pk"))
                    | Q(pk__in=others.filter(pk__in=_not_approved_by([user, row.approver])).values("pk"))
                )
    again = list(_with_enough_approvals(user, requests))
    return requests.filter(Q(pk__in=mine.values("pk")) | Q(pk__in=again)).order_by("pk")


def _stands_in(user):
    day = timezone.localdate()
    rows = user.stands_in_for.filter(
        from_day__lte=day, to_day__gte=day, ended_at=None, team__memberships__user=user
    )
    return rows.select_related("team", "approver").distinct()


def _not_approved_by(people):
    """Requests with a pending number that none of these people has approved as it is now, nor anybody for them."""
    given = Approval.objects.filter(
        _at_the_current_cost("upfront_cost"), _at_the_current_cost("monthly_cost")
    )
    given = given.filter(superseded_at=None, version=F("purchase__version")).filter(
        Q(approver__in=people) | Q(on_behalf_of__in=people)
    )
    return (
        Purchase.objects.filter(state=State.PENDING)
        .exclude(pk__in=given.values("purchase"))
        .values("request")
    )


def _at_the_current_cost(name):
    unknown = Q(**{f"{name}__isnull": True, f"purchase__{name}__isnull": True})
    return unknown | Q(**{name: F(f"purchase__{name}")})


def _with_enough_approvals(user, requests):
    """Requests that `user` approved while two approvals were needed, and for which one is enough now."""
    given = Approval.objects.filter(approver=user, superseded_at=None, purchase__state=State.PENDING)
    for request in requests.filter(pk__in=given.values("purchase__request")):
        if permissions.may_approve(user, request) and permissions.approvals_needed(request) == 1:
            yield request.pk


def held_for(user):
    """Held purchases that `user` may decide about."""
    held = Purchase.objects.filter(state=State.HELD).select_related("request__team", "request__requester")
    if not user.is_superuser:
        held = held.filter(
            request__team__memberships__user=user,
            request__team__memberships__role__in=[Role.APPROVER, Role.ADMIN],
        )
    return held.exclude(request__requester=user).distinct().order_by("pk")


def refused_keys_of(user):
    """Current keys that IdentityCall refuses, in the teams that `user` manages."""
    keys = ApiKey.objects.filter(retired_at=None, credential__refused_at__isnull=False).select_related("team")
    return keys.filter(team__in=permissions.teams_managed_by(user))


def blind_keys_of(user):
    """Current keys that no longer show their numbers, in the teams that `user` manages."""
    keys = ApiKey.objects.filter(retired_at=None, credential__blind_at__isnull=False).select_related("team")
    return keys.filter(team__in=permissions.teams_managed_by(user))


def state_counts(purchases):
    """How many of these purchases are in each state: `[(State, count)]` in the order of the states."""
    counts = Counter(purchase.state for purchase in purchases)
    return [(state, counts[state]) for state in State if state in counts]


@dataclass(frozen=True)
class Summary:
    """A request as lists show it: its figures, and how many of its numbers are in each state, as in `state_counts`."""

    asked: PurchaseRequest
    figures: Figures
    states: list[tuple[State, int]]


def summaries(requests):
    """The `Summary` of each request, in their order, with one query for all of them."""
    requests = list(requests)
    by_request = {request.pk: [] for request in requests}
    for purchase in Purchase.objects.filter(request__in=by_request).order_by("pk"):
        by_request[purchase.request_id].append(purchase)
    return [_summary(request, by_request[request.pk]) for request in requests]


def _summary(request, purchases):
    return Summary(request, figures(purchases), state_counts(purchases))


def approvers_of(request):
    """The people who may decide this request today: approvers and their stand-ins."""
    return list(dict.fromkeys(decider.person for decider in permissions.deciders(request)))


def admins_of(team):
    """The team's admins who can log in."""
    return (
        User.objects.filter(memberships__team=team, memberships__role=Role.ADMIN, is_active=True)
        .distinct()
        .order_by("username")
    )


def records_of(phone_numbers):
    """The purchases that forbid another one of these numbers: `{phone_number: Purchase}`."""
    records = Purchase.objects.select_related("request__team", "request__requester").filter(
        phone_number__in=phone_numbers
    )
    open_ones = records.filter(state__in=sorted(OPEN)) | records.filter(
        state=State.PURCHASED, released_at__isnull=True
    )
    return {record.phone_number: record for record in open_ones}


def others_with_its_id(purchase):
    """Other numbers, of any team, that are recorded under a purchase's IdentityCall id: a person said so."""
    if purchase.provider_id is None:
        return []
    others = Purchase.objects.filter(provider_id=purchase.provider_id).exclude(pk=purchase.pk)
    return list(others.order_by("pk").values_list("phone_number", flat=True))


def waiting_long(user):
    """Approved purchases, in the teams that `user` manages, whose long wait was reported."""
    waiting = Purchase.objects.filter(state=State.APPROVED, waiting_told_at__isnull=False)
    if not user.is_superuser:
        waiting = waiting.filter(
            request__team__memberships__user=user, request__team__memberships__role=Role.ADMIN
        )
    return waiting.select_related("request__team").order_by("pk")
