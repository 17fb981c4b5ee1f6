"""Races, each many times, with real threads that start at a barrier: on SQLite and on PostgreSQL.

Whatever the order, exactly one wins, nobody sees more than a sentence, and no number is bought twice.
"""
# ruff: noqa: B023 - every thread has ended before its loop goes on

import threading
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connections

from purchasing import audit, clock, problems, workflow
from purchasing.approving import approvals
from purchasing.asking import submission, versions
from purchasing.audit import filing
from purchasing.buying import evidence, held_purchases, look, outcomes, procurement
from purchasing.identitycall.errors import RateLimited, Unconfirmed
from purchasing.identitycall.resources import Offer, OwnedList, OwnedNumber
from purchasing.models import (
    ApiKey,
    Approval,
    Attempt,
    AuditEntry,
    AuditEvent,
    AuditHead,
    AuditWord,
    Credential,
    Desk,
    OwnedRead,
    Purchase,
    PurchaseRequest,
    VirtualNumber,
)
from purchasing.provider import owned_list, pauses, turns
from purchasing.states import Outcome, State
from purchasing.teams import keys, stop_buying
from purchasing.worker import sweep
from tests import factories
from tests.factories import actor
from tests.stub import selling

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
NUMBER = "+12125550101"
ROUNDS = 3


@dataclass
class Result:
    """The outcome of one thread: a value, or the sentence of its `Problem`."""

    value: object = None
    problem: Exception | None = None


def race(*actions):
    """Run the actions at once, a thread each. Any error but a `Problem`, a sentence for staff, fails the test."""
    barrier = threading.Barrier(len(actions))
    results = [Result() for _ in actions]

    def run(place, action):
        try:
            connections["default"].ensure_connection()
            barrier.wait(20)
            results[place].value = action()
        except Exception as problem:
            results[place].problem = problem
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    for result in results:
        if result.problem and not isinstance(result.problem, problems.Problem | look.NotNow):
            raise result.problem
    return results


def winners(results):
    return [place for place, result in enumerate(results) if result.problem is None]


def numbers(count, start=0):
    return [f"+121255501{n:02d}" for n in range(start, start + count)]


@pytest.fixture(autouse=True)
def whole_chain(transactional_db):
    yield
    assert audit.verify().whole
    seqs = list(AuditEvent.objects.order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1))


def ids(request):
    return list(request.purchases.order_by("pk").values_list("pk", flat=True))


class TestDecisions:
    def rounds(self, team, sam, ana):
        for number in numbers(ROUNDS):
            yield factories.request(team, sam, [number])

    def test_two_approvers_make_one_approval_and_the_loser_reads_who(self, team, sam, ana):
        eve = factories.member("eve", team, "approver")
        for request in self.rounds(team, sam, ana):
            results = race(
                *(
                    lambda who=who: approvals.approve(
                        request.pk, ids(request), approver=actor(who), version=1
                    )
                    for who in (ana, eve)
                )
            )
            [winner] = winners(results)
            assert ["ana", "eve"][winner] in str(results[1 - winner].problem)
            assert Approval.objects.filter(purchase__request=request).count() == 1

    @pytest.mark.parametrize("against", ["reject", "cancel", "expire", "price"])
    def test_approve_against(self, team, sam, ana, against):
        eve = factories.member("eve", team, "approver")
        for request in self.rounds(team, sam, ana):
            purchase = request.purchases.get()
            if against == "expire":
                Purchase.objects.filter(pk=purchase.pk).update(expires_at=clock.now())
            other = {
                "reject": lambda: approvals.reject(
                    request.pk, [purchase.pk], approver=actor(eve), version=1, reason="No"
                ),
                "cancel": lambda: workflow.cancel(request.pk, [purchase.pk], actor=actor(sam)),
                "expire": lambda: workflow.expire(purchase, actor=audit.WORKER),
                "price": lambda: versions.note_offers(
                    request.pk,
                    {purchase.pk: Offer(NUMBER, upfront_cost=Decimal(5), monthly_cost=Decimal(5))},
                    seen_at=clock.now(),
                    actor=audit.WORKER,
                ),
            }[against]
            approval, _ = race(
                lambda: approvals.approve(request.pk, [purchase.pk], approver=actor(ana), version=1),
                other,
            )
            purchase.refresh_from_db()
            moves = [action for action in factories.actions(purchase) if action != "purchase.pending"]
            if against == "price" and approval.problem is None:  # the look came too late to change anything
                assert (purchase.state, purchase.version, purchase.monthly_cost) == (
                    "approved",
                    1,
                    Decimal(2),
                )
            elif against == "price":
                assert (purchase.state, purchase.version, purchase.monthly_cost) == ("pending", 2, Decimal(5))
            elif against == "cancel" and approval.problem is None:  # cancelled a moment later is also right
                assert moves in (["purchase.approved"], ["purchase.approved", "purchase.cancelled"])
            else:
                assert len(moves) == 1
            approved = Approval.objects.filter(purchase=purchase).count()
            assert approved == (approval.problem is None) == ("purchase.approved" in moves)

    def test_a_form_sent_by_eight_tabs_is_one_request(self, team, sam):
        for number in numbers(ROUNDS):
            token = uuid.uuid4()
            results = race(
                *[
                    lambda: submission.submit(
                        team=team,
                        requester=actor(sam),
                        reason="Desks",
                        lines=[factories.line(number)],
                        form_token=token,
                    )
                ]
                * 8
            )
            assert len({result.value.pk for result in results}) == 1
        assert PurchaseRequest.objects.count() == ROUNDS

    def test_one_number_in_the_requests_of_two_teams_is_one_record(self, team, sam):
        other = factories.team("Sales", key=None)
        factories.member("sam", other, "requester")
        for place in range(ROUNDS):
            both = numbers(3, start=place * 3)
            results = race(
                lambda: factories.request(team, sam, both), lambda: factories.request(other, sam, both[::-1])
            )
            [loser] = {0, 1} - set(winners(results))
            assert isinstance(results[loser].problem, problems.AlreadyAsked)
            assert Purchase.objects.filter(phone_number__in=both).count() == 3

    def test_bulk_decisions_that_overlap_meet_no_deadlock(self, team, sam, ana):
        eve = factories.member("eve", team, "approver")
        for place in range(ROUNDS):
            request = factories.request(team, sam, numbers(8, start=place * 8))
            chosen = ids(request)
            results = race(
                lambda: approvals.approve(request.pk, chosen, approver=actor(ana), version=1),
                lambda: approvals.approve(request.pk, chosen[::-1][:5], approver=actor(eve), version=1),
                lambda: workflow.cancel(request.pk, chosen[2:], actor=actor(sam)),
            )
            assert winners(results)
            for purchase in request.purchases.all():
                assert factories.actions(purchase).count("purchase.approved") <= 1


class TestBuying:
    @pytest.fixture
    def seller(self, settings, team):
        with selling(settings) as seller:
            yield seller

    def approved(self, team, sam, ana, count, start=0):
        return factories.approve(factories.request(team, sam, numbers(count, start)), ana)

    def test_eight_workers_on_one_purchase_send_once(self, team, sam, ana, seller):
        for place in range(ROUNDS):
            [purchase] = self.approved(team, sam, ana, 1, place)
            race(*[lambda: procurement.buy(purchase.pk)] * 8)
            assert factories.state_of(purchase) == State.PURCHASED
        assert sorted(seller.posts) == numbers(ROUNDS)

    def test_workers_on_many_purchases_buy_each_once(self, team, sam, ana, seller):
        purchases = self.approved(team, sam, ana, 6)

        def work(shift):
            for purchase in purchases[shift:] + purchases[:shift]:
                procurement.buy(purchase.pk)

        race(*(lambda shift=shift: work(shift) for shift in range(4)))
        while Purchase.objects.filter(state=State.APPROVED).exists():
            Purchase.objects.filter(state=State.APPROVED).update(due_at=clock.now())
            work(0)
        assert sorted(seller.posts) == sorted(number for number, _ in seller.ledger) == numbers(6)

    def test_two_teams_with_one_account_buy_a_number_once(self, team, sam, ana, seller):
        """The second team may ask only when the first one's purchase has failed."""
        [purchase] = self.approved(team, sam, ana, 1)
        other = factories.team("Sales")
        factories.member("sam", other, "requester")
        race(
            lambda: procurement.buy(purchase.pk),
            lambda: factories.request(other, sam, [purchase.phone_number]),
        )
        assert seller.posts == [purchase.phone_number]

    def test_cancel_against_the_claim(self, team, sam, ana, seller):
        for place in range(ROUNDS):
            [purchase] = self.approved(team, sam, ana, 1, place)
            _, cancelled = race(
                lambda: procurement.buy(purchase.pk),
                lambda: workflow.cancel(purchase.request_id, [purchase.pk], actor=actor(sam)),
            )
            was_sent = purchase.phone_number in seller.posts
            assert was_sent == (cancelled.problem is not None)
            assert factories.state_of(purchase) == (State.PURCHASED if was_sent else State.CANCELLED)

    @pytest.mark.parametrize("what", ["team", "all"])
    def test_no_claim_after_the_click_on_stop(self, team, sam, ana, tom, seller, what):
        root = factories.superuser()
        for place in range(ROUNDS):
            [purchase] = self.approved(team, sam, ana, 1, place)
            stop, go_on = {
                "team": (
                    lambda: stop_buying.stop(team, actor=actor(tom), reason="Audit"),
                    lambda: stop_buying.go_on(team, actor=actor(tom), reason="Done"),
                ),
                "all": (
                    lambda: stop_buying.stop_all(actor=actor(root), reason="Audit"),
                    lambda: stop_buying.go_on_all(actor=actor(root), reason="Done"),
                ),
            }[what]
            race(lambda: procurement.buy(purchase.pk), stop)
            events = list(AuditEvent.objects.order_by("seq").values_list("action", flat=True))
            stopped = len(events) - events[::-1].index(f"{'team' if what == 'team' else 'desk'}.stopped")
            assert "purchase.purchasing" not in events[stopped:]
            was_sent = purchase.phone_number in seller.posts
            assert was_sent == (factories.state_of(purchase) == State.PURCHASED)
            go_on()
            if not was_sent:
                procurement.buy(purchase.pk)
                assert factories.state_of(purchase) == State.PURCHASED

    def test_a_key_replaced_against_the_claim(self, team, sam, ana, seller):
        for place in range(ROUNDS):
            [purchase] = self.approved(team, sam, ana, 1, place)
            secret = f"idc_{place:032d}"
            race(
                lambda: procurement.buy(purchase.pk),
                lambda: keys.set_key(team, secret, actor=factories.SYSTEM),
            )
            if purchase.phone_number not in seller.posts:
                Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now())
                procurement.buy(purchase.pk)
            attempt = Attempt.objects.get(purchase=purchase)
            assert seller.ledger[-1] == (purchase.phone_number, attempt.key.last_four)
            assert factories.state_of(purchase) == State.PURCHASED

    def test_the_locks_of_a_lost_answer_and_of_a_claim_meet_no_deadlock(self, team, sam, ana, seller):
        """Settling touches the key and the purchase, a claim team, key and purchase, a new key team and key."""
        seller.answer = lambda peer: peer.answer(500)
        for place in range(ROUNDS):
            purchases = self.approved(team, sam, ana, 4, place * 4)
            Credential.objects.update(doubts_in_a_row=0)
            race(
                *(lambda purchase=purchase: procurement.buy(purchase.pk) for purchase in purchases),
                lambda place=place: keys.set_key(team, f"idc_{place:032d}", actor=factories.SYSTEM),
            )
        assert sorted(seller.posts) == sorted(set(seller.posts))
        assert Attempt.objects.filter(outcome=Outcome.OPEN).count() == 0

    def test_settling_against_a_new_key_many_times(self, team, sam, ana, settings):
        """The same two locks, without the network between them: this is where the wrong order shows."""
        purchases = self.approved(team, sam, ana, 24)
        for place in range(0, 24, 3):
            attempts = [claimed(purchase) for purchase in purchases[place : place + 3]]
            limited = RateLimited("Wait", retry_after=0, status=429)
            race(
                lambda: outcomes.settle(attempts[0], Outcome.UNCONFIRMED, error=Unconfirmed("Lost")),
                lambda: outcomes.settle(attempts[1], Outcome.RATE_LIMITED, error=limited),
                lambda: outcomes.settle(attempts[2], Outcome.PURCHASED, provider_id=place + 1),
                lambda: keys.set_key(team, f"idc_{place:032d}", actor=factories.SYSTEM),
                lambda: stop_buying.stop(team, actor=actor(factories.superuser(f"root{place}")), reason="x"),
            )
            stop_buying.go_on(team, actor=actor(factories.superuser(f"boss{place}")), reason="x")
        assert sorted(Purchase.objects.values_list("state", flat=True)) == sorted(
            8 * ["unconfirmed", "approved", "purchased"]
        )

    def test_the_end_of_a_pause_against_bulk_decisions_meets_no_deadlock(self, team, sam, ana):
        for place in range(ROUNDS):
            request = factories.request(team, sam, numbers(12, place * 12))
            chosen = [purchase.pk for purchase in factories.approve(request, ana)]
            for pk in chosen[
                ::-1
            ]:  # rewritten backwards, so that an UPDATE without an order meets them backwards
                pauses.put_off(pk, "It waits", clock.now())
            Desk.objects.update(failures=1)
            race(
                lambda: workflow.cancel(request.pk, chosen, actor=actor(sam)),
                pauses.provider_answered,
                lambda place=place: keys.set_key(team, f"idc_{place:032d}", actor=factories.SYSTEM),
            )
            assert set(request.purchases.values_list("state", flat=True)) == {"cancelled"}

    def test_an_answer_against_the_sweep(self, team, sam, ana, settings):
        for place in range(ROUNDS):
            [purchase] = self.approved(team, sam, ana, 1, place)
            attempt = claimed(purchase)
            Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now())
            race(lambda: outcomes.settle(attempt, Outcome.PURCHASED, provider_id=place + 1), sweep.run)
            purchase.refresh_from_db()
            assert (purchase.state, purchase.provider_id) == (State.PURCHASED, place + 1)
            assert Attempt.objects.get(purchase=purchase).outcome == Outcome.PURCHASED

    def test_two_sweeps_and_two_answers_at_once(self, team, sam, ana):
        """A declined answer against the sweep: failed, or unconfirmed with the answer stored."""
        from purchasing.identitycall.errors import Declined

        for place in range(ROUNDS):
            [purchase] = self.approved(team, sam, ana, 1, place)
            attempt = claimed(purchase)
            Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now())
            error = Declined("No longer available", status=422)
            race(
                lambda: outcomes.settle(attempt, Outcome.DECLINED, error=error),
                sweep.run,
                sweep.run,
            )
            attempt.refresh_from_db()
            end = (factories.state_of(purchase), attempt.outcome, attempt.words)
            assert end in (
                (State.FAILED, Outcome.DECLINED, "No longer available"),
                (State.UNCONFIRMED, Outcome.UNCONFIRMED, "No longer available"),
            )

    def test_evidence_against_a_persons_decision(self, team, sam, ana, settings):
        for place in range(ROUNDS):
            [purchase] = self.approved(team, sam, ana, 1, place)
            attempt = claimed(purchase)
            outcomes.settle(attempt, Outcome.UNCONFIRMED, error=Unconfirmed("Lost"))
            Purchase.objects.filter(pk=purchase.pk).update(window_ends_at=clock.now())
            sweep.run()
            known = VirtualNumber.objects.filter(credential=attempt.key.credential)
            numbers = [OwnedNumber(n.provider_id, n.phone_number) for n in known]
            numbers.append(OwnedNumber(900 + place, purchase.phone_number))
            read = owned_list.keep(
                attempt.key,
                OwnedList(tuple(numbers)),
                began_after=audit.position(),
                began_at=clock.now(),
            )
            held = Purchase.objects.get(pk=purchase.pk)
            race(
                lambda: evidence.conclude(purchase.pk, purchase.request_id, attempt.key, read),
                lambda: held_purchases.give_up(held, reason="Enough", actor=actor(ana)),
            )
            evidence.conclude(purchase.pk, purchase.request_id, attempt.key, read)
            purchase.refresh_from_db()
            assert (purchase.state, purchase.provider_id) == (State.PURCHASED, 900 + place)

    def test_the_rate_of_a_key_is_kept_over_all_threads(self, team, settings):
        key = ApiKey.objects.get()
        Credential.objects.update(rate_per_minute=1000)  # 100 at once, then 14 a second
        taken = []

        def take():
            for _ in range(15):
                turns.take_turn(key, patience=20)
                taken.append(time.monotonic())

        race(*[take] * 8)
        taken.sort()
        assert len(taken) == 120
        assert taken[-1] - taken[0] >= 20 * 60 / 850 - 0.5


def claimed(purchase):
    """Claim as the worker does, without a call. Every look is fresh."""
    purchase = Purchase.objects.select_related("request__team").get(pk=purchase.pk)
    Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now())
    Credential.objects.update(doubts_in_a_row=0, paused_until=None)
    key, now = pauses.current_key(purchase.request.team), clock.now()
    read = OwnedRead.objects.create(
        credential=key.credential,
        began_after=audit.position(),
        began_at=now,
        ended_at=now,
        complete=True,
        well_formed=True,
    )
    shown = Offer(purchase.phone_number, upfront_cost=Decimal("1.00"), monthly_cost=Decimal("2.00"))
    seen = look.Look(read, shown, now)
    return procurement.claim(purchase, key=key, look=seen, worker=audit.WORKER)


class TestManyWriters:
    def test_eight_writers_never_read_database_is_locked(self, team, sam, ana):
        def write(place):
            for n in range(8):
                request = factories.request(team, sam, [f"+1212556{place:02d}{n:02d}"])
                factories.approve(request, ana)

        race(*(lambda place=place: write(place) for place in range(8)))
        assert Purchase.objects.filter(state=State.APPROVED).count() == 64
        assert AuditEvent.objects.filter(action="purchase.approved").count() == 64

    def test_eight_writers_file_every_event_once(self, team, monkeypatch):
        monkeypatch.setattr(filing, "LOT", 5)

        def write():
            for _ in range(8):
                audit.record("test.done", actor=audit.WORKER, team=team, note="Several write at once.")

        race(*[write] * 8)
        head = AuditHead.objects.get()
        assert head.seq - head.filed < 5
        assert list(AuditEntry.objects.order_by("seq").values_list("seq", flat=True)) == [
            *range(1, head.filed + 1)
        ]
        assert AuditWord.objects.filter(word="several").count() == sum(
            seq <= head.filed
            for seq in AuditEvent.objects.filter(action="test.done").values_list("seq", flat=True)
        )
        assert audit.verify().whole

    def test_what_fails_on_the_way_leaves_no_gap_in_the_chain(self, team, sam, ana):
        request = factories.request(team, sam, numbers(1))

        def approve_twice():
            for _ in range(5):
                approvals.approve(request.pk, ids(request), approver=actor(ana), version=1)

        race(*[approve_twice] * 6)
        assert Approval.objects.count() == 1

    def test_prices_noted_by_two_workers_at_once(self, team, sam):
        request = factories.request(team, sam, numbers(5))

        def note(cost):
            offers = {
                purchase.pk: Offer(
                    purchase.phone_number, upfront_cost=Decimal(cost), monthly_cost=Decimal(cost)
                )
                for purchase in request.purchases.all()
            }
            versions.note_offers(request.pk, offers, seen_at=clock.now(), actor=audit.WORKER)

        race(*(lambda cost=cost: note(cost) for cost in range(3, 9)))
        request.refresh_from_db()
        assert request.version == 7
        assert set(request.purchases.values_list("version", flat=True)) == {7}
        assert len(set(request.purchases.values_list("monthly_cost", flat=True))) == 1


def test_an_attempt_that_fell_due_twice_is_given_up_once(team, sam, ana):
    for number in numbers(ROUNDS):
        [purchase] = factories.approve(factories.request(team, sam, [number]), ana)
        attempt = claimed(purchase)
        Attempt.objects.filter(pk=attempt.pk).update(deadline_at=clock.now() - timedelta(seconds=3))
        race(*[sweep.run] * 4)
        assert factories.actions(purchase).count("purchase.unconfirmed") == 1
        attempt.refresh_from_db()
        assert attempt.outcome == Outcome.UNCONFIRMED


def test_one_id_that_people_of_two_teams_name_at_once_goes_to_one_number(team, sam, ana):
    """No list can be read, so only people's word counts; for one id the first one does."""
    sales = factories.team("Sales", key="idc_" + "s" * 32)
    for place in range(ROUNDS):
        held = []
        for asking, number in ((team, f"+1212555013{place}"), (sales, f"+1212555014{place}")):
            factories.member("sam", asking, "requester"), factories.member("ana", asking, "approver")
            [purchase] = factories.approve(factories.request(asking, sam, [number]), ana)
            outcomes.settle(claimed(purchase), Outcome.UNCONFIRMED, error=Unconfirmed("Lost"))
            Purchase.objects.filter(pk=purchase.pk).update(window_ends_at=clock.now())
            held.append(purchase.pk)
        sweep.run()
        results = race(
            *(
                lambda pk=pk: held_purchases.it_was_bought(
                    Purchase.objects.get(pk=pk), provider_id=900 + place, reason="I saw it", actor=actor(ana)
                )
                for pk in held
            )
        )
        assert len(winners(results)) == 1
        assert Purchase.objects.filter(provider_id=900 + place).count() == 1
