"""A team's page: its approvers, budget and limits in words, and the form for its admin to set them."""

import re
from decimal import Decimal

import pytest

from purchasing.models import AuditEvent, Team
from purchasing.teams import money_rules
from tests import factories
from tests.views.access import words

pytestmark = pytest.mark.django_db
TEAM = "/teams/support/"


@pytest.fixture
def admin(client, tom):
    client.force_login(tom)
    return client


def shown(client):
    """All field values of the rules form on the page, including the hidden one."""
    form = client.get(TEAM).context["rules_form"]
    return {name: form[name].value() for name in form.fields}


def save(client, **typed):
    return client.post(f"{TEAM}rules/", shown(client) | typed, follow=True)


def set_rules(team, tom, *, budget=None, hard=True, second=None):
    money_rules.set_rules(
        team,
        actor=factories.actor(tom),
        monthly_budget=budget,
        budget_is_hard=hard,
        second_approver_from=second,
    )


class TestInWords:
    def test_names_who_approves_and_that_superusers_may(self, admin, team, ana):
        assert "ana approves what others ask for; superusers may as well." in words(admin.get(TEAM))
        factories.member("eve", team, "approver")
        assert "ana and eve approve what others ask for; superusers may as well." in words(admin.get(TEAM))

    def test_says_that_nobody_approves_yet(self, admin, team):
        assert "Only superusers can approve for the team so far" in words(admin.get(TEAM))

    def test_of_who_is_switched_off_it_says_nothing(self, admin, team, ana):
        type(ana).objects.filter(pk=ana.pk).update(is_active=False)
        assert "ana approves" not in words(admin.get(TEAM))


class TestSaving:
    def test_shows_amounts_as_they_are_typed(self, admin, team, tom):
        set_rules(team, tom, budget=Decimal("4"), second=Decimal("1000.5"))
        page = admin.get(TEAM).content.decode()
        assert 'value="4.00"' in page and 'value="1000.50"' in page

    def test_unchanged_is_an_information_and_no_event(self, admin, team):
        before = AuditEvent.objects.count()
        page = save(admin)
        assert '<p class="notice info"><span>Nothing was changed' in page.content.decode()
        assert AuditEvent.objects.count() == before

    @pytest.mark.parametrize(
        "typed, sentence",
        [
            (
                "1,50",
                "Enter an amount such as 1000.50, with a point before the cents and no thousands separator.",
            ),
            ("1.000,50", "Enter an amount such as 1000.50"),
            ("1 000.50", "Enter an amount such as 1000.50"),
            ("5 USD", "Enter an amount such as 1000.50"),
            ("NaN", "Enter an amount such as 1000.50"),
            ("1.005", "Enter at most two digits after the point, as in 1000.50."),
            ("-1", "Enter an amount of 0 or more."),
            ("1e400", "Enter at most 10 digits before the point."),
            ("9" * 5000, "Enter at most 10 digits before the point."),
        ],
    )
    @pytest.mark.parametrize(
        "field, label",
        [
            ("monthly_budget", "Monthly budget"),
            ("second_approver_from", "Second approver from this monthly cost"),
        ],
    )
    def test_a_wrong_amount_names_its_field_and_stays_typed(self, admin, team, field, label, typed, sentence):
        page = save(admin, **{field: typed})
        assert f"{label}: {sentence}" in words(page)
        form = page.context["rules_form"]
        assert sentence in form.errors[field][0] and form[field].value() == typed
        html = page.content.decode()
        assert re.search(rf'<input[^>]*name="{field}"[^>]*aria-invalid="true"', html)
        assert Team.objects.get().monthly_budget is None

    def test_a_limit_that_too_few_approvers_can_meet_is_a_warning(self, admin, team, ana):
        page = save(admin, second_approver_from="100")
        assert "Support does not have two approvers." in words(page)
        assert "so a superuser has to approve too" in words(page)
        factories.member("eve", team, "approver")
        assert "does not have two approvers" not in words(save(admin, second_approver_from="101"))

    def test_never_overwrites_what_a_second_admin_saved_meanwhile(self, admin, team, tom):
        old_page = shown(admin)
        set_rules(team, tom, budget=Decimal(500), hard=False)
        page = admin.post(
            f"{TEAM}rules/", old_page | {"monthly_budget": "20", "second_approver_from": "7"}, follow=True
        )
        said = words(page)
        assert "Somebody has changed the rules since you opened this page." in said
        assert "The budget is 500.00 USD a month; what goes beyond it is approved with a warning." in said
        assert Team.objects.get().monthly_budget == 500
        form = page.context["rules_form"]
        assert (form["monthly_budget"].value(), form["second_approver_from"].value()) == ("20", "7")
        kept = {name: form[name].value() for name in form.fields}
        assert kept["seen"] != old_page["seen"]
        admin.post(f"{TEAM}rules/", kept)
        assert Team.objects.get().monthly_budget == 20

    @pytest.mark.parametrize("seen", ["", "x", "None/False/None", "\x00", "9" * 5000])
    def test_a_forged_or_missing_mark_changes_nothing(self, admin, team, seen):
        page = save(admin, seen=seen, monthly_budget="20")
        assert page.status_code == 200
        assert Team.objects.get().monthly_budget is None


class TestTheBudget:
    def test_that_is_passed_is_said_and_shown(self, admin, team, tom, sam, ana):
        factories.approve(factories.request(team, sam, ["+12125550101", "+12125550102"]), ana)
        assert 'class="meter over"' not in admin.get(TEAM).content.decode()
        set_rules(team, tom, budget=Decimal("2.50"), hard=False)
        page = admin.get(TEAM)
        assert "Left of 2.50 USD already 3.50 USD over" in words(page)
        assert 'class="meter over"' in page.content.decode()


class TestStopping:
    def test_is_behind_words_that_say_nothing_of_how_it_is(self, admin, team):
        page = admin.get(TEAM).content.decode()
        assert re.search(
            r'<details class="choice">\s*<summary>If buying for Support has to stop</summary>', page
        )
        assert "Buying Active" in words(admin.get(TEAM))

    def test_is_open_when_something_was_wrong_with_it(self, admin, team):
        page = admin.post(f"{TEAM}stop/", {"reason": ""}, follow=True)
        assert '<details class="choice" open>' in page.content.decode()
