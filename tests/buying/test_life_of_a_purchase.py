"""The life of purchases under everything at once: random sequences of what people, workers, the provider and clocks do.

After each step the invariants of docs/faults.md hold. `CHAOS_SEQUENCES` sets how many sequences are run (100).
"""

import json
import os
import tempfile
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from decimal import Decimal

import pytest
import requests
import responses
from django.db import transaction
from django.db.models import F
from django.test import override_settings
from django_tasks_db.models import DBTaskResult
from hypothesis import HealthCheck, Phase, note
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from purchasing import audit, clock, problems, workflow
from purchasing.approving import approvals
from purchasing.asking import price_lookup
from purchasing.buying import evidence, held_purchases, look, outcomes, procurement
from purchasing.identitycall.errors import NotSent, Unconfirmed
from purchasing.models import (
    ApiKey,
    Approval,
    Attempt,
    AuditEvent,
    Membership,
    Purchase,
    PurchaseRequest,
    User,
)
from purchasing.provider import turns
from purchasing.states import OPEN, Outcome, State
from purchasing.teams import keys, stop_buying
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import seen_now
from tests.factories import actor
from tests.healthy_provider import ONE, PURCHASE, Provider, offer, owned

SEQUENCES = int(os.environ.get("CHAOS_SEQUENCES", "100"))
NUMBERS = [f"+121255501{n:02d}" for n in range(1, 6)]


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


# The steps of a sequence; a step listed more often is taken more often.
STEPS = """
buy_all buy_all buy_all buy_all buy_one worker_dies_or_hangs worker_dies_or_hangs hung_worker_answers
read_evidence read_evidence read_evidence read_evidence sweep time_passes time_passes look_up_costs queue_is_lost
ask approve approve approve decide decide decide decide reject_or_cancel stop_or_go_on new_key
approver_leaves_or_returns will_answer will_answer owned_list healthy healthy price_changes carried_out_late
bought_elsewhere
"""
BEGINNINGS = ["pending", "approved", "in doubt", "in doubt, bought", "held", "again", "given up"]
WHAT = dict(enumerate(STEPS.split()))
MOVES, POSTS = Counter(), Counter()  # what all sequences together have seen


class LifeOfPurchases(RuleBasedStateMachine):
    """Two teams, some people, one provider that does what it likes, and a clock that jumps."""

    # --- Setting the stage ----------------------------------------------------------------------------------------

    stage = None  # teams and people, made once for all sequences
    beginning = None  # the machine that went where the sequences begin, once for all that begin there

    def __init__(self):
        super().__init__()
        self.stack = ExitStack()
        around = transaction.atomic()
        around._from_testcase = True  # as Django's TestCase does: `durable` blocks are allowed inside
        self.stack.enter_context(around)
        self.stack.callback(transaction.set_rollback, True)
        # Each sequence has a mark of its own, as it is rolled back at its end: that looks like a restored backup.
        mark = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.stack.enter_context(override_settings(RESTORE_MARK=mark))
        self.teams, self.people = self.stage
        before = self.beginning
        # (phone number, id): what the provider has bought, ever
        self.ledger = list(before.ledger) if before else []
        self.coming = []  # what it will have bought later
        self.posts = list(before.posts) if before else []  # every purchase call: (attempt, phone number)
        self.in_flight = []  # attempts whose worker has not reported the outcome yet
        self.offset = timedelta()
        self.real_now = clock.now
        clock.now = lambda: self.real_now() + self.offset
        self.stack.callback(setattr, clock, "now", self.real_now)
        self.http = self.stack.enter_context(responses.RequestsMock(assert_all_requests_are_fired=False))
        self.provider = Provider(self.http)
        self.answer, self.price = "201", "2.00"
        self.provider.offers = [offer(number) for number in NUMBERS]
        self.provider.owned_numbers = list(before.provider.owned_numbers) if before else []
        self.http.add_callback("POST", PURCHASE, self.purchase)
        self.http.add("GET", ONE, status=404, json={"error": "Resource not found"})
        self.http.add("PATCH", ONE, status=404, json={"error": "Resource not found"})

    def teardown(self):
        for became, was in AuditEvent.objects.exclude(became="").values_list("became", "was"):
            MOVES[was, became] += 1
        POSTS["sent"] += len(self.posts)
        assert audit.verify().whole
        self.stack.close()

    def go_to(self, begins):
        """Two numbers are requested; some sequences begin where others come late, on the same way."""
        request = factories.request(self.teams[0], self.people["sam"], NUMBERS[:2])
        depth = BEGINNINGS.index(begins)
        if depth >= BEGINNINGS.index("approved"):
            factories.approve(request, self.people["ana"])
        if depth >= BEGINNINGS.index("in doubt"):
            self.answer = "timeout, bought" if "bought" in begins else "timeout, not bought"
            self.buy_all(None)
        if depth >= BEGINNINGS.index("held"):
            for _ in range(4):
                self.offset += timedelta(seconds=1000)
                sweep.run()
                self.read_evidence(None)
        if begins == "again":
            for purchase in Purchase.objects.filter(state=State.HELD):
                held_purchases.try_again(
                    purchase, reason="Not there", actor=actor(self.people["ana"]), seen=seen_now(purchase)
                )
        if begins == "given up":
            for purchase in Purchase.objects.filter(state=State.HELD):
                held_purchases.give_up(purchase, reason="Enough", actor=actor(self.people["ana"]))

    @initialize(answer=st.sampled_from(sorted(ANSWERS)))
    def begin(self, answer):
        self.answer = answer

    @rule(data=st.data(), what=st.sampled_from(sorted(WHAT)))
    def step(self, data, what):
        """One of the steps below, the usual ones more often."""
        name = WHAT[what]
        note(name)
        getattr(self, name)(data)

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
        """The provider carries a purchase out; a number can be bought once."""
        if all(number != known for known, _ in self.ledger):
            self.ledger.append((number, 500 + len(self.ledger)))
            self.provider.owned_numbers.append(owned(*self.ledger[-1]))

    def check_approval(self, purchase, sent):
        """A colleague approved exactly this, may still approve, and nothing is stopped."""
        approval = purchase.approvals.get(superseded_at=None)
        assert approval.approver_id != purchase.request.requester_id
        assert approval.version == purchase.version
        team = purchase.request.team
        assert Membership.objects.filter(
            user=approval.approver, team=team, role="approver", user__is_active=True
        ).exists()
        for cost in ("upfront_cost", "monthly_cost"):
            approved = getattr(approval, cost)
            assert Decimal(sent[cost]) == approved
            assert Decimal(self.price if cost == "monthly_cost" else "1.00") <= approved
        assert type(team).objects.get(pk=team.pk).stopped_at is None

    def will_answer(self, data):
        """How the provider answers purchase calls from now on."""
        self.answer = data.draw(st.sampled_from(sorted(ANSWERS)))

    def owned_list(self, data):
        """Whether its owned list can be read from now on."""
        self.provider.owned_answer = LISTS[data.draw(st.sampled_from(sorted(LISTS)))]

    def healthy(self, data):
        """The provider is well again."""
        self.answer, self.provider.owned_answer = "201", None

    def price_changes(self, data):
        """Another price; what was seen is no longer fresh."""
        self.price = data.draw(st.sampled_from(["1.00", "2.00", "3.00"]))
        self.provider.offers = [offer(number, monthly=self.price) for number in NUMBERS]
        self.offset += timedelta(seconds=61)

    def carried_out_late(self, data):
        """What was accepted is bought at last, within the window (docs/provider.md, 'What we infer')."""
        if self.coming:
            self.buy(self.coming.pop(0))

    def bought_elsewhere(self, data):
        """In the provider's dashboard. Only what nobody asked for here: no reader could tell the two apart."""
        number = data.draw(st.sampled_from(NUMBERS))
        seen = [entry["phone_number"] for entry in self.provider.owned_numbers]
        if number not in seen and not Purchase.objects.filter(phone_number=number).exists():
            self.provider.owned_numbers.append(owned(number, 900 + len(seen)))

    # --- People -------------------------------------------------------------------------------------------------

    def sentence(self, action):
        """Do something that may be refused with a sentence, and only so."""
        try:
            return action()
        except problems.Problem as problem:
            note(f"refused: {problem}")
            return None

    def one(self, data, *states):
        """Any purchase in one of these states, or None."""
        found = Purchase.objects.filter(state__in=states or list(State)).select_related("request__team")
        found = list(found.order_by("pk"))
        return data.draw(st.sampled_from(found)) if found else None

    def somebody(self, data, *names):
        return self.people[data.draw(st.sampled_from(names or sorted(self.people)))]

    def ask(self, data):
        """For some numbers, asked for before or not."""
        numbers = data.draw(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3, unique=True))
        team = data.draw(st.sampled_from(self.teams))
        self.sentence(lambda: factories.request(team, self.somebody(data, "sam", "eve"), numbers))

    def approve(self, data):
        """By anybody, permitted or not; now and then from an older page."""
        purchase = self.one(data, State.PENDING)
        if purchase is None:
            return
        request, who = purchase.request, self.somebody(data, "ana", "ana", "eve", "sam", "tom")
        version = data.draw(st.sampled_from([request.version, request.version, 1]))
        pks = [row.pk for row in request.purchases.filter(state=State.PENDING)]
        at_any_price = data.draw(st.booleans())
        self.sentence(
            lambda: approvals.approve(
                request.pk, pks, approver=actor(who), version=version, unconfirmed_cost_ok=at_any_price
            )
        )

    def reject_or_cancel(self, data):
        """Any purchase, any person."""
        purchase, who = self.one(data), actor(self.somebody(data))
        if purchase is None:
            return
        if data.draw(st.booleans()):
            self.sentence(lambda: workflow.cancel(purchase.request_id, [purchase.pk], actor=who))
        else:
            self.sentence(
                lambda: approvals.reject(
                    purchase.request_id, [purchase.pk], approver=who, version=purchase.version, reason="No"
                )
            )

    def stop_or_go_on(self, data):
        team, tom = data.draw(st.sampled_from(self.teams)), actor(self.people["tom"])
        act = stop_buying.go_on if type(team).objects.get(pk=team.pk).stopped_at else stop_buying.stop
        self.sentence(lambda: act(team, actor=tom, reason="Because"))

    def new_key(self, data):
        secret = f"idc_{ApiKey.objects.count():032d}"
        keys.set_key(data.draw(st.sampled_from(self.teams)), secret, actor=factories.SYSTEM)

    def approver_leaves_or_returns(self, data):
        ana = User.objects.get(username="ana")
        User.objects.filter(pk=ana.pk).update(is_active=not ana.is_active)
        self.people = self.people | {"ana": User.objects.get(pk=ana.pk)}

    def decide(self, data):
        """People go by what they see in the provider's dashboard, which is the truth."""
        purchase = self.one(data, State.HELD)
        if purchase is None:
            return
        who, ids = actor(self.somebody(data)), dict(self.ledger)
        says = data.draw(st.sampled_from(["again", "bought", "give up"]))
        if says == "give up":
            self.sentence(lambda: held_purchases.give_up(purchase, reason="Enough", actor=who))
        elif says == "bought" and purchase.phone_number in ids:
            number_id = ids[purchase.phone_number]
            self.sentence(
                lambda: held_purchases.it_was_bought(
                    purchase, provider_id=number_id, reason="Seen", actor=who
                )
            )
        elif purchase.is_in_doubt and purchase.phone_number not in self.coming:
            self.sentence(
                lambda: held_purchases.try_again(
                    purchase, reason="Not there", actor=who, seen=seen_now(purchase)
                )
            )
        else:
            shown, _ = held_purchases.offer_now(purchase)
            seen = shown and (shown.upfront_cost, shown.monthly_cost)
            self.sentence(
                lambda: held_purchases.approve_again(
                    purchase, reason="Fine", actor=who, seen=seen, unconfirmed_cost_ok=True
                )
            )

    # --- Machines -------------------------------------------------------------------------------------------------

    def buy_one(self, data):
        """The queue delivers a task for any purchase, due or not, in whatever state."""
        if purchase := self.one(data):
            procurement.buy(purchase.pk)

    def buy_all(self, data):
        """A minute later the workers have tried everything that was due."""
        self.offset += timedelta(seconds=61)
        for pk in list(Purchase.objects.filter(state=State.APPROVED).values_list("pk", flat=True)):
            procurement.buy(pk)

    def worker_dies_or_hangs(self, data):
        """Claimed, and then silence: the call was carried out, will be later, or never left."""
        purchase = self.one(data, State.APPROVED)
        attempt = purchase and purchase.due_at <= clock.now() and self.claim(purchase)
        if not attempt:
            return
        self.in_flight.append(attempt.pk)
        sent = data.draw(st.sampled_from(["all", "late", "nothing"]))
        if sent != "nothing":
            self.posts.append((attempt.pk, purchase.phone_number))
            self.buy(purchase.phone_number) if sent == "all" else self.coming.append(purchase.phone_number)

    def claim(self, purchase):
        """What `procurement.buy` does up to the call."""
        try:
            key = procurement._free_key(purchase)
            seen = look.look_at(purchase, key)
            return seen and procurement.claim(purchase, key=key, look=seen, worker=audit.WORKER)
        except (look.NotNow, procurement.Hold, problems.Problem) as reason:
            note(f"not claimed: {reason}")
            return None

    def hung_worker_answers(self, data):
        """Perhaps long after the sweep has given its attempt up. It says only what is true."""
        if not self.in_flight:
            return
        attempt = Attempt.objects.get(pk=data.draw(st.sampled_from(self.in_flight)))
        self.in_flight.remove(attempt.pk)
        number, ids = attempt.purchase.phone_number, dict(self.ledger)
        if attempt.pk not in [pk for pk, _ in self.posts]:
            outcomes.settle(attempt, Outcome.NOT_SENT, error=NotSent("It woke up behind the fence."))
        elif number in ids and data.draw(st.booleans()):
            outcomes.settle(attempt, Outcome.PURCHASED, provider_id=ids[number])
        else:
            outcomes.settle(attempt, Outcome.UNCONFIRMED, error=Unconfirmed("No answer in time."))

    def sweep(self, data):
        sweep.run()

    def read_evidence(self, data):
        for key in list(ApiKey.objects.values_list("pk", flat=True)):
            evidence.gather(key)

    def look_up_costs(self, data):
        for request in PurchaseRequest.objects.order_by("pk"):
            price_lookup.confirm(request.pk)

    def time_passes(self, data):
        """What the provider still had to do is done before the window is over (docs/provider.md, 'What we infer')."""
        seconds = data.draw(st.sampled_from([1000, 61, 15 * 86400, -7200]))
        self.offset += timedelta(seconds=seconds)
        while self.coming and seconds != 61:
            self.buy(self.coming.pop(0))
        sweep.run()

    def queue_is_lost(self, data):
        DBTaskResult.objects.all().delete()

    # --- What must hold after every step ------------------------------------------------------------------------------

    @invariant()
    def nothing_is_bought_twice(self):
        numbers = [number for number, _ in self.ledger]
        assert len(numbers) == len(set(numbers))
        attempts = [attempt for attempt, _ in self.posts]
        assert len(attempts) == len(set(attempts)), "an attempt was sent twice"

    @invariant()
    def the_rows_are_right(self):
        """What the rows show was bought, and that nothing is silently stuck; read once after each step."""
        purchases = {row.pk: row for row in Purchase.objects.all()}
        attempts = {
            pk: (purchase, outcome)
            for pk, purchase, outcome in Attempt.objects.values_list("pk", "purchase", "outcome")
        }
        known = dict(self.ledger)
        for number, provider_id in self.ledger:
            sent = {attempts[pk][0] for pk, posted in self.posts if posted == number}
            fitting = [row for row in map(purchases.get, sent) if _fits(row, provider_id)]
            assert fitting, f"{number} was bought; records: {[(pk, purchases[pk].state) for pk in sent]}"
        for row in purchases.values():
            if row.state == State.PURCHASED:
                assert known.get(row.phone_number) == row.provider_id
            # Whatever is not final and waits for no person has a time.
            if row.state in OPEN and (row.state != State.HELD or row.is_in_doubt):
                assert row.due_at is not None, f"{row} ({row.state}) would wait for ever"
        taken = [row.phone_number for row in purchases.values() if row.state in (*OPEN, State.PURCHASED)]
        assert len(taken) == len(set(taken))
        for purchase, outcome in attempts.values():
            assert outcome != Outcome.OPEN or purchases[purchase].state == State.PURCHASING

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
        own = Approval.objects.filter(approver=F("purchase__request__requester"))
        assert not own.exists()


def _fits(row, provider_id):
    """Whether this row is a record of a number that was bought under this id."""
    return (
        (row.state == State.PURCHASED and row.provider_id == provider_id)
        or row.state in (State.PURCHASING, State.UNCONFIRMED, State.HELD, State.GIVEN_UP)
        # Queued for a second try that a person ordered: its look finds the number first.
        or (row.state == State.APPROVED and row.is_in_doubt)
    )


@pytest.fixture
def stage(db):
    """Two teams; everybody has the same roles in both, and who asks may approve what others ask for."""
    teams = [factories.team("Support"), factories.team("Sales", key="idc_" + "s" * 32)]
    roles = {"sam": ["requester"], "ana": ["approver"], "eve": ["approver", "requester"], "tom": ["admin"]}
    for name, theirs in roles.items():
        for team in teams:
            for role in theirs:
                factories.member(name, team, role)
    return teams, {name: User.objects.get(username=name) for name in roles}


@pytest.mark.timeout(120 + 5 * SEQUENCES)
def test_the_life_of_purchases(stage, monkeypatch):
    monkeypatch.setattr(turns.time, "sleep", lambda seconds: None)  # the pace of a key is tested elsewhere
    monkeypatch.setattr(LifeOfPurchases, "stage", stage)
    case = LifeOfPurchases.TestCase
    case.settings = hypothesis_settings(
        max_examples=-(-SEQUENCES // len(BEGINNINGS)),
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        database=None,
        print_blob=True,
    )
    for begins in BEGINNINGS:
        print(f"Sequences that begin {begins}:")
        with ExitStack() as stack:
            beginning = LifeOfPurchases()
            stack.callback(beginning.stack.close)
            beginning.go_to(begins)
            with monkeypatch.context() as patch:
                patch.setattr(LifeOfPurchases, "beginning", beginning)
                case().runTest()
    assert not PurchaseRequest.objects.exists()  # each sequence was rolled back
    if (
        SEQUENCES >= 100
    ):  # they did not stay at home: calls were made, doubts arose and were settled every way
        assert POSTS["sent"] > SEQUENCES / 2
        assert len(MOVES) > 10
