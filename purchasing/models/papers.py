"""Requirement groups: the regulatory documents ('papers' on pages) that a team has on file at IdentityCall."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from purchasing.models.teams import Team
from purchasing.states import NumberType


class RequirementGroup(models.Model):
    """An entry of a team's register: numbers of this country and type need this requirement group.

    IdentityCall has no endpoint that lists groups, so a team admin copies them from its dashboard. Without
    `provider_id`, a group is needed and none is on file yet. `number_type` '' means every type.
    """

    team = models.ForeignKey(Team, models.PROTECT, related_name="requirement_groups")
    provider_id = models.PositiveBigIntegerField(null=True, blank=True)
    name = models.CharField(max_length=100)
    country_code = models.CharField(max_length=2)
    number_type = models.CharField(max_length=10, choices=NumberType.choices, blank=True)
    valid_until = models.DateField(null=True, blank=True)  # the last day
    created_at = models.DateTimeField(default=timezone.now)
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["country_code", "number_type", "name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["team", "provider_id"], condition=Q(removed_at__isnull=True), name="one_entry_a_group"
            )
        ]

    def __str__(self):
        return self.name
