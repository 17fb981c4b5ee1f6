"""Buying one number: each row of the outcome table at the wire, and what is checked before a byte is sent."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
import requests
from django.db import OperationalError, connection

from purchasing import audit, clock, problems, workflow
from purchasing.asking import price_lookup
from purchasing.buying import evidence, held_purchases, outcomes, procurement
from purchasing.buying.look import NotNow, look_at
from purchasing.models import (
    ApiKey,
    Attempt,
    Credential,
    Desk,
    Membership,
    OfferLook,
    OwnedRead,
    Purchase,
    User,
)
from purchasing.provider import owned_list, turns
from purchasing.states import Cause, Outcome, State
from purchasing.teams import keys, stop_buying
from purchasing.worker import sweep
from tests import factories
from tests.healthy_provider import offer, owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"


def buy(purchase):
    """Run the worker's task for one purchase, and give the purchase as it is then."""
    Purchase.objects.filter(pk=purchase.pk, state=State.APPROVED).update(due_at=clock.now())
    procurement.buy(purchase.pk)
    return Purchase.objects.get(pk=purchase.pk)


def never_sent():
    """What our connection class raises when no byte was handed to the socket."""
    error = requests.ConnectionError("refused")
    error.never_sent = True
    return error


class TestBought:
    def test_a_full_201_is_purchased_with_the_providers_id(self, approved, provider):
        provider.sells(NUMBER, 4711)
        bought = buy(approved)
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 4711)
        assert factories.actions(bought) == [
            "purchase.pending",
            "purchase.approved",
            "purchase.purchasing",
            "purchase.purchased",
        ]

    def test_the_answer_is_kept_as_it_came(self, approved, provider):
        provider.sells(NUMBER, 4711)
        buy(approved)
        kept = json.loads(Attempt.objects.get().answer)["data"]
        assert (kept["id"], kept["phone_number"]) == (4711, NUMBER)

    def test_exactly_what_was_approved_is_sent_once(self, approved, provider):
        provider.sells(NUMBER)
        buy(approved)
        assert provider.purchases == [
            {
                "phone_number": NUMBER,
                "country_code": "US",
                "number_type": "local",
                "name": "Desk",
                "upfront_cost": "1.00",
                "monthly_cost": "2.00",
            }
        ]
        attempt = Attempt.objects.get()
        assert json.loads(attempt.payload) == provider.purchases[0]
        assert attempt.outcome == Outcome.PURCHASED

    def test_a_task_delivered_fifty_times_sends_once(self, approved, provider):
        provider.sells(NUMBER)
        for _ in range(50):
            procurement.buy(approved.pk)
        assert len(provider.purchases) == 1

    def test_unknown_and_empty_fields_are_left_out(self, team, sam, ana, provider):
        request = factories.request(team, sam, [NUMBER], upfront_cost=None, monthly_cost=None, name="")
        [purchase] = factories.approve(request, ana, unconfirmed_cost_ok=True)
        provider.sells(NUMBER)
        buy(purchase)
        assert provider.purchases == [{"phone_number": NUMBER, "country_code": "US", "number_type": "local"}]


UNCONFIRMED = {
    "a read timeout": {"body": requests.ReadTimeout()},
    "a reset that could be after sending": {"body": requests.ConnectionError()},
    "a broken TLS record": {"body": requests.exceptions.SSLError()},
    "201 empty": {"body": ""},
    "201 not JSON": {"body": "<html>Created</html>"},
    "201 cut": {"body": '{"data": {"id": 5, "phone'},
    "201 without data": {"body": {"id": 5, "phone_number": NUMBER}},
    "201 without id": {"body": {"data": {"phone_number": NUMBER}}},
    "201 with the id as text": {"body": {"data": {**owned(NUMBER), "id": "501"}}},
    "201 with id 0": {"body": {"data": {**owned(NUMBER), "id": 0}}},
    "201 with id true": {"body": {"data": {**owned(NUMBER), "id": True}}},
    "201 for another number": {"body": {"data": owned("+12125550199")}},
    "201 with a list": {"body": {"data": [owned(NUMBER)]}},
    "200 in full": {"body": {"data": owned(NUMBER)}, "status": 200},
    "202": {"body": {"data": owned(NUMBER)}, "status": 202},
    "204": {"body": "", "status": 204},
    "302 to its own host": {
        "body": "",
        "status": 302,
        "headers": {"Location": "/api/v1/public/virtual_numbers"},
    },
    "307 to another host": {"body": "", "status": 307, "headers": {"Location": "http://127.0.0.2/"}},
    "402": {"body": {"error": "Payment required"}, "status": 402},
    "409": {"body": {"error": "Conflict"}, "status": 409},
    "500": {"body": {"error": "Server error"}, "status": 500},
    "502 HTML": {"body": "<html>", "status": 502},
    "503": {"body": "", "status": 503},
    "504": {"body": "", "status": 504},
    "422 HTML": {"body": "<html>", "status": 422},
    "422 empty": {"body": "", "status": 422},
    "422 without an error": {"body": {"message": "no"}, "status": 422},
    "422 with an empty error": {"body": {"error": ""}, "status": 422},
    "404 HTML": {"body": "<html>Not found</html>", "status": 404},
    "400 of a proxy": {"body": "Bad request", "status": 400},
    "422 of 1 MB": {"body": {"error": "x" * 1_000_000}, "status": 422},
}


class TestUnknown:
    @pytest.mark.parametrize("answer", UNCONFIRMED.values(), ids=UNCONFIRMED.keys())
    def test_is_unconfirmed_and_never_sent_again(self, approved, provider, answer):
        provider.answer_purchase(**answer)
        assert buy(approved).state == State.UNCONFIRMED
        for _ in range(3):
            procurement.buy(approved.pk)
            sweep.run()
        assert len(provider.purchases) == 1
        assert Attempt.objects.get().outcome == Outcome.UNCONFIRMED

    def test_evidence_is_read_soon_and_a_window_is_set(self, approved, provider, settings):
        settings.EVIDENCE_CHECK_DELAYS, settings.SETTLE_WINDOW = [10, 30, 60], 900
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        attempt = Attempt.objects.get()
        assert doubtful.window_ends_at == attempt.deadline_at + timedelta(seconds=900)
        assert timedelta(seconds=8) < doubtful.due_at - clock.now() <= timedelta(seconds=10)


class TestSurelyNot:
    def test_never_sent_is_approved_again_and_the_provider_pauses(self, approved, provider):
        provider.answer_purchase(never_sent())
        again = buy(approved)
        assert again.state == State.APPROVED
        assert again.due_at > clock.now()
        assert "reached" in again.waiting_for
        assert Desk.objects.get().paused_until == again.due_at
        assert Attempt.objects.get().outcome == Outcome.NOT_SENT

    def test_after_the_pause_it_is_bought(self, approved, provider):
        provider.answer_purchase(never_sent())
        buy(approved)
        Desk.objects.update(paused_until=clock.now())
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED
        assert Desk.objects.get().failures == 0

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [({"Retry-After": "7"}, 7), ({}, 60), ({"Retry-After": "soon"}, 60), ({"Retry-After": "99999"}, 900)],
    )
    def test_429_waits_as_long_as_asked_and_pauses_the_key(self, approved, provider, headers, seconds):
        provider.answer_purchase("", status=429, headers=headers)
        again = buy(approved)
        assert again.state == State.APPROVED
        key = ApiKey.objects.get()
        wait = (key.credential.paused_until - clock.now()).total_seconds()
        assert seconds - 5 < wait <= seconds
        assert again.due_at == key.credential.paused_until

    def test_a_paused_key_leaves_other_keys_alone(self, approved, provider, sam, ana):
        other = factories.team("Sales", key="idc_" + "s" * 32)
        for person, role in ((sam, "requester"), (ana, "approver")):
            factories.member(person.username, other, role)
        [second] = factories.approve(factories.request(other, sam, ["+12125550102"]), ana)
        provider.answer_purchase("", status=429)
        buy(approved)
        provider.sells("+12125550102")
        assert buy(second).state == State.PURCHASED

    @pytest.mark.parametrize("status", [401, 403])
    def test_a_refused_key_waits_for_a_new_one_which_buys(self, approved, provider, team, status):
        provider.answer_purchase({"error": "Invalid API key"}, status=status)
        assert buy(approved).state == State.APPROVED
        assert Credential.objects.get().refused_at is not None
        for _ in range(3):
            buy(approved)
        assert len(provider.purchases) == 1  # nothing more is tried with it
        keys.set_key(team, "idc_" + "n" * 32, actor=factories.SYSTEM)
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED

    @pytest.mark.parametrize("status", [400, 404, 422])
    @pytest.mark.parametrize(
        ("body", "words"),
        [({"error": "No longer available"}, "No longer available"), ({"errors": ["One", "Two"]}, "One")],
    )
    def test_a_declined_purchase_fails_with_the_providers_words(
        self, approved, provider, status, body, words
    ):
        provider.answer_purchase(body, status=status)
        failed = buy(approved)
        assert failed.state == State.FAILED
        assert words in failed.last_words
        assert failed.last_words == Attempt.objects.get().words

    def test_after_a_doubt_a_decline_settles_nothing(self, approved, provider, ana):
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        open_try_again(doubtful)
        held_purchases.try_again(
            doubtful, reason="Not in the list", actor=factories.actor(ana), seen=seen_now(doubtful)
        )
        provider.answer_purchase({"error": "No longer available"}, status=422)
        again = buy(approved)
        assert again.state == State.UNCONFIRMED
        provider.owned_numbers.append(owned(NUMBER, 77))
        check(again)
        assert Purchase.objects.get().provider_id == 77


def check(purchase):
    """Read the evidence for a purchase now."""
    Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now())
    evidence.gather(Attempt.objects.filter(purchase=purchase).last().key_id)
    return Purchase.objects.get(pk=purchase.pk)


def open_try_again(purchase):
    """Let the window pass and read the list as often as 'try again' wants it."""
    Purchase.objects.filter(pk=purchase.pk).update(window_ends_at=clock.now())
    for _ in range(3):
        purchase = check(purchase)
    assert purchase.state == State.HELD
    return purchase


class TestBeforeTheClaim:
    def test_a_number_that_was_ours_before_is_held_without_a_call(self, approved, provider):
        provider.owned_numbers.append(owned(NUMBER, 7))
        held = buy(approved)
        assert (held.state, held.held_cause) == (State.HELD, Cause.OWNED)
        assert "under the id 7" in held.held_words
        assert provider.purchases == []

    @pytest.mark.parametrize("answer", [(500, {}, ""), (503, {}, "<html>"), requests.ReadTimeout()])
    def test_while_the_owned_list_cannot_be_read_at_all_nobody_buys(self, approved, provider, answer):
        provider.owned_answer = answer
        waiting = buy(approved)
        assert waiting.state == State.APPROVED
        assert waiting.waiting_for
        assert (Desk.objects.get().failures, Credential.objects.get().paused_until) == (1, None)
        assert provider.purchases == []

    @pytest.mark.parametrize(
        "answer", [(200, {}, "{"), (200, {}, '{"data": {}}'), (302, {"Location": "/"}, "")]
    )
    def test_an_owned_list_that_cannot_be_used_pauses_its_key_alone(self, approved, provider, answer):
        provider.owned_answer = answer
        waiting = buy(approved)
        assert waiting.state == State.APPROVED
        assert waiting.waiting_for.startswith("IdentityCall's list of owned numbers could not be used:")
        assert (Desk.objects.get().failures, Credential.objects.get().paused_until > clock.now()) == (0, True)
        assert provider.purchases == []

    def test_an_unreadable_offer_list_claims_nothing(self, approved, provider):
        provider.offers_answer = (503, {}, "")
        assert buy(approved).state == State.APPROVED
        assert provider.purchases == []

    def test_a_key_that_lacks_some_numbers_goes_on_buying(self, approved, provider):
        provider.owned_numbers = [owned("+12125550188", 1), owned("+12125550189", 2)]
        owned_list.read(ApiKey.objects.get())
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=5))
        provider.owned_numbers = [owned("+12125550188", 1)]
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED

    def test_a_blind_key_buys_nothing_until_it_sees_again(self, approved, provider):
        provider.owned_numbers = [owned("+12125550188", 1)]
        owned_list.read(ApiKey.objects.get())
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=5))
        provider.owned_numbers = []
        provider.sells(NUMBER)
        for _ in range(2):
            waiting = buy(approved)
            assert (waiting.state, provider.purchases) == (State.APPROVED, [])
            assert "no number that this key has shown" in waiting.waiting_for
        provider.owned_numbers = [owned("+12125550188", 1)]
        owned_list.read(ApiKey.objects.get())
        assert Purchase.objects.get().due_at <= clock.now()  # at once
        assert buy(approved).state == State.PURCHASED

    def test_one_read_serves_many_claims(self, team, sam, ana, provider):
        numbers = [f"+121255501{n:02d}" for n in range(1, 4)]
        purchases = factories.approve(factories.request(team, sam, numbers), ana)
        for number, purchase in zip(numbers, purchases, strict=True):
            provider.sells(number, int(number[-4:]))
            assert buy(purchase).state == State.PURCHASED
        assert [path for method, path in provider.calls if path == "/virtual_numbers"] == ["/virtual_numbers"]

    def test_an_old_read_is_not_used(self, approved, provider):
        provider.sells(NUMBER)
        owned_list.read(ApiKey.objects.get())
        OwnedRead.objects.update(began_at=clock.now() - timedelta(seconds=61))
        buy(approved)
        assert OwnedRead.objects.count() == 2

    def test_a_look_too_old_at_the_claim_is_refused(self, approved, provider):
        look = look_now(approved)
        OwnedRead.objects.update(began_at=clock.now() - timedelta(seconds=61))
        look.read.refresh_from_db()
        with pytest.raises(NotNow):
            claim(approved, look)

    @pytest.mark.parametrize("shown", [False, True])
    def test_it_looks_again_when_the_turn_was_long_in_coming(self, approved, provider, monkeypatch, shown):
        provider.sells(NUMBER)
        look_now(approved)
        Credential.objects.update(rate_per_minute=6, next_call_at=clock.now() + timedelta(seconds=15))
        real = clock.now

        def sleep(seconds):
            Credential.objects.update(next_call_at=None)
            monkeypatch.setattr(clock, "now", lambda: real() + timedelta(seconds=61))
            if shown:
                provider.owned_numbers.append(owned(NUMBER, 7))

        monkeypatch.setattr(turns.time, "sleep", sleep)
        after = buy(approved)
        reads = provider.calls.count(("GET", "/virtual_numbers"))
        assert (after.state, reads) == (State.HELD if shown else State.PURCHASED, 2)

    def test_cancelled_between_look_and_claim_is_not_claimed(self, approved, provider, sam):
        look = look_now(approved)
        workflow.cancel(approved.request_id, [approved.pk], actor=factories.actor(sam))
        with pytest.raises(problems.AlreadyMoved):
            claim(approved, look)

    def test_stopped_between_look_and_claim_is_not_claimed(self, approved, provider, team, tom):
        look = look_now(approved)
        stop_buying.stop(team, actor=factories.actor(tom), reason="Audit")
        with pytest.raises(NotNow, match="Audit"):
            claim(approved, look)

    def test_all_stopped_buys_nothing_and_says_why(self, approved, provider):
        root = factories.superuser()
        stop_buying.stop_all(actor=factories.actor(root), reason="Year end")
        assert "Year end" in buy(approved).waiting_for
        stop_buying.go_on_all(actor=factories.actor(root), reason="Done")
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED

    def test_a_replaced_key_is_not_claimed_with(self, approved, provider, team):
        look = look_now(approved)
        keys.set_key(team, "idc_" + "n" * 32, actor=factories.SYSTEM)
        with pytest.raises(NotNow, match="key"):
            procurement.claim(
                approved, key=ApiKey.objects.get(retired_at__isnull=False), look=look, worker=audit.WORKER
            )

    @pytest.mark.parametrize("loss", ["role", "account"])
    def test_an_approver_who_may_no_longer_approve_holds_it(self, approved, provider, ana, loss):
        if loss == "role":
            Membership.objects.filter(user=ana).delete()
        else:
            User.objects.filter(pk=ana.pk).update(is_active=False)
        held = buy(approved)
        assert (held.state, held.held_cause) == (State.HELD, Cause.APPROVER)
        assert provider.purchases == []

    def test_an_inactive_team_waits(self, approved, provider, team):
        type(team).objects.update(is_active=False)
        assert "switched off" in buy(approved).waiting_for
        assert provider.purchases == []

    def test_too_long_in_line_is_held(self, approved, provider, settings):
        approved.approvals.update(created_at=clock.now() - timedelta(days=15))
        sweep.run()
        approved.refresh_from_db()
        assert (approved.state, approved.held_cause) == (State.HELD, Cause.TOO_LONG)

    def test_without_a_key_it_waits_and_says_so(self, db, provider):
        team = factories.team(key=None)
        sam = factories.member("sam", team, "requester")
        ana = factories.member("ana", team, "approver")
        [purchase] = factories.approve(factories.request(team, sam, [NUMBER]), ana)
        assert "no API key" in buy(purchase).waiting_for

    def test_a_lost_encryption_key_buys_nothing_and_says_so(self, approved, provider, settings):
        from cryptography.fernet import Fernet

        settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        assert "decrypted" in buy(approved).waiting_for
        assert provider.calls == []


def look_now(purchase):
    """What the worker sees just before a claim."""
    purchase = Purchase.objects.select_related("request__team").get(pk=purchase.pk)
    return look_at(purchase, ApiKey.objects.get(retired_at=None))


def claim(purchase, look):
    """Claim as the worker does."""
    key = ApiKey.objects.filter(retired_at=None).get()
    return procurement.claim(purchase, key=key, look=look, worker=audit.WORKER)


class TestPrice:
    def offer(self, provider, upfront, monthly):
        provider.offers = [offer(NUMBER, upfront, monthly)]
        OfferLook.objects.all().delete()

    @pytest.mark.parametrize(("upfront", "monthly"), [("1.01", "2.00"), ("1.00", "2.01"), ("0", "2.0001")])
    def test_dearer_than_approved_is_held_with_both_prices(self, approved, provider, upfront, monthly):
        self.offer(provider, upfront, monthly)
        held = buy(approved)
        assert (held.state, held.held_cause) == (State.HELD, Cause.PRICE)
        assert "1.00 USD" in held.held_words
        assert provider.purchases == []

    @pytest.mark.parametrize(("upfront", "monthly"), [("1.00", "2.00"), ("0.50", "2.00"), ("0", "0")])
    def test_as_approved_or_cheaper_is_bought(self, approved, provider, upfront, monthly):
        self.offer(provider, upfront, monthly)
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED

    @pytest.mark.parametrize("monthly", [None, "", "NaN", "1e400", "-1", "2,00", "$2"])
    def test_a_cost_that_was_never_confirmed_is_held(self, approved, provider, monthly):
        self.offer(provider, "1.00", monthly)
        held = buy(approved)
        assert (held.state, held.held_cause) == (State.HELD, Cause.COST_UNKNOWN)
        assert provider.purchases == []

    @pytest.mark.parametrize("monthly", [None, "1e3", "25,00", "NaN"])
    def test_listed_without_a_cost_that_can_be_read_no_earlier_one_stands(
        self, pending, ana, provider, monthly
    ):
        price_lookup.confirm(pending.pk)
        [purchase] = factories.approve(pending, ana)
        self.offer(provider, "1.00", monthly)
        held = buy(purchase)
        assert (held.state, held.held_cause) == (State.HELD, Cause.COST_UNKNOWN)
        assert "no cost that can be read" in held.held_words
        held_purchases.approve_again(
            held, reason="Fine", actor=factories.actor(ana), seen=None, unconfirmed_cost_ok=True
        )
        provider.sells(NUMBER)
        assert buy(purchase).state == State.PURCHASED

    def test_approved_without_a_cost_it_may_not_get_dearer_than_one_that_was_shown_since(
        self, team, sam, ana, provider
    ):
        request = factories.request(team, sam, [NUMBER], upfront_cost=None, monthly_cost=None)
        [purchase] = factories.approve(request, ana, unconfirmed_cost_ok=True)
        self.offer(provider, "1.00", "9.00")
        provider.answer_purchase(never_sent())
        assert buy(purchase).monthly_cost == Decimal("9.00")
        Desk.objects.update(paused_until=None)
        self.offer(provider, "1.00", "90.00")
        held = buy(purchase)
        assert (held.state, held.held_cause) == (State.HELD, Cause.PRICE)
        assert held.held_words.startswith("Shown before: 1.00 USD once and 9.00 USD a month.")

    def test_not_listed_and_never_confirmed_is_held(self, approved, provider):
        provider.offers = []
        assert buy(approved).held_cause == Cause.COST_UNKNOWN

    def test_not_listed_but_confirmed_before_the_approval_is_bought(self, pending, ana, provider):
        price_lookup.confirm(pending.pk)
        [purchase] = factories.approve(pending, ana)
        assert purchase.cost_confirmed_at is not None
        provider.offers = []
        OfferLook.objects.all().delete()
        provider.sells(NUMBER)
        assert buy(purchase).state == State.PURCHASED

    def test_unlisted_at_a_price_nobody_confirmed_is_bought_when_approved_in_those_words(
        self, pending, ana, provider
    ):
        [purchase] = factories.approve(pending, ana, unconfirmed_cost_ok=True)
        provider.offers = []
        provider.sells(NUMBER)
        assert buy(purchase).state == State.PURCHASED

    def test_an_unknown_cost_is_never_bought_unseen(self, team, sam, ana, provider):
        [purchase] = factories.approve(factories.request(team, sam, [NUMBER], monthly_cost=None), ana)
        held = buy(purchase)
        assert (held.state, held.held_cause) == (State.HELD, Cause.COST_UNKNOWN)

    def test_approve_again_at_the_new_price(self, approved, provider, ana):
        self.offer(provider, "1.50", "3.00")
        held = buy(approved)
        held_purchases.approve_again(
            held,
            reason="Fine",
            actor=factories.actor(ana),
            seen=(Decimal("1.50"), Decimal("3.00")),
        )
        provider.sells(NUMBER)
        bought = buy(approved)
        assert (bought.state, bought.monthly_cost) == (State.PURCHASED, Decimal("3.00"))


class TestSettling:
    def test_a_database_that_fails_after_the_answer_still_gets_it(self, approved, provider, monkeypatch):
        provider.sells(NUMBER)
        failures = iter([OperationalError("database is locked"), OperationalError("gone")])
        real = outcomes._settle

        def failing(*arguments):
            for failure in failures:
                raise failure
            return real(*arguments)

        monkeypatch.setattr(outcomes, "_settle", failing)
        monkeypatch.setattr(outcomes.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(connection, "close", lambda: None)
        assert buy(approved).state == State.PURCHASED

    def test_a_late_purchased_is_evidence(self, approved, provider):
        attempt = open_attempt(approved)
        overdue(attempt)
        sweep.run()
        assert factories.state_of(approved) == State.UNCONFIRMED
        outcomes.settle(attempt, Outcome.PURCHASED, provider_id=9)
        bought = Purchase.objects.get()
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 9)

    def test_any_other_late_answer_is_written_down_and_moves_nothing(self, approved, provider):
        from purchasing.identitycall.errors import Declined

        attempt = open_attempt(approved)
        overdue(attempt)
        sweep.run()
        outcomes.settle(attempt, Outcome.DECLINED, error=Declined("IdentityCall says no.", status=422))
        assert factories.state_of(approved) == State.UNCONFIRMED
        assert factories.actions(approved)[-1] == "attempt.late_answer"
        attempt.refresh_from_db()
        assert (attempt.http_status, attempt.outcome) == (422, Outcome.UNCONFIRMED)

    def test_three_unconfirmed_in_a_row_pause_the_key_until_a_whole_list_was_read(
        self, team, sam, ana, provider
    ):
        numbers = [f"+121255501{n:02d}" for n in range(1, 5)]
        purchases = factories.approve(factories.request(team, sam, numbers), ana)
        provider.answer_purchase("", status=500)
        for purchase in purchases[:3]:
            assert buy(purchase).state == State.UNCONFIRMED
        assert "lost" in buy(purchases[3]).waiting_for
        assert len(provider.purchases) == 3
        check(purchases[0])
        provider.sells(numbers[3])
        assert buy(purchases[3]).state == State.PURCHASED


def seen_now(purchase):
    """The costs that a page shows for a held purchase, None where IdentityCall shows none."""
    offer, _ = held_purchases.offer_now(purchase)
    return (offer.upfront_cost, offer.monthly_cost) if offer else None


def overdue(attempt):
    """Let the time pass in which the answer of an attempt should have come."""
    Attempt.objects.filter(pk=attempt.pk).update(deadline_at=clock.now() - timedelta(seconds=3))


def open_attempt(purchase):
    """An attempt whose answer has not come: its worker is still calling, or dead."""
    return claim(Purchase.objects.select_related("request__team").get(pk=purchase.pk), look_now(purchase))
