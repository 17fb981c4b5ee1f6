"""Mails: who is told what, and what came of sending it. The audit record says what there is to tell."""

from django.db import models
from django.utils import timezone

from purchasing.models.purchases import PurchaseRequest
from purchasing.models.teams import Team, User


class MailCursor(models.Model):
    """How far the record has been told: the number of the last event that mails were made of."""

    ONLY = 1

    seq = models.BigIntegerField(default=0)


class Mail(models.Model):
    """One mail to one person about some events of one request or team.

    It is written when it is sent, so that it says how things stand then. Before the first try (`tries` is 0) further
    events may join it.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="mails")
    kind = models.CharField(max_length=20)
    team = models.ForeignKey(Team, models.CASCADE, related_name="+")
    request = models.ForeignKey(PurchaseRequest, models.CASCADE, null=True, related_name="+")
    events = models.JSONField(default=list)  # their numbers
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)  # it will not be sent; `problem` says why
    problem = models.CharField(max_length=500, blank=True)
    # As it was sent, or would have been.
    address = models.CharField(max_length=254, blank=True)
    subject = models.CharField(max_length=200, blank=True)
    text = models.TextField(blank=True)
    html = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(sent_at__isnull=True, given_up_at__isnull=True),
                name="mail_due",
            ),
            models.Index(fields=["user", "-id"], name="mail_by_person"),
        ]

    def __str__(self):
        return self.subject or f"Mail {self.pk}"
