"""How events are found by a part of a number, by words and by date. Written with each event, and only ever added.

Search goes through the record in segments of `SEGMENT` events, newest first: a segment that holds nothing costs one
look into an index, and one that does gives its events. So a search costs the same whether it matches three events or
a million, on databases without any extension.
"""

from django.db import models

SEGMENT = 8192  # events; changing it makes what was written before useless


class ByteText(models.CharField):
    """Short text that is compared byte by byte in every database, so that a prefix is a range of an index."""

    def db_parameters(self, connection):
        parameters = super().db_parameters(connection)
        return parameters | ({"collation": "C"} if connection.vendor == "postgresql" else {})


class AuditSegment(models.Model):
    """A segment that has events: those from `number * SEGMENT` on."""

    number = models.BigIntegerField(primary_key=True)


class AuditWord(models.Model):
    """A word of what event `seq` says: of the reason, or of the name of somebody or something in it."""

    segment = models.BigIntegerField()
    word = ByteText(max_length=40)
    seq = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["seq", "word"], name="one_row_a_word")]
        indexes = [models.Index(fields=["segment", "word", "seq"], name="word_by_segment")]


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
        ]
