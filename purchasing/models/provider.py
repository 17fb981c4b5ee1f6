"""The owned numbers and offers that IdentityCall listed, and when."""

from django.db import models
from django.db.models import Q

from purchasing.models.purchases import cost_field
from purchasing.models.teams import Credential, Team, User


class OwnedRead(models.Model):
    """One read of a credential's owned list (VN-LIST).

    Order is decided by `began_after`, the number of the last audit event when the read began, not by clocks: a read
    began after an event if `began_after` is at least the number of that event. `seq` is the number of the last event
    when it was stored.

    A *well-formed* list was read to its end: what it shows is there. A *complete* one also holds every number that is
    known of the credential, so what it lacks is not there; that rests on what people confirmed as gone, the last of it
    at the event `gone_seq`. `missing` are the known numbers that it lacks, `[id, phone number]` each; `unreadable` the
    entries that could not be read, `[id or null, excerpt]` each. `projects` are the ids of the projects that the
    credential showed just after, where that was asked.
    """

    credential = models.ForeignKey(Credential, models.CASCADE, related_name="reads")
    began_after = models.BigIntegerField()
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    seq = models.BigIntegerField(default=0)
    complete = models.BooleanField()
    well_formed = models.BooleanField()
    count = models.PositiveIntegerField(null=True)
    missing = models.JSONField(default=list)
    unreadable = models.JSONField(default=list)
    gone_seq = models.BigIntegerField(default=0)
    projects = models.JSONField(null=True)
    problem = models.CharField(max_length=1000, blank=True)

    class Meta:
        indexes = [models.Index(fields=["credential", "-id"], name="read_by_credential")]


class VirtualNumber(models.Model):
    """A number that a credential's list has shown. Kept after it is gone: its id never proves a later purchase.

    The phone number is '' while the entry of that id cannot be read. `gone_at`: since when the lists lack it. A person
    confirmed that it is gone at the event `confirmed_seq`; until then a list without it proves no absence.
    """

    credential = models.ForeignKey(Credential, models.CASCADE, related_name="numbers")
    provider_id = models.PositiveBigIntegerField()
    phone_number = models.CharField(max_length=16, blank=True)
    first_seen_seq = models.BigIntegerField()
    first_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)
    confirmed_gone_at = models.DateTimeField(null=True)
    confirmed_seq = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["credential", "provider_id", "phone_number"], name="one_row_a_seen_number"
            )
        ]
        indexes = [
            models.Index(fields=["phone_number"], name="seen_by_number"),
            models.Index(
                fields=["credential"], condition=Q(gone_at__isnull=False), name="gone_by_credential"
            ),
        ]


class RentedNumber(models.Model):
    """What a person decided about a number that a list shows and no purchase explains: kept by a team, or dismissed.

    A kept number's monthly cost counts as committed, where the person stated one. `ended_at`: since when the decision
    no longer counts, because the number was confirmed as gone or recorded as a purchase.
    """

    provider_id = models.PositiveBigIntegerField(unique=True)
    phone_number = models.CharField(max_length=16)
    team = models.ForeignKey(Team, models.PROTECT, related_name="rented_numbers")
    kept = models.BooleanField()
    reason = models.CharField(max_length=1000)
    upfront_cost = cost_field()
    monthly_cost = cost_field()
    decided_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    decided_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    def __str__(self):
        return self.phone_number


class OfferLook(models.Model):
    """The latest answer of the inventory search for a credential, a country and a type (VN-AVAIL).

    `failed_at` and `problem` describe a later try that failed; the last answer is kept.
    """

    credential = models.ForeignKey(Credential, models.CASCADE, related_name="looks")
    country_code = models.CharField(max_length=2)
    number_type = models.CharField(max_length=10)
    began_at = models.DateTimeField(null=True)  # null: no answer yet
    offers = models.JSONField(default=dict)
    failed_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["credential", "country_code", "number_type"], name="one_look_a_shelf"
            )
        ]
