"""The record: events that are only ever added, each with the hash of the one before it, and their seals."""

from django.db import models

from purchasing.models.purchases import Attempt, Purchase, PurchaseRequest
from purchasing.models.teams import Team, User


class AuditHead(models.Model):
    """The end of the chain: the number and hash of the newest event. Locked last in every transaction.

    `quarter` is the quarter of an hour (counted from 1970) of the newest event, `reached` the latest quarter of any
    event: it exceeds `quarter` only after a clock went back. See `AuditStretch`. Events up to `filed` are in the
    tables of models/search.py.
    """

    ONLY = 1

    seq = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)
    quarter = models.BigIntegerField(default=0)
    reached = models.BigIntegerField(default=0)
    filed = models.BigIntegerField(default=0)


def _reference(to, name="+", **options):
    """A foreign key of an event, without an index of its own: the indexes of the class match how events are read."""
    return models.ForeignKey(to, models.PROTECT, null=True, related_name=name, db_index=False, **options)


class AuditEvent(models.Model):
    """One thing that happened. Only `audit.record` adds events; SQL triggers refuse every change (see guard.py).

    Only columns that pages read directly have an index here, so adding an event costs the same after a million events
    as after a thousand; everything else is found by its `AuditEntry`. `words` holds the words for the search, with a
    space before and after each; they are derived from the other columns and not part of the hash.
    """

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    action = models.CharField(max_length=50)
    actor = _reference(User)
    actor_name = models.CharField(max_length=150)
    actor_role = models.CharField(max_length=50, blank=True)
    on_behalf_of = models.CharField(max_length=150, blank=True)
    ip = models.CharField(max_length=45, blank=True)
    click = models.CharField(max_length=36, blank=True)
    team = _reference(Team)
    request = _reference(PurchaseRequest, "events")
    purchase = _reference(Purchase, "events")
    attempt = _reference(Attempt)
    phone_number = models.CharField(max_length=16, blank=True)
    was = models.CharField(max_length=50, blank=True)
    became = models.CharField(max_length=50, blank=True)
    note = models.TextField(blank=True)
    data = models.JSONField(default=dict)
    words = models.TextField(blank=True)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        ordering = ["seq"]
        indexes = [
            models.Index(fields=["purchase", "seq"], name="event_by_purchase"),
            models.Index(fields=["request", "seq"], name="event_by_request"),
            models.Index(fields=["click", "seq"], name="event_by_click"),
        ]

    def save(self, *args, **kwargs):
        raise TypeError("Audit events are added by audit.record and never changed.")

    def delete(self, *args, **kwargs):
        raise TypeError("Audit events are never removed.")


class AuditSeal(models.Model):
    """The chain up to event `seq`, signed with a key that is not in the database. Triggers refuse every change.

    Each seal also signs the signature of the one before it, so no seal between two others can be removed unnoticed.
    `public_key` (64 hex digits) checks the signature (128 hex digits); see audit/seals.py.
    """

    number = models.BigIntegerField(primary_key=True)  # 1, 2, 3, …
    at = models.DateTimeField()
    seq = models.BigIntegerField()
    hash = models.CharField(max_length=64)
    public_key = models.CharField(max_length=64)
    signature = models.CharField(max_length=128)

    class Meta:
        ordering = ["number"]

    def __str__(self):
        return f"Seal {self.number}"

    def save(self, *args, **kwargs):
        raise TypeError("Seals are added by audit.seal and never changed.")

    def delete(self, *args, **kwargs):
        raise TypeError("Seals are never removed.")


class AuditCheck(models.Model):
    """A check of the whole record that an auditor started on its page; the queue runs it in slices.

    `done` of `seq` events are checked; `place` is where the next slice continues, read only by audit/proof.py.
    """

    asked_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    ip = models.CharField(max_length=45, blank=True)
    seq = models.BigIntegerField()
    done = models.BigIntegerField(default=0)
    place = models.JSONField(default=dict)
    ended_at = models.DateTimeField(null=True)
    bad_seq = models.BigIntegerField(null=True)
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-id"]
