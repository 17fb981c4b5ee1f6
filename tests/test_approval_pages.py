"""The queue of approvals and the decision: what is forged, late or wrong gets a sentence, and decides nothing."""

import re

import pytest

from purchasing import approving
from purchasing.models import Approval, Purchase
from purchasing.states import State
from tests import factories
from tests.access import words

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
    """What the decision form sends; all numbers are ticked unless the test says otherwise."""
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

    def test_the_button_says_how_many_and_how_much(self, client, asked):
        assert "Approve 3 numbers, 6.00 USD a month" in words(client.get("/approvals/"))

    def test_the_button_never_says_0_for_a_price_that_nobody_knows(self, client, team, sam):
        factories.request(team, sam, NUMBERS, upfront_cost=None, monthly_cost=None)
        said = words(client.get("/approvals/"))
        assert "Approve 3 numbers, price not known" in said
        assert "0.00" not in said

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
    "no version": ({"version": ""}, "was not complete"),
    "a version in words": ({"version": "<script>"}, "was not complete"),
    "version 0": ({"version": "0"}, "was not complete"),
    "a version of 5,000 digits": ({"version": "9" * 5000}, "was not complete"),
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
        assert "Say why you reject: the person who asked reads it." in words(response)
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
        approving.reject(asked.pk, [first.pk], approver=factories.actor(ana), version=1, reason="No")
        assert "ana rejected +12125550101." in words(decide(client, asked, "approve"))
        assert states(asked) == [State.REJECTED, State.PENDING, State.PENDING]

    def test_for_a_team_that_is_switched_off(self, client, asked, team):
        type(team).objects.update(is_active=False)
        response = decide(client, asked, "approve")
        assert response.status_code == 403
        assert "Support is switched off; nothing is approved for it." in words(response)
        assert states(asked) == [State.PENDING] * 3


class TestNews:
    def seen(self, response):
        return re.search(r"news/\?seen=([^\"]*)", response.content.decode())[1]

    def news(self, client, seen):
        return client.get("/approvals/news/", {"seen": seen})

    def test_is_204_while_the_queue_is_as_it_was(self, client, asked):
        assert self.news(client, self.seen(client.get("/approvals/"))).status_code == 204

    def test_of_an_empty_queue_is_204(self, client):
        assert self.news(client, self.seen(client.get("/approvals/"))).status_code == 204

    def test_says_once_that_something_came(self, client, asked, team, sam):
        seen = self.seen(client.get("/approvals/"))
        factories.request(team, sam, ["+12125550109"])
        response = self.news(client, seen)
        assert words(response) == "The queue has changed: 2 requests wait now. Show it"
        assert self.news(client, self.seen(response)).status_code == 204

    def test_tells_when_one_number_was_decided_elsewhere(self, client, asked, ana):
        seen = self.seen(client.get("/approvals/"))
        first, *_ = asked.purchases.order_by("pk")
        approving.approve(asked.pk, [first.pk], approver=factories.actor(ana), version=1)
        assert self.news(client, seen).status_code == 200

    @pytest.mark.parametrize("seen", ["<script>alert(1)</script>", "x" * 5000, "\x00", '"><b>'])
    def test_shows_nothing_of_a_forged_mark(self, client, asked, seen):
        page = self.news(client, seen).content.decode()
        assert "<script>" not in page and "<b>" not in page and "xxx" not in page

    def test_nothing_that_is_typed_lies_in_what_is_polled(self, client, asked):
        page = client.get("/approvals/").content.decode()
        polled = re.search(r'<div id="approvals-news"[^>]*hx-get[^>]*>(.*?)</div>', page, re.DOTALL)[1]
        assert polled.strip() == ""
        assert len(re.findall("hx-get", page)) == 1
