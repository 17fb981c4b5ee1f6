"""What people decide about held purchases: always with a reason, never by the person who asked, never on a guess."""

from datetime import timedelta
from decimal import Decimal

import pytest
import requests

from purchasing import clock, problems, workflow
from purchasing.buying import evidence, held_purchases, procurement
from purchasing.models import (
    ApiKey,
    Approval,
    Attempt,
    Credential,
    Membership,
    OfferLook,
    OwnedRead,
    Purchase,
    User,
    VirtualNumber,
)
from purchasing.provider import offers, owned_list
from purchasing.states import Cause, Outcome, State
from purchasing.teams import keys, stop_buying
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import buy, check, open_try_again
from tests.factories import actor
from tests.healthy_provider import OWNED, during, offer, owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"
NEW = "idc_" + "n" * 32  # the key that replaces the first


@pytest.fixture
def doubtful(approved, provider):
    provider.answer_purchase(requests.ReadTimeout())
    return open_try_again(buy(approved))


@pytest.fixture
def dearer(approved, provider):
    """Held because the provider asks more than was approved; nothing was sent."""
    provider.offers = [offer(NUMBER, "1.50", "3.00")]
    OfferLook.objects.all().delete()
    return buy(approved)


def was_bought(purchase, person, provider_id=77, reason="Seen in the dashboard"):
    return held_purchases.it_was_bought(purchase, provider_id=provider_id, reason=reason, actor=actor(person))


def try_again(purchase, person, reason="It is not there", **options):
    offer, _ = held_purchases.offer_now(purchase)
    seen = {"seen": (offer.upfront_cost, offer.monthly_cost) if offer else None}
    return held_purchases.try_again(purchase, reason=reason, actor=actor(person), **seen | options)


def approve_again(purchase, person, reason="Fine", seen=(Decimal("1.50"), Decimal("3.00")), **options):
    return held_purchases.approve_again(purchase, reason=reason, actor=actor(person), seen=seen, **options)


def give_up(purchase, person, reason="Enough"):
    return held_purchases.give_up(purchase, reason=reason, actor=actor(person))


LOSES = {
    "the role": lambda person: Membership.objects.filter(user=person).delete(),
    "the account": lambda person: User.objects.filter(pk=person.pk).update(is_active=False),
}
DOUBT = {"it was bought": was_bought, "try again": try_again, "give up": give_up}
PRICE = {"approve again": approve_again, "give up": give_up}


class TestWho:
    @pytest.fixture
    def people(self, team, sam, ana, tom):
        both = factories.member(
            "sam", team, "approver"
        )  # the person who asked, with every other role as well
        factories.member("sam", team, "admin")
        stranger = factories.member("eve", factories.team("Sales", key=None), "approver")
        factories.member("eve", stranger.memberships.get().team, "admin")
        return {
            "the requester": both,
            "another requester": factories.member("rob", team, "requester"),
            "an approver of another team": stranger,
            "an auditor": factories.auditor(),
        }

    @pytest.mark.parametrize(
        "who", ["the requester", "another requester", "an approver of another team", "an auditor"]
    )
    def test_may_decide_nothing(self, doubtful, people, who):
        for decide in DOUBT.values():
            with pytest.raises(problems.NotYours):
                decide(doubtful, people[who])
        assert factories.state_of(doubtful) == State.HELD

    @pytest.mark.parametrize(
        "who", ["the requester", "another requester", "an approver of another team", "an auditor"]
    )
    def test_may_not_approve_again(self, dearer, people, who):
        for decide in PRICE.values():
            with pytest.raises(problems.NotYours):
                decide(dearer, people[who])
        assert factories.state_of(dearer) == State.HELD

    def test_an_admin_settles_a_doubt_but_orders_no_purchase(self, doubtful, tom):
        with pytest.raises(problems.NotYours):
            try_again(doubtful, tom)
        assert give_up(doubtful, tom).state == State.GIVEN_UP

    def test_an_admin_does_not_approve_a_price(self, dearer, tom):
        with pytest.raises(problems.NotYours):
            approve_again(dearer, tom)

    def test_who_lost_the_role_or_the_account_decides_nothing(self, doubtful, ana):
        Membership.objects.filter(user=ana).delete()
        with pytest.raises(problems.NotYours):
            give_up(doubtful, ana)
        factories.member("ana", doubtful.request.team, "approver")
        User.objects.filter(pk=ana.pk).update(is_active=False)
        with pytest.raises(problems.NotYours):
            give_up(doubtful, User.objects.get(pk=ana.pk))


class TestReason:
    @pytest.mark.parametrize("reason", ["", " ", "\n\t"])
    def test_is_required_for_a_doubt(self, doubtful, ana, reason):
        for decide in DOUBT.values():
            with pytest.raises(problems.Problem, match="why"):
                decide(doubtful, ana, reason=reason)

    @pytest.mark.parametrize("reason", ["", " "])
    def test_is_required_for_a_price(self, dearer, ana, reason):
        for decide in PRICE.values():
            with pytest.raises(problems.Problem, match="why"):
                decide(dearer, ana, reason=reason)

    @pytest.mark.parametrize("decide", DOUBT.values(), ids=DOUBT.keys())
    def test_stays_in_the_record_with_who_gave_it(self, doubtful, ana, provider, decide):
        provider.owned_numbers = [owned(NUMBER, 77)] if decide is was_bought else []
        decide(doubtful, ana, reason="Because I looked")
        event = doubtful.events.order_by("-seq").first()
        assert event.note.startswith("Because I looked")
        assert (event.actor, event.was) == (ana, "held")


class TestItWasBought:
    def test_with_the_list_showing_it(self, doubtful, ana, provider):
        provider.owned_numbers = [owned(NUMBER, 77)]
        bought = was_bought(doubtful, ana)
        assert (bought.state, bought.provider_id, bought.bought_with) == (
            State.PURCHASED,
            77,
            Attempt.objects.get().key,
        )

    def test_with_other_numbers_in_the_list(self, doubtful, ana, provider):
        provider.owned_numbers = [owned("+12125550188", 5), owned(NUMBER, 77), owned("+12125550189", 99)]
        assert was_bought(doubtful, ana).provider_id == 77

    def test_is_the_call_in_doubt_and_not_a_later_one_that_was_declined(self, doubtful, ana, provider):
        provider.offers = [offer(NUMBER, "5.00", "6.00")]
        OfferLook.objects.all().delete()
        offers.find_offer(ApiKey.objects.get(), doubtful)
        try_again(doubtful, ana)
        provider.answer_purchase({"error": "No longer available"}, status=422)
        assert buy(doubtful).state == State.UNCONFIRMED
        Purchase.objects.update(window_ends_at=clock.now())
        provider.owned_answer = (500, {}, "")
        bought = was_bought(check(doubtful), ana)
        assert (bought.upfront_cost, bought.monthly_cost) == (Decimal("1.00"), Decimal("2.00"))
        event = bought.events.get(action="purchase.purchased")
        assert event.attempt == Attempt.objects.earliest("pk")

    def test_on_a_persons_word_with_a_key_whose_secret_was_wiped(self, doubtful, ana):
        ApiKey.objects.update(secret=None)
        bought = was_bought(doubtful, ana)
        assert bought.state == State.PURCHASED
        note = bought.events.get(action="purchase.purchased").note
        assert "could not be read: The secret of the key …1234 was wiped" in note

    def test_refused_when_the_list_has_lost_the_id(self, doubtful, ana, provider):
        VirtualNumber.objects.create(
            credential=Credential.objects.get(),
            provider_id=77,
            phone_number=NUMBER,
            first_seen_seq=0,
            first_seen_at=clock.now(),
            gone_at=clock.now(),
            confirmed_gone_at=clock.now(),
        )
        with pytest.raises(problems.Problem, match="no number with id 77"):
            was_bought(doubtful, ana)

    def test_refused_when_the_whole_list_lacks_the_id(self, doubtful, ana):
        with pytest.raises(problems.Problem, match="no number with id 77"):
            was_bought(doubtful, ana)

    def test_refused_when_another_number_stands_under_the_id(self, doubtful, ana, provider):
        provider.owned_numbers = [owned("+12125550199", 77)]
        with pytest.raises(problems.Problem, match=r"\+12125550199"):
            was_bought(doubtful, ana)

    def test_refused_when_another_record_has_the_id(self, doubtful, ana, team, sam, provider):
        other = factories.request(team, sam, ["+12125550102"]).purchases.get()
        Purchase.objects.filter(pk=other.pk).update(state=State.PURCHASED, provider_id=77)
        provider.owned_numbers = [owned(NUMBER, 77)]
        with pytest.raises(problems.Problem, match="already belongs"):
            was_bought(doubtful, ana)

    @pytest.mark.parametrize("loses", LOSES.values(), ids=LOSES)
    def test_refused_when_the_role_or_the_account_is_lost_while_the_list_is_read(
        self, doubtful, ana, provider, loses
    ):
        provider.owned_numbers = [owned(NUMBER, 77)]
        during(provider, OWNED, lambda: loses(ana))
        before = factories.actions(doubtful)
        with pytest.raises(problems.NotYours, match="has to decide this"):
            was_bought(doubtful, ana)
        assert (factories.state_of(doubtful), factories.actions(doubtful)) == (State.HELD, before)

    def test_refused_when_another_record_gets_the_id_while_the_list_is_read(
        self, doubtful, ana, tom, team, sam, provider
    ):
        """The list cannot be read, so only people's word counts: the first one."""
        provider.owned_answer = (500, {}, "")
        other = factories.approve(factories.request(team, sam, ["+12125550102"]), ana)[0]
        Purchase.objects.filter(pk=other.pk).update(state=State.HELD)
        Attempt.objects.create(**{**Attempt.objects.values().get(), "id": None, "purchase_id": other.pk})
        in_between = iter([lambda: was_bought(Purchase.objects.get(pk=other.pk), tom)])
        during(provider, OWNED, lambda: [act() for act in in_between])
        with pytest.raises(problems.Problem, match="already belongs"):
            was_bought(doubtful, ana)
        assert list(Purchase.objects.order_by("pk").values_list("state", "provider_id")) == [
            (State.HELD, None),
            (State.PURCHASED, 77),
        ]

    @pytest.mark.parametrize("provider_id", [0, -1, 2**63])
    def test_refused_for_what_is_no_id(self, doubtful, ana, provider_id):
        with pytest.raises(problems.Problem, match="whole number"):
            was_bought(doubtful, ana, provider_id=provider_id)

    @pytest.mark.parametrize(
        "answer", [(500, {}, ""), requests.ReadTimeout(), (401, {}, "")], ids=["500", "timeout", "401"]
    )
    def test_an_unreadable_list_is_recorded_with_the_word_of_the_person(
        self, doubtful, ana, provider, answer
    ):
        provider.owned_answer = answer
        assert was_bought(doubtful, ana).state == State.PURCHASED
        assert "could not be read" in doubtful.events.order_by("-seq").first().note

    def test_a_list_that_is_not_whole_is_recorded(self, doubtful, ana, provider):
        provider.owned_numbers = [owned("+12125550188", 1)]
        check(doubtful)
        provider.owned_numbers = []
        assert was_bought(doubtful, ana).state == State.PURCHASED
        assert "not complete" in doubtful.events.order_by("-seq").first().note

    def test_a_lost_encryption_key_is_recorded(self, doubtful, ana, settings):
        from cryptography.fernet import Fernet

        settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        assert was_bought(doubtful, ana).state == State.PURCHASED
        assert "could not be read" in doubtful.events.order_by("-seq").first().note

    def test_not_what_was_never_in_doubt(self, dearer, ana):
        with pytest.raises(problems.Problem):
            was_bought(dearer, ana)

    def test_who_comes_after_the_evidence_reads_that_it_is_bought(self, doubtful, ana, provider):
        provider.owned_numbers = [owned(NUMBER, 77)]
        check(doubtful)
        with pytest.raises(problems.AlreadyMoved, match="has already been bought"):
            was_bought(doubtful, ana)


class TestTryAgain:
    def test_it_is_a_new_approval_and_one_more_call(self, doubtful, ana, provider):
        try_again(doubtful, ana)
        assert factories.state_of(doubtful) == State.APPROVED
        assert Approval.objects.filter(superseded_at=None).count() == 1
        assert Approval.objects.count() == 2
        provider.sells(NUMBER, 78)
        assert buy(doubtful).state == State.PURCHASED
        assert [attempt.outcome for attempt in Attempt.objects.all()] == [
            Outcome.UNCONFIRMED,
            Outcome.PURCHASED,
        ]

    def test_too_early_it_is_refused(self, approved, provider, ana):
        provider.answer_purchase(requests.ReadTimeout())
        held = buy(approved)
        Purchase.objects.update(window_ends_at=clock.now())
        sweep.run()
        for clean in range(3):
            assert OwnedRead.objects.filter(began_after__gte=Attempt.objects.get().ended_seq).count() == clean
            with pytest.raises(problems.Problem, match="Too early"):
                try_again(held, ana)
            check(held)
        try_again(held, ana)

    def test_it_is_not_for_what_was_not_in_doubt(self, dearer, ana):
        with pytest.raises(problems.Problem):
            try_again(dearer, ana)

    def test_when_the_list_shows_it_before_the_second_call_nothing_is_sent(self, doubtful, ana, provider):
        try_again(doubtful, ana)
        provider.owned_numbers = [owned(NUMBER, 77)]
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=2))
        bought = buy(doubtful)
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 77)
        assert len(provider.purchases) == 1

    def test_its_look_begins_after_the_last_attempt_ended(self, doubtful, ana, provider):
        """A read from before the second attempt does not serve the third, however recent."""
        try_again(doubtful, ana)
        provider.answer_purchase(requests.ReadTimeout())
        assert buy(doubtful).state == State.UNCONFIRMED
        reads = OwnedRead.objects.count()
        Purchase.objects.update(state=State.APPROVED)
        buy(doubtful)
        assert OwnedRead.objects.count() == reads + 1

    def test_cancelled_it_waits_for_a_decision_again_since_it_may_have_been_bought(
        self, doubtful, ana, sam, provider
    ):
        try_again(doubtful, ana)
        workflow.cancel(doubtful.request_id, [doubtful.pk], actor=actor(sam))
        purchase = Purchase.objects.get()
        assert (purchase.state, purchase.held_cause) == (State.HELD, Cause.DOUBT)
        calls = len(provider.purchases)
        assert buy(doubtful).state == State.HELD
        assert len(provider.purchases) == calls

    def test_a_dearer_offer_is_approved_with_the_price_that_was_shown(self, doubtful, ana, provider):
        provider.offers = [offer(NUMBER, "1.00", "3.00")]
        OfferLook.objects.all().delete()
        offers.find_offer(ApiKey.objects.get(), doubtful)
        with pytest.raises(problems.AlreadyMoved, match="price has changed"):
            try_again(doubtful, ana, seen=(Decimal("1.00"), Decimal("2.00")))
        try_again(doubtful, ana, seen=(Decimal("1.00"), Decimal("3.00")))
        provider.sells(NUMBER)
        bought = buy(doubtful)
        assert (bought.state, bought.monthly_cost) == (State.PURCHASED, Decimal("3.00"))

    def test_an_unconfirmed_cost_is_asked_for_again(self, doubtful, ana, provider):
        Purchase.objects.update(cost_confirmed_at=None)
        provider.offers = []
        OfferLook.objects.all().delete()
        try_again(doubtful, ana)
        assert buy(doubtful).held_cause == Cause.COST_UNKNOWN

    def test_what_is_ours_since_before_the_order_is_not_tried_again(self, doubtful, ana):
        VirtualNumber.objects.create(
            credential=Credential.objects.get(),
            provider_id=7,
            phone_number=NUMBER,
            first_seen_seq=0,
            first_seen_at=clock.now(),
        )
        found = evidence.about(doubtful)
        assert (found.clean, found.may_try_again, found.owned_before) == (0, False, 7)
        with pytest.raises(problems.Problem, match="yours already"):
            try_again(doubtful, ana)

    def test_while_it_waits_the_list_may_still_show_that_the_first_call_bought_it(
        self, doubtful, ana, tom, team, provider
    ):
        try_again(doubtful, ana)
        stop_buying.stop(team, actor=actor(tom), reason="Wait")
        buy(doubtful)
        provider.owned_numbers = [owned(NUMBER, 77)]
        Purchase.objects.update(due_at=clock.now())
        evidence.gather(ApiKey.objects.get().pk)
        assert Purchase.objects.get().state == State.PURCHASED
        assert len(provider.purchases) == 1

    def test_the_list_of_another_key_proves_nothing(self, doubtful, ana, team, provider):
        """The new key's account held the number all along; nobody can know whether the lost call bought it."""
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        try_again(doubtful, ana)
        provider.owned_with[NEW] = [owned(NUMBER, 7)]
        held = buy(doubtful)
        assert (held.state, held.held_cause) == (State.HELD, Cause.DOUBT)
        assert "another key" in held.held_words
        assert len(provider.purchases) == 1

    def test_a_new_key_buys_and_the_old_one_is_still_read(self, doubtful, ana, team, provider):
        first = Attempt.objects.get()
        keys.set_key(team, "idc_" + "n" * 32, actor=factories.SYSTEM)
        try_again(doubtful, ana)
        provider.answer_purchase(requests.ReadTimeout())
        assert buy(doubtful).state == State.UNCONFIRMED
        assert Attempt.objects.last().key != first.key
        provider.owned_numbers = [owned(NUMBER, 77)]
        Purchase.objects.update(due_at=clock.now())
        evidence.gather(first.key_id)
        assert Purchase.objects.get().bought_with == first.key

    def test_what_the_new_key_shows_was_bought_by_the_call_with_it(self, doubtful, ana, team, provider):
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        try_again(doubtful, ana)
        assert buy(doubtful).state == State.UNCONFIRMED
        second = Attempt.objects.last()
        provider.owned_with[NEW] = [owned(NUMBER, 77)]
        Purchase.objects.update(due_at=clock.now())
        evidence.gather(second.key_id)
        assert Purchase.objects.get().bought_with == second.key

    def test_with_a_new_key_the_list_of_the_old_one_is_read_before_the_second_call(
        self, doubtful, ana, team, provider
    ):
        first = ApiKey.objects.get()
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        try_again(doubtful, ana)
        provider.owned_numbers, provider.owned_with[NEW] = [owned(NUMBER, 77)], []
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=2))
        bought = buy(doubtful)
        assert (bought.state, bought.provider_id, bought.bought_with) == (State.PURCHASED, 77, first)
        assert len(provider.purchases) == 1

    @pytest.mark.parametrize("gone", ["refused", "wiped"])
    def test_what_the_old_key_has_shown_counts_also_when_it_is_gone(
        self, doubtful, ana, team, provider, gone
    ):
        first = ApiKey.objects.get()
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        try_again(doubtful, ana)
        provider.owned_numbers, provider.owned_with[NEW] = [owned(NUMBER, 77)], []
        owned_list.read(first)  # for another number, say
        factories.lose(ApiKey.objects.filter(pk=first.pk), gone)
        assert buy(doubtful).provider_id == 77
        assert len(provider.purchases) == 1

    def test_without_the_old_key_the_new_one_buys(self, doubtful, ana, team, provider):
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        try_again(doubtful, ana)
        ApiKey.objects.exclude(retired_at=None).update(secret=None)
        provider.sells(NUMBER)
        assert buy(doubtful).state == State.PURCHASED
        assert len(provider.purchases) == 2

    def test_when_it_is_held_for_its_price_the_first_call_is_still_watched(self, doubtful, ana, provider):
        try_again(doubtful, ana)
        provider.offers = [offer(NUMBER, "1.50", "3.00")]
        OfferLook.objects.all().delete()
        held = buy(doubtful)
        assert (held.state, held.held_cause) == (State.HELD, Cause.PRICE)
        assert held.due_at <= clock.now()
        provider.owned_numbers = [owned(NUMBER, 77)]
        evidence.gather(ApiKey.objects.get().pk)
        assert factories.state_of(held) == State.PURCHASED

    def test_it_is_kept_at_the_cost_of_the_call_that_bought_it(self, doubtful, ana, provider):
        provider.offers = [offer(NUMBER, "0.50", "0.75")]
        OfferLook.objects.all().delete()
        offers.find_offer(ApiKey.objects.get(), doubtful)
        try_again(doubtful, ana)
        assert Purchase.objects.get().monthly_cost == Decimal("0.75")
        provider.owned_numbers = [owned(NUMBER, 77)]
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=2))
        bought = buy(doubtful)
        assert (bought.state, bought.upfront_cost, bought.monthly_cost) == (
            State.PURCHASED,
            Decimal("1.00"),
            Decimal("2.00"),
        )


class TestApproveAgain:
    def test_the_price_that_was_seen_is_what_is_bought(self, dearer, ana, provider):
        approve_again(dearer, ana)
        provider.sells(NUMBER)
        assert buy(dearer).state == State.PURCHASED
        assert Approval.objects.get(superseded_at=None).monthly_cost == Decimal("3.00")
        assert provider.purchases[0]["monthly_cost"] == "3.00"

    @pytest.mark.parametrize(
        "seen", [None, (Decimal("1.50"), Decimal("2.00")), (Decimal("1.00"), Decimal("2.00"))]
    )
    def test_another_price_than_the_page_showed_is_refused(self, dearer, ana, seen):
        with pytest.raises(problems.AlreadyMoved, match="price has changed"):
            approve_again(dearer, ana, seen=seen)
        assert factories.state_of(dearer) == State.HELD

    @pytest.mark.parametrize("shown", [("1.00", None), (None, "2.00")])
    def test_an_offer_with_a_cost_that_cannot_be_read_is_no_price_to_approve(
        self, dearer, ana, provider, shown
    ):
        provider.offers = [offer(NUMBER, *shown)]
        OfferLook.objects.all().delete()
        offers.find_offer(ApiKey.objects.get(), dearer)
        assert held_purchases.offer_now(dearer)[0] is None
        approve_again(dearer, ana, seen=None)
        assert buy(dearer).held_cause == Cause.COST_UNKNOWN
        assert provider.purchases == []

    def test_nothing_is_due_while_it_waits_for_that(self, dearer):
        assert dearer.due_at is None

    def test_dearer_again_is_held_again(self, dearer, ana, provider):
        approve_again(dearer, ana)
        provider.offers = [offer(NUMBER, "1.50", "3.01")]
        OfferLook.objects.all().delete()
        assert buy(dearer).held_cause == Cause.PRICE

    @pytest.mark.parametrize("anyway", [False, True])
    def test_where_no_list_shows_it_any_more_the_cost_that_was_asked_before_is_not_confirmed(
        self, dearer, ana, provider, anyway
    ):
        """The last list asked more; a person has to confirm that the cost is not higher now, in these words."""
        Purchase.objects.update(cost_confirmed_at=clock.now() - timedelta(hours=1))  # before it got dearer
        provider.offers = []
        OfferLook.objects.all().delete()
        approve_again(dearer, ana, seen=None, unconfirmed_cost_ok=anyway)
        provider.sells(NUMBER)
        after = buy(dearer)
        assert (after.state, after.held_cause) == (
            (State.PURCHASED, "") if anyway else (State.HELD, Cause.COST_UNKNOWN)
        )
        assert [sent["monthly_cost"] for sent in provider.purchases] == (["2.00"] if anyway else [])

    def test_after_the_approver_left_another_one_approves(self, approved, ana, team, provider):
        Membership.objects.filter(user=ana).delete()
        held = buy(approved)
        assert held.held_cause == Cause.APPROVER
        eve = factories.member("eve", team, "approver")
        approve_again(held, eve, seen=(Decimal("1.00"), Decimal("2.00")))
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED
        assert Approval.objects.get(superseded_at=None).approver == eve

    def test_what_is_in_doubt_is_not_approved_as_if_it_were_not(self, doubtful, ana):
        with pytest.raises(problems.Problem, match="may have been bought"):
            approve_again(doubtful, ana, seen=None)


class TestGiveUp:
    def test_in_doubt_it_is_watched(self, doubtful, ana):
        assert give_up(doubtful, ana).state == State.GIVEN_UP
        assert Purchase.objects.get().due_at is not None

    def test_not_in_doubt_it_is_over(self, dearer, ana, team, sam):
        assert give_up(dearer, ana).state == State.FAILED
        factories.request(team, sam, [NUMBER])

    @pytest.mark.parametrize("state", sorted(set(State) - {State.HELD}))
    def test_only_what_is_held(self, doubtful, ana, state):
        Purchase.objects.update(state=state)
        with pytest.raises(problems.AlreadyMoved):
            give_up(doubtful, ana)
        assert factories.state_of(doubtful) == state


def test_a_second_decision_on_the_same_page_finds_it_decided(doubtful, ana, tom):
    give_up(doubtful, ana)
    for decide in (give_up, try_again, was_bought):
        with pytest.raises(problems.Problem):
            decide(doubtful, ana)
    assert factories.actions(doubtful).count("purchase.given_up") == 1


def test_nothing_is_sent_for_what_waits_for_a_person(doubtful, provider):
    for _ in range(3):
        procurement.buy(doubtful.pk)
        sweep.run()
    assert len(provider.purchases) == 1
    assert Credential.objects.get().doubts_in_a_row == 0
