"""What IdentityCall's lists prove, and the pace at which they are read."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
import requests
from django.db import transaction

from purchasing import audit, clock
from purchasing.identitycall import errors
from purchasing.identitycall.resources import OwnedList
from purchasing.models import ApiKey, AuditEvent, Credential, OfferLook, OwnedRead, VirtualNumber
from purchasing.provider import offers, owned_list, turns
from purchasing.teams import keys
from tests import factories
from tests.healthy_provider import OWNED, during, offer, owned

pytestmark = pytest.mark.django_db
FIRST, SECOND = "+12125550188", "+12125550189"
NEW_KEY = "idc_" + "n" * 32


@pytest.fixture
def key(team):
    return ApiKey.objects.get()


def read(key):
    return owned_list.read(key)


def shown(key):
    """What the last well-formed list held."""
    rows = VirtualNumber.objects.filter(credential=key.credential, gone_at=None)
    return set(rows.values_list("phone_number", flat=True))


def confirm_gone(*pairs):
    """A person says that these numbers are gone."""
    with transaction.atomic():
        owned_list.confirm_gone(set(pairs), audit.record("numbers.gone", actor=factories.SYSTEM))


def calls(provider):
    return [path for _, path in provider.calls]


def answers(provider, *entries):
    """The list holds exactly these entries, as they are."""
    provider.owned_answer = (200, {}, json.dumps({"data": list(entries)}))


class TestAbsence:
    def test_a_list_that_holds_all_known_numbers_is_complete(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        assert read(key).complete
        provider.owned_numbers.append(owned(SECOND, 2))
        assert read(key).complete
        assert shown(key) == {FIRST, SECOND}

    def test_so_is_an_empty_one_of_a_key_that_never_showed_any(self, key, provider):
        assert read(key).complete

    def test_one_that_lacks_any_proves_none_however_often_it_agrees(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2)]
        read(key)
        provider.owned_numbers = [owned(FIRST, 1)]
        for _ in range(4):
            lacking = read(key)
            assert (lacking.complete, lacking.well_formed, lacking.missing) == (False, True, [[2, SECOND]])
            assert SECOND in lacking.problem
        assert shown(key) == {FIRST}

    def test_it_is_complete_again_once_a_person_confirmed_that_it_is_gone(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2)]
        read(key)
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        confirm_gone((2, SECOND))
        confirmed = AuditEvent.objects.order_by("-seq").first().seq
        again = read(key)
        assert (again.complete, again.missing, again.gone_seq) == (True, [], confirmed)

    def test_what_is_shown_again_is_known_again(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2)]
        read(key)
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        confirm_gone((2, SECOND))
        provider.owned_numbers.append(owned(SECOND, 2))
        read(key)
        provider.owned_numbers.pop()
        assert read(key).missing == [[2, SECOND]]

    def test_a_number_under_another_id_than_before_is_there(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        provider.owned_numbers = [owned(FIRST, 2)]
        assert read(key).complete
        assert owned_list.listed(key, FIRST).first().provider_id == 2
        assert VirtualNumber.objects.count() == 2

    def test_a_failed_read_proves_none(self, key, provider):
        provider.owned_answer = (500, {}, "")
        with pytest.raises(errors.Unreadable):
            read(key)
        assert OwnedRead.objects.filter(complete=False, well_formed=False).count() == 1

    def test_what_was_bought_longer_ago_than_the_window_is_known_though_no_list_showed_it(
        self, key, provider, approved, settings
    ):
        from tests.buying.test_procurement import buy

        provider.sells("+12125550101", 7)
        assert buy(approved).state == "purchased"
        provider.owned_numbers = []
        VirtualNumber.objects.all().delete()
        assert read(key).complete
        type(approved).objects.update(
            purchased_at=clock.now() - timedelta(seconds=settings.SETTLE_WINDOW + 1)
        )
        assert read(key).missing == [[7, "+12125550101"]]

    def test_an_older_read_that_is_stored_late_takes_nothing_away(self, key, provider):
        """Two workers read at once; the one that began earlier ends later."""
        began = {"began_after": audit.position(), "began_at": clock.now()}
        factories.team("Sales", key=None)  # something happens in between
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        late = owned_list.keep(key, OwnedList(()), **began)
        assert (late.complete, late.problem) == (False, f"{owned_list.LATER_READ} It lacks {FIRST}.")
        assert shown(key) == {FIRST}

    def test_nor_does_one_that_began_before_another_whatever_the_clocks_say(self, key, provider, monkeypatch):
        """While one worker reads, a worker whose clock is an hour behind reads too, and is done first."""
        real, lists = clock.now, []

        def another_worker_reads():
            if not lists:
                lists.append("begun")
                factories.team("Sales", key=None)  # something happens in between
                provider.owned_numbers = [owned(FIRST, 1)]
                with monkeypatch.context() as behind:
                    behind.setattr(clock, "now", lambda: real() - timedelta(hours=1))
                    lists.append(read(key))
                provider.owned_numbers = []

        during(provider, OWNED, another_worker_reads)
        late = read(key)
        _, other = lists
        assert (other.ended_at < late.began_at, other.began_after > late.began_after) == (True, True)
        assert (other.complete, late.complete) == (True, False)
        assert shown(key) == {FIRST}

    def test_keys_do_not_see_for_each_other(self, key, provider, team):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        other = keys.set_key(team, NEW_KEY, actor=factories.SYSTEM)
        provider.owned_numbers = []
        assert read(other).complete
        assert not owned_list.listed(other, FIRST).exists()
        assert owned_list.listed(key, FIRST).exists()

    def test_one_secret_in_two_teams_sees_for_both(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        factories.team("Sales", key=factories.KEY)
        theirs = ApiKey.objects.exclude(pk=key.pk).get()
        assert owned_list.listed(theirs, FIRST).exists()
        provider.owned_numbers = []
        assert read(theirs).missing == [[1, FIRST]]

    def test_a_secret_that_is_stored_again_knows_what_it_knew(self, key, provider, team):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        keys.set_key(team, NEW_KEY, actor=factories.SYSTEM)
        ApiKey.objects.filter(pk=key.pk).update(secret=None)
        again = keys.set_key(team, factories.KEY, actor=factories.SYSTEM)
        provider.owned_numbers = []
        assert read(again).missing == [[1, FIRST]]


class TestABlindKey:
    @pytest.fixture
    def moved(self, key, provider):
        """A key that knew two numbers and was moved to another project, which has one."""
        provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2)]
        read(key)
        provider.owned_numbers = [owned("+12125550190", 3)]
        read(key)
        return key

    def is_blind(self):
        return Credential.objects.get().blind_at is not None

    def test_shows_none_of_the_numbers_that_it_knows(self, moved):
        assert self.is_blind()
        assert FIRST in Credential.objects.get().blind_words

    def test_is_recorded_once_for_each_team(self, moved, provider):
        read(moved)
        assert AuditEvent.objects.filter(action="key.blind").count() == 1

    def test_sees_again_when_it_shows_one_of_them(self, moved, provider):
        provider.owned_numbers = [owned(SECOND, 2)]
        read(moved)
        assert not self.is_blind()
        assert AuditEvent.objects.filter(action="key.sees_again").count() == 1

    def test_but_not_while_it_shows_what_it_showed_since(self, moved):
        read(moved), read(moved)
        assert self.is_blind()

    def test_one_of_another_project_stays_blind_though_it_shows_its_numbers(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        ApiKey.objects.update(said_scope="project")
        for projects in ([2], [1]):
            with transaction.atomic():
                owned_list.note_projects(ApiKey.objects.get(), projects)
            read(key)
            assert self.is_blind() is (projects == [2])

    def test_one_that_lacks_some_is_not_blind(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2)]
        read(key)
        provider.owned_numbers = [owned(SECOND, 2)]
        read(key)
        assert not self.is_blind()

    def test_one_that_knows_nothing_is_not_blind(self, key, provider):
        read(key), read(key)
        assert not self.is_blind()

    @pytest.mark.parametrize(
        "scope, now, is_blind", [("project", [2], True), ("account", [2], False), ("project", [1, 2], False)]
    )
    def test_one_for_a_project_is_when_it_shows_another(self, key, scope, now, is_blind):
        ApiKey.objects.update(said_scope=scope)
        with transaction.atomic():
            owned_list.note_projects(ApiKey.objects.get(), now)
        assert self.is_blind() is is_blind

    def test_and_until_it_shows_its_own_again(self, key):
        ApiKey.objects.update(said_scope="project")
        for projects in ([2], [2], [1]):
            assert (projects == [1]) is False or self.is_blind()
            with transaction.atomic():
                owned_list.note_projects(ApiKey.objects.get(), projects)
        assert not self.is_blind()


class TestOddEntries:
    ODD = {
        "a short code": owned("88811", 9),
        "no number": owned(None, 9),
        "a number in words": owned("twelve", 9),
    }

    @pytest.mark.parametrize("entry", ODD.values(), ids=ODD.keys())
    def test_an_entry_that_cannot_be_read_is_known_by_its_id(self, key, provider, entry):
        answers(provider, owned(FIRST, 1), entry)
        first = read(key)
        assert (first.well_formed, first.complete, first.count) == (True, True, 2)
        assert [pk for pk, _ in first.unreadable] == [9]
        assert "under the id 9" in first.problem
        assert [row.provider_id for row in owned_list.new_odd_entries(first)] == [9]
        assert list(owned_list.new_odd_entries(read(key))) == []
        assert [row.provider_id for row in owned_list.odd_entries(key.credential_id)] == [9]

    def test_it_is_missed_when_it_is_gone(self, key, provider):
        answers(provider, owned(FIRST, 1), owned("88811", 9))
        read(key)
        answers(provider, owned(FIRST, 1))
        assert read(key).missing == [[9, ""]]

    def test_once_it_can_be_read_it_is_as_old_as_its_id(self, key, provider):
        answers(provider, owned("88811", 9))
        read(key)
        factories.team("Sales", key=None)  # something happens in between
        answers(provider, owned(FIRST, 9))
        read(key)
        row = VirtualNumber.objects.get()
        assert (row.phone_number, row.first_seen_seq < audit.position()) == (FIRST, True)

    def test_what_cannot_be_read_any_more_is_still_there(self, key, provider):
        answers(provider, owned(FIRST, 9))
        read(key)
        answers(provider, owned("88811", 9))
        assert read(key).complete
        assert shown(key) == {FIRST}

    @pytest.mark.parametrize("entry", [owned(FIRST, "9"), owned(FIRST, None), "a text", None], ids=str)
    def test_one_without_an_id_blocks_absence_alone(self, key, provider, entry):
        answers(provider, owned(SECOND, 1), entry)
        kept = read(key)
        assert (kept.well_formed, kept.complete, shown(key)) == (True, False, {SECOND})

    def test_one_number_under_two_ids_is_there_under_both(self, key, provider):
        answers(provider, owned(FIRST, 1), owned(FIRST, 2))
        assert read(key).complete
        assert {row.provider_id for row in owned_list.listed(key, FIRST)} == {1, 2}

    def test_one_id_for_two_numbers_shows_neither(self, key, provider):
        answers(provider, owned(FIRST, 1), owned(SECOND, 1))
        kept = read(key)
        assert (kept.well_formed, shown(key), len(kept.unreadable)) == (True, {""}, 1)


class TestNumbersSeen:
    def test_a_number_that_comes_back_keeps_the_time_it_was_first_seen(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        first = VirtualNumber.objects.get()
        provider.owned_numbers = []
        read(key)
        assert VirtualNumber.objects.get().gone_at is not None
        factories.team("Sales", key=None)  # something happens in between
        provider.owned_numbers = [owned(FIRST, 1)]
        read(key)
        again = VirtualNumber.objects.get()
        assert (again.gone_at, again.first_seen_seq) == (None, first.first_seen_seq)

    @pytest.mark.parametrize(
        "answer",
        [
            (200, {}, "{"),
            (200, {}, '{"data": {}}'),
            (200, {}, '{"data": [], "meta": {"total_count": 2}}'),
            (500, {}, ""),
            (302, {"Location": "/"}, ""),
            (200, {}, ""),
        ],
        ids=["cut", "no list", "less than announced", "500", "redirect", "empty"],
    )
    def test_what_cannot_be_understood_is_written_down_and_proves_nothing(self, key, provider, answer):
        provider.owned_answer = answer
        with pytest.raises(errors.Unreadable):
            read(key)
        row = OwnedRead.objects.get()
        assert (row.complete, row.well_formed, row.count) == (False, False, None)
        assert row.problem


class TestSharing:
    def test_a_young_well_formed_read_serves_again(self, key, provider):
        assert owned_list.fresh_read(key) == owned_list.fresh_read(key)
        assert calls(provider) == ["/virtual_numbers"]

    def test_a_key_with_the_same_secret_is_served_by_it_too(self, key, provider):
        factories.team("Sales", key=factories.KEY)
        theirs = ApiKey.objects.exclude(pk=key.pk).get()
        assert owned_list.fresh_read(key) == owned_list.fresh_read(theirs)

    @pytest.mark.parametrize("fault", ["old", "not well-formed", "began too early", "from the future"])
    def test_any_other_does_not(self, key, provider, fault):
        one = owned_list.fresh_read(key)
        now = clock.now()
        changes = {
            "old": {"began_at": now - timedelta(seconds=61)},
            "not well-formed": {"well_formed": False},
            "began too early": {},
            "from the future": {"began_at": now + timedelta(hours=2)},
        }[fault]
        if changes:
            OwnedRead.objects.update(**changes)
        not_before = one.began_after + 1 if fault == "began too early" else 0
        assert owned_list.fresh_read(key, not_before_seq=not_before) != one

    def test_nor_does_one_from_before_this_process_began_or_lost_its_connection(self, key, provider):
        """It may come from a database that was restored since."""
        one = owned_list.fresh_read(key)
        owned_list.forget_reads()
        assert owned_list.fresh_read(key) != one

    def test_a_list_that_lacks_numbers_serves_as_well(self, key, provider):
        provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2)]
        owned_list.fresh_read(key)
        provider.owned_numbers = [owned(FIRST, 1)]
        OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=2))
        lacking = owned_list.fresh_read(key)
        assert (lacking.well_formed, lacking.complete) == (True, False)
        assert owned_list.fresh_read(key) == lacking


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
        Credential.objects.update(rate_per_minute=1, next_call_at=clock.now() + timedelta(seconds=50))
        with pytest.raises(turns.Busy) as busy:
            turns.take_turn(key, patience=20)
        assert timedelta(seconds=40) < busy.value.until - clock.now() < timedelta(seconds=51)
        before = Credential.objects.get().next_call_at
        with pytest.raises(turns.Busy):
            turns.take_turn(key, patience=20)
        assert Credential.objects.get().next_call_at == before  # a call that does not wait takes no turn

    def test_a_place_given_by_a_clock_that_went_back_does_not_count(self, key):
        Credential.objects.update(rate_per_minute=60, next_call_at=clock.now() + timedelta(hours=2))
        turns.take_turn(key, patience=1)

    def test_every_read_takes_its_turn(self, key, provider):
        Credential.objects.update(rate_per_minute=1, next_call_at=clock.now() + timedelta(seconds=90))
        with pytest.raises(turns.Busy):
            owned_list.read(key)
        assert provider.calls == []

    def test_a_turn_is_never_taken_inside_a_transaction(self, key, transactional_db):
        with pytest.raises(RuntimeError), transaction.atomic():
            turns.take_turn(key, patience=1)


def test_a_timeout_while_reading_is_no_list(key, provider):
    provider.owned_answer = requests.ReadTimeout()
    with pytest.raises(errors.Unreadable):
        read(key)
    assert OwnedRead.objects.get().well_formed is False
