"""Finding the team that a command names, by name or slug."""

from django.core.management.base import CommandError
from django.db.models import Q

from purchasing.models import Team


def find_team(name):
    """The team of this name or slug. Raises `CommandError` with the names of all teams."""
    team = Team.objects.filter(Q(name=name) | Q(slug=name)).first()
    if team is None:
        names = ", ".join(Team.objects.values_list("name", flat=True)) or "none yet"
        raise CommandError(f"There is no team {name}. Teams: {names}.")
    return team
