"""The pages to create teams, and to invite people, change their roles, remove them and switch them off."""

import re

import pytest

from purchasing import clock
from purchasing.mail import notices, sending
from purchasing.models import Mail, Membership, Team, User
from purchasing.teams import members
from tests import factories
from tests.views.access import snapshot, words

pytestmark = pytest.mark.django_db
TEAM = "/teams/support/"
INVITE = f"{TEAM}invite/"
BEA = {"username": "bea", "email": "bea@example.com", "roles": ["requester", "approver"]}


@pytest.fixture
def browser(client, tom):
    client.force_login(tom)
    return client


def send(browser, url, **fields):
    """Send a form and follow to the page after it."""
    return browser.post(url, fields, follow=True)


def member(person):
    return f"{TEAM}members/{person.pk}/"


class TestTheTeamsPage:
    def test_shows_its_admin_what_can_be_done(self, browser, team, sam):
        page = browser.get(TEAM)
        text = words(page)
        assert "Change sam" in text and "Invite somebody" in text
        assert "Rename" not in text and "Switch off" not in text
        assert f'href="{member(sam)}"' in page.content.decode()

    @pytest.mark.parametrize("role", ["requester", "approver"])
    def test_shows_its_members_no_forms(self, client, team, tom, role):
        client.force_login(factories.member("eve", team, role))
        text = words(client.get(TEAM))
        assert "tom Team admin" in text
        for part in ("Change tom", "Invite somebody", "Test, replace", "Rename"):
            assert part not in text

    def test_shows_who_has_not_come_yet(self, browser, team):
        send(browser, INVITE, **BEA)
        assert "bea invited, has not chosen a password yet" in words(browser.get(TEAM))


class TestInviting:
    def test_leads_to_the_new_member(self, browser, team):
        page = send(browser, INVITE, **BEA)
        bea = User.objects.get(username="bea")
        assert page.redirect_chain == [(member(bea), 302)]
        text = words(page)
        assert "bea was invited: a mail with a link is on its way to bea@example.com." in text
        assert "Send the invitation again" in text
        assert "/accounts/welcome/" not in page.content.decode()

    def test_in_the_sandbox_shows_the_link_that_the_mail_brings(self, browser, client, team, settings):
        settings.SANDBOX = True
        page = send(browser, INVITE, **BEA).content.decode()
        link = page.partition('href="http://127.0.0.1:8000/accounts/welcome/')[2].partition('"')[0]
        client.logout()
        assert "Choose a password" in words(client.get(f"/accounts/welcome/{link}", follow=True))

    def test_in_the_sandbox_shows_none_for_an_account_that_is_in_use(self, browser, team, sam, settings):
        settings.SANDBOX = True
        assert "/accounts/welcome/" not in browser.get(member(sam)).content.decode()

    def test_of_somebody_who_is_here_adds_them_with_a_sentence(self, browser, team, sam):
        page = send(browser, INVITE, username="sam", email="", roles=["approver"])
        assert "sam already has an account and is now in Support; no invitation was needed." in words(page)

    @pytest.mark.parametrize(
        "changes, field",
        [
            ({"username": ""}, "username"),
            ({"username": "be a"}, "username"),
            ({"username": "x" * 400}, "username"),
            ({"email": "bea"}, "email"),
            ({"email": ""}, "email"),
            ({"email": f"{'b' * 300}@example.com"}, "email"),
            ({"roles": []}, "roles"),
            ({"roles": ["king"]}, "roles"),
        ],
    )
    def test_a_mistake_is_a_sentence_at_its_field_and_what_was_typed_stays(
        self, browser, team, changes, field
    ):
        fields = {**BEA, **changes}
        page = send(browser, INVITE, **fields)
        assert page.redirect_chain == [(TEAM, 302)]
        form = page.context["invite_form"]
        assert set(form.errors) == {field}
        assert form["username"].value() == fields["username"]
        assert form["email"].value() == fields["email"]
        assert form["roles"].value() == fields["roles"]
        assert not User.objects.filter(username="bea").exists()
        assert not browser.get(TEAM).context["invite_form"].is_bound, "once"

    def test_what_is_odd_breaks_nothing(self, browser, team):
        for odd in ("\0", "\u2028", "<script>alert(1)</script>", "idc_" + "k" * 32, "‮evil"):
            page = browser.post(INVITE, {**BEA, "username": odd, "email": odd}, follow=True)
            assert page.status_code == 200
            assert "<script>alert" not in page.content.decode()
            assert "k" * 32 not in page.content.decode()


class TestAMember:
    def test_gets_other_roles(self, browser, team, sam):
        page = browser.get(member(sam))
        seen = page.context["form"]["seen"].value()
        page = send(browser, f"{member(sam)}roles/", roles=["approver"], seen=seen)
        assert "The roles of sam were changed." in words(page)
        assert members.roles_in(team, sam) == ["approver"]

    def test_of_whom_the_page_was_old_is_left_as_is(self, browser, team, sam):
        page = send(browser, f"{member(sam)}roles/", roles=["admin"], seen="approver")
        assert "were changed since you opened this page" in words(page)
        assert members.roles_in(team, sam) == ["requester"]

    def test_without_a_role_is_a_sentence_at_the_field(self, browser, team, sam):
        page = send(browser, f"{member(sam)}roles/", seen="requester")
        assert page.context["form"].errors == {"roles": ["Choose at least one role."]}

    def test_who_is_the_admin_keeps_that_role(self, browser, team, tom):
        for step, fields in (("roles", {"roles": ["approver"], "seen": "admin"}), ("remove", {})):
            page = send(browser, f"{member(tom)}{step}/", **fields)
            assert "Nobody changes their own role as team admin" in words(page)
        assert members.roles_in(team, tom) == ["admin"]

    def test_who_was_the_last_admin_is_missed(self, client, team, tom):
        client.force_login(factories.superuser())
        page = send(client, f"{member(tom)}roles/", roles=["approver"], seen="admin")
        assert "Support now has no team admin" in words(page)

    def test_is_taken_out_and_switched_off_only_behind_words_that_are_opened_first(self, browser, team, sam):
        page = browser.get(member(sam)).content.decode()
        for step in (f"{member(sam)}remove/", f"/people/{sam.pk}/switch-off/"):
            before = page.partition(f'action="{step}"')[0]
            assert before.rpartition("<details")[2].count("</details>") == 0
        assert '<details class="choice" open' not in page
        assert "Yes, take sam out of Support" in page and "Yes, switch the account of sam off" in page

    def test_is_taken_out(self, browser, team, sam):
        page = send(browser, f"{member(sam)}remove/")
        assert page.redirect_chain == [(TEAM, 302)]
        assert "sam is no longer in Support." in words(page)
        assert browser.get(member(sam)).status_code == 404
        assert browser.post(f"{member(sam)}remove/").status_code == 404

    def test_is_switched_off_and_on(self, browser, team, sam):
        page = send(browser, f"/people/{sam.pk}/switch-off/")
        assert page.redirect_chain == [(member(sam), 302)]
        assert "The account of sam is switched off." in words(page)
        assert "sam switched off" in words(browser.get(TEAM))
        assert "sam can log in again." in words(send(browser, f"/people/{sam.pk}/switch-on/"))

    def test_of_two_teams_is_switched_by_a_superuser(self, browser, team, sam):
        factories.member("sam", factories.team("Sales", key=None), "requester")
        assert "Switch the account off" not in words(browser.get(member(sam)))
        page = browser.post(f"/people/{sam.pk}/switch-off/")
        assert page.status_code == 403
        assert "a superuser can switch everybody" in words(page)

    def test_gets_another_link(self, browser, team):
        send(browser, INVITE, **BEA)
        bea = User.objects.get(username="bea")
        said = lambda: words(browser.get(member(bea))).partition("Last link")[2]  # noqa: E731
        assert re.match(r" requested by tom, .*? \. The mail is on its way\.", said())
        notices.collect()
        assert "The mail is on its way." in said()
        assert "less than a minute ago" in words(send(browser, f"{member(bea)}link/"))
        Mail.objects.update(tries=1, problem="The mail server answered: 450 Busy", due_at=clock.now())
        assert "The mail has not been sent yet. The mail server answered: 450 Busy Next try at" in said()
        Mail.objects.update(given_up_at=clock.now(), problem="The mail server answered: 550 No such person")
        assert "The mail could not be sent. The mail server answered: 550" in said()
        page = send(browser, f"{member(bea)}link/")
        assert "A mail with a link is on its way to bea@example.com." in words(page)
        notices.collect()
        sending.send()
        assert "The mail was sent at" in said()

    def test_of_whose_link_nothing_is_known_any_more_it_says_only_who_asked_for_it(
        self, browser, team, settings
    ):
        send(browser, INVITE, **BEA)
        settings.TEST_CLOCK_OFFSET = 100 * 24 * 3600  # seconds, after which the mail has been deleted
        said = words(browser.get(member(User.objects.get(username="bea")))).partition("Last link")[2]
        assert said.startswith(" requested by tom,") and "The mail" not in said.partition("bea has not")[0]

    def test_other_teams_are_shown_to_superusers_alone(self, browser, team, sam):
        factories.member("sam", factories.team("Sales", key=None), "requester")
        assert "Sales" not in words(browser.get(member(sam)))
        browser.force_login(factories.superuser())
        assert "Also in Sales" in words(browser.get(member(sam)))


class TestTeams:
    @pytest.fixture
    def root(self, client):
        client.force_login(factories.superuser())
        return client

    def test_are_made_in_the_browser(self, root):
        assert "Create the first team" in words(root.get("/"))
        page = send(root, "/teams/new/", name="Help  desk")
        assert page.redirect_chain == [("/teams/help-desk/", 302)]
        assert "The team Help desk was created." in words(page)
        assert Team.objects.get().name == "Help desk"

    @pytest.mark.parametrize("name", ["", "x" * 101, "support", " Support "])
    def test_a_name_that_cannot_be_taken_is_a_sentence_and_stays_typed(self, root, team, name):
        page = send(root, "/teams/new/", name=name)
        form = page.context["form"]
        assert form.errors and form["name"].value() == name
        assert Team.objects.count() == 1

    def test_are_renamed(self, root, team):
        page = send(root, f"{TEAM}rename/", name="Help desk")
        assert page.redirect_chain == [(TEAM, 302)]
        assert Team.objects.get().name == "Help desk"

    def test_are_switched_off_and_on_with_a_reason(self, root, team):
        page = send(root, f"{TEAM}switch-off/", reason="")
        assert page.context["switch_form"].errors
        assert "Support is switched off" in words(send(root, f"{TEAM}switch-off/", reason="Closed"))
        assert "Switch the team on" in words(root.get(TEAM))
        assert "Support is switched on again." in words(send(root, f"{TEAM}switch-on/", reason="Open"))

    def test_a_form_sent_twice_is_a_sentence(self, root, team):
        send(root, f"{TEAM}switch-off/", reason="Closed")
        assert "switched off already" in words(send(root, f"{TEAM}switch-off/", reason="Closed"))

    def test_list_who_is_in_none_for_superusers(self, root, team, sam):
        Membership.objects.filter(user=sam).delete()
        assert "Not in any team" in words(root.get("/teams/"))
        page = send(root, f"/people/{sam.pk}/switch-off/")
        assert page.redirect_chain == [("/teams/", 302)]
        assert not User.objects.get(pk=sam.pk).is_active
        assert "sam Switched off Switch on" in words(page)

    @pytest.mark.parametrize("role", ["requester", "approver", "admin"])
    def test_are_made_by_superusers_alone(self, client, team, role):
        client.force_login(factories.member("eve", team, role))
        before = snapshot()
        for url in ("/teams/new/", f"{TEAM}rename/", f"{TEAM}switch-off/"):
            page = client.post(url, {"name": "Mine", "reason": "Mine"})
            assert (page.status_code, "Only a superuser can do this." in words(page)) == (403, True)
        assert snapshot() == before
        assert "Create a team" not in words(client.get("/teams/"))


def test_a_person_without_a_team_reads_what_to_do_next(client, db):
    client.force_login(User.objects.create_user("bea", password=factories.PASSWORD))
    text = words(client.get("/"))
    assert "Ask your team admin, or the person who runs Number Desk, to add you" in text
    assert "Your user name is bea" in text
