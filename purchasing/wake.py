"""Put a task into the queue by its name, so that lower layers need not import what runs there.

A plain INSERT: inside a transaction it goes with it. The queue only wakes; the purchase row is the truth.
"""

from django.db import connection
from django.utils.module_loading import import_string

CHANNEL = "number_desk_work"  # PostgreSQL: workers listen here


def soon(task, *arguments):
    """Let the worker run `task` ('buy', a name in purchasing.tasks) with these JSON arguments."""
    import_string(f"purchasing.tasks.{task}").enqueue(*arguments)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")  # delivered when the transaction commits
