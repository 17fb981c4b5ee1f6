"""'Stop buying' and 'Go on': for a team by its admin, for everybody by a superuser. After 'Stop' nothing is claimed."""

from django.db import transaction

from purchasing import audit, clock, permissions
from purchasing.models import Desk, Purchase, Team
from purchasing.problems import NotYours, Problem
from purchasing.provider import pauses
from purchasing.states import State


@transaction.atomic
def stop(team, *, actor, reason):
    """Stop buying for `team`. A claim locks the team's row first, so none is made after this commits."""
    _set(_locked_team(team, actor), "team", actor, reason, stopped=True)


@transaction.atomic
def go_on(team, *, actor, reason):
    """Let `team` buy again. Purchases that wait are due at once."""
    _set(_locked_team(team, actor), "team", actor, reason, stopped=False)


@transaction.atomic
def stop_all(*, actor, reason):
    """Stop all buying. A claim locks the desk's row first, so none is made after this commits."""
    _set(_locked_desk(actor), "desk", actor, reason, stopped=True)


@transaction.atomic
def go_on_all(*, actor, reason):
    """Let everybody buy again. Teams that their admins stopped stay stopped."""
    _set(_locked_desk(actor), "desk", actor, reason, stopped=False)


def may_stop_all(actor):
    """Whether this is a superuser, or a command that somebody with a shell on the machine runs."""
    return actor.role == "system" or permissions.may_stop_all(actor.user)


def _locked_team(team, actor):
    if not permissions.may_manage(actor.user, team):
        raise NotYours(f"Only the admin of {team} or a superuser can do this.")
    return Team.objects.select_for_update(no_key=True).get(pk=team.pk)


def _locked_desk(actor):
    if not may_stop_all(actor):
        raise NotYours("Only a superuser can stop all buying.")
    return Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)


def _set(row, what, actor, reason, *, stopped):
    reason = audit.clean(reason).strip()
    if not reason:
        raise Problem("Say why: the reason stays in the record.")
    if bool(row.stopped_at) == stopped:
        raise Problem("Buying is already stopped." if stopped else "Buying is not stopped.")
    now = clock.now()
    type(row).objects.filter(pk=row.pk).update(
        stopped_at=now if stopped else None,
        stopped_by=actor.user if stopped else None,
        stop_reason=reason[:1000] if stopped else "",
    )
    if not stopped:
        waiting = Purchase.objects.filter(state=State.APPROVED, waiting_since__isnull=False)
        if what == "team":
            waiting = waiting.filter(request__in=row.requests.all())
        pauses.plan(waiting, now)
    audit.record(
        f"{what}.stopped" if stopped else f"{what}.goes_on",
        actor=actor,
        team=row if what == "team" else None,
        note=reason,
    )
