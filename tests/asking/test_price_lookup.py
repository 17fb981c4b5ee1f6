"""Looking up what pending numbers cost in IdentityCall's list, after the request is sent."""

from datetime import timedelta
from decimal import Decimal

import pytest
import requests
from django_tasks_db.models import DBTaskResult

from purchasing import clock
from purchasing.asking import price_lookup
from purchasing.buying import procurement
from purchasing.models import ApiKey, Credential, Desk, OfferLook, Purchase
from purchasing.provider import offers
from tests import factories
from tests.healthy_provider import offer

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"


def confirm(request):
    price_lookup.confirm(request.pk)
    request.refresh_from_db()
    return request.purchases.get()


def test_the_same_cost_is_confirmed_with_the_time_it_was_seen(pending, provider):
    purchase = confirm(pending)
    assert purchase.cost_confirmed_at == OfferLook.objects.get().began_at
    assert (purchase.features, purchase.region) == ("voice, sms", "US")


def test_another_cost_replaces_it_and_voids_the_older_page(pending, provider):
    provider.offers = [offer(NUMBER, "1.00", "2.50")]
    purchase = confirm(pending)
    assert (purchase.monthly_cost, purchase.version, pending.version) == (Decimal("2.50"), 2, 2)


def test_what_the_list_showed_before_the_request_was_sent_confirms_nothing(team, sam, provider):
    offers.available(ApiKey.objects.get(), country_code="US", number_type="local")
    provider.offers = [offer(NUMBER, "1.00", "9.00")]  # the price has risen since
    request = factories.request(team, sam, [NUMBER])
    assert confirm(request).monthly_cost == Decimal("9.00")


def test_a_number_that_is_not_listed_is_not_confirmed(pending, provider):
    provider.offers = []
    assert confirm(pending).cost_confirmed_at is None


@pytest.mark.parametrize("cost", [None, "", "NaN", "-1", "1,00", "1e400"])
def test_an_unknown_cost_confirms_nothing_and_is_never_0(pending, provider, cost):
    provider.offers = [offer(NUMBER, "1.00", cost)]
    purchase = confirm(pending)
    assert (purchase.cost_confirmed_at, purchase.monthly_cost) == (None, Decimal("2.00"))


@pytest.mark.parametrize(
    "answer", [requests.ReadTimeout(), (500, {}, ""), (200, {}, "<"), (404, {}, '{"error": "No"}')]
)
def test_a_look_that_fails_changes_nothing(pending, provider, answer):
    provider.offers_answer = answer
    assert confirm(pending).cost_confirmed_at is None
    provider.offers_answer = None
    before = len(provider.calls)
    assert confirm(pending).cost_confirmed_at is None
    assert len(provider.calls) == before  # not again at once
    OfferLook.objects.update(failed_at=clock.now() - timedelta(seconds=20))
    assert confirm(pending).cost_confirmed_at is not None


def test_a_refused_key_and_a_429_are_noticed(pending, provider):
    provider.offers_answer = (429, {"Retry-After": "30"}, "")
    confirm(pending)
    assert Credential.objects.get().paused_until > clock.now()
    before = len(provider.calls)
    confirm(pending)
    assert len(provider.calls) == before  # a paused key is not used
    Credential.objects.update(paused_until=None)
    OfferLook.objects.all().delete()
    provider.offers_answer = (401, {}, "")
    confirm(pending)
    assert Credential.objects.get().refused_at is not None


def test_during_a_pause_of_the_provider_nothing_is_asked_but_after_its_end(pending, provider):
    Desk.objects.update(paused_until=clock.now() + timedelta(minutes=1))
    assert confirm(pending).cost_confirmed_at is None
    Desk.objects.update(paused_until=clock.now() + timedelta(hours=2))  # by a clock that has gone back
    assert confirm(pending).cost_confirmed_at is not None


def test_what_is_decided_is_left_alone(approved, provider):
    provider.offers = [offer(NUMBER, "9.00", "9.00")]
    price_lookup.confirm(approved.request_id)
    approved.refresh_from_db()
    assert approved.monthly_cost == Decimal("2.00")
    assert provider.calls == []


def test_a_team_without_a_key_and_a_request_that_is_gone_end_quietly(provider, db):
    team = factories.team(key=None)
    request = factories.request(team, factories.member("sam", team, "requester"), [NUMBER])
    price_lookup.confirm(request.pk)
    price_lookup.confirm(987654)
    assert provider.calls == []


class TestAskingAgain:
    def tasks(self):
        return DBTaskResult.objects.filter(task_path="purchasing.tasks.confirm_costs").count()

    def test_once_while_it_is_on_its_way(self, pending):
        DBTaskResult.objects.all().delete()
        price_lookup.ask_again(pending), price_lookup.ask_again(pending)
        assert self.tasks() == 1

    def test_not_within_a_minute_of_the_last_look(self, pending, provider):
        confirm(pending)
        DBTaskResult.objects.all().delete()
        price_lookup.ask_again(pending)
        assert self.tasks() == 0
        Purchase.objects.update(cost_confirmed_at=clock.now() - timedelta(seconds=61))
        price_lookup.ask_again(pending)
        assert self.tasks() == 1


class TestLookingAgain:
    def test_a_held_purchases_page_gets_todays_price(self, approved, provider):
        provider.offers = [offer(NUMBER, "1.50", "3.00")]
        procurement.buy(approved.pk)
        provider.offers = [offer(NUMBER, "1.75", "3.00")]
        OfferLook.objects.update(began_at=clock.now() - timedelta(minutes=2))
        price_lookup.look_again(approved.pk)
        shown, _ = offers.last_offer(ApiKey.objects.get(), approved)
        assert shown.upfront_cost == Decimal("1.75")

    def test_not_for_what_is_not_held(self, pending, provider):
        price_lookup.look_again(pending.purchases.get().pk)
        price_lookup.look_again(987654)
        assert provider.calls == []


def test_while_purchases_use_the_rate_it_is_tried_again_when_its_share_allows(team, sam, ana, provider):
    factories.approve(factories.request(team, sam, ["+12125550102"]), ana)
    Credential.objects.update(rate_per_minute=60, next_behind_at=clock.now() + timedelta(seconds=19))
    pending = factories.request(team, sam, [NUMBER])
    DBTaskResult.objects.all().delete()
    assert confirm(pending).cost_confirmed_at is None
    assert provider.calls == []
    [planned] = DBTaskResult.objects.all()
    assert planned.task_path == "purchasing.tasks.confirm_costs"
    assert clock.now() < planned.run_after < clock.now() + timedelta(seconds=15)
