"""Enqueues tasks by name, so that lower floors need not import what runs there.

A plain INSERT: inside a transaction it is committed or rolled back with it. The queue only wakes the worker; the
purchase row is the truth.
"""

import threading
from datetime import timedelta

from django.db import connection
from django.utils import timezone
from django.utils.module_loading import import_string
from django_tasks import TaskResultStatus
from django_tasks_db.models import DBTaskResult, get_date_max

CHANNEL = "number_desk_work"  # PostgreSQL: workers listen here
SWEEP_EVERY = 15  # seconds; the sweep finds what is planned later than that


def enqueue(task, *arguments):
    """Have the worker run `task`, a name in purchasing.tasks such as 'buy', with these JSON arguments."""
    _enqueue(import_string(f"purchasing.tasks.{task}"), arguments)


def enqueue_at(moment, task, *arguments):
    """Enqueue `task` for a planned time, if it is before the next sweep; returns whether it was.

    Later times are left to the sweep.
    """
    wait = (moment - timezone.now()).total_seconds()
    if wait >= SWEEP_EVERY:
        return False
    planned = import_string(f"purchasing.tasks.{task}")
    _enqueue(planned.using(run_after=moment) if wait > 0 else planned, arguments)
    return True


def queued(task=None, *arguments):
    """The waiting rows of the queue that run before the next sweep but one: all, or those of this exact call."""
    horizon = timezone.now() + timedelta(seconds=2 * SWEEP_EVERY)
    rows = DBTaskResult.objects.filter(status=TaskResultStatus.READY, run_after__lte=horizon)
    rows = rows | DBTaskResult.objects.filter(status=TaskResultStatus.READY, run_after=get_date_max())
    if task is None:
        return rows
    return rows.filter(
        task_path=f"purchasing.tasks.{task}", args_kwargs={"args": list(arguments), "kwargs": {}}
    )


def _enqueue(task, arguments):
    task.enqueue(*arguments)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {CHANNEL}")  # delivered when the transaction commits


# --- Draining -----------------------------------------------------------------------------------------------------

_draining = threading.Event()


def begin_draining():
    """Claim nothing more in this process; what is under way is finished."""
    _draining.set()


def is_draining():
    """Whether this process is about to end."""
    return _draining.is_set()
