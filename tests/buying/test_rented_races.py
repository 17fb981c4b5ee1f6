"""People who decide at once about a number that the record does not explain, on both databases."""
# ruff: noqa: B023 - every thread has ended before its loop goes on

import pytest

from purchasing import audit, clock
from purchasing.approving import approvals
from purchasing.buying import adoption, missing, rented
from purchasing.identitycall.resources import OwnedList, OwnedNumber
from purchasing.models import AuditEvent, Purchase, RentedNumber
from purchasing.provider import owned_list
from purchasing.states import State
from tests import factories
from tests.factories import actor
from tests.test_races import race, winners

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
NUMBERS = [f"+121255501{n:02}" for n in range(8)]


def show(team, *numbers):
    """The list of the team's key shows these numbers, their places being their ids."""
    owned = OwnedList(tuple(OwnedNumber(int(number[-2:]) + 1, number) for number in numbers))
    return owned_list.keep(
        team.keys.get(), owned, began_after=audit.position(), began_at=clock.now(), projects=[1]
    )


def test_of_two_teams_one_keeps_a_number(team, tom):
    sales = factories.team("Sales")
    eve = factories.member("eve", sales, "admin")
    show(team, *NUMBERS), show(sales, *NUMBERS)
    for number in NUMBERS:
        provider_id = int(number[-2:]) + 1
        results = race(
            lambda: rented.keep(team, [provider_id], reason="Ours", actor=actor(tom)),
            lambda: rented.dismiss(sales, [provider_id], reason="Theirs", actor=actor(eve)),
        )
        assert len(winners(results)) == 1
    assert RentedNumber.objects.count() == len(NUMBERS)
    assert AuditEvent.objects.filter(action__startswith="number.").count() == len(NUMBERS)


def test_a_number_is_approved_or_kept_while_its_list_is_read(team, sam, ana):
    root = factories.superuser()
    show(team, *NUMBERS)
    for number in NUMBERS:
        asked = factories.request(team, sam, [number])
        purchase = asked.purchases.get()
        results = race(
            lambda: approvals.approve(asked.pk, [purchase.pk], approver=actor(ana), version=1),
            lambda: adoption.keep(
                purchase, provider_id=int(number[-2:]) + 1, reason="Ours", actor=actor(root)
            ),
            lambda: show(team, *NUMBERS),
        )
        assert {1, 2} <= set(winners(results))
        assert factories.state_of(purchase) == State.PURCHASED


def test_two_admins_confirm_what_is_gone_while_the_list_is_read(team, tom, monkeypatch):
    eve = factories.member("eve", team, "admin")
    monkeypatch.setattr(missing, "_read_again", lambda credentials: None)  # the race is about what follows
    show(team, *NUMBERS)
    rented.keep(team, [int(number[-2:]) + 1 for number in NUMBERS], reason="Ours", actor=actor(tom))
    for place, number in enumerate(NUMBERS[:-1], start=1):
        left = NUMBERS[place:]
        show(team, *left)
        provider_id = int(number[-2:]) + 1
        results = race(
            lambda: missing.confirm_gone(team, [provider_id], reason="Back", actor=actor(tom)),
            lambda: missing.confirm_gone(team, [provider_id], reason="Back", actor=actor(eve)),
            lambda: show(team, *left),
        )
        assert len(set(winners(results)) & {0, 1}) == 1
    assert AuditEvent.objects.filter(action="number.gone").count() == len(NUMBERS) - 1
    assert not Purchase.objects.exists()
