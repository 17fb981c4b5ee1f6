"""What staff put together before they ask: texts that were pasted, and requests that are not sent yet."""

import uuid

from django.db import models
from django.utils import timezone

from purchasing.models.teams import Team, User


class Draft(models.Model):
    """A request that is being put together: the numbers that somebody picked, and what they typed so far.

    `lines` holds one object a number; `asking/drafts.py` says what is in it. The id becomes the form token of the
    request, so that a draft which is sent twice makes one request.
    """

    class Source(models.TextChoices):
        """Where its numbers come from."""

        PASTED = "pasted", "Pasted"
        FOUND = "found", "Found"
        AGAIN = "again", "Asked again"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="drafts")
    team = models.ForeignKey(Team, models.CASCADE, null=True, related_name="+")
    source = models.CharField(max_length=10, choices=Source.choices)
    # As they were typed, also what is too long to be sent: nothing of it is lost.
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
    """What somebody pasted or dropped, secrets cut out, how it was read, and which numbers of it they picked."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, models.CASCADE, related_name="pastes")
    team = models.ForeignKey(Team, models.CASCADE, null=True, related_name="+")
    draft = models.OneToOneField(Draft, models.SET_NULL, null=True, related_name="paste")
    text = models.TextField()
    file_name = models.CharField(max_length=200, blank=True)
    country_code = models.CharField(max_length=2, blank=True)
    records = models.JSONField(default=dict)  # as `pasting.dump` gives them
    picked = models.JSONField(default=list)
    looked_at = models.DateTimeField(
        null=True
    )  # when IdentityCall was last asked for what it offers of these
    created_at = models.DateTimeField(default=timezone.now)
