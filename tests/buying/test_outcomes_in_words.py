"""What the requester reads on the page of a request, for every outcome: plain sentences, nothing technical."""

import re
from datetime import timedelta

import pytest
import requests
from cryptography.fernet import Fernet

from purchasing import clock, workflow
from purchasing.approving import approvals
from purchasing.buying import held_purchases, outcomes, procurement
from purchasing.identitycall.errors import Declined, NotSent
from purchasing.models import ApiKey, Attempt, Credential, Membership, OwnedRead, Purchase
from purchasing.states import State
from purchasing.teams import stop_buying
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
from tests.healthy_provider import offer, owned
from tests.views.access import words

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"
TECHNICAL = re.compile(
    r"\b(time-?out|timed out|https?|json|null|post|traceback|exception|dns|tls|ssl|socket|tcp|status \d+)\b",
    re.IGNORECASE,
)
UNKNOWN = "Checking with the provider The order was sent once and its answer was lost or unclear."
NOT_KNOWN = "Whether the number was bought is not known yet."


class Case:
    """One purchase, and what is done to it."""

    def __init__(self, request, provider, people, settings):
        self.request, self.provider, self.people, self.settings = request, provider, people, settings
        self.team = request.team

    @property
    def purchase(self):
        return Purchase.objects.select_related("request__team").get(request=self.request)

    def approve(self):
        factories.approve(self.request, self.people["ana"])

    def buy(self):
        Purchase.objects.filter(state=State.APPROVED).update(due_at=clock.now())
        procurement.buy(self.purchase.pk)

    def answered(self, body="", status=201, **options):
        """Approved, sent, and answered so."""
        self.approve()
        self.provider.answer_purchase(body, status=status, **options)
        self.buy()

    def lost(self):
        self.answered(requests.ReadTimeout())

    def held(self):
        self.lost()
        open_try_again(self.purchase)

    def again(self):
        self.held()
        held_purchases.try_again(
            self.purchase, reason="Not there", actor=actor(self.people["ana"]), seen=seen_now(self.purchase)
        )

    def given_up(self):
        self.held()
        held_purchases.give_up(self.purchase, reason="Not needed any more", actor=actor(self.people["ana"]))

    def claimed(self):
        self.approve()
        return claim(self.purchase, look_now(self.purchase))


def after(*steps):
    """Take these steps of a `Case`, one after the other."""

    def story(case):
        for step in steps:
            step(case)

    return story


# --- The rows of the outcome table: the answer, and what the page shows -----------------------------------------------

DECLINED = {"error": "Number is no longer available"}
BOUGHT = {"data": owned(NUMBER, 7)}
ANSWERS = {
    "bought": (
        lambda case: case.answered(BOUGHT),
        ["Bought IdentityCall id 7.", "+1 212-555-0101 was bought", "IdentityCall confirmed the purchase."],
    ),
    "declined": (
        lambda case: case.answered(DECLINED, status=422),
        ["Could not be bought IdentityCall declined: Number is no longer available"],
    ),
    "declined, in several texts": (
        lambda case: case.answered({"errors": ["Papers are missing", "Ask support"]}, status=400),
        ["Could not be bought IdentityCall declined: Papers are missing; Ask support"],
    ),
    "not found": (
        lambda case: case.answered({"error": "Resource not found"}, status=404),
        ["Could not be bought IdentityCall declined: Resource not found"],
    ),
    "not sent": (
        lambda case: case.answered(never_sent()),
        [
            "Approved, queued Waiting since",
            "IdentityCall could not be reached; nothing was sent.",
            "was not bought; it is queued again",
        ],
    ),
    "not sent, as it woke up late": (
        after(
            Case.claimed,
            lambda case: outcomes.settle(
                Attempt.objects.get(),
                "not_sent",
                error=NotSent(
                    "Nothing was sent: too much time had passed since the purchase was started.", fenced=True
                ),
            ),
        ),
        [
            "Nothing was sent: too much time had passed since the purchase was started.",
            "was not bought; it is queued again",
        ],
    ),
    "asked to wait": (
        lambda case: case.answered("", status=429, headers={"Retry-After": "7"}),
        [
            "IdentityCall asks us to wait before we ask again.",
            "was not bought; it is queued again",
        ],
    ),
    "key not accepted": (
        lambda case: case.answered({"error": "Invalid API key"}, status=401),
        [
            "IdentityCall does not accept this API key.",
            "was not bought; it is queued again",
        ],
    ),
    "key not allowed": (
        lambda case: case.answered({"error": "Write permission required"}, status=403),
        [
            "IdentityCall says that this API key may not do this.",
            "was not bought; it is queued again",
        ],
    ),
    "no answer": (Case.lost, [UNKNOWN, f"IdentityCall did not answer in time. {NOT_KNOWN}"]),
    "reset": (
        lambda case: case.answered(requests.ConnectionError()),
        [UNKNOWN, f"The connection to IdentityCall broke. {NOT_KNOWN}"],
    ),
    "redirect": (
        lambda case: case.answered("", status=302, headers={"Location": "/"}),
        [UNKNOWN, f"IdentityCall pointed to another address, which is not followed. {NOT_KNOWN}"],
    ),
    "worker died": (
        after(
            Case.claimed,
            lambda case: overdue(Attempt.objects.get()),
            lambda case: sweep.run(),
        ),
        [UNKNOWN, "The worker stopped or the answer did not come in time."],
    ),
    "under way": (Case.claimed, ["Buying now The order is on its way to IdentityCall."]),
    "declined after a doubt": (
        after(Case.again, lambda case: case.provider.answer_purchase(DECLINED, status=422), Case.buy),
        [UNKNOWN, "IdentityCall declined: Number is no longer available"],
    ),
    "found in the list": (
        after(
            Case.lost,
            lambda case: case.provider.owned_numbers.append(owned(NUMBER, 7)),
            lambda case: check(case.purchase),
        ),
        ["Bought IdentityCall id 7.", "IdentityCall's list shows it since our order."],
    ),
    "answered late": (
        after(
            Case.again,
            lambda case: outcomes.settle(
                Attempt.objects.get(), "declined", error=Declined("IdentityCall declined: No", status=422)
            ),
        ),
        ["Approved, queued", "IdentityCall declined: No"],
    ),
}

ODD_ANSWERS = {
    "fault of its own": (
        lambda case: case.answered("<html>", status=503),
        [UNKNOWN, "IdentityCall reported a fault of its own", NOT_KNOWN],
    ),
    "confirmed in odd words": (
        lambda case: case.answered("<html>"),
        [UNKNOWN, "IdentityCall's answer could not be understood", NOT_KNOWN],
    ),
    "confirms another number": (
        lambda case: case.answered({"data": owned("+12125550199")}),
        [UNKNOWN, "IdentityCall's answer names another number: +12125550199 under the id 501.", NOT_KNOWN],
    ),
    "another kind of confirmation": (
        lambda case: case.answered(BOUGHT, status=202),
        [UNKNOWN, "IdentityCall's answer could not be understood", NOT_KNOWN],
    ),
    "no in odd words": (
        lambda case: case.answered("<html>", status=422),
        [UNKNOWN, "IdentityCall's answer could not be understood", NOT_KNOWN],
    ),
}


# --- Why it is held, waits, or has ended ---------------------------------------------------------------------------


def dearer(case):
    case.approve()
    case.provider.offers = [offer(NUMBER, "1.50", "3.00")]
    case.buy()


def never_confirmed(case):
    case.approve()
    case.provider.offers = []
    case.buy()


def cost_unknown(case):
    Purchase.objects.update(monthly_cost=None)
    case.approve()
    case.buy()


def approver_lost(case):
    case.approve()
    Membership.objects.filter(user=case.people["ana"]).delete()
    case.buy()


def waited_too_long(case):
    case.approve()
    case.purchase.approvals.update(created_at=clock.now() - timedelta(days=15))
    sweep.run()


def seen_before(case):
    """The number was in the list before the call that is in doubt."""
    case.again()
    case.provider.owned_numbers.append(owned(NUMBER, 7))
    OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=5))
    Attempt.objects.update(claimed_seq=10**6)
    case.buy()


DECIDES = "A team admin or approver decides."
HELD = {
    "in doubt": (
        Case.held,
        [
            "Needs a decision IdentityCall never gave a clear answer, and its list of owned numbers has not settled "
            f"it. {DECIDES}",
        ],
    ),
    "in doubt, and seen before": (
        seen_before,
        [
            "Needs a decision The list of owned numbers already showed it before the call that is in doubt. "
            f"{DECIDES}",
        ],
    ),
    "dearer": (
        dearer,
        [
            "Needs a decision Approved: 1.00 USD once and 2.00 USD a month. IdentityCall now asks 1.50 USD once and "
            f"3.00 USD a month. {DECIDES}",
        ],
    ),
    "price never confirmed": (
        never_confirmed,
        [
            "Needs a decision IdentityCall does not list this number just now and has not confirmed its cost. It was "
            f"not approved at a price nobody has confirmed. {DECIDES}",
        ],
    ),
    "price not known": (
        cost_unknown,
        [
            "Needs a decision Approved: 1.00 USD once and not known a month. IdentityCall now asks 1.00 USD once and "
            f"2.00 USD a month. {DECIDES}",
        ],
    ),
    "approver lost": (
        approver_lost,
        [f"Needs a decision ana approved it, but may no longer approve for Support. {DECIDES}"],
    ),
    "queued too long": (
        waited_too_long,
        [f"Needs a decision It was approved more than 14 days ago. {DECIDES}"],
    ),
}
WAITING = {
    "for approval": (lambda case: None, ["Waiting for approval", "a colleague has to approve it: ana."]),
    "queued": (Case.approve, ["Approved, queued", "approved +1 212-555-0101"]),
    "for a key": (
        after(
            Case.approve,
            lambda case: ApiKey.objects.update(retired_at=clock.now()),
            Case.buy,
        ),
        ["Support has no API key. Its team admin has to store one."],
    ),
    "for another key": (
        after(lambda case: case.answered("", status=401), Case.buy),
        ["IdentityCall refuses the team's API key. The team admin has to store a new one."],
    ),
    "for the team": (
        after(Case.approve, lambda case: type(case.team).objects.update(is_active=False), Case.buy),
        ["Support is switched off."],
    ),
    "as buying is stopped": (
        after(
            Case.approve,
            lambda case: stop_buying.stop(
                case.team, actor=actor(case.people["tom"]), reason="Audit of costs"
            ),
            Case.buy,
        ),
        ["Buying is stopped for Support: Audit of costs"],
    ),
    "as all buying is stopped": (
        after(
            Case.approve,
            lambda case: stop_buying.stop_all(actor=actor(factories.superuser()), reason="Year end"),
            Case.buy,
        ),
        ["All buying is stopped: Year end"],
    ),
    "until the key may ask again": (
        after(lambda case: case.answered("", status=429), Case.buy),
        ["IdentityCall asked to wait: too many calls with this key in a minute."],
    ),
    "while nobody answers": (
        after(
            Case.approve,
            lambda case: setattr(case.provider, "owned_answer", requests.ReadTimeout()),
            Case.buy,
        ),
        ["Approved, queued Waiting since", "IdentityCall did not answer in time."],
    ),
    "while connections break": (
        after(
            Case.approve,
            lambda case: setattr(case.provider, "offers_answer", requests.ConnectionError()),
            Case.buy,
        ),
        ["Approved, queued Waiting since", "The connection to IdentityCall broke."],
    ),
    "for a key that sees nothing": (
        after(
            Case.approve,
            lambda case: setattr(case.provider, "owned_numbers", [owned("+12125550188", 1)]),
            lambda case: look_now(case.purchase),
            lambda case: setattr(case.provider, "owned_numbers", []),
            lambda case: OwnedRead.objects.update(began_at=clock.now() - timedelta(minutes=5)),
            Case.buy,
        ),
        [
            "IdentityCall's list shows no number that this key has shown before (+12125550188), as if the key had been "
            "moved to another project. Nothing is bought with this key until its list shows them again or a team "
            "admin decides."
        ],
    ),
    "until the lost answers are looked up": (
        after(Case.approve, lambda case: Credential.objects.update(doubts_in_a_row=3), Case.buy),
        ["The last answers of IdentityCall were lost. Nothing more is bought with this key until the list"],
    ),
    "for the key of the keys": (
        after(
            Case.approve,
            lambda case: setattr(case.settings, "API_KEY_ENCRYPTION_KEYS", [Fernet.generate_key().decode()]),
            Case.buy,
        ),
        ["Waiting since"],
    ),
}
ENDED = {
    "given up, and watched": (
        Case.given_up,
        ["Given up, still watched The order was sent once and its answer was lost", "Not needed any more"],
    ),
    "given up for good": (
        after(
            Case.given_up,
            lambda case: Purchase.objects.update(state_changed_at=clock.now() - timedelta(days=31)),
            lambda case: check(case.purchase),
        ),
        [
            "Could not be bought Watched for 30 days after it was given up; the number never appeared.",
        ],
    ),
    "ours already": (
        after(
            Case.approve,
            lambda case: case.provider.owned_numbers.append(owned(NUMBER, 7)),
            Case.buy,
        ),
        [
            "Needs a decision IdentityCall's list shows it already, under the id 7, and no call of ours explains "
            "that. It is not bought again."
        ],
    ),
    "rejected": (
        lambda case: approvals.reject(
            case.request.pk,
            [case.purchase.pk],
            approver=actor(case.people["ana"]),
            version=1,
            reason="Too many",
        ),
        ["Rejected Too many", "rejected +1 212-555-0101"],
    ),
    "cancelled": (
        lambda case: workflow.cancel(
            case.request.pk, [case.purchase.pk], actor=actor(case.people["sam"]), reason="Found others"
        ),
        ["Cancelled Found others", "cancelled +1 212-555-0101"],
    ),
    "expired": (
        after(lambda case: Purchase.objects.update(expires_at=clock.now()), lambda case: sweep.run()),
        ["Expired Nobody decided in time."],
    ),
    "bought, as a person says": (
        after(
            Case.held,
            lambda case: case.provider.owned_numbers.append(owned(NUMBER, 7)),
            lambda case: held_purchases.it_was_bought(
                case.purchase, provider_id=7, reason="I see it there", actor=actor(case.people["ana"])
            ),
        ),
        ["Bought IdentityCall id 7.", "I see it there (the list of owned numbers shows it)"],
    ),
}
PLAIN = ANSWERS | HELD | WAITING | ENDED
EVERY = PLAIN | ODD_ANSWERS


@pytest.fixture
def page(pending, sam, ana, tom, provider, settings, client):
    """What sam reads on the page of the request when that has happened."""
    case = Case(pending, provider, {"sam": sam, "ana": ana, "tom": tom}, settings)

    def read(story):
        story(case)
        client.force_login(sam)
        return words(client.get(f"/requests/{pending.pk}/")).partition("Numbers ")[2]

    return read


@pytest.mark.parametrize("name", EVERY)
def test_says_what_happened_and_nothing_technical(page, name):
    story, sentences = EVERY[name]
    said = page(story)
    assert [sentence for sentence in sentences if sentence not in said] == [], said
    if name in PLAIN:
        assert TECHNICAL.findall(said) == [], said
