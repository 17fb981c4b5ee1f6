"""The decision card of a request: what it shows, what it offers, and what it keeps when a decision is refused."""

import html
import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from purchasing import audit, clock
from purchasing.approving import approvals
from purchasing.asking import versions
from purchasing.identitycall.resources import Offer
from purchasing.models import Credential, OfferLook, Purchase, RequirementGroup, SeenVersion, StandIn, Team
from purchasing.states import State
from tests import factories
from tests.views.access import snapshot, words

pytestmark = pytest.mark.django_db
NUMBERS = ["+12125550101", "+12125550102", "+12125550103"]
actor = factories.actor


@pytest.fixture
def client(client, ana):
    client.force_login(ana)
    return client


@pytest.fixture
def eve(team):
    return factories.member("eve", team, "approver")


@pytest.fixture
def asked(team, sam):
    """A request of sam for three numbers at 1.00 USD once and 2.00 USD a month each, all confirmed."""
    return confirmed(factories.request(team, sam, NUMBERS))


@pytest.fixture(params=["/approvals/", "/requests/{}/"], ids=["queue", "request"])
def address(request, asked):
    return request.param.format(asked.pk)


def confirmed(asked, numbers=NUMBERS):
    asked.purchases.filter(phone_number__in=numbers).update(cost_confirmed_at=clock.now())
    return asked


def rules(team, **fields):
    Team.objects.filter(pk=team.pk).update(**fields)
    team.refresh_from_db()


def ids(asked):
    return list(asked.purchases.order_by("pk").values_list("pk", flat=True))


def card(page, asked):
    """The card of a request on a page, as HTML."""
    found = page.content.decode().partition(f'id="request-{asked.pk}"')[2].partition("</article>")[0]
    assert found, "there is no card"
    return found


def text(part):
    """What a person reads of a part of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", part)).split())


def form(part, action):
    """The form of a card for this action, as HTML; '' where there is none."""
    found = re.findall(rf'<form[^>]*action="[^"]*/{action}/".*?</form>', part, re.DOTALL)
    return found[0] if found else ""


def ticked(part):
    return [int(pk) for pk in re.findall(r'name="purchase" value="(\d+)"[^>]* checked', part)]


def offered(part):
    return [int(pk) for pk in re.findall(r'name="purchase" value="(\d+)"', part)]


def decide(client, asked, step, address="/approvals/", **fields):
    fields = {"version": asked.version, "purchase": ids(asked), "reason": "", "next": address} | fields
    return client.post(f"/requests/{asked.pk}/{step}/", fields, follow=True)


def another_price(asked, monthly="3.00", number=NUMBERS[0]):
    """IdentityCall shows another price, which makes a new version."""
    purchase = asked.purchases.get(phone_number=number)
    shown = Offer(number, "US", "local", upfront_cost=Decimal("1.00"), monthly_cost=Decimal(monthly))
    versions.note_offers(asked.pk, {purchase.pk: shown}, seen_at=clock.now(), actor=audit.WORKER)


class TestARefusal:
    def test_is_shown_under_the_title_of_its_card_and_nowhere_else(self, client, asked, address):
        another_price(asked)
        page = decide(client, asked, "approve", address)
        assert page.redirect_chain == [(f"{address}#request-{asked.pk}", 302)]
        shown = card(page, asked)
        alert = re.search(
            r'</h2>.*?<div class="notice bad" id="request-\d+-problem" role="alert">(.*?)</div>',
            shown,
            re.DOTALL,
        )
        assert "+12125550101 was changed since you opened this page." in text(alert[1])
        assert shown.index('role="alert"') < shown.index("Requested by")
        messages = page.content.decode().partition('id="messages"')[2].partition("</div>")[0]
        assert "was changed" not in messages

    def test_takes_the_focus_so_that_a_screen_reader_begins_there(self, client, asked, address):
        assert "tabindex" not in card(client.get(address), asked).partition(">")[0]
        page = decide(client, asked, "approve", address, purchase=[])
        head = card(page, asked).partition(">")[0]
        assert 'tabindex="-1"' in head and f'aria-describedby="request-{asked.pk}-problem"' in head

    def test_keeps_ticks_reason_and_what_was_agreed_to(self, client, team, sam):
        asked = factories.request(team, sam, NUMBERS)
        second = ids(asked)[1]
        another_price(asked)
        fields = {"purchase": [second], "reason": "As agreed", "unconfirmed_cost_ok": "on"}
        shown = card(decide(client, asked, "approve", **fields), asked)
        assert ticked(form(shown, "approve")) == [second]
        assert "As agreed</textarea>" in shown
        assert re.search(r'name="unconfirmed_cost_ok" checked', shown)

    def test_of_a_field_leads_to_it(self, client, asked, address):
        shown = card(decide(client, asked, "reject", address), asked)
        assert f'<a href="#reason-{asked.pk}">Reason</a>: Enter why you reject' in shown
        assert f'id="reason-{asked.pk}-error"' in shown and 'aria-invalid="true"' in shown

    def test_whose_card_is_gone_is_shown_above_the_page(self, client, asked, address, eve):
        factories.approve(asked, eve)
        page = decide(client, asked, "approve", address)
        messages = page.content.decode().partition('id="messages"')[2].partition("</div>")[0]
        assert "eve approved +12125550101 a moment ago." in text(messages)
        assert "a moment ago" not in words(client.get(address))

    def test_is_shown_once(self, client, asked, address):
        decide(client, asked, "approve", address, purchase=[])
        assert 'role="alert"' not in card(client.get(address), asked)


class TestWhatOnePersonApproved:
    @pytest.fixture(autouse=True)
    def wants_two(self, team, eve):
        rules(team, second_approver_from=Decimal(1))

    def test_the_notice_names_who_is_missing(self, client, asked):
        said = words(decide(client, asked, "approve", purchase=ids(asked)[:2]))
        assert "Your approval of 2 numbers is recorded. ana approved it; eve has to approve it too." in said

    def test_is_a_list_to_read_and_only_the_rest_is_to_be_decided(self, client, asked, address):
        first, second, third = ids(asked)
        decide(client, asked, "approve", purchase=[first, second])
        shown = card(client.get(address), asked)
        said = text(shown)
        assert "You approved 2 numbers" in said
        assert said.count("ana approved it; eve has to approve it too.") == 2
        assert offered(form(shown, "approve")) == ticked(form(shown, "approve")) == [third]
        assert offered(form(shown, "reject")) == [first, second] and ticked(form(shown, "reject")) == []
        assert "1 number in all: 1.00 USD once and 2.00 USD a month" in said

    def test_when_it_is_all_there_is_no_form_to_approve_it_again(self, client, asked):
        decide(client, asked, "approve")
        page = client.get(f"/requests/{asked.pk}/")
        shown = card(page, asked)
        assert form(shown, "approve") == "" and "You approved 3 numbers" in text(shown)
        assert offered(form(shown, "reject")) == ids(asked)
        assert f'id="request-{asked.pk}"' not in client.get("/approvals/").content.decode()

    def test_can_be_rejected_after_all(self, client, asked):
        first, *_ = ids(asked)
        decide(client, asked, "approve")
        there = f"/requests/{asked.pk}/"
        fields = {"form": "approved", "purchase": [first], "reason": ""}
        shown = card(decide(client, asked, "reject", there, **fields), asked)
        assert '<details class="choice" open>' in shown
        assert f'<a href="#reason-again-{asked.pk}">Reason</a>: Enter why you reject' in shown
        assert ticked(form(shown, "reject")) == [first]
        page = decide(client, asked, "reject", there, **fields | {"reason": "Found a cheaper one"})
        assert "1 number rejected." in words(page)
        assert Purchase.objects.get(pk=first).state == State.REJECTED

    def test_the_second_approver_sees_the_first_and_approves(self, client, asked, eve):
        decide(client, asked, "approve")
        client.force_login(eve)
        shown = card(client.get("/approvals/"), asked)
        assert "ana approved it; eve has to approve it too." in text(shown) and "You approved" not in text(
            shown
        )
        assert ticked(form(shown, "approve")) == ids(asked)
        assert "3 numbers approved." in words(decide(client, asked, "approve"))

    def test_a_stand_in_does_not_repeat_the_approval_of_the_principal(self, client, asked, team, ana):
        bob = factories.member("bob", team, "requester")
        decide(client, asked, "approve")
        stand_in(team, ana, bob)
        client.force_login(bob)
        shown = card(client.get(f"/requests/{asked.pk}/"), asked)
        assert "3 numbers approved once already" in text(shown) and "You approved" not in text(shown)
        assert form(shown, "approve") == ""

    def test_who_asked_reads_who_is_still_missing(self, client, asked, sam, ana, eve):
        client.force_login(sam)
        notice = "so a colleague has to approve it: "
        assert f"{notice}ana, eve." in words(client.get(f"/requests/{asked.pk}/"))
        approvals.approve(asked.pk, ids(asked)[:1], approver=actor(ana), version=1)
        assert f"{notice}ana, eve." in words(client.get(f"/requests/{asked.pk}/"))
        approvals.approve(asked.pk, ids(asked)[1:], approver=actor(ana), version=1)
        assert f"{notice}eve." in words(client.get(f"/requests/{asked.pk}/"))


def stand_in(team, approver, person):
    today = timezone.localdate()
    return StandIn.objects.create(
        team=team, approver=approver, stand_in=person, from_day=today, to_day=today + timedelta(days=1)
    )


class TestAStandIn:
    def test_is_named_with_the_principal_everywhere(self, client, asked, team, ana):
        bob = factories.member("bob", team, "requester")
        stand_in(team, ana, bob)
        client.force_login(bob)
        assert "You stand in for ana: both names are recorded." in text(
            card(client.get("/approvals/"), asked)
        )
        first, *rest = ids(asked)
        decide(client, asked, "approve", purchase=[first])
        decide(client, asked, "reject", purchase=rest, reason="Too many")
        both = "bob, standing in for ana"
        said = words(client.get(f"/requests/{asked.pk}/"))
        assert f"{both}: approved +1 212-555-0101" in said and f"{both}: rejected 2 numbers" in said
        assert f"Approved by {both}," in words(client.get(f"/purchases/{first}/"))
        assert f"{both} requester Approved, queued approved +1 212-555-0101" in words(client.get("/audit/"))


class TestTheMoney:
    def figures(self, client, asked):
        said = text(form(card(client.get("/approvals/"), asked), "approve"))
        return said.partition("Monthly budget ")[2]

    def test_stands_where_it_is_decided(self, client, asked, team, sam, ana):
        rules(team, monthly_budget=Decimal(30), budget_is_hard=True)
        other = confirmed(factories.request(team, sam, ["+12125550107"]), ["+12125550107"])
        factories.approve(other, ana)
        assert self.figures(client, asked).startswith(
            "30.00 USD Committed 3.00 USD Waiting for approval 9.00 USD Left now 27.00 USD Left after this 18.00 USD"
        )

    def test_of_a_team_without_a_budget_says_what_is_committed(self, client, asked):
        assert self.figures(client, asked).startswith(
            "none Committed 0.00 USD Waiting for approval 9.00 USD Committed after this 9.00 USD"
        )

    def test_follows_the_ticks_with_javascript(self, client, asked, team):
        rules(team, monthly_budget=Decimal(30), budget_is_hard=True)
        shown = form(card(client.get("/approvals/"), asked), "approve")
        assert 'data-left="30.00"' in shown
        assert (
            'data-tally-left="30.00" data-tally="{left} USD" data-tally-over="already {over} USD over"'
            in shown
        )

    def test_that_is_too_much_says_by_how_much_and_begins_with_nothing_ticked(self, client, asked, team):
        rules(team, monthly_budget=Decimal("5.36"), budget_is_hard=True)
        shown = form(card(client.get("/approvals/"), asked), "approve")
        assert "Together, these numbers exceed the budget by 3.64 USD." in text(shown)
        assert "within the 5.36 USD left" in text(shown)
        assert "Left after this already 3.64 USD over" in text(shown)
        assert ticked(shown) == [] and "Approve the ticked numbers" in text(shown)
        assert "1 number approved." in words(decide(client, asked, "approve", purchase=ids(asked)[:1]))

    def test_of_which_nothing_fits_offers_no_button_that_must_fail(self, client, asked, team):
        rules(team, monthly_budget=Decimal("2.99"), budget_is_hard=True)
        shown = form(card(client.get("/approvals/"), asked), "approve")
        assert "The budget of Support does not allow any of these numbers. You can reject" in text(shown)
        assert "Approve" not in text(shown) and "Reject the ticked numbers" in text(shown)

    def test_without_a_confirmed_price_says_what_can_be_approved_now(self, client, team, sam):
        rules(team, monthly_budget=Decimal(30), budget_is_hard=True)
        asked = confirmed(factories.request(team, sam, NUMBERS), NUMBERS[:2])
        first, second, third = ids(asked)
        shown = form(card(client.get("/approvals/"), asked), "approve")
        assert "IdentityCall has not confirmed the price of 1 number yet" in text(shown)
        assert "Leave it unticked to approve the others now." in text(shown)
        assert ticked(shown) == [first, second] and f'value="{third}"' in shown and "data-blocked" in shown
        assert "unconfirmed_cost_ok" not in shown
        assert "2 numbers approved." in words(decide(client, asked, "approve", purchase=[first, second]))

    def test_without_any_confirmed_price_offers_no_button_that_must_fail(self, client, team, sam):
        rules(team, monthly_budget=Decimal(30), budget_is_hard=True)
        asked = factories.request(team, sam, NUMBERS)
        shown = form(card(client.get("/approvals/"), asked), "approve")
        assert "IdentityCall has not confirmed the price of any of these numbers yet" in text(shown)
        assert "Approve the ticked numbers" not in text(shown)

    def test_a_refusal_for_the_budget_brings_the_figures_into_the_card(self, client, asked, team):
        rules(team, monthly_budget=Decimal("5.00"), budget_is_hard=True)
        shown = card(decide(client, asked, "approve"), asked)
        problem = text(shown.partition('role="alert">')[2].partition("</div>")[0])
        assert "5.00 USD" in problem and "9.00 USD" in problem

    def test_beyond_a_soft_budget_is_shown_before_and_after(self, client, asked, team):
        rules(team, monthly_budget=Decimal("5.00"), budget_is_hard=False)
        shown = form(card(client.get("/approvals/"), asked), "approve")
        assert "Together, these numbers exceed the budget by 4.00 USD. You can still approve" in text(shown)
        assert ticked(shown) == ids(asked)
        said = words(decide(client, asked, "approve"))
        assert "3 numbers approved." in said
        assert (
            "This goes beyond the budget of Support: it is already 4.00 USD over. That is recorded." in said
        )
        assert "ana: approved 3 numbers, beyond the budget" in words(client.get(f"/requests/{asked.pk}/"))

    def test_within_the_budget_none_of_that_is_shown(self, client, asked, team):
        rules(team, monthly_budget=Decimal("9.00"), budget_is_hard=False)
        assert "beyond the budget" not in words(decide(client, asked, "approve"))


class TestWhatChanged:
    def test_is_shown_until_the_person_says_seen_on_whatever_device(self, client, asked, address, ana):
        another_price(asked)
        sentence = "+1 212-555-0101: cost a month was 2.00 USD, is 3.00 USD."
        for _ in range(2):
            shown = text(card(client.get(address), asked))
            assert f"Changed since it was sent: {sentence}" in shown
        page = client.post(f"/requests/{asked.pk}/seen/", {"version": 2, "next": address}, follow=True)
        assert page.redirect_chain == [(f"{address}#request-{asked.pk}", 302)]
        assert sentence not in text(card(page, asked))
        client.logout()
        client.force_login(ana)  # another browser
        assert "Changed since" not in text(card(client.get(address), asked))
        another_price(asked, "4.00")
        assert (
            "Changed since you decided or clicked “Seen”: +1 212-555-0101: cost a month was 3.00 USD, is 4.00 USD."
            in text(card(client.get(address), asked))
        )

    def test_is_shown_to_each_person_on_their_own(self, client, asked, eve):
        another_price(asked)
        client.post(f"/requests/{asked.pk}/seen/", {"version": 2})
        client.force_login(eve)
        assert "Changed since it was sent:" in text(card(client.get("/approvals/"), asked))

    def test_is_seen_with_a_decision(self, client, asked):
        another_price(asked)
        asked.refresh_from_db()
        decide(client, asked, "approve", purchase=ids(asked)[:1])
        assert "Changed since" not in text(card(client.get("/approvals/"), asked))
        assert SeenVersion.objects.get().version == 2

    def test_stays_after_a_click_on_an_old_page(self, client, asked):
        another_price(asked)
        shown = card(decide(client, asked, "approve"), asked)
        assert "cost a month was 2.00 USD, is 3.00 USD." in text(shown)
        assert not SeenVersion.objects.exists()

    @pytest.mark.parametrize("version", ["", "x", "0", "-1", "9" * 30, "99"])
    def test_a_forged_version_hides_nothing_that_comes_later(self, client, asked, version):
        client.post(f"/requests/{asked.pk}/seen/", {"version": version})
        another_price(asked)
        assert "cost a month was 2.00 USD" in text(card(client.get("/approvals/"), asked))

    def test_an_older_page_takes_nothing_back(self, client, asked):
        another_price(asked)
        for version in (2, 1):
            client.post(f"/requests/{asked.pk}/seen/", {"version": version})
        assert SeenVersion.objects.get().version == 2

    def test_looking_changes_nothing(self, client, asked, address):
        another_price(asked)
        before = snapshot()
        client.get(address)
        assert snapshot() == before

    def test_a_hundred_changes_do_not_bury_the_decision(self, client, team, sam):
        numbers = [f"+12125551{n:03d}" for n in range(100)]
        asked = factories.request(team, sam, numbers)
        costs = {"upfront_cost": Decimal(1), "monthly_cost": Decimal(3)}
        shown = {p.pk: Offer(p.phone_number, "US", "local", **costs) for p in asked.purchases.all()}
        versions.note_offers(asked.pk, shown, seen_at=clock.now(), actor=audit.WORKER)
        assert "And 94 more" in text(card(client.get("/approvals/"), asked))


class TestOlderVersions:
    def test_show_everything_that_they_held(self, client, team, sam):
        papers = RequirementGroup.objects.create(
            team=team, provider_id=12, name="Company register", country_code="US"
        )
        asked = factories.request(
            team, sam, NUMBERS[:1], requirement_group_id=12, record_calls=False, number_type="toll-free"
        )
        change = versions.Change(
            name="Door", number_type="local", requirement_group_id=None, record_calls=True
        )
        versions.edit(asked.pk, actor=actor(sam), version=1, reason="Other", changes={ids(asked)[0]: change})
        papers.removed_at = clock.now()
        papers.save()
        said = words(client.get(f"/requests/{asked.pk}/"))
        older = said.partition("Earlier versions (1)")[2]
        assert "Version 1 Changed by sam on" in older and "Its reason was: New desks" in older
        assert (
            "+1 212-555-0101 Desk US, Toll-free Company register (requirement group 12) not recorded"
            " 1.00 USD 2.00 USD not confirmed" in older
        )


class TestTakingBack:
    def cancel_form(self, client, asked):
        page = client.get(f"/requests/{asked.pk}/").content.decode()
        return form(page, "cancel")

    @pytest.mark.parametrize("role", ["approver", "admin"])
    def test_who_did_not_ask_is_offered_it_for_what_is_approved_alone(self, client, asked, team, eve, role):
        client.force_login(factories.member("bob", team, role))
        assert self.cancel_form(client, asked) == ""
        first, *_ = ids(asked)
        approvals.approve(asked.pk, [first], approver=actor(eve), version=1)
        shown = text(self.cancel_form(client, asked))
        assert "1 number is approved and not being bought yet." in shown
        assert "Reason (optional)" not in shown
        url = f"/requests/{asked.pk}/cancel/"
        page = client.post(url, {"reason": " "}, follow=True)
        assert "Enter a reason. The requester reads this." in text(form(page.content.decode(), "cancel"))
        assert Purchase.objects.get(pk=first).state == State.APPROVED
        page = client.post(url, {"reason": "Not this year"}, follow=True)
        assert "1 number cancelled." in words(page)
        assert list(asked.purchases.order_by("pk").values_list("state", flat=True)) == [
            State.CANCELLED,
            State.PENDING,
            State.PENDING,
        ]

    def test_who_did_not_ask_cancels_nothing_that_waits(self, client, asked):
        page = client.post(f"/requests/{asked.pk}/cancel/", {"reason": "No"}, follow=True)
        assert "Reject numbers that are waiting for approval instead." in words(page)
        assert set(asked.purchases.values_list("state", flat=True)) == {State.PENDING}

    def test_who_asked_takes_all_of_it_back_without_a_reason(self, client, asked, sam, ana):
        approvals.approve(asked.pk, ids(asked)[:1], approver=actor(ana), version=1)
        client.force_login(sam)
        assert "Reason (optional)" in text(self.cancel_form(client, asked))
        page = client.post(f"/requests/{asked.pk}/cancel/", {"reason": ""}, follow=True)
        assert "3 numbers cancelled." in words(page)


class TestThePageOfARequest:
    def test_puts_the_decision_first_and_says_nothing_twice(self, client, asked):
        page = client.get(f"/requests/{asked.pk}/").content.decode()
        main = page.partition("<main")[2].partition('<ol class="timeline"')[0]
        assert main.index("<article") < main.index('id="request-live"')
        assert main.count("Requested by") == main.count("New desks") == 1
        for number in ("+1 212-555-0101", "+1 212-555-0102", "+1 212-555-0103"):
            assert main.count(f'<span class="phone-number">{number}</span>') == 1

    def test_lists_what_is_decided_below_the_decision(self, client, asked):
        first, *_ = ids(asked)
        decide(client, asked, "reject", purchase=[first], reason="No")
        page = client.get(f"/requests/{asked.pk}/").content.decode()
        live = page.partition('id="request-live"')[2]
        assert "+1 212-555-0101 US, Local" in text(live) and "+1 212-555-0102 US, Local" not in text(live)
        assert offered(form(page, "approve")) == ids(asked)[1:]


class TestHowOftenTheDatabaseIsAsked:
    """Once for each request and each team, however many numbers there are."""

    @pytest.fixture
    def many(self, team, sam, eve):
        """Five requests of 100 numbers, each with one approval, and what IdentityCall showed of them."""
        rules(team, second_approver_from=Decimal(1), monthly_budget=Decimal(10_000))
        requests = []
        for n in range(5):
            numbers = [f"+1212555{n}{m:03d}" for m in range(100)]
            asked = factories.request(team, sam, numbers)
            asked.purchases.update(cost_confirmed_at=clock.now())
            approvals.approve(asked.pk, ids(asked)[:50], approver=actor(eve), version=1)
            requests.append(asked)
        OfferLook.objects.create(
            credential=Credential.objects.get(),
            country_code="US",
            number_type="local",
            began_at=clock.now(),
            offers={},
        )
        return requests

    def test_for_the_queue(self, client, many, django_assert_max_num_queries):
        client.get("/")  # the log-in begins to count
        with django_assert_max_num_queries(100):
            page = client.get("/approvals/")
        assert words(page).count("eve approved it; ana has to approve it too.") == 250
        url = html.unescape(re.search(r'hx-get="([^"]*)"', page.content.decode())[1])
        with django_assert_max_num_queries(40):
            assert client.get(url).status_code == 204

    def test_for_one_request(self, client, many, sam, django_assert_max_num_queries):
        url = f"/requests/{many[0].pk}/"
        client.get("/")  # the log-in begins to count
        with django_assert_max_num_queries(62):
            page = client.get(url)
        live = html.unescape(re.search(r'hx-get="([^"]*live[^"]*)"', page.content.decode())[1])
        with django_assert_max_num_queries(30):
            assert client.get(live).status_code == 204
        client.force_login(sam)
        with django_assert_max_num_queries(45):
            assert "eve approved it; ana has to approve it too." in words(client.get(url))
