"""How events are found by person, action and team, by a part of a number, by words and by date. Only ever added to.

All but the dates is written for a lot of events at once (audit/filing.py). Search goes through the record in segments
of `SEGMENT` events, newest first: a segment that holds nothing costs one look into an index, and one that does gives
its events. So a search costs the same whether it matches three events or a million, on databases without any
extension.
"""

from django.db import models
from django.db.models import F, Q

SEGMENT = 8192  # events; changing it makes what was written before useless


class ByteText(models.CharField):
    """Short text that is compared byte by byte in every database, so that a prefix is a range of an index."""

    def db_parameters(self, connection):
        parameters = super().db_parameters(connection)
        return parameters | ({"collation": "C"} if connection.vendor == "postgresql" else {})


class AuditEntry(models.Model):
    """What one event can be found by, apart from it.

    Each combination of person, action and team has an index of its own that ends with the number, so that the newest
    50 of any filter are read where they stand, in order, out of any number of events.
    """

    seq = models.BigIntegerField(primary_key=True)
    segment = models.BigIntegerField()
    at = models.DateTimeField()
    action = models.CharField(max_length=50)
    actor_name = models.CharField(max_length=150)
    team_id = models.BigIntegerField(null=True)
    phone_number = models.CharField(max_length=16)

    class Meta:
        indexes = [
            models.Index(fields=["segment", "phone_number", "team_id", "seq"], name="entry_by_number"),
            models.Index(fields=["team_id", "seq"], name="entry_by_team"),
            models.Index(fields=["actor_name", "seq"], name="entry_by_person"),
            models.Index(fields=["action", "seq"], name="entry_by_action"),
            models.Index(fields=["actor_name", "action", "seq"], name="entry_by_person_action"),
            models.Index(fields=["team_id", "actor_name", "seq"], name="entry_by_team_person"),
            models.Index(fields=["team_id", "action", "seq"], name="entry_by_team_action"),
            models.Index(fields=["team_id", "actor_name", "action", "seq"], name="entry_by_all_three"),
        ]


class AuditSegment(models.Model):
    """A segment that has events: those from `number * SEGMENT` on."""

    number = models.BigIntegerField(primary_key=True)


class AuditWord(models.Model):
    """A word of what event `seq` says: of the reason, or of the name of somebody or something in it."""

    segment = models.BigIntegerField()
    word = ByteText(max_length=40)
    seq = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["segment", "word", "seq"], name="one_row_a_word")]


class AuditDigits(models.Model):
    """Where a phone number can be found in a segment: all of it, or what is left of it from any of its digits on."""

    segment = models.BigIntegerField()
    digits = ByteText(max_length=16)
    phone_number = models.CharField(max_length=16)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["segment", "digits", "phone_number"], name="one_row_a_part")
        ]


class AuditStretch(models.Model):
    """Events from `first_seq` on, to the next stretch, that happened in the same quarter of an hour (since 1970).

    Clocks go back, so the order of the numbers is not always that of the times. `reached` is the latest quarter up to
    here: with it, the first event that can belong to a date is found by one look, whatever clocks did.
    """

    first_seq = models.BigIntegerField(primary_key=True)
    quarter = models.BigIntegerField()
    reached = models.BigIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["quarter", "first_seq"], name="stretch_by_quarter"),
            models.Index(fields=["reached", "first_seq"], name="stretch_by_reached"),
            models.Index(
                fields=["first_seq"], name="stretch_gone_back", condition=Q(quarter__lt=F("reached"))
            ),
        ]
