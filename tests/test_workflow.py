"""Requesting and deciding: what `workflow` lets people do before anything is bought, and what it refuses."""

import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock, problems, workflow
from purchasing.approving import approvals
from purchasing.asking import submission, versions
from purchasing.identitycall.resources import Offer
from purchasing.models import Approval, AuditEvent, Membership, Purchase, PurchaseRequest, Team, User
from purchasing.states import OPEN, State
from purchasing.teams import keys
from tests import factories
from tests.factories import actor

pytestmark = pytest.mark.django_db
NUMBER, SECOND = "+12125550101", "+12125550102"


def submit(team, person, *, lines=None, reason="New desks", **options):
    lines = [factories.line(NUMBER)] if lines is None else lines
    return submission.submit(team=team, requester=actor(person), reason=reason, lines=lines, **options)


def offers(request, upfront, monthly):
    """What the list shows for every number of a request."""
    return {
        purchase.pk: Offer(purchase.phone_number, upfront_cost=upfront, monthly_cost=monthly)
        for purchase in request.purchases.all()
    }


def see(request, upfront="1.00", monthly="2.00"):
    versions.note_offers(
        request.pk,
        offers(request, upfront and Decimal(upfront), monthly and Decimal(monthly)),
        seen_at=clock.now(),
        actor=audit.WORKER,
    )
    request.refresh_from_db()


def ids(request):
    return list(request.purchases.order_by("pk").values_list("pk", flat=True))


class TestAsking:
    def test_a_request_waits_with_all_its_numbers_and_events(self, team, sam):
        request = submit(team, sam, lines=[factories.line(SECOND), factories.line(NUMBER)])
        assert list(request.purchases.order_by("pk").values_list("phone_number", "state", "version")) == [
            (NUMBER, "pending", 1),
            (SECOND, "pending", 1),
        ]
        assert list(AuditEvent.objects.filter(request=request).values_list("action", "actor_name")) == [
            ("request.submitted", "sam"),
            ("purchase.pending", "sam"),
            ("purchase.pending", "sam"),
        ]
        purchase = request.purchases.first()
        assert purchase.due_at == purchase.expires_at == request.created_at + timedelta(days=14)

    def test_its_costs_are_looked_up_soon(self, team, sam):
        request = submit(team, sam)
        assert [row.args_kwargs["args"] for row in DBTaskResult.objects.all()] == [[request.pk]]

    @pytest.mark.parametrize("count", [0, 101])
    def test_it_holds_1_to_100_numbers(self, team, sam, count):
        with pytest.raises(problems.Problem, match="1 to 100"):
            submit(team, sam, lines=[factories.line(f"+1212555{n:04d}") for n in range(count)])
        assert not PurchaseRequest.objects.exists()

    def test_100_numbers_are_one_request(self, team, sam):
        request = submit(team, sam, lines=[factories.line(f"+1212555{n:04d}") for n in range(100)])
        assert request.purchases.count() == 100

    @pytest.mark.parametrize("reason", ["", "   ", "\n\t"])
    def test_it_needs_a_reason(self, team, sam, reason):
        with pytest.raises(problems.Problem, match="why"):
            submit(team, sam, reason=reason)

    @pytest.mark.parametrize("role", ["approver", "admin"])
    def test_only_requesters_ask(self, team, role):
        with pytest.raises(problems.NotYours):
            submit(team, factories.member("eve", team, role))

    def test_not_for_another_team(self, team, sam):
        with pytest.raises(problems.NotYours):
            submit(factories.team("Sales", key=None), sam)

    def test_not_for_a_team_that_is_switched_off(self, team, sam):
        Team.objects.update(is_active=False)
        with pytest.raises(problems.NotYours):
            submit(Team.objects.get(), sam)

    def test_an_inactive_person_cannot_ask(self, team, sam):
        User.objects.filter(pk=sam.pk).update(is_active=False)
        with pytest.raises(problems.NotYours):
            submit(team, User.objects.get(pk=sam.pk))

    def test_the_same_form_sent_twice_is_one_request(self, team, sam):
        token = uuid.uuid4()
        assert submit(team, sam, form_token=token) == submit(team, sam, form_token=token)
        assert PurchaseRequest.objects.count() == 1

    def test_another_persons_form_is_not_answered_with_ones_own(self, team, sam):
        token = uuid.uuid4()
        first = submit(team, sam, form_token=token)
        eve = factories.member("eve", team, "requester")
        second = submit(team, eve, lines=[factories.line(SECOND)], form_token=token)
        assert (first.requester, second.requester) == (sam, eve)

    def test_a_number_twice_in_one_request_is_named(self, team, sam):
        with pytest.raises(problems.AlreadyAsked) as refused:
            submit(team, sam, lines=[factories.line(NUMBER), factories.line(NUMBER), factories.line(SECOND)])
        assert refused.value.phone_numbers == [NUMBER]
        assert not PurchaseRequest.objects.exists()

    @pytest.mark.parametrize("state", sorted(OPEN | {State.PURCHASED}))
    def test_a_number_with_a_record_is_refused_for_every_team(self, pending, sam, state):
        Purchase.objects.update(state=state)
        other = factories.team("Sales", key=None)
        factories.member("sam", other, "requester")
        with pytest.raises(problems.AlreadyAsked) as refused:
            submit(other, sam, lines=[factories.line(NUMBER), factories.line(SECOND)])
        assert refused.value.phone_numbers == [NUMBER]

    @pytest.mark.parametrize("state", [State.REJECTED, State.CANCELLED, State.EXPIRED, State.FAILED])
    def test_what_came_to_nothing_can_be_asked_for_again(self, pending, team, sam, state):
        Purchase.objects.update(state=state)
        assert submit(team, sam).pk != pending.pk

    def test_what_was_released_can_be_asked_for_again(self, pending, team, sam):
        Purchase.objects.update(state=State.PURCHASED, released_at=clock.now())
        assert submit(team, sam).pk != pending.pk

    @pytest.mark.database
    def test_the_database_itself_refuses_a_second_record(self, pending):
        with pytest.raises(IntegrityError), transaction.atomic():
            Purchase.objects.create(request=pending, phone_number=NUMBER)

    def test_keys_are_cut_out_of_all_that_is_kept(self, team, sam):
        request = submit(
            team,
            sam,
            reason=f"curl -H {factories.KEY}",
            lines=[factories.line(NUMBER, name=factories.KEY, region=factories.KEY, warning=factories.KEY)],
        )
        purchase = request.purchases.get()
        kept = f"{request.reason} {purchase.name} {purchase.region} {purchase.warning}"
        kept += str(list(AuditEvent.objects.values()))
        assert factories.KEY not in kept
        assert kept.count("idc_[removed]") >= 5


class TestApproving:
    def test_it_is_in_line_with_an_approval_of_its_own(self, pending, ana):
        [purchase] = factories.approve(pending, ana)
        approval = Approval.objects.get()
        assert factories.state_of(purchase) == State.APPROVED
        assert (approval.purchase, approval.approver, approval.version) == (purchase, ana, 1)
        assert (approval.upfront_cost, approval.monthly_cost) == (Decimal("1.00"), Decimal("2.00"))
        assert DBTaskResult.objects.filter(task_path="purchasing.tasks.buy").count() == 1

    def test_some_can_be_approved_and_the_rest_rejected(self, team, sam, ana):
        request = factories.request(team, sam, [NUMBER, SECOND])
        first, second = ids(request)
        approvals.approve(request.pk, [first], approver=actor(ana), version=1)
        approvals.reject(request.pk, [second], approver=actor(ana), version=1, reason="One is enough")
        assert list(request.purchases.order_by("pk").values_list("state", flat=True)) == [
            "approved",
            "rejected",
        ]

    def test_nobody_approves_their_own(self, team, sam):
        request = factories.request(team, sam, [NUMBER])
        factories.member("sam", team, "approver")
        factories.member("sam", team, "admin")
        with pytest.raises(problems.NotYours):
            factories.approve(request, sam)
        User.objects.filter(pk=sam.pk).update(is_superuser=True)
        with pytest.raises(problems.NotYours):
            factories.approve(request, User.objects.get(pk=sam.pk))
        assert not Approval.objects.exists()

    @pytest.mark.parametrize("role", ["requester", "admin"])
    def test_only_approvers_approve(self, pending, team, role):
        with pytest.raises(problems.NotYours):
            factories.approve(pending, factories.member("eve", team, role))

    def test_an_approver_of_another_team_does_not_count(self, pending):
        eve = factories.member("eve", factories.team("Sales", key=None), "approver")
        with pytest.raises(problems.NotYours):
            factories.approve(pending, eve)

    def test_a_lost_role_counts_at_once(self, pending, ana):
        Membership.objects.filter(user=ana).delete()
        with pytest.raises(problems.NotYours):
            factories.approve(pending, ana)

    def test_nothing_is_approved_for_a_team_that_is_switched_off(self, pending, ana):
        Team.objects.update(is_active=False)
        with pytest.raises(problems.NotYours, match="switched off"):
            factories.approve(pending, ana)

    def test_a_click_on_an_older_page_finds_nothing(self, pending, ana):
        see(pending, "1.00", "2.50")
        with pytest.raises(problems.AlreadyMoved, match="changed since"):
            approvals.approve(pending.pk, ids(pending), approver=actor(ana), version=1)
        assert factories.state_of(pending.purchases.get()) == State.PENDING
        approvals.approve(pending.pk, ids(pending), approver=actor(ana), version=2)
        assert Approval.objects.get().monthly_cost == Decimal("2.50")

    @pytest.mark.parametrize("version", [0, 2, 99])
    def test_a_forged_version_finds_nothing(self, pending, ana, version):
        with pytest.raises(problems.AlreadyMoved):
            approvals.approve(pending.pk, ids(pending), approver=actor(ana), version=version)

    def test_a_purchase_of_another_request_cannot_be_slipped_in(self, team, sam, ana):
        first, second = factories.request(team, sam, [NUMBER]), factories.request(team, sam, [SECOND])
        with pytest.raises(problems.Problem):
            approvals.approve(first.pk, ids(first) + ids(second), approver=actor(ana), version=1)
        assert set(Purchase.objects.values_list("state", flat=True)) == {"pending"}

    def test_nothing_chosen_is_nothing_approved(self, pending, ana):
        with pytest.raises(problems.Problem):
            approvals.approve(pending.pk, [], approver=actor(ana), version=1)

    def test_all_or_none(self, team, sam, ana):
        request = factories.request(team, sam, [NUMBER, SECOND])
        workflow.cancel(request.pk, ids(request)[1:], actor=actor(sam))
        before = audit.position()
        with pytest.raises(problems.AlreadyMoved, match="cancelled"):
            approvals.approve(request.pk, ids(request), approver=actor(ana), version=1)
        assert factories.state_of(request.purchases.first()) == State.PENDING
        assert (audit.position(), Approval.objects.count()) == (before, 0)

    def test_the_second_approver_reads_who_was_first(self, pending, ana, team):
        factories.approve(pending, ana)
        eve = factories.member("eve", team, "approver")
        with pytest.raises(problems.AlreadyMoved, match="ana approved"):
            approvals.approve(pending.pk, ids(pending), approver=actor(eve), version=1)


class TestRejectingAndCancelling:
    @pytest.mark.parametrize("reason", ["", "  "])
    def test_a_rejection_needs_a_reason(self, pending, ana, reason):
        with pytest.raises(problems.Problem, match="why"):
            approvals.reject(pending.pk, ids(pending), approver=actor(ana), version=1, reason=reason)

    def test_the_requester_reads_the_reason(self, pending, ana):
        [purchase] = approvals.reject(
            pending.pk, ids(pending), approver=actor(ana), version=1, reason="Too dear"
        )
        assert (purchase.state, purchase.last_words) == (State.REJECTED, "Too dear")

    def test_nobody_rejects_their_own(self, team, sam):
        request = factories.request(team, sam, [NUMBER])
        factories.member("sam", team, "approver")
        with pytest.raises(problems.NotYours):
            approvals.reject(request.pk, ids(request), approver=actor(sam), version=1, reason="No")

    @pytest.mark.parametrize("who", ["sam", "ana", "tom"])
    def test_requester_approver_and_admin_may_cancel(self, request, pending, approved, who):
        workflow.cancel(
            pending.pk, [approved.pk], actor=actor(request.getfixturevalue(who)), reason="Not now"
        )
        assert factories.state_of(approved) == State.CANCELLED

    @pytest.mark.parametrize("who", ["ana", "tom"])
    def test_who_did_not_ask_says_why(self, request, pending, who):
        with pytest.raises(problems.Problem, match="Say why"):
            workflow.cancel(pending.pk, ids(pending), actor=actor(request.getfixturevalue(who)), reason=" ")
        assert factories.state_of(pending.purchases.get()) == State.PENDING

    def test_another_requester_may_not_cancel(self, pending, team):
        with pytest.raises(problems.NotYours):
            workflow.cancel(pending.pk, ids(pending), actor=actor(factories.member("eve", team, "requester")))

    def test_a_requester_who_left_the_team_may_not_cancel(self, pending, sam):
        Membership.objects.filter(user=sam).delete()
        with pytest.raises(problems.NotYours):
            workflow.cancel(pending.pk, ids(pending), actor=actor(sam))

    @pytest.mark.parametrize("state", sorted(set(State) - {State.PENDING, State.APPROVED}))
    def test_only_what_no_worker_has_claimed(self, pending, sam, state):
        Purchase.objects.update(state=state)
        with pytest.raises(problems.AlreadyMoved):
            workflow.cancel(pending.pk, ids(pending), actor=actor(sam))
        assert factories.state_of(pending.purchases.get()) == state

    @pytest.mark.parametrize("state", sorted(State))
    def test_whoever_comes_late_reads_a_sentence(self, pending, sam, state):
        Purchase.objects.update(state=state)
        words = workflow.what_happened(pending.purchases.get())
        assert NUMBER in words
        assert "{" not in words


class TestExpiring:
    def test_what_nobody_decided_expires(self, pending):
        Purchase.objects.update(expires_at=clock.now())
        workflow.expire(pending.purchases.get(), actor=factories.SYSTEM)
        assert factories.state_of(pending.purchases.get()) == State.EXPIRED

    def test_not_before_its_time_and_not_what_was_decided(self, pending, ana):
        workflow.expire(pending.purchases.get(), actor=factories.SYSTEM)
        assert factories.state_of(pending.purchases.get()) == State.PENDING
        stale = pending.purchases.get()
        factories.approve(pending, ana)
        Purchase.objects.update(expires_at=clock.now())
        workflow.expire(stale, actor=factories.SYSTEM)
        assert factories.state_of(stale) == State.APPROVED


class TestPrices:
    def test_the_same_costs_become_confirmed_without_a_new_version(self, pending):
        see(pending)
        purchase = pending.purchases.get()
        assert purchase.cost_confirmed_at is not None
        assert (pending.version, purchase.version) == (1, 1)

    @pytest.mark.parametrize(("upfront", "monthly"), [("9", "2.00"), ("1.00", "9"), ("0", "0")])
    def test_other_costs_make_a_new_version_and_an_event(self, pending, upfront, monthly):
        see(pending, upfront, monthly)
        purchase = pending.purchases.get()
        assert (purchase.upfront_cost, purchase.monthly_cost) == (Decimal(upfront), Decimal(monthly))
        assert (pending.version, purchase.version) == (2, 2)
        event = purchase.events.order_by("-seq").first()
        assert event.action == "purchase.price_changed"
        assert Decimal(event.data["monthly_cost"][1]) == Decimal(monthly)

    @pytest.mark.parametrize(("upfront", "monthly"), [(None, "2.00"), ("1.00", None), (None, None)])
    def test_an_offer_without_its_costs_confirms_nothing(self, pending, upfront, monthly):
        see(pending, upfront, monthly)
        purchase = pending.purchases.get()
        assert purchase.cost_confirmed_at is None
        assert (purchase.upfront_cost, purchase.monthly_cost) == (Decimal("1.00"), Decimal("2.00"))

    def test_what_is_approved_is_changed_by_no_look(self, pending, ana):
        [purchase] = factories.approve(pending, ana)
        see(pending, "7", "7")
        purchase.refresh_from_db()
        assert (purchase.monthly_cost, purchase.version, purchase.cost_confirmed_at) == (
            Decimal("2.00"),
            1,
            None,
        )


@pytest.mark.database
def test_a_key_that_waits_for_nothing_is_stored_without_moving_anything(pending, team):
    keys.set_key(team, "idc_" + "n" * 32, actor=factories.SYSTEM)
    assert factories.state_of(pending.purchases.get()) == State.PENDING


class TestMoving:
    """`move` by itself, where no lock has been taken: the UPDATE repeats what it rests on."""

    def test_of_two_who_read_the_same_the_second_finds_it_moved(self, pending):
        first, second = pending.purchases.get(), pending.purchases.get()
        workflow.move(first, State.APPROVED, actor=factories.SYSTEM)
        before = audit.position()
        with pytest.raises(problems.AlreadyMoved):
            workflow.move(second, State.REJECTED, actor=factories.SYSTEM)
        assert (factories.state_of(first), audit.position()) == (State.APPROVED, before)

    @pytest.mark.parametrize("expected", [{"version": 2}, {"due_at": None}, {"phone_number": SECOND}])
    def test_what_the_actor_relied_on_must_still_be_so(self, pending, expected):
        with pytest.raises(problems.AlreadyMoved):
            workflow.move(pending.purchases.get(), State.APPROVED, actor=factories.SYSTEM, expected=expected)
        assert factories.state_of(pending.purchases.get()) == State.PENDING

    def test_without_its_event_there_is_no_move(self, pending, monkeypatch):
        def fails(*args, **details):
            raise ZeroDivisionError

        monkeypatch.setattr(workflow.audit, "record", fails)
        with pytest.raises(ZeroDivisionError):
            workflow.move(pending.purchases.get(), State.APPROVED, actor=factories.SYSTEM)
        assert factories.state_of(pending.purchases.get()) == State.PENDING
