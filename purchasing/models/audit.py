"""The record: events that are only ever added, each holding the hash of the one before it."""

from django.db import models

from purchasing.models.purchases import Attempt, Purchase, PurchaseRequest
from purchasing.models.teams import Team, User


class AuditHead(models.Model):
    """The end of the chain: the number and hash of the newest event. Locked last in every transaction."""

    ONLY = 1

    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)


class AuditEvent(models.Model):
    """One thing that happened. `audit.record` alone adds one; SQL triggers refuse every change (see guard.py)."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    action = models.CharField(max_length=50)
    actor = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    actor_name = models.CharField(max_length=150)
    actor_role = models.CharField(max_length=50, blank=True)
    on_behalf_of = models.CharField(max_length=150, blank=True)
    ip = models.CharField(max_length=45, blank=True)
    click = models.CharField(max_length=36, blank=True)
    team = models.ForeignKey(Team, models.PROTECT, null=True, related_name="+")
    request = models.ForeignKey(PurchaseRequest, models.PROTECT, null=True, related_name="events")
    purchase = models.ForeignKey(Purchase, models.PROTECT, null=True, related_name="events")
    attempt = models.ForeignKey(Attempt, models.PROTECT, null=True, related_name="+")
    phone_number = models.CharField(max_length=16, blank=True)
    was = models.CharField(max_length=50, blank=True)
    became = models.CharField(max_length=50, blank=True)
    note = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["seq"]
        indexes = [
            models.Index(fields=["purchase", "seq"], name="event_by_purchase"),
            models.Index(fields=["request", "seq"], name="event_by_request"),
            models.Index(fields=["team", "-seq"], name="event_by_team"),
        ]

    def save(self, *args, **kwargs):
        raise TypeError("Audit events are added by audit.record and changed by nobody.")

    def delete(self, *args, **kwargs):
        raise TypeError("Audit events are never removed.")
