"""What settles a doubt: only reads of whole lists with the attempt's own key; and the sweep that makes them."""

from datetime import timedelta

import pytest
import requests
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock
from purchasing.buying import evidence, held_purchases, outcomes, procurement
from purchasing.identitycall.errors import Declined, NotSent, Unconfirmed
from purchasing.models import ApiKey, Attempt, Credential, Desk, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import owned_list
from purchasing.states import Cause, Outcome, State
from purchasing.teams import keys
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import buy, check, claim, look_now, open_try_again, overdue, seen_now
from tests.healthy_provider import owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"
UNREADABLE = {
    "500": (500, {}, ""),
    "garbage": (200, {}, '{"data": [{"id": 1}]}'),
    "a timeout": requests.ReadTimeout(),
    "401": (401, {}, ""),
    "429": (429, {"Retry-After": "1"}, ""),
}


@pytest.fixture
def doubtful(approved, provider):
    """A purchase whose answer was lost."""
    provider.answer_purchase(requests.ReadTimeout())
    return buy(approved)


@pytest.fixture
def held(doubtful):
    return open_try_again(doubtful)


def wait(purchase, **ago):
    """Let time pass for a purchase: move its planned times into the past."""
    Purchase.objects.filter(pk=purchase.pk).update(
        **{name: clock.now() - timedelta(seconds=seconds) for name, seconds in ago.items()}
    )


def posts(provider):
    return len(provider.purchases)


class TestReads:
    def test_the_number_under_a_new_id_is_purchased(self, doubtful, provider):
        provider.owned_numbers = [owned(NUMBER, 77)]
        bought = check(doubtful)
        assert (bought.state, bought.provider_id, bought.bought_with) == (
            State.PURCHASED,
            77,
            ApiKey.objects.get(),
        )
        assert posts(provider) == 1

    @pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
    def test_an_unreadable_list_concludes_nothing(self, doubtful, provider, answer):
        provider.owned_numbers = [owned(NUMBER, 77)]
        provider.owned_answer = answer
        assert check(doubtful).state == State.UNCONFIRMED
        provider.owned_answer = None
        Credential.objects.update(paused_until=None)
        assert check(doubtful).state == State.PURCHASED

    def test_a_list_that_lacks_what_it_held_settles_what_it_shows(self, doubtful, provider):
        VirtualNumber.objects.create(
            credential=Credential.objects.get(),
            provider_id=1,
            phone_number="+12125550188",
            first_seen_seq=0,
            first_seen_at=clock.now(),
        )
        provider.owned_numbers = [owned(NUMBER, 77)]
        assert check(doubtful).state == State.PURCHASED

    def test_an_id_that_was_there_before_the_attempt_proves_nothing(self, doubtful, provider):
        attempt = Attempt.objects.get()
        VirtualNumber.objects.create(
            credential=attempt.key.credential,
            provider_id=77,
            phone_number=NUMBER,
            first_seen_seq=attempt.claimed_seq - 1,
            first_seen_at=clock.now(),
        )
        provider.owned_numbers = [owned(NUMBER, 77)]
        assert check(doubtful).state == State.UNCONFIRMED

    def test_the_number_under_another_id_than_before_is_a_new_purchase(self, approved, provider):
        provider.owned_numbers = [owned(NUMBER, 5)]
        owned_list.read(ApiKey.objects.get())
        provider.owned_numbers = []
        owned_list.read(ApiKey.objects.get())  # given back since
        Credential.objects.update(blind_at=None)
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        assert doubtful.state == State.UNCONFIRMED
        provider.owned_numbers = [owned(NUMBER, 6)]
        assert check(doubtful).provider_id == 6

    def test_only_the_attempts_own_key_concludes(self, doubtful, provider, team):
        attempt = Attempt.objects.get()
        other = keys.set_key(team, "idc_" + "n" * 32, actor=factories.SYSTEM)
        provider.owned_numbers = [owned(NUMBER, 77)]
        owned_list.read(other)
        evidence.gather(other.pk)
        assert factories.state_of(doubtful) == State.UNCONFIRMED
        assert evidence.about(doubtful).seen_with == ["the key …nnnn of Support"]
        Purchase.objects.update(due_at=clock.now())
        evidence.gather(attempt.key_id)
        assert provider.http.calls[-1].request.headers["Authorization"].endswith(factories.KEY[-4:])
        assert factories.state_of(doubtful) == State.PURCHASED

    def test_one_read_serves_all_that_wait_for_it(self, team, sam, ana, provider):
        numbers = [f"+121255501{n:02d}" for n in range(1, 4)]
        purchases = factories.approve(factories.request(team, sam, numbers), ana)
        provider.answer_purchase(requests.ReadTimeout())
        for purchase in purchases:
            buy(purchase)
        provider.owned_numbers = [owned(number, 70 + n) for n, number in enumerate(numbers)]
        before = provider.calls.count(("GET", "/virtual_numbers"))
        check(purchases[0])
        assert provider.calls.count(("GET", "/virtual_numbers")) == before + 1
        assert set(Purchase.objects.values_list("state", flat=True)) == {"purchased"}

    def test_nothing_is_read_before_it_is_due_nor_for_nobody(self, doubtful, provider):
        before = len(provider.calls)
        evidence.gather(ApiKey.objects.get().pk)
        Purchase.objects.update(state=State.PURCHASED, due_at=clock.now())
        evidence.gather(ApiKey.objects.get().pk)
        assert len(provider.calls) == before

    def test_a_paused_key_is_not_read_and_the_check_is_planned_for_its_end(self, doubtful, provider):
        until = clock.now() + timedelta(minutes=5)
        Credential.objects.update(paused_until=until)
        before = len(provider.calls)
        assert check(doubtful).due_at == until
        assert len(provider.calls) == before

    def test_a_clock_that_went_back_two_hours_stops_no_read(self, doubtful, provider):
        later = clock.now() + timedelta(hours=2)
        Credential.objects.update(paused_until=later)
        Purchase.objects.update(due_at=later, deadline_at=later)
        provider.owned_numbers = [owned(NUMBER, 77)]
        DBTaskResult.objects.all().delete()
        sweep.run()
        assert [row.task_path for row in DBTaskResult.objects.all()] == ["purchasing.tasks.check"]
        evidence.gather(Attempt.objects.get().key_id)
        assert factories.state_of(doubtful) == State.PURCHASED

    def test_the_gaps_are_the_settings_and_the_last_repeats(self, doubtful, settings):
        settings.EVIDENCE_CHECK_DELAYS = [10, 30, 60]
        gaps = [round((doubtful.due_at - clock.now()).total_seconds(), -1)]
        for _ in range(4):
            doubtful = check(doubtful)
            gaps.append(round((doubtful.due_at - clock.now()).total_seconds(), -1))
        assert gaps == [10, 30, 60, 60, 60]

    def test_after_unconfirmed_there_are_only_reads(self, doubtful, provider):
        for _ in range(5):
            check(doubtful)
            sweep.run()
            procurement.buy(doubtful.pk)
        assert posts(provider) == 1


class TestWindow:
    @pytest.mark.parametrize("answer", [None, *UNREADABLE.values()], ids=["clean", *UNREADABLE])
    def test_held_when_it_is_over_whatever_the_reads_gave(self, doubtful, provider, answer):
        provider.owned_answer = answer
        wait(doubtful, window_ends_at=0)
        sweep.run()
        now_held = Purchase.objects.get()
        assert (now_held.state, now_held.held_cause) == (State.HELD, Cause.DOUBT)
        assert now_held.due_at is not None

    def test_not_a_moment_earlier(self, doubtful):
        assert doubtful.window_ends_at == doubtful.deadline_at + timedelta(seconds=900)
        for _ in range(10):
            assert check(doubtful).state == State.UNCONFIRMED
        sweep.run()
        assert factories.state_of(doubtful) == State.UNCONFIRMED

    def test_a_clock_that_went_back_does_not_prolong_it_by_hours(self, doubtful):
        wait(doubtful, window_ends_at=-3 * 3600)
        sweep.run()
        assert factories.state_of(doubtful) == State.HELD

    def test_a_held_one_is_still_purchased_by_evidence(self, held, provider):
        provider.owned_numbers = [owned(NUMBER, 77)]
        bought = check(held)
        assert (bought.state, bought.held_cause, bought.held_words) == (State.PURCHASED, "", "")

    def test_a_given_up_one_is_still_purchased_by_evidence(self, held, provider, ana):
        held_purchases.give_up(held, reason="Enough", actor=factories.actor(ana))
        provider.owned_numbers = [owned(NUMBER, 77)]
        assert check(held).state == State.PURCHASED

    def test_held_and_given_up_ones_are_read_every_15_minutes(self, held, ana):
        first = check(held)
        held_purchases.give_up(held, reason="Enough", actor=factories.actor(ana))
        second = check(held)
        for purchase in (first, second):
            assert round((purchase.due_at - clock.now()).total_seconds(), -1) == 900


class TestGivenUp:
    @pytest.fixture
    def given_up(self, held, ana):
        return held_purchases.give_up(held, reason="Enough", actor=factories.actor(ana))

    def test_it_fails_after_30_days_with_a_clean_read_after_them(self, given_up):
        wait(given_up, state_changed_at=29 * 86400)
        assert check(given_up).state == State.GIVEN_UP
        wait(given_up, state_changed_at=30 * 86400 + 60)
        assert check(given_up).state == State.FAILED

    def test_without_a_whole_read_it_goes_on(self, given_up, provider):
        wait(given_up, state_changed_at=31 * 86400)
        OwnedRead.objects.update(began_at=clock.now() - timedelta(days=31))
        provider.owned_answer = (500, {}, "")
        assert check(given_up).state == State.GIVEN_UP

    def test_its_number_cannot_be_asked_for_by_anybody_meanwhile(self, given_up, team, sam):
        from purchasing import problems

        with pytest.raises(problems.AlreadyAsked):
            factories.request(team, sam, [NUMBER])


class TestFindings:
    def test_what_was_never_in_doubt_has_none(self, approved):
        assert evidence.about(approved) is None

    def test_it_counts_clean_and_failed_reads_after_the_attempt(self, doubtful, provider):
        check(doubtful), check(doubtful)
        provider.owned_answer = (500, {}, "")
        check(doubtful)
        found = evidence.about(Purchase.objects.get())
        assert (found.clean, found.failed, found.may_try_again) == (2, 1, False)
        assert found.next_at == Purchase.objects.get().due_at
        assert found.last.problem

    def test_a_read_that_began_before_the_attempt_ended_does_not_count(self, doubtful):
        attempt = Attempt.objects.get()
        OwnedRead.objects.create(
            credential=attempt.key.credential,
            began_after=attempt.ended_seq - 1,
            began_at=clock.now(),
            ended_at=clock.now(),
            complete=True,
            well_formed=True,
        )
        assert evidence.about(doubtful).clean == 0

    def test_try_again_opens_after_three_clean_reads_the_last_after_the_window(self, doubtful):
        for _ in range(5):
            check(doubtful)
        assert not evidence.about(Purchase.objects.get()).may_try_again
        wait(doubtful, window_ends_at=0)
        sweep.run()
        assert not evidence.about(Purchase.objects.get()).may_try_again
        check(doubtful)
        assert evidence.about(Purchase.objects.get()).may_try_again

    def test_reads_after_the_window_must_be_three_as_well(self, doubtful):
        wait(doubtful, window_ends_at=0)
        for opens in (False, False, True):
            check(doubtful)
            assert evidence.about(Purchase.objects.get()).may_try_again is opens


class TestSweep:
    def open_attempt(self, purchase):
        return claim(Purchase.objects.select_related("request__team").get(pk=purchase.pk), look_now(purchase))

    def test_a_dead_workers_purchase_becomes_unconfirmed_after_its_deadline(self, approved, provider):
        attempt = self.open_attempt(approved)
        sweep.run()
        assert factories.state_of(approved) == State.PURCHASING
        overdue(attempt)
        sweep.run()
        attempt.refresh_from_db()
        assert factories.state_of(approved) == State.UNCONFIRMED
        assert attempt.outcome == Outcome.UNCONFIRMED
        assert (attempt.ended_at is None, attempt.ended_seq) == (False, audit.position())
        assert posts(provider) == 0

    def test_the_next_attempt_is_not_taken_for_the_one_that_was_due(self, approved, provider):
        """The sweep saw the first attempt past its deadline; when it has the lock the second one is under way."""
        first = self.open_attempt(approved)
        error = NotSent("IdentityCall could not be reached; nothing was sent.")
        outcomes.settle(first, Outcome.NOT_SENT, error=error)
        Desk.objects.update(paused_until=None, failures=0)
        wait(approved, due_at=0)
        second = self.open_attempt(approved)
        sweep._give_up_waiting_for_the_answer(first)
        assert factories.state_of(approved) == State.PURCHASING
        second.refresh_from_db()
        assert second.outcome == Outcome.OPEN

    def test_it_wakes_each_thing_once(self, team, sam, ana, provider):
        numbers = [f"+121255501{n:02d}" for n in range(1, 4)]
        purchases = factories.approve(factories.request(team, sam, numbers), ana)
        provider.answer_purchase(requests.ReadTimeout())
        buy(purchases[0])
        Purchase.objects.update(due_at=clock.now())
        DBTaskResult.objects.all().delete()
        sweep.run(), sweep.run()
        assert sorted(
            (row.task_path.rpartition(".")[2], *row.args_kwargs["args"]) for row in DBTaskResult.objects.all()
        ) == [
            ("buy", purchases[1].pk),
            ("buy", purchases[2].pk),
            ("check", ApiKey.objects.get().pk),
        ]

    def test_a_queue_row_that_runs_for_ever_does_not_stop_the_next(self, approved):
        DBTaskResult.objects.update(status="RUNNING")
        sweep.run()
        assert DBTaskResult.objects.filter(status="READY", task_path="purchasing.tasks.buy").count() == 1

    def test_nothing_due_wakes_nobody(self, pending):
        DBTaskResult.objects.all().delete()
        sweep.run()
        assert not DBTaskResult.objects.exists()
        assert Desk.objects.get().swept_at is not None

    def test_what_waits_for_20_minutes_is_told_once(self, approved):
        Purchase.objects.update(
            waiting_since=clock.now() - timedelta(minutes=21), waiting_for="It is paused."
        )
        sweep.run(), sweep.run()
        assert factories.actions(approved).count("purchase.waits_long") == 1

    def test_pending_ones_expire(self, pending):
        Purchase.objects.update(expires_at=clock.now())
        sweep.run()
        assert factories.state_of(pending.purchases.get()) == State.EXPIRED

    def test_a_clock_that_jumps_400_days_sends_nothing_twice(self, doubtful, provider, monkeypatch):
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(days=400))
        for _ in range(3):
            sweep.run()
            check(doubtful)
            procurement.buy(doubtful.pk)
        assert (factories.state_of(doubtful), posts(provider)) == (State.HELD, 1)


class TestKeyInDoubt:
    def three_doubts(self, team, sam, ana, provider):
        numbers = [f"+121255501{n:02d}" for n in range(1, 5)]
        purchases = factories.approve(factories.request(team, sam, numbers), ana)
        provider.answer_purchase("", status=500)
        for purchase in purchases[:3]:
            buy(purchase)
        return purchases

    def test_it_is_trusted_again_by_a_list_that_began_after_the_last_doubt(self, team, sam, ana, provider):
        self.three_doubts(team, sam, ana, provider)
        key = ApiKey.objects.get()
        assert key.credential.doubts_in_a_row == 3
        from purchasing.provider import pauses

        pauses.trust_after_read(key.credential, began_after=key.credential.doubted_seq - 1)
        assert Credential.objects.get().doubts_in_a_row == 3
        pauses.trust_after_read(key.credential, began_after=key.credential.doubted_seq)
        assert Credential.objects.get().doubts_in_a_row == 0

    def test_nobody_waits_for_ever_when_nothing_is_left_to_be_watched(self, team, sam, ana, provider):
        """All three were settled by a person while the list was unreadable: the key still gets its read."""
        purchases = self.three_doubts(team, sam, ana, provider)
        provider.owned_answer = (500, {}, "")
        Purchase.objects.filter(state=State.UNCONFIRMED).update(window_ends_at=clock.now())
        sweep.run()
        for number, purchase in enumerate(purchases[:3], start=1):
            held_purchases.it_was_bought(
                Purchase.objects.get(pk=purchase.pk),
                provider_id=number,
                reason="Seen in the dashboard",
                actor=factories.actor(ana),
            )
        DBTaskResult.objects.all().delete()
        sweep.run()
        key = ApiKey.objects.get()
        assert ("check", [key.pk]) in [
            (row.task_path.rpartition(".")[2], row.args_kwargs["args"]) for row in DBTaskResult.objects.all()
        ]
        evidence.gather(key.pk)
        assert Credential.objects.get().doubts_in_a_row == 3
        provider.owned_answer = None
        evidence.gather(key.pk)
        assert Credential.objects.get().doubts_in_a_row == 0


class TestLateAnswers:
    @pytest.fixture
    def second_in_flight(self, held, provider, ana):
        """A second try that a person ordered is under way; the first answer is still out."""
        first = Attempt.objects.get()
        held_purchases.try_again(
            held, reason="Not in the list", actor=factories.actor(ana), seen=seen_now(held)
        )
        Purchase.objects.update(due_at=clock.now())
        purchase = Purchase.objects.select_related("request__team").get()
        return first, claim(purchase, look_now(purchase))

    @pytest.mark.parametrize(
        ("outcome", "details"),
        [
            (Outcome.DECLINED, {"error": Declined("No longer available", status=422)}),
            (Outcome.UNCONFIRMED, {"error": Unconfirmed("Lost")}),
            (Outcome.PURCHASED, {"provider_id": 6}),
        ],
    )
    def test_purchased_while_a_second_try_is_under_way_and_the_second_answer_is_kept(
        self, second_in_flight, outcome, details
    ):
        first, second = second_in_flight
        outcomes.settle(first, Outcome.PURCHASED, provider_id=5)
        bought = Purchase.objects.get()
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 5)
        outcomes.settle(second, outcome, **details)
        second.refresh_from_db()
        bought.refresh_from_db()
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 5)
        assert (second.outcome, second.ended_at is None) == (outcome, False)
        event = bought.events.order_by("-seq").first()
        assert (event.action, event.data["outcome"]) == ("attempt.late_answer", outcome)

    def test_purchased_late_in_every_state_that_is_not_final(self, doubtful, ana):
        attempt = Attempt.objects.get()
        for state in (State.APPROVED, State.UNCONFIRMED, State.HELD, State.GIVEN_UP, State.PURCHASING):
            Purchase.objects.update(state=state, provider_id=None)
            outcomes.settle(attempt, Outcome.PURCHASED, provider_id=9)
            bought = Purchase.objects.get()
            assert (bought.state, bought.provider_id) == (State.PURCHASED, 9), state

    def test_purchased_late_after_the_end_is_written_down(self, doubtful):
        attempt = Attempt.objects.get()
        Purchase.objects.update(state=State.FAILED)
        outcomes.settle(attempt, Outcome.PURCHASED, provider_id=9)
        assert factories.state_of(doubtful) == State.FAILED
        event = doubtful.events.order_by("-seq").first()
        assert (event.action, event.data["provider_id"]) == ("attempt.late_answer", 9)


def test_an_approval_by_whoever_is_not_needed_for_evidence(doubtful, provider, ana):
    """The person who approved has gone; what was bought is bought."""
    type(ana).objects.filter(pk=ana.pk).update(is_active=False)
    provider.owned_numbers = [owned(NUMBER, 77)]
    assert check(doubtful).state == State.PURCHASED
