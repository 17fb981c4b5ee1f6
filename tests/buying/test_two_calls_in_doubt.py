"""Two calls are in doubt and the list shows the number: which of them the record names, and at what cost.

Nobody can tell which of them it was, so the dearer one counts: no budget is charged too little.
"""

from datetime import timedelta
from decimal import Decimal

import pytest
import requests

from purchasing import clock
from purchasing.models import ApiKey, Attempt, OfferLook, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import offers
from purchasing.states import Outcome, State
from purchasing.teams import budgets
from tests import factories
from tests.buying.test_held_purchases import try_again
from tests.buying.test_procurement import buy, check, open_try_again
from tests.healthy_provider import offer, owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"

# The costs of the second call, where the first was sent at 1.00 once and 2.00 a month; and which of them is dearer.
SECOND = {
    "the first, as the second is cheaper": (("0.50", "0.75"), 0),
    "the second, as it costs more a month": (("1.00", "2.01"), 1),
    "the second, as it costs more once": (("1.01", "2.00"), 1),
    "the first, as both costs together are less": (("0.50", "2.25"), 0),
    "the first, of equals": (("1.00", "2.00"), 0),
}
both_ways = pytest.mark.parametrize(("costs", "dearer"), SECOND.values(), ids=SECOND.keys())


@pytest.fixture
def call_twice(approved, provider, ana):
    """Two calls whose answers were lost; the second was approved at these costs."""

    def call(*costs):
        provider.answer_purchase(requests.ReadTimeout())
        held = open_try_again(buy(approved))
        _order_at(held, provider, ana, *costs)
        assert buy(held).state == State.UNCONFIRMED
        return Purchase.objects.get()

    return call


def _order_at(held, provider, ana, *costs):
    """Let a person order another try at these costs, which IdentityCall's list shows."""
    provider.offers = [offer(NUMBER, *costs)]
    OfferLook.objects.all().delete()
    offers.find_offer(ApiKey.objects.get(), held)
    try_again(held, ana)


def _recorded(purchase):
    """The costs that are kept, and which of the calls the record names, from 0."""
    event = purchase.events.get(action="purchase.purchased")
    return (
        (purchase.state, purchase.upfront_cost, purchase.monthly_cost),
        list(Attempt.objects.order_by("pk")).index(event.attempt),
    )


def _expected(costs, dearer):
    return (State.PURCHASED, *map(Decimal, [("1.00", "2.00"), costs][dearer])), dearer


@both_ways
def test_a_read_of_the_list_settles_it_at_the_dearer(call_twice, provider, team, costs, dearer):
    purchase = call_twice(*costs)
    provider.owned_numbers = [owned(NUMBER, 77)]
    bought = check(purchase)
    assert _recorded(bought) == _expected(costs, dearer)
    assert budgets.of(team).committed == bought.upfront_cost + bought.monthly_cost


@both_ways
def test_the_look_before_a_third_call_settles_it_at_the_dearer(call_twice, provider, ana, costs, dearer):
    held = open_try_again(call_twice(*costs))
    _order_at(held, provider, ana, "0.10", "0.20")
    provider.owned_numbers = [owned(NUMBER, 77)]
    OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=2))
    assert _recorded(buy(held)) == _expected(costs, dearer)
    assert len(provider.purchases) == 2


class TestACallFromAfterTheNumberWasFirstShown:
    """It cannot have bought it, however dear it was: the list lost the number for a while, and shows it again."""

    @pytest.fixture
    def shown_before_the_second(self, call_twice):
        purchase = call_twice("1.50", "3.00")
        first, second = Attempt.objects.order_by("pk")
        VirtualNumber.objects.create(
            credential=first.key.credential,
            provider_id=77,
            phone_number=NUMBER,
            first_seen_seq=second.claimed_seq - 1,
            first_seen_at=clock.now(),
            gone_at=clock.now(),
            confirmed_gone_at=clock.now(),
        )
        return purchase

    def test_does_not_count_for_a_read(self, shown_before_the_second, provider):
        provider.owned_numbers = [owned(NUMBER, 77)]
        assert _recorded(check(shown_before_the_second)) == _expected((), 0)

    def test_does_not_count_for_a_look(self, shown_before_the_second, provider, ana):
        held = open_try_again(shown_before_the_second)
        _order_at(held, provider, ana, "1.50", "3.00")
        provider.owned_numbers = [owned(NUMBER, 77)]
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=2))
        assert _recorded(buy(held)) == _expected((), 0)


def test_a_call_without_a_known_cost_is_not_the_dearer(team, sam, ana, provider):
    """Its cost is unknown; the money then counts for the call whose costs were known."""
    request = factories.request(team, sam, [NUMBER], upfront_cost=None, monthly_cost=None)
    provider.offers = []
    provider.answer_purchase(requests.ReadTimeout())
    held = open_try_again(buy(factories.approve(request, ana, unconfirmed_cost_ok=True)[0]))
    _order_at(held, provider, ana, "1.00", "2.00")
    assert buy(held).state == State.UNCONFIRMED
    provider.owned_numbers = [owned(NUMBER, 77)]
    assert _recorded(check(held)) == ((State.PURCHASED, Decimal("1.00"), Decimal("2.00")), 1)
    assert list(Attempt.objects.values_list("outcome", flat=True)) == [Outcome.UNCONFIRMED] * 2
