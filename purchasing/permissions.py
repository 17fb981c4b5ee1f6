"""Who may do what. Predicates only: they write nothing and raise nothing."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from purchasing import clock
from purchasing.models import Membership, Purchase, StandIn, Team, User
from purchasing.states import Role, State

COUNTED_DAYS = 30  # days of a person's requests that count towards the limit for a second approver
NOT_BOUGHT = (State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED)


def roles(user, team):
    """The roles of `user` in `team`; a superuser has all of them, an inactive user none."""
    if not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset(Role)
    return frozenset(Membership.objects.filter(user=user, team=team).values_list("role", flat=True))


def as_stored(user):
    """The account as the database has it now: what a page loaded is old once it has waited for the network."""
    return User.objects.get(pk=user.pk)


def sees_every_team(user):
    """Whether `user` may read the records of all teams: auditors and superusers."""
    return user.is_active and (user.is_superuser or user.is_auditor)


def teams_seen_by(user):
    """The teams whose records `user` may read."""
    if sees_every_team(user):
        return Team.objects.all()
    return Team.objects.filter(memberships__user=user).distinct()


def teams_managed_by(user):
    """The teams that `user` is the admin of; all of them for a superuser."""
    if not user.is_active:
        return Team.objects.none()
    if user.is_superuser:
        return Team.objects.all()
    return Team.objects.filter(memberships__user=user, memberships__role=Role.ADMIN).distinct()


def teams_asked_for_by(user):
    """The teams for which `user` may request numbers."""
    teams = Team.objects.filter(is_active=True)
    if user.is_superuser:
        return teams
    return teams.filter(memberships__user=user, memberships__role=Role.REQUESTER).distinct()


def may_ask(user, team):
    """Whether `user` may request numbers for `team`: a requester, and the team is active."""
    return team.is_active and Role.REQUESTER in roles(user, team)


def is_entitled_approver(user, team):
    """Whether `user` may approve for this team at all (their own requests aside)."""
    return Role.APPROVER in roles(user, team)


@dataclass(frozen=True)
class Decider:
    """A person who may approve or reject, and the approver they do it for: themselves, or the one they stand in for."""

    person: User
    principal: User

    def __str__(self):
        return str(self.person) if self.person == self.principal else f"{self.person} (for {self.principal})"

    @property
    def ids(self):
        """The ids of both. A person and a principal each count for one approval at most."""
        return {self.person.pk, self.principal.pk}


def deciders(request):
    """Who may decide this request today: approvers, and members who stand in for one (superusers are not listed).

    The requester never may, neither directly nor through a stand-in; nor may the requester's stand-in. A stand-in has
    no stand-ins. A stand-in who is an approver decides as themselves.
    """
    members = {}
    rows = Membership.objects.filter(team=request.team, user__is_active=True).select_related("user")
    for row in rows.order_by("user__username"):
        members.setdefault(row.user, set()).add(row.role)
    standing_in = list(
        stand_ins_of(request.team, timezone.localdate()).select_related("approver", "stand_in")
    )
    barred = {request.requester_id} | {
        row.stand_in_id for row in standing_in if row.approver_id == request.requester_id
    }
    approvers = [person for person, held in members.items() if Role.APPROVER in held]
    own = [Decider(person, person) for person in approvers if person.pk not in barred]
    return own + [
        Decider(row.stand_in, row.approver)
        for row in standing_in
        if row.stand_in in members
        and row.stand_in not in approvers
        and row.stand_in_id not in barred
        and row.approver in approvers
        and row.approver_id != request.requester_id
    ]


def deciding_as(user, request):
    """As which `Decider`s `user` may decide this request; empty where they may not."""
    if user.pk == request.requester_id or not user.is_active:
        return []
    own = [decider for decider in deciders(request) if decider.person == user]
    return own or ([Decider(user, user)] if user.is_superuser else [])


def stand_ins_of(team, day):
    """The team's stand-ins on a day."""
    return StandIn.objects.filter(team=team, from_day__lte=day, to_day__gte=day, ended_at=None)


def may_approve(user, request):
    """Whether `user` may approve: an approver of the team or a stand-in for one, and never the requester."""
    return bool(deciding_as(user, request))


def decides_somewhere(user):
    """Whether `user` approves for any team: as an approver, or standing in for one today."""
    day = timezone.localdate()
    return user.is_active and (
        user.is_superuser
        or user.memberships.filter(role=Role.APPROVER).exists()
        or any(
            is_entitled_approver(row.approver, row.team) and roles(user, row.team)
            for row in user.stands_in_for.filter(
                from_day__lte=day, to_day__gte=day, ended_at=None
            ).select_related("approver", "team")
        )
    )


def still_counts(approval, request):
    """Whether an approval still counts: its giver is still a member, and the approver it was given for still entitled.

    An approval given while a stand-in lasted still counts after the stand-in has ended.
    """
    person, principal = approval.approver, approval.on_behalf_of or approval.approver
    return (
        request.requester_id not in (person.pk, principal.pk)
        and bool(roles(person, request.team))
        and is_entitled_approver(principal, request.team)
    )


def is_at(approval, version, costs, unconfirmed_cost_ok=None):
    """Whether an approval is for this version at these costs, the upfront and the monthly one.

    `unconfirmed_cost_ok` is whether the other approvals accept a cost that nobody has confirmed; None where that makes
    no difference.
    """
    return (
        approval.version == version
        and (approval.upfront_cost, approval.monthly_cost) == costs
        and unconfirmed_cost_ok in (None, approval.unconfirmed_cost_ok)
    )


def counting_approvals(purchase, request, *, costs=None, unconfirmed_cost_ok=None):
    """The approvals of a purchase that still count, oldest first: of its version, at `costs` (by default its own).

    Two people approve the same thing or they do not approve it together. `unconfirmed_cost_ok` as in `is_at`.
    """
    costs = costs or (purchase.upfront_cost, purchase.monthly_cost)
    approvals = purchase.approvals.filter(superseded_at=None).select_related("approver", "on_behalf_of")
    return [
        approval
        for approval in approvals.order_by("pk")
        if is_at(approval, purchase.version, costs, unconfirmed_cost_ok) and still_counts(approval, request)
    ]


def approvals_needed(request, *, instead=None):
    """How many approvals a purchase of this request needs: 2 from the team's limit on, else 1.

    The limit is compared with the monthly cost of this request and of everything else that its requester asked for in
    the team within 30 days. A cost that IdentityCall has not confirmed counts as above the limit. `instead` maps ids
    of purchases to confirmed monthly costs that are about to replace theirs.
    """
    limit = request.team.second_approver_from
    if limit is None:
        return 1
    asked = Purchase.objects.filter(
        request__team=request.team, request__requester=request.requester_id
    ).exclude(state__in=NOT_BOUGHT)
    since = clock.now() - timedelta(days=COUNTED_DAYS)
    asked = asked.filter(request__created_at__gte=since) | asked.filter(request=request)
    total = Decimal(0)
    for pk, cost, confirmed_at in asked.values_list("pk", "monthly_cost", "cost_confirmed_at"):
        if pk in (instead or {}):
            cost, confirmed_at = instead[pk], True
        if cost is None or confirmed_at is None:
            return 2
        total += cost
    return 2 if total >= limit else 1


def may_cancel(user, request):
    """Whether `user` may cancel: the requester, any approver and the team admin."""
    held = roles(user, request.team)
    own = user.pk == request.requester_id and bool(held)
    return own or bool(held & {Role.APPROVER, Role.ADMIN})


def may_decide_doubt(user, request):
    """Whether `user` may settle a purchase in doubt: a team admin or approver, never the requester."""
    return user.pk != request.requester_id and bool(roles(user, request.team) & {Role.APPROVER, Role.ADMIN})


def may_manage(user, team):
    """Whether `user` is the team's admin."""
    return Role.ADMIN in roles(user, team)


def may_stop_all(user):
    """Whether `user` may stop all buying and let it go on: superusers only."""
    return user.is_active and user.is_superuser
