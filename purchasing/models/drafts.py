"""What staff prepare before they send a request: pasted texts, and drafts of requests."""

import uuid

from django.db import models
from django.utils import timezone

from purchasing.models.teams import Team, User


class Draft(models.Model):
    """A request in preparation: the numbers that somebody picked, and what they have typed so far.

    `lines` holds one object per number; `asking/drafts.py` describes it. The id becomes the form token of the request,
    so sending a draft twice makes one request.
    """

    class Source(models.TextChoices):
        """Where the numbers come from."""

        PASTED = "pasted", "Pasted"
        FOUND = "found", "Found"
        AGAIN = "again", "Asked again"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="drafts")
    team = models.ForeignKey(Team, models.CASCADE, null=True, related_name="+")
    source = models.CharField(max_length=10, choices=Source.choices)
    # As typed, even if too long to be sent, so that nothing is lost.
    reason = models.TextField(blank=True)
    purpose = models.TextField(blank=True)
    pattern = models.TextField(blank=True)
    lines = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-updated_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["user"], condition=models.Q(source="found"), name="one_basket_a_person"
            )
        ]


class Paste(models.Model):
    """What somebody pasted or dropped, without secrets, how it was read, and which of its numbers they picked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="pastes")
    team = models.ForeignKey(Team, models.CASCADE, null=True, related_name="+")
    draft = models.OneToOneField(Draft, models.SET_NULL, null=True, related_name="paste")
    text = models.TextField()
    file_name = models.CharField(max_length=200, blank=True)
    country_code = models.CharField(max_length=2, blank=True)
    records = models.JSONField(default=dict)  # as `pasting.dump` returns them
    picked = models.JSONField(default=list)
    # When IdentityCall was last asked which of these numbers it offers.
    looked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
