"""Who may do what. Predicates only: they write nothing and raise nothing."""

from django.utils import timezone

from purchasing.models import Membership, StandIn, Team
from purchasing.states import Role


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


def approves_as(user, request):
    """For whom `user` may say yes or no to this request: themselves, or approvers they stand in for today.

    Never for the person who asked, neither as themselves nor through a stand-in; a stand-in passes nothing on.
    """
    if user.pk == request.requester_id or not user.is_active:
        return []
    if is_entitled_approver(user, request.team):
        return [user]
    if not roles(user, request.team):
        return []
    stands_in_for = [
        row.approver
        for row in stand_ins_of(request.team, timezone.localdate())
        .filter(stand_in=user)
        .select_related("approver")
    ]
    return [
        person
        for person in stands_in_for
        if person.pk != request.requester_id and is_entitled_approver(person, request.team)
    ]


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
        or user.stands_in_for.filter(from_day__lte=day, to_day__gte=day, ended_at=None).exists()
    )


def still_counts(approval, request):
    """Whether an approval counts at the claim: whoever gave it, and for whom, are still there and entitled."""
    person, principal = approval.approver, approval.on_behalf_of or approval.approver
    return (
        request.requester_id not in (person.pk, principal.pk)
        and bool(roles(person, request.team))
        and is_entitled_approver(principal, request.team)
    )


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
