"""Search tables: events by person, action and team, by a part of a number, by words and by date. Append-only.

All tables but the dates are written for a lot of events at once (audit/filing.py). A search goes through the record in
segments of `SEGMENT` events, newest first: a segment without matches costs one index lookup, one with matches gives its
events. So a search costs the same whether it matches three events or a million, and needs no database extension.
"""

from django.db import models
from django.db.models import F, Q

SEGMENT = 8192  # events; changing it makes the rows already written useless


class ByteText(models.CharField):
    """Short text that every database compares byte by byte, so that a prefix is a range of an index."""

    def db_parameters(self, connection):
        parameters = super().db_parameters(connection)
        return parameters | ({"collation": "C"} if connection.vendor == "postgresql" else {})


class AuditEntry(models.Model):
    """The columns that one event is filtered by, kept apart from the event.

    Each combination of person, action and team has an index that ends with the event number, so the newest 50 matches
    of any filter are read in order from the index, however many events there are.
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
    """A segment that has events: those from number `number * SEGMENT` on."""

    number = models.BigIntegerField(primary_key=True)


class AuditWord(models.Model):
    """A word of event `seq`: from its reason, or from the name of a person or thing in it."""

    segment = models.BigIntegerField()
    word = ByteText(max_length=40)
    seq = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["segment", "word", "seq"], name="one_row_a_word")]


class AuditDigits(models.Model):
    """A text that finds a phone number in a segment: all of it, or the rest of it from any digit on."""

    segment = models.BigIntegerField()
    digits = ByteText(max_length=16)
    phone_number = models.CharField(max_length=16)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["segment", "digits", "phone_number"], name="one_row_a_part")
        ]


class AuditStretch(models.Model):
    """Events from `first_seq` to the next stretch, all in the same quarter of an hour (counted from 1970).

    Clocks can go back, so event numbers and times are not always in the same order. `reached` is the latest quarter so
    far: with it, one lookup finds the first event that can belong to a date, even if a clock went back.
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
