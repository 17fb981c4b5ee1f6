"""The owned numbers and offers that IdentityCall listed, and when."""

from django.db import models

from purchasing.models.teams import ApiKey


class OwnedRead(models.Model):
    """One read of a key's owned list (VN-LIST).

    Order is decided by `began_after`, the number of the last audit event when the read began, not by clocks: a read
    began after an event if `began_after` is at least the number of that event.
    `whole` means that the list was well-formed and contained every number of the key's last whole list, or that it
    agrees with the read before it on what is missing. Only a whole list proves that a number is not there.
    """

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="reads")
    began_after = models.BigIntegerField()
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    whole = models.BooleanField()
    well_formed = models.BooleanField()
    count = models.PositiveIntegerField(null=True)
    missing = models.JSONField(default=list)
    problem = models.CharField(max_length=1000, blank=True)

    class Meta:
        indexes = [models.Index(fields=["key", "-id"], name="read_by_key")]


class VirtualNumber(models.Model):
    """A number in a key's whole owned list. Kept after it is gone, so that its id never proves a later purchase."""

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="numbers")
    provider_id = models.PositiveBigIntegerField()
    phone_number = models.CharField(max_length=16)
    first_seen_seq = models.BigIntegerField()
    first_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["key", "provider_id", "phone_number"], name="one_row_a_seen_number"
            )
        ]
        indexes = [models.Index(fields=["phone_number"], name="seen_by_number")]


class OfferLook(models.Model):
    """The latest answer of the inventory search for a key, a country and a type (VN-AVAIL).

    `failed_at` and `problem` describe a later try that failed; the last answer is kept.
    """

    key = models.ForeignKey(ApiKey, models.CASCADE, related_name="looks")
    country_code = models.CharField(max_length=2)
    number_type = models.CharField(max_length=10)
    began_at = models.DateTimeField(null=True)  # null: no answer yet
    offers = models.JSONField(default=dict)
    failed_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["key", "country_code", "number_type"], name="one_look_a_shelf")
        ]
