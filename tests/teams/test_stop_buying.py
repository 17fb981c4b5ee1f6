"""'Stop buying' and 'Go on': who may, with a reason and an event, and what waits in the meantime."""

import pytest

from purchasing import clock, problems
from purchasing.buying import procurement
from purchasing.models import AuditEvent, Desk, Purchase, Team
from purchasing.states import State
from purchasing.teams import stop_buying
from tests import factories
from tests.buying.test_procurement import buy
from tests.factories import actor

pytestmark = pytest.mark.django_db
NUMBER = "+12125550101"


def last_event():
    return AuditEvent.objects.order_by("-seq").first()


class TestTeam:
    def test_a_stopped_team_buys_nothing_and_its_page_says_why_and_since_when(
        self, approved, team, tom, provider
    ):
        stop_buying.stop(team, actor=actor(tom), reason="Audit")
        waiting = buy(approved)
        assert (waiting.state, provider.purchases) == (State.APPROVED, [])
        assert "Audit" in waiting.waiting_for
        assert waiting.waiting_since is not None
        assert (last_event().action, last_event().note, last_event().actor) == ("team.stopped", "Audit", tom)

    def test_the_team_keeps_the_reason_and_the_person(self, team, tom):
        stop_buying.stop(team, actor=actor(tom), reason=f"Key {factories.KEY}")
        team.refresh_from_db()
        assert (team.stopped_by, team.stop_reason) == (tom, "Key idc_[removed]")

    def test_after_going_on_what_waited_is_due_at_once(self, approved, team, tom, provider):
        stop_buying.stop(team, actor=actor(tom), reason="Audit")
        assert buy(approved).due_at > clock.now()
        stop_buying.go_on(team, actor=actor(tom), reason="Done")
        assert Purchase.objects.get().due_at <= clock.now()
        provider.sells(NUMBER)
        procurement.buy(approved.pk)
        assert factories.state_of(approved) == State.PURCHASED
        team.refresh_from_db()
        assert (team.stopped_at, team.stopped_by, team.stop_reason) == (None, None, "")

    def test_other_teams_go_on(self, approved, sam, ana, tom, team, provider):
        other = factories.team("Sales", key="idc_" + "s" * 32)
        factories.member("sam", other, "requester"), factories.member("ana", other, "approver")
        [second] = factories.approve(factories.request(other, sam, ["+12125550102"]), ana)
        stop_buying.stop(team, actor=actor(tom), reason="Audit")
        provider.sells("+12125550102")
        assert buy(second).state == State.PURCHASED
        assert buy(approved).state == State.APPROVED

    @pytest.mark.parametrize("who", ["sam", "ana", "ida", "eve"])
    def test_only_its_admin(self, request, team, sam, ana, who):
        other = factories.team("Sales", key=None)
        person = {
            "sam": sam,
            "ana": ana,
            "ida": factories.auditor(),
            "eve": factories.member("eve", other, "admin"),
        }[who]
        for act in (stop_buying.stop, stop_buying.go_on):
            with pytest.raises(problems.NotYours):
                act(team, actor=actor(person), reason="Because")
        assert Team.objects.get(pk=team.pk).stopped_at is None

    def test_a_superuser_may_as_well(self, team):
        stop_buying.stop(team, actor=actor(factories.superuser()), reason="Because")
        assert Team.objects.get().stopped_at is not None


@pytest.mark.parametrize("reason", ["", "  ", "\u200b"])
def test_a_reason_is_required(team, tom, reason):
    root = actor(factories.superuser())
    for act in (
        lambda: stop_buying.stop(team, actor=actor(tom), reason=reason),
        lambda: stop_buying.stop_all(actor=root, reason=reason),
    ):
        with pytest.raises(problems.Problem, match="why"):
            act()


def test_twice_is_refused_and_recorded_once(team, tom):
    with pytest.raises(problems.Problem, match="is not stopped"):
        stop_buying.go_on(team, actor=actor(tom), reason="Again")
    stop_buying.stop(team, actor=actor(tom), reason="First")
    with pytest.raises(problems.Problem, match="already stopped"):
        stop_buying.stop(team, actor=actor(tom), reason="Second")
    assert Team.objects.get().stop_reason == "First"
    assert AuditEvent.objects.filter(action="team.stopped").count() == 1


class TestAll:
    def test_stops_every_team_and_goes_on(self, approved, provider):
        root = actor(factories.superuser())
        stop_buying.stop_all(actor=root, reason="Year end")
        assert "Year end" in buy(approved).waiting_for
        assert last_event().action == "desk.stopped"
        stop_buying.go_on_all(actor=root, reason="Done")
        assert (last_event().action, Desk.objects.get().stopped_at) == ("desk.goes_on", None)
        assert Purchase.objects.get().due_at <= clock.now()

    def test_a_stopped_team_stays_stopped(self, approved, team, tom, provider):
        root = actor(factories.superuser())
        stop_buying.stop(team, actor=actor(tom), reason="Audit")
        stop_buying.stop_all(actor=root, reason="Year end")
        stop_buying.go_on_all(actor=root, reason="Done")
        assert "Audit" in buy(approved).waiting_for

    def test_only_a_superuser(self, team, tom):
        for act in (stop_buying.stop_all, stop_buying.go_on_all):
            with pytest.raises(problems.NotYours):
                act(actor=actor(tom), reason="Because")

    def test_a_purchase_under_way_is_finished(self, approved, provider):
        """Nothing is claimed after the click; a call that was claimed before is settled."""
        root = actor(factories.superuser())
        provider.sells(NUMBER)

        def stop_and_sell(request):
            stop_buying.stop_all(actor=root, reason="Now")
            return 201, {}, '{"data": {"id": 501, "phone_number": "+12125550101"}}'

        from tests.healthy_provider import PURCHASE

        provider.http.remove("POST", PURCHASE)
        provider.http.add_callback("POST", PURCHASE, stop_and_sell)
        assert buy(approved).state == State.PURCHASED
