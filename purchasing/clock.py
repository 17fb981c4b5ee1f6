"""The only clock: the database's where it has one, so that workers on several machines agree."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone


def now() -> datetime:
    """The time now, aware, in UTC, by the database's clock on PostgreSQL, else by this machine's."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            moment: datetime = cursor.fetchone()[0]
            return moment
    return timezone.now() + timedelta(seconds=settings.TEST_CLOCK_OFFSET)


LONGEST_WAIT = timedelta(minutes=20)  # longer than any pause, and than any gap between two reads


def has_come(moment: datetime, at: datetime) -> bool:
    """Whether `moment`, a planned time, has come at the time `at`.

    A time further ahead than any wait was written by a clock that has since been set back: it counts as come.
    """
    return not at < moment <= at + LONGEST_WAIT
