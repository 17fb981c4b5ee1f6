"""What is not claimed in the last moment: a purchase that is not due, and any purchase once the worker has been told to
end.
"""

import signal
import threading
from datetime import timedelta

import pytest

from purchasing import clock, draining, inventory, pauses, procurement, work, workflow
from purchasing.models import ApiKey, Attempt, OwnedRead, Purchase
from purchasing.states import State
from tests import factories
from tests.provider import AVAILABLE, OWNED
from tests.test_procurement import buy, claim, look_now

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"


def stored(purchase):
    return Purchase.objects.select_related("request__team").get(pk=purchase.pk)


def due_in(purchase, **time):
    Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now() + timedelta(**time))
    return stored(purchase)


def during(provider, address, happening):
    """Let something happen while the provider is asked at this address, before it answers as usual."""
    provider.http.remove("GET", address)
    answer = {OWNED: provider._owned, AVAILABLE: provider._available}[address]

    def answered(request):
        happening()
        return answer(request)

    provider.http.add_callback("GET", address, answered)


def nothing_was_claimed(purchase, provider):
    assert (factories.state_of(purchase), Attempt.objects.count(), provider.purchases) == (
        State.APPROVED,
        0,
        [],
    )
    assert factories.actions(purchase) == ["purchase.pending", "purchase.approved"]


class TestWhatIsNotDue:
    @pytest.mark.parametrize("wait", [{"seconds": 1}, {"minutes": 19}])
    def test_is_not_claimed(self, approved, provider, wait):
        look = look_now(approved)
        waiting = due_in(approved, **wait)
        with pytest.raises(workflow.AlreadyMoved):
            claim(waiting, look)
        nothing_was_claimed(approved, provider)

    @pytest.mark.parametrize("wait", [{"seconds": 1}, {"minutes": 19}])
    def test_is_not_even_looked_up(self, approved, provider, wait):
        due_in(approved, **wait)
        procurement.buy(approved.pk)
        assert provider.calls == []

    @pytest.mark.parametrize("wait", [{}, {"days": -400}, {"minutes": 21}, {"days": 400}])
    def test_ends_where_no_wait_can_be_so_long(self, approved, provider, wait):
        """A time further ahead than any wait was written by a clock that has since gone back."""
        look = look_now(approved)
        assert claim(due_in(approved, **wait), look).purchase == approved
        assert factories.state_of(approved) == State.PURCHASING

    @pytest.mark.parametrize("address", [OWNED, AVAILABLE], ids=["owned list", "offers"])
    def test_any_more_is_not_claimed(self, approved, provider, address):
        """Another worker has put it off while this one was looking."""
        later = clock.now() + timedelta(minutes=5)
        during(provider, address, lambda: pauses.put_off(approved.pk, "Wait", later))
        buy(approved)
        nothing_was_claimed(approved, provider)
        assert (stored(approved).due_at, stored(approved).waiting_for) == (later, "Wait")

    def test_for_the_worker_that_read_an_older_time_is_not_claimed(self, approved, provider):
        """The time in the row counts, not the one that the worker has in its hand."""
        look, in_hand = look_now(approved), stored(approved)
        due_in(approved, minutes=5)
        with pytest.raises(workflow.AlreadyMoved):
            claim(in_hand, look)
        nothing_was_claimed(approved, provider)


class TestALookFromTheFuture:
    """It was taken by a clock that has since gone back: nobody knows how old it is."""

    def test_at_the_owned_list_is_taken_again(self, approved, provider):
        look = look_now(approved)
        OwnedRead.objects.update(began_at=clock.now() + timedelta(minutes=5))
        look.read.refresh_from_db()
        with pytest.raises(procurement.NotNow, match="once more"):
            claim(stored(approved), look)
        nothing_was_claimed(approved, provider)


@pytest.fixture
def told(monkeypatch):
    """Tell this process to end. Undone after the test."""
    monkeypatch.setattr(draining, "_told", threading.Event())
    return draining.begin


class TestOnceTheWorkerIsToldToEnd:
    def waits_for_the_next_one(self, purchase, provider):
        nothing_was_claimed(purchase, provider)
        waiting = stored(purchase)
        assert waiting.waiting_for == "The worker is being restarted."
        assert clock.has_come(waiting.due_at, clock.now() + timedelta(seconds=2))

    def test_nothing_is_claimed(self, approved, provider, told):
        told()
        buy(approved)
        self.waits_for_the_next_one(approved, provider)

    @pytest.mark.parametrize("address", [OWNED, AVAILABLE], ids=["owned list", "offers"])
    def test_nothing_is_claimed_though_it_was_looking_already(self, approved, provider, told, address):
        during(provider, address, told)
        buy(approved)
        self.waits_for_the_next_one(approved, provider)

    def test_nothing_is_claimed_though_it_was_waiting_for_its_turn(
        self, approved, provider, told, monkeypatch
    ):
        look_now(approved)  # so that the turn before the claim is the only one
        ApiKey.objects.update(rate_per_minute=6, next_call_at=clock.now() + timedelta(seconds=15))
        waited = []
        monkeypatch.setattr(inventory.time, "sleep", lambda seconds: (waited.append(seconds), told()))
        buy(approved)
        assert len(waited) == 1
        self.waits_for_the_next_one(approved, provider)

    def test_the_call_that_is_under_way_is_finished_and_recorded(self, approved, provider, told):
        provider.sells(NUMBER)
        [answered] = [r for r in provider.http.registered() if r.method == "POST"]
        sell = answered.callback

        def sell_and_tell(request):
            told()
            return sell(request)

        answered.callback = sell_and_tell
        assert buy(approved).state == State.PURCHASED

    def test_the_next_worker_buys_it(self, approved, provider, told, monkeypatch):
        told()
        buy(approved)
        monkeypatch.setattr(draining, "_told", threading.Event())
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED
        assert len(provider.purchases) == 1

    def test_a_signal_tells_it(self, told):
        worker = work.WakingWorker(
            queue_names=["purchases"],
            interval=0,
            batch=True,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id="test",
            excluded_queue_names=[],
        )
        worker.running_task = True
        assert not draining.has_begun()
        worker.shutdown(signal.SIGTERM, None)
        assert (draining.has_begun(), worker.running) == (True, False)
