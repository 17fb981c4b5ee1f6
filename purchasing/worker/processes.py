"""The worker: processes that run the queue, restarted when they end, drained on one SIGTERM.

One process sweeps and does everything else, the others buy. Each has two lanes, so that a task that waits (for its turn
in a key's rate, or for an answer) keeps no other from running: the first process reads evidence in a lane of its own,
the others buy two numbers at once. A lane waits for a wake-up (PostgreSQL: NOTIFY; SQLite: the file's data version) for
a few seconds at most, so a lost wake-up only costs time.
"""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import timedelta

import psycopg
from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db import Error, close_old_connections, connection
from django.db.models import Min
from django.utils import timezone
from django_tasks import TaskResultStatus
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

from purchasing import audit, jobs
from purchasing.mail import sending
from purchasing.models import Draft, Paste
from purchasing.provider import owned_list
from purchasing.teams import keys, logins
from purchasing.worker import listeners, sweep

log = logging.getLogger(__name__)
INTERVAL = 5  # seconds that a wake-up may come late
DRAIN_GRACE = 5  # seconds beyond the deadline of a call that draining may take
LONGEST_BACKOFF = 30  # seconds before a process that keeps failing is started again
PRUNE_EVERY = 3600  # seconds
KEPT_TASKS, KEPT_PASTES, KEPT_DRAFTS = 14, 30, 180  # days


# --- One process --------------------------------------------------------------------------------------------------


# The queues of a process by its name: those of the main thread, and those of a second lane beside it.
LANES = {"default": ("default", "evidence"), "purchases": ("purchases", "purchases")}


def run_one(name, *, parent=None):
    """Run the tasks of this process until SIGTERM; 'default' also sweeps. Ends with `parent`, a process id."""
    main, beside = (worker_for(queue) for queue in LANES[name])
    main.configure_signals()
    main.lane = Lane(beside, parent)
    main.lane.start()
    try:
        main.run_until_signalled(sweeps=name == "default", parent=parent)
    finally:
        main.lane.finish()


def worker_for(queue):
    """A worker for one lane."""
    return WakingWorker(
        queue_names=[queue],
        interval=0,
        batch=True,
        backend_name="default",
        startup_delay=False,
        max_tasks=None,
        worker_id=f"{queue}-{os.getpid()}",
        excluded_queue_names=[],
    )


class Lane(threading.Thread):
    """Runs a second worker beside the one of the main thread. A second signal ends it with the process."""

    def __init__(self, worker, parent):
        super().__init__(name="lane", daemon=True)
        self.worker, self._parent = worker, parent

    def run(self):
        self.worker.run_until_signalled(sweeps=False, parent=self._parent)
        connection.close()

    def finish(self):
        """Claim nothing more, and wait for the task that is under way."""
        self.worker.running = False
        while self.is_alive() and self.worker.running_task:
            time.sleep(0.02)


def is_gone(parent):
    """Whether `parent`, the id of the process that started this one, has ended; False without a parent."""
    return parent is not None and os.getppid() != parent


class WakingWorker(Worker):
    """Runs one task at a time, sweeps at intervals, and sleeps until something is enqueued."""

    lane = None

    def shutdown(self, signum, frame):
        """Claim nothing more; what is under way is finished."""
        jobs.begin_draining()
        if self.lane is not None:
            self.lane.worker.running = False
        super().shutdown(signum, frame)

    def run_until_signalled(self, *, sweeps, parent=None):
        """Run until a signal, or until `parent`, which started this process, is gone (it may already be)."""
        listener = listeners.listener_for(connection)
        sweeper = Sweeper() if sweeps else None
        if sweeper:
            sweeper.start()
        pause = 0.2  # seconds; grows while the database does not answer
        while self.running and not is_gone(parent):
            try:
                before = self._run_tasks
                self.max_tasks = before + 1
                self.run()
                pause = 0.2
                if self._run_tasks == before and self.running:
                    listener.wait(self._seconds_to_wait())
                    if isinstance(listener, listeners.PollingListener):  # does the database answer again?
                        listener = listeners.listener_for(connection)
            except (Error, sqlite3.Error, psycopg.Error) as problem:
                # db_worker would end here: a locked SQLite file, a PostgreSQL server that restarts or is frozen.
                log.warning("The database does not answer, trying again: %s", problem)
                connection.close()
                owned_list.forget_reads()  # the one that answers next may be another database
                time.sleep(pause)
                pause = min(pause * 2, 5)
                listener.close()
                listener = listeners.listener_for(connection)
        listener.close()
        if sweeper:
            sweeper.finish()

    def _seconds_to_wait(self):
        """The seconds until the next task that is planned for later, at most the interval."""
        later = DBTaskResult.objects.filter(
            status=TaskResultStatus.READY, queue_name__in=self.queue_names, run_after__gt=timezone.now()
        ).aggregate(at=Min("run_after"))["at"]
        if later is None:
            return INTERVAL
        return max(0.01, min(INTERVAL, (later - timezone.now()).total_seconds()))


class Sweeper(threading.Thread):
    """Sweeps in a thread beside the queue's tasks, so that a long task does not delay what is due."""

    def __init__(self):
        super().__init__(name="sweeper", daemon=True)
        self._over = threading.Event()

    def run(self):
        """Sweep at the start and at every interval until `finish` is called."""
        pruned = None
        while not self._over.is_set():
            self._undisturbed(sweep.run)
            self._undisturbed(sending.wake_if_due)
            if pruned is None or time.monotonic() - pruned >= PRUNE_EVERY:
                self._undisturbed(prune)
                self._undisturbed(keys.wipe_unneeded)
                self._undisturbed(logins.forget_old)
                self._undisturbed(audit.seal_if_due)
                pruned = time.monotonic()
            self._over.wait(jobs.SWEEP_EVERY)
        connection.close()

    def finish(self):
        """Let the current sweep finish, and start no other."""
        self._over.set()
        self.join(timeout=DRAIN_GRACE)

    @staticmethod
    def _undisturbed(work):
        """Run `work`. A failure is logged and does not stop the work that follows."""
        try:
            close_old_connections()
            work()
        # The database does not answer, for instance: the next sweep makes up for it.
        except Exception as problem:
            log.warning("%s failed and is run again with the next sweep: %s", work.__name__, problem)
            connection.close()
            owned_list.forget_reads()


def prune():
    """Remove what is no longer needed: finished queue rows, old pastes, abandoned drafts, expired sessions.

    Purchases and their events are never removed.
    """
    now = timezone.now()
    DBTaskResult.objects.finished().filter(finished_at__lt=now - timedelta(days=KEPT_TASKS)).delete()
    Draft.objects.filter(updated_at__lt=now - timedelta(days=KEPT_DRAFTS)).delete()
    Paste.objects.filter(created_at__lt=now - timedelta(days=KEPT_PASTES), draft=None).delete()
    SessionStore.clear_expired()


# --- The supervisor -----------------------------------------------------------------------------------------------


class Child:
    """One worker process, restarted with growing pauses when it ends."""

    def __init__(self, queue):
        self.queue, self.process, self.start_at, self.backoff, self.started = queue, None, 0.0, 0.5, 0.0

    def look_after(self, now):
        """Start the process when it is time; notice when it has ended."""
        if self.process is None:
            if now >= self.start_at:
                command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "work", "--one", self.queue]
                self.process = subprocess.Popen(
                    [*command, "--parent", str(os.getpid())],
                    start_new_session=True,  # a Ctrl-C of the terminal reaches it once, through us
                )
                self.started = now
            return
        code = self.process.poll()
        if code is None:
            return
        self.backoff = 0.5 if now - self.started > 60 else min(self.backoff * 2, LONGEST_BACKOFF)
        log.warning("A worker process (%s) ended with %s; starting it again.", self.queue, code)
        self.process, self.start_at = None, now + self.backoff

    def signal(self, number):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def is_over(self):
        return self.process is None or self.process.poll() is not None


def supervise(processes, *, parent=None):
    """Keep `processes` processes running until SIGTERM or SIGINT, then drain them: each signal is passed on once.

    A caller that wants this to end with it passes its own process id as `parent`. A shell does not: what was started
    with `nohup … &` lives on.
    """
    children = [Child("default"), *(Child("purchases") for _ in range(processes - 1))]
    signals_received = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: signals_received.append(number))
    while not signals_received and not is_gone(parent):
        for child in children:
            child.look_after(time.monotonic())
        time.sleep(0.1)
    passed_on = 0
    until = time.monotonic() + settings.IDENTITYCALL_DEADLINE + DRAIN_GRACE
    signals_received = signals_received or [signal.SIGTERM]
    while not all(child.is_over() for child in children):
        for _ in signals_received[passed_on:]:
            for child in children:
                child.signal(signal.SIGTERM)
            passed_on += 1
        if time.monotonic() > until:
            for child in children:
                # A call that was under way becomes unconfirmed, and evidence settles it.
                child.signal(signal.SIGKILL)
        time.sleep(0.05)
