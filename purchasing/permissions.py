"""Who may do what. Predicates only: they write nothing and raise nothing."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.utils import timezone

from purchasing import clock
from purchasing.models import Membership, Purchase, StandIn, Team, User
from purchasing.states import Role, State

LOOKED_BACK = 30  # days of a person's requests that count towards the limit for a second approver
ENDED_WITHOUT = (State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED)


def roles(user, team):
    """The roles that `user` holds in `team`; a superuser holds all of them, an inactive person none."""
    if not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset(Role)
    return frozenset(Membership.objects.filter(user=user, team=team).values_list("role", flat=True))


def sees_every_team(user):
    """Auditors and superusers read all teams' records."""
    return user.is_active and (user.is_superuser or user.is_auditor)


def teams_seen_by(user):
    """The teams whose records `user` may read."""
    if sees_every_team(user):
        return Team.objects.all()
    return Team.objects.filter(memberships__user=user).distinct()


def teams_asked_for_by(user):
    """The teams that `user` may ask for."""
    teams = Team.objects.filter(is_active=True)
    if user.is_superuser:
        return teams
    return teams.filter(memberships__user=user, memberships__role=Role.REQUESTER).distinct()


def may_ask(user, team):
    """A requester of an active team."""
    return team.is_active and Role.REQUESTER in roles(user, team)


def is_entitled_approver(user, team):
    """Whether `user` may approve for this team at all (their own requests aside)."""
    return Role.APPROVER in roles(user, team)


@dataclass(frozen=True)
class Decider:
    """Somebody who may say yes or no, and the approver whose yes or no it is: themselves, or whom they stand in for."""

    person: User
    principal: User

    def __str__(self):
        return str(self.person) if self.person == self.principal else f"{self.person} (for {self.principal})"

    @property
    def ids(self):
        """Of each person and of each principal one voice is heard."""
        return {self.person.pk, self.principal.pk}


def deciders(request):
    """Who may decide about this request today: approvers, and members who stand in for one (superusers aside).

    Never the person who asked, neither as themselves nor through a stand-in; nor, while it lasts, who stands in for
    the person who asked. A stand-in passes nothing on, and speaks as an approver where they are one.
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
    found = [Decider(person, person) for person in approvers if person.pk not in barred]
    found += [
        Decider(row.stand_in, row.approver)
        for row in standing_in
        if row.stand_in in members
        and row.stand_in not in approvers
        and row.stand_in_id not in barred
        and row.approver in approvers
        and row.approver_id != request.requester_id
    ]
    return found


def deciding_as(user, request):
    """The deciders of `user` about this request; empty where they may not decide it."""
    if user.pk == request.requester_id or not user.is_active:
        return []
    own = [voice for voice in deciders(request) if voice.person == user]
    return own or ([Decider(user, user)] if user.is_superuser else [])


def approves_as(user, request):
    """For whom `user` may say yes or no to this request: themselves, or approvers they stand in for today."""
    return [voice.principal for voice in deciding_as(user, request)]


def stand_ins_of(team, day):
    """The stand-ins of a team on a day."""
    return StandIn.objects.filter(team=team, from_day__lte=day, to_day__gte=day, ended_at=None)


def may_approve(user, request):
    """An approver of the team or somebody who stands in for one, and never the person who asked."""
    return bool(approves_as(user, request))


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
    """Whether an approval counts at the claim: whoever gave it, and for whom, are still there and entitled.

    That a stand-in has ended since takes nothing from what it approved while it lasted.
    """
    person, principal = approval.approver, approval.on_behalf_of or approval.approver
    return (
        request.requester_id not in (person.pk, principal.pk)
        and bool(roles(person, request.team))
        and is_entitled_approver(principal, request.team)
    )


def counting_approvals(purchase, request):
    """The counting_approvals that a purchase has, as it stands: those that still count, oldest first."""
    approvals = purchase.approvals.filter(superseded_at=None, version=purchase.version)
    return [
        approval
        for approval in approvals.select_related("approver", "on_behalf_of").order_by("pk")
        if still_counts(approval, request)
    ]


def approvals_needed(request, *, instead=None):
    """1, or 2 from the team's limit on: the monthly sum of this request and of all its person asked for in 30 days.

    A cost that IdentityCall has not confirmed counts as above the limit. `instead` maps the ids of purchases to
    confirmed monthly costs that are about to take the place of theirs.
    """
    limit = request.team.second_approver_from
    if limit is None:
        return 1
    asked = Purchase.objects.filter(
        request__team=request.team, request__requester=request.requester_id
    ).exclude(state__in=ENDED_WITHOUT)
    since = clock.now() - timedelta(days=LOOKED_BACK)
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
    """The person who asked, any approver and the team admin."""
    held = roles(user, request.team)
    own = user.pk == request.requester_id and bool(held)
    return own or bool(held & {Role.APPROVER, Role.ADMIN})


def may_decide_doubt(user, request):
    """Who settles a purchase in doubt: a team admin or approver, never the person who asked."""
    return user.pk != request.requester_id and bool(roles(user, request.team) & {Role.APPROVER, Role.ADMIN})


def may_manage(user, team):
    """The team's admin."""
    return Role.ADMIN in roles(user, team)


def may_stop_all(user):
    """Superusers stop all buying, and let it go on."""
    return user.is_active and user.is_superuser
