"""Stand-ins: members who approve for an approver on some days."""

from django.db import transaction
from django.utils import timezone

from purchasing import audit, clock, permissions, workflow
from purchasing.models import StandIn
from purchasing.problems import NotYours, Problem
from purchasing.states import Role

LONGEST_STAND_IN = 366  # days


@transaction.atomic
def name_stand_in(team, *, actor, approver, stand_in, from_day, to_day):
    """Let `stand_in`, a member, approve for `approver` on these days (both included).

    The approver names their stand-in, or the team admin does it for an approver who is away. A stand-in cannot name
    another one.
    """
    team = workflow.locked_team(team.pk)
    if actor.user != approver and not permissions.may_manage(actor.user, team):
        raise NotYours("Only the approver or the team admin can name a stand-in.")
    if (
        Role.APPROVER not in permissions.roles(approver, team)
        or not team.memberships.filter(user=approver).exists()
    ):
        raise Problem(f"{approver} is not an approver of {team}, so nobody can stand in for them.")
    if stand_in == approver:
        raise Problem("Nobody can stand in for themselves.")
    if not stand_in.is_active or not team.memberships.filter(user=stand_in).exists():
        raise Problem(f"{stand_in} is not a member of {team}.")
    if to_day < from_day or to_day < timezone.localdate():
        raise Problem("The last day is before the first day or in the past.")
    if (to_day - from_day).days > LONGEST_STAND_IN:
        raise Problem("A stand-in can be named for a year at most.")
    overlapping = team.stand_ins.filter(
        approver=approver, ended_at=None, from_day__lte=to_day, to_day__gte=from_day
    )
    if overlapping.exists():
        raise Problem(f"Somebody already stands in for {approver} on some of these days. End that first.")
    row = StandIn.objects.create(
        team=team, approver=approver, stand_in=stand_in, from_day=from_day, to_day=to_day
    )
    audit.record("stand_in.named", actor=actor, team=team, **_in_data(row))
    return row


@transaction.atomic
def end_stand_in(row, *, actor):
    """End a stand-in before its last day."""
    team = workflow.locked_team(row.team_id)
    if actor.user not in (row.approver, row.stand_in) and not permissions.may_manage(actor.user, team):
        raise NotYours("The approver, the stand-in or the team admin can end this.")
    if not StandIn.objects.filter(pk=row.pk, ended_at=None).update(ended_at=clock.now()):
        raise Problem("This has ended already.")
    audit.record("stand_in.ended", actor=actor, team=team, **_in_data(row))


def _in_data(row):
    return {
        "approver": row.approver.get_username(),
        "stand_in": row.stand_in.get_username(),
        "from_day": row.from_day.isoformat(),
        "to_day": row.to_day.isoformat(),
        "entry": row.pk,
    }
