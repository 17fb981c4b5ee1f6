"""How watching a given up purchase ends, and how a bought number is released."""

from datetime import timedelta
from decimal import Decimal

import pytest
import requests
from django.db.models import F

from purchasing import clock, problems
from purchasing.buying import held_purchases
from purchasing.identitycall import errors
from purchasing.models import ApiKey, Attempt, Credential, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import owned_list
from purchasing.states import Outcome, State
from purchasing.teams import budgets, keys
from tests import factories
from tests.buying.test_held_purchases import LOSES, NEW, NUMBER, give_up
from tests.buying.test_procurement import buy, open_try_again
from tests.factories import actor
from tests.healthy_provider import OWNED, during, owned

pytestmark = pytest.mark.django_db
KEPT = owned("+12125550177", 900)


@pytest.fixture
def doubtful(approved, provider):
    provider.answer_purchase(requests.ReadTimeout())
    return open_try_again(buy(approved))


class TestStopWatching:
    @pytest.fixture
    def given_up(self, doubtful, ana):
        return give_up(doubtful, ana)

    def stop(self, purchase, person, reason="It is not in IdentityCall"):
        return held_purchases.stop_watching(purchase, reason=reason, actor=actor(person))

    def test_while_it_can_be_read_it_is_watched(self, given_up, ana):
        with pytest.raises(problems.Problem, match="still being watched"):
            self.stop(given_up, ana)
        assert factories.state_of(given_up) == State.GIVEN_UP

    @pytest.mark.parametrize("gone", ["refused", "wiped"])
    def test_a_person_ends_what_no_read_can_settle(self, given_up, ana, gone):
        factories.lose(ApiKey.objects.all(), gone)
        assert self.stop(given_up, ana).state == State.FAILED
        assert given_up.events.order_by("-seq").first().note == "It is not in IdentityCall"

    def test_after_30_days_a_person_ends_what_one_key_denies_and_another_cannot_tell(
        self, given_up, ana, monkeypatch
    ):
        first, blind = ApiKey.objects.get(), Attempt.objects.get()
        other = ApiKey.objects.create(team=first.team, secret=NEW, last_four="nnnn", retired_at=clock.now())
        blind.pk, blind.key = None, other
        blind.save(force_insert=True)
        ApiKey.objects.filter(pk=other.pk).update(secret=None)
        with pytest.raises(problems.Problem, match="still being watched"):
            self.stop(given_up, ana)
        later = clock.now() + timedelta(days=31)
        monkeypatch.setattr(clock, "now", lambda: later)
        owned_list.read(first)
        assert self.stop(given_up, ana).state == State.FAILED

    def test_after_30_days_without_a_whole_list_as_well(self, given_up, ana, monkeypatch):
        later = clock.now() + timedelta(days=31)
        monkeypatch.setattr(clock, "now", lambda: later)
        assert self.stop(given_up, ana).state == State.FAILED

    def last_times(self, *, given_up_days_ago, read_days_ago):
        """Move the decision and every read of the list so far to so many days ago."""
        now = clock.now()
        Purchase.objects.update(state_changed_at=now - timedelta(days=given_up_days_ago))
        OwnedRead.objects.update(began_at=now - timedelta(days=read_days_ago))
        return Purchase.objects.get()

    def test_for_30_days_it_is_watched_though_its_list_has_not_been_read_for_longer(self, given_up, ana):
        with pytest.raises(problems.Problem, match="still being watched"):
            self.stop(self.last_times(given_up_days_ago=29.9, read_days_ago=31), ana)
        assert self.stop(self.last_times(given_up_days_ago=30.1, read_days_ago=31), ana).state == State.FAILED

    def test_after_30_days_it_is_watched_until_a_whole_list_of_then_lacks_it(self, given_up, ana, provider):
        late = self.last_times(
            given_up_days_ago=31, read_days_ago=2
        )  # on day 29: it may still have been listed
        with pytest.raises(problems.Problem, match="still being watched"):
            self.stop(late, ana)
        owned_list.read(ApiKey.objects.get())
        assert self.stop(late, ana).state == State.FAILED

    def test_what_another_key_reads_does_not_prolong_it(self, given_up, ana, team):
        late = self.last_times(given_up_days_ago=31, read_days_ago=31)
        owned_list.read(keys.set_key(team, NEW, actor=factories.SYSTEM))
        assert self.stop(late, ana).state == State.FAILED

    def test_the_key_of_a_call_that_was_declined_does_not_prolong_it(self, given_up, ana, team):
        declined = Attempt.objects.get()
        Credential.objects.update(refused_at=clock.now())
        declined.pk, declined.key = None, keys.set_key(team, NEW, actor=factories.SYSTEM)
        declined.outcome = Outcome.DECLINED
        declined.save(force_insert=True)
        assert self.stop(given_up, ana).state == State.FAILED

    def test_lists_that_could_not_be_read_do_not_prolong_it(self, given_up, ana, provider):
        late = self.last_times(given_up_days_ago=31, read_days_ago=31)
        provider.owned_answer = (500, {}, "")
        with pytest.raises(errors.Unreadable):
            owned_list.read(ApiKey.objects.get())
        assert self.stop(late, ana).state == State.FAILED

    def test_it_wants_a_reason_and_somebody_else_than_who_asked(self, given_up, ana, sam):
        Credential.objects.update(refused_at=clock.now())
        with pytest.raises(problems.Problem, match="Say why"):
            self.stop(given_up, ana, reason=" ")
        with pytest.raises(problems.NotYours):
            self.stop(given_up, sam)

    def test_what_is_not_given_up_is_not_ended_so(self, doubtful, ana):
        with pytest.raises(problems.AlreadyMoved):
            self.stop(doubtful, ana)

    def test_is_not_offered_for_what_is_not_given_up(self, doubtful):
        Credential.objects.update(refused_at=clock.now())
        assert not held_purchases.may_stop_watching(doubtful)


class TestAfter30DaysATeamAdminEndsIt:
    """Also where reads can still settle it: a list that never becomes whole, or one that shows the id of another."""

    @pytest.fixture
    def given_up(self, doubtful, ana):
        return give_up(doubtful, ana)

    @pytest.fixture
    def late(self, given_up):
        return after(given_up, days=30.1)

    def test_failed(self, late, tom):
        assert stop(late, tom).state == State.FAILED
        assert late.events.order_by("-seq").first().note == "It is not in IdentityCall"

    def test_bought_under_an_id_of_the_list(self, late, tom, provider):
        provider.owned_numbers = [owned(NUMBER, 77)]
        bought = after_all(late, tom)
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 77)
        event = bought.events.get(action="purchase.purchased")
        assert (event.actor, event.note, event.data) == (tom, "I saw it", {"provider_id": 77})

    @pytest.mark.parametrize("end", ["stop", "after_all"])
    def test_but_not_before(self, given_up, tom, provider, end):
        early = after(given_up, days=29.9)
        provider.owned_numbers = [owned("+12125550199", 77)]
        with pytest.raises(problems.Problem, match="From 30 days after it was given up, a team admin"):
            ENDS[end](early, tom)
        assert factories.state_of(early) == State.GIVEN_UP

    @pytest.mark.parametrize("who", ["ana", "the requester"])
    @pytest.mark.parametrize("end", ["stop", "after_all"])
    def test_nobody_else_and_never_the_requester(self, late, team, sam, ana, who, end):
        factories.member("sam", team, "admin")
        with pytest.raises(problems.Problem, match=r"team admin.*other than the person who asked"):
            ENDS[end](late, {"ana": ana, "the requester": sam}[who])
        assert factories.state_of(late) == State.GIVEN_UP

    @pytest.mark.parametrize("end", ["stop", "after_all"])
    def test_with_a_reason(self, late, tom, end):
        with pytest.raises(problems.Problem, match="Say why"):
            ENDS[end](late, tom, reason=" ")

    @pytest.mark.parametrize("id_in_list", [None, 78])
    def test_not_under_an_id_that_the_list_lacks(self, late, tom, provider, id_in_list):
        provider.owned_numbers = [owned(NUMBER, id_in_list)] if id_in_list else []
        with pytest.raises(problems.Problem, match="has no number with id 77"):
            after_all(late, tom)

    def test_not_under_the_id_of_a_number_that_nobody_here_has(self, late, tom, provider):
        provider.owned_numbers = [owned("+12125550199", 77)]
        with pytest.raises(problems.Problem, match=r"shows \+12125550199 under id 77, not \+12125550101"):
            after_all(late, tom)

    @pytest.mark.parametrize("shown", [NUMBER, "+12125550102"])
    def test_under_the_id_of_another_number_here_and_flagged(self, late, team, sam, tom, provider, shown):
        other = factories.request(team, sam, ["+12125550102"]).purchases.get()
        Purchase.objects.filter(pk=other.pk).update(state=State.PURCHASED, provider_id=77)
        provider.owned_numbers = [owned(shown, 77)]
        bought = after_all(late, tom)
        event = bought.events.get(action="purchase.purchased")
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 77)
        assert event.data == {"provider_id": 77, "id_also_of": ["+12125550102"]}
        assert event.note == "I saw it (the id 77 also belongs to +12125550102 here)"

    @pytest.mark.parametrize("gone", ["refused", "wiped"])
    def test_by_the_last_list_of_a_key_that_cannot_be_read_any_more(self, late, tom, provider, gone):
        provider.owned_numbers = [owned(NUMBER, 77)]
        owned_list.read(ApiKey.objects.get())
        provider.owned_answer = (401, {}, "")
        factories.lose(ApiKey.objects.all(), gone)
        assert after_all(late, tom).provider_id == 77

    @pytest.mark.parametrize("loses", LOSES.values(), ids=LOSES)
    def test_not_by_somebody_who_loses_role_or_account_while_the_list_is_read(
        self, late, tom, provider, loses
    ):
        provider.owned_numbers = [owned(NUMBER, 77)]
        during(provider, OWNED, lambda: loses(tom))
        with pytest.raises(problems.NotYours):
            after_all(late, tom)
        assert factories.state_of(late) == State.GIVEN_UP

    def test_evidence_in_between_is_first(self, late, tom, provider):
        provider.owned_numbers = [owned(NUMBER, 77)]
        during(provider, OWNED, lambda: Purchase.objects.update(state=State.PURCHASED))
        with pytest.raises(problems.AlreadyMoved):
            after_all(late, tom)


def after(purchase, *, days):
    """The purchase as if it had been given up so many days ago, and its list read whole two days ago."""
    Purchase.objects.update(state_changed_at=clock.now() - timedelta(days=days))
    OwnedRead.objects.update(began_at=clock.now() - timedelta(days=2))
    return Purchase.objects.get(pk=purchase.pk)


def stop(purchase, person, reason="It is not in IdentityCall"):
    return held_purchases.stop_watching(purchase, reason=reason, actor=actor(person))


def after_all(purchase, person, reason="I saw it"):
    return held_purchases.bought_after_all(purchase, provider_id=77, reason=reason, actor=actor(person))


ENDS = {"stop": stop, "after_all": after_all}


class TestRelease:
    @pytest.fixture
    def bought(self, approved, provider):
        provider.sells(NUMBER)
        bought = buy(approved)
        owned_list.read(ApiKey.objects.get())
        Purchase.objects.update(purchased_at=clock.now() - timedelta(days=1))
        bought.refresh_from_db()
        return bought

    def give_back(self, provider):
        """The account has another number as well; this one is given back, which a list shows."""
        provider.owned_numbers = [*provider.owned_numbers, KEPT]
        owned_list.read(ApiKey.objects.get())
        provider.owned_numbers = [KEPT]
        owned_list.read(ApiKey.objects.get())

    def a_minute_passes(self):
        for rows, name in (
            (VirtualNumber.objects.exclude(gone_at=None), "gone_at"),
            (OwnedRead.objects, "began_at"),
        ):
            rows.update(**{name: F(name) - timedelta(minutes=2)})

    def release(self, purchase, person, reason="Given back"):
        return held_purchases.release(purchase, reason=reason, actor=actor(person))

    @pytest.mark.parametrize("loses", LOSES.values(), ids=LOSES)
    def test_not_by_somebody_who_loses_role_or_account_while_the_list_is_read(
        self, bought, tom, provider, loses
    ):
        self.give_back(provider)
        self.a_minute_passes()
        during(provider, OWNED, lambda: loses(tom))
        with pytest.raises(problems.NotYours, match="Only the team admin"):
            self.release(bought, tom)
        assert Purchase.objects.get().released_at is None
        assert "purchase.released" not in factories.actions(bought)

    def test_a_number_that_the_list_shows_is_still_rented(self, bought, tom):
        with pytest.raises(problems.Problem, match="still shows it"):
            self.release(bought, tom)
        assert Purchase.objects.get().released_at is None

    def test_one_list_without_it_proves_nothing_two_a_minute_apart_do(self, bought, tom, provider):
        self.give_back(provider)
        for _ in range(2):
            with pytest.raises(problems.Problem, match="at least a minute later"):
                self.release(bought, tom)
        self.a_minute_passes()
        self.release(bought, tom)
        purchase = Purchase.objects.get()
        assert purchase.released_at is not None
        assert purchase.due_at is None  # nothing is applied to it any more
        assert factories.actions(purchase)[-1] == "purchase.released"

    def test_a_list_of_a_blind_key_proves_nothing(self, bought, tom, provider):
        self.give_back(provider)
        self.a_minute_passes()
        provider.owned_numbers = []
        with pytest.raises(problems.Problem, match=r"proves nothing: .* no number that this key has shown"):
            self.release(bought, tom)
        assert Purchase.objects.get().released_at is None

    def test_a_number_that_no_list_ever_showed_is_released_by_two_lists_as_well(self, bought, tom, provider):
        self.give_back(provider)
        VirtualNumber.objects.filter(phone_number=NUMBER).delete()
        with pytest.raises(problems.Problem, match="at least a minute later"):
            self.release(bought, tom)
        self.a_minute_passes()
        self.release(bought, tom)
        assert Purchase.objects.get().released_at is not None

    def test_what_was_released_is_not_missed_by_later_lists(self, bought, tom, provider):
        self.give_back(provider)
        self.a_minute_passes()
        self.release(bought, tom)
        assert owned_list.read(ApiKey.objects.get()).complete

    def test_it_costs_nothing_any_more_and_may_be_asked_for_again(self, bought, team, sam, tom, provider):
        self.give_back(provider)
        self.a_minute_passes()
        Purchase.objects.update(purchased_at=clock.now() - timedelta(days=40))
        assert budgets.of(team).committed == Decimal("2.00")
        self.release(bought, tom)
        assert budgets.of(team).committed == 0
        assert factories.request(team, sam, [NUMBER]).purchases.get().state == State.PENDING

    def test_right_after_the_purchase_a_list_may_lack_it(self, bought, tom, provider):
        provider.owned_numbers = []
        Purchase.objects.update(purchased_at=clock.now())
        with pytest.raises(problems.Problem, match="a moment ago"):
            self.release(Purchase.objects.get(), tom)

    @pytest.mark.parametrize("state", sorted(set(State) - {State.PURCHASED}))
    def test_what_was_not_bought_is_not_rented(self, approved, tom, provider, state):
        Purchase.objects.update(state=state)
        with pytest.raises(problems.AlreadyMoved, match="not rented"):
            self.release(Purchase.objects.get(), tom)
        assert provider.calls == []

    def test_of_two_at_once_one_is_told(self, bought, tom, provider):
        """A second click on the same page, while the list is read for the first one."""
        self.give_back(provider)
        self.a_minute_passes()
        clicks = iter([lambda: self.release(bought, tom, reason="Second click")])
        during(provider, OWNED, lambda: [click() for click in clicks])
        with pytest.raises(problems.AlreadyMoved, match="already done"):
            self.release(bought, tom)
        [event] = bought.events.filter(action="purchase.released")
        assert event.note == "Second click"

    def with_another_key(self, bought, team, provider, shown, gone="refused"):
        """The key it was bought with is refused, or gone; the list of the new one shows this."""
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        factories.lose(ApiKey.objects.filter(pk=bought.bought_with_id), gone)
        provider.owned_with[NEW] = shown
        owned_list.read(ApiKey.objects.get(retired_at=None))

    def test_the_key_of_another_account_proves_nothing(self, bought, tom, team, provider):
        self.with_another_key(bought, team, provider, [owned("+12125550177", 900)])
        with pytest.raises(problems.Problem, match="its list proves nothing"):
            self.release(bought, tom)
        assert Purchase.objects.get().released_at is None

    def test_while_its_own_key_can_be_read_no_other_is_asked(self, bought, tom, team, provider):
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        provider.owned_with[NEW] = []
        with pytest.raises(problems.Problem, match="still shows it"):
            self.release(bought, tom)

    def test_without_any_key_nothing_is_known(self, bought, tom):
        ApiKey.objects.update(retired_at=clock.now(), secret=None)
        with pytest.raises(problems.Problem, match="no API key"):
            self.release(bought, tom)

    @pytest.mark.parametrize("gone", ["refused", "wiped"])
    def test_a_new_key_of_the_same_account_does(self, bought, tom, team, provider, gone):
        self.with_another_key(bought, team, provider, [*provider.owned_numbers, KEPT], gone)
        provider.owned_with[NEW] = [KEPT]
        owned_list.read(ApiKey.objects.get(retired_at=None))
        self.a_minute_passes()
        self.release(bought, tom)
        assert Purchase.objects.get().released_at is not None

    @pytest.mark.parametrize("answer", [requests.ReadTimeout(), (200, {}, "{")])
    def test_a_list_that_cannot_be_read_releases_nothing(self, bought, tom, provider, answer):
        provider.owned_answer = answer
        with pytest.raises(problems.Problem, match="could not be read"):
            self.release(bought, tom)

    def test_it_is_said_by_the_admin_with_a_reason_and_once(self, bought, tom, ana, provider):
        self.give_back(provider)
        self.a_minute_passes()
        with pytest.raises(problems.NotYours):
            self.release(bought, ana)
        with pytest.raises(problems.Problem, match="Say why"):
            self.release(bought, tom, reason="")
        self.release(bought, tom)
        with pytest.raises(problems.AlreadyMoved):
            self.release(Purchase.objects.get(), tom)
