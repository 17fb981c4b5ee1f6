"""The pace of a key: how its rate is shared out, and who goes first."""

from datetime import timedelta

import pytest
from django.utils import timezone

from purchasing import clock
from purchasing.models import Credential, Purchase
from purchasing.provider import pauses, turns
from purchasing.states import State
from tests import factories

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"


class Time:
    """A clock that only a test and our own waiting move on. Times are seconds since its start."""

    def __init__(self, monkeypatch):
        self.began_at, self.passed = timezone.now(), 0.0
        monkeypatch.setattr(clock, "now", lambda: self.began_at + timedelta(seconds=self.passed))
        monkeypatch.setattr(turns.time, "sleep", self.wait)

    def wait(self, seconds):
        self.passed += seconds


@pytest.fixture
def time(monkeypatch):
    return Time(monkeypatch)


@pytest.fixture
def key(team):
    return pauses.current_key(team)


def at_rate(key, rate):
    Credential.objects.filter(pk=key.credential_id).update(rate_per_minute=rate)


def taken(key, time, **options):
    """The time at which a turn was taken, or None; the clock of the others does not wait with it."""
    began = time.passed
    try:
        turns.take_turn(key, patience=options.pop("patience", 20), **options)
        return time.passed
    except turns.Busy:
        return None
    finally:
        time.passed = began


@pytest.mark.parametrize("rate", [6, 10, 60, 300])
@pytest.mark.parametrize("due", [True, False], ids=["purchases due", "nothing due"])
def test_no_minute_sees_more_calls_than_the_plan_allows(key, time, team, sam, ana, rate, due):
    at_rate(key, rate)
    if due:
        factories.approve(factories.request(team, sam, [NUMBER]), ana)
    calls = []
    for _ in range(150 * rate // 60):
        for options in ({}, {"places": 2}, {"behind": True, "patience": 0}):
            at = taken(key, time, **options)
            if at is not None:
                calls += [at] * options.get("places", 1)
        time.passed += 60 / rate
    calls.sort()
    assert len(calls) > rate
    for place, first in enumerate(calls):
        assert sum(at < first + 60 for at in calls[place:]) <= rate


def test_a_tenth_of_the_rate_at_once_then_spread(key, time):
    at_rate(key, 60)
    waits = [taken(key, time) for _ in range(14)]
    assert waits[:6] == [0] * 6
    assert waits == sorted(waits)
    assert 9 < waits[-1] < 10


def test_what_goes_behind_leaves_half_of_that_to_purchases(key, time):
    at_rate(key, 60)
    behind = [taken(key, time, behind=True, patience=0) for _ in range(10)]
    assert behind.count(0) == 3 + 1  # half of the burst, and one of the share that is kept for it
    assert [taken(key, time, patience=0) for _ in range(3)] == [0, 0, 0]


def test_while_a_purchase_is_due_what_goes_behind_gets_5_percent(key, time, team, sam, ana):
    at_rate(key, 60)
    factories.approve(factories.request(team, sam, [NUMBER]), ana)
    first, behind = 0, 0
    for second in range(120):
        time.passed = second
        first += taken(key, time, patience=1) is not None
        behind += taken(key, time, behind=True, patience=0) is not None
    assert behind == 2 * 3
    assert first >= 2 * 51


@pytest.mark.parametrize(
    "fields, is_first",
    [
        ({"state": State.APPROVED}, True),
        ({"state": State.UNCONFIRMED}, True),
        ({"state": State.PURCHASED, "record_calls": False}, True),
        ({"state": State.PURCHASED, "record_calls": True}, False),
        ({"state": State.PURCHASED, "record_calls": False, "applied_at": timezone.now()}, False),
        ({"state": State.PENDING}, False),
        ({"state": State.APPROVED, "due_at": timedelta(minutes=5)}, False),
    ],
)
def test_what_goes_first(key, time, team, sam, fields, is_first):
    fields = dict(fields)
    at_rate(key, 60)
    factories.request(team, sam, [NUMBER])
    due_in = fields.pop("due_at", timedelta(0))
    Purchase.objects.update(due_at=clock.now() + due_in, **fields)
    behind = [taken(key, time, behind=True, patience=0) for _ in range(4)]
    assert behind.count(0) == (1 if is_first else 4)


def test_a_place_taken_ahead_follows_its_purchase(key, time):
    at_rate(key, 60)
    for _ in range(6):
        turns.take_turn(key, patience=20)
    place = turns.take_turn(key, patience=20, places=2)
    time.passed += 0.3  # the purchase call
    before = Credential.objects.get().next_call_at
    assert turns.use_place(key, place)
    assert time.passed == pytest.approx(2 * 60 / 51, abs=0.01)
    assert Credential.objects.get().next_call_at == before


def test_a_place_taken_ahead_is_lost_when_its_purchase_took_too_long(key, time):
    place = turns.take_turn(key, patience=20, places=2)
    time.passed += 20
    assert not turns.use_place(key, place)


def test_a_place_taken_ahead_is_not_used_while_the_key_is_paused(key, time):
    place = turns.take_turn(key, patience=20, places=2)
    pauses.pause_key(key.pk, 60)
    with pytest.raises(turns.Busy, match="asked to wait"):
        turns.use_place(key, place)


def test_one_worker_reads_a_list_and_the_others_wait_for_it(key, time):
    with turns.alone(key):
        assert time.passed == 0
        with turns.alone(key):  # the first was killed meanwhile: nobody waits for it for ever
            assert time.passed == pytest.approx(turns.READING, abs=0.1)
    with turns.alone(key):
        assert time.passed == pytest.approx(turns.READING, abs=0.1)
