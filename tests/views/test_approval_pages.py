"""The queue of approvals and the decision form: forged, late or wrong input gets a sentence and decides nothing."""

import html
import re

import pytest

from purchasing.approving import approvals
from purchasing.asking import price_lookup, versions
from purchasing.models import Approval, OfferLook, Purchase
from purchasing.states import State
from tests import factories
from tests.healthy_provider import offer
from tests.views.access import words

pytestmark = pytest.mark.django_db
NUMBERS = ["+12125550101", "+12125550102", "+12125550103"]


@pytest.fixture
def client(client, ana):
    client.force_login(ana)
    return client


@pytest.fixture
def asked(team, sam):
    """A request of sam for three numbers."""
    return factories.request(team, sam, NUMBERS)


def decide(client, asked, step, *, ticked=None, **fields):
    """What the decision form sends, with all numbers ticked by default."""
    ids = list(asked.purchases.order_by("pk").values_list("pk", flat=True)) if ticked is None else ticked
    fields = {"version": asked.version, "purchase": ids, "reason": "", "next": "/approvals/"} | fields
    return client.post(f"/requests/{asked.pk}/{step}/", fields, follow=True)


def states(asked):
    return list(asked.purchases.order_by("pk").values_list("state", flat=True))


class TestDeciding:
    def test_approves_what_is_ticked(self, client, asked):
        first, *_ = asked.purchases.order_by("pk")
        response = decide(client, asked, "approve", ticked=[first.pk])
        assert "1 number approved." in words(response)
        assert states(asked) == [State.APPROVED, State.PENDING, State.PENDING]

    def test_rejects_with_a_reason_that_the_requester_reads(self, client, asked, sam):
        assert "3 numbers rejected." in words(decide(client, asked, "reject", reason="Use the old ones"))
        client.force_login(sam)
        assert "Use the old ones" in words(client.get(f"/requests/{asked.pk}/"))

    def test_the_button_speaks_of_the_ticked_numbers_and_of_all_stands_beside_it(self, client, asked):
        said = words(client.get("/approvals/"))
        assert (
            "Approve the ticked numbers 3 numbers in all: 3.00 USD once and 6.00 USD a month "
            "Reject the ticked numbers" in said
        )

    def test_with_javascript_it_says_how_many_and_how_much(self, client, asked):
        """The browser tests show what desk.js makes of it."""
        page = client.get("/approvals/").content.decode()
        assert 'data-tally="Approve {numbers}, {monthly} USD a month"' in page
        assert 'data-tally="and {upfront} USD once"' in page
        assert page.count('data-monthly="2.00" data-upfront="1.00"') == 3

    def test_a_price_that_nobody_knows_is_never_0(self, client, team, sam):
        factories.request(team, sam, NUMBERS, upfront_cost=None, monthly_cost=None)
        page = client.get("/approvals/")
        said = words(page).replace("Committed 0.00 USD", "")  # nothing is
        assert "0.00" not in said
        assert "Waiting for approval not known" in said and "Committed after this not known" in said
        assert "3 numbers in all: price not known" in words(page)
        assert 'data-tally-unknown="Approve {numbers}, price not known"' in page.content.decode()

    @pytest.mark.parametrize(
        "target, there",
        [
            ("/approvals/", "/approvals/"),
            ("https://elsewhere.example/", None),
            ("//elsewhere.example/", None),
            ("/\\elsewhere.example/", None),
            ("javascript:alert(1)", None),
            ("", None),
            ("approvals/", None),
        ],
    )
    def test_leads_back_to_this_site_only(self, client, asked, target, there):
        response = decide(client, asked, "approve", next=target)
        assert response.redirect_chain == [(there or f"/requests/{asked.pk}/", 302)]

    def test_a_next_address_with_a_line_break_sets_no_header(self, client, asked):
        fields = {"version": 1, "purchase": [], "next": "/x\r\nSet-Cookie: a=b"}
        response = client.post(f"/requests/{asked.pk}/approve/", fields)
        assert "\n" not in response["Location"] and "a" not in response.cookies


WRONG = {
    "no number": ({"ticked": []}, "Tick at least one number."),
    "a number that does not exist": ({"ticked": [999_999]}, "Choose numbers of this request only."),
    "a number in words": ({"ticked": ["one"]}, "Choose numbers of this request only."),
    "a number of 5,000 digits": ({"ticked": ["9" * 5000]}, "Choose numbers of this request only."),
    "no version": ({"version": ""}, "was incomplete"),
    "a version in words": ({"version": "<script>"}, "was incomplete"),
    "version 0": ({"version": "0"}, "was incomplete"),
    "a version of 5,000 digits": ({"version": "9" * 5000}, "was incomplete"),
    "a version that never was": ({"version": "9" * 30}, "was changed since you opened this page"),
    "an older version": ({"version": "7"}, "was changed since you opened this page"),
    "a reason of 5,000 characters": ({"reason": "x" * 5000}, "At most 1000 characters; this has 5000."),
}


class TestWhatIsWrong:
    @pytest.mark.parametrize("step", ["approve", "reject"])
    @pytest.mark.parametrize("fields, sentence", WRONG.values(), ids=WRONG.keys())
    def test_is_a_sentence_and_decides_nothing(self, client, asked, step, fields, sentence):
        response = decide(client, asked, step, **{"reason": "Because"} | fields)
        assert response.status_code == 200
        assert sentence in words(response)
        assert states(asked) == [State.PENDING] * 3
        assert not Approval.objects.exists()

    @pytest.mark.parametrize("reason", ["", "  \n\u00a0", "\u200b\x00"], ids=["none", "blanks", "invisible"])
    def test_no_reason_to_reject_says_so_at_its_place_and_keeps_the_ticks(self, client, asked, reason):
        _, second, _ = asked.purchases.order_by("pk")
        response = decide(client, asked, "reject", ticked=[second.pk], reason=reason)
        page = response.content.decode()
        assert f'id="reason-{asked.pk}-error"' in page
        assert "Enter why you reject. The requester reads this." in words(response)
        ticked = re.findall(r'name="purchase" value="(\d+)"[^>]* checked', page)
        assert ticked == [str(second.pk)]

    def test_a_reason_that_is_too_long_is_kept(self, client, asked):
        assert "y" * 1001 in decide(client, asked, "reject", reason="y" * 1001).content.decode()

    def test_leads_back_to_the_form_with_the_sentence_in_it(self, client, asked):
        response = decide(client, asked, "approve", ticked=[])
        assert response.redirect_chain == [(f"/approvals/#request-{asked.pk}", 302)]
        form = response.content.decode().partition(f'id="request-{asked.pk}"')[2].partition("</article>")[0]
        assert f'id="purchase-{asked.pk}-error"' in form and "Tick at least one number." in form

    def test_a_form_without_any_field(self, client, asked):
        response = client.post(f"/requests/{asked.pk}/approve/", follow=True)
        assert (response.status_code, states(asked)) == (200, [State.PENDING] * 3)


class TestWhatIsDecidedAlready:
    @pytest.mark.parametrize("step", ["approve", "reject"])
    def test_by_somebody_else_is_a_sentence_that_says_who(self, client, team, asked, step):
        root = factories.superuser()
        factories.approve(asked, root)
        response = decide(client, asked, step, reason="No")
        assert "root approved +12125550101 a moment ago." in words(response)
        assert states(asked) == [State.APPROVED] * 3
        assert Approval.objects.count() == 3

    @pytest.mark.parametrize(
        "state", [state for state in State if state not in (State.PENDING, State.APPROVED)]
    )
    def test_in_any_way_is_a_sentence(self, client, asked, state):
        Purchase.objects.update(state=state)
        response = decide(client, asked, "approve")
        assert response.status_code == 200
        assert "+12125550101" in words(response)
        assert states(asked) == [state] * 3

    def test_one_of_several_stops_all_of_them(self, client, asked, ana):
        first, *_ = asked.purchases.order_by("pk")
        approvals.reject(asked.pk, [first.pk], approver=factories.actor(ana), version=1, reason="No")
        assert "ana rejected +12125550101." in words(decide(client, asked, "approve"))
        assert states(asked) == [State.REJECTED, State.PENDING, State.PENDING]

    def test_for_a_team_that_is_switched_off(self, client, asked, team):
        type(team).objects.update(is_active=False)
        response = decide(client, asked, "approve")
        assert response.status_code == 403
        assert "Support is switched off; nothing is approved for it." in words(response)
        assert states(asked) == [State.PENDING] * 3


class TestNews:
    def poll(self, client, page):
        """Poll as the page does that was last drawn or polled."""
        return client.get(html.unescape(re.search(r'hx-get="([^"]*)"', page.content.decode())[1]))

    def test_is_204_while_the_queue_is_as_it_was(self, client, asked):
        assert self.poll(client, client.get("/approvals/")).status_code == 204

    def test_of_an_empty_queue_is_204(self, client):
        assert self.poll(client, client.get("/approvals/")).status_code == 204

    def test_says_once_that_something_came(self, client, asked, team, sam):
        page = client.get("/approvals/")
        factories.request(team, sam, ["+12125550109"])
        news = self.poll(client, page)
        assert words(news).startswith("The queue has changed: 2 requests are waiting now. Show the queue")
        assert self.poll(client, news).status_code == 204

    def test_tells_when_one_number_was_decided_elsewhere(self, client, asked, ana):
        page = client.get("/approvals/")
        first, *_ = asked.purchases.order_by("pk")
        approvals.approve(asked.pk, [first.pk], approver=factories.actor(ana), version=1)
        said = words(self.poll(client, page))
        assert "The queue has changed: 1 request is waiting now." in said
        assert "Some of its numbers were decided." in said

    @pytest.mark.parametrize(
        "text", ["<script>alert(1)</script>", "x" * 3000, "\x00", '"><b>', "1:1.1.1.1-" * 300]
    )
    def test_shows_nothing_of_a_forged_mark(self, client, asked, text):
        page = client.get("/approvals/news/", {"seen": text, "drawn": text})
        assert page.status_code == 200
        assert "<script>" not in page.content.decode() and "<b>" not in page.content.decode()
        assert "xxx" not in words(page)

    def test_nothing_that_is_typed_lies_in_what_is_polled(self, client, asked):
        page = client.get("/approvals/").content.decode()
        polled = re.search(r'<div id="approvals-news"[^>]*hx-get[^>]*>(.*?)</div>', page, re.DOTALL)[1]
        assert polled.strip() == ""
        assert len(re.findall("hx-get", page)) == 1
        line = re.search(r'<div class="small muted" id="check-\d+">(.*?)</div>', page, re.DOTALL)[1]
        assert "input" not in line and "textarea" not in line


class TestTheCheckInTheCard:
    """The line with the time of the last check and what changed since the card was drawn."""

    poll = TestNews.poll
    LISTED = "Since this page was drawn: "

    @pytest.fixture(params=["/approvals/", "/requests/{}/"], ids=["queue", "request"])
    def address(self, request, asked):
        return request.param.format(asked.pk)

    def look(self, asked):
        """What the worker does after the page is opened."""
        price_lookup.confirm(asked.pk)

    def line(self, page, asked):
        found = re.search(rf'id="check-{asked.pk}"[^>]*>(.*?)</div>', page.content.decode(), re.DOTALL)
        return " ".join(html.unescape(re.sub("<[^>]*>", "", found[1])).split())

    def test_says_that_nobody_was_asked_yet_and_then_when(self, client, asked, address, provider):
        page = client.get(address)
        assert self.line(page, asked) == "IdentityCall has not been asked yet."
        self.look(asked)
        line = self.line(self.poll(client, page), asked)
        assert re.match(r"IdentityCall was last asked at \d\d:\d\d:\d\d\. Since this page was drawn: ", line)
        assert "A price changed, or IdentityCall has confirmed it. What IdentityCall offers changed." in line
        assert self.line(client.get(address), asked).startswith("IdentityCall was last asked at ")
        assert self.LISTED not in self.line(client.get(address), asked)

    def test_says_that_a_price_changed_with_a_link_that_redraws(self, client, asked, address, provider):
        self.look(asked)
        page = client.get(address)
        assert self.poll(client, page).status_code == 204
        provider.offers = [offer(number, monthly="3.00") for number in NUMBERS]
        OfferLook.objects.all().delete()
        self.look(asked)
        news = self.poll(client, page)
        line = self.line(news, asked)
        assert "The request was changed. A price changed, or IdentityCall has confirmed it." in line
        assert line.endswith("Show the changes")
        link = re.search(r'href="([^"]*)#request-', news.content.decode())[1]
        assert link.startswith(f"{address}?now=")
        assert self.LISTED not in self.line(client.get(html.unescape(link)), asked)

    def test_keeps_saying_it_until_the_page_is_drawn_anew(self, client, asked, address, sam, provider):
        page = client.get(address)
        self.look(asked)
        news = self.poll(client, page)
        versions.edit(asked.pk, actor=factories.actor(sam), version=1, reason="Other", changes={})
        line = self.line(self.poll(client, news), asked)
        assert "The request was changed." in line and "What IdentityCall offers changed." in line

    def test_says_that_a_number_is_not_on_offer_any_more(self, client, asked, address, provider):
        self.look(asked)
        page = client.get(address)
        assert "Still offered at this price" in words(page)
        provider.offers = []
        OfferLook.objects.all().delete()
        self.look(asked)
        assert "What IdentityCall offers changed." in self.line(self.poll(client, page), asked)
        assert "Not seen in the list (just now)" in words(client.get(address))

    def test_an_edit_is_said(self, client, asked, address, sam):
        page = client.get(address)
        versions.edit(asked.pk, actor=factories.actor(sam), version=1, reason="Other", changes={})
        assert "The request was changed." in self.line(self.poll(client, page), asked)

    @pytest.mark.parametrize("drawn", ["<script>alert(1)</script>", "x" * 3000, '"><b>', "1.2.3.4"])
    def test_of_a_forged_mark_nothing_is_shown(self, client, asked, drawn):
        page = client.get(f"/requests/{asked.pk}/live/", {"drawn": drawn}).content.decode()
        assert "<script>" not in page and "<b>" not in page

    def test_who_cannot_decide_reads_when_it_was_asked(self, client, asked, sam, provider):
        client.force_login(sam)
        assert "IdentityCall has not been asked yet." in words(client.get(f"/requests/{asked.pk}/"))
        self.look(asked)
        assert "IdentityCall was last asked at" in words(client.get(f"/requests/{asked.pk}/"))
