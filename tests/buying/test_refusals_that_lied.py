"""What the list shows since our order was bought, whatever the call's answer said; and whose id it is."""

import itertools
import json

import pytest
import requests

from purchasing import clock, workflow
from purchasing.buying import evidence, look, procurement
from purchasing.models import ApiKey, Attempt, AuditEvent, Credential, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import owned_list, pauses
from purchasing.states import Cause, Outcome, State
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import buy, check
from tests.factories import actor
from tests.healthy_provider import OWNED, PROJECTS, owned

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NUMBER, OTHER = "+12125550101", "+12125550102"
LIES = {
    "422": (422, {"error": "No longer available"}),
    "404": (404, {"error": "Resource not found"}),
    "429": (429, {}),
    "401": (401, {"error": "Invalid API key"}),
    "403": (403, {"error": "Write permission required"}),
}
AFTER = {"422": State.FAILED, "404": State.FAILED}
every_lie = pytest.mark.parametrize("lie", LIES)


@pytest.fixture
def lied_to(approved, provider):
    """Returns a function: the purchase after a refusal of that kind, though it was bought."""

    def tell(lie):
        status, body = LIES[lie]
        provider.answer_purchase(body, status=status, headers={"Retry-After": "1"})
        refused = buy(approved)
        assert refused.state == AFTER.get(lie, State.APPROVED)
        Credential.objects.update(paused_until=None)
        provider.owned_numbers = [owned(NUMBER, 77)]
        return refused

    return tell


def settle():
    """The tasks that settle what a read has shown."""
    for credential in Credential.objects.all():
        evidence.settle_shown(credential.pk)


def read_by_anybody():
    return owned_list.read(ApiKey.objects.get())


class TestARefusalThatLied:
    @every_lie
    def test_is_corrected_by_any_read_and_named(self, lied_to, provider, lie):
        refused = lied_to(lie)
        read_by_anybody()
        settle()
        bought = Purchase.objects.get()
        assert (bought.state, bought.provider_id) == (State.PURCHASED, 77)
        note = bought.events.get(action="purchase.purchased").note
        assert "since our order" in note and Attempt.objects.get().words in note
        assert len(provider.purchases) == 1
        assert refused.pk == bought.pk

    @every_lie
    def test_is_corrected_by_the_sweep_when_the_task_was_lost(self, lied_to, lie):
        lied_to(lie)
        read_by_anybody()
        sweep.run()
        assert Purchase.objects.get().state == State.PURCHASED

    def test_the_read_queues_the_task_at_once(self, lied_to):
        from django_tasks_db.models import DBTaskResult

        lied_to("422")
        DBTaskResult.objects.all().delete()
        read_by_anybody()
        assert [row.task_path for row in DBTaskResult.objects.all()] == ["purchasing.tasks.settle_shown"]

    @pytest.mark.parametrize("lie", ["429", "401"])
    def test_is_corrected_by_the_look_before_the_next_call(self, lied_to, provider, lie):
        lied_to(lie)
        Credential.objects.update(refused_at=None)
        OwnedRead.objects.update(began_at=clock.now() - clock.LONGEST_WAIT)
        assert buy(Purchase.objects.get()).state == State.PURCHASED
        assert len(provider.purchases) == 1

    @every_lie
    def test_an_id_from_before_the_order_corrects_nothing(self, lied_to, lie):
        refused = lied_to(lie)
        read_by_anybody()
        VirtualNumber.objects.update(first_seen_seq=0)
        settle()
        assert Purchase.objects.get().state == refused.state

    def test_without_a_list_from_before_the_order_nothing_is_corrected(self, lied_to):
        lied_to("422")
        OwnedRead.objects.all().delete()
        read_by_anybody()
        settle()
        assert Purchase.objects.get().state == State.FAILED

    def test_a_call_that_was_never_sent_bought_nothing(self, approved, provider):
        provider.answer_purchase(requests.ConnectionError())
        waiting = buy(approved)
        Attempt.objects.update(outcome=Outcome.NOT_SENT)
        Purchase.objects.update(state=State.FAILED)
        provider.owned_numbers = [owned(NUMBER, 77)]
        read_by_anybody()
        settle()
        assert factories.state_of(waiting) == State.FAILED

    def test_while_another_record_of_the_number_is_open_that_one_is_held(self, lied_to, team, sam, ana):
        lied = lied_to("422")
        [other] = factories.approve(factories.request(team, sam, [NUMBER]), ana)
        read_by_anybody()
        settle()
        look.hold_owned(other.pk, ApiKey.objects.get().pk)  # the task that this queued
        other.refresh_from_db()
        assert (other.state, other.held_cause) == (State.HELD, Cause.OWNED)
        assert factories.state_of(lied) == State.FAILED


class TestCancellingAfterASentCall:
    @pytest.fixture
    def refused(self, approved, provider):
        provider.answer_purchase({}, status=429, headers={"Retry-After": "1"})
        waiting = buy(approved)
        Credential.objects.update(paused_until=None)
        return waiting

    def cancel(self, purchase, person, reason="Not needed"):
        workflow.cancel(purchase.request_id, [purchase.pk], actor=actor(person), reason=reason)
        return Purchase.objects.get(pk=purchase.pk)

    def test_waits_for_a_read_and_is_not_bought_meanwhile(self, refused, sam, provider):
        waiting = self.cancel(refused, sam)
        assert (waiting.state, waiting.waiting_for) == (State.APPROVED, workflow.CANCELLING)
        sweep.run()
        procurement.buy(waiting.pk)
        assert len(provider.purchases) == 1

    def test_is_cancelled_when_the_list_lacks_it(self, refused, sam):
        self.cancel(refused, sam)
        evidence.gather(ApiKey.objects.get().pk)
        over = Purchase.objects.get()
        assert (over.state, over.cancel_asked_at) == (State.CANCELLED, None)
        assert over.events.get(action="purchase.cancelled").note == "sam cancelled it: Not needed"

    def test_is_bought_when_the_list_shows_it(self, refused, sam, provider):
        self.cancel(refused, sam)
        provider.owned_numbers = [owned(NUMBER, 77)]
        evidence.gather(ApiKey.objects.get().pk)
        assert Purchase.objects.get().state == State.PURCHASED

    def test_is_at_once_where_a_list_was_read_since(self, refused, sam):
        read_by_anybody()
        assert self.cancel(refused, sam).state == State.CANCELLED

    @pytest.mark.parametrize("lost", ["refused", "wiped"])
    def test_without_a_readable_key_it_is_held_in_doubt(self, refused, sam, lost):
        factories.lose(ApiKey.objects.all(), lost)
        held = self.cancel(refused, sam)
        assert (held.state, held.held_cause, held.is_in_doubt) == (State.HELD, Cause.DOUBT, True)

    def test_when_the_key_is_lost_while_it_waits_as_well(self, refused, sam, provider):
        self.cancel(refused, sam)
        provider.owned_answer = (401, {}, "{}")
        evidence.gather(ApiKey.objects.get().pk)
        held = Purchase.objects.get()
        assert (held.state, held.is_in_doubt, held.cancel_asked_at) == (State.HELD, True, None)

    def test_asked_twice_it_is_asked_once(self, refused, sam):
        self.cancel(refused, sam)
        self.cancel(refused, sam)
        assert AuditEvent.objects.filter(action="purchase.cancel_asked").count() == 1

    def test_the_sweep_reads_when_the_task_was_lost(self, refused, sam):
        from django_tasks_db.models import DBTaskResult

        self.cancel(refused, sam)
        DBTaskResult.objects.all().delete()
        sweep.run()
        assert "purchasing.tasks.check" in {row.task_path for row in DBTaskResult.objects.all()}

    def test_a_key_that_resumes_does_not_resume_it(self, refused, sam, team):
        self.cancel(refused, sam)
        pauses.resume(Credential.objects.get())
        assert Purchase.objects.get().due_at is None


class TestIds:
    @pytest.fixture
    def two(self, team, sam, ana):
        return factories.approve(factories.request(team, sam, [NUMBER, OTHER]), ana)

    def answer(self, provider, phone_number, number_id):
        provider.answer_purchase({"data": owned(phone_number, number_id)}, status=201)

    def test_a_201_with_the_id_of_another_number_of_ours_is_unconfirmed(self, two, provider):
        self.answer(provider, NUMBER, 7)
        assert buy(two[0]).state == State.PURCHASED
        self.answer(provider, OTHER, 7)
        second = buy(two[1])
        assert (second.state, second.provider_id) == (State.UNCONFIRMED, None)
        assert f"the id 7, which belongs to {NUMBER} here" in second.attempts.get().words
        assert second.attempts.get().answer  # kept as it came

    def test_so_is_one_with_the_id_of_a_number_that_the_list_shows(self, two, provider):
        provider.owned_numbers = [owned("+12125550188", 7)]
        self.answer(provider, NUMBER, 7)
        doubtful = buy(two[0])
        assert doubtful.state == State.UNCONFIRMED
        assert "+12125550188 in IdentityCall's list" in doubtful.attempts.get().words

    def test_a_list_that_shows_a_used_id_settles_nothing(self, two, provider):
        self.answer(provider, NUMBER, 7)
        buy(two[0])
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(two[1])
        provider.owned_numbers = [owned(OTHER, 7)]
        assert check(doubtful).state == State.UNCONFIRMED

    def test_a_201_that_names_another_number_is_unconfirmed_and_names_it(self, two, provider):
        self.answer(provider, "+12125550199", 9)
        doubtful = buy(two[0])
        assert doubtful.state == State.UNCONFIRMED
        assert "+12125550199 under the id 9" in doubtful.attempts.get().words
        event = doubtful.events.get(action="purchase.other_bought")
        assert (event.data["bought"], event.data["provider_id"]) == ("+12125550199", 9)


class TestOddEntries:
    def lists(self, provider, *entries):
        provider.owned_answer = (200, {}, json.dumps({"data": list(entries)}))

    def test_buying_goes_on_beside_a_short_code(self, approved, provider):
        self.lists(provider, owned("88811", 9))
        provider.answer_purchase({"data": owned(NUMBER, 7)}, status=201)
        assert buy(approved).state == State.PURCHASED

    def test_one_that_is_new_since_a_lost_call_proves_no_absence_and_is_named(self, approved, provider):
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        self.lists(provider, owned("88811", 9))
        for _ in range(4):
            check(doubtful)
        found = evidence.about(doubtful)
        assert (found.clean, "88811 under the id 9" in found.last.problem) == (0, True)

    def test_one_from_before_the_call_blocks_nothing(self, approved, provider):
        self.lists(provider, owned("88811", 9))
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        for _ in range(2):
            check(doubtful)
        assert evidence.about(doubtful).clean == 2

    def test_nothing_is_bought_while_each_list_has_a_new_one(self, approved, provider):
        ids = itertools.count(9)
        provider.http.remove("GET", OWNED)
        provider.http.add_callback(
            "GET", OWNED, lambda request: (200, {}, json.dumps({"data": [owned("88811", next(ids))]}))
        )
        waiting = buy(approved)
        assert (waiting.state, provider.purchases) == (State.APPROVED, [])
        assert "a new entry that cannot be read, under the id 10" in waiting.waiting_for

    def test_presence_is_settled_beside_it(self, approved, provider):
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        self.lists(provider, owned("88811", 9), owned(NUMBER, 7))
        assert check(doubtful).state == State.PURCHASED


class TestAMovedKey:
    """A key that was moved to another project after the purchase: the campaign bought twice with it."""

    def test_proves_no_absence(self, approved, provider):
        provider.owned_numbers = [owned("+12125550188", 1)]
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        provider.owned_numbers = []
        Purchase.objects.update(window_ends_at=clock.now())
        for _ in range(5):
            check(doubtful)
        found = evidence.about(Purchase.objects.get())
        assert (found.clean, found.may_try_again) == (0, False)
        assert "+12125550188" in found.last.problem

    def test_that_knew_no_number_proves_none_once_it_shows_other_projects(self, approved, provider):
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        provider.projects = [2]
        for _ in range(4):
            check(doubtful)
        assert evidence.about(doubtful).clean == 0
        provider.projects = [1, 2]
        check(doubtful)
        assert evidence.about(doubtful).clean == 1

    def test_confirming_its_numbers_as_gone_proves_no_absence_for_an_earlier_call(self, approved, provider):
        from tests.provider.test_lists import confirm_gone

        provider.owned_numbers = [owned("+12125550188", 1), owned("+12125550189", 2)]
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        provider.owned_numbers = [owned("+12125550189", 2)]
        check(doubtful)
        confirm_gone((1, "+12125550188"))
        check(doubtful)
        assert OwnedRead.objects.latest("pk").complete
        assert evidence.about(doubtful).clean == 0

    @pytest.mark.parametrize(("status", "known"), [(200, [1]), (500, [])])
    def test_that_knows_no_number_is_asked_for_its_projects_before_it_buys(
        self, approved, provider, status, known
    ):
        Credential.objects.update(projects=None)
        if status == 500:
            provider.http.remove("GET", PROJECTS)
            provider.http.add("GET", PROJECTS, status=500)
        provider.sells(NUMBER)
        assert buy(approved).state == State.PURCHASED
        assert Attempt.objects.get().projects == known

    def test_what_it_shows_still_settles(self, approved, provider):
        provider.owned_numbers = [owned("+12125550188", 1)]
        provider.answer_purchase(requests.ReadTimeout())
        doubtful = buy(approved)
        provider.owned_numbers = [owned(NUMBER, 7)]
        assert check(doubtful).state == State.PURCHASED

    def test_it_is_read_once_a_minute_until_it_sees_again(self, team, provider):
        key = ApiKey.objects.get()
        provider.owned_numbers = [owned("+12125550188", 1)]
        owned_list.read(key)
        provider.owned_numbers = []
        owned_list.read(key)
        assert key.pk in pauses.keys_waiting_for_a_read()
        provider.owned_numbers = [owned("+12125550188", 1)]
        evidence.gather(key.pk)
        assert Credential.objects.get().blind_at is not None  # it was read a moment ago
        OwnedRead.objects.update(began_at=clock.now() - clock.LONGEST_WAIT)
        evidence.gather(key.pk)
        assert Credential.objects.get().blind_at is None


class TestOneSecretInTwoTeams:
    @pytest.fixture
    def sales(self, team, sam, ana):
        made = factories.team("Sales", key=factories.KEY)
        members = factories.member("sam", made, "requester"), factories.member("ana", made, "approver")
        return factories.approve(factories.request(made, members[0], [OTHER]), members[1])[0]

    def test_has_one_refusal_told_to_both(self, approved, sales, provider):
        provider.answer_purchase({"error": "no"}, status=401)
        buy(approved)
        assert "refuses" in buy(sales).waiting_for
        assert len(provider.purchases) == 1
        told = AuditEvent.objects.filter(action="key.refused").values_list("team__name", flat=True)
        assert set(told) == {"Support", "Sales"}

    def test_has_one_pause(self, approved, sales, provider):
        provider.answer_purchase({}, status=429, headers={"Retry-After": "60"})
        buy(approved)
        assert "asked to wait" in buy(sales).waiting_for
        assert len(provider.purchases) == 1

    def test_settles_for_both_with_one_read(self, approved, sales, provider):
        provider.answer_purchase(requests.ReadTimeout())
        buy(approved), buy(sales)
        provider.owned_numbers = [owned(NUMBER, 7), owned(OTHER, 8)]
        check(approved)
        assert set(Purchase.objects.values_list("state", flat=True)) == {State.PURCHASED}


def test_three_unclear_answers_hold_the_others_only_until_the_next_read(team, sam, ana, provider):
    """What waited is due and queued as soon as the list was read, not a quarter of a minute later."""
    from django_tasks_db.models import DBTaskResult

    numbers = [f"+121255501{n:02d}" for n in range(1, 6)]
    purchases = factories.approve(factories.request(team, sam, numbers), ana)
    provider.answer_purchase(requests.ReadTimeout())
    for purchase in purchases[:4]:
        buy(purchase)
    assert "lost" in Purchase.objects.get(pk=purchases[3].pk).waiting_for
    DBTaskResult.objects.all().delete()
    read_by_anybody()
    waiting = Purchase.objects.filter(state=State.APPROVED)
    assert all(purchase.due_at <= clock.now() for purchase in waiting)
    queued = {(row.task_path, *row.args_kwargs["args"]) for row in DBTaskResult.objects.all()}
    assert {("purchasing.tasks.buy", purchase.pk) for purchase in waiting} <= queued
