"""An answer that comes when its attempt has been given up: it belongs to that attempt, whatever has happened since.

'Purchased' is evidence in every state that is not final; any other late answer is written down and moves nothing.
"""

import json
from datetime import timedelta

import pytest
import requests

from purchasing import clock
from purchasing.buying import evidence, held_purchases, outcomes, procurement
from purchasing.identitycall.errors import Declined, NotSent
from purchasing.models import Attempt, Credential, Desk, Purchase
from purchasing.states import Outcome, State
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import (
    check,
    claim,
    look_now,
    never_sent,
    open_try_again,
    overdue,
    seen_now,
)
from tests.factories import actor
from tests.healthy_provider import PURCHASE, owned
from tests.test_races import race

NUMBER = "+12125550101"
FIRST_ID, SECOND_ID = 701, 702
BOUGHT = (201, {}, json.dumps({"data": owned(NUMBER, FIRST_ID)}))

# The late answer, and what is stored of it: status and words.
LATE = {
    Outcome.NOT_SENT: (never_sent(), None, "IdentityCall could not be reached; nothing was sent."),
    Outcome.DECLINED: (
        (422, {}, '{"error": "No longer available"}'),
        422,
        "IdentityCall declined: No longer available",
    ),
    Outcome.KEY_REFUSED: (
        (401, {}, '{"error": "Invalid API key"}'),
        401,
        "IdentityCall does not accept this API key.",
    ),
    Outcome.RATE_LIMITED: (
        (429, {"Retry-After": "7"}, ""),
        429,
        "IdentityCall asks us to wait before we ask again.",
    ),
    Outcome.UNCONFIRMED: (
        requests.ReadTimeout(),
        None,
        "IdentityCall did not answer in time. Whether the number was bought is not known yet.",
    ),
}


class Story:
    """One purchase whose first call is answered late: the steps are what happens until then."""

    def __init__(self, purchase, provider, ana):
        self.purchase, self.provider, self.ana = purchase, provider, ana

    @property
    def now(self):
        return Purchase.objects.select_related("request__team").get(pk=self.purchase.pk)

    def run(self, step, answer):
        """Buy; the first call is answered with `answer` when `step` has been taken. Gives the rows before and after."""
        steps, problems = iter([step]), []

        def answered(request):
            for take in steps:
                try:
                    take(self)
                    self.before = self.rows()
                except Exception as problem:  # else the client would take it for one of the connection
                    problems.append(problem)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            raise AssertionError("a second call was not expected")

        self.provider.http.add_callback("POST", PURCHASE, answered)
        procurement.buy(self.purchase.pk)
        for problem in problems:
            raise problem
        return self.before, self.rows()

    def rows(self):
        """All that is stored about the purchase and its attempts, except the first attempt."""
        _, *others = Attempt.objects.order_by("pk").values()
        return Purchase.objects.values().get(), others

    # --- What happens in between --------------------------------------------------------------------------------

    def unconfirmed(self):
        """The sweep gives the first attempt up."""
        overdue(Attempt.objects.get())
        sweep.run()
        assert self.now.state == State.UNCONFIRMED

    def held(self):
        self.unconfirmed()
        open_try_again(self.purchase)

    def approved_again(self):
        self.held()
        held_purchases.try_again(
            self.now, reason="Not in the list", actor=actor(self.ana), seen=seen_now(self.now)
        )
        assert self.now.state == State.APPROVED

    def second_under_way(self):
        self.approved_again()
        Purchase.objects.update(due_at=clock.now())
        claim(self.now, look_now(self.purchase))
        assert self.now.state == State.PURCHASING

    def second_unconfirmed(self):
        self.second_under_way()
        self.settle_second(Outcome.UNCONFIRMED, error=Declined("Lost", status=500))

    def second_declined(self):
        self.second_under_way()
        self.settle_second(Outcome.DECLINED, error=Declined("No", status=422))
        assert self.now.state == State.UNCONFIRMED

    def second_bought(self):
        self.second_under_way()
        self.settle_second(Outcome.PURCHASED, provider_id=SECOND_ID)

    def given_up(self):
        self.held()
        held_purchases.give_up(self.now, reason="Enough", actor=actor(self.ana))

    def failed(self):
        """Given up, and watched in vain for as long as it is watched."""
        self.given_up()
        Purchase.objects.update(
            state_changed_at=clock.now() - timedelta(days=evidence.GIVEN_UP_DAYS, hours=1)
        )
        assert check(self.purchase).state == State.FAILED

    def seen_in_the_list(self):
        self.unconfirmed()
        self.provider.owned_numbers = [owned(NUMBER, SECOND_ID)]
        assert check(self.purchase).state == State.PURCHASED

    def settle_second(self, outcome, **details):
        outcomes.settle(Attempt.objects.order_by("pk").last(), outcome, **details)


GOING_ON = {
    State.UNCONFIRMED: Story.unconfirmed,
    State.HELD: Story.held,
    State.APPROVED: Story.approved_again,
    State.PURCHASING: Story.second_under_way,
    "unconfirmed again": Story.second_unconfirmed,
    "declined after a doubt": Story.second_declined,
    State.GIVEN_UP: Story.given_up,
}
OVER = {
    "bought by the second call": Story.second_bought,
    "bought, as the list shows": Story.seen_in_the_list,
    State.FAILED: Story.failed,
}
# Each outcome while it goes on, and each step with one outcome.
EACH = [(Story.unconfirmed, outcome) for outcome in LATE]
EACH += [(step, Outcome.DECLINED) for step in (GOING_ON | OVER).values() if step is not Story.unconfirmed]


@pytest.fixture
def story(approved, provider, ana):
    return Story(approved, provider, ana)


def last_event(purchase):
    return purchase.events.order_by("-seq").first()


@pytest.mark.django_db
class TestOneAnswer:
    @pytest.mark.parametrize(("step", "outcome"), EACH, ids=lambda part: getattr(part, "__name__", part))
    def test_that_is_no_yes_is_written_down_and_moves_nothing(self, story, outcome, step):
        answer, status, words = LATE[outcome]
        before, after = story.run(step, answer)

        assert after == before
        first = Attempt.objects.order_by("pk").first()
        assert (first.outcome, first.http_status, first.words) == (Outcome.UNCONFIRMED, status, words)
        event = last_event(story.purchase)
        assert (event.action, event.attempt, event.was, event.became, event.note) == (
            "attempt.late_answer",
            first,
            "",
            "",
            words,
        )
        assert event.data == {"outcome": outcome, "provider_id": None}

    @pytest.mark.parametrize("step", GOING_ON.values(), ids=GOING_ON.keys())
    def test_that_says_bought_is_evidence_while_it_is_not_over(self, story, step):
        _, others = story.run(step, BOUGHT)[0]
        bought, first = story.now, Attempt.objects.order_by("pk").first()

        assert (bought.state, bought.provider_id, bought.bought_with) == (
            State.PURCHASED,
            FIRST_ID,
            first.key,
        )
        assert (bought.held_cause, bought.held_words) == ("", "")
        assert (first.outcome, first.http_status) == (Outcome.PURCHASED, 201)
        assert story.rows()[1] == others  # the second attempt is as it was
        event = last_event(bought)
        assert (event.action, event.attempt, event.note) == (
            "purchase.purchased",
            first,
            "IdentityCall confirmed the purchase, late.",
        )

    @pytest.mark.parametrize("step", OVER.values(), ids=OVER.keys())
    def test_that_says_bought_is_written_down_when_it_is_over(self, story, step):
        before, after = story.run(step, BOUGHT)

        assert after == before
        event = last_event(story.purchase)
        assert (event.action, event.data) == (
            "attempt.late_answer",
            {"outcome": Outcome.PURCHASED, "provider_id": FIRST_ID},
        )

    @pytest.mark.parametrize("outcome", LATE)
    def test_is_told_on_the_page_of_the_purchase(self, story, client, sam, outcome):
        answer, _, words = LATE[outcome]
        story.run(Story.second_under_way, answer)
        client.force_login(sam)
        for address in (f"/purchases/{story.purchase.pk}/", f"/requests/{story.purchase.request_id}/"):
            assert words in client.get(address).content.decode().replace("&#x27;", "'")


@pytest.mark.django_db
class TestTheSecondCall:
    """A late answer to the first one is not taken for its own."""

    @pytest.mark.parametrize("outcome", LATE)
    def test_is_settled_by_its_own_yes(self, story, outcome):
        story.run(Story.second_under_way, LATE[outcome][0])
        story.settle_second(Outcome.PURCHASED, provider_id=SECOND_ID)

        assert (story.now.state, story.now.provider_id) == (State.PURCHASED, SECOND_ID)
        assert [attempt.outcome for attempt in Attempt.objects.order_by("pk")] == [
            Outcome.UNCONFIRMED,
            Outcome.PURCHASED,
        ]

    @pytest.mark.parametrize("outcome", LATE)
    def test_that_is_declined_stays_in_doubt(self, story, outcome):
        """The late answer of the first one does not end the doubt that it left."""
        story.run(Story.second_under_way, LATE[outcome][0])
        story.settle_second(Outcome.DECLINED, error=Declined("No longer available", status=422))

        assert story.now.state == State.UNCONFIRMED
        Credential.objects.update(paused_until=None)
        story.provider.owned_numbers = [owned(NUMBER, FIRST_ID)]
        assert check(story.purchase).provider_id == FIRST_ID

    @pytest.mark.parametrize("outcome", LATE)
    def test_that_was_not_sent_waits_in_line(self, story, outcome):
        story.run(Story.second_under_way, LATE[outcome][0])
        story.settle_second(Outcome.NOT_SENT, error=NotSent("Not sent"))
        assert (story.now.state, story.now.is_in_doubt) == (State.APPROVED, True)

    def test_that_is_lost_after_a_late_yes_changes_nothing(self, story):
        story.run(Story.second_under_way, BOUGHT)
        before = Purchase.objects.values().get()
        Purchase.objects.update(due_at=before["due_at"])
        sweep.run()
        story.settle_second(Outcome.UNCONFIRMED, error=Declined("Lost", status=500))
        assert Purchase.objects.values().get() == before
        assert Attempt.objects.filter(outcome=Outcome.OPEN).count() == 0

    def test_is_not_made_when_the_yes_came_first(self, story):
        story.run(Story.approved_again, BOUGHT)
        Purchase.objects.update(due_at=clock.now())
        procurement.buy(story.purchase.pk)
        sweep.run()
        assert (story.now.provider_id, len(story.provider.purchases)) == (FIRST_ID, 1)


@pytest.mark.django_db
def test_what_a_late_answer_says_of_the_key_counts(story):
    """It moves no purchase, but the key is refused or asked to wait all the same."""
    story.run(Story.unconfirmed, LATE[Outcome.KEY_REFUSED][0])
    assert Credential.objects.get().refused_at is not None


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    """Two answers of two attempts at the same moment, on real threads."""

    ROUNDS = 4

    def two_in_flight(self, team, sam, ana):
        for number in [f"+121255501{n:02d}" for n in range(1, 1 + self.ROUNDS)]:
            Desk.objects.update(failures=0, paused_until=None)
            [purchase] = factories.approve(factories.request(team, sam, [number]), ana)
            attempts = []
            for _ in range(2):
                Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now(), state=State.APPROVED)
                waiting = Purchase.objects.select_related("request__team").get(pk=purchase.pk)
                attempts.append(claim(waiting, look_now(waiting)))
                if len(attempts) == 1:
                    overdue(attempts[0])
                    sweep.run()
            yield purchase, attempts

    @pytest.mark.parametrize("own", [Outcome.PURCHASED, Outcome.DECLINED, Outcome.NOT_SENT])
    def test_a_late_no_and_the_answer_of_the_second_call(self, team, sam, ana, provider, own):
        state = {
            Outcome.PURCHASED: "purchased",
            Outcome.DECLINED: "unconfirmed",
            Outcome.NOT_SENT: "approved",
        }
        details = {
            Outcome.PURCHASED: {"provider_id": SECOND_ID},
            Outcome.DECLINED: {"error": Declined("No", status=422)},
            Outcome.NOT_SENT: {"error": NotSent("Not sent")},
        }[own]
        for place, (purchase, (first, second)) in enumerate(self.two_in_flight(team, sam, ana)):
            if "provider_id" in details:
                details = {"provider_id": SECOND_ID + place}
            late = {"error": Declined("No longer available", status=422)}
            race(
                lambda first=first, late=late: outcomes.settle(first, Outcome.DECLINED, **late),
                lambda second=second, details=details: outcomes.settle(second, own, **details),
            )
            assert factories.state_of(purchase) == state[own]
            assert [a.outcome for a in purchase.attempts.order_by("pk")] == [Outcome.UNCONFIRMED, own]
            assert factories.actions(purchase).count("attempt.late_answer") == 1

    def test_a_late_yes_and_the_answer_of_the_second_call(self, team, sam, ana, provider):
        for place, (purchase, (first, second)) in enumerate(self.two_in_flight(team, sam, ana)):
            race(
                lambda first=first, place=place: outcomes.settle(
                    first, Outcome.PURCHASED, provider_id=FIRST_ID + 10 * place
                ),
                lambda second=second: outcomes.settle(
                    second, Outcome.DECLINED, error=Declined("No", status=422)
                ),
            )
            bought = Purchase.objects.get(pk=purchase.pk)
            assert (bought.state, bought.provider_id) == (State.PURCHASED, FIRST_ID + 10 * place)
            assert [a.outcome for a in purchase.attempts.order_by("pk")] == [
                Outcome.PURCHASED,
                Outcome.DECLINED,
            ]
            assert factories.actions(purchase).count("purchase.purchased") == 1
