"""Creating, renaming and switching teams on and off, each with its audit event."""

from itertools import chain, count

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from purchasing import audit, clock, permissions
from purchasing.models import Purchase, Team
from purchasing.problems import NotYours, Problem
from purchasing.provider import pauses
from purchasing.states import State
from purchasing.workflow import locked_team

NOT_ITS_ADMIN = "Only the admin of {team} or a superuser can do this."
RESERVED_SLUGS = {"new"}  # addresses below /teams/ that are not teams


@transaction.atomic
def create_team(name, *, actor, monthly_budget=None):
    """Create a team, with a monthly budget in CURRENCY or None for no budget.

    Raises `Problem` for a name that is empty, too long or taken.
    """
    name = _free_name(name)
    slug = slugify(name) or "team"
    taken = set(Team.objects.filter(slug__startswith=slug).values_list("slug", flat=True)) | RESERVED_SLUGS
    slug = next(s for s in chain([slug], (f"{slug}-{n}" for n in count(2))) if s not in taken)
    try:
        with transaction.atomic():
            team = Team.objects.create(name=name, slug=slug, monthly_budget=monthly_budget)
    except IntegrityError:
        raise Problem(f"There is a team {name} already.") from None  # made at the same moment
    audit.record("team.created", actor=actor, team=team)
    return team


def _free_name(name, *, besides=None):
    name = audit.clean(name).strip()
    if not name or len(name) > 100:
        raise Problem("A team's name has 1 to 100 characters.")
    if Team.objects.filter(name__iexact=name).exclude(pk=besides).exists():
        raise Problem(f"There is a team {name} already.")
    return name


@transaction.atomic
def rename_team(team, name, *, actor):
    """Rename a team; its URL stays the same. Raises `Problem` for a name that is empty, too long or taken."""
    team = _locked_by_superuser(team, actor)
    before, name = team.name, _free_name(name, besides=team.pk)
    if name == before:
        raise Problem(f"The team is called {name} already.")
    try:
        with transaction.atomic():
            Team.objects.filter(pk=team.pk).update(name=name)
    except IntegrityError:
        raise Problem(f"There is a team {name} already.") from None
    team.name = name
    audit.record("team.renamed", actor=actor, team=team, before=before, after=name)


@transaction.atomic
def switch_team(team, *, on, reason, actor):
    """Switch a team on or off. While it is off, nobody can request or approve for it and nothing is bought for it."""
    team = _locked_by_superuser(team, actor)
    reason = audit.clean(reason).strip()
    if not reason:
        raise Problem("Say why: the reason stays in the record.")
    if team.is_active == on:
        raise Problem(f"{team} is switched {'on' if on else 'off'} already.")
    Team.objects.filter(pk=team.pk).update(is_active=on)
    waiting = Purchase.objects.filter(request__in=team.requests.all(), state=State.APPROVED)
    pauses.plan(waiting, clock.now())  # each is bought or records at once what it waits for
    audit.record("team.switched_on" if on else "team.switched_off", actor=actor, team=team, note=reason)


def may_make_teams(user):
    """Whether `user` may create, rename and switch teams: superusers only."""
    return user.is_active and user.is_superuser


def _locked_by_superuser(team, actor):
    if not may_make_teams(actor.user):
        raise NotYours("Only a superuser can do this.")
    return locked_team(team.pk)


def locked_by_admin(team, actor):
    """The team's row, locked. Raises `NotYours` where `actor` is not its admin now, or the account is switched off."""
    team = locked_team(team.pk)
    if not permissions.may_manage(permissions.as_stored(actor.user), team):
        raise NotYours(NOT_ITS_ADMIN.format(team=team))
    return team
