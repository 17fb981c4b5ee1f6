"""Races about money and versions, with real threads, on SQLite and on PostgreSQL."""
# ruff: noqa: B023 - every thread has ended before its loop goes on

from decimal import Decimal

import pytest

from purchasing import clock, problems
from purchasing.approving import approvals
from purchasing.asking import versions
from purchasing.models import AuditEvent, Purchase, Team
from purchasing.states import State
from purchasing.teams import budgets, money_rules
from tests import factories
from tests.factories import actor
from tests.test_races import race, winners

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
ROUNDS = 3


def ask(team, sam, number):
    """A request for one number of 1.00 once and 2.00 a month, its price confirmed."""
    request = factories.request(team, sam, [number])
    request.purchases.update(cost_confirmed_at=clock.now())
    return request


def test_of_200_approvals_20_fit_to_the_cent(team, sam, ana):
    Team.objects.update(monthly_budget=Decimal("60.00"))
    eve = factories.member("eve", team, "approver")
    requests = [ask(team, sam, f"+1212555{n:04d}") for n in range(200)]

    def approve_all(who, mine):
        for request in mine:
            try:
                pk = request.purchases.get().pk
                approvals.approve(request.pk, [pk], approver=actor(who), version=1)
            except problems.Problem:
                pass

    race(
        *(
            lambda who=who, part=part: approve_all(who, requests[part::4])
            for part, who in enumerate([ana, eve] * 2)
        )
    )
    assert Purchase.objects.filter(state=State.APPROVED).count() == 20
    team.refresh_from_db()
    assert budgets.of(team).left == 0


def test_the_edited_number_is_never_approved_unseen(team, sam, ana):
    for n in range(ROUNDS):
        request = ask(team, sam, f"+121255501{n:02d}")
        purchase = request.purchases.get()
        change = versions.Change(
            name="Edited", number_type="local", requirement_group_id=None, record_calls=True
        )
        approval, edit = race(
            lambda: approvals.approve(request.pk, [purchase.pk], approver=actor(ana), version=1),
            lambda: versions.edit(
                request.pk, actor=actor(sam), version=1, reason="Other", changes={purchase.pk: change}
            ),
        )
        purchase.refresh_from_db()
        if approval.problem is None:
            assert (purchase.state, purchase.name, purchase.version) == (State.APPROVED, "Desk", 1)
            assert edit.problem is not None
        else:
            assert (purchase.state, purchase.name, purchase.version) == (State.PENDING, "Edited", 2)


def test_a_budget_that_shrinks_between_page_and_click_holds(team, sam, ana, tom):
    for n in range(ROUNDS):
        Team.objects.update(monthly_budget=Decimal(1000))
        request = ask(team, sam, f"+121255502{n:02d}")
        purchase = request.purchases.get()
        before = budgets.of(Team.objects.get()).committed
        approval, _ = race(
            lambda: approvals.approve(request.pk, [purchase.pk], approver=actor(ana), version=1),
            lambda: money_rules.set_rules(
                Team.objects.get(),
                actor=actor(tom),
                monthly_budget=before + 1,
                budget_is_hard=True,
                second_approver_from=None,
            ),
        )
        shrank = AuditEvent.objects.filter(action="team.rules_changed").latest("seq")
        approved = purchase.events.filter(action="purchase.approved").first()
        if approval.problem is None:
            assert approved.seq < shrank.seq
        else:
            assert approved is None


def test_two_first_approvals_at_once_are_two_approvals(team, sam, ana):
    eve = factories.member("eve", team, "approver")
    Team.objects.update(second_approver_from=Decimal("0.01"))
    for n in range(ROUNDS):
        request = ask(team, sam, f"+121255503{n:02d}")
        purchase = request.purchases.get()
        results = race(
            *(
                lambda who=who: approvals.approve(request.pk, [purchase.pk], approver=actor(who), version=1)
                for who in (ana, eve)
            )
        )
        assert winners(results) == [0, 1]
        purchase.refresh_from_db()
        assert (purchase.state, purchase.approvals.count()) == (State.APPROVED, 2)
