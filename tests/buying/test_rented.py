"""Numbers that are rented, but not in the record: kept by a team, or dismissed."""

from decimal import Decimal

import pytest
from django.core.management import call_command

from purchasing import problems
from purchasing.buying import rented
from purchasing.models import ApiKey, AuditEvent, Purchase, RentedNumber
from purchasing.provider import owned_list, unrecorded
from purchasing.states import State
from purchasing.teams import budgets, keys
from tests import factories
from tests.buying.test_procurement import buy
from tests.factories import actor
from tests.healthy_provider import OPERATORS, owned

pytestmark = pytest.mark.django_db
FIRST, SECOND, ASKED = "+12125550188", "+12125550189", "+12125550101"


@pytest.fixture
def baseline(team, provider):
    """The first list of a key on an old account."""
    provider.owned_numbers = [owned(FIRST, 1), owned(SECOND, 2), owned("88811", 3)]
    owned_list.read(ApiKey.objects.get())


def unknown(team):
    return {one.number.provider_id for one in rented.unknown_for(team)}


def events():
    found = AuditEvent.objects.filter(action__startswith="number.").order_by("seq")
    return [(event.action, event.note, event.data["provider_id"]) for event in found]


class TestWhatIsUnknown:
    def test_every_number_that_the_last_list_shows_and_no_purchase_has(self, baseline, team, provider):
        assert unknown(team) == {1, 2}
        assert unrecorded.count(unrecorded.unknown_of(ApiKey.objects.get().credential)) == 2
        provider.owned_numbers.pop(0)
        owned_list.read(ApiKey.objects.get())
        assert unknown(team) == {2}

    def test_not_what_was_bought_here(self, approved, provider, team):
        provider.sells(ASKED, 9)
        assert buy(approved).state == State.PURCHASED
        owned_list.read(ApiKey.objects.get())
        assert unknown(team) == set()

    def test_nor_what_is_being_bought_right_now(self, approved, provider, team):
        provider.owned_numbers = [owned(ASKED, 9)]
        owned_list.read(ApiKey.objects.get())
        assert unknown(team) == {9}
        Purchase.objects.update(state=State.PURCHASING)
        assert unknown(team) == set()

    def test_an_id_that_two_keys_show_is_one_question(self, baseline, team, provider):
        sales = factories.team("Sales")
        owned_list.read(sales.keys.get())
        assert unknown(sales) == unknown(team) == {1, 2}
        assert unrecorded.count(unrecorded.unknown_numbers()) == 2

    def test_a_key_whose_secret_is_gone_shows_nothing_any_more(self, baseline, team):
        ApiKey.objects.update(secret=None)
        assert unknown(team) == set()
        assert not unrecorded.unknown_numbers().exists()


class TestDeciding:
    def test_a_baseline_is_dismissed_in_one_go(self, baseline, team, tom):
        assert rented.dismiss(team, [1, 2], reason="From before", actor=actor(tom)) == 2
        assert unknown(team) == set()
        assert events() == [("number.dismissed", "From before", 1), ("number.dismissed", "From before", 2)]
        assert budgets.of(team).committed == 0

    def test_what_is_kept_counts_where_its_cost_is_stated(self, baseline, team, tom):
        rented.keep(team, [1], reason="Hotline", actor=actor(tom), monthly_cost=Decimal("3.50"))
        rented.keep(team, [2], reason="Fax", actor=actor(tom))
        assert unknown(team) == set()
        assert budgets.of(team).committed == Decimal("3.50")
        assert AuditEvent.objects.get(data__provider_id=1).data["monthly_cost"] == "3.50"
        row = RentedNumber.objects.get(provider_id=1)
        assert (row.team, row.kept, row.reason, row.decided_by) == (team, True, "Hotline", tom)

    def test_one_that_was_asked_for_becomes_that_purchase_by_a_superuser(self, approved, provider, team, tom):
        provider.owned_numbers = [owned(ASKED, 9), owned(FIRST, 1)]
        owned_list.read(ApiKey.objects.get())
        with pytest.raises(problems.NotYours):
            rented.keep(team, [1, 9], reason="Ours", actor=actor(tom))
        assert unknown(team) == {1, 9}
        rented.keep(team, [1, 9], reason="Ours", actor=actor(factories.superuser()))
        kept = Purchase.objects.get(pk=approved.pk)
        assert (kept.state, kept.provider_id) == (State.PURCHASED, 9)
        assert list(RentedNumber.objects.values_list("provider_id", flat=True)) == [1]

    def test_of_two_ids_of_a_number_that_was_asked_for_one_becomes_the_purchase(
        self, approved, provider, team
    ):
        provider.owned_numbers = [owned(ASKED, 9), owned(ASKED, 10)]
        owned_list.read(ApiKey.objects.get())
        rented.keep(team, [9, 10], reason="Ours", actor=actor(factories.superuser()))
        assert Purchase.objects.get().provider_id == 9
        assert RentedNumber.objects.get().provider_id == 10

    @pytest.mark.parametrize("decide", [rented.keep, rented.dismiss])
    def test_what_somebody_decided_in_the_meantime_is_not_decided_again(self, baseline, team, tom, decide):
        rented.dismiss(team, [1], reason="From before", actor=actor(tom))
        with pytest.raises(problems.AlreadyMoved):
            decide(team, [1, 2], reason="No", actor=actor(tom))
        assert unknown(team) == {2}

    @pytest.mark.parametrize("decide", [rented.keep, rented.dismiss])
    def test_only_the_team_admin_decides_and_with_a_reason(self, baseline, team, tom, ana, decide):
        with pytest.raises(problems.NotYours):
            decide(team, [1], reason="No", actor=actor(ana))
        with pytest.raises(problems.Problem, match="Say why"):
            decide(team, [1], reason=" ", actor=actor(tom))
        with pytest.raises(problems.Problem, match="Tick at least one"):
            decide(team, [], reason="No", actor=actor(tom))
        assert unknown(team) == {1, 2}


class TestWhereItIsSaid:
    def test_the_test_of_a_key_counts_them(self, baseline, team, tom, provider):
        provider.http.add("POST", OPERATORS, status=422)
        _, sentence = keys.test_stored(team, actor=actor(tom))
        assert sentence.endswith("It shows 2 numbers that are rented, but not in the record.")
        rented.dismiss(team, [1, 2], reason="From before", actor=actor(tom))
        assert "not in the record" not in keys.test_stored(team, actor=actor(tom))[1]

    def test_the_commands_count_them(self, baseline, team, tom, capsys):
        for command in ("reconcile", "verify_audit"):
            call_command(command)
            assert "Rented, but not in the record: 2 numbers.\n" in capsys.readouterr().out
        rented.dismiss(team, [1, 2], reason="From before", actor=actor(tom))
        call_command("reconcile")
        assert "Rented, but not in the record: none.\n" in capsys.readouterr().out
