"""`manage.py work` as it really runs: processes, a sandbox over HTTP, the test database, real signals."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from django.conf import settings as project
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import OperationalError, connection
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock, jobs, tasks
from purchasing.buying import evidence
from purchasing.identitycall.errors import NotSent
from purchasing.identitycall.resources import OwnedList
from purchasing.models import Attempt, Desk, Draft, Paste, Purchase
from purchasing.provider import owned_list
from purchasing.states import Outcome, State
from purchasing.worker import listeners, processes, sweep
from sandbox import keys, server
from tests import factories
from tests.audit.test_events import database_url
from tests.wire import wait_until

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 30  # seconds; what is waited for comes much sooner
WORK = (sys.executable, "manage.py", "work", "--processes", "2")


@pytest.fixture
def provider(tmp_path):
    with server.running(tmp_path / "sandbox", rate_limit=0, practice=False) as provider:
        yield provider


@pytest.fixture
def team(db):
    return factories.team(key=keys.ACCOUNT_KEY)


@pytest.fixture
def approved(provider, team, sam, ana):
    """Ask for that many numbers of the sandbox and approve them, at any price it may have."""

    def ask(count=1):
        taken = set(Purchase.objects.values_list("phone_number", flat=True))
        free = [number for number in provider.offers("US", "local") if number not in taken][:count]
        dear = {"upfront_cost": Decimal(1000), "monthly_cost": Decimal(1000)}
        return factories.approve(factories.request(team, sam, free, **dear), ana)

    return ask


class Running:
    """A running `manage.py work`, or whatever else `command` starts."""

    def __init__(self, provider, log, command=None, database=None):
        environment = os.environ | {
            "DATABASE_URL": database or database_url(),
            "IDENTITYCALL_API_URL": provider.api_url,
            "IDENTITYCALL_CONNECT_TIMEOUT": "1",
            "IDENTITYCALL_READ_TIMEOUT": "3",
            "IDENTITYCALL_DEADLINE": "3",
            "EVIDENCE_CHECK_DELAYS": "0.1,0.5",
        }
        self.log, self.supervisor = log, None
        self.process = subprocess.Popen(
            command or (*WORK, "--parent", str(os.getpid())),
            cwd=project.BASE_DIR,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log.open("ab"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def children(self):
        """The processes it started: `{pid: queue}`."""
        pid = self.supervisor or self.process.pid
        with suppress(FileNotFoundError):
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return {int(child): queue for child in found if (queue := queue_of(child))}
        return {}

    def buyer(self, other_than=None):
        """The process that buys, once it runs."""
        found = []

        def runs():
            found[:] = [
                pid for pid, queue in self.children().items() if queue == "purchases" and pid != other_than
            ]
            return found

        wait_until(runs, PATIENCE)
        return found[0]

    def tell(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def end(self):
        """Wait until it has ended by itself; its exit code."""
        return self.process.wait(PATIENCE)


def queue_of(pid):
    """Which queue a process runs: '' when it is none of ours or has ended."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"--one" in words:
            return words[words.index(b"--one") + 1].decode()
    return ""


@contextmanager
def running(provider, tmp_path, database=None):
    """A worker for the length of a `with` block, and nothing of it afterwards. `database` is an URL."""
    desk = Running(provider, tmp_path / "work.log", database=database)
    known = {}
    try:
        wait_until(lambda: len(desk.children()) == 2, PATIENCE)
        known = desk.children()
        yield desk
    finally:
        known |= desk.children()
        desk.process.kill()
        desk.process.wait()
        for pid in filter(queue_of, known):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(map(queue_of, known)), PATIENCE)
        print(desk.log.read_text())  # pytest shows it when the test fails


def all_are(state, purchases):
    stored = Purchase.objects.filter(pk__in=[purchase.pk for purchase in purchases])
    return set(stored.values_list("state", flat=True)) == {state}


def sold(provider):
    return [entry["phone_number"] for entry in provider.ledger()]


def posted(provider, purchase):
    return provider.counters()["purchase_posts"].get(purchase.phone_number, 0)


@pytest.mark.database
def test_what_is_approved_is_bought_with_and_without_the_queue_and_one_sigterm_drains(
    provider, approved, tmp_path
):
    purchases = approved(3)
    DBTaskResult.objects.filter(
        args_kwargs__args__0=purchases[0].pk
    ).delete()  # lost: the sweep makes up for it
    with running(provider, tmp_path) as desk:
        wait_until(lambda: all_are(State.PURCHASED, purchases), PATIENCE)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:  # the server ends every connection: the workers reconnect
                cursor.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
        purchases += approved(1)
        wait_until(lambda: all_are(State.PURCHASED, purchases), PATIENCE)
        wait_until(lambda: not Purchase.objects.filter(applied_at=None).exists(), PATIENCE)
        assert Desk.objects.get().swept_at is not None
        started = desk.children()
        desk.tell()
        assert desk.end() == 0
        assert not any(map(queue_of, started))
    assert sorted(sold(provider)) == sorted(purchase.phone_number for purchase in purchases)


@pytest.mark.database
def test_a_worker_killed_in_the_call_is_started_again_and_nothing_is_sent_twice(provider, approved, tmp_path):
    provider.set_fault("hang_after", times=1)
    [purchase] = approved(1)
    with running(provider, tmp_path) as desk:
        wait_until(lambda: posted(provider, purchase) == 1, PATIENCE)
        killed = desk.buyer()
        os.kill(killed, signal.SIGKILL)
        desk.buyer(other_than=killed)

        def settled():
            sweep.run()  # the worker does it every 15 s
            return all_are(State.PURCHASED, [purchase])

        wait_until(settled, PATIENCE)
        [another] = approved(1)
        wait_until(lambda: all_are(State.PURCHASED, [another]), PATIENCE)
    assert factories.actions(purchase)[2:5] == [
        "purchase.purchasing",
        "purchase.unconfirmed",
        "purchase.purchased",
    ]
    assert (posted(provider, purchase), posted(provider, another)) == (1, 1)
    assert Attempt.objects.filter(outcome=Outcome.OPEN).count() == 0


def test_one_sigterm_in_the_call_lets_it_finish_and_be_recorded(provider, approved, tmp_path):
    """A buying process buys two numbers at once, in two lanes."""
    provider.set_fault("slow_after", seconds=1.5, times=2)
    purchases = approved(3)
    with running(provider, tmp_path) as desk:
        wait_until(lambda: sum(posted(provider, purchase) for purchase in purchases) == 2, PATIENCE)
        desk.tell()
        assert desk.end() == 0
    called = [purchase for purchase in purchases if posted(provider, purchase)]
    [waiting] = [purchase for purchase in purchases if purchase not in called]
    assert all_are(State.PURCHASED, called)
    assert all_are(State.APPROVED, [waiting])  # nothing is claimed once the signal has come
    assert posted(provider, waiting) == 0


def test_one_sigterm_while_it_looks_leaves_the_purchase_to_the_next_worker(provider, approved, tmp_path):
    """The look goes on for a while; nothing is claimed after it, and nothing is sent."""
    provider.set_fault("slow_after", endpoint="list", seconds=1.5, times=1)
    [purchase] = approved(1)
    with running(provider, tmp_path) as desk:
        wait_until(lambda: provider.counters()["requests"].get("list"), PATIENCE)
        desk.tell()
        assert desk.end() == 0
    assert all_are(State.APPROVED, [purchase])
    assert (posted(provider, purchase), Attempt.objects.count()) == (0, 0)
    with running(provider, tmp_path):
        wait_until(lambda: all_are(State.PURCHASED, [purchase]), PATIENCE)
    assert posted(provider, purchase) == 1


def test_a_second_sigterm_ends_it_in_the_call_and_the_list_settles_it(provider, approved, tmp_path, settings):
    provider.set_fault("hang_after", times=1)
    [purchase] = approved(1)
    with running(provider, tmp_path) as desk:
        wait_until(lambda: posted(provider, purchase) == 1, PATIENCE)
        desk.tell()
        desk.tell()
        assert desk.end() == 0
    assert Purchase.objects.get().state in (State.PURCHASING, State.UNCONFIRMED)
    settings.IDENTITYCALL_API_URL = provider.api_url
    Purchase.objects.filter(state=State.PURCHASING).update(due_at=clock.now())
    sweep.run()
    assert all_are(State.UNCONFIRMED, [purchase])
    Purchase.objects.update(due_at=clock.now())
    evidence.gather(Attempt.objects.get().key_id)
    assert all_are(State.PURCHASED, [purchase])
    assert posted(provider, purchase) == 1


def test_no_process_outlives_the_one_that_started_it(provider, team, tmp_path):
    with running(provider, tmp_path) as desk:
        started = desk.children()
        desk.process.kill()
        desk.process.wait()
        wait_until(lambda: not any(map(queue_of, started)), PATIENCE)


class TestStartedByAShell:
    """`work` with a shell, or another process, as its parent."""

    @contextmanager
    def started(self, provider, tmp_path, *options):
        """The worker, started by a shell that runs until its input ends; nothing of it is left afterwards."""
        command = f'nohup "$@" {" ".join(options)} & echo $! > {tmp_path / "pid"}; read -r line'
        shell = Running(provider, tmp_path / "work.log", ("sh", "-c", command, "sh", *WORK))
        known = {}
        try:
            wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), PATIENCE)
            shell.supervisor = int((tmp_path / "pid").read_text())
            wait_until(lambda: len(shell.children()) == 2, PATIENCE)
            known = shell.children()
            yield shell
        finally:
            known |= shell.children()
            for pid in (shell.process.pid, shell.supervisor, *filter(queue_of, known)):
                with suppress(ProcessLookupError, TypeError):
                    os.kill(pid, signal.SIGKILL)
            shell.process.wait()
            wait_until(lambda: not any(map(queue_of, known)), PATIENCE)
            print(shell.log.read_text())

    def test_it_lives_on_and_looks_after_its_processes(self, provider, team, tmp_path):
        with self.started(provider, tmp_path) as shell:
            shell.process.stdin.close()
            shell.process.wait(PATIENCE)
            killed = shell.buyer()
            os.kill(killed, signal.SIGKILL)
            assert shell.buyer(other_than=killed)
            os.kill(shell.supervisor, signal.SIGTERM)
            wait_until(lambda: not shell.children(), PATIENCE)

    def test_it_ends_with_the_parent_that_it_was_given(self, provider, team, tmp_path):
        with self.started(provider, tmp_path, "--parent", "$$") as shell:
            started = shell.children()
            shell.process.kill()
            shell.process.wait()
            wait_until(lambda: not any(map(queue_of, started)), PATIENCE)


class Tired(processes.WakingWorker):
    """A worker whose database fails some times before it answers; it ends when it has run the queue once."""

    def __init__(self, failures):
        super().__init__(
            queue_names=["default", "purchases"],
            interval=0,
            batch=True,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id="test",
            excluded_queue_names=[],
        )
        self.failures, self.runs = failures, 0

    def run(self):
        self.runs += 1
        if self.failures:
            self.failures -= 1
            raise OperationalError("database is locked")
        super().run()
        self.running = False


class Idle(Tired):
    """A worker that goes on until it is told to end, or has run the queue more often than any test needs."""

    def run(self):
        super().run()
        self.running = self.runs < 20


@pytest.mark.database
def test_a_database_that_is_locked_for_a_while_does_not_end_the_worker(pending, monkeypatch):
    pauses = []
    monkeypatch.setattr(processes.time, "sleep", pauses.append)
    worker = Tired(failures=6)
    worker.run_until_signalled(sweeps=False, parent=os.getppid())
    assert worker.runs == 7
    assert pauses == sorted(pauses)  # ever longer, and never too long
    assert max(pauses) <= 5
    assert set(DBTaskResult.objects.values_list("status", flat=True)) == {"SUCCESSFUL"}


@pytest.mark.database
def test_a_worker_that_could_only_poll_is_woken_again_when_the_database_answers(pending, monkeypatch):
    """The first listeners find a database that does not answer, though the queue finds one that does."""
    made, real = [], listeners.listener_for

    def listener_for(database):
        made.append(listeners.PollingListener() if len(made) < 2 else real(database))
        worker.running = len(made) < 3
        return made[-1]

    monkeypatch.setattr(listeners, "listener_for", listener_for)
    monkeypatch.setattr(listeners.time, "sleep", lambda seconds: None)
    worker = Idle(failures=0)
    worker.run_until_signalled(sweeps=False, parent=os.getppid())
    assert not isinstance(made[-1], listeners.PollingListener)


@pytest.mark.database
def test_a_sweep_that_fails_does_not_end_it_either(pending, monkeypatch):
    failures = iter([OperationalError("gone"), OperationalError("gone")])
    real = sweep.run

    def failing():
        for failure in failures:
            raise failure
        real()

    monkeypatch.setattr(processes.sweep, "run", failing)
    monkeypatch.setattr(processes.jobs, "SWEEP_EVERY", 0.01)
    sweeper = processes.Sweeper()
    sweeper.start()
    wait_until(lambda: Desk.objects.get().swept_at is not None)
    sweeper.finish()
    assert not sweeper.is_alive()


@pytest.mark.parametrize("where", ["queue", "sweep"])
def test_a_lost_connection_makes_older_lists_count_for_nothing(team, monkeypatch, where):
    """What answers next may be a database from before they were read."""
    monkeypatch.setattr(processes.time, "sleep", lambda seconds: None)
    key = team.keys.get()
    stored = owned_list.keep(key, OwnedList(numbers=()), began_after=audit.position(), began_at=clock.now())
    assert owned_list.fresh_read(key) == stored

    def lost():
        raise OperationalError("server closed the connection unexpectedly")

    if where == "queue":
        Tired(failures=1).run_until_signalled(sweeps=False, parent=os.getppid())
    else:
        processes.Sweeper._undisturbed(lost)
    with pytest.raises(NotSent):  # it is read anew; nobody answers here
        owned_list.fresh_read(key)


def test_a_long_task_keeps_no_sweep_waiting(pending, monkeypatch):
    """Both run in the process that does everything but buying."""
    let_go = threading.Event()
    monkeypatch.setattr(processes.jobs, "SWEEP_EVERY", 0.01)
    monkeypatch.setattr(tasks.price_lookup, "confirm", lambda pk: let_go.wait(30))
    worker = Tired(failures=0)

    def sweep_then_let_go():
        wait_until(lambda: Desk.objects.get().swept_at is not None)
        let_go.set()
        connection.close()

    threading.Thread(target=sweep_then_let_go, daemon=True).start()
    worker.run_until_signalled(sweeps=True, parent=os.getppid())
    assert let_go.is_set()


def test_a_child_that_keeps_failing_is_started_ever_more_slowly(monkeypatch):
    class Ended:
        def poll(self):
            return 1

    started, now = [], 1000.0
    monkeypatch.setattr(
        processes.subprocess, "Popen", lambda *args, **options: started.append(now) or Ended()
    )
    child = processes.Child("default")
    while len(started) < 9:
        child.look_after(now)
        now += 0.1
    gaps = [round(later - earlier) for earlier, later in pairwise(started)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == processes.LONGEST_BACKOFF


@pytest.mark.database
def test_waiting_ends_when_somebody_else_has_written(team):
    listener = listeners.listener_for(connection)
    began = time.monotonic()
    try:
        subprocess.run(
            [sys.executable, "-c", WAKE],
            cwd=project.BASE_DIR,
            env=os.environ | {"DATABASE_URL": database_url(), "DJANGO_SETTINGS_MODULE": "dashboard.settings"},
            check=True,
        )
        listener.wait(PATIENCE)
        assert time.monotonic() - began < PATIENCE
    finally:
        listener.close()


WAKE = """
import django
django.setup()
from purchasing import jobs
jobs.enqueue("confirm_costs", 987654)
"""


@pytest.mark.database
def test_old_queue_rows_are_pruned_and_waiting_ones_kept(pending):
    from datetime import timedelta

    DBTaskResult.objects.update(status="SUCCESSFUL", finished_at=clock.now() - timedelta(days=15))
    jobs.enqueue("confirm_costs", pending.pk)
    processes.prune()
    assert list(DBTaskResult.objects.values_list("status", flat=True)) == ["READY"]


def test_expired_sessions_are_pruned_and_the_others_kept(sam):
    sessions = {}
    for words, seconds in (("expired", -1), ("open", 60)):
        sessions[words] = SessionStore()
        sessions[words].set_expiry(clock.now() + timedelta(seconds=seconds))
        sessions[words].create()
    processes.prune()
    assert [session.session_key for session in Session.objects.all()] == [sessions["open"].session_key]


def test_what_only_served_the_moment_is_forgotten_in_time(sam):
    old, new = clock.now() - timedelta(days=31), clock.now() - timedelta(days=29)
    draft = factories.draft(sam, ["+12125550101"])
    for moment, kept in ((old, None), (new, None), (old, draft)):
        Paste.objects.create(user=sam, text="+12125550101", draft=kept, created_at=moment)
    processes.prune()
    assert {(paste.created_at == new, paste.draft) for paste in Paste.objects.all()} == {
        (True, None),
        (False, draft),
    }
    Draft.objects.update(updated_at=clock.now() - timedelta(days=181))
    processes.prune()
    assert (Draft.objects.count(), Paste.objects.count()) == (0, 1)
