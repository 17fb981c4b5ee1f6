"""What stops a claim at the last moment; and that nothing is claimed once the worker has a signal to end."""

import dataclasses
import signal
import threading
from datetime import timedelta
from decimal import Decimal

import pytest
import requests

from purchasing import audit, clock, jobs, problems, workflow
from purchasing.buying import held_purchases, procurement
from purchasing.buying.look import LOOK_AGE, NotNow
from purchasing.models import ApiKey, Approval, Attempt, Credential, Desk, OwnedRead, Purchase
from purchasing.provider import owned_list, pauses, turns
from purchasing.states import Cause, State
from purchasing.teams import keys
from purchasing.worker import processes
from tests import factories
from tests.buying.test_procurement import buy, claim, look_now, never_sent, open_try_again, seen_now
from tests.factories import actor
from tests.healthy_provider import AVAILABLE, OWNED, during, owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"
NEW = "idc_" + "n" * 32  # the key that replaces the first


def stored(purchase):
    return Purchase.objects.select_related("request__team").get(pk=purchase.pk)


def due_in(purchase, **time):
    Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now() + timedelta(**time))
    return stored(purchase)


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
        with pytest.raises(problems.AlreadyMoved):
            claim(waiting, look)
        nothing_was_claimed(approved, provider)

    @pytest.mark.parametrize("wait", [{"seconds": 1}, {"minutes": 19}])
    def test_is_not_even_looked_up(self, approved, provider, wait):
        due_in(approved, **wait)
        procurement.buy(approved.pk)
        assert provider.calls == []

    @pytest.mark.parametrize("wait", [{}, {"days": -400}, {"minutes": 21}, {"days": 400}])
    def test_ends_where_no_wait_can_be_so_long(self, approved, provider, wait):
        """A time further ahead than any wait was written by a clock that has since been set back."""
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
        """The time in the row counts, not the one that the worker holds in memory."""
        look, in_hand = look_now(approved), stored(approved)
        due_in(approved, minutes=5)
        with pytest.raises(problems.AlreadyMoved):
            claim(in_hand, look)
        nothing_was_claimed(approved, provider)


class TestALookFromTheFuture:
    """It was taken by a clock that has since been set back: its age is unknown."""

    def test_at_the_owned_list_is_taken_again(self, approved, provider):
        look = look_now(approved)
        OwnedRead.objects.update(began_at=clock.now() + timedelta(minutes=5))
        look.read.refresh_from_db()
        with pytest.raises(NotNow, match="once more"):
            claim(stored(approved), look)
        nothing_was_claimed(approved, provider)

    @pytest.mark.parametrize("age", [timedelta(minutes=-5), timedelta(seconds=LOOK_AGE + 1)])
    def test_at_the_price_is_taken_again_as_is_an_old_one(self, approved, provider, age):
        seen = dataclasses.replace(look_now(approved), seen_at=clock.now() - age)
        with pytest.raises(NotNow, match="once more"):
            claim(stored(approved), seen)
        nothing_was_claimed(approved, provider)


class TestALookThatFails:
    """At the offers; test_procurement and test_pauses cover the owned list."""

    def waits(self, purchase, provider):
        nothing_was_claimed(purchase, provider)
        assert stored(purchase).due_at > clock.now()
        return stored(purchase).waiting_for

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (
                (429, {"Retry-After": "7"}, ""),
                "IdentityCall asked to wait: too many calls with this key in a minute.",
            ),
            (
                (401, {}, ""),
                "IdentityCall refuses the team's API key. The team admin has to store a new one.",
            ),
            ((422, {}, '{"error": "No such type"}'), "IdentityCall declined: No such type"),
            ((200, {}, '{"data": {}}'), "IdentityCall's answer could not be understood."),
            ((503, {}, ""), "IdentityCall reported a fault of its own"),
            (requests.ReadTimeout(), "IdentityCall did not answer in time."),
            (never_sent(), "IdentityCall could not be reached; nothing was sent."),
        ],
        ids=["429", "401", "422", "garbage", "503", "timeout", "never sent"],
    )
    def test_claims_nothing_and_says_why(self, approved, provider, answer, words):
        provider.offers_answer = answer
        buy(approved)
        assert words in self.waits(approved, provider)

    @pytest.mark.parametrize("answer", [(422, {}, '{"error": "No such type"}'), (200, {}, '{"data": {}}')])
    def test_at_one_list_keeps_nobody_else_from_buying(self, approved, provider, answer):
        provider.offers_answer = answer
        buy(approved)
        key = ApiKey.objects.get()
        assert (Desk.objects.get().failures, key.credential.paused_until, key.credential.refused_at) == (
            0,
            None,
            None,
        )

    def test_or_is_being_tried_by_another_worker_waits_for_what_that_one_finds(self, approved, provider):
        """The provider's pause is over, and one look is under way to find out whether it answers."""
        until = clock.now() + timedelta(seconds=40)
        paused = {"failures": 3, "paused_until": clock.now(), "pause_reason": "It did not answer."}
        Desk.objects.update(probing_until=until, **paused)
        buy(approved)
        assert self.waits(approved, provider) == "It did not answer."
        assert (stored(approved).due_at, provider.calls) == (until, [])


class TestWhatHasMovedMeanwhile:
    def test_is_left_as_it_is_when_the_list_shows_it(self, approved, provider, sam):
        provider.owned_numbers.append(owned(NUMBER))
        during(provider, OWNED, lambda: workflow.cancel(approved.request_id, [approved.pk], actor=actor(sam)))
        assert buy(approved).state == State.CANCELLED
        assert factories.actions(approved)[-1] == "purchase.cancelled"

    @pytest.mark.parametrize("state", [State.PURCHASING, State.UNCONFIRMED])
    def test_is_not_held_when_another_worker_has_sent_it(self, approved, state):
        """A worker that found a reason to hold it was frozen, and wakes when the call is under way or in doubt."""
        Purchase.objects.update(state=state)
        procurement.hold_for_a_person(approved, procurement.waited_too_long(), audit.WORKER)
        assert factories.state_of(approved) == state

    def test_is_not_held_any_more(self, approved, provider, sam):
        workflow.cancel(approved.request_id, [approved.pk], actor=actor(sam))
        procurement.hold_for_a_person(approved, procurement.waited_too_long(), audit.WORKER)
        assert factories.state_of(approved) == State.CANCELLED


class TestANumberThatTheListShows:
    """Nothing is claimed. What the number means depends on what was sent before."""

    def test_since_the_look_is_not_claimed(self, approved, provider):
        """Another worker has read the list in the meantime."""
        look = look_now(approved)
        provider.owned_numbers.append(owned(NUMBER))
        owned_list.read(ApiKey.objects.get())
        with pytest.raises(NotNow, match="shows it now"):
            claim(stored(approved), look)
        nothing_was_claimed(approved, provider)
        assert buy(approved).held_cause == Cause.OWNED

    @pytest.fixture
    def again(self, approved, provider, ana):
        """Queued for a second try, which a person ordered after a lost answer."""
        provider.answer_purchase(requests.ReadTimeout())
        held = open_try_again(buy(approved))
        held_purchases.try_again(held, reason="Not there", actor=actor(ana), seen=seen_now(held))
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=5))
        provider.owned_numbers.append(owned(NUMBER, 77))
        return stored(approved)

    def test_under_a_new_id_was_bought_by_the_call_in_doubt(self, again, provider):
        bought = buy(again)
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 77)
        assert len(provider.purchases) == 1

    def test_under_an_id_from_before_the_call_in_doubt_is_for_a_person(self, again, provider):
        Attempt.objects.update(claimed_seq=audit.position() + 1000)
        held = buy(again)
        assert (held.state, held.held_cause) == (State.HELD, Cause.DOUBT)
        assert held.held_words.startswith("The list of owned numbers already showed it before the call")
        assert (held.due_at is None, len(provider.purchases)) == (False, 1)

    def test_with_another_key_than_that_of_the_call_in_doubt_is_for_a_person(self, again, provider, team):
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        provider.owned_with[NEW], provider.owned_numbers = list(provider.owned_numbers), []
        held = buy(again)
        assert (held.state, held.held_cause) == (State.HELD, Cause.DOUBT)
        assert held.held_words.startswith("The list of another key (…nnnn) shows it.")
        assert len(provider.purchases) == 1

    def test_with_the_key_of_the_call_in_doubt_settles_it_though_that_was_replaced(
        self, again, provider, team
    ):
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        provider.owned_with[NEW] = []
        bought = buy(again)
        assert (bought.state, bought.provider_id, bought.bought_with.last_four) == (
            State.PURCHASED,
            77,
            "1234",
        )
        assert len(provider.purchases) == 1

    def test_with_the_replaced_key_since_the_look_is_not_claimed(self, again, provider, team):
        first = ApiKey.objects.get()
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        provider.owned_with[NEW], later = [], list(provider.owned_numbers)
        provider.owned_numbers = []
        look = look_now(again)
        provider.owned_numbers = later
        owned_list.read(first)
        with pytest.raises(NotNow, match="shows it now"):
            claim(stored(again), look)
        assert len(provider.purchases) == 1

    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (requests.ReadTimeout(), "IdentityCall"),
            ((503, {}, ""), "IdentityCall"),
            ((401, {}, '{"error": "no"}'), "IdentityCall"),
            ((200, {}, '{"data": [{"id": 9'), "could not be used"),
        ],
        ids=["nothing", "503", "refused", "unreadable"],
    )
    def test_nothing_is_claimed_while_the_replaced_key_cannot_be_read(
        self, again, provider, team, answer, reason
    ):
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        provider.owned_with[NEW] = []
        provider.owned_answer = answer
        waiting = buy(again)
        assert (waiting.state, len(provider.purchases)) == (State.APPROVED, 1)
        assert reason in waiting.waiting_for


class TestAnApprovalThatNoLongerCounts:
    def is_held(self, purchase, provider):
        held = buy(purchase)
        assert (held.state, Attempt.objects.count(), provider.purchases) == (State.HELD, 0, [])
        return held.held_cause, held.held_words

    def test_as_it_is_too_old(self, approved, provider):
        """The sweep would have held it; the worker was first."""
        approved.approvals.update(created_at=clock.now() - timedelta(days=15))
        assert self.is_held(approved, provider) == (Cause.TOO_LONG, "It was approved more than 14 days ago.")

    def test_as_it_was_superseded(self, approved, provider):
        approved.approvals.update(superseded_at=clock.now())
        assert self.is_held(approved, provider) == (Cause.APPROVER, "None of its approvals counts any more.")

    def test_as_it_was_for_another_version(self, approved, provider):
        approved.approvals.update(version=2)
        assert self.is_held(approved, provider) == (
            Cause.APPROVER,
            "ana approved it at other terms or costs than these.",
        )

    def test_as_it_was_for_other_costs(self, approved, provider):
        approved.approvals.update(monthly_cost=Decimal("3.00"))
        assert self.is_held(approved, provider) == (
            Cause.APPROVER,
            "ana approved it at other terms or costs than these.",
        )

    def test_as_another_one_did_not_accept_the_same_unconfirmed_cost(self, approved, provider, team):
        eve = factories.member("eve", team, "approver")
        first = approved.approvals.get()
        Approval.objects.create(
            purchase=approved,
            version=1,
            approver=eve,
            upfront_cost=first.upfront_cost,
            monthly_cost=first.monthly_cost,
            unconfirmed_cost_ok=True,
        )
        assert self.is_held(approved, provider) == (
            Cause.APPROVER,
            "Not everybody who approved it accepted a price that nobody has confirmed.",
        )


@pytest.fixture
def drain(monkeypatch):
    """Signal this process to end. Undone after the test."""
    monkeypatch.setattr(jobs, "_draining", threading.Event())
    return jobs.begin_draining


class TestOnceTheWorkerIsToldToEnd:
    def waits_for_the_next_one(self, purchase, provider):
        nothing_was_claimed(purchase, provider)
        waiting = stored(purchase)
        assert waiting.waiting_for == "The worker is being restarted."
        assert clock.has_come(waiting.due_at, clock.now() + timedelta(seconds=2))

    def test_nothing_is_claimed(self, approved, provider, drain):
        drain()
        buy(approved)
        self.waits_for_the_next_one(approved, provider)

    @pytest.mark.parametrize("address", [OWNED, AVAILABLE], ids=["owned list", "offers"])
    def test_nothing_is_claimed_though_it_was_looking_already(self, approved, provider, drain, address):
        during(provider, address, drain)
        buy(approved)
        self.waits_for_the_next_one(approved, provider)

    def test_nothing_is_claimed_though_it_was_waiting_for_its_turn(
        self, approved, provider, drain, monkeypatch
    ):
        look_now(approved)  # so that the turn before the claim is the only one
        Credential.objects.update(rate_per_minute=6, next_call_at=clock.now() + timedelta(seconds=15))
        waited = []
        monkeypatch.setattr(turns.time, "sleep", lambda seconds: (waited.append(seconds), drain()))
        buy(approved)
        assert len(waited) == 1
        self.waits_for_the_next_one(approved, provider)

    def test_the_call_that_is_under_way_is_finished_and_recorded(self, approved, provider, drain):
        provider.sells(NUMBER)
        [answered] = [r for r in provider.http.registered() if r.method == "POST"]
        sell = answered.callback

        def sell_and_tell(request):
            drain()
            return sell(request)

        answered.callback = sell_and_tell
        assert buy(approved).state == State.PURCHASED

    def test_the_next_worker_buys_it(self, approved, provider, drain, monkeypatch):
        drain()
        buy(approved)
        monkeypatch.setattr(jobs, "_draining", threading.Event())
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED
        assert len(provider.purchases) == 1

    def test_a_signal_begins_it(self, drain):
        worker = processes.WakingWorker(
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
        assert not jobs.is_draining()
        worker.shutdown(signal.SIGTERM, None)
        assert (jobs.is_draining(), worker.running) == (True, False)
