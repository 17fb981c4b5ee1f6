"""SQLite writers take turns in order of arrival, over threads and processes."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from django.db import OperationalError, connection, connections, transaction

from dashboard.sqlite import base, turns
from purchasing.models import Desk
from tests.wire import wait_until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="for SQLite alone"),
]


def turn_file():
    return Path(f"{connection.settings_dict['NAME']}.turn")


def is_taken():
    """Whether a transaction has the turn now."""
    with open(turn_file(), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def write():
    Desk.objects.update(failures=Desk.objects.get().failures + 1)


def test_the_settings_use_it():
    assert isinstance(connections["default"], base.DatabaseWrapper)
    with connection.cursor() as cursor:
        pragmas = {}
        for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys"):
            cursor.execute(f"PRAGMA {name}")
            pragmas[name] = cursor.fetchone()[0]
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 20000, "foreign_keys": 1}


def test_a_transaction_has_the_turn_until_it_is_over():
    with transaction.atomic():
        assert is_taken()
        with transaction.atomic():  # a savepoint takes no second turn
            write()
        assert is_taken()
    assert not is_taken()


@pytest.mark.parametrize("end", ["error", "rollback", "close"])
def test_it_is_given_back_whatever_happens(end):
    with suppress(ZeroDivisionError), transaction.atomic():
        write()
        assert is_taken()
        if end == "error":
            raise ZeroDivisionError
        transaction.set_rollback(True)
        if end == "close":
            connection.close()
    assert not is_taken()


def test_it_is_given_back_when_the_transaction_cannot_begin():
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 10")
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"), transaction.atomic():
            pass
        assert not is_taken()
    finally:
        other.close()
    with transaction.atomic():
        write()
    assert Desk.objects.get().failures == 1
    connection.close()


def test_reading_needs_no_turn():
    results = []

    def read():
        results.append(Desk.objects.get().failures)
        connections.close_all()

    with transaction.atomic():
        write()
        thread = threading.Thread(target=read)
        thread.start()
        thread.join(20)
    assert results == [0]  # uncommitted changes are invisible to others


def in_line():
    """How many wait for the turn, over all processes."""
    locks = Path("/proc/locks").read_text()
    inode = str(turn_file().stat().st_ino)
    return sum("->" in line and f":{inode} " in line for line in locks.splitlines())


def threads_in_line():
    return [thread for thread in threading.enumerate() if thread.name == "turn"]


@contextmanager
def held():
    """The turn is taken, by whoever it may be."""
    with open(turn_file(), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_as(name, order):
    with transaction.atomic():
        order.append(name)
    connections.close_all()


def test_first_come_first_served():
    """The first to ask writes first, although the previous writer asks again as soon as it is done."""
    order, waiting = [], []
    with transaction.atomic():
        for place in range(4):
            thread = threading.Thread(target=write_as, args=(place, order))
            waiting.append(thread)
            thread.start()
            wait_until(lambda place=place: in_line() == place + 1)
    for thread in waiting:
        thread.join(20)
    assert order == [0, 1, 2, 3]


class TestATurnThatDoesNotCome:
    @pytest.fixture
    def hurried(self, monkeypatch):
        """Nobody waits for long."""
        write()
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.05)

    def test_is_a_locked_database(self, hurried):
        with held():
            with pytest.raises(OperationalError, match="database is locked"), transaction.atomic():
                pass
            assert Desk.objects.get().failures == 1  # who only reads goes on
        with transaction.atomic():
            write()
        assert Desk.objects.get().failures == 2

    def test_is_given_back_when_it_comes_and_nobody_wants_it(self, hurried):
        with held():
            for _ in range(3):
                with suppress(OperationalError), transaction.atomic():
                    pass
            assert len(threads_in_line()) == in_line() == 1  # one thread, however often one tries
        wait_until(lambda: not threads_in_line())
        assert not is_taken()

    def test_who_comes_back_has_kept_the_place(self, hurried, monkeypatch):
        order = []

        def another_process():
            with held():
                order.append("another process")

        with held():
            with suppress(OperationalError), transaction.atomic():
                pass
            other = threading.Thread(target=another_process)
            other.start()
            wait_until(lambda: in_line() == 2)
            monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 20)
            back = threading.Thread(target=write_as, args=("who came back", order))
            back.start()
            wait_until(lambda: not turns._left[str(turn_file())])
        for thread in (other, back):
            thread.join(20)
        assert order == ["who came back", "another process"]

    @pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
    def test_a_child_of_this_process_stands_in_line_itself(self, hurried):
        """The threads of its parent are not there."""
        with held():
            with suppress(OperationalError), transaction.atomic():
                pass
            child = os.fork()
            if not child:
                try:
                    turns.take(str(turn_file()), 20)
                finally:
                    os._exit(0)
            wait_until(lambda: in_line() == 2)
        assert os.waitpid(child, 0)[1] == 0
        wait_until(lambda: not threads_in_line())


def test_processes_take_turns_as_well():
    """Each process reads a count and writes it plus one: no update is lost, and none fails as locked."""
    script = textwrap.dedent("""
        import django
        django.setup()
        from django.db import transaction
        from purchasing.models import Desk
        for _ in range(50):
            with transaction.atomic():
                Desk.objects.update(failures=Desk.objects.get().failures + 1)
    """)
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
    }
    processes = [subprocess.Popen([sys.executable, "-c", script], env=environment) for _ in range(3)]
    for _ in range(50):
        with transaction.atomic():
            write()
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert Desk.objects.get().failures == 200


def test_a_process_that_is_killed_gives_its_turn_back():
    script = textwrap.dedent("""
        import sys, time, django
        django.setup()
        from django.db import transaction
        with transaction.atomic():
            print("mine", flush=True)
            time.sleep(60)
    """)
    environment = os.environ | {
        "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
    }
    with subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"mine\n"
        assert is_taken()
        process.kill()
        process.wait(20)
    with transaction.atomic():
        write()
    assert Desk.objects.get().failures == 1


def test_in_memory_there_is_nobody_to_wait_for(monkeypatch):
    monkeypatch.setattr(connection, "is_in_memory_db", lambda: True)
    with transaction.atomic():
        assert not is_taken()
