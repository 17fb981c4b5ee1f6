"""How the campaign compares paid with approved costs when prices rise and lists lack the number."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from bench.chaos import verdict
from bench.chaos.mischief import Price

NUMBER = "+12125550101"
CLAIMED = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALLED = CLAIMED + timedelta(seconds=1)
SEEN, ROSE = CLAIMED - timedelta(minutes=9), CLAIMED - timedelta(minutes=4)
COSTS = {"upfront_cost": Decimal("1.00"), "monthly_cost": Decimal("2.00")}


def judged(
    *,
    shown,
    confirmed_at,
    confirmed_then=True,
    rose_at=ROSE,
    fell_at=None,
    at_first=COSTS,
    approved_at=CLAIMED - timedelta(minutes=1),
    anyway=False,
):
    """The problem found, or None, for a number approved at 1.00 that costs 1.50 from `rose_at` (to `fell_at`)."""
    data = {"cost_confirmed_at": (CLAIMED - timedelta(seconds=5)).isoformat()} if shown else {}
    event = SimpleNamespace(seq=9, attempt_id=4, data=data)
    changes = [(rose_at, "1.50"), (fell_at, "1.00")] if fell_at else [(rose_at, "1.50")]
    prices = [Price(NUMBER, cost, at, at + timedelta(seconds=0.2)) for at, cost in changes]
    mischief = SimpleNamespace(prices=prices)
    books = SimpleNamespace(
        events={7: [event]},
        purchases={7: SimpleNamespace(cost_confirmed_at=confirmed_at)},
        campaign=SimpleNamespace(offers={NUMBER: at_first}, mischief=mischief),
    )
    attempt = SimpleNamespace(pk=4, purchase_id=7, claimed_seq=9, claimed_at=CLAIMED)
    approval = SimpleNamespace(purchase_id=7, unconfirmed_cost_ok=anyway, created_at=approved_at, **COSTS)
    entry = {"phone_number": NUMBER, "payload": {"upfront_cost": "1.00", "monthly_cost": "2.00"}}
    terms = {"cost_confirmed": confirmed_then}
    return verdict._otherwise_than_approved(books, entry, terms, approval, attempt, CALLED)


def test_a_price_that_the_look_before_the_claim_showed_may_not_be_dearer():
    assert "upfront_cost was approved as 1.00" in judged(shown=True, confirmed_at=CLAIMED)


def test_one_that_rose_since_the_look_may_be():
    assert judged(shown=True, confirmed_at=CLAIMED, rose_at=CLAIMED - timedelta(seconds=20)) is None


def test_where_the_list_lacked_the_number_the_last_confirmed_cost_stands():
    assert judged(shown=False, confirmed_at=SEEN) is None


@pytest.mark.parametrize("anyway", [True, False])
def test_but_not_when_that_cost_was_dearer_already(anyway):
    late = ROSE + timedelta(seconds=1)
    assert "upfront_cost was approved as 1.00" in judged(shown=False, confirmed_at=late, anyway=anyway)


def test_its_list_may_be_read_later_than_the_first_of_the_request_was_asked_for():
    fell_at = ROSE + timedelta(seconds=30)
    assert judged(shown=False, confirmed_at=fell_at - timedelta(seconds=9), fell_at=fell_at) is None


def test_but_not_later_than_the_approval_that_used_its_cost():
    fell_at = ROSE + timedelta(seconds=30)
    dearer = {"confirmed_at": ROSE + timedelta(seconds=9), "approved_at": ROSE + timedelta(seconds=20)}
    assert "never less than 1.50" in judged(shown=False, fell_at=fell_at, **dearer)


def test_while_a_price_is_being_changed_the_list_may_show_the_one_before():
    assert judged(shown=False, confirmed_at=ROSE + timedelta(seconds=0.1)) is None


def test_an_unlisted_cost_needs_an_approval_of_unconfirmed_costs():
    never = {"shown": False, "confirmed_at": None, "confirmed_then": False}
    assert "no list had shown its price" in judged(**never)
    assert judged(**never, anyway=True) is None


def test_when_its_time_is_overwritten_any_time_before_the_approval_counts():
    later = CALLED + timedelta(minutes=1)
    assert judged(shown=False, confirmed_at=later) is None
    dearer = {"upfront_cost": "1.20", "monthly_cost": "2.00"}
    assert "never less than 1.20" in judged(shown=False, confirmed_at=later, at_first=dearer)


def test_the_table_ends_with_what_is_bad():
    """A log that is cut in the middle still has its end."""
    found = verdict.Verdict(sins={"bought twice": ["+12125550101: twice"]}, others={"audit chain broken": []})
    assert verdict.ending(found)[-2:] == ["BAD:", "  bought twice: +12125550101: twice"]
    assert verdict.ending(verdict.Verdict())[-1] == "GOOD: none of this happened."
