"""No purchase is ever stuck: from every state, in every situation, a machine or a person who exists leads to an end.

The walk really does it: time passes, the sweep runs, lists are read, and where no machine moves the purchase, the
superuser who installed Number Desk presses what the page offers.
"""

from datetime import timedelta

import pytest
import requests
from cryptography.fernet import Fernet

from purchasing import clock, problems, workflow
from purchasing.approving import approvals
from purchasing.buying import adoption, evidence, held_purchases, procurement
from purchasing.models import ApiKey, Credential, Desk, Membership, OfferLook, Purchase, Team, User
from purchasing.states import FINAL, OPEN, State
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import buy, open_attempt
from tests.factories import actor
from tests.healthy_provider import offer, owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"
REFUSED = (401, {}, '{"error": "Invalid or expired API key"}')


# --- Where a walk begins, and the states that it passes when no list ever shows the number ---------------------------


def pending(request, ana, provider):
    return request.purchases.get()


def approved(request, ana, provider):
    return factories.approve(request, ana)[0]


def purchasing_by_a_worker_that_died(request, ana, provider):
    return open_attempt(approved(request, ana, provider)).purchase


def held_in_doubt(request, ana, provider):
    provider.answer_purchase(requests.ReadTimeout())
    return buy(approved(request, ana, provider))


def held_for_its_price(request, ana, provider):
    purchase = approved(request, ana, provider)
    provider.offers = [offer(NUMBER, "1.50", "3.00")]
    OfferLook.objects.all().delete()
    return buy(purchase)


def held_as_owned_already(request, ana, provider):
    provider.owned_numbers = [owned(NUMBER, 77)]
    return buy(approved(request, ana, provider))


WALKS = {
    pending: [State.PENDING, State.REJECTED],
    approved: [State.APPROVED, State.CANCELLED],
    purchasing_by_a_worker_that_died: [
        State.PURCHASING,
        State.UNCONFIRMED,
        State.HELD,
        State.GIVEN_UP,
        State.FAILED,
    ],
    held_in_doubt: [State.UNCONFIRMED, State.HELD, State.GIVEN_UP, State.FAILED],
    held_for_its_price: [State.HELD, State.FAILED],
    held_as_owned_already: [State.HELD, State.FAILED],
}


# --- Situations ------------------------------------------------------------------------------------------------------


def nothing_special(scene):
    pass


def the_key_is_gone(scene):
    ApiKey.objects.update(retired_at=clock.now())


def the_key_is_refused(scene):
    scene.provider.owned_answer = scene.provider.offers_answer = REFUSED
    Credential.objects.update(refused_at=clock.now(), refused_words="Invalid or expired API key")


def the_secret_is_wiped(scene):
    ApiKey.objects.update(retired_at=clock.now(), secret=None)


def the_secret_cannot_be_decrypted(scene):
    scene.settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


def the_team_is_switched_off(scene):
    Team.objects.update(is_active=False)


def buying_is_stopped(scene):
    Team.objects.update(stopped_at=clock.now())
    Desk.objects.update(stopped_at=clock.now())


def the_requester_is_the_only_admin(scene):
    Membership.objects.exclude(user=scene.requester).delete()
    factories.member(scene.requester.username, scene.team, "admin")
    factories.member(scene.requester.username, scene.team, "approver")


def everybody_has_left(scene):
    Membership.objects.all().delete()
    User.objects.exclude(pk=scene.root.pk).update(is_active=False)


def the_provider_is_down(scene):
    scene.provider.owned_answer = scene.provider.offers_answer = (500, {}, "")


def the_list_shows_the_number_since_before_the_order(scene):
    """As if it had been owned before: no read proves that it was bought, or that it was not."""
    scene.provider.owned_numbers = [owned(NUMBER, 77)]
    for credential in Credential.objects.all():
        credential.numbers.get_or_create(
            provider_id=77,
            phone_number=NUMBER,
            defaults={"first_seen_seq": 0, "first_seen_at": clock.now()},
        )


SITUATIONS = [
    nothing_special,
    the_key_is_gone,
    the_key_is_refused,
    the_secret_is_wiped,
    the_secret_cannot_be_decrypted,
    the_team_is_switched_off,
    buying_is_stopped,
    the_requester_is_the_only_admin,
    everybody_has_left,
    the_provider_is_down,
    the_list_shows_the_number_since_before_the_order,
]


# --- Exits -----------------------------------------------------------------------------------------------------------


def reject(purchase, person):
    ids, version = [purchase.pk], purchase.version
    approvals.reject(purchase.request_id, ids, approver=actor(person), version=version, reason="No")


def cancel(purchase, person):
    workflow.cancel(purchase.request_id, [purchase.pk], actor=actor(person), reason="Not needed")


def give_up(purchase, person):
    held_purchases.give_up(purchase, reason="Enough", actor=actor(person))


def not_ours(purchase, person):
    adoption.not_ours(purchase, reason="Not ours", actor=actor(person))


def stop_watching(purchase, person):
    held_purchases.stop_watching(purchase, reason="It is not in IdentityCall", actor=actor(person))


def machines(purchase, person):
    """What workers do without anybody: the sweep, the reads of evidence, buying."""
    sweep.run()
    for key in ApiKey.objects.all():
        evidence.gather(key.pk)
    procurement.buy(purchase.pk)


# People last, where a machine has an exit; first, where a machine would only go on to buy or wait.
EXITS = {
    State.PENDING: [reject],
    State.APPROVED: [cancel],
    State.PURCHASING: [machines],
    State.UNCONFIRMED: [machines],
    State.HELD: [give_up, not_ours],
    State.GIVEN_UP: [machines, stop_watching],
}
LATER = [timedelta(0), timedelta(minutes=1), timedelta(hours=1), timedelta(days=31)]


class Scene:
    def __init__(self, team, requester, root, provider, settings):
        self.team, self.requester, self.root = team, requester, root
        self.provider, self.settings = provider, settings


def left(purchase, person, pass_time):
    """The state after the first exit that works, now or later; the same state where there is none."""
    for later in LATER:
        pass_time(later)
        for way_out in EXITS[State(purchase.state)]:
            try:
                way_out(purchase, person)
            except problems.Problem:
                continue
            state = factories.state_of(purchase)
            if state != purchase.state:
                return state
            purchase.refresh_from_db()
    return purchase.state


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
@pytest.mark.parametrize("begin", WALKS, ids=lambda begin: begin.__name__)
def test_every_purchase_comes_to_an_end(begin, situation, team, sam, ana, provider, settings, monkeypatch):
    root = factories.superuser()
    purchase = begin(factories.request(team, sam, [NUMBER]), ana, provider)
    situation(Scene(team, sam, root, provider, settings))
    passed, real = [timedelta(0)], clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + sum(passed, timedelta(0)))
    states = [factories.state_of(purchase)]
    while states[-1] not in FINAL:
        after = left(Purchase.objects.get(pk=purchase.pk), root, passed.append)
        assert after != states[-1], f"nobody can leave {states[-1]}"
        states.append(after)
    assert states == WALKS[begin]


def test_the_walks_pass_every_state_that_is_not_an_end():
    assert {state for states in WALKS.values() for state in states} - FINAL == set(OPEN) == set(EXITS)
