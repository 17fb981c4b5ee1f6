"""'It is ours, keep it' and 'Not ours', for numbers that the list shows and no call of ours explains."""

from decimal import Decimal

import pytest
import requests

from purchasing import jobs, problems
from purchasing.approving import approvals
from purchasing.buying import adoption, held_purchases
from purchasing.models import ApiKey, Purchase, RentedNumber
from purchasing.provider import owned_list
from purchasing.states import Cause, State
from purchasing.teams import budgets
from tests import factories
from tests.buying.test_procurement import buy
from tests.factories import actor
from tests.healthy_provider import owned

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"


@pytest.fixture
def root(db):
    return factories.superuser()


@pytest.fixture
def held(approved, provider):
    """A number that the list showed before anything was ordered."""
    provider.owned_numbers = [owned(NUMBER, 77)]
    purchase = buy(approved)
    assert (purchase.state, purchase.held_cause) == (State.HELD, Cause.OWNED)
    return purchase


def keep(purchase, person, **fields):
    return adoption.keep(purchase, **{"reason": "It is ours", "actor": actor(person), **fields})


def last_event(purchase):
    return purchase.events.order_by("-seq").first()


class TestOwnedAlready:
    def test_a_team_admin_keeps_it_at_an_unknown_cost(self, held, tom, team, provider):
        kept = keep(held, tom, provider_id=77)
        assert (kept.state, kept.provider_id, kept.bought_with.team) == (State.PURCHASED, 77, team)
        assert (kept.upfront_cost, kept.monthly_cost, kept.held_cause) == (None, None, "")
        event = last_event(kept)
        assert (event.action, event.note, event.actor) == ("purchase.purchased", "It is ours", tom)
        assert (event.data["provider_id"], event.data["monthly_cost"]) == (77, None)
        assert jobs.queued("apply", kept.pk)
        assert provider.purchases == []

    def test_or_at_the_cost_that_is_stated(self, held, tom, team):
        keep(held, tom, provider_id=77, upfront_cost=Decimal("1"), monthly_cost=Decimal("3.50"))
        assert budgets.of(team).committed == Decimal("4.50")
        assert last_event(held).data["monthly_cost"] == "3.50"

    def test_without_an_id_it_is_the_only_one_that_the_list_shows(self, held, tom, provider):
        provider.owned_numbers.append(owned(NUMBER, 78))
        owned_list.read(ApiKey.objects.get())
        with pytest.raises(problems.Problem, match="more than one id"):
            keep(held, tom)
        assert adoption.ids_to_keep(held) == [77, 78]
        assert keep(held, tom, provider_id=78).provider_id == 78

    def test_not_ours_is_a_failure_with_its_reason(self, held, tom):
        failed = adoption.not_ours(held, reason="It is the sales team's", actor=actor(tom))
        assert (failed.state, last_event(failed).note) == (State.FAILED, "It is the sales team's")

    @pytest.mark.parametrize("who", ["ana", "sam"])
    def test_nobody_else_decides(self, held, who, request):
        person = request.getfixturevalue(who)
        with pytest.raises(problems.NotYours, match="team admin"):
            keep(held, person, provider_id=77)
        with pytest.raises(problems.NotYours, match="team admin"):
            adoption.not_ours(held, reason="No", actor=actor(person))

    def test_not_even_an_admin_who_asked_for_it(self, team, held, sam):
        factories.member("sam", team, "admin")
        with pytest.raises(problems.NotYours):
            keep(held, sam, provider_id=77)

    def test_it_is_neither_given_up_nor_approved_again(self, held, ana):
        for decide in (held_purchases.give_up, held_purchases.approve_again):
            with pytest.raises(problems.Problem, match="shows it already"):
                decide(held, reason="No", actor=actor(ana))
        assert factories.state_of(held) == State.HELD

    @pytest.mark.parametrize("reason", ["", " \n"])
    def test_a_reason_is_needed(self, held, tom, reason):
        for decide in (adoption.keep, adoption.not_ours):
            with pytest.raises(problems.Problem, match="Say why"):
                decide(held, reason=reason, actor=actor(tom))

    def test_an_id_of_another_number_is_refused(self, held, team, sam, tom):
        other = factories.request(team, sam, ["+12125550102"]).purchases.get()
        Purchase.objects.filter(pk=other.pk).update(state=State.PURCHASED, provider_id=77)
        assert adoption.ids_to_keep(held) == []
        with pytest.raises(problems.Problem, match="already belongs to"):
            keep(held, tom, provider_id=77)

    @pytest.mark.parametrize("shown", [[], [owned(NUMBER, 78)]], ids=["gone", "another id"])
    def test_what_the_list_does_not_show_any_more_is_not_kept(self, held, tom, provider, shown):
        provider.owned_numbers = shown
        owned_list.read(ApiKey.objects.get())
        with pytest.raises(problems.Problem, match="does not show"):
            keep(held, tom, provider_id=77)

    def test_who_comes_second_reads_what_happened(self, held, tom):
        keep(held, tom, provider_id=77)
        with pytest.raises(problems.AlreadyMoved):
            keep(held, tom, provider_id=77)
        with pytest.raises(problems.AlreadyMoved):
            adoption.not_ours(held, reason="No", actor=actor(tom))

    def test_a_number_that_was_kept_without_a_request_counts_once(self, held, tom, team):
        row = RentedNumber.objects.create(
            provider_id=77,
            phone_number=NUMBER,
            team=team,
            kept=True,
            reason="Old",
            monthly_cost=Decimal("3.50"),
            decided_by=tom,
            decided_at=held.state_changed_at,
        )
        keep(held, tom, provider_id=77, monthly_cost=Decimal("3.50"))
        row.refresh_from_db()
        assert row.ended_at is not None
        assert budgets.of(team).committed == Decimal("3.50")


class TestAfterARestore:
    """The record lost a purchase that the list shows."""

    @pytest.fixture(params=["pending", "approved", "unconfirmed", "given_up"])
    def lost(self, request, team, sam, ana, provider):
        asked = factories.request(team, sam, [NUMBER])
        purchase = asked.purchases.get()
        if request.param != "pending":
            factories.approve(asked, ana)
        if request.param in ("unconfirmed", "given_up"):
            provider.owned_numbers = [owned("+12125550188", 1)]
            provider.answer_purchase(requests.ReadTimeout())
            buy(purchase)
            Purchase.objects.update(state=request.param)
        sales = factories.team("Sales")
        provider.owned_with[factories.key_of("Sales")] = [owned(NUMBER, 77)]
        owned_list.read(sales.keys.get())
        return Purchase.objects.get(pk=purchase.pk)

    def test_a_superuser_keeps_it_with_the_key_that_shows_it(self, lost, root):
        kept = keep(lost, root, provider_id=77)
        assert (kept.state, kept.provider_id, kept.bought_with.team.name) == (State.PURCHASED, 77, "Sales")

    def test_a_team_admin_does_not(self, lost, tom):
        with pytest.raises(problems.NotYours, match="superuser"):
            keep(lost, tom, provider_id=77)

    def test_what_is_being_bought_right_now_is_left_alone(self, lost, root):
        Purchase.objects.update(state=State.PURCHASING)
        with pytest.raises(problems.AlreadyMoved):
            keep(lost, root, provider_id=77)

    def test_it_is_no_longer_approved_by_a_click_on_an_older_page(self, lost, root, ana):
        version = lost.version
        keep(lost, root, provider_id=77)
        with pytest.raises(problems.AlreadyMoved):
            approvals.approve(lost.request_id, [lost.pk], approver=actor(ana), version=version)
