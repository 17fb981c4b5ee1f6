"""A database that locks up, and comes back: nobody waits for ever, and what cannot be written is not sent."""

import threading
from decimal import Decimal

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test import Client

from purchasing.buying import outcomes, procurement
from purchasing.identitycall.connection import Fence
from purchasing.models import Attempt, Desk
from purchasing.states import Outcome, State
from purchasing.worker import listeners, sweep
from sandbox import keys
from sandbox import server as sandbox
from tests import factories, frozen
from tests.buying.test_procurement import overdue
from tests.views.access import words
from tests.wire import wait_until
from tests.worker.test_processes import PATIENCE, all_are, posted, running

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="on SQLite only the beginning of a transaction waits for others"
)


@pytest.fixture(scope="module")
def freezer(django_db_setup):
    freezer = frozen.LockedFile() if connection.vendor == "sqlite" else frozen.FrozenServer()
    yield freezer
    freezer.close()


@pytest.fixture
def database(freezer, transactional_db, monkeypatch):
    """The database that this process uses, which may be frozen."""
    freezer.begin(monkeypatch)
    yield freezer
    freezer.thaw()
    connection.close()


@pytest.fixture
def provider(tmp_path, settings):
    with sandbox.running(tmp_path / "sandbox", rate_limit=0, practice=False) as provider:
        settings.IDENTITYCALL_API_URL = provider.api_url
        yield provider


@pytest.fixture
def team(database):
    return factories.team(key=keys.ACCOUNT_KEY)


@pytest.fixture
def ask(provider, team, sam, ana):
    """Have one more number approved."""
    numbers = iter(provider.offers("US", "local"))
    dear = {"upfront_cost": Decimal(1000), "monthly_cost": Decimal(1000)}
    return lambda: factories.approve(factories.request(team, sam, [next(numbers)], **dear), ana)[0]


@pytest.fixture
def at_commit(database, monkeypatch):
    """Freeze the database right before the given COMMIT of this process, counted from the fence of a purchase."""
    left = None
    engine = type(connections["default"])
    commit = engine._commit

    def freeze_before(number):
        nonlocal left
        left = None

        def fence(seconds):
            nonlocal left
            left = number
            return Fence(seconds)

        monkeypatch.setattr(procurement, "Fence", fence)

    def counting(wrapper):
        nonlocal left
        if left is not None:
            left -= 1
            if left == 0:
                database.freeze()
        return commit(wrapper)

    monkeypatch.setattr(engine, "_commit", counting)
    return freeze_before


def write():
    with transaction.atomic():
        Desk.objects.update(failures=Desk.objects.get().failures + 1)


def test_a_write_ends_in_an_error_and_the_next_one_works(database):
    write()
    database.freeze()
    for _ in range(2):
        with pytest.raises(OperationalError):
            write()
    database.thaw()
    write()
    assert Desk.objects.get().failures == 2


@postgresql
def test_so_do_a_read_and_a_new_connection(database):
    Desk.objects.get()
    database.freeze()
    with pytest.raises(OperationalError, match="has not answered for 1 seconds"):
        Desk.objects.get()
    connection.close()
    with pytest.raises(OperationalError, match="timeout"):
        Desk.objects.get()
    database.thaw()
    assert Desk.objects.get().failures == 0


@postgresql
def test_who_listens_is_not_cut_off_and_a_new_listener_does_not_hang(database):
    listener = listeners.listener_for(connection)
    try:
        database.freeze()
        assert isinstance(listeners.listener_for(connection), listeners.PollingListener)
        listener.wait(2 * frozen.LIMIT)
        database.thaw()
        with connection.cursor() as cursor:
            cursor.execute(f"NOTIFY {listeners.jobs.CHANNEL}")
        listener.wait(PATIENCE)
    finally:
        listener.close()


def test_the_worker_lives_on_records_what_it_bought_and_buys_again(database, provider, ask, tmp_path):
    with running(provider, tmp_path, database.url) as desk:
        first = ask()
        wait_until(lambda: all_are(State.PURCHASED, [first]), PATIENCE)
        started = desk.children()

        provider.set_fault("slow_after", seconds=1, times=1)
        second = ask()
        wait_until(lambda: posted(provider, second), PATIENCE)
        database.freeze()
        wait_until(lambda: desk.log.read_text().count("is not stored yet") >= 2, PATIENCE)
        wait_until(lambda: "The database does not answer" in desk.log.read_text(), PATIENCE)
        database.thaw()
        third = ask()
        wait_until(lambda: all_are(State.PURCHASED, [second, third]), PATIENCE)

        assert desk.children() == started
    assert [posted(provider, purchase) for purchase in (first, second, third)] == [1, 1, 1]


class TestWhatCannotBeWrittenIsNotSent:
    def test_a_claim_that_is_written_too_late(self, database, provider, ask, monkeypatch, settings):
        """The database comes back, and takes the claim, when the fence is closed."""
        purchase = ask()
        database.be_patient()
        settings.IDENTITYCALL_CONNECT_TIMEOUT = 0.5
        monkeypatch.setattr(procurement, "FENCE_GRACE", 0)

        def fence_and_freeze(seconds):
            fence = Fence(seconds)
            database.freeze()

            def thaw_when_closed():
                wait_until(fence.closed)
                database.thaw()

            threading.Thread(target=thaw_when_closed).start()
            return fence

        monkeypatch.setattr(procurement, "Fence", fence_and_freeze)
        procurement.buy(purchase.pk)
        assert posted(provider, purchase) == 0
        assert factories.state_of(purchase) == State.APPROVED
        assert [attempt.outcome for attempt in Attempt.objects.all()] == [Outcome.NOT_SENT]

    def test_a_claim_that_cannot_be_written(self, database, provider, ask, monkeypatch):
        purchase = ask()
        monkeypatch.setattr(procurement, "Fence", lambda seconds: database.freeze() or Fence(seconds))
        with pytest.raises(OperationalError):
            procurement.buy(purchase.pk)
        database.thaw()
        assert (posted(provider, purchase), Attempt.objects.count()) == (0, 0)
        assert factories.state_of(purchase) == State.APPROVED

    @postgresql
    def test_a_claim_that_was_written_although_nobody_heard_it(self, database, provider, ask, at_commit):
        """Whether its COMMIT took effect cannot be known, so it counts as a claim of a worker that died."""
        purchase = ask()
        at_commit(1)
        with pytest.raises(OperationalError):
            procurement.buy(purchase.pk)
        database.thaw()
        wait_until(lambda: factories.state_of(purchase) == State.PURCHASING)
        overdue(Attempt.objects.get())
        sweep.run()
        assert (factories.state_of(purchase), posted(provider, purchase)) == (State.UNCONFIRMED, 0)


@postgresql
def test_an_outcome_that_was_stored_although_nobody_heard_it_is_stored_once(
    database, provider, ask, at_commit, monkeypatch
):
    purchase = ask()
    at_commit(2)
    monkeypatch.setattr(outcomes.time, "sleep", lambda seconds: database.thaw())
    procurement.buy(purchase.pk)
    assert (factories.state_of(purchase), posted(provider, purchase)) == (State.PURCHASED, 1)
    assert factories.actions(purchase)[2:] == [
        "purchase.purchasing",
        "purchase.purchased",
        "purchase.applied",
    ]


def test_a_page_says_so_and_works_when_it_is_back(database, client, team, sam, ana):
    request = factories.request(team, sam, ["+12125550101"])
    client.force_login(ana)
    client.raise_request_exception = False
    fields = {"version": 1, "purchase": [request.purchases.get().pk], "reason": "Not now"}
    address = f"/requests/{request.pk}/reject/"
    database.freeze()
    response = client.post(address, fields)
    assert (response.status_code, response["Retry-After"]) == (503, "30")
    assert "The database of Number Desk is busy or does not answer." in words(response)
    assert "No number is bought twice." in words(response)
    connection.close()  # as the web does between two requests, and the test client does not
    if connection.vendor == "postgresql":  # on SQLite a locked file can be read
        assert Client().get("/readyz").json() == {"database": "no answer"}
    database.thaw()
    connection.close()
    assert client.post(address, fields).status_code == 302
    assert factories.state_of(request.purchases.get()) == State.REJECTED
