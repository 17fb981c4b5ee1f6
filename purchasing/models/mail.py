"""Mails: who is notified of what, and whether it was sent. They are made from the events of the audit record."""

from django.db import models
from django.utils import timezone

from purchasing.models.purchases import PurchaseRequest
from purchasing.models.teams import Team, User


class MailCursor(models.Model):
    """The number of the last event that mails were made from."""

    ONLY = 1

    seq = models.BigIntegerField(default=0)


class Mail(models.Model):
    """One mail to one person about some events of one request, of one team, or of the whole desk.

    Its text is written when it is sent, so it describes the state at that time. Until the first try (`tries` is 0),
    further events can be added to it.
    """

    user = models.ForeignKey(User, models.CASCADE, related_name="mails")
    kind = models.CharField(max_length=20)
    team = models.ForeignKey(Team, models.CASCADE, null=True, related_name="+")  # none: about the whole desk
    request = models.ForeignKey(PurchaseRequest, models.CASCADE, null=True, related_name="+")
    events = models.JSONField(default=list)  # their numbers
    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0)
    sent_at = models.DateTimeField(null=True)
    given_up_at = models.DateTimeField(null=True)  # it will not be sent, for the reason in `problem`
    problem = models.CharField(max_length=500, blank=True)
    # The mail as it was sent, or as it would have been sent.
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
