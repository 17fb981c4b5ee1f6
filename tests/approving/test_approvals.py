"""Approving and rejecting by a team's rules: second approvers, budgets, stand-ins, edits."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from purchasing import clock, permissions, selectors, workflow
from purchasing.approving import approvals
from purchasing.approving.approvals import Costs
from purchasing.asking import price_lookup, versions
from purchasing.buying import held_purchases, procurement
from purchasing.models import Approval, OfferLook, Purchase, PurchaseRequest, StandIn, Team
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.states import Cause, State
from purchasing.teams import budgets, stand_ins
from tests import factories
from tests.healthy_provider import offer

pytestmark = pytest.mark.django_db
NUMBERS = [f"+121255501{n:02d}" for n in range(1, 9)]
actor = factories.actor


@pytest.fixture
def eve(team):
    return factories.member("eve", team, "approver")


def ids(request):
    return list(request.purchases.order_by("pk").values_list("pk", flat=True))


def confirmed(request):
    """As if IdentityCall's list had shown the costs after the request was sent."""
    request.purchases.update(cost_confirmed_at=clock.now())
    return request


def ask(team, person, *numbers, **fields):
    return confirmed(factories.request(team, person, numbers, **fields))


def hold(purchase, cause):
    """Hold an approved purchase for a decision."""
    workflow.move(
        purchase, State.HELD, actor=factories.SYSTEM, held_cause=cause, held_words="Because", due_at=None
    )


def rules(team, **fields):
    Team.objects.filter(pk=team.pk).update(**fields)
    team.refresh_from_db()


class TestSecondApprover:
    def test_below_the_limit_one_is_enough(self, team, sam, ana):
        rules(team, second_approver_from=Decimal("2.01"))
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), ana)
        assert factories.state_of(purchase) == State.APPROVED

    def test_from_the_limit_on_it_stays_pending_and_says_who_is_missing(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("2.00"))
        request = ask(team, sam, NUMBERS[0])
        [purchase] = factories.approve(request, ana)
        assert factories.state_of(purchase) == State.PENDING
        assert (
            approvals.waits_for_another_approver(purchase, request)
            == "ana approved it; eve has to approve it too."
        )
        factories.approve(request, eve)
        assert factories.state_of(purchase) == State.APPROVED
        assert factories.actions(purchase) == [
            "purchase.pending",
            "purchase.approved_first",
            "purchase.approved",
        ]

    def test_the_same_person_cannot_give_both_approvals(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("1.00"))
        request = ask(team, sam, NUMBERS[0])
        factories.approve(request, ana)
        with pytest.raises(AlreadyMoved, match="eve has to approve it too"):
            factories.approve(request, ana)

    def test_small_requests_of_one_person_add_up_over_30_days(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("4.00"))
        [first] = factories.approve(ask(team, sam, NUMBERS[0]), ana)
        [second] = factories.approve(ask(team, sam, NUMBERS[1]), ana)
        assert [factories.state_of(p) for p in (first, second)] == [State.APPROVED, State.PENDING]

    def test_what_was_asked_longer_ago_does_not_count(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("4.00"))
        factories.approve(ask(team, sam, NUMBERS[0]), ana)
        PurchaseRequest.objects.update(created_at=clock.now() - timedelta(days=31))
        [second] = factories.approve(ask(team, sam, NUMBERS[1]), ana)
        assert factories.state_of(second) == State.APPROVED

    def test_an_unconfirmed_cost_counts_as_above_the_limit(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("1000"))
        [purchase] = factories.approve(factories.request(team, sam, NUMBERS[:1]), ana)
        assert factories.state_of(purchase) == State.PENDING

    def test_it_leaves_the_queue_of_the_first_approver(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("1.00"))
        request = ask(team, sam, NUMBERS[0])
        factories.approve(request, ana)
        assert list(selectors.requests_to_decide(ana)) == []
        assert list(selectors.requests_to_decide(eve)) == [request]

    def test_where_one_is_enough_by_now_one_more_click_approves_it(self, team, sam, ana):
        """With one approver, nobody else could ever end the wait."""
        rules(team, second_approver_from=Decimal("1.00"))
        request = ask(team, sam, NUMBERS[0])
        factories.approve(request, ana)
        assert list(selectors.requests_to_decide(ana)) == []
        rules(team, second_approver_from=None)
        assert list(selectors.requests_to_decide(ana)) == [request]
        [purchase] = Purchase.objects.all()
        assert "enough by now" in approvals.waits_for_another_approver(
            purchase, PurchaseRequest.objects.get()
        )
        factories.approve(request, ana)
        assert factories.state_of(purchase) == State.APPROVED
        assert Approval.objects.count() == 1

    def test_an_approval_that_no_longer_counts_blocks_nothing(self, team, sam, ana, eve, provider):
        rules(team, second_approver_from=Decimal("1.00"))
        zoe = factories.member("zoe", team, "approver")
        request = ask(team, sam, NUMBERS[0])
        factories.approve(request, ana)
        ana.memberships.all().delete()
        factories.approve(request, eve)
        [purchase] = factories.approve(request, zoe)
        assert factories.state_of(purchase) == State.APPROVED
        provider.sells(NUMBERS[0])
        procurement.buy(purchase.pk)
        assert factories.state_of(purchase) == State.PURCHASED

    def test_an_unknown_cost_of_another_request_counts_as_above_the_limit(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("1000"))
        factories.request(team, sam, NUMBERS[1:2], monthly_cost=None)
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), ana)
        assert factories.state_of(purchase) == State.PENDING

    def test_an_approval_of_an_older_version_is_void(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("1.00"))
        request = ask(team, sam, NUMBERS[0])
        [purchase] = factories.approve(request, ana)
        edit(request, sam, name="Other")
        confirmed(request)
        factories.approve(request, eve)
        assert factories.state_of(purchase) == State.PENDING
        factories.approve(request, ana)
        assert factories.state_of(purchase) == State.APPROVED

    def test_an_approval_of_somebody_who_lost_the_role_does_not_count(self, team, sam, ana, eve):
        rules(team, second_approver_from=Decimal("1.00"))
        request = ask(team, sam, NUMBERS[0])
        [purchase] = factories.approve(request, ana)
        ana.memberships.all().delete()
        factories.approve(request, eve)
        assert factories.state_of(purchase) == State.PENDING


def edit(request, person, **fields):
    """Change the first number of a request."""
    request.refresh_from_db()
    purchase = request.purchases.order_by("pk").first()
    change = versions.Change(
        **{
            "name": purchase.name,
            "number_type": purchase.number_type,
            "requirement_group_id": purchase.requirement_group_id,
            "record_calls": purchase.record_calls,
            **fields,
        }
    )
    return versions.edit(
        request.pk,
        actor=actor(person),
        version=request.version,
        reason=request.reason,
        changes={purchase.pk: change},
    )


class TestEdit:
    def test_makes_a_version_and_keeps_the_old_one(self, team, sam):
        request = ask(team, sam, NUMBERS[0])
        edit(request, sam, name="Front desk", record_calls=False)
        request.refresh_from_db()
        purchase = request.purchases.get()
        assert (request.version, purchase.version, purchase.name, purchase.record_calls) == (
            2,
            2,
            "Front desk",
            False,
        )
        [old] = request.versions.all()
        assert (old.version, old.lines[0]["name"], old.lines[0]["record_calls"]) == (1, "Desk", True)

    def test_a_click_on_the_old_page_finds_nothing(self, team, sam, ana):
        request = ask(team, sam, NUMBERS[0])
        edit(request, sam, name="Other")
        with pytest.raises(AlreadyMoved, match="changed since you opened"):
            approvals.approve(request.pk, ids(request), approver=actor(ana), version=1)
        assert Approval.objects.count() == 0

    def test_numbers_taken_out_are_cancelled(self, team, sam):
        request = ask(team, sam, *NUMBERS[:2])
        first, second = ids(request)
        versions.edit(
            request.pk, actor=actor(sam), version=1, reason="One is enough", changes={}, taken_out={second}
        )
        states = [Purchase.objects.get(pk=pk).state for pk in (first, second)]
        assert states == [State.PENDING, State.CANCELLED]

    def test_only_the_person_who_asked_may(self, team, sam, ana):
        request = ask(team, sam, NUMBERS[0])
        with pytest.raises(NotYours):
            edit(request, ana, name="Mine")

    def test_what_was_decided_in_the_meantime_is_not_changed(self, team, sam, ana):
        request = ask(team, sam, *NUMBERS[:2])
        approvals.approve(request.pk, ids(request)[:1], approver=actor(ana), version=1)
        with pytest.raises(AlreadyMoved):
            edit(request, sam, name="Late")

    def test_another_type_has_to_be_confirmed_again(self, team, sam):
        request = ask(team, sam, NUMBERS[0])
        edit(request, sam, number_type="mobile")
        assert request.purchases.get().cost_confirmed_at is None

    def test_an_edit_that_changes_nothing_is_refused(self, team, sam):
        request = ask(team, sam, NUMBERS[0])
        with pytest.raises(Problem, match="Nothing was changed"):
            edit(request, sam)

    def test_a_changed_price_is_a_new_version_too(self, team, sam, ana, provider):
        request = factories.request(team, sam, NUMBERS[:1], monthly_cost=Decimal("1.50"))
        price_lookup.confirm(request.pk)
        with pytest.raises(AlreadyMoved):
            approvals.approve(request.pk, ids(request), approver=actor(ana), version=1)
        assert request.versions.get().lines[0]["monthly_cost"] == "1.5000"


class TestBudget:
    def test_what_does_not_fit_is_refused_with_the_figures(self, team, sam, ana):
        rules(team, monthly_budget=Decimal("5.00"))
        request = ask(team, sam, *NUMBERS[:2])
        with pytest.raises(Problem, match=r"5\.00 USD.*0\.00 USD.*5\.00 USD.*6\.00 USD"):
            factories.approve(request, ana)
        assert factories.state_of(request.purchases.first()) == State.PENDING

    def test_to_the_cent(self, team, sam, ana):
        rules(team, monthly_budget=Decimal("3.00"))
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), ana)
        assert factories.state_of(purchase) == State.APPROVED
        assert budgets.of(team).left == 0
        with pytest.raises(Problem):
            factories.approve(
                ask(team, sam, NUMBERS[1], upfront_cost=Decimal("0.01"), monthly_cost=Decimal(0)), ana
            )

    def test_pending_reserves_nothing(self, team, sam):
        ask(team, sam, *NUMBERS[:2])
        budget = budgets.of(team)
        assert (budget.committed, budget.pending) == (0, Decimal("6.00"))

    def test_a_soft_budget_warns_and_records(self, team, sam, ana):
        rules(team, monthly_budget=Decimal("1.00"), budget_is_hard=False)
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), ana)
        event = purchase.events.get(action="purchase.approved")
        assert event.data["over_budget"] is True

    def test_an_unconfirmed_cost_does_not_pass_a_hard_budget(self, team, sam, ana):
        rules(team, monthly_budget=Decimal("1000"))
        with pytest.raises(Problem, match="not confirmed"):
            factories.approve(factories.request(team, sam, NUMBERS[:1]), ana, unconfirmed_cost_ok=True)

    def test_approving_again_is_checked_like_the_first_time(self, team, sam, ana):
        [purchase] = factories.approve(factories.request(team, sam, NUMBERS[:1]), ana)
        hold(purchase, Cause.COST_UNKNOWN)
        rules(team, monthly_budget=Decimal("1000"))
        with pytest.raises(Problem, match="not confirmed"):
            held_purchases.approve_again(purchase, reason="Fine", actor=actor(ana), unconfirmed_cost_ok=True)
        Purchase.objects.update(cost_confirmed_at=clock.now(), held_cause=Cause.APPROVER)
        rules(team, monthly_budget=Decimal("3.00"))
        held_purchases.approve_again(
            purchase, reason="Fine", actor=actor(ana)
        )  # its cost is reserved already
        assert factories.state_of(purchase) == State.APPROVED

    def test_the_refusal_says_by_how_much_it_is_too_much(self, team, sam, ana):
        rules(team, monthly_budget=Decimal("5.00"))
        request = ask(team, sam, *NUMBERS[:2])
        with pytest.raises(Problem, match=r"1\.00 USD more than the budget of Support allows"):
            factories.approve(request, ana)

    def test_what_counts(self, team, sam, ana):
        purchases = factories.approve(ask(team, sam, *NUMBERS[:6]), ana)
        long_ago = clock.now() - timedelta(days=40)
        for purchase, state, fields in zip(
            purchases,
            [State.APPROVED, State.HELD, State.GIVEN_UP, State.PURCHASED, State.PURCHASED, State.FAILED],
            [{}, {}, {}, {"purchased_at": clock.now()}, {"purchased_at": long_ago}, {}],
            strict=True,
        ):
            Purchase.objects.filter(pk=purchase.pk).update(state=state, **fields)
        # three reserved at 3.00, one bought this month at 3.00, one rented since long ago at 2.00 a month
        assert budgets.of(team).committed == Decimal("14.00")
        Purchase.objects.filter(purchased_at=long_ago).update(released_at=clock.now())
        assert budgets.of(team).committed == Decimal("12.00")


class TestStandIn:
    @pytest.fixture
    def bob(self, team):
        return factories.member("bob", team, "requester")

    def stand_in(self, team, approver, person, *, days=(0, 7)):
        today = timezone.localdate()
        return StandIn.objects.create(
            team=team,
            approver=approver,
            stand_in=person,
            from_day=today + timedelta(days=days[0]),
            to_day=today + timedelta(days=days[1]),
        )

    def test_decides_and_both_names_are_recorded(self, team, sam, ana, bob):
        self.stand_in(team, ana, bob)
        request = ask(team, sam, NUMBERS[0])
        assert list(selectors.requests_to_decide(bob)) == [request]
        [purchase] = factories.approve(request, bob)
        approval = purchase.approvals.get()
        assert (approval.approver, approval.on_behalf_of) == (bob, ana)
        event = purchase.events.get(action="purchase.approved")
        assert (event.actor_name, event.on_behalf_of) == ("bob", "ana")

    def test_is_bought_on_that_approval(self, team, sam, ana, bob, provider):
        self.stand_in(team, ana, bob)
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), bob)
        provider.sells(NUMBERS[0])
        procurement.buy(purchase.pk)
        assert factories.state_of(purchase) == State.PURCHASED

    @pytest.mark.parametrize("days", [(1, 7), (-7, -1)])
    def test_only_on_the_days(self, team, sam, ana, bob, days):
        self.stand_in(team, ana, bob, days=days)
        with pytest.raises(NotYours):
            factories.approve(ask(team, sam, NUMBERS[0]), bob)

    def test_never_their_own_nor_what_the_absent_one_asked(self, team, ana, bob):
        factories.member("ana", team, "requester")
        self.stand_in(team, ana, bob)
        for person, number in ((bob, NUMBERS[0]), (ana, NUMBERS[1])):
            request = ask(team, person, number)
            with pytest.raises(NotYours):
                factories.approve(request, bob)
            assert list(selectors.requests_to_decide(bob)) == []

    def test_counts_as_the_person_they_stand_in_for(self, team, sam, ana, bob):
        rules(team, second_approver_from=Decimal("1.00"))
        self.stand_in(team, ana, bob)
        request = ask(team, sam, NUMBERS[0])
        factories.approve(request, ana)
        with pytest.raises(AlreadyMoved):
            factories.approve(request, bob)

    def test_a_stand_in_for_two_decides_for_the_one_who_has_not(self, team, sam, ana, eve, bob):
        rules(team, second_approver_from=Decimal("1.00"))
        self.stand_in(team, ana, bob)
        self.stand_in(team, eve, bob)
        request = ask(team, sam, NUMBERS[0])
        factories.approve(request, ana)
        assert list(selectors.requests_to_decide(bob)) == [request]
        [purchase] = factories.approve(request, bob)
        assert factories.state_of(purchase) == State.APPROVED
        assert [a.on_behalf_of for a in Approval.objects.order_by("pk")] == [None, eve]

    def test_a_stand_in_has_nothing_to_decide_once_the_principal_has(self, team, sam, ana, eve, bob):
        rules(team, second_approver_from=Decimal("1.00"))
        self.stand_in(team, ana, bob)
        request = ask(team, sam, NUMBERS[0])
        [purchase] = factories.approve(request, ana)
        assert [list(selectors.requests_to_decide(person)) for person in (ana, bob, eve)] == [
            [],
            [],
            [request],
        ]
        assert (
            approvals.waits_for_another_approver(purchase, request)
            == "ana approved it; eve has to approve it too."
        )

    def test_when_the_absent_one_is_no_approver_any_more_the_stand_in_is_asked_nothing(
        self, team, sam, ana, eve, bob
    ):
        self.stand_in(team, ana, bob)
        request = ask(team, sam, NUMBERS[0])
        ana.memberships.all().delete()
        assert list(selectors.requests_to_decide(bob)) == []
        assert selectors.approvers_of(request) == [eve]
        assert not permissions.decides_somewhere(bob)

    def test_an_approver_decides_nothing_of_whom_they_stand_in_for(self, team, ana, eve):
        factories.member("ana", team, "requester")
        self.stand_in(team, ana, eve)
        request = ask(team, ana, NUMBERS[0])
        with pytest.raises(NotYours):
            factories.approve(request, eve)
        assert list(selectors.requests_to_decide(eve)) == []

    def test_what_was_approved_while_it_lasted_stays_approved(self, team, sam, ana, bob, tom, provider):
        row = self.stand_in(team, ana, bob)
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), bob)
        stand_ins.end_stand_in(row, actor=actor(tom))
        provider.sells(NUMBERS[0])
        procurement.buy(purchase.pk)
        assert factories.state_of(purchase) == State.PURCHASED

    def test_loses_it_with_the_role_of_the_absent_one(self, team, sam, ana, bob, provider):
        self.stand_in(team, ana, bob)
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), bob)
        ana.memberships.all().delete()
        procurement.buy(purchase.pk)
        purchase.refresh_from_db()
        assert (purchase.state, purchase.held_cause) == (State.HELD, Cause.APPROVER)
        assert provider.purchases == []

    def test_who_may_name_one(self, team, sam, ana, bob, tom, eve):
        days = {"from_day": timezone.localdate(), "to_day": timezone.localdate()}
        for person in (sam, bob, eve):
            with pytest.raises(NotYours):
                stand_ins.name_stand_in(team, actor=actor(person), approver=ana, stand_in=bob, **days)
        row = stand_ins.name_stand_in(team, actor=actor(ana), approver=ana, stand_in=bob, **days)
        with pytest.raises(Problem, match="already"):
            stand_ins.name_stand_in(team, actor=actor(tom), approver=ana, stand_in=sam, **days)
        stand_ins.end_stand_in(row, actor=actor(tom))
        with pytest.raises(NotYours):
            factories.approve(ask(team, sam, NUMBERS[0]), bob)

    def test_a_stand_in_names_no_other(self, team, sam, ana, bob):
        self.stand_in(team, ana, bob)
        days = {"from_day": timezone.localdate(), "to_day": timezone.localdate()}
        with pytest.raises(Problem):
            stand_ins.name_stand_in(team, actor=actor(bob), approver=bob, stand_in=sam, **days)


def test_reminders_come_once_each_step(team, sam, ana):
    from purchasing.mail import reminders

    request = ask(team, sam, NUMBERS[0])
    Purchase.objects.update(state_changed_at=clock.now() - timedelta(hours=25))
    reminders.remind()
    reminders.remind()
    assert list(request.events.filter(purchase=None).values_list("action", flat=True)) == [
        "request.submitted",
        "request.reminded",
    ]
    Purchase.objects.update(state_changed_at=clock.now() - timedelta(hours=73))
    reminders.remind()
    assert request.events.filter(action="request.admins_reminded").count() == 1


def waits(purchase, costs=None):
    purchase.refresh_from_db()
    return approvals.waits_for_another_approver(purchase, purchase.request, costs)


class TestTwoApprovalsAreAPairAtTheSameTermsAlone:
    @pytest.fixture(autouse=True)
    def two_are_needed(self, team, ana, eve):
        rules(team, second_approver_from=Decimal("1.00"))

    def test_a_price_that_changed_in_between(self, team, sam, ana, eve, provider):
        request = ask(team, sam, NUMBERS[0])
        [purchase] = factories.approve(request, ana)
        provider.offers = [offer(NUMBERS[0], "1.00", "9.00")]
        price_lookup.confirm(request.pk)
        why = "the earlier approval was for 1.00 USD once and 2.00 USD a month, and the price has changed since."
        assert waits(purchase) == f"ana has to approve it again: {why}"
        factories.approve(request, eve)
        assert waits(purchase) == (
            f"eve approved it; ana has to approve it too. ana has to approve it again: {why}"
        )
        factories.approve(request, ana)
        assert factories.state_of(purchase) == State.APPROVED

    def test_other_costs_under_the_same_version(self, team, sam, ana, eve):
        """However that came about: the costs of both are compared, not the version alone."""
        request = ask(team, sam, NUMBERS[0])
        [purchase] = factories.approve(request, ana)
        Purchase.objects.update(monthly_cost=Decimal("9.00"))
        assert list(selectors.requests_to_decide(ana)) == [request]
        factories.approve(request, eve)
        assert factories.state_of(purchase) == State.PENDING
        assert waits(purchase).startswith(
            "eve approved it; ana has to approve it too. ana has to approve it again"
        )
        factories.approve(request, ana)
        assert factories.state_of(purchase) == State.APPROVED
        assert sorted(
            Approval.objects.filter(superseded_at=None).values_list("approver__username", "monthly_cost")
        ) == [("ana", Decimal("9.00")), ("eve", Decimal("9.00"))]

    @pytest.mark.parametrize("unknown", [None, Decimal("2.00")])
    def test_an_unconfirmed_cost_is_accepted_by_both(self, team, sam, ana, eve, unknown):
        request = factories.request(team, sam, NUMBERS[:1], monthly_cost=unknown)
        [purchase] = factories.approve(request, ana)
        factories.approve(request, eve, unconfirmed_cost_ok=True)
        assert factories.state_of(purchase) == State.PENDING
        assert waits(purchase) == (
            "eve approved it; ana has to approve it too. ana has to approve it again: the earlier approval did not "
            "accept a price that nobody has confirmed, unlike the newer one."
        )
        factories.approve(request, ana, unconfirmed_cost_ok=True)
        assert factories.state_of(purchase) == State.APPROVED

    def test_once_it_is_confirmed_who_accepted_it_before_makes_no_difference(self, team, sam, ana, eve):
        request = factories.request(team, sam, NUMBERS[:1])
        factories.approve(request, ana, unconfirmed_cost_ok=True)
        [purchase] = factories.approve(confirmed(request), eve)
        assert factories.state_of(purchase) == State.APPROVED

    def test_an_edited_request(self, team, sam, ana, eve):
        request = ask(team, sam, NUMBERS[0])
        [purchase] = factories.approve(request, ana)
        edit(request, sam, name="Other")
        why = "the earlier approval was for an older version of the request."
        assert waits(purchase) == f"ana has to approve it again: {why}"

    @pytest.mark.parametrize("person", ["sam", "ana", "eve"])
    def test_every_page_says_who_has_to_approve_again_and_why(self, client, team, sam, ana, eve, person):
        request = ask(team, sam, NUMBERS[0])
        factories.approve(request, ana)
        Purchase.objects.update(monthly_cost=Decimal("9.00"))
        client.force_login({"sam": sam, "ana": ana, "eve": eve}[person])
        for page in [f"/requests/{request.pk}/", *(["/approvals/"] if person != "sam" else [])]:
            assert (
                "ana has to approve it again: the earlier approval was for"
                in client.get(page).content.decode()
            )


def approve_again(purchase, person, price):
    seen = (Decimal("1.00"), Decimal(price))
    held_purchases.approve_again(purchase, reason="Fine", actor=actor(person), seen=seen)


class TestTwoApprovalsOfAHeldPurchase:
    def test_the_first_leaves_it_as_it_was_and_the_second_approves_the_new_price(
        self, team, sam, ana, eve, provider
    ):
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), ana)
        provider.offers = [offer(NUMBERS[0], "1.00", "9.00")]
        procurement.buy(purchase.pk)
        rules(team, second_approver_from=Decimal("1.00"))
        seen = (Decimal("1.00"), Decimal("9.00"))
        held_purchases.approve_again(purchase, reason="Fine", actor=actor(ana), seen=seen)
        purchase.refresh_from_db()
        assert (purchase.state, purchase.monthly_cost) == (State.HELD, Decimal("2.00"))
        assert (
            approvals.waits_for_another_approver(purchase, purchase.request, Costs(*seen, clock.now()))
            == "ana approved it; eve has to approve it too."
        )
        held_purchases.approve_again(purchase, reason="Fine", actor=actor(eve), seen=seen)
        purchase.refresh_from_db()
        assert (purchase.state, purchase.monthly_cost) == (State.APPROVED, Decimal("9.00"))

    def test_two_at_different_prices_are_no_pair(self, team, sam, ana, eve, provider):
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), ana)
        rules(team, second_approver_from=Decimal("1.00"))
        for person, price in ((ana, "9.00"), (eve, "7.00")):
            provider.offers = [offer(NUMBERS[0], "1.00", price)]
            OfferLook.objects.all().delete()
            if person == ana:
                procurement.buy(purchase.pk)
            else:
                price_lookup.look_again(purchase.pk)
            approve_again(purchase, person, price)
            assert factories.state_of(purchase) == State.HELD
        assert waits(purchase, Costs(Decimal("1.00"), Decimal("7.00"), clock.now())) == (
            "eve approved it; ana has to approve it too. ana has to approve it again: the earlier approval was for "
            "1.00 USD once and 9.00 USD a month, and the price has changed since."
        )
        approve_again(purchase, ana, "7.00")
        purchase.refresh_from_db()
        assert (purchase.state, purchase.monthly_cost) == (State.APPROVED, Decimal("7.00"))

    def test_an_earlier_approval_does_not_count_even_with_a_wrong_clock(self, team, sam, ana):
        [purchase] = factories.approve(ask(team, sam, NUMBERS[0]), ana)
        Approval.objects.update(created_at=clock.now() + timedelta(hours=2))
        hold(purchase, Cause.APPROVER)
        held_purchases.approve_again(purchase, reason="Fine", actor=actor(ana))
        assert factories.state_of(purchase) == State.APPROVED
