"""The one clock: the database's where it has one, so that workers on several machines agree."""

from django.db import connection
from django.utils import timezone


def now():
    """The time now, aware, in UTC, by the database's clock on PostgreSQL, else by this machine's."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            return cursor.fetchone()[0]
    return timezone.now()
