"""The life of purchases under everything at once: random sequences of what people, workers, the provider and clocks do.

After each step the invariants of FAULTS hold. `CHAOS_SEQUENCES` sets how many sequences are run (100).
"""

import json
import os
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal

import pytest
import requests
import responses
from django.conf import settings
from django.db import transaction
from django_tasks_db.models import DBTaskResult
from hypothesis import HealthCheck, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from purchasing import (
    approving,
    audit,
    clock,
    costs,
    decisions,
    evidence,
    people,
    procurement,
    settlement,
    stops,
    workflow,
)
from purchasing.identitycall.errors import Declined, NotSent, Unconfirmed
from purchasing.models import ApiKey, Approval, Attempt, AuditEvent, Membership, Purchase, PurchaseRequest
from purchasing.states import OPEN, Outcome, State
from tests import factories
from tests.factories import actor
from tests.provider import ONE, PURCHASE, Provider, offer, owned

SEQUENCES = int(os.environ.get("CHAOS_SEQUENCES", "100"))
NUMBERS = [f"+121255501{n:02d}" for n in range(1, 6)]
WINDOW = timedelta(seconds=settings.SETTLE_WINDOW + settings.IDENTITYCALL_DEADLINE)


def never_sent():
    error = requests.ConnectionError("refused")
    error.never_sent = True
    return error


# What the provider makes of a purchase call, and what comes back: (is it bought, the answer).
ANSWERS = {
    "201": (True, None),
    "201 garbage": (True, (201, {}, "<html>")),
    "201 cut": (True, (201, {}, '{"data": {"id": 5')),
    "201 for another number": (True, (201, {}, json.dumps({"data": owned("+12125550199", 5)}))),
    "200": (True, (200, {}, "{}")),
    "timeout, bought": (True, requests.ReadTimeout()),
    "timeout, not bought": (False, requests.ReadTimeout()),
    "timeout, bought later": ("late", requests.ReadTimeout()),
    "reset, bought": (True, requests.ConnectionError()),
    "reset, bought later": ("late", requests.ConnectionError()),
    "500, bought": (True, (500, {}, "")),
    "503, not bought": (False, (503, {}, "")),
    "302": (False, (302, {"Location": "/"}, "")),
    "422": (False, (422, {}, '{"error": "No longer available"}')),
    "422 HTML": (False, (422, {}, "<html>")),
    "401": (False, (401, {}, "")),
    "429": (False, (429, {"Retry-After": "5"}, "")),
    "never sent": (False, never_sent()),
}
LISTS = {
    "healthy": None,
    "500": (500, {}, ""),
    "garbage": (200, {}, '{"data": [{}]}'),
    "empty": (200, {}, '{"data": []}'),
    "timeout": requests.ReadTimeout(),
}


class LifeOfPurchases(RuleBasedStateMachine):
    """Two teams, some people, one provider that does what it likes, and a clock that jumps."""

    # --- Setting the stage ----------------------------------------------------------------------------------------

    @initialize()
    def stage(self):
        self.ledger = []  # (phone number, id): what the provider has bought, ever
        self.coming = []  # what it will have bought later
        self.posts = []  # every purchase call, with what was true when it came
        self.in_flight = []  # attempts that were claimed by a worker which has not said yet what came of it
        self.offset = timedelta()
        self.real_now = clock.now
        clock.now = lambda: self.real_now() + self.offset
        self.stack.callback(setattr, clock, "now", self.real_now)
        self.http = self.stack.enter_context(responses.RequestsMock(assert_all_requests_are_fired=False))
        self.provider = Provider(self.http)
        self.answer, self.price = "201", "2.00"
        self.provider.offers = [offer(number) for number in NUMBERS]
        self.provider.owned_numbers = []
        self.http.add_callback("POST", PURCHASE, self.purchase)
        self.http.add("GET", ONE, status=404, json={"error": "Resource not found"})
        self.http.add("PATCH", ONE, status=404, json={"error": "Resource not found"})
        self.teams = [factories.team("Support"), factories.team("Sales", key="idc_" + "s" * 32)]
        self.people = {
            name: [factories.member(name, team, role) for team in self.teams][0]
            for name, role in (
                ("sam", "requester"),
                ("ana", "approver"),
                ("eve", "approver"),
                ("tom", "admin"),
            )
        }
        for team in self.teams:  # who asks may approve what others ask for
            factories.member("eve", team, "requester")

    def __init__(self):
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(transaction.atomic())
        self.stack.callback(transaction.set_rollback, True)

    def teardown(self):
        self.stack.close()

    # --- The provider ---------------------------------------------------------------------------------------------

    def purchase(self, request):
        """A purchase call arrives: what must be true of it is looked at before anything is answered."""
        sent = json.loads(request.body)
        number = sent["phone_number"]
        purchase = Purchase.objects.get(phone_number=number, state=State.PURCHASING)
        attempt = purchase.attempts.get(outcome=Outcome.OPEN)
        self.posts.append((attempt.pk, number))
        assert request.body.decode() == attempt.payload
        assert request.headers["Authorization"].endswith(
            ApiKey.objects.values_list("secret", flat=True).get(pk=attempt.key_id)
        )
        self.check_approval(purchase, sent)
        bought, answer = ANSWERS[self.answer]
        if any(number == known for known, _ in self.ledger):
            bought, answer = False, (422, {}, '{"error": "No longer available"}')
        if bought == "late":
            self.coming.append(number)
        elif bought:
            self.buy(number)
            answer = answer or (201, {}, json.dumps({"data": self.provider.owned_numbers[-1]}))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def buy(self, number):
        if all(number != known for known, _ in self.ledger):
            self.ledger.append((number, 500 + len(self.ledger)))
            self.provider.owned_numbers.append(owned(*self.ledger[-1]))

    def check_approval(self, purchase, sent):
        approval = purchase.approvals.get(superseded_at=None)
        assert approval.approver_id != purchase.request.requester_id
        assert approval.version == purchase.version
        assert Membership.objects.filter(
            user=approval.approver, team=purchase.request.team, role="approver", user__is_active=True
        ).exists()
        for cost in ("upfront_cost", "monthly_cost"):
            approved = getattr(approval, cost)
            assert Decimal(sent[cost]) == approved
            assert Decimal(self.price if cost == "monthly_cost" else "1.00") <= approved
        team = purchase.request.team
        team.refresh_from_db()
        assert not team.stopped_at

    @rule(answer=st.sampled_from(sorted(ANSWERS)))
    def the_provider_will_answer(self, answer):
        self.answer = answer

    @rule(answer=st.sampled_from(sorted(LISTS)))
    def the_owned_list_will_be(self, answer):
        self.provider.owned_answer = LISTS[answer]

    @rule(price=st.sampled_from(["2.00", "2.00", "1.00", "3.00"]))
    def the_price_changes(self, price):
        self.price = price
        self.provider.offers = [offer(number, monthly=price) for number in NUMBERS]
        self.offset += timedelta(seconds=61)  # what was seen is no longer fresh

    @precondition(lambda self: self.coming)
    @rule()
    def what_was_accepted_is_carried_out_at_last(self):
        """Within the window: that is how long the provider may take (DESIGN 4)."""
        self.buy(self.coming.pop(0))

    @rule(number=st.sampled_from(NUMBERS))
    def somebody_buys_it_in_the_dashboard(self, number):
        """Only what nobody here asked for: else no reader could tell the two purchases apart."""
        if not Purchase.objects.filter(phone_number=number).exists():
            self.provider.owned_numbers.append(owned(number, 900 + len(self.provider.owned_numbers)))
            self.provider.offers = [row for row in self.provider.offers if row["phone_number"] != number]

    # --- People -------------------------------------------------------------------------------------------------

    def sentence(self, action):
        """Do something that may be refused with a sentence, and only so."""
        try:
            return action()
        except workflow.WorkflowError as problem:
            note(f"refused: {problem}")
            return None

    def purchases(self, *states):
        return list(
            Purchase.objects.filter(state__in=states or list(State))
            .select_related("request__team")
            .order_by("pk")
        )

    def one(self, data, *states):
        found = self.purchases(*states)
        return data.draw(st.sampled_from(found)) if found else None

    @rule(
        who=st.sampled_from(["sam", "eve"]),
        team=st.integers(0, 1),
        numbers=st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3, unique=True),
    )
    def ask(self, who, team, numbers):
        self.sentence(lambda: factories.request(self.teams[team], self.people[who], numbers))

    @rule(data=st.data(), who=st.sampled_from(["ana", "eve", "sam", "tom"]), at_any_price=st.booleans())
    def approve(self, data, who, at_any_price):
        if purchase := self.one(data, State.PENDING):
            request = purchase.request
            version = data.draw(st.sampled_from([request.version, request.version, 1]))
            pks = [row.pk for row in request.purchases.filter(state=State.PENDING)]
            self.sentence(
                lambda: approving.approve(
                    request.pk,
                    pks,
                    approver=actor(self.people[who]),
                    version=version,
                    unconfirmed_cost_ok=at_any_price,
                )
            )

    @rule(data=st.data(), who=st.sampled_from(["ana", "eve"]))
    def reject(self, data, who):
        if purchase := self.one(data, State.PENDING):
            self.sentence(
                lambda: approving.reject(
                    purchase.request_id,
                    [purchase.pk],
                    approver=actor(self.people[who]),
                    version=purchase.version,
                    reason="No",
                )
            )

    @rule(data=st.data(), who=st.sampled_from(["sam", "eve", "ana", "tom"]))
    def cancel(self, data, who):
        if purchase := self.one(data, State.PENDING, State.APPROVED, State.PURCHASING, State.UNCONFIRMED):
            self.sentence(
                lambda: workflow.cancel(purchase.request_id, [purchase.pk], actor=actor(self.people[who]))
            )

    @rule(team=st.integers(0, 1), on=st.booleans())
    def stop_or_go_on(self, team, on):
        act = stops.go_on if on else stops.stop
        self.sentence(lambda: act(self.teams[team], actor=actor(self.people["tom"]), reason="Because"))

    @rule(team=st.integers(0, 1))
    def a_new_key(self, team):
        secret = f"idc_{ApiKey.objects.count():032d}"
        self.sentence(lambda: people.set_key(self.teams[team], secret, actor=factories.SYSTEM))

    @rule(there=st.booleans())
    def an_approver_leaves_or_comes_back(self, there):
        type(self.people["ana"]).objects.filter(username="ana").update(is_active=there)
        self.people["ana"].refresh_from_db()

    @rule(
        data=st.data(),
        who=st.sampled_from(["ana", "eve", "tom", "sam"]),
        says=st.sampled_from(["bought", "again", "give up"]),
    )
    def decide(self, data, who, says):
        """People go by what they see in the provider's dashboard: the truth, or nothing while it is down."""
        purchase = self.one(data, State.HELD)
        if purchase is None:
            return
        decider, ids = actor(self.people[who]), dict(self.ledger)
        if says == "bought" and purchase.phone_number in ids:
            self.sentence(
                lambda: decisions.it_was_bought(
                    purchase, provider_id=ids[purchase.phone_number], reason="Seen", actor=decider
                )
            )
        elif says == "again" and purchase.is_in_doubt and purchase.phone_number not in self.coming:
            self.sentence(lambda: decisions.try_again(purchase, reason="Not there", actor=decider))
        elif says == "again":
            seen, _ = decisions.offer_now(purchase)
            self.sentence(
                lambda: decisions.approve_again(
                    purchase,
                    reason="Fine",
                    actor=decider,
                    seen=seen and (seen.upfront_cost, seen.monthly_cost),
                    unconfirmed_cost_ok=True,
                )
            )
        elif says == "give up":
            self.sentence(lambda: decisions.give_up(purchase, reason="Enough", actor=decider))

    # --- Machines -------------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def a_worker_buys(self, data):
        """The queue delivers a task for any purchase, due or not, in whatever state."""
        if purchase := self.one(data):
            procurement.buy(purchase.pk)

    @rule()
    def workers_buy_all_that_is_due(self):
        for purchase in self.purchases(State.APPROVED):
            procurement.buy(purchase.pk)

    @rule(data=st.data(), sent=st.sampled_from(["nothing", "all", "late"]))
    def a_worker_dies_or_hangs_in_the_call(self, data, sent):
        """Claimed, and then silence: the call may have been carried out, may be later, or never left."""
        purchase = self.one(data, State.APPROVED)
        if purchase is None or purchase.due_at > clock.now():
            return
        attempt = self.claim(purchase)
        if attempt is None:
            return
        self.in_flight.append(attempt.pk)
        if sent == "nothing":
            return
        self.posts.append((attempt.pk, purchase.phone_number))
        if sent == "all":
            self.buy(purchase.phone_number)
        else:
            self.coming.append(purchase.phone_number)

    def claim(self, purchase):
        """What `procurement.buy` does up to the call."""
        try:
            key = procurement._free_key(purchase)
            look = procurement._look(purchase, key)
            return look and procurement.claim(purchase, key=key, look=look, worker=audit.WORKER)
        except (procurement.NotNow, procurement.Hold, workflow.WorkflowError) as reason:
            note(f"not claimed: {reason}")
            return None

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def a_hung_worker_says_what_came_of_it(self, data):
        """Perhaps long after the sweep has given its attempt up. It says only what is true."""
        attempt = Attempt.objects.get(pk=data.draw(st.sampled_from(self.in_flight)))
        self.in_flight.remove(attempt.pk)
        number, ids = attempt.purchase.phone_number, dict(self.ledger)
        was_sent = attempt.pk in [pk for pk, _ in self.posts]
        if not was_sent:
            settlement.settle(attempt, Outcome.NOT_SENT, error=NotSent("It woke up behind the fence."))
        elif number in ids and data.draw(st.booleans()):
            settlement.settle(attempt, Outcome.PURCHASED, provider_id=ids[number])
        elif number in ids or number in self.coming:
            settlement.settle(attempt, Outcome.UNCONFIRMED, error=Unconfirmed("No answer in time."))
        else:
            settlement.settle(attempt, Outcome.DECLINED, error=Declined("No longer available", status=422))

    @rule()
    def sweep(self):
        evidence.sweep()

    @rule()
    def read_the_evidence(self):
        for key in list(ApiKey.objects.values_list("pk", flat=True)):
            evidence.check(key)

    @rule(data=st.data())
    def look_up_the_costs(self, data):
        if purchase := self.one(data, State.PENDING):
            costs.confirm(purchase.request_id)

    @rule(step=st.sampled_from([5, 61, 61, 600, 1000, 86400, 15 * 86400, -7200]))
    def the_clock_moves(self, step):
        """What the provider still had to do is done before the window is over (DESIGN 4)."""
        self.offset += timedelta(seconds=step)
        if step >= WINDOW.total_seconds() or step < 0:
            while self.coming:
                self.buy(self.coming.pop(0))

    @rule()
    def the_queue_loses_everything(self):
        DBTaskResult.objects.all().delete()

    # --- What must hold after every step ------------------------------------------------------------------------------

    @invariant()
    def nothing_is_bought_twice(self):
        numbers = [number for number, _ in getattr(self, "ledger", [])]
        assert len(numbers) == len(set(numbers))
        attempts = [attempt for attempt, _ in getattr(self, "posts", [])]
        assert len(attempts) == len(set(attempts)), "an attempt was sent twice"

    @invariant()
    def whatever_was_bought_has_its_record(self):
        for number, provider_id in getattr(self, "ledger", []):
            records = Purchase.objects.filter(phone_number=number, attempts__isnull=False).distinct()
            with_posts = [
                row for row in records if any(row.attempts.filter(pk=pk).exists() for pk, _ in self.posts)
            ]
            fitting = [
                row
                for row in with_posts
                if (row.state == State.PURCHASED and row.provider_id == provider_id)
                or row.state in (State.PURCHASING, State.UNCONFIRMED, State.HELD, State.GIVEN_UP)
                # In line for a second try that a person ordered: its look finds the number first.
                or (row.state == State.APPROVED and row.is_in_doubt)
            ]
            assert fitting, f"{number} was bought; records: {[(row.pk, row.state) for row in records]}"

    @invariant()
    def whatever_is_purchased_was_bought(self):
        known = dict(getattr(self, "ledger", []))
        for purchase in Purchase.objects.filter(state=State.PURCHASED):
            assert known.get(purchase.phone_number) == purchase.provider_id

    @invariant()
    def one_record_a_number(self):
        numbers = [row.phone_number for row in Purchase.objects.filter(state__in=[*OPEN, State.PURCHASED])]
        assert len(numbers) == len(set(numbers))

    @invariant()
    def what_moves_on_is_planned(self):
        """Nothing is silently stuck: whatever is not final and waits for no person has a time, and says why it waits."""
        for purchase in Purchase.objects.filter(state__in=OPEN):
            if purchase.state != State.HELD or purchase.is_in_doubt:
                assert purchase.due_at is not None, f"{purchase} ({purchase.state}) would wait for ever"
        assert (
            Attempt.objects.filter(outcome=Outcome.OPEN).exclude(purchase__state=State.PURCHASING).count()
            == 0
        )

    @invariant()
    def the_record_is_whole(self):
        assert audit.verify().whole

    @invariant()
    def every_state_is_told_by_its_last_event(self):
        last = {}
        for purchase, became in (
            AuditEvent.objects.exclude(became="").order_by("seq").values_list("purchase", "became")
        ):
            last[purchase] = became
        assert last == dict(Purchase.objects.values_list("pk", "state"))

    @invariant()
    def nobody_approved_their_own(self):
        own = Approval.objects.filter(approver=models_f("purchase__request__requester"))
        assert not own.exists()


def models_f(path):
    from django.db.models import F

    return F(path)


@pytest.mark.django_db
@pytest.mark.timeout(60 + 3 * SEQUENCES)
def test_the_life_of_purchases(monkeypatch):
    from purchasing import inventory

    monkeypatch.setattr(
        inventory.time, "sleep", lambda seconds: None
    )  # the pace of a key is tested elsewhere
    case = LifeOfPurchases.TestCase
    case.settings = hypothesis_settings(
        max_examples=SEQUENCES,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    case().runTest()
    assert not PurchaseRequest.objects.exists()  # each sequence was rolled back
