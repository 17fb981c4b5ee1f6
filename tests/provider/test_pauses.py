"""What waits, why, since when, and that people are notified: pauses of the provider and of a key, and their ends."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
import requests
from django.conf import settings
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock, jobs, tasks
from purchasing.asking import price_lookup
from purchasing.buying import outcomes
from purchasing.buying.look import NotNow
from purchasing.identitycall.errors import NotSent
from purchasing.mail import reminders
from purchasing.models import ApiKey, Attempt, AuditEvent, Credential, Desk, OfferLook, OwnedRead, Purchase
from purchasing.provider import offers, owned_list, pauses, turns
from purchasing.states import Cause, Outcome, State
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import buy, claim, look_now, overdue
from tests.healthy_provider import OWNED, offer, owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"


@pytest.fixture
def now(monkeypatch):
    """A clock that a test sets; returns the setter of the seconds that have passed."""
    began_at, passed = timezone.now(), [0.0]
    monkeypatch.setattr(clock, "now", lambda: began_at + timedelta(seconds=passed[0]))

    def later(seconds):
        passed[0] += seconds

    return later


def events(action):
    return AuditEvent.objects.filter(action=action).count()


def refuse_connections(provider):
    error = requests.ConnectionError("refused")
    error.never_sent = True
    provider.answer_purchase(error)


class TestOfTheProvider:
    def test_a_list_that_one_team_cannot_use_keeps_no_other_from_buying(self, team, sam, ana, provider, now):
        """Team A's list cannot be read; team B's is healthy."""
        sales = factories.team("Sales", key="idc_" + "s" * 32)
        [stuck] = factories.approve(factories.request(team, sam, [NUMBER]), ana)
        members = factories.member("sam", sales, "requester"), factories.member("ana", sales, "approver")
        [other] = factories.approve(factories.request(sales, members[0], ["+12125550102"]), members[1])
        healthy = provider._owned

        def by_key(request):
            bad = request.headers["Authorization"].endswith("1234")
            return (200, {}, json.dumps({"data": None})) if bad else healthy(request)

        provider.http.remove("GET", OWNED)
        provider.http.add_callback("GET", OWNED, by_key)
        provider.sells("+12125550102")
        assert buy(stuck).state == State.APPROVED
        assert buy(other).state == State.PURCHASED
        assert Desk.objects.get().failures == 0

    def test_who_fails_is_not_the_probe_each_time(self, team, sam, ana, provider, now):
        first, second = factories.approve(factories.request(team, sam, [NUMBER, "+12125550102"]), ana)
        provider.owned_answer = requests.ReadTimeout()
        failed = buy(first)
        waiting = buy(second)
        assert failed.due_at == waiting.due_at + timedelta(seconds=pauses.BEHIND)

    def test_ends_only_when_the_provider_itself_has_answered(self, approved, provider, now):
        key = ApiKey.objects.get()
        offers.find_offer(key, approved)
        owned_list.read(key)  # both are kept for a minute
        Desk.objects.update(failures=3, paused_until=clock.now() - timedelta(seconds=1))
        provider.owned_answer = requests.ReadTimeout()
        before = len(provider.calls)
        assert buy(approved).state == State.APPROVED
        assert len(provider.calls) > before
        assert Desk.objects.get().failures == 4

    def test_grows_while_calls_are_refused_though_looks_are_answered(self, approved, provider, now):
        refuse_connections(provider)
        gaps = []
        for _ in range(9):
            began_at = clock.now()
            waiting = buy(approved)
            assert waiting.state == State.APPROVED
            gaps.append((waiting.due_at - began_at).total_seconds())
            now(gaps[-1] + 1)
        assert gaps == [5, 10, 20, 40, 80, 160, 300, 300, 300]
        assert (events("provider.paused"), events("provider.resumed")) == (1, 0)
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED
        assert (events("provider.resumed"), Desk.objects.get().unsent) == (1, 0)


class TestLongWaits:
    def test_what_bounces_is_waiting_since_the_first_time_and_told_once(self, approved, provider, now):
        provider.answer_purchase({"error": "slow down"}, status=429, headers={"Retry-After": "600"})
        since = None
        for _ in range(4):
            waiting = buy(approved)
            since = since or waiting.waiting_since
            assert (waiting.state, waiting.waiting_since) == (State.APPROVED, since)
            now(601)
            sweep.run()
        assert events("purchase.waits_long") == 1

    def test_what_no_worker_comes_to_is_told_as_well(self, approved, now):
        sweep.run()
        assert events("purchase.waits_long") == 0
        now(20 * 60 + 1)
        sweep.run()
        sweep.run()
        assert events("purchase.waits_long") == 1
        assert Purchase.objects.get().waiting_for == sweep.NOBODY_CAME


class TestOfAKey:
    def test_a_paused_key_makes_no_call_whoever_asks(self, approved, provider):
        key = ApiKey.objects.get()
        pauses.pause_key(key.pk, 60)
        for ask in (owned_list.read, lambda key: offers.find_offer(key, approved)):
            with pytest.raises(turns.Busy, match="asked to wait"):
                ask(key)
        assert provider.calls == []

    def test_three_doubts_wait_for_a_list_whatever_clear_answer_comes(self, approved, provider):
        key = ApiKey.objects.get()
        Credential.objects.update(doubts_in_a_row=3, doubted_seq=audit.position())
        pauses.trust_key(key.pk)
        assert Credential.objects.get().doubts_in_a_row == 3
        pauses.trust_after_read(Credential.objects.get(), began_after=audit.position())
        assert Credential.objects.get().doubts_in_a_row == 0

    @pytest.fixture
    def three(self, team, sam, ana):
        numbers = [NUMBER, "+12125550102", "+12125550103"]
        return factories.approve(factories.request(team, sam, numbers), ana)

    def test_a_clear_answer_ends_a_row_of_two_doubts(self, three, provider):
        provider.answer_purchase(requests.ReadTimeout())
        assert [buy(purchase).state for purchase in three[:2]] == [State.UNCONFIRMED] * 2
        assert Credential.objects.get().doubts_in_a_row == 2
        provider.answer_purchase({"error": "No longer available"}, status=422)
        assert buy(three[2]).state == State.FAILED
        assert Credential.objects.get().doubts_in_a_row == 0

    def test_so_does_the_list_that_is_read_before_the_next_call(self, three, provider):
        provider.answer_purchase(requests.ReadTimeout())
        buy(three[0]), buy(three[1])
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=2))  # else it serves for the next
        buy(three[2])
        assert Credential.objects.get().doubts_in_a_row == 1


class TestTheClaim:
    def test_a_list_that_was_read_since_the_look_and_shows_the_number_stops_it(self, approved, provider):
        look = look_now(approved)
        provider.owned_numbers = [owned(NUMBER, 7)]
        owned_list.read(ApiKey.objects.get())
        with pytest.raises(NotNow, match="shows it now"):
            claim(Purchase.objects.select_related("request__team").get(), look)
        assert provider.purchases == []

    def test_what_the_look_shows_of_an_unknown_cost_counts_from_then_on(self, team, sam, ana, provider):
        request = factories.request(team, sam, [NUMBER], upfront_cost=None, monthly_cost=None)
        [purchase] = factories.approve(request, ana, unconfirmed_cost_ok=True)
        provider.offers = [offer(NUMBER, "4.00", "9.00")]
        provider.sells(NUMBER)
        bought = buy(purchase)
        assert (bought.state, bought.upfront_cost, bought.monthly_cost) == (
            State.PURCHASED,
            Decimal("4.00"),
            Decimal("9.00"),
        )

    def test_a_cost_that_the_look_has_shown_is_confirmed_for_the_next_try(self, team, sam, ana, provider):
        """IdentityCall lists it, asks to wait, and lists it no more: the price is known all the same."""
        [purchase] = factories.approve(factories.request(team, sam, [NUMBER]), ana)
        provider.answer_purchase({"error": "slow down"}, status=429, headers={"Retry-After": "0"})
        assert buy(purchase).state == State.APPROVED
        Credential.objects.update(paused_until=None)
        OfferLook.objects.all().delete()
        provider.offers = []
        provider.sells(NUMBER)
        assert buy(purchase).state == State.PURCHASED

    def test_it_is_younger_than_every_list_from_before(self, approved, provider):
        owned_list.read(ApiKey.objects.get())
        attempt = claim(Purchase.objects.select_related("request__team").get(), look_now(approved))
        claimed = AuditEvent.objects.get(action="purchase.purchasing")
        assert (attempt.claimed_seq, Attempt.objects.get().claimed_seq) == (claimed.seq, claimed.seq)


def test_an_attempt_that_never_got_its_answer_is_closed_in_every_state(approved, provider):
    """The first call's answer came late and settled it while the second worker died in its own."""
    first = claim(Purchase.objects.select_related("request__team").get(), look_now(approved))
    overdue(first)
    sweep.run()
    Purchase.objects.update(state=State.APPROVED, due_at=clock.now())
    factories_approve_again(approved)
    second = claim(Purchase.objects.select_related("request__team").get(), look_now(approved))
    outcomes.settle(first, Outcome.PURCHASED, provider_id=9)
    overdue(second)
    sweep.run()
    second.refresh_from_db()
    assert (factories.state_of(approved), second.outcome) == (State.PURCHASED, Outcome.UNCONFIRMED)
    assert factories.actions(approved)[-1] == "attempt.given_up"


def factories_approve_again(purchase):
    """The first approval, as if it had just been given."""
    purchase.approvals.update(superseded_at=None, created_at=clock.now())


class TestTheSweep:
    def test_a_step_that_fails_keeps_no_other_from_being_taken(self, approved, monkeypatch, caplog):
        def broken():
            raise ValueError("one of our own")

        monkeypatch.setattr(reminders, "remind", broken)
        DBTaskResult.objects.all().delete()
        sweep.run()
        assert [row.task_path for row in DBTaskResult.objects.all()] == ["purchasing.tasks.buy"]
        assert "A step of the sweep failed" in caplog.text

    def test_a_task_planned_by_a_clock_that_has_gone_back_counts_as_none(self, approved):
        DBTaskResult.objects.all().delete()
        jobs._enqueue(tasks.buy.using(run_after=timezone.now() + timedelta(hours=2)), (approved.pk,))
        sweep.run()
        assert DBTaskResult.objects.count() == 2

    def test_the_next_of_a_minute_is_not_woken_twice(self, approved):
        DBTaskResult.objects.all().delete()
        jobs.enqueue_at(timezone.now() + timedelta(seconds=10), "buy", approved.pk)
        sweep.run()
        assert DBTaskResult.objects.count() == 1


def test_costs_are_looked_up_one_list_a_task(team, sam, provider):
    asked, provider.offers = factories.request(team, sam, [NUMBER], number_type=""), []
    price_lookup.confirm(asked.pk)
    assert len([path for _, path in provider.calls if "available" in path]) == 1
    waiting = DBTaskResult.objects.filter(task_path="purchasing.tasks.confirm_costs")
    before = waiting.count()
    for _ in range(3):
        price_lookup.confirm(asked.pk)
    assert len([path for _, path in provider.calls if "available" in path]) == 4
    assert waiting.count() > before


def test_a_type_that_nobody_knew_makes_a_new_version(team, sam, provider):
    """What the approver of the old version saw was 'type not known'."""
    asked = factories.request(team, sam, [NUMBER], number_type="")
    provider.offers = [offer(NUMBER, number_type="geographic local number")]
    for _ in range(4):
        price_lookup.confirm(asked.pk)
    asked.refresh_from_db()
    purchase = asked.purchases.get()
    assert purchase.number_type in ("local", "mobile", "national", "toll-free")
    assert (asked.version, purchase.version) == (2, 2)


def test_a_redirect_is_an_alert(approved, provider):
    provider.answer_purchase(
        "", status=307, headers={"Location": f"{settings.IDENTITYCALL_API_URL}/elsewhere"}
    )
    assert buy(approved).state == State.UNCONFIRMED
    assert events("provider.redirected") == 1


def test_an_error_of_the_fence_says_what_it_was(approved, provider):
    fence = NotSent("Nothing was sent: too much time had passed since the claim.", fenced=True)
    attempt = claim(Purchase.objects.select_related("request__team").get(), look_now(approved))
    outcomes.settle(attempt, Outcome.NOT_SENT, error=fence)
    assert Desk.objects.get().pause_reason == str(fence)
    assert Purchase.objects.get().held_cause != Cause.DOUBT
