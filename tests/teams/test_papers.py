"""The register of requirement groups: kept by the team admin, shown to requesters, refused once expired."""

from datetime import date, timedelta

import pytest
from django.utils import timezone

from purchasing import problems
from purchasing.approving import approvals
from purchasing.asking import versions
from purchasing.models import AuditEvent, Purchase, RequirementGroup
from purchasing.teams import papers
from tests import factories
from tests.views.access import words

pytestmark = pytest.mark.django_db
NUMBER = "+4930901820"
ENTRY = {
    "provider_id": 12,
    "name": "Company register",
    "country_code": "DE",
    "number_type": "local",
    "valid_until": None,
}
actor = factories.actor


@pytest.fixture
def add(team, tom):
    """Add an entry to the team's register."""
    return lambda **fields: papers.add(team, actor=actor(tom), **ENTRY | fields)


def days(count):
    return timezone.localdate() + timedelta(days=count)


def ask(team, person, **fields):
    line = {"country_code": "DE", "requirement_group_id": 12} | fields
    return factories.request(team, person, [NUMBER], **line)


class TestTheRegister:
    def test_knows_what_is_needed_and_what_is_on_file(self, team, add):
        add()
        add(provider_id=None, name="Address", number_type="", country_code="FR")
        add(provider_id=13, name="Old", valid_until=days(-1), country_code="ES", number_type="mobile")
        known = papers.Register(team)
        assert known.advice("DE", "local") == (
            "Papers are needed for local numbers of Germany. Choose the requirement group."
        )
        assert known.advice("DE", "local", 12) == ""
        assert known.advice("DE", "mobile") == ""
        assert "none are on file" in known.advice("FR", "national")
        assert "none are on file" in known.advice("ES", "mobile")
        assert known.advice("ES", "") != ""  # of an unknown type
        assert papers.Register(None).advice("DE", "local") == ""

    @pytest.mark.parametrize("last_day, is_over", [(-1, True), (0, False), (1, False)])
    def test_is_valid_through_the_last_day(self, team, add, last_day, is_over):
        add(valid_until=days(last_day))
        assert bool(papers.Register(team).refusal("DE", "local", 12)) is is_over

    def test_every_change_is_an_event_with_before_and_after(self, team, tom, add):
        entry = add()
        seen = papers.fingerprint(entry)
        papers.change(entry, actor=actor(tom), seen=seen, **ENTRY | {"valid_until": date(2031, 5, 3)})
        papers.remove(RequirementGroup.objects.get(), actor=actor(tom))
        events = AuditEvent.objects.filter(action__startswith="papers.").order_by("seq")
        assert [event.action for event in events] == ["papers.added", "papers.changed", "papers.removed"]
        assert events[1].data["before"]["valid_until"] is None
        assert events[1].data["valid_until"] == "2031-05-03"
        assert papers.Register(team).entries == []
        assert RequirementGroup.objects.count() == 1  # kept for the record

    def test_holds_each_id_once(self, add):
        add()
        with pytest.raises(problems.WrongField, match="Company register"):
            add(name="Another")
        add(provider_id=None)
        add(provider_id=None)

    def test_a_change_of_what_somebody_else_has_changed_is_refused(self, tom, add):
        entry = add()
        seen = papers.fingerprint(entry)
        papers.change(entry, actor=actor(tom), seen=seen, **ENTRY | {"name": "Other"})
        with pytest.raises(problems.AlreadyMoved):
            papers.change(entry, actor=actor(tom), seen=seen, **ENTRY | {"name": "Third"})
        papers.remove(entry, actor=actor(tom))
        with pytest.raises(problems.AlreadyMoved):
            papers.remove(entry, actor=actor(tom))

    def test_is_kept_by_the_admin_alone(self, team, sam, ana, add):
        entry = add()
        for person in (sam, ana, factories.auditor()):
            with pytest.raises(problems.NotYours):
                papers.add(team, actor=actor(person), **ENTRY | {"provider_id": 13})
            with pytest.raises(problems.NotYours):
                papers.remove(entry, actor=actor(person))


class TestARequest:
    def test_with_good_papers_is_sent_and_approved(self, team, sam, ana, add):
        add()
        [purchase] = factories.approve(ask(team, sam), ana)
        assert factories.state_of(purchase) == "approved"

    @pytest.mark.parametrize(
        "entry, problem",
        [
            ({"valid_until": days(-1)}, "were valid until"),
            ({"country_code": "FR"}, "are for local numbers of France"),
            ({"provider_id": 99}, "is not in the team's register"),
        ],
    )
    def test_with_invalid_papers_is_refused(self, team, sam, add, entry, problem):
        add(**entry)
        with pytest.raises(problems.Problem, match=problem):
            ask(team, sam)
        assert not Purchase.objects.exists()

    def test_cannot_be_changed_to_papers_that_are_not_good(self, team, sam, add):
        add()
        asked = ask(team, sam, requirement_group_id=None)
        change = versions.Change("Desk", "local", 99, True)
        with pytest.raises(problems.Problem, match="not in the team's register"):
            versions.edit(
                asked.pk,
                actor=actor(sam),
                version=1,
                reason="New desks",
                changes={asked.purchases.get().pk: change},
            )
        assert asked.purchases.get().requirement_group_id is None

    def test_whose_papers_have_expired_cannot_be_approved(self, team, sam, ana, add):
        entry = add()
        asked = ask(team, sam)
        RequirementGroup.objects.filter(pk=entry.pk).update(valid_until=days(-1))
        with pytest.raises(problems.Problem, match="were valid until"):
            approvals.approve(
                asked.pk, [asked.purchases.get().pk], approver=actor(ana), version=1, unconfirmed_cost_ok=True
            )

    def test_papers_of_another_team_do_not_count(self, team, sam, tom):
        sales = factories.team("Sales", key=None)
        factories.member("tom", sales, "admin")
        papers.add(sales, actor=actor(tom), **ENTRY)
        with pytest.raises(problems.Problem, match="not in the team's register"):
            ask(team, sam)


class TestThePage:
    @pytest.fixture
    def client(self, client, tom):
        client.force_login(tom)
        return client

    def send(self, client, **fields):
        sent = {"name": "Passport", "country_code": "Germany", "number_type": "", "provider_id": "12"}
        return client.post("/teams/support/papers/", sent | {"valid_until": ""} | fields, follow=True)

    def test_an_entry_is_added_changed_and_taken_out(self, client, team):
        assert "“Passport” was added to the register." in words(self.send(client))
        entry = RequirementGroup.objects.get()
        assert (entry.country_code, entry.provider_id, entry.valid_until) == ("DE", 12, None)
        address = f"/teams/support/papers/{entry.pk}/"
        page = client.get(address)
        changed = {"name": "Passport", "country_code": "DE", "provider_id": "12", "valid_until": "2001-01-31"}
        said = words(client.post(address, changed | {"seen": page.context["seen"]}, follow=True))
        assert "31 January 2001: expired" in said
        assert "was removed from the register" in words(client.post(f"{address}remove/", follow=True))
        assert client.get(address).status_code == 404

    @pytest.mark.parametrize(
        "fields, sentence",
        [
            ({"name": " "}, "Enter a name that staff recognise."),
            ({"name": "x" * 500}, "At most 100 characters; this has 500."),
            ({"country_code": ""}, "Enter the country whose numbers need the papers."),
            ({"country_code": "Atlantis"}, "There is no country “Atlantis”."),
            ({"provider_id": "twelve"}, "A whole number, such as 12."),
            ({"provider_id": "0"}, "greater than or equal to 1"),
            ({"provider_id": "9" * 40}, "less than or equal to"),
            ({"number_type": "satellite"}, "Select a valid choice."),
            ({"valid_until": "tomorrow"}, "A day such as 2027-05-31."),
        ],
    )
    def test_wrong_input_is_shown_with_its_error(self, client, team, fields, sentence):
        response = self.send(client, **fields)
        assert sentence in words(response)
        assert not RequirementGroup.objects.exists()
        assert ("Passport" if "name" not in fields else "Germany") in response.content.decode()

    def test_members_read_it(self, client, team, sam):
        self.send(client)
        client.force_login(sam)
        said = words(client.get("/teams/support/papers/"))
        assert "Passport numbers of Germany 12 No end date" in said
        assert "Add papers" not in said
