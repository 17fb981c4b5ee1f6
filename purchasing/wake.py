"""Put a task into the queue by its name, so that lower layers need not import what runs there.

A plain INSERT: inside a transaction it goes with it. The queue only wakes; the purchase row is the truth.
"""

from django.db import connection
from django.utils import timezone
from django.utils.module_loading import import_string

CHANNEL = "number_desk_work"  # PostgreSQL: workers listen here
SWEEP_EVERY = 15  # seconds; what is planned later than that is found by the sweep


def soon(task, *arguments):
    """Let the worker run `task` ('buy', a name in purchasing.tasks) with these JSON arguments."""
    _enqueue(import_string(f"purchasing.tasks.{task}"), arguments)


def at(moment, task, *arguments):
    """The same at a planned time, where the sweep would be late for it; one further ahead is left to the sweep."""
    wait = (moment - timezone.now()).total_seconds()
    if wait < SWEEP_EVERY:
        planned = import_string(f"purchasing.tasks.{task}")
        _enqueue(planned.using(run_after=moment) if wait > 0 else planned, arguments)


def _enqueue(task, arguments):
    task.enqueue(*arguments)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")  # delivered when the transaction commits
