"""What IdentityCall's lists prove, and the pace at which they are read."""

from datetime import timedelta
from decimal import Decimal

import pytest
import requests

from purchasing import clock
from purchasing.identitycall import errors
from purchasing.models import ApiKey, OfferLook, OwnedRead, VirtualNumber
from purchasing.provider import offers, owned_list, turns
from purchasing.teams import keys
from tests import factories
from tests.healthy_provider import OWNED, during, offer, owned

pytestmark = pytest.mark.django_db
FIRST, SECOND = "+12125550188", "+12125550189"


@pytest.fixture
def key(team):
    return ApiKey.objects.get()


def read(key):
    return owned_list.read(key)


def shown(key):
    """What the last whole list held."""
    return set(VirtualNumber.objects.filter(key=key, gone_at=None).values_list("phone_number", flat=True))


def calls(provider):
    return [path for _, path in provider.calls]


class TestWholeness:
    def test_a_list_that_holds_all_of_the_last_one_is_whole(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        assert read(key).whole
        provider.owned_numbers.append(owned(SECOND, 2))
        assert read(key).whole
        assert shown(key) == {FIRST, SECOND}

    def test_an_empty_list_of_a_key_that_never_showed_any_is_whole(self, key, provider):
        assert read(key).whole

    @pytest.mark.parametrize("left", [[], [owned(FIRST, 1)]], ids=["empty", "half"])
    def test_one_that_lacks_any_proves_nothing_until_the_next_agrees(self, key, provider, left):
        provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2)]
        read(key)
        provider.owned_numbers = left
        lacking = read(key)
        assert (lacking.whole, lacking.well_formed) == (False, True)
        assert shown(key) == {FIRST, SECOND}
        assert read(key).whole
        assert shown(key) == {entry["phone_number"] for entry in left}

    def test_one_that_lacks_others_than_the_last_does_not_agree(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2)]
        read(key)
        provider.owned_numbers = [owned(FIRST, 1)]
        assert not read(key).whole
        provider.owned_numbers = [owned(SECOND, 2)]
        assert not read(key).whole
        assert shown(key) == {FIRST, SECOND}

    def test_a_failed_read_between_two_that_agree_changes_nothing(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        provider.owned_numbers = []
        assert not read(key).whole
        provider.owned_answer = (500, {}, "")
        with pytest.raises(errors.Unreadable):
            read(key)
        provider.owned_answer = None
        assert read(key).whole

    def test_what_a_list_that_is_not_whole_shows_anew_is_not_taken_in(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        provider.owned_numbers = [owned(SECOND, 2)]
        assert not read(key).whole
        assert owned_list.listed(key, SECOND) is None

    def test_an_older_read_that_is_taken_in_late_takes_nothing_away(self, key, provider):
        """Two workers read at once; the one that began earlier ends later."""
        from purchasing import audit
        from purchasing.identitycall.resources import OwnedNumber

        began_after, began_at = audit.position(), clock.now()
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        late = owned_list._keep(key, began_after, began_at, [])
        assert not late.whole
        assert owned_list._keep(key, began_after, began_at, [OwnedNumber(1, FIRST)]).whole
        assert shown(key) == {FIRST}

    def test_a_read_agrees_with_none_that_began_later_whatever_the_clocks_say(
        self, key, provider, monkeypatch
    ):
        """While one worker reads, a worker whose clock is an hour behind reads too, and is done first."""
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        provider.owned_numbers = []
        real, lists = clock.now, []

        def another_worker_reads():
            if not lists:
                lists.append("begun")
                factories.team("Sales", key=None)  # something happens in between
                with monkeypatch.context() as behind:
                    behind.setattr(clock, "now", lambda: real() - timedelta(hours=1))
                    lists.append(read(key))

        during(provider, OWNED, another_worker_reads)
        late = read(key)
        _, other = lists
        assert (other.ended_at < late.began_at, other.began_after > late.began_after) == (True, True)
        assert (other.whole, late.whole) == (False, False)
        assert shown(key) == {FIRST}

    def test_keys_do_not_see_for_each_other(self, key, provider, team):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        other = keys.set_key(team, "idc_" + "n" * 32, actor=factories.SYSTEM)
        provider.owned_numbers = []
        assert read(other).whole
        assert owned_list.listed(other, FIRST) is None
        assert owned_list.listed(key, FIRST) is not None


class TestNumbersSeen:
    def test_a_number_that_comes_back_keeps_the_time_it_was_first_seen(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        first = VirtualNumber.objects.get()
        provider.owned_numbers = []
        read(key), read(key)
        assert VirtualNumber.objects.get().gone_at is not None
        factories.team("Sales", key=None)  # something happens in between
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        again = VirtualNumber.objects.get()
        assert (again.gone_at, again.first_seen_seq) == (None, first.first_seen_seq)

    def test_a_number_that_comes_back_under_another_id_is_another_one(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        provider.owned_numbers = [owned(FIRST, 2)]
        assert read(key).whole
        assert owned_list.listed(key, FIRST).provider_id == 2
        assert VirtualNumber.objects.count() == 2

    @pytest.mark.parametrize(
        "answer",
        [
            (200, {}, "{"),
            (200, {}, '{"data": {}}'),
            (200, {}, '{"data": [{"id": 1}]}'),
            (
                200,
                {},
                '{"data": [{"id": 1, "phone_number": "+12125550188"}, {"id": 2, "phone_number": "+12125550188"}]}',
            ),
            (500, {}, ""),
            (302, {"Location": "/"}, ""),
            (200, {}, ""),
        ],
        ids=["cut", "no list", "no number", "contradiction", "500", "redirect", "empty"],
    )
    def test_what_cannot_be_understood_is_written_down_and_proves_nothing(self, key, provider, answer):
        provider.owned_answer = answer
        with pytest.raises(errors.Unreadable):
            read(key)
        row = OwnedRead.objects.get()
        assert (row.whole, row.well_formed, row.count) == (False, False, None)
        assert row.problem


class TestSharing:
    def test_a_young_whole_read_serves_again(self, key, provider):
        assert owned_list.fresh_read(key) == owned_list.fresh_read(key)
        assert calls(provider) == ["/virtual_numbers"]

    @pytest.mark.parametrize("fault", ["old", "not whole", "began too early", "from the future"])
    def test_any_other_does_not(self, key, provider, fault):
        one = owned_list.fresh_read(key)
        now = clock.now()
        changes = {
            "old": {"began_at": now - timedelta(seconds=61)},
            "not whole": {"whole": False},
            "began too early": {},
            "from the future": {"began_at": now + timedelta(hours=2)},
        }[fault]
        if changes:
            OwnedRead.objects.update(**changes)
        not_before = one.began_after + 1 if fault == "began too early" else 0
        assert owned_list.fresh_read(key, not_before_seq=not_before) != one

    def test_a_new_list_that_proves_nothing_is_not_given_out(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        owned_list.fresh_read(key)
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=2))
        provider.owned_numbers = []
        with pytest.raises(owned_list.NotWhole, match="lacked 1"):
            owned_list.fresh_read(key)


class TestOffers:
    def test_one_look_serves_a_shelf_for_a_minute(self, key, provider):
        for _ in range(3):
            found, _ = offers.available(key, country_code="US", number_type="local")
        assert found["+12125550101"].monthly_cost == Decimal("2.00")
        offers.available(key, country_code="US", number_type="mobile")
        assert len(calls(provider)) == 2

    @pytest.mark.parametrize("age", [timedelta(seconds=61), -timedelta(hours=2)])
    def test_an_old_look_or_one_from_the_future_does_not(self, key, provider, age):
        offers.available(key, country_code="US", number_type="local")
        OfferLook.objects.update(began_at=clock.now() - age)
        _, began_at = offers.available(key, country_code="US", number_type="local")
        assert len(calls(provider)) == 2
        assert OfferLook.objects.get().began_at == began_at

    def test_a_number_of_no_known_type_is_looked_for_under_every_type(self, pending, key, provider):
        purchase = pending.purchases.get()
        purchase.number_type, provider.offers = "", []
        assert offers.find_offer(key, purchase)[0] is None
        assert len(calls(provider)) == 4

    @pytest.mark.parametrize("cost", [None, "", "NaN", "1e400", "-1", "1,00", "$1", [], True, 10**12])
    def test_an_odd_cost_is_unknown_and_never_0(self, key, provider, cost):
        provider.offers = [offer(FIRST, upfront=cost)]
        found, _ = offers.available(key, country_code="US", number_type="local")
        assert found[FIRST].upfront_cost is None
        again, _ = offers.available(key, country_code="US", number_type="local")  # out of the database
        assert again == found

    def test_odd_entries_break_nothing(self, key, provider):
        provider.offers = [None, 5, {}, {"phone_number": 5}, {"phone_number": "12"}, {"phone_number": FIRST}]
        found, _ = offers.available(key, country_code="US", number_type="local")
        assert set(found) == {FIRST}


class TestPace:
    def test_who_would_wait_too_long_is_told_until_when(self, key):
        ApiKey.objects.update(rate_per_minute=1, next_call_at=clock.now() + timedelta(seconds=50))
        with pytest.raises(turns.Busy) as busy:
            turns.take_turn(key, patience=20)
        assert timedelta(seconds=40) < busy.value.until - clock.now() < timedelta(seconds=51)
        before = ApiKey.objects.get().next_call_at
        with pytest.raises(turns.Busy):
            turns.take_turn(key, patience=20)
        assert ApiKey.objects.get().next_call_at == before  # a call that does not wait takes no turn

    def test_a_place_given_by_a_clock_that_went_back_does_not_count(self, key):
        ApiKey.objects.update(rate_per_minute=60, next_call_at=clock.now() + timedelta(hours=2))
        turns.take_turn(key, patience=1)

    def test_every_read_takes_its_turn(self, key, provider):
        ApiKey.objects.update(rate_per_minute=1, next_call_at=clock.now() + timedelta(seconds=90))
        with pytest.raises(turns.Busy):
            owned_list.read(key)
        assert provider.calls == []

    def test_a_turn_is_never_taken_inside_a_transaction(self, key, transactional_db):
        from django.db import transaction

        with pytest.raises(RuntimeError), transaction.atomic():
            turns.take_turn(key, patience=1)


def test_a_timeout_while_reading_is_no_list(key, provider):
    provider.owned_answer = requests.ReadTimeout()
    with pytest.raises(errors.Unreadable):
        read(key)
    assert OwnedRead.objects.get().whole is False
