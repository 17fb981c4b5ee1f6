"""What a read of the owned list leaves as it is, and what it moves besides the purchase that it was made for."""

from datetime import timedelta

import pytest
import requests
from django_tasks_db.models import DBTaskResult

from purchasing import clock
from purchasing.buying import evidence, held_purchases, outcomes
from purchasing.models import ApiKey, Attempt, Credential, Desk, Purchase
from purchasing.provider import owned_list
from purchasing.states import Outcome, State
from purchasing.teams import keys
from tests import factories
from tests.buying.test_procurement import buy, check, open_try_again, seen_now
from tests.healthy_provider import owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"


@pytest.fixture
def doubtful(approved, provider):
    """A purchase whose answer was lost."""
    provider.answer_purchase(requests.ReadTimeout())
    return buy(approved)


@pytest.fixture
def held(doubtful):
    return open_try_again(doubtful)


@pytest.fixture
def to_be_tried_again(held, ana):
    """Approved once more while the first call is in doubt."""
    held_purchases.try_again(held, reason="Not in the list", actor=factories.actor(ana), seen=seen_now(held))
    Purchase.objects.update(due_at=clock.now())
    return Purchase.objects.values().get()


def test_a_held_purchase_waits_for_a_person_for_as_long_as_it_takes(held):
    """Only what a person gave up ends by itself."""
    Purchase.objects.update(state_changed_at=clock.now() - timedelta(days=evidence.GIVEN_UP_DAYS + 1))
    assert check(held).state == State.HELD


def test_the_plan_of_what_is_tried_again_stays_when_the_list_lacks_it(to_be_tried_again):
    evidence.gather(ApiKey.objects.get().pk)
    assert Purchase.objects.values().get() == to_be_tried_again


def test_the_plan_of_what_is_tried_again_stays_when_the_key_is_paused(to_be_tried_again, provider):
    calls = len(provider.calls)
    Credential.objects.update(paused_until=clock.now() + timedelta(minutes=5))
    evidence.gather(ApiKey.objects.get().pk)
    assert Purchase.objects.values().get() == to_be_tried_again
    assert len(provider.calls) == calls


def settled_by_its_answer():
    outcomes.settle(Attempt.objects.get(), Outcome.PURCHASED, provider_id=5)


def ended_by_a_person():
    Purchase.objects.update(state=State.REJECTED, due_at=None)


@pytest.mark.parametrize("settled", [settled_by_its_answer, ended_by_a_person])
def test_what_is_settled_after_the_list_was_read_stays_settled(doubtful, provider, settled):
    """The list was read for it; before its row is locked something else settles it."""
    provider.owned_numbers = [owned(NUMBER, 77)]
    key = ApiKey.objects.get()
    read = owned_list.read(key)
    settled()
    before = Purchase.objects.values().get()
    evidence.conclude(doubtful.pk, doubtful.request_id, key, read)
    assert Purchase.objects.values().get() == before


def test_whole_lists_of_another_key_do_not_open_another_try(doubtful, team):
    """They were read after the call and lack the number; but only the key of the call shows what became of it."""
    other = keys.set_key(team, "idc_" + "n" * 32, actor=factories.SYSTEM)
    Purchase.objects.update(window_ends_at=clock.now())
    for _ in range(evidence.CLEAN_READS):
        assert owned_list.read(other).complete
    found = evidence.about(Purchase.objects.get())
    assert (found.clean, found.failed, found.last, found.may_try_again) == (0, 0, None, False)


def test_a_list_that_is_not_whole_is_no_clean_read(doubtful, provider):
    provider.owned_numbers = [owned("+12125550188", 1)]
    check(doubtful)
    provider.owned_numbers = []
    check(doubtful)
    found = evidence.about(Purchase.objects.get())
    assert (found.clean, found.failed) == (1, 1)


def test_a_list_that_comes_ends_the_pause_of_the_provider(doubtful, provider):
    Desk.objects.update(failures=3, paused_until=clock.now() + timedelta(minutes=5), pause_reason="Down")
    provider.owned_answer = (500, {}, "")
    check(doubtful)
    assert Desk.objects.get().failures == 3
    provider.owned_answer = None
    check(doubtful)
    assert (Desk.objects.get().failures, Desk.objects.get().paused_until) == (0, None)


def test_the_next_read_is_queued_until_nothing_is_in_doubt(doubtful, provider, settings):
    settings.EVIDENCE_CHECK_DELAYS = [5]  # what is due later is left to the sweep
    DBTaskResult.objects.all().delete()
    waiting = check(doubtful)
    [queued] = DBTaskResult.objects.all()
    assert (queued.task_path, queued.run_after) == ("purchasing.tasks.check", waiting.due_at)
    provider.owned_numbers = [owned(NUMBER, 77)]
    DBTaskResult.objects.all().delete()
    check(waiting)
    assert "purchasing.tasks.check" not in {row.task_path for row in DBTaskResult.objects.all()}
