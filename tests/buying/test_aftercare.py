"""After a purchase: name and recording are as requested, proved by as few calls as possible."""

import json
from datetime import timedelta

import pytest
import requests
from django_tasks_db.models import DBTaskResult

from purchasing import clock
from purchasing.buying import aftercare, evidence
from purchasing.models import ApiKey, AuditEvent, Credential, Purchase
from purchasing.states import State
from purchasing.teams import keys
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import buy
from tests.healthy_provider import ONE, PURCHASE, owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"
PROVIDER_ID = 501


class Number:
    """A number at the provider that can be read and changed. `patches` are the changes it received."""

    def __init__(self, http):
        self.fields = owned(NUMBER, PROVIDER_ID, recording=True)
        self.patches, self.answer, self.obeys, self.keys = [], None, True, []
        http.add_callback("GET", ONE, self.get)
        http.add_callback("PATCH", ONE, self.patch)

    def get(self, request):
        self.keys.append(request.headers["Authorization"][-4:])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or (200, {}, json.dumps({"data": self.fields}))

    def patch(self, request):
        self.patches.append(json.loads(request.body))
        if self.obeys:
            self.fields |= self.patches[-1]
        return 200, {}, json.dumps({"data": self.fields})


@pytest.fixture
def number(http, provider):
    return Number(http)


@pytest.fixture
def bought(approved, provider):
    provider.sells(NUMBER, PROVIDER_ID)
    return buy(approved)


def apply(purchase):
    Purchase.objects.filter(pk=purchase.pk, applied_at=None).update(due_at=clock.now())
    aftercare.apply(purchase.pk)
    return Purchase.objects.get(pk=purchase.pk)


def test_the_name_is_applied_and_proved(bought, number):
    done = apply(bought)
    assert number.patches == [{"name": "Desk"}]
    assert done.applied_at is not None
    assert (done.due_at, done.applied_words) == (None, "")
    assert factories.actions(done)[-1] == "purchase.applied"


def test_recording_is_switched_off_for_who_asked_for_that(bought, number):
    Purchase.objects.update(record_calls=False)
    apply(bought)
    assert number.patches == [{"recording": False, "name": "Desk"}]
    assert number.fields["recording"] is False


def test_what_is_right_already_is_left_alone(bought, number):
    number.fields["name"] = "Desk"
    assert apply(bought).applied_at is not None
    assert number.patches == []


def test_an_empty_name_changes_no_name(bought, number):
    Purchase.objects.update(name="")
    number.fields["name"] = "as the provider called it"
    apply(bought)
    assert number.patches == []


def test_spaces_that_the_reading_folds_do_not_keep_it_busy_for_ever(bought, number):
    Purchase.objects.update(name="Front  desk")
    assert apply(bought).applied_at is not None
    assert number.patches == [{"name": "Front  desk"}]


def test_a_change_that_does_not_show_is_tried_again_and_said(bought, number):
    Purchase.objects.update(record_calls=False)
    number.obeys = False
    waiting = apply(bought)
    assert waiting.applied_at is None
    assert "recording" in waiting.applied_words
    assert waiting.due_at > clock.now()
    number.obeys = True
    assert apply(bought).applied_at is not None


def test_recording_that_the_provider_does_not_tell_is_not_proved(bought, number):
    number.fields["recording"] = None
    number.obeys = False
    assert apply(bought).applied_at is None
    assert number.patches == [{"recording": True, "name": "Desk"}]


def test_another_number_under_the_id_is_left_as_it_is(bought, number):
    """A person may have typed the wrong id for a number that could not be read."""
    number.fields["phone_number"] = "+12125550999"
    waiting = apply(bought)
    assert number.patches == []
    assert "+12125550999" in waiting.applied_words


@pytest.mark.parametrize(
    "answer",
    [
        requests.ReadTimeout(),
        requests.ConnectionError(),
        (500, {}, ""),
        (200, {}, "<html>"),
        (404, {}, '{"error": "Resource not found"}'),
        (302, {"Location": "/"}, ""),
    ],
    ids=["timeout", "reset", "500", "HTML", "404", "redirect"],
)
def test_whatever_goes_wrong_is_said_and_tried_again(bought, number, answer):
    number.answer = answer
    waiting = apply(bought)
    assert (waiting.state, waiting.applied_at, waiting.checks) == (State.PURCHASED, None, 1)
    assert waiting.applied_words
    number.answer = None
    assert apply(bought).applied_at is not None


def test_429_pauses_the_key_and_401_marks_it(bought, number):
    number.answer = (429, {"Retry-After": "30"}, "")
    apply(bought)
    assert Credential.objects.get().paused_until > clock.now()
    asked = len(number.keys)
    apply(bought)
    assert len(number.keys) == asked  # a paused key is left alone
    Credential.objects.update(paused_until=None)
    number.answer = (401, {}, "")
    apply(bought)
    assert Credential.objects.get().refused_at is not None


def test_the_key_that_bought_it_is_used_though_it_was_replaced(bought, number, team):
    """The new key may be for another project, which does not see the number."""
    keys.set_key(team, "idc_" + "n" * 28 + "9999", actor=factories.SYSTEM)
    apply(bought)
    assert set(number.keys) == {"1234"}


@pytest.mark.parametrize("gone", ["refused", "wiped"])
def test_the_new_key_is_used_when_the_old_one_cannot_be(bought, number, team, gone):
    keys.set_key(team, "idc_" + "n" * 28 + "9999", actor=factories.SYSTEM)
    factories.lose(ApiKey.objects.filter(last_four="1234"), gone)
    apply(bought)
    assert set(number.keys) == {"9999"}


def test_tries_come_ever_more_slowly(bought, number):
    number.answer = (500, {}, "")
    gaps = []
    for _ in range(25):
        waiting = apply(bought)
        gaps.append(round((waiting.due_at - clock.now()).total_seconds(), -1))
    assert gaps[:4] == [10, 30, 60, 60]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 15 * 60


def test_done_is_done(bought, number):
    apply(bought)
    number.fields["name"] = "renamed by somebody"
    aftercare.apply(bought.pk)
    assert number.patches == [{"name": "Desk"}]


def test_not_before_it_is_due_and_not_what_is_not_bought(approved, number):
    aftercare.apply(approved.pk)
    aftercare.apply(987654)
    assert number.keys == []


def test_the_sweep_wakes_it_and_a_clock_that_went_back_does_not_stop_it(bought, number):
    for due_at in (clock.now(), clock.now() + timedelta(hours=2)):
        Purchase.objects.update(due_at=due_at)
        DBTaskResult.objects.all().delete()
        sweep.run()
        assert [row.task_path for row in DBTaskResult.objects.all()] == ["purchasing.tasks.apply"]
    aftercare.apply(bought.pk)
    assert Purchase.objects.get().applied_at is not None


def test_what_cannot_be_applied_is_told_once(bought, number):
    number.answer = (404, {}, '{"error": "Resource not found"}')
    apply(bought)
    sweep.run()
    assert not AuditEvent.objects.filter(action="purchase.not_applied").exists()
    Purchase.objects.update(purchased_at=clock.now() - timedelta(minutes=21))
    sweep.run()
    sweep.run()
    event = AuditEvent.objects.get(action="purchase.not_applied")
    assert event.note == "IdentityCall declined: Resource not found"


class TestWithThePurchase:
    """The answer to the purchase shows the name, so nothing more is called, or one PATCH for the recording."""

    @pytest.fixture
    def many(self, team, sam, ana):
        numbers = [f"+121255501{place:02d}" for place in range(1, 31)]

        def approved(**fields):
            return factories.approve(factories.request(team, sam, numbers, **fields), ana)

        return approved

    @pytest.fixture
    def account(self, http, provider):
        """A provider that sells what is asked for, under the name that is asked for, and records its calls."""
        shown = {}

        def sell(request):
            asked = json.loads(request.body)
            number = owned(asked["phone_number"], 501 + len(shown), name=asked.get("name"), recording=True)
            shown[number["id"]] = number
            provider.owned_numbers.append(number)
            listed = {name: value for name, value in number.items() if name != "recording"}
            return 201, {}, json.dumps({"data": listed})

        def change(request):
            number = shown[int(request.url.rpartition("/")[2])]
            number |= json.loads(request.body)
            return 200, {}, json.dumps({"data": number})

        provider.http.add_callback("POST", PURCHASE, sell)
        provider.http.add_callback("PATCH", ONE, change)
        return shown

    def test_thirty_purchases_take_at_most_1_1_calls_each(self, many, account, provider):
        Credential.objects.update(rate_per_minute=6000)
        bought = [buy(purchase) for purchase in many()]
        assert {purchase.state for purchase in bought} == {State.PURCHASED}
        assert all(purchase.applied_at and purchase.due_at is None for purchase in bought)
        assert factories.actions(bought[0])[-2:] == ["purchase.purchased", "purchase.applied"]
        assert len(provider.calls) == 30 + 2
        assert not queued("apply")

    def test_2_1_where_calls_are_not_recorded(self, many, account, provider):
        Credential.objects.update(rate_per_minute=6000)
        bought = [buy(purchase) for purchase in many(record_calls=False)]
        assert all(purchase.applied_at for purchase in bought)
        assert {number["recording"] for number in account.values()} == {False}
        assert len(provider.calls) == 2 * 30 + 2
        assert not queued("apply")

    def test_no_name_is_a_name_as_requested(self, many, account, provider):
        bought = buy(many(name="")[0])
        assert bought.applied_at is not None
        assert len(provider.calls) == 3

    def test_a_name_that_differs_is_set_by_a_task(self, bought):
        assert bought.applied_at is None
        assert queued("apply") == 1

    def test_recording_that_stays_on_is_tried_again(self, many, account, provider):
        provider.http.remove("PATCH", ONE)
        provider.http.add("PATCH", ONE, json={"error": "Something went wrong"}, status=500)
        purchase = buy(many(record_calls=False)[0])
        assert (purchase.state, purchase.applied_at, purchase.checks) == (State.PURCHASED, None, 1)
        assert purchase.due_at <= clock.now() + timedelta(seconds=10)
        assert queued("apply") == 1

    def test_another_number_in_the_answer_proves_nothing(self, many, account, provider):
        provider.http.remove("PATCH", ONE)
        provider.http.add("PATCH", ONE, json={"data": owned("+12125550999", 501, recording=False)})
        purchase = buy(many(record_calls=False)[0])
        assert purchase.applied_at is None
        assert "+12125550999" in purchase.applied_words

    def test_a_worker_that_is_lost_before_it_leaves_it_to_the_sweep(
        self, many, account, provider, monkeypatch
    ):
        lost = many(record_calls=False)[0]
        with monkeypatch.context() as killed:
            killed.setattr(aftercare, "switch_off", lambda *arguments, **options: None)
            waiting = buy(lost)
        assert waiting.applied_at is None
        assert clock.now() < waiting.due_at < clock.now() + timedelta(minutes=2)
        Purchase.objects.update(due_at=clock.now())
        sweep.run()
        assert queued("apply") == 1

    def test_what_evidence_settled_is_switched_off_with_one_call(self, many, account, provider):
        """The list shows the id of the number: it needs no read before."""
        purchase = many(record_calls=False)[0]
        number = owned(purchase.phone_number, 501, recording=True)
        account[501] = number

        def lose(request):
            provider.owned_numbers.append(number)
            raise requests.ReadTimeout

        provider.http.remove("POST", PURCHASE)
        provider.http.add_callback("POST", PURCHASE, lose)
        assert buy(purchase).state == State.UNCONFIRMED
        Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now())
        evidence.gather(ApiKey.objects.get().pk)
        before = len(provider.calls)
        assert apply(purchase).applied_at is not None
        assert [method for method, _ in provider.calls[before:]] == ["PATCH"]
        assert number["recording"] is False


def queued(task):
    return DBTaskResult.objects.filter(task_path=f"purchasing.tasks.{task}").count()


def test_an_id_that_a_person_typed_is_read_before_recording_is_switched_off(bought, number):
    Purchase.objects.update(record_calls=False)
    number.fields["phone_number"] = "+12125550999"
    assert apply(bought).applied_at is None
    assert number.patches == []


def test_what_is_not_urgent_waits_while_purchases_are_due(bought, number, team, sam, ana):
    factories.approve(factories.request(team, sam, ["+12125550102"]), ana)
    Credential.objects.update(rate_per_minute=60)
    apply(bought)  # takes the place that is kept for it
    Purchase.objects.filter(pk=bought.pk).update(applied_at=None)
    before = len(number.keys)
    waiting = apply(bought)
    assert len(number.keys) == before
    assert waiting.due_at > clock.now() + timedelta(seconds=15)
