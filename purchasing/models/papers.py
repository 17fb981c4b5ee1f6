"""The papers that some countries want: what a team has on file at IdentityCall."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from purchasing.models.teams import Team
from purchasing.states import NumberType


class RequirementGroup(models.Model):
    """An entry of a team's register: for numbers of this country and type papers are needed, and this is the group.

    IdentityCall lists no groups (there is no endpoint), so the team admin types what its dashboard shows. Without
    `provider_id` the entry says that papers are needed and none are on file yet. `number_type` '' means every type.
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
