"""A disk that is full, and a file that may only be read, on SQLite.

Before the claim nothing is sent; after the answer it is recorded as soon as there is room, or the sweep sees to it. No
half record, and the worker goes on.
"""

import json
import os
import resource
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from django.conf import settings as project
from django.db import OperationalError, connection

from purchasing import audit, clock
from purchasing.buying import evidence, outcomes, procurement
from purchasing.models import Attempt, OfferLook, OwnedRead, Purchase
from purchasing.states import Outcome, State
from purchasing.worker import sweep
from sandbox import keys, server
from tests import factories
from tests.audit.test_events import database_url
from tests.buying.test_procurement import look_now, overdue
from tests.healthy_provider import PURCHASE, owned
from tests.wire import wait_until
from tests.worker.test_processes import PATIENCE, all_are, posted

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL writes its files itself"),
]
MANY = 16  # purchases; the last pages of the tables are full long before the last of them


class Disk:
    """The database's file, as this process may write to it."""

    def __init__(self):
        self.options = connection.settings_dict["OPTIONS"]
        self.usual = self.options["init_command"]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE filler (text)")

    def _open_anew_with(self, pragma):
        self.options["init_command"] = f"{self.usual} {pragma}"
        connection.close()

    def fill(self):
        """From now on the file cannot grow, and no page inside it is free."""
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA page_count")
            self._open_anew_with(f"PRAGMA max_page_count = {cursor.fetchone()[0]};")
        for size in (100_000, 3_000):
            self._write_until_full(size)

    def _write_until_full(self, size):
        with connection.cursor() as cursor, pytest.raises(OperationalError, match="full"):
            while True:
                cursor.execute("INSERT INTO filler VALUES (zeroblob(%s))", [size])

    def may_only_be_read(self):
        self._open_anew_with("PRAGMA query_only = on;")

    def has_room(self):
        self._open_anew_with("")

    def close(self):
        self.has_room()
        self.options["init_command"] = self.usual
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE filler")
            cursor.execute("VACUUM")

    @contextmanager
    def full_at(self, place, *, after=""):
        """The write of this place is too much for the disk: the 0th is the first that begins with `after`."""
        left = None

        def write(execute, sql, parameters, many, context):
            nonlocal left
            if left is None and sql.startswith(after) and after:
                left = place
            if left is not None and sql.startswith(("INSERT", "UPDATE")):
                left -= 1
                if left == -1:
                    with connection.cursor() as cursor:
                        cursor.execute("PRAGMA page_count")
                        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0]}")
                        cursor.execute("INSERT INTO filler VALUES (zeroblob(10000000))")
            return execute(sql, parameters, many, context)

        with connection.execute_wrapper(write):
            yield


@pytest.fixture
def disk(transactional_db):
    disk = Disk()
    yield disk
    disk.close()
    assert audit.verify().whole


@pytest.fixture
def approved(team, sam, ana, provider, disk):
    """Many queued purchases, all that a claim rests on looked up, and a provider that sells."""
    numbers = [f"+121255501{n:02d}" for n in range(1, 1 + MANY)]
    purchases = factories.approve(factories.request(team, sam, numbers), ana)
    look_now(purchases[0])
    answering(provider, lambda: None)
    return purchases


def answering(provider, first):
    """Let the provider sell whatever is requested, and something happen before it answers."""

    def sell(request):
        provider.owned_numbers.append(
            owned(json.loads(request.body)["phone_number"], 500 + len(provider.owned_numbers))
        )
        first()
        return 201, {}, json.dumps({"data": provider.owned_numbers[-1]})

    provider.http.remove("POST", PURCHASE)
    provider.http.add_callback("POST", PURCHASE, sell)


def records(purchase):
    """All that is stored about a purchase."""
    attempts = list(purchase.attempts.order_by("pk").values_list("outcome", flat=True))
    return factories.state_of(purchase), attempts, factories.actions(purchase)


WAITING = (State.APPROVED, [], ["purchase.pending", "purchase.approved"])
CLAIMED = (State.PURCHASING, [Outcome.OPEN], [*WAITING[2], "purchase.purchasing"])
BOUGHT = (State.PURCHASED, [Outcome.PURCHASED], [*CLAIMED[2], "purchase.purchased"])


def sent(provider):
    return [call["phone_number"] for call in provider.purchases]


class Pauses(list):
    """The pauses between the tries to record an answer, in seconds; `then` happens in each of them."""

    def __init__(self):
        self.then = lambda: None

    def __call__(self, seconds):
        self.append(seconds)
        self.then()


@pytest.fixture
def pauses(monkeypatch):
    pauses = Pauses()
    monkeypatch.setattr(outcomes.time, "sleep", pauses)
    return pauses


class TestBeforeTheClaim:
    def test_a_full_disk_sends_nothing_and_keeps_nothing_by_halves(self, approved, provider, disk, pauses):
        """The first claims find room in the last pages. Where one does not, nothing of it is kept."""
        pauses.then = disk.has_room  # for the answer to a claim that found the last of it
        refused = []
        for purchase in approved:
            disk.fill()
            try:
                procurement.buy(purchase.pk)
            except OperationalError as problem:
                assert "full" in str(problem)
                refused.append(purchase)

        assert refused
        for purchase in approved:
            assert records(purchase) == (WAITING if purchase in refused else BOUGHT)
            assert sent(provider).count(purchase.phone_number) == (purchase not in refused)
        disk.has_room()
        for purchase in approved:
            procurement.buy(purchase.pk)
        assert [records(purchase) for purchase in approved] == [BOUGHT] * MANY
        assert sorted(sent(provider)) == [purchase.phone_number for purchase in approved]

    def test_a_disk_that_is_full_at_any_write_of_the_claim_takes_all_of_it_back(
        self, approved, provider, disk
    ):
        writes = 0
        for place, purchase in enumerate(approved):
            with disk.full_at(place, after='INSERT INTO "purchasing_attempt"'):
                try:
                    procurement.buy(purchase.pk)
                except OperationalError as problem:
                    assert "full" in str(problem)
                else:
                    break  # that was no longer the claim
            disk.has_room()
            writes += 1
            assert (records(purchase), sent(provider)) == (WAITING, [])
        assert writes >= 4  # attempt, purchase, event, head of the chain
        disk.has_room()
        for purchase in approved[:writes]:
            procurement.buy(purchase.pk)
            assert records(purchase) == BOUGHT

    def test_a_file_that_may_only_be_read_sends_nothing(self, approved, provider, disk):
        disk.may_only_be_read()
        for purchase in approved[:3]:
            with pytest.raises(OperationalError, match="readonly"):
                procurement.buy(purchase.pk)
        disk.has_room()
        assert [records(purchase) for purchase in approved[:3]] == [WAITING] * 3
        assert provider.purchases == []
        procurement.buy(approved[0].pk)
        assert records(approved[0]) == BOUGHT

    def test_a_look_that_cannot_be_kept_claims_nothing(self, approved, provider, disk):
        """Nothing is claimed on what was only seen: the record of the look belongs to it."""
        for place, (name, model) in enumerate({"ownedread": OwnedRead, "offerlook": OfferLook}.items()):
            model.objects.all().delete()
            full = disk.full_at(0, after=f'INSERT INTO "purchasing_{name}"')
            with full, pytest.raises(OperationalError, match="full"):
                procurement.buy(approved[place].pk)
            disk.has_room()
            assert (records(approved[place]), provider.purchases) == (WAITING, [])


class TestAfterTheAnswer:
    def test_it_is_recorded_as_soon_as_there_is_room(self, approved, provider, disk, pauses):
        answering(provider, disk.fill)
        pauses.then = lambda: disk.has_room() if len(pauses) % 3 == 0 else None
        for purchase in approved:
            disk.has_room()
            procurement.buy(purchase.pk)
            assert records(purchase) == BOUGHT
        assert len(pauses) >= 3
        assert sent(provider) == [purchase.phone_number for purchase in approved]

    def test_it_is_recorded_when_the_disk_was_full_at_any_write_of_it(self, approved, provider, disk, pauses):
        writes = 0
        for place, purchase in enumerate(approved):
            with disk.full_at(place, after='UPDATE "purchasing_attempt" SET "http_status"'):
                procurement.buy(purchase.pk)
            assert records(purchase) == BOUGHT
            if len(pauses) == writes:
                break  # there are not so many
            writes += 1
        assert writes >= 4  # attempt, purchase, event, head of the chain
        assert pauses == [0.1] * writes
        assert sent(provider) == [purchase.phone_number for purchase in approved[: writes + 1]]

    def test_it_is_recorded_when_the_file_may_be_written_to_again(self, approved, provider, disk, pauses):
        answering(provider, disk.may_only_be_read)
        pauses.then = lambda: disk.has_room() if len(pauses) == 5 else None
        procurement.buy(approved[0].pk)
        assert (records(approved[0]), pauses) == (BOUGHT, [0.1, 0.2, 0.4, 0.8, 1.6])

    def test_lost_with_its_worker_it_is_found_by_the_sweep_and_the_list(
        self, approved, provider, disk, pauses
    ):
        class Killed(BaseException):
            pass

        def killed():
            raise Killed

        answering(provider, disk.may_only_be_read)
        pauses.then = killed
        with pytest.raises(Killed):
            procurement.buy(approved[0].pk)
        disk.has_room()
        assert records(approved[0]) == CLAIMED
        overdue(Attempt.objects.get())
        sweep.run()
        assert factories.state_of(approved[0]) == State.UNCONFIRMED
        Purchase.objects.filter(state=State.UNCONFIRMED).update(due_at=clock.now())
        evidence.gather(Attempt.objects.get().key_id)
        assert (factories.state_of(approved[0]), len(provider.purchases)) == (State.PURCHASED, 1)


class Worker:
    """One process that buys, whose files cannot grow beyond a limit that can be changed while it runs."""

    def __init__(self, provider):
        self.output = []
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "work", "--one", "purchases", "--parent", str(os.getpid())],
            cwd=project.BASE_DIR,
            env=os.environ
            | {
                "DATABASE_URL": database_url(),
                "IDENTITYCALL_API_URL": provider.api_url,
                "IDENTITYCALL_DEADLINE": "20",
                "PYTHONUNBUFFERED": "1",
            },
            stdout=subprocess.PIPE,  # not a file, which could not grow either
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.listener = threading.Thread(target=lambda: self.output.extend(self.process.stdout), daemon=True)
        self.listener.start()

    def files_may_grow(self, to=resource.RLIM_INFINITY):
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (to, resource.RLIM_INFINITY))

    def has_said(self, words):
        assert self.process.poll() is None, "the worker has ended"
        return sum(words in line for line in self.output)


@contextmanager
def working(provider):
    worker = Worker(provider)
    try:
        yield worker
    finally:
        worker.files_may_grow()
        worker.process.terminate()
        try:
            worker.process.wait(PATIENCE)
        finally:
            worker.process.kill()
            worker.listener.join(PATIENCE)
            print("".join(worker.output))  # pytest shows it when the test fails


class TestTheWorker:
    """A real process, a real limit of the system on what it writes, and the sandbox."""

    @pytest.fixture
    def provider(self, tmp_path):
        with server.running(tmp_path / "sandbox", rate_limit=0, practice=False) as provider:
            yield provider

    @pytest.fixture
    def team(self, db):
        return factories.team(key=keys.ACCOUNT_KEY)

    @pytest.fixture
    def ask(self, provider, team, sam, ana):
        numbers = iter(provider.offers("US", "local"))

        def approved():
            dear = {"upfront_cost": 1000, "monthly_cost": 1000}
            return factories.approve(factories.request(team, sam, [next(numbers)], **dear), ana)[0]

        return approved

    def test_goes_on_while_its_files_cannot_grow_and_sends_each_order_once(self, provider, ask):
        with working(provider) as worker:
            first = ask()
            wait_until(lambda: all_are(State.PURCHASED, [first]), PATIENCE)

            worker.files_may_grow(to=0)
            second = ask()
            wait_until(lambda: worker.has_said("The database does not answer"), PATIENCE)
            assert (all_are(State.APPROVED, [second]), posted(provider, second)) == (True, 0)
            worker.files_may_grow()
            wait_until(lambda: sweep.run() or all_are(State.PURCHASED, [second]), PATIENCE)

            provider.set_fault("slow_after", seconds=1, times=1)
            third = ask()
            wait_until(lambda: posted(provider, third), PATIENCE)
            worker.files_may_grow(to=0)
            wait_until(lambda: worker.has_said("is not stored yet") > 1, PATIENCE)
            assert records(third) == CLAIMED
            worker.files_may_grow()
            wait_until(lambda: all_are(State.PURCHASED, [third]), PATIENCE)

            *before, events = records(third)  # the sandbox gives the name back, so nothing is left to apply
            assert (*before, events) == (*BOUGHT[:2], [*BOUGHT[2], "purchase.applied"])
        assert [posted(provider, purchase) for purchase in (first, second, third)] == [1, 1, 1]
