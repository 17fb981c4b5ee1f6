"""Clocks that are wrong: set back 2 hours or forward 400 days in any state of a purchase, and put right again.

No second order is sent, and nothing is stuck: it reaches its end or a person in the time that it may take.
"""

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
import requests
from django.conf import settings
from django.utils.module_loading import import_string
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock
from purchasing.buying import held_purchases, procurement
from purchasing.identitycall.errors import RateLimited
from purchasing.models import ApiKey, Credential, Desk, Purchase
from purchasing.provider import pauses, turns
from purchasing.states import Cause, State
from purchasing.worker import sweep
from sandbox import keys, server
from tests import factories
from tests.audit.test_events import database_url
from tests.buying.test_procurement import claim, look_now, never_sent, open_try_again, seen_now
from tests.factories import actor
from tests.healthy_provider import ONE, PURCHASE, offer, owned
from tests.wire import wait_until
from tests.worker.test_processes import PATIENCE, running

NUMBER = "+12125550101"
DECLINED = (422, {}, '{"error": "No longer available"}')


class World:
    """One purchase, a provider that keeps a ledger, and everything that the worker does, minute by minute."""

    def __init__(self, purchase, provider, people, monkeypatch):
        self.purchase, self.provider, self.people = purchase, provider, people
        self.ledger, self.posts, self.answer = [], [], None
        self.during = lambda: None  # happens while a purchase call is under way
        self.wrong = timedelta()
        real = clock.now
        monkeypatch.setattr(clock, "now", lambda: real() + self.wrong)
        monkeypatch.setattr(turns.time, "sleep", self._time_passes)
        provider.http.add_callback("POST", PURCHASE, self._sell)
        provider.http.add_callback("GET", ONE, self._detail)
        provider.http.add_callback("PATCH", ONE, self._change)
        self.recording = True

    def _time_passes(self, seconds):
        self.wrong += timedelta(seconds=seconds)

    # --- The provider -------------------------------------------------------------------------------------------------

    def _sell(self, request):
        number = json.loads(request.body)["phone_number"]
        self.posts.append(number)
        self.during()
        if self.answer is None or self.answer == "lost":
            self.buy(number)
        if self.answer is None:
            return 201, {}, json.dumps({"data": self.provider.owned_numbers[-1]})
        if self.answer in ("lost", "dropped"):
            raise requests.ReadTimeout
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def buy(self, number=NUMBER):
        assert number not in self.ledger, "bought twice"
        self.ledger.append(number)
        self.provider.owned_numbers.append(owned(number, 500 + len(self.ledger)))

    def _detail(self, request):
        return (
            200,
            {},
            json.dumps(
                {"data": self.provider.owned_numbers[-1] | {"recording": self.recording, "name": "Desk"}}
            ),
        )

    def _change(self, request):
        self.recording = json.loads(request.body).get("recording", self.recording)
        return self._detail(request)

    # --- The worker ---------------------------------------------------------------------------------------------------

    def drain(self):
        while rows := list(DBTaskResult.objects.filter(status="READY").order_by("enqueued_at")):
            DBTaskResult.objects.filter(pk__in=[row.pk for row in rows]).delete()
            for row in rows:
                name = row.task_path.rpartition(".")[2]
                if name in ("buy", "check", "apply", "confirm_costs", "look_again"):
                    import_string(row.task_path).func(*row.args_kwargs["args"])

    def half_an_hour(self):
        """Sweep and queue, as often as it takes to meet every gap that a state has."""
        for minutes in (0, 1, 2, 5, 10, 6, 6):
            self.minutes_pass(minutes)

    def minutes_pass(self, count):
        self.wrong += timedelta(minutes=count)
        sweep.run()
        self.drain()

    @property
    def now(self):
        return Purchase.objects.select_related("request__team").get(pk=self.purchase.pk)

    # --- The states in which the clock goes wrong ---------------------------------------------------------------------

    def in_line(self):
        factories.approve(self.purchase.request, self.people["ana"])

    def in_line_and_looked_up(self):
        self.in_line()
        look_now(self.purchase)

    def in_line_while_the_provider_pauses(self):
        self.in_line()
        self.provider.offers_answer = (503, {}, "")
        for _ in range(4):
            Purchase.objects.update(due_at=clock.now())
            Desk.objects.update(paused_until=None, probing_until=None)
            procurement.buy(self.purchase.pk)
        assert (Desk.objects.get().failures, self.now.state) == (4, State.APPROVED)
        self.provider.offers_answer = None

    def in_line_while_the_key_pauses(self):
        self.in_line()
        pauses.after_failed_read(ApiKey.objects.get(), RateLimited("Wait", retry_after=900, status=429))
        procurement.buy(self.purchase.pk)
        assert self.now.due_at > clock.now() + timedelta(minutes=14)

    def in_line_at_the_end_of_the_rate(self):
        self.in_line()
        Credential.objects.update(next_call_at=clock.now() + timedelta(seconds=100), rate_per_minute=6)
        procurement.buy(self.purchase.pk)
        assert self.now.waiting_for

    def in_line_after_a_call_that_was_not_sent(self):
        self.in_line()
        self.answer = never_sent()
        procurement.buy(self.purchase.pk)
        assert self.now.state == State.APPROVED
        self.posts.clear()
        self.answer = None

    def in_line_for_a_second_try(self):
        self.held_in_doubt()
        held_purchases.try_again(
            self.now, reason="Not there", actor=actor(self.people["ana"]), seen=seen_now(self.now)
        )
        self.posts.clear()
        self.answer = None

    def claimed(self):
        self.in_line_and_looked_up()
        claim(self.now, look_now(self.purchase))

    def claimed_and_bought(self):
        self.claimed()
        self.buy()

    def in_doubt(self):
        self.in_line()
        self.answer = "dropped"
        procurement.buy(self.purchase.pk)
        assert self.now.state == State.UNCONFIRMED

    def in_doubt_and_bought(self):
        self.in_line()
        self.answer = "lost"
        procurement.buy(self.purchase.pk)
        assert self.now.state == State.UNCONFIRMED

    def held_in_doubt(self):
        self.in_doubt()
        open_try_again(self.purchase)

    def held_in_doubt_and_bought(self):
        self.held_in_doubt()
        self.buy()

    def given_up(self):
        self.held_in_doubt()
        held_purchases.give_up(self.now, reason="Enough", actor=actor(self.people["ana"]))

    def given_up_and_bought(self):
        self.given_up()
        self.buy()

    def bought(self):
        self.in_line()
        procurement.buy(self.purchase.pk)
        assert (self.now.state, self.now.applied_at) == (State.PURCHASED, None)

    def held_for_its_price(self):
        self.in_line()
        self.provider.offers = [offer(NUMBER, "1.50", "3.00")]
        procurement.buy(self.purchase.pk)
        assert self.now.held_cause == Cause.PRICE


# Where it ends up within half an hour: after a jump back; after 400 days forward. And the calls.
STORIES = {
    World.in_line: ("purchased", "held for too long", 1),
    World.in_line_and_looked_up: ("purchased", "held for too long", 1),
    World.in_line_while_the_provider_pauses: ("purchased", "held for too long", 1),
    World.in_line_while_the_key_pauses: ("purchased", "held for too long", 1),
    World.in_line_at_the_end_of_the_rate: ("purchased", "held for too long", 1),
    World.in_line_after_a_call_that_was_not_sent: ("purchased", "held for too long", 1),
    World.in_line_for_a_second_try: ("purchased", "held for too long", 1),
    World.claimed: ("held in doubt", "held in doubt", 0),
    World.claimed_and_bought: ("purchased", "purchased", 0),
    World.in_doubt: ("held in doubt", "held in doubt", 1),
    World.in_doubt_and_bought: ("purchased", "purchased", 1),
    World.held_in_doubt: ("held in doubt", "held in doubt", 1),
    World.held_in_doubt_and_bought: ("purchased", "purchased", 1),
    World.given_up: ("given up", "failed", 1),
    World.given_up_and_bought: ("purchased", "purchased", 1),
    World.bought: ("purchased", "purchased", 1),
    World.held_for_its_price: ("held for its price", "held for its price", 0),
}
JUMPS = {
    "back 2 hours": timedelta(hours=-2),
    "forward 400 days": timedelta(days=400),
}


@pytest.fixture
def world(pending, sam, ana, tom, provider, monkeypatch):
    world = World(pending.purchases.get(), provider, {"sam": sam, "ana": ana, "tom": tom}, monkeypatch)
    yield world
    assert len(world.ledger) <= 1
    assert audit.verify().whole


def end(purchase):
    """The state of a purchase, in the words of these tests."""
    if purchase.state == State.HELD:
        return {
            Cause.DOUBT: "held in doubt",
            Cause.PRICE: "held for its price",
            Cause.TOO_LONG: "held for too long",
        }[purchase.held_cause]
    return {State.GIVEN_UP: "given up"}.get(purchase.state, str(purchase.state))


@pytest.mark.django_db
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_clock_that_jumps(world, story, jump):
    story(world)
    world.wrong += JUMPS[jump]
    world.half_an_hour()

    usual, much_later, calls = STORIES[story]
    came_to = much_later if jump == "forward 400 days" else usual
    sent = 0 if came_to == "held for too long" else calls
    assert (end(world.now), len(world.posts)) == (came_to, sent)
    if came_to == "purchased":
        assert (world.now.applied_at is None, len(world.ledger)) == (False, 1)

    world.wrong -= JUMPS[jump]  # it is put right
    world.half_an_hour()
    assert (end(world.now), len(world.posts)) == (came_to, sent)


@pytest.mark.django_db
@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize(
    ("answer", "came_to"),
    [(None, "purchased"), ("lost", "purchased"), ("dropped", "held in doubt"), (DECLINED, "held in doubt")],
    ids=["bought", "bought, and lost", "lost", "declined"],
)
def test_a_clock_that_jumps_while_a_call_is_under_way(world, jump, answer, came_to):
    """The sweep may give the call up, as it is long overdue by that clock. Its answer counts all the same."""

    def jump_and_sweep():
        world.wrong += JUMPS[jump]
        sweep.run()
        given_up.append(world.now.state in (State.UNCONFIRMED, State.HELD))

    given_up = []
    world.answer, world.during = answer, jump_and_sweep
    world.in_line()
    procurement.buy(world.purchase.pk)
    assert given_up == [True]
    world.half_an_hour()
    world.wrong -= JUMPS[jump]
    world.half_an_hour()
    assert (end(world.now), len(world.posts)) == (came_to, 1)


@pytest.mark.django_db
@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps_while_somebody_has_to_approve(world, jump):
    """What waits for 400 days expires; else it can be approved, and is bought."""
    world.wrong += JUMPS[jump]
    world.half_an_hour()
    if jump == "forward 400 days":
        assert world.now.state == State.EXPIRED
        return
    assert world.now.state == State.PENDING
    world.in_line()
    world.half_an_hour()
    assert (end(world.now), len(world.posts)) == ("purchased", 1)


@pytest.mark.django_db
@pytest.mark.parametrize("jump", JUMPS)
def test_what_is_held_can_be_decided_by_whatever_clock(world, jump):
    world.held_for_its_price()
    world.wrong += JUMPS[jump]
    world.half_an_hour()
    shown, _ = held_purchases.offer_now(world.now)
    seen = (shown.upfront_cost, shown.monthly_cost)
    held_purchases.approve_again(world.now, reason="Fine", actor=actor(world.people["ana"]), seen=seen)
    world.half_an_hour()
    assert (end(world.now), len(world.posts)) == ("purchased", 1)


# --- Two processes --------------------------------------------------------------------------------------------------

WEB = """
import sys
import django
django.setup()
from django.test import Client
from purchasing.models import PurchaseRequest, Team, User
from tests import factories

def browser(name):
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(User.objects.get(username=name))
    return client

numbers = sys.argv[1:]
sam, ana = browser("sam"), browser("ana")
draft = factories.draft(User.objects.get(username="sam"), numbers)
form = {"draft": draft.pk, "team": Team.objects.get().pk, "reason": "New desks", "do": "send"}
form |= {"n-TOTAL_FORMS": len(numbers), "n-INITIAL_FORMS": len(numbers)}
for place, number in enumerate(numbers):
    form |= {f"n-{place}-phone_number": number, f"n-{place}-name": "Desk", f"n-{place}-record_calls": "no"}
    form |= {f"n-{place}-number_type": "local"}
sam.post("/requests/new/", form)
asked = PurchaseRequest.objects.get()
while pending := list(asked.purchases.filter(state="pending").values_list("pk", flat=True)):
    asked.refresh_from_db()  # the worker confirms the prices in the meantime, which makes a new version
    approval = {"version": asked.version, "purchase": pending, "unconfirmed_cost_ok": "on"}
    ana.post(f"/requests/{asked.pk}/approve/", approval)
"""


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("worker", "web", "answer"),
    [("1800", "-1800", "reset_after"), ("-1800", "1800", "declined")],
    ids=["worker ahead", "web ahead"],
)
def test_worker_and_web_an_hour_apart_buy_once_and_nothing_is_stuck(
    sam_and_ana, tmp_path, monkeypatch, worker, web, answer
):
    """Each process believes a different time, though on PostgreSQL both go by its clock. One answer is no approval."""
    with server.running(tmp_path / "sandbox", rate_limit=0, practice=False) as provider:
        numbers = provider.offers("US", "local")[:3]
        provider.set_fault(answer, times=1, phone_number=numbers[1])
        monkeypatch.setenv("TEST_CLOCK_OFFSET", worker)
        with running(provider, tmp_path):
            environment = os.environ | {
                "DATABASE_URL": database_url(),
                "DJANGO_SETTINGS_MODULE": "dashboard.settings",
                "TEST_CLOCK_OFFSET": web,
            }
            command = [sys.executable, "-c", WEB, *numbers]
            subprocess.run(command, cwd=settings.BASE_DIR, env=environment, check=True)
            ended = Purchase.objects.filter(state=State.FAILED) | Purchase.objects.exclude(applied_at=None)
            wait_until(lambda: ended.count() == len(numbers), 2 * PATIENCE)
        failed = {numbers[1]} if answer == "declined" else set()
        bought = {entry["phone_number"] for entry in provider.ledger()}
        assert provider.counters()["purchase_posts"] == dict.fromkeys(numbers, 1)
    assert bought == set(numbers) - failed
    assert {p.phone_number: str(p.state) for p in Purchase.objects.all()} == {
        number: "failed" if number in failed else "purchased" for number in numbers
    }
    assert audit.verify().whole


@pytest.fixture
def sam_and_ana(db):
    team = factories.team(key=keys.ACCOUNT_KEY)
    factories.member("sam", team, "requester"), factories.member("ana", team, "approver")
