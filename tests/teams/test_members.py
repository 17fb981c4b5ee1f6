"""Teams and their members: inviting, roles, removing, switching off; creating, renaming and switching teams."""

import re

import pytest
from django.contrib.sessions.models import Session

from purchasing import audit, permissions, problems
from purchasing.buying import procurement
from purchasing.models import AuditEvent, Membership, Purchase, Team, User
from purchasing.problems import WrongField
from purchasing.teams import invitations, members, teams
from tests import factories
from tests.factories import actor
from tests.stub import selling
from tests.test_races import claimed, race, winners

pytestmark = pytest.mark.django_db


def invite(team, person, username="bea", email="bea@example.com", roles=("requester",)):
    return members.invite(team, username=username, email=email, roles=roles, actor=actor(person))


def roles(team, person):
    return members.roles_in(team, person)


def last_event(action):
    return AuditEvent.objects.filter(action=action).order_by("-seq").first()


class TestInviting:
    def test_makes_an_account_without_a_password(self, team, tom):
        bea, made = invite(team, tom, roles=["approver", "requester"])

        assert made
        assert not bea.has_usable_password()
        assert roles(team, bea) == ["requester", "approver"]
        event = last_event("member.invited")
        assert (event.actor_name, event.team) == ("tom", team)
        assert event.data == {
            "member": "bea",
            "member_id": bea.pk,
            "role": "requester, approver",
            "email": "bea@example.com",
        }

    @pytest.mark.parametrize("username", ["sam", "SAM"])
    def test_who_has_an_account_of_this_name_is_added(self, team, tom, sam, username):
        sales = factories.team("Sales", key=None)
        factories.member("tom", sales, "admin")
        person, made = invite(sales, tom, username, "")
        assert (person, made) == (sam, False)
        assert last_event("member.added").data["role"] == "requester"
        assert invitations.last_asked(sam) is None
        assert User.objects.filter(username__iexact="sam").count() == 1

    def test_who_has_an_account_of_this_address_is_added(self, team, tom, sam):
        User.objects.filter(pk=sam.pk).update(email="Sam@Example.com")
        person, made = invite(team, tom, "samuel", "sam@example.com", ["approver"])
        assert (person, made, roles(team, sam)) == (sam, False, ["requester", "approver"])

    def test_an_account_of_this_name_with_another_address_is_not_surely_the_same_person(self, team, tom, sam):
        User.objects.filter(pk=sam.pk).update(email="sam@example.com")
        with pytest.raises(WrongField, match="with another address") as problem:
            invite(team, tom, "sam", "other@example.com", ["approver"])
        assert problem.value.field == "username"
        assert roles(team, sam) == ["requester"]

    def test_a_name_and_an_address_of_two_people_is_a_sentence(self, team, tom, sam, ana):
        User.objects.filter(pk=ana.pk).update(email="ana@example.com")
        with pytest.raises(WrongField, match="belongs to the account ana, not to sam"):
            invite(team, tom, "sam", "ana@example.com")

    @pytest.mark.parametrize(
        "typed, field",
        [
            ({"username": "with blank"}, "username"),
            ({"username": "x" * 151}, "username"),
            ({"username": ""}, "username"),
            ({"username": "idc_" + "k" * 32}, "username"),
            ({"email": ""}, "email"),
            ({"email": "nobody"}, "email"),
            ({"email": "a@example.com\nBcc: b@example.com"}, "email"),
            ({"roles": []}, "roles"),
            ({"roles": ["king"]}, "roles"),
        ],
    )
    def test_what_cannot_be_taken_is_a_sentence_at_its_field(self, team, tom, typed, field):
        people_before = User.objects.count()
        with pytest.raises(WrongField) as problem:
            invite(team, tom, **typed)
        assert problem.value.field == field
        assert User.objects.count() == people_before

    def test_roles_that_are_held_already_are_a_sentence(self, team, tom, sam):
        with pytest.raises(WrongField, match="already: requester"):
            invite(team, tom, "sam", "")

    def test_nobody_makes_themselves_an_admin_and_no_other_than_an_admin_invites(self, team, ana, tom):
        with pytest.raises(problems.NotYours):
            invite(team, ana, "ana", "", ["admin"])
        root = factories.superuser()
        with pytest.raises(WrongField, match="Nobody makes themselves"):
            invite(team, root, "root", "", ["admin"])

    def test_two_at_once_make_one_account(self, team, tom):
        invite(team, tom)
        person, made = invite(team, tom, roles=["approver"])
        assert (made, roles(team, person)) == (False, ["requester", "approver"])


LINK_START = "http://127.0.0.1:8000"


def path_of(link):
    assert link.startswith(LINK_START)
    return link.removeprefix(LINK_START)


class TestTheLink:
    def choose(self, client, path, password="seven quiet herons"):
        """Open the link and choose a password; returns the page that follows."""
        page = client.get(path, follow=True)
        if not page.redirect_chain:
            return page
        fields = {"new_password1": password, "new_password2": password}
        return client.post(page.redirect_chain[-1][0], fields, follow=True)

    def test_sets_a_password_once(self, client, team, tom):
        bea, _ = invite(team, tom)
        path = path_of(invitations.link_for(bea))
        page = self.choose(client, path)
        assert page.redirect_chain[-1][0] == "/accounts/login/"
        assert "Your password is set. Log in with it." in page.content.decode()
        assert client.login(username="bea", password="seven quiet herons")
        assert last_event("member.password_chosen").actor_name == "bea"
        client.logout()
        assert "no longer works" in self.choose(client, path, "another quiet heron").content.decode()
        assert not client.login(username="bea", password="another quiet heron")

    def test_opening_it_changes_nothing(self, client, team, tom):
        bea, _ = invite(team, tom)
        before = list(User.objects.order_by("pk").values_list())
        for _ in range(3):
            client.get(path_of(invitations.link_for(bea)), follow=True)
        assert list(User.objects.order_by("pk").values_list()) == before

    def test_a_weak_password_is_a_sentence_at_its_field(self, client, team, tom):
        bea, _ = invite(team, tom)
        page = self.choose(client, path_of(invitations.link_for(bea)), "bea")
        assert "too short" in str(page.context["form"].errors["new_password2"])
        assert not User.objects.get(pk=bea.pk).has_usable_password()

    def test_ends_with_its_time(self, client, team, tom, settings):
        bea, _ = invite(team, tom)
        path = path_of(invitations.link_for(bea))
        settings.PASSWORD_RESET_TIMEOUT = -1
        assert "no longer works" in client.get(path, follow=True).content.decode()

    def test_ends_with_the_account(self, client, team, tom):
        bea, _ = invite(team, tom)
        path = path_of(invitations.link_for(bea))
        members.switch_account(bea, on=False, actor=actor(tom))
        assert "no longer works" in client.get(path, follow=True).content.decode()

    def test_says_the_same_for_an_account_that_is_there_and_one_that_is_not(self, client, team, tom):
        bea, _ = invite(team, tom)
        real, token = invitations.link_for(bea).split("/")[-3:-1]
        pages = [
            re.sub(r'name="csrfmiddlewaretoken" value="\w+"|X-CSRFToken": "\w+"', "", page.content.decode())
            for page in (
                client.get(f"/accounts/welcome/{real}/x{token}/"),
                client.get(f"/accounts/welcome/OTk5OTk5/{token}/"),
                client.get(f"/accounts/welcome/%F0/{token}/"),
                client.get(f"/accounts/welcome/{'9' * 400}/{token}/"),
            )
        ]
        assert {page.status_code for page in [client.get(f"/accounts/welcome/OTk/{token}/")]} == {200}
        assert len(set(pages)) == 1

    @pytest.mark.parametrize("seconds, words", [(259_200, "3 days"), (43_200, "12 hours"), (60, "1 hour")])
    def test_says_how_long_it_lives(self, settings, seconds, words):
        settings.PASSWORD_RESET_TIMEOUT = seconds
        assert invitations.life_of_a_link() == words


def change(team, person, by, to, seen=None):
    seen = roles(team, person) if seen is None else seen
    return members.change_roles(team, person, roles=to, seen=seen, actor=actor(by))


class TestChangingRoles:
    def test_gives_exactly_these_and_records_before_and_after(self, team, tom, sam):
        change(team, sam, tom, ["approver", "admin"])
        assert roles(team, sam) == ["approver", "admin"]
        event = last_event("member.roles_changed")
        assert (event.data["before"], event.data["after"]) == ("requester", "approver, admin")

    def test_counts_at_the_next_question(self, team, tom, ana, pending):
        assert permissions.is_entitled_approver(ana, team)
        change(team, ana, tom, ["requester"])
        assert not permissions.is_entitled_approver(ana, team)

    def test_not_on_an_older_page(self, team, tom, sam):
        change(team, sam, tom, ["approver"])
        with pytest.raises(problems.AlreadyMoved):
            change(team, sam, tom, ["requester"], seen=["requester"])
        assert roles(team, sam) == ["approver"]

    @pytest.mark.parametrize("who", ["tom", "root"])
    @pytest.mark.parametrize("step", ["take", "leave"])
    def test_nobody_changes_their_own_role_as_admin(self, team, tom, who, step):
        person = tom
        if who == "root":
            person = factories.superuser()
            Membership.objects.create(user=person, team=team, role="admin")
        with pytest.raises(problems.Problem, match="Nobody changes their own role"):
            if step == "take":
                change(team, person, person, ["approver"])
            else:
                members.remove_member(team, person, actor=actor(person))
        assert roles(team, person) == ["admin"]

    def test_an_admin_may_change_their_other_roles(self, team, tom):
        change(team, tom, tom, ["requester", "admin"])
        assert roles(team, tom) == ["requester", "admin"]

    def test_only_a_superuser_removes_the_last_admin_and_learns_it(self, team, tom):
        assert change(team, tom, factories.superuser(), ["approver"]) is False

    def test_another_admin_who_is_switched_off_does_not_count(self, team, tom):
        eve = factories.member("eve", team, "admin")
        User.objects.filter(pk=eve.pk).update(is_active=False)
        assert members.has_admin(team, besides=tom) is False

    @pytest.mark.parametrize("to", [[], ["king"]])
    def test_no_role_at_all_is_a_sentence(self, team, tom, sam, to):
        with pytest.raises(WrongField, match="at least one role"):
            change(team, sam, tom, to)

    @pytest.mark.parametrize("role", ["requester", "approver"])
    def test_is_for_the_admin(self, team, sam, role):
        with pytest.raises(problems.NotYours):
            change(team, sam, factories.member("eve", team, role), ["approver"])

    def test_of_another_team_stay(self, team, tom, sam):
        sales = factories.team("Sales", key=None)
        factories.member("sam", sales, "admin")
        change(team, sam, tom, ["approver"])
        assert roles(sales, sam) == ["admin"]
        with pytest.raises(problems.NotYours):
            change(sales, sam, tom, ["approver"])


class TestTakingOut:
    def test_leaves_the_account_and_the_records(self, team, tom, sam, pending):
        members.remove_member(team, sam, actor=actor(tom))
        assert roles(team, sam) == []
        assert User.objects.get(pk=sam.pk).is_active
        assert not permissions.teams_seen_by(sam).exists()
        assert pending.purchases.get().state == "pending"
        assert last_event("member.removed").data["role"] == "requester"

    def test_what_they_approved_is_not_bought(self, team, tom, ana, approved, provider):
        members.remove_member(team, ana, actor=actor(tom))
        procurement.buy(approved.pk)
        assert factories.state_of(approved) == "held"
        assert provider.purchases == []

    def test_twice_is_a_sentence(self, team, tom, sam):
        members.remove_member(team, sam, actor=actor(tom))
        with pytest.raises(problems.AlreadyMoved, match="not in Support any more"):
            members.remove_member(team, sam, actor=actor(tom))


class TestSwitchingAccounts:
    def test_ends_every_session_for_good(self, client, team, tom, sam):
        client.force_login(sam)
        assert client.get("/").status_code == 200
        others = Session.objects.count()
        members.switch_account(sam, on=False, actor=actor(tom))
        assert client.get("/").status_code == 302
        assert Session.objects.count() < others
        members.switch_account(sam, on=True, actor=actor(tom))
        assert client.get("/").status_code == 302, "the old session does not live again"
        assert [last_event(f"member.{step}").team for step in ("deactivated", "activated")] == [team, team]

    def test_leaves_the_sessions_of_others(self, client, team, tom, sam):
        client.force_login(tom)
        members.switch_account(sam, on=False, actor=actor(tom))
        assert client.get("/").status_code == 200

    def test_what_they_approved_is_not_bought(self, team, tom, ana, approved, provider):
        members.switch_account(ana, on=False, actor=actor(tom))
        procurement.buy(approved.pk)
        assert factories.state_of(approved) == "held"

    def test_who_may(self, team, tom, sam, ana):
        root, ida = factories.superuser(), factories.auditor()
        sales = factories.team("Sales", key=None)
        factories.member("ana", sales, "approver")
        factories.member("ida", team, "requester")
        Membership.objects.create(user=root, team=team, role="requester")
        may = {
            (by.username, who.username): members.may_switch(by, who)
            for by in (tom, root, sam, ida)
            for who in (tom, root, sam, ana, ida)
        }
        assert {pair for pair, allowed in may.items() if allowed} == {
            ("tom", "sam"),
            ("root", "tom"),
            ("root", "sam"),
            ("root", "ana"),
            ("root", "ida"),
        }
        for by, who in ((tom, ana), (tom, tom), (sam, tom), (tom, root)):
            with pytest.raises(problems.NotYours):
                members.switch_account(who, on=False, actor=actor(by))

    def test_twice_is_a_sentence(self, team, tom, sam):
        with pytest.raises(problems.AlreadyMoved, match="switched on already"):
            members.switch_account(sam, on=True, actor=actor(tom))


class TestTeams:
    def test_get_an_address_that_no_page_has(self, db):
        assert teams.create_team("New", actor=factories.SYSTEM).slug == "new-2"

    def test_are_renamed_and_keep_their_address(self, team):
        root = factories.superuser()
        teams.rename_team(team, " Help desk ", actor=actor(root))
        team.refresh_from_db()
        assert (team.name, team.slug) == ("Help desk", "support")
        data = last_event("team.renamed").data
        assert (data["before"], data["after"]) == ("Support", "Help desk")

    @pytest.mark.parametrize("name", ["", " ", "x" * 101, "sales", "Support"])
    def test_names_that_cannot_be_taken_are_a_sentence(self, team, name):
        factories.team("Sales", key=None)
        with pytest.raises(problems.Problem):
            teams.rename_team(team, name, actor=actor(factories.superuser()))

    def test_may_change_the_case_of_their_own_name(self, team):
        teams.rename_team(team, "SUPPORT", actor=actor(factories.superuser()))
        assert Team.objects.get().name == "SUPPORT"

    def test_that_are_switched_off_buy_nothing_until_they_are_on_again(self, team, approved, provider):
        root = actor(factories.superuser())
        teams.switch_team(team, on=False, reason="Closed", actor=root)
        procurement.buy(approved.pk)
        approved.refresh_from_db()
        assert (approved.state, approved.waiting_for) == ("approved", "Support is switched off.")
        teams.switch_team(team, on=True, reason="Open again", actor=root)
        provider.sells("+12125550101")
        procurement.buy(approved.pk)
        assert factories.state_of(approved) == "purchased"
        assert [last_event(f"team.switched_{way}").note for way in ("off", "on")] == ["Closed", "Open again"]

    def test_are_switched_with_a_reason_and_once(self, team):
        root = actor(factories.superuser())
        with pytest.raises(problems.Problem, match="Say why"):
            teams.switch_team(team, on=False, reason=" ", actor=root)
        with pytest.raises(problems.Problem, match="on already"):
            teams.switch_team(team, on=True, reason="Why not", actor=root)

    def test_are_for_superusers(self, team, tom):
        with pytest.raises(problems.NotYours):
            teams.rename_team(team, "Mine", actor=actor(tom))
        with pytest.raises(problems.NotYours):
            teams.switch_team(team, on=False, reason="Mine", actor=actor(tom))


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
class TestAtTheSameMoment:
    ROUNDS = 5

    def rounds(self, team, sam, ana):
        for place in range(self.ROUNDS):
            Membership.objects.get_or_create(user=ana, team=team, role="approver")
            User.objects.update(is_active=True)
            yield factories.approve(factories.request(team, sam, [f"+121255501{place:02d}"]), ana)[0]

    @pytest.mark.parametrize("step", ["roles", "remove", "off"])
    def test_a_claim_sees_the_role_or_its_loss(self, team, sam, ana, tom, settings, step):
        with selling(settings):
            for purchase in self.rounds(team, sam, ana):
                take = {
                    "roles": lambda: members.change_roles(
                        team, ana, roles=["requester"], seen=["approver"], actor=actor(tom)
                    ),
                    "remove": lambda: members.remove_member(team, ana, actor=actor(tom)),
                    "off": lambda: members.switch_account(ana, on=False, actor=actor(tom)),
                }[step]

                def claim(purchase=purchase):
                    try:
                        return claimed(Purchase.objects.get(pk=purchase.pk))
                    except procurement.Hold as hold:
                        return hold

                results = race(take, claim)
                assert 0 in winners(results)
                events = AuditEvent.objects.filter(
                    action__in=[
                        "purchase.purchasing",
                        "member.roles_changed",
                        "member.removed",
                        "member.deactivated",
                    ]
                )
                was_claimed = factories.state_of(purchase) == "purchasing"
                assert was_claimed != isinstance(results[1].value, procurement.Hold)
                if was_claimed:
                    order = list(events.order_by("-seq").values_list("action", flat=True)[:2])
                    assert order[1] == "purchase.purchasing", "claimed after the role was lost"
                Membership.objects.filter(user=ana).delete()
        assert audit.verify().whole

    def test_two_admins_never_take_the_role_from_each_other(self, team, tom):
        eve = factories.member("eve", team, "admin")
        for _ in range(self.ROUNDS):
            results = race(
                lambda: change(team, tom, eve, ["approver"], seen=["admin"]),
                lambda: change(team, eve, tom, ["approver"], seen=["admin"]),
            )
            assert len(winners(results)) == 1
            assert members.has_admin(team)
            for person in (tom, eve):
                Membership.objects.filter(user=person, team=team).delete()
                Membership.objects.create(user=person, team=team, role="admin")

    def test_two_invitations_of_one_person_make_one_account(self, team, tom):
        sales = factories.team("Sales", key=None)
        factories.member("tom", sales, "admin")
        for name in [f"bea{place}" for place in range(self.ROUNDS)]:
            race(
                lambda name=name: invite(team, tom, name, f"{name}@example.com"),
                lambda name=name: invite(sales, tom, name, f"{name}@example.com"),
            )
            assert User.objects.filter(username=name).count() == 1
