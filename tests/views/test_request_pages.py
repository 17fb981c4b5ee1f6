"""The form 'Request purchase', the list of requests, and the page of a request with its live part."""

import re
import uuid
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.urls import reverse
from django.utils.html import escape

from purchasing import audit, clock, pasting, workflow
from purchasing.approving import approvals
from purchasing.asking import drafts, versions
from purchasing.buying import procurement
from purchasing.identitycall.resources import Offer
from purchasing.models import Draft, Paste, Purchase, PurchaseRequest, RequirementGroup
from purchasing.states import State
from tests import factories
from tests.views.access import words

pytestmark = pytest.mark.django_db
NUMBERS = ["+12125550101", "+12125550102"]
NEW = "/requests/new/"
NASTY = {
    "script": "<script>alert(1)</script>",
    "attribute": "\"><img src=x onerror='alert(1)'>",
    "template": "{{ request.user.password }}{% debug %}",
    "format": "{0.__class__} %s %(number)s",
    "SQL": "'; DROP TABLE purchasing_purchase; --",
    "link": "javascript:alert(1)",
    "CRLF": "x\r\nSet-Cookie: a=b",
    "right to left": "\u202egnp.exe\u200f",
}


@pytest.fixture
def client(client, sam):
    client.force_login(sam)
    return client


@pytest.fixture
def draft(sam):
    """Two numbers, not sent yet."""
    return factories.draft(sam, NUMBERS)


def fields(draft, team, **changes):
    """What the form sends when 'Request purchase' is pressed."""
    made = {
        "draft": draft.pk,
        "team": team.pk,
        "reason": "New desks",
        "purpose": "",
        "pattern": "",
        "do": "send",
    }
    made |= {"n-TOTAL_FORMS": len(draft.lines), "n-INITIAL_FORMS": len(draft.lines)}
    for place, line in enumerate(draft.lines):
        made |= {
            f"n-{place}-phone_number": line["phone_number"],
            f"n-{place}-name": f"Desk {place}",
            f"n-{place}-number_type": "local",
            f"n-{place}-requirement_group_id": "",
            f"n-{place}-record_calls": "yes",
        }
    return made | changes


def group(team, provider_id=12, **changes):
    """An entry of the team's register."""
    entry = {"name": "Company register", "country_code": "US", "number_type": "", "valid_until": None}
    return RequirementGroup.objects.create(team=team, provider_id=provider_id, **entry | changes)


class TestTheForm:
    def test_is_seeded_from_the_draft(self, client, sam):
        draft = factories.draft(
            sam, NUMBERS[:1], number_type="local", upfront_cost=Decimal(1), monthly_cost=Decimal("2.5")
        )
        response = client.get(NEW, {"draft": draft.pk})
        said = words(response)
        assert "First month 3.50 USD Each month after 2.50 USD" in said
        assert "as pasted, not confirmed" in said
        assert "IdentityCall records all calls on a new number from the start." in said
        assert "In some states, such as California" in said
        assert "Nothing is bought until somebody else approves it." in said
        assert response.context["lines"].forms[0].initial["number_type"] == "local"

    def test_sends_what_was_typed(self, client, draft, team):
        group(team)
        sent = fields(
            draft, team, purpose="Hotline", **{"n-1-requirement_group_id": "12", "n-1-record_calls": "no"}
        )
        response = client.post(NEW, sent, follow=True)
        assert "Sent. Nothing is bought until somebody else approves it." in words(response)
        asked = PurchaseRequest.objects.get()
        first, second = asked.purchases.order_by("phone_number")
        assert (asked.reason, asked.purpose) == ("New desks", "Hotline")
        assert (first.phone_number, first.name, first.record_calls) == (NUMBERS[0], "Desk 0", True)
        assert (second.requirement_group_id, second.record_calls, second.number_type) == (12, False, "local")
        assert not Draft.objects.exists()

    def test_sent_twice_gives_one_request(self, client, draft, team):
        sent = fields(draft, team)
        there = [client.post(NEW, sent)["Location"] for _ in range(3)]
        assert len(set(there)) == PurchaseRequest.objects.count() == 1

    def test_the_way_back_leads_to_the_request_that_was_made(self, client, draft, team):
        client.post(NEW, fields(draft, team))
        assert "That form was already sent" in words(client.get(NEW, {"draft": draft.pk}, follow=True))

    def test_the_approver_reads_no_warning_that_was_for_who_asks(self, client, sam, team, ana):
        [candidate] = pasting.read("+1 555 123 4567").candidates
        draft = drafts.of_paste(
            Paste.objects.create(user=sam, team=team, picked=[candidate.phone_number]), [candidate]
        )
        assert "Choose one before you request it" in words(client.get(NEW, {"draft": draft.pk}))
        client.post(NEW, fields(draft, team, **{"n-0-number_type": ""}))
        purchase = Purchase.objects.get()
        assert "This number is not in the numbering plan." in purchase.warning
        client.force_login(ana)
        for address in ("/approvals/", f"/requests/{purchase.request_id}/"):
            said = words(client.get(address))
            assert "Choose one" not in said and "type not known" in said
            assert "This number is not in the numbering plan." in said

    def test_the_approver_reads_the_purpose_and_the_papers(self, client, sam, team, ana):
        entry = group(team)
        draft = factories.draft(sam, NUMBERS, number_type="local", monthly_cost=Decimal(2))
        chosen = {"purpose": "Hotline", "n-0-requirement_group_id": "12"}
        client.post(NEW, fields(draft, team, **chosen))
        asked = PurchaseRequest.objects.get()
        client.force_login(ana)
        for address in ("/approvals/", f"/requests/{asked.pk}/"):
            said = words(client.get(address))
            assert "For: Hotline" in said and "Papers: Company register (requirement group 12)" in said
            assert "Choose the requirement group." in said  # of the other number
        first = asked.purchases.order_by("pk")[0]
        assert "Papers Company register (requirement group 12)" in words(
            client.get(f"/purchases/{first.pk}/")
        )
        entry.removed_at = clock.now()
        entry.save()
        said = words(client.get("/approvals/"))
        assert "The requirement group 12 is not in the team's register." in said

    def test_numbers_and_costs_come_from_the_draft_alone(self, client, draft, team):
        forged = {
            "n-0-upfront_cost": "0.01",
            "n-0-monthly_cost": "0.01",
            "upfront_cost": "0",
            "picked": "+19",
        }
        client.post(NEW, fields(draft, team, **forged))
        assert set(Purchase.objects.values_list("phone_number", "monthly_cost")) == {
            (number, None) for number in NUMBERS
        }

    def test_without_a_draft_leads_to_the_page_that_makes_one(self, client):
        assert client.get(NEW)["Location"] == "/paste/"
        assert client.post(NEW)["Location"] == "/paste/"

    @pytest.mark.parametrize("draft", ["x", "\x00", str(uuid.UUID(int=0)), "{0}", "9" * 5000])
    def test_a_forged_draft_is_404(self, client, draft):
        assert client.get(NEW, {"draft": draft}).status_code == 404
        assert client.post(NEW, {"draft": draft}).status_code == 404

    def test_a_draft_of_somebody_else_is_404(self, client, team):
        theirs = factories.draft(factories.member("eve", team, "requester"), NUMBERS)
        assert client.get(NEW, {"draft": theirs.pk}).status_code == 404
        assert client.post(NEW, fields(theirs, team)).status_code == 404
        assert client.post(f"/requests/drafts/{theirs.pk}/discard/").status_code == 404

    def test_of_no_number_is_a_sentence(self, client, sam, team):
        empty = factories.draft(sam, [])
        assert "This request has no numbers." in words(client.get(NEW, {"draft": empty.pk}))
        response = client.post(NEW, fields(empty, team), follow=True)
        assert "Tick at least one number." in words(response)
        assert not PurchaseRequest.objects.exists()

    def test_of_100_numbers_is_sent(self, client, sam, team):
        draft = factories.draft(sam, [f"+1212555{n:04}" for n in range(100)])
        assert client.post(NEW, fields(draft, team)).status_code == 302
        assert Purchase.objects.count() == 100


class TestKeeping:
    def test_whatever_is_typed_is_there_later(self, client, draft, team):
        typed = {"reason": "x" * 3000, "purpose": "y" * 300, "n-0-name": "z" * 500, "n-1-record_calls": "no"}
        response = client.post(NEW, fields(draft, team, do="leave", **typed), follow=True)
        assert "Not sent yet" in words(response)
        page = client.get(NEW, {"draft": draft.pk}).content.decode()
        assert all(text in page for text in ("x" * 3000, "y" * 300, "z" * 500))
        assert drafts.lines_of(Draft.objects.get())[1].record_calls == "no"

    def test_a_number_is_taken_out_and_the_others_keep_what_was_typed(self, client, draft, team):
        sent = fields(draft, team, do=f"out:{NUMBERS[0]}", **{"n-1-name": "Back door"})
        response = client.post(NEW, sent, follow=True)
        [line] = drafts.lines_of(Draft.objects.get())
        assert (line.phone_number, line.name) == (NUMBERS[1], "Back door")
        assert "Back door" in response.content.decode()

    def test_names_by_a_pattern(self, client, sam, team):
        draft = factories.draft(sam, NUMBERS, region="United States, Boston", number_type="local")
        client.post(NEW, fields(draft, team, do="name", pattern="{region} {type} {n} {last4} {code}"))
        assert [line.name for line in drafts.lines_of(Draft.objects.get())] == [
            "Boston local 1 0101 US",
            "Boston local 2 0102 US",
        ]

    @pytest.mark.parametrize(
        "pattern, sentence",
        [("{town} {n}", "{town} is not known"), ("{n", "bracket is missing"), ("", "Type a pattern first")],
    )
    def test_a_wrong_pattern_is_a_sentence_at_its_place(self, client, draft, team, pattern, sentence):
        response = client.post(NEW, fields(draft, team, do="name", pattern=pattern, reason="Because"))
        assert sentence in response.context["form"].errors["pattern"][0]
        assert "Because" in response.content.decode()

    def test_the_names_are_previewed(self, client, draft):
        said = words(client.get(f"{NEW}names/", {"draft": draft.pk, "pattern": "Desk {n}"}))
        assert said == "Desk 1, Desk 2"
        assert "is not known" in words(client.get(f"{NEW}names/", {"draft": draft.pk, "pattern": "{x}"}))

    def test_a_draft_is_thrown_away(self, client, draft):
        assert "Draft discarded." in words(client.post(f"/requests/drafts/{draft.pk}/discard/", follow=True))
        assert not Draft.objects.exists()


class TestPapers:
    def test_that_are_needed_and_not_on_file_are_told_before_it_is_sent(self, client, draft, team):
        group(team, provider_id=None)
        said = words(client.get(NEW, {"draft": draft.pk}))
        assert "2 numbers need papers" in said
        assert "none are on file. Ask the team admin." in said
        assert client.post(NEW, fields(draft, team)).status_code == 302  # warned, not refused

    def test_that_are_on_file_are_offered_by_name(self, client, draft, team):
        group(team)
        page = client.get(NEW, {"draft": draft.pk})
        assert "Choose the requirement group." in words(page)
        assert '<option value="12">Company register</option>' in page.content.decode()

    def test_that_are_over_are_refused_at_their_place(self, client, draft, team):
        group(team, valid_until=clock.now().date() - timedelta(days=2))
        response = client.post(NEW, fields(draft, team, **{"n-1-requirement_group_id": "12"}))
        [problem] = response.context["lines"].forms[1].errors["requirement_group_id"]
        assert problem.startswith("The papers “Company register” were valid until")
        assert not PurchaseRequest.objects.exists()

    def test_of_another_country_are_refused(self, client, draft, team):
        group(team, country_code="DE")
        response = client.post(NEW, fields(draft, team, **{"n-0-requirement_group_id": "12"}))
        assert "are for numbers of Germany, not for local numbers of United States" in words(response)

    def test_that_were_pasted_and_are_in_no_register_are_shown_and_refused(self, client, sam, team):
        draft = factories.draft(sam, NUMBERS[:1], requirement_group_id="99")
        assert "Group 99, not in the register" in words(client.get(NEW, {"draft": draft.pk}))
        response = client.post(NEW, fields(draft, team, **{"n-0-requirement_group_id": "99"}))
        assert "Choose one of the team" in words(response)
        assert not PurchaseRequest.objects.exists()


class TestAskingAgain:
    def test_copies_what_was_not_bought(self, client, pending, ana, team):
        purchase = pending.purchases.get()
        approvals.reject(
            pending.pk, [purchase.pk], approver=factories.actor(ana), version=1, reason="Not now"
        )
        assert "Ask again" in words(client.get(f"/requests/{pending.pk}/"))
        response = client.post(f"/requests/{pending.pk}/again/", follow=True)
        assert "1 number copied into a new request." in words(response)
        [line] = drafts.lines_of(Draft.objects.get())
        assert (line.phone_number, line.name, line.monthly_cost) == ("+12125550101", "Desk", Decimal("2.00"))
        assert "New desks" in response.content.decode()

    def test_of_what_somebody_has_asked_for_meanwhile_copies_nothing(self, client, pending, ana, sam, team):
        purchase = pending.purchases.get()
        approvals.reject(
            pending.pk, [purchase.pk], approver=factories.actor(ana), version=1, reason="Not now"
        )
        factories.request(team, sam, ["+12125550101"])
        response = client.post(f"/requests/{pending.pk}/again/", follow=True)
        assert "Nothing in it can be requested again" in words(response)
        assert not Draft.objects.exists()

    def test_is_offered_only_where_something_ended_unbought(self, client, pending):
        assert "Ask again" not in words(client.get(f"/requests/{pending.pk}/"))


WRONG = {
    "no reason": ({"reason": ""}, "Enter why these numbers are needed"),
    "a reason of blanks": ({"reason": " \u00a0\n\t "}, "Enter why these numbers are needed"),
    "a reason of invisible characters": (
        {"reason": "\u200b\x00\u202e"},
        "Enter why these numbers are needed",
    ),
    "a reason of 5,000 characters": ({"reason": "x" * 5000}, "At most 1000 characters; this has 5000."),
    "a name of 500 characters": ({"n-1-name": "x" * 500}, "At most 100 characters; this has 500."),
    "a forged type": ({"n-1-number_type": "satellite"}, "Select a valid choice."),
    "a forged recording choice": ({"n-1-record_calls": "maybe"}, "Select a valid choice."),
    "a group in words": ({"n-1-requirement_group_id": "twelve"}, "Choose one of the team"),
    "a group below 1": ({"n-1-requirement_group_id": "0"}, "Choose one of the team"),
    "a group of 5,000 digits": ({"n-1-requirement_group_id": "9" * 5000}, "Choose one of the team"),
    "a purpose of 500 characters": ({"purpose": "x" * 500}, "At most 200 characters; this has 500."),
    "a forged team": ({"team": "999"}, "Choose one of your teams."),
    "a team in words": ({"team": "'; DROP"}, "Choose one of your teams."),
    "a team of 40 digits": ({"team": "9" * 40}, "Choose one of your teams."),
    "no team": ({"team": ""}, "Choose one of your teams."),
}


class TestWhatIsWrong:
    @pytest.mark.parametrize("changes, sentence", WRONG.values(), ids=WRONG.keys())
    def test_gets_a_sentence_and_keeps_what_was_typed(self, client, draft, team, changes, sentence):
        typed = {"reason": "Because of the move", "n-0-name": "Front door", "n-1-name": "Back door"} | changes
        response = client.post(NEW, fields(draft, team) | typed)
        assert response.status_code == 200
        assert sentence in words(response)
        assert not PurchaseRequest.objects.exists()
        page = response.content.decode()
        kept = [name for name in ("reason", "n-0-name", "n-1-name") if typed[name].isprintable()]
        for name in kept:
            assert escape(typed[name]) in page

    def test_stands_beside_its_field(self, client, draft, team):
        page = client.post(NEW, fields(draft, team, **{"n-1-name": "x" * 500, "reason": ""})).content.decode()
        for field in ("n-1-name", "reason"):
            assert f'id="id_{field}_error"' in page
            assert re.search(rf'<(input|textarea)[^>]* name="{field}"[^>]*aria-invalid="true"', page)

    def test_numbers_that_somebody_asked_for_meanwhile_are_named(self, client, draft, team, sam):
        factories.request(team, sam, NUMBERS[:1])
        response = client.post(NEW, fields(draft, team, reason="Because of the move"))
        assert f"Already requested or owned: {NUMBERS[0]}. Take it out of this request." in words(response)
        assert "Because of the move" in response.content.decode()
        assert Purchase.objects.count() == 1

    def test_numbers_that_changed_in_another_tab_ask_for_nothing_unseen(self, client, draft, team):
        sent = fields(draft, team, **{"n-1-name": "Back door"})
        drafts.take_out(draft, NUMBERS[0])
        response = client.post(NEW, sent, follow=True)
        assert "The numbers of this request changed after the form was opened." in words(response)
        assert not PurchaseRequest.objects.exists()
        [line] = response.context["lines"].initial
        assert (line["phone_number"], line["name"]) == (NUMBERS[1], "Back door")

    @pytest.mark.parametrize(
        "changes",
        [
            {"n-TOTAL_FORMS": "", "n-INITIAL_FORMS": ""},
            {"n-TOTAL_FORMS": "x"},
            {"n-TOTAL_FORMS": "-1"},
            {"n-TOTAL_FORMS": "1"},
            {"n-TOTAL_FORMS": "3"},
            {"n-TOTAL_FORMS": "999999999"},
            {"n-INITIAL_FORMS": "0"},
            {"n-INITIAL_FORMS": "50"},
            {"n-0-phone_number": ""},
            {"n-0-phone_number": "+19998887777"},
            {"n-0-phone_number": "<script>"},
        ],
        ids=repr,
    )
    def test_a_forged_management_form_is_no_500(self, client, draft, team, changes):
        response = client.post(NEW, fields(draft, team, **changes))
        assert response.status_code in (200, 302)
        asked = set(Purchase.objects.values_list("phone_number", flat=True))
        assert asked in (set(), set(NUMBERS))

    def test_more_than_a_thousand_fields_is_a_page_with_a_sentence(self, client, draft, team):
        response = client.post(NEW, fields(draft, team, **{f"x{n}": "" for n in range(1001)}))
        assert response.status_code == 400
        assert "has more than 1,000 fields, so it was not read" in words(response)


class TestInjection:
    @pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
    def test_comes_back_as_text_on_every_page(self, client, draft, team, text):
        client.post(NEW, fields(draft, team, reason=text, **{"n-0-name": text}))
        asked = PurchaseRequest.objects.get()
        purchase = asked.purchases.first()
        client.force_login(factories.superuser())
        addresses = [
            "/",
            "/requests/",
            f"/requests/{asked.pk}/",
            f"/purchases/{purchase.pk}/",
            "/approvals/",
            "/audit/",
        ]
        for address in addresses:
            page = client.get(address).content.decode()
            for raw in ("<script>alert", "<img src=x", 'href="javascript:', "\r", "\u202e", "\u200f"):
                assert raw not in page
        assert escape(asked.reason.split("\n")[0]) in client.get(addresses[2]).content.decode()

    @pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
    def test_comes_back_as_text_in_a_form_that_is_wrong(self, client, draft, team, text):
        wrong = fields(draft, team, reason=text, purpose="x" * 500, **{"n-0-name": text})
        page = client.post(NEW, wrong).content.decode()
        assert "<script>alert" not in page and "<img src=x" not in page
        assert escape(text) in page

    def test_a_name_is_one_line(self, client, draft, team):
        client.post(NEW, fields(draft, team, **{"n-0-name": " Front\r\ndoor\t 1 "}))
        assert Purchase.objects.get(phone_number=NUMBERS[0]).name == "Front door 1"


class TestTheList:
    def test_shows_unknown_costs_as_not_known(self, client, team, sam):
        factories.request(team, sam, NUMBERS[:1], upfront_cost=None, monthly_cost=None)
        assert "not known" in words(client.get("/requests/"))
        assert "0.00" not in words(client.get("/requests/"))

    @pytest.mark.parametrize("page", ["0", "x", "99", "-5", "9" * 5000])
    def test_a_forged_page_is_some_page(self, client, pending, page):
        assert client.get("/requests/", {"page": page}).status_code == 200


class TestOneRequest:
    def live(self, client, asked, seen=""):
        return client.get(f"/requests/{asked.pk}/live/", {"seen": seen})

    def seen(self, response):
        return re.search(r"live/\?seen=(\w+)", response.content.decode())[1]

    def test_says_who_can_decide(self, client, pending, ana):
        said = words(client.get(f"/requests/{pending.pk}/"))
        assert "This is your own request, so a colleague has to approve it: ana." in said

    def test_says_when_nobody_can_decide(self, client, pending):
        said = words(client.get(f"/requests/{pending.pk}/"))
        assert "nobody yet. Ask the team admin to name an approver." in said

    @pytest.mark.parametrize(
        "cost, said",
        [
            ((None, None), "First month not known Each month after not known Price not known 1 number"),
            ((Decimal(1), None), "First month at least 1.00 USD Each month after not known"),
            ((Decimal(0), Decimal(0)), "First month 0.00 USD Each month after 0.00 USD"),
        ],
    )
    def test_an_unknown_cost_is_never_0(self, client, team, sam, cost, said):
        upfront, monthly = cost
        asked = factories.request(team, sam, NUMBERS[:1], upfront_cost=upfront, monthly_cost=monthly)
        assert said in words(client.get(f"/requests/{asked.pk}/"))

    def test_its_summary_and_its_rows_agree_when_one_moves_while_the_page_is_drawn(self, client, approved):
        """The purchases are read once: what is read later has perhaps moved on."""

        def then_it_is_bought(execute, sql, *arguments):
            result = execute(sql, *arguments)
            if sql.startswith("SELECT") and 'FROM "purchasing_purchase"' in sql and not moved:
                moved.append(True)
                workflow.move(approved, State.PURCHASING, actor=audit.WORKER)
            return result

        moved = []
        with connection.execute_wrapper(then_it_is_bought):
            response = self.live(client, approved.request)
        said = words(response)
        assert moved
        assert said.count("Approved, queued") + said.count("Buying now") == 2
        assert "Approved, queued" not in said or "Buying now" not in said
        assert self.live(client, approved.request, self.seen(response)).status_code == 200

    def test_live_is_204_while_nothing_changed(self, client, pending):
        seen = self.seen(client.get(f"/requests/{pending.pk}/"))
        assert self.live(client, pending, seen).status_code == 204
        assert self.live(client, pending, "older").status_code == 200

    def test_live_shows_what_changed(self, client, pending, ana):
        seen = self.seen(client.get(f"/requests/{pending.pk}/"))
        factories.approve(pending, ana)
        response = self.live(client, pending, seen)
        assert "Approved, queued" in words(response)
        assert self.live(client, pending, self.seen(response)).status_code == 204

    @pytest.mark.parametrize(
        "state, pace",
        [
            (State.PENDING, "every 5s"),
            (State.APPROVED, "every 2s"),
            (State.PURCHASING, "every 2s"),
            (State.UNCONFIRMED, "every 2s"),
            (State.HELD, "every 5s"),
            (State.GIVEN_UP, "every 5s"),
            (State.PURCHASED, None),
            (State.FAILED, None),
            (State.REJECTED, None),
            (State.CANCELLED, None),
            (State.EXPIRED, None),
        ],
    )
    def test_the_poll_is_quick_while_something_moves_and_ends_with_it(self, client, pending, state, pace):
        now = clock.now()
        Purchase.objects.update(state=state, applied_at=now, purchased_at=now, provider_id=5)
        for page in (client.get(f"/requests/{pending.pk}/"), self.live(client, pending)):
            triggers = re.findall(r'hx-trigger="([^"]*)"', page.content.decode())
            assert triggers == ([pace] if pace else [])

    def test_the_poll_goes_on_until_recording_is_as_asked(self, client, approved, provider):
        provider.sells(approved.phone_number)
        procurement.buy(approved.pk)
        assert 'hx-trigger="every 5s"' in client.get(f"/requests/{approved.request_id}/").content.decode()

    def test_the_fragment_is_no_whole_page(self, client, pending):
        assert "<html" not in self.live(client, pending).content.decode()

    def test_home_polls_its_list_the_same_way(self, client, pending, ana):
        seen = self.seen(client.get("/"))
        assert client.get("/live/", {"seen": seen}).status_code == 204
        factories.approve(pending, ana)
        response = client.get("/live/", {"seen": seen})
        assert (response.status_code, 'hx-trigger="every 2s"' in response.content.decode()) == (200, True)
        Purchase.objects.update(state=State.REJECTED)
        assert "hx-trigger" not in client.get("/live/", {"seen": seen}).content.decode()


class TestCancelling:
    def url(self, asked):
        return reverse("purchasing:request-cancel", args=[asked.pk])

    def test_takes_back_what_is_not_claimed(self, client, team, sam, ana):
        asked = factories.request(team, sam, NUMBERS)
        approvals.approve(asked.pk, [asked.purchases.first().pk], approver=factories.actor(ana), version=1)
        response = client.post(self.url(asked), {"reason": ""}, follow=True)
        assert "2 numbers cancelled." in words(response)
        assert set(asked.purchases.values_list("state", flat=True)) == {State.CANCELLED}

    def test_after_a_refused_call_its_page_says_that_the_list_is_read_first(
        self, client, pending, ana, provider
    ):
        [purchase] = factories.approve(pending, ana)
        provider.answer_purchase({"error": "Too many requests"}, status=429)
        procurement.buy(purchase.pk)
        said = words(client.post(self.url(pending), {"reason": "Not needed"}, follow=True))
        assert "1 number will be cancelled as soon as IdentityCall's list was read." in said
        assert "0 numbers cancelled" not in said and "Cancelling since" in said
        again = words(client.post(self.url(pending), {"reason": "Not needed"}, follow=True))
        assert "There is nothing left to cancel." in again

    def test_twice_says_that_nothing_is_left(self, client, pending):
        client.post(self.url(pending))
        assert "There is nothing left to cancel." in words(client.post(self.url(pending), follow=True))

    def test_after_the_claim_is_refused(self, client, pending):
        Purchase.objects.update(state=State.PURCHASING)
        assert "There is nothing left to cancel." in words(client.post(self.url(pending), follow=True))
        assert pending.purchases.get().state == State.PURCHASING

    def test_with_a_reason_that_is_too_long_keeps_it_and_says_so(self, client, pending):
        response = client.post(self.url(pending), {"reason": "x" * 1001}, follow=True)
        assert "At most 1000 characters; this has 1001." in words(response)
        assert "x" * 1001 in response.content.decode()
        assert 'id="cancel_reason_error"' in response.content.decode()
        assert pending.purchases.get().state == State.PENDING


class TestChanging:
    def change(self, client, asked, **changes):
        made = {"version": 1, "reason": "Fewer desks", "n-TOTAL_FORMS": 1, "n-INITIAL_FORMS": 1}
        made |= {"n-0-phone_number": NUMBERS[0], "n-0-name": "Door", "n-0-record_calls": "no"} | changes
        return client.post(f"/requests/{asked.pk}/edit/", made, follow=True)

    def test_makes_a_new_version(self, client, pending):
        assert "Changed. Approvers see the new version" in words(self.change(client, pending))
        purchase = pending.purchases.get()
        assert (purchase.version, purchase.name, purchase.record_calls) == (2, "Door", False)

    def sent_again(self, client, asked, response):
        """Save the form again as the returned page shows it."""
        form, lines = response.context["form"], response.context["lines"]
        fields = {name: form[name].value() for name in form.fields}
        fields |= {"n-TOTAL_FORMS": len(lines.forms), "n-INITIAL_FORMS": len(lines.forms)}
        for line in lines.forms:
            fields |= {line.add_prefix(name): line[name].value() or "" for name in line.fields}
        return client.post(f"/requests/{asked.pk}/edit/", fields, follow=True)

    def another_price(self, asked, number=NUMBERS[0]):
        """IdentityCall shows another price, which makes a new version."""
        purchase = asked.purchases.get(phone_number=number)
        shown = Offer(number, "US", "local", upfront_cost=Decimal(1), monthly_cost=Decimal(3))
        versions.note_offers(asked.pk, {purchase.pk: shown}, seen_at=clock.now(), actor=audit.WORKER)

    def test_on_an_older_page_keeps_what_was_typed_says_what_changed_and_can_be_saved(self, client, pending):
        self.another_price(pending)
        response = self.change(client, pending)
        said = words(response)
        assert "This request changed after you opened the page, so nothing was saved." in said
        assert "+1 212-555-0101: cost a month was 2.00 USD, is 3.00 USD." in said
        assert pending.purchases.get().name == "Desk"
        form, [line] = response.context["form"], response.context["lines"].forms
        assert (form["version"].value(), form["reason"].value()) == (2, "Fewer desks")
        assert (line["name"].value(), line["record_calls"].value()) == ("Door", "no")
        assert "Changed. Approvers see the new version" in words(self.sent_again(client, pending, response))
        purchase = pending.purchases.get()
        assert (purchase.version, purchase.name, purchase.record_calls) == (3, "Door", False)

    def test_on_an_older_page_takes_over_what_the_person_has_not_touched(self, client, pending, team):
        group(team)
        self.change(client, pending, **{"n-0-name": "Back door", "n-0-requirement_group_id": "12"})
        response = self.change(client, pending, reason="New desks", **{"n-0-name": "Desk"})
        form, [line] = response.context["form"], response.context["lines"].forms
        assert form["reason"].value() == "Fewer desks"
        assert (line["name"].value(), line["requirement_group_id"].value()) == ("Back door", "12")

    def test_of_numbers_that_were_decided_meanwhile_keeps_the_others(self, client, team, sam, ana):
        asked = factories.request(team, sam, NUMBERS)
        first, second = asked.purchases.order_by("pk")
        approvals.reject(asked.pk, [first.pk], approver=factories.actor(ana), version=1, reason="No")
        fields = {"n-TOTAL_FORMS": 2, "n-INITIAL_FORMS": 2, "n-1-phone_number": NUMBERS[1]}
        fields |= {"n-1-name": "Back door", "n-1-record_calls": "yes", "n-1-take_out": "on"}
        response = self.change(client, asked, **fields)
        assert "+1 212-555-0101 is now: Rejected." in words(response)
        [line] = response.context["lines"].forms
        assert (line["phone_number"].value(), line["name"].value(), line["take_out"].value()) == (
            NUMBERS[1],
            "Back door",
            True,
        )
        assert "Back door" not in second.__class__.objects.get(pk=second.pk).name

    def test_of_what_was_decided_altogether_is_a_sentence(self, client, pending, ana):
        factories.approve(pending, ana)
        response = self.change(client, pending)
        assert response.redirect_chain == [(f"/requests/{pending.pk}/", 302)]
        assert "nothing can be changed" in words(response)

    @pytest.mark.parametrize(
        "name", ["version", "reason", "n-0-phone_number", "n-0-record_calls", "n-TOTAL_FORMS"]
    )
    @pytest.mark.parametrize("text", ["", " ", "<script>alert(1)</script>", "9" * 5000])
    def test_what_is_wrong_is_no_500_and_changes_nothing(self, client, pending, name, text):
        response = self.change(client, pending, **{name: text})
        assert response.status_code == 200
        assert "<script>alert" not in response.content.decode()
        changed = name == "reason" and "script" in text
        assert pending.purchases.get().version == (2 if changed else 1)
