"""Paste numbers: every paste gets verdicts or an error beside the field, and nothing typed is lost."""

import json

import pytest
from django.urls import reverse

from purchasing.approving import approvals
from purchasing.models import Paste, VirtualNumber
from tests import factories
from tests.healthy_provider import offer
from tests.views.access import words

pytestmark = pytest.mark.django_db
URL = "/paste/"


@pytest.fixture
def client(client, sam):
    client.force_login(sam)
    return client


def paste(client, text, country_code="", **options):
    return client.post(URL, {"text": text, "country_code": country_code}, **options)


def many(count, start=0):
    """Valid US numbers, one per line."""
    return "\n".join(f"+1212{555 + n // 10_000:03}{n % 10_000:04}" for n in range(start, start + count))


def error_at(response, field="text"):
    """The one sentence beside the field."""
    assert response.status_code == 200
    assert list(response.context["form"].errors) == [field]
    [sentence] = response.context["form"].errors[field]
    assert f'id="id_{field}_error"' in response.content.decode()
    return sentence


def verdicts(response):
    """The verdict of each row: `(verdict, can be ticked, is ticked)`."""
    picked = response.context["picked"]
    return [
        (row.verdict, row.may_pick, row.may_pick and row.candidate.phone_number in picked)
        for row in response.context["page"]
    ]


class TestNothingToRequest:
    @pytest.mark.parametrize(
        "text", ["", "   \n\t\n ", "\u00a0\u2003"], ids=["empty", "blanks", "odd blanks"]
    )
    def test_an_empty_paste(self, client, text):
        assert error_at(paste(client, text)) in (
            "Paste at least one number, or choose a file.",
            "There is no phone number in this. Numbers look like +44 20 7946 0018.",
        )

    def test_a_form_without_any_field(self, client):
        assert error_at(client.post(URL)) == "Paste at least one number, or choose a file."

    def test_a_text_without_a_number_is_kept(self, client):
        response = paste(client, "Dear all,\nplease buy some numbers <b>soon</b>.", "de")
        assert "no phone number" in error_at(response)
        page = response.content.decode()
        assert "please buy some numbers &lt;b&gt;soon&lt;/b&gt;." in page
        assert 'value="de"' in page

    def test_numbers_that_are_not_valid_say_which_line_and_why(self, client):
        sentence = error_at(paste(client, "+1 212"))
        assert "Line 1" in sentence

    def test_nothing_is_stored_in_the_database(self, client):
        paste(client, "no number")
        assert not Paste.objects.exists()


class TestTooMuch:
    def test_one_megabyte_and_one_character(self, client):
        response = paste(client, "x" * 1_000_001)
        assert error_at(response) == "This is more than 1,000,000 characters. Paste it in smaller parts."
        assert "x" * 1_000_001 in response.content.decode()

    def test_one_megabyte_with_a_number_in_it_is_read(self, client):
        response = paste(client, "+12125550101\n" + "x" * 999_000, follow=True)
        assert ("Can be requested", True, True) in verdicts(response)

    def test_ten_thousand_and_one_lines(self, client):
        sentence = error_at(paste(client, many(10_001)))
        assert sentence == "This is more than 10,000 lines. Paste it in smaller parts."

    def test_ten_thousand_lines_are_read_and_none_is_ticked_unasked(self, client):
        response = paste(client, many(10_000), follow=True)
        assert "10000 lines read" in words(response)
        assert response.context["picked"] == set()
        assert len(response.context["page"]) == 100

    def test_a_form_that_is_too_large_gets_a_page_with_a_sentence(self, client):
        response = paste(client, "x" * 7_000_000)
        assert response.status_code == 400
        assert "is larger than 6 MB" in words(response)


class TestTheCountry:
    @pytest.mark.parametrize("code", ["D", "1", "D€", "D\x00E\x00X", "XX", "x" * 5000])
    def test_that_does_not_exist(self, client, code):
        assert error_at(paste(client, "030 901820", code), "country_code").startswith("There is no country “")

    @pytest.mark.parametrize(
        "written", ["Germany", "de", "🇩🇪", "🇩🇪 Germany (DE)", "Deutschland", "Allemagne"]
    )
    def test_is_understood_as_people_write_it(self, client, written):
        paste(client, "030 901820", written)
        assert Paste.objects.get().picked == ["+4930901820"]

    def test_is_never_cut_off_by_the_browser(self, client):
        assert "maxlength" not in client.get(URL).content.decode()

    def test_makes_national_numbers_readable(self, client):
        paste(client, "030 901820", "de")
        assert Paste.objects.get().picked == ["+4930901820"]


class TestVerdicts:
    def test_of_each_line(self, client):
        response = paste(client, "+1 212 555 0101\n+1 212 555 0101\n+1 212 5\nSee below", follow=True)
        assert [verdict for verdict, *_ in verdicts(response)] == [
            "Can be requested",
            "Repeated",
            "Not understood",
            "Skipped",
        ]

    def test_of_the_providers_json(self, client):
        response = paste(
            client, json.dumps({"data": [offer("+12125550101"), offer("+12125550102")]}), follow=True
        )
        fine = [row for row in verdicts(response) if row == ("Can be requested", True, True)]
        assert len(fine) == 2
        assert "as pasted, not confirmed" in words(response)

    def test_a_number_without_a_cost_costs_not_known_and_never_0(self, client):
        page = words(paste(client, "+12125550101", follow=True))
        assert "not known" in page
        assert "0.00" not in page

    def test_already_requested_in_an_own_team_links_to_the_request(self, client, pending):
        response = paste(client, "+12125550101", follow=True)
        assert "Already requested by sam" in words(response)
        assert f'href="/requests/{pending.pk}/"' in response.content.decode()
        assert verdicts(response)[0][1:] == (False, False)

    def test_already_requested_by_another_team_shows_no_name_date_or_link(self, client):
        sales = factories.team("Sales", key="idc_" + "s" * 32)
        tom = factories.member("tom", sales, "requester")
        theirs = factories.request(sales, tom, ["+12125550101"])
        response = paste(client, "+12125550101", follow=True)
        assert verdicts(response) == [("Another team has requested it", False, False)]
        page = words(response)
        assert "Sales" not in page and "tom" not in page and f"{theirs.created_at:%d %b %Y}" not in page
        assert f"/requests/{theirs.pk}/" not in response.content.decode()

    @pytest.mark.parametrize(
        "own, verdict", [(True, "Already in your IdentityCall account"), (False, "Another team has it")]
    )
    def test_owned_already(self, client, team, own, verdict):
        sales = factories.team("Sales", key="idc_" + "s" * 32)
        key = (team if own else sales).keys.get()
        VirtualNumber.objects.create(
            credential=key.credential,
            provider_id=7,
            phone_number="+12125550101",
            first_seen_seq=1,
            first_seen_at=key.created_at,
        )
        assert verdicts(paste(client, "+12125550101", follow=True)) == [(verdict, False, False)]

    def test_can_be_requested_again_after_a_rejection(self, client, pending, ana):
        purchase = pending.purchases.get()
        approvals.reject(pending.pk, [purchase.pk], approver=factories.actor(ana), version=1, reason="No")
        assert verdicts(paste(client, "+12125550101", follow=True)) == [("Can be requested", True, True)]


class TestTicks:
    def url(self):
        return reverse("purchasing:paste-verdicts", args=[Paste.objects.get().pk])

    def test_up_to_100_numbers_are_ticked_at_once(self, client):
        paste(client, many(100))
        assert len(Paste.objects.get().picked) == 100

    def test_are_kept_from_page_to_page(self, client):
        paste(client, many(250))
        numbers = many(250).split("\n")
        client.post(self.url(), {"page": 1, "pick": numbers[:3], "go": 2})
        client.post(self.url(), {"page": 2, "pick": numbers[100:102], "go": 3})
        client.post(self.url(), {"page": 3, "pick": [], "go": 1})
        assert Paste.objects.get().picked == [*numbers[:3], *numbers[100:102]]
        client.post(self.url(), {"page": 1, "pick": numbers[1:2], "go": 2})
        assert Paste.objects.get().picked == [numbers[1], *numbers[100:102]]

    def test_a_page_button_leads_to_that_page_with_its_ticks(self, client):
        paste(client, many(250))
        numbers = many(250).split("\n")
        response = client.post(self.url(), {"page": 1, "pick": numbers[:1], "go": 2}, follow=True)
        assert response.context["page"].number == 2
        assert "1 number ticked" in words(response)

    def test_no_tick_gives_a_sentence(self, client):
        paste(client, many(3))
        assert "Tick at least one number." in words(client.post(self.url(), {"page": 1}))

    def test_101_give_a_sentence_and_the_ticks_stay(self, client):
        paste(client, many(101))
        numbers = many(101).split("\n")
        client.post(self.url(), {"page": 1, "pick": numbers[:100], "go": 2})
        response = client.post(self.url(), {"page": 2, "pick": numbers[100:]})
        assert "A request holds at most 100 numbers; you have ticked 101." in words(response)
        assert Paste.objects.get().picked == numbers

    def test_forged_ones_are_not_taken(self, client, pending):
        paste(client, "+12125550101\n+12125550102")
        client.post(self.url(), {"page": 1, "pick": ["+12125550101", "+19998887777", "x", "'; DROP TABLE x"]})
        assert Paste.objects.get().picked == []

    @pytest.mark.parametrize("page", ["0", "-1", "99", "x", "²", "9" * 5000, ""])
    def test_a_forged_page_shows_a_valid_one(self, client, page):
        paste(client, many(3))
        assert client.get(self.url(), {"page": page}).status_code == 200
        assert client.post(self.url(), {"page": page, "go": page}).status_code in (200, 302)


ODD = {
    "no-break and thin spaces": "+1\u00a0212\u2009555\u202f0101",
    "zero width and soft hyphen": "+1 212\u200b555\u00ad0101",
    "right-to-left marks": "\u200f+1 212 555 0101\u202e",
    "null bytes": "+1 212\x00 555 0101\x00",
    "full-width digits": "＋１ ２１２ ５５５ ０１０１",
    "byte order mark": "\ufeff+1 212 555 0101",
    "CR": "+1 212 555 0101\r",
    "line separator": "+1 212 555 0101\u2028",
}


@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
def test_odd_characters_do_not_hide_a_number(client, text):
    response = paste(client, text, follow=True)
    assert Paste.objects.get().picked == ["+12125550101"], words(response)


def test_bytes_that_are_not_utf_8_give_no_500(client):
    body = b"text=%ff%fe+1+212+555+0101&country_code=%ed%a0%80"
    response = client.post(URL, body, content_type="application/x-www-form-urlencoded")
    assert response.status_code in (200, 302)


def test_a_paste_of_somebody_else_is_404(client, team):
    theirs = Paste.objects.create(user=factories.member("ana", team, "requester"), text="+12125550101")
    assert client.get(f"/paste/{theirs.pk}/").status_code == 404
    assert client.get(f"/paste/{theirs.pk}/live/").status_code == 404
    assert client.post(f"/paste/{theirs.pk}/look-up/").status_code == 404
