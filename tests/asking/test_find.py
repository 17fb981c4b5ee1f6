"""Find numbers: the stored list, failed searches, filters, the basket, and the look-up of pasted numbers."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
import requests

from purchasing import clock
from purchasing.asking import drafts, verdicts
from purchasing.asking.find import Filters, chosen, digits_pattern
from purchasing.buying import procurement
from purchasing.identitycall.resources import Offer
from purchasing.models import ApiKey, Desk, Draft, OfferLook, PurchaseRequest
from purchasing.provider import pauses
from tests import factories
from tests.healthy_provider import offer, owned
from tests.views.access import words

FIND = "/find/?country=US&number_type=local"
A = Offer("+12125550101", "US", "local", Decimal("1.00"), Decimal("2.00"), ("voice",), ("New York",))
B = Offer("+12125550202", "US", "local", Decimal("0.10"), Decimal("3.00"), ("sms", "voice"), ("Boston",))
C = Offer("+442079460018", "GB", "local", None, None, (), ())


class TestFilters:
    @pytest.mark.parametrize(
        "typed, found",
        [
            ("", [A, B, C]),
            ("0101", [A]),
            ("*555*", [A, B]),
            ("+1212*", [A, B]),
            ("212*", [A, B]),
            ("1212", [A, B]),
            ("*18", [C]),
            ("2125550?0?", [A, B]),
            ("+44 20 7946", [C]),
            ("(212) 555-0101", [A]),
            ("no digit", [A, B, C]),
            ("*", [A, B, C]),
            ("999", []),
        ],
    )
    def test_by_digits(self, typed, found):
        assert sorted(chosen([A, B, C], Filters(digits=typed)), key=str) == sorted(found, key=str)

    @pytest.mark.parametrize("typed", ["*1" * 500, "?" * 5000, "*" * 10_000, "1*?" * 300])
    def test_no_pattern_takes_long_or_raises(self, typed):
        matches = digits_pattern(typed)
        assert matches is None or matches("+111111111111111") in (True, False)

    def test_by_region_feature_and_cost(self):
        assert chosen([A, B, C], Filters(region="bost")) == [B]
        assert chosen([A, B, C], Filters(feature="sms")) == [B]
        assert chosen([A, B, C], Filters(highest=Decimal("2.00"))) == [A]  # an unknown cost is not below any
        assert chosen([A, B, C], Filters(highest=Decimal(0))) == []

    def test_order_with_unknown_costs_last(self):
        assert chosen([C, B, A], Filters(sort="monthly")) == [A, B, C]
        assert chosen([C, A, B], Filters(sort="first")) == [A, B, C]
        assert chosen([C, B, A], Filters(sort="number")) == [A, B, C]
        assert chosen([C, A, B], Filters(sort="region")) == [B, A, C]
        assert chosen([C, A, B], Filters(sort="nonsense")) == [A, B, C]


pages = pytest.mark.django_db


@pytest.fixture
def client(client, sam):
    client.force_login(sam)
    return client


def old(seconds):
    """Make the stored lists older."""
    moment = clock.now() - timedelta(seconds=seconds)
    OfferLook.objects.exclude(began_at=None).update(began_at=moment)
    OfferLook.objects.exclude(failed_at=None).update(failed_at=moment)


@pages
class TestTheList:
    def test_is_read_once_a_minute(self, client, provider):
        for _ in range(3):
            assert "59 of 59 local numbers" in words(client.get(FIND))
        client.get(f"{FIND}&digits=0101")
        assert len(provider.calls) == 1
        old(61)
        client.get(FIND)
        assert len(provider.calls) == 2

    def test_is_refreshed_on_request_but_not_all_the_time(self, client, provider):
        client.get(FIND)
        old(6)
        client.get(f"{FIND}&again=1")
        client.get(f"{FIND}&again=1")
        assert len(provider.calls) == 2

    @pytest.mark.parametrize(
        "answer, sentence",
        [
            (requests.ReadTimeout(), "IdentityCall did not answer in time."),
            ((500, {}, ""), "IdentityCall reported a fault of its own"),
            ((200, {}, "{"), "could not be understood"),
            ((429, {"Retry-After": "30"}, ""), "IdentityCall asked to wait"),
            ((401, {}, ""), "IdentityCall refuses the team's API key"),
        ],
    )
    def test_keeps_the_last_one_with_its_age_when_the_provider_fails(
        self, client, provider, answer, sentence
    ):
        client.get(FIND)
        old(300)
        provider.offers_answer = answer
        page = words(client.get(FIND))
        assert sentence in page
        assert "The list below is from 5 minutes ago." in page
        assert "+1 212-555-0101" in page

    def test_a_failing_provider_is_not_asked_by_everybody(self, client, provider):
        provider.offers_answer = (500, {}, "")
        for _ in range(3):
            client.get(FIND)
        assert len(provider.calls) == 1
        old(20)
        client.get(FIND)
        assert len(provider.calls) == 2

    def test_a_pause_is_shown_and_respected(self, client, provider):
        Desk.objects.update(
            paused_until=clock.now() + timedelta(minutes=1), failures=1, pause_reason="It is down."
        )
        assert "It is down." in words(client.get(FIND))
        Desk.objects.update(paused_until=None, failures=0)
        pauses.pause_key(ApiKey.objects.get().pk, 60)
        assert "IdentityCall asked to wait" in words(client.get(FIND))
        assert provider.calls == []

    def test_of_a_team_without_a_key_says_so(self, client, sam, provider):
        ApiKey.objects.update(retired_at=clock.now())
        assert "has no API key yet" in words(client.get(FIND))

    def test_that_is_empty_or_filtered_to_nothing_says_so(self, client, provider):
        assert "Remove a filter" in words(client.get(f"{FIND}&digits=999999"))
        provider.offers = []
        old(61)
        assert "IdentityCall offers no local numbers there at the moment." in words(client.get(FIND))

    @pytest.mark.parametrize(
        "entry",
        [
            {},
            {"country_code": None, "features": "sms", "region_information": {"a": 1}},
            {"upfront_cost": "NaN", "monthly_cost": [], "number_type": 7},
            {"features": [None, 3, {"x": 1}, "<script>"], "region_information": [None, "x", {}]},
            {"unheard": {"of": [1]}, "monthly_cost": "1e400"},
        ],
        ids=str,
    )
    def test_odd_fields_never_break_it(self, client, provider, entry):
        provider.offers_answer = (
            200,
            {},
            json.dumps({"data": [{"phone_number": "+12125550101", **entry}, None, {"phone_number": 5}, []]}),
        )
        response = client.get(FIND)
        assert "1 of 1 local numbers" in words(response)
        assert "<script>" not in response.content.decode().partition("<main")[2]

    @pytest.mark.parametrize(
        "query",
        [
            "country=Atlantis",
            "country=US&number_type=satellite",
            "country=US&highest=cheap",
            "country=US&highest=-1",
            "country=US&highest=NaN",
            "country=US&sort=x&page=99&team=999",
            "country=US&team=x&page=-1",
            "country=%00&digits=%00",
            "country=US&digits=" + "9" * 5000,
        ],
    )
    def test_wrong_input_gives_a_sentence_not_a_500(self, client, provider, query):
        assert client.get(f"/find/?{query}").status_code == 200

    def test_remembers_the_country_in_the_browser(self, client, provider):
        assert "Choose a country" in words(client.get("/find/"))
        client.get("/find/?country=Germany&number_type=mobile")
        page = client.get("/find/").content.decode()
        assert "Germany (DE)" in page
        assert '<option value="mobile" selected>' in page

    def test_of_500_is_shown_in_pages(self, client, provider):
        provider.offers = [offer(f"+1212555{n:04}") for n in range(500)]
        response = client.get(FIND)
        assert len(response.context["rows"]) == 100
        assert "500 of 500 local numbers" in words(response)
        assert len(client.get(f"{FIND}&page=5").context["rows"]) == 100

    def test_a_fragment_is_not_a_whole_page(self, client, provider):
        part = client.get(FIND, headers={"HX-Request": "true"}).content.decode()
        assert "<html" not in part and 'id="offers"' in part


@pages
class TestTheBasket:
    def pick(self, client, numbers, shown=None, **fields):
        fields = {"country": "US", "number_type": "local", "do": "stay"} | fields
        return client.post(
            "/find/pick/",
            fields | {"shown": shown if shown is not None else numbers, "pick": numbers},
            follow=True,
        )

    def test_outlives_the_page(self, client, provider, sam):
        client.get(FIND)
        self.pick(client, ["+12125550101", "+12125550102"])
        page = client.get(f"{FIND}&digits=0101")
        assert "2 numbers in the basket , 4.00 USD a month" in words(page)
        assert [line.phone_number for line in drafts.lines_of(drafts.basket(sam))] == [
            "+12125550101",
            "+12125550102",
        ]

    def test_only_what_was_shown_can_leave_it(self, client, provider, sam):
        client.get(FIND)
        self.pick(client, ["+12125550101", "+12125550102"])
        self.pick(client, [], shown=["+12125550101"])
        assert [line.phone_number for line in drafts.lines_of(drafts.basket(sam))] == ["+12125550102"]
        self.pick(client, [], shown=["+12125550102"])
        assert drafts.basket(sam) is None

    def test_costs_come_from_the_list_never_from_the_form(self, client, provider, sam):
        client.get(FIND)
        self.pick(client, ["+12125550101"], monthly_cost="0.01", upfront_cost="0")
        [line] = drafts.lines_of(drafts.basket(sam))
        assert (line.monthly_cost, line.seen_at is None) == (Decimal("2.00"), False)

    def test_numbers_off_the_list_or_taken_cannot_be_picked(self, client, provider, sam, pending):
        client.get(FIND)
        self.pick(client, ["+12125550101", "+19998887777", "<script>", ""])
        assert drafts.basket(sam) is None

    def test_holds_no_more_than_a_request_may(self, client, provider, sam):
        provider.offers = [offer(f"+1212555{n:04}") for n in range(150)]
        client.get(FIND)
        numbers = [f"+1212555{n:04}" for n in range(150)]
        self.pick(client, numbers[:100])
        response = self.pick(client, numbers[100:])
        assert "with these it would have 150" in words(response)
        assert len(drafts.basket(sam).lines) == 100

    def test_leads_to_the_form_and_is_empty_after_sending(self, client, provider, sam, team):
        client.get(FIND)
        response = self.pick(client, ["+12125550101"], do="request")
        assert "IdentityCall, just now" in words(response)
        draft = drafts.basket(sam)
        sent = {"draft": draft.pk, "team": team.pk, "reason": "New desks", "do": "send"}
        sent |= {"n-TOTAL_FORMS": 1, "n-INITIAL_FORMS": 1, "n-0-phone_number": "+12125550101"}
        client.post("/requests/new/", sent | {"n-0-number_type": "local", "n-0-record_calls": "yes"})
        assert PurchaseRequest.objects.get().purchases.get().monthly_cost == Decimal("2.00")
        assert drafts.basket(sam) is None

    def test_a_tick_answers_htmx_with_the_basket_alone(self, client, provider):
        client.get(FIND)
        part = client.post(
            "/find/pick/",
            {"country": "US", "number_type": "local", "shown": "+12125550101", "pick": "+12125550101"},
            headers={"HX-Request": "true"},
        ).content.decode()
        assert 'id="basket"' in part and "<html" not in part and "1 number in the basket" in part

    def test_is_emptied(self, client, provider, sam):
        client.get(FIND)
        self.pick(client, ["+12125550101"])
        client.post("/find/empty/")
        assert not Draft.objects.exists()

    def test_the_form_shows_what_the_newest_list_says(self, client, provider, sam):
        client.get(FIND)
        self.pick(client, ["+12125550101"])
        provider.offers = [offer("+12125550101", "1.00", "7.00")]
        old(61)
        client.get(FIND)
        assert "7.00 USD a month" in words(client.get("/requests/new/"))


@pages
class TestWhatWasPasted:
    def paste(self, client, text):
        return client.post("/paste/", {"text": text, "country_code": ""}, follow=True)

    def look_up(self):
        from purchasing.models import Paste

        for _ in range(30):
            paste = Paste.objects.order_by("-created_at").first()
            if paste.looked_at:
                return paste
            verdicts.look_up(str(paste.pk))
        raise AssertionError("the look-up never came to its end")

    def row_of(self, client, text, number="+12125550101"):
        self.paste(client, text)
        paste = self.look_up()
        rows = client.get(f"/paste/{paste.pk}/").context["page"]
        return next(row for row in rows if row.candidate and row.candidate.phone_number == number)

    def test_offered_now(self, client, provider):
        row = self.row_of(client, "phone_number,number_type\n+12125550101,local")
        assert (row.tone, row.offered.words) == ("ok", "Offered now: 1.00 USD once, 2.00 USD a month")

    def test_offered_at_another_price(self, client, provider):
        entry = {"phone_number": "+12125550101", "number_type": "local"}
        row = self.row_of(client, json.dumps([entry | {"upfront_cost": "1.00", "monthly_cost": "1.50"}]))
        assert (row.tone, row.offered.words) == (
            "warn",
            "Offered at a different price: 1.00 USD once, 2.00 USD a month; "
            "the pasted price was 1.00 USD once, 1.50 USD a month",
        )

    def test_not_seen_in_the_list_just_now(self, client, provider):
        provider.offers = []
        row = self.row_of(client, '[{"phone_number": "+12125550101", "number_type": "local"}]')
        assert (row.tone, row.offered.words) == ("warn", "Not seen in IdentityCall's list")

    def test_a_number_of_unknown_type_is_looked_for_in_every_list(self, client, provider):
        row = self.row_of(client, "+1 212 555 0101")
        assert row.offered.words.startswith("Offered now")
        assert len([path for _, path in provider.calls if "available" in path]) == 4

    def test_missing_requirement_groups(self, client, provider, team):
        from purchasing.models import RequirementGroup

        RequirementGroup.objects.create(team=team, name="Passport", country_code="US")
        row = self.row_of(client, "phone_number,number_type\n+12125550101,local")
        assert row.details == (
            "Papers are needed for local numbers of United States, and none are on file. Ask the team admin.",
        )

    def test_no_more_lists_than_allowed_are_read(self, client, provider):
        numbers = "+442079460018 +33140205050 +4930901820 +12125550101 +390612345678 +34910123456"
        text = numbers.replace(" ", "\n")
        self.paste(client, text)
        self.look_up()
        assert len([path for _, path in provider.calls if "available" in path]) <= 20

    @pytest.mark.parametrize("answer", [requests.ReadTimeout(), (500, {}, ""), (401, {}, ""), (200, {}, "<")])
    def test_a_provider_that_fails_leaves_the_verdict_open(self, client, provider, answer):
        provider.offers_answer = answer
        row = self.row_of(client, '[{"phone_number": "+12125550101", "number_type": "local"}]')
        assert (row.may_pick, row.offered.words) == (True, "Not looked up yet")

    def test_the_poll_brings_the_verdicts_and_ends(self, client, provider):
        response = self.paste(client, '[{"phone_number": "+12125550101", "number_type": "local"}]')
        page = response.content.decode()
        assert "Looking up the numbers at IdentityCall" in words(response)
        poll = (
            page.partition('id="looking"')[2].partition('hx-get="')[2].partition('"')[0].replace("&amp;", "&")
        )
        assert client.get(poll).status_code == 204
        self.look_up()
        part = client.get(poll).content.decode()
        assert 'hx-swap-oob="true"' in part and "Offered now" in part and "hx-trigger" not in part
        assert 'type="checkbox"' not in part  # ticks made since then stay

    def test_is_looked_up_again(self, client, provider):
        self.paste(client, '[{"phone_number": "+12125550101", "number_type": "local"}]')
        paste = self.look_up()
        provider.offers = []
        old(61)
        client.post(f"/paste/{paste.pk}/look-up/", {"page": "1", "pick": "+12125550101"})
        self.look_up()
        [row] = client.get(f"/paste/{paste.pk}/").context["page"]
        assert row.offered.words == "Not seen in IdentityCall's list"

    def test_a_number_of_another_team_is_shown_without_details(self, client, provider, sam):
        sales = factories.team("Sales", key="idc_" + "s" * 32)
        theirs = factories.request(sales, factories.member("eve", sales, "requester"), ["+12125550101"])
        row = self.row_of(client, "+12125550101")
        assert (row.verdict, row.request_id) == ("Another team has requested it", None)
        provider.owned_numbers = [owned("+12125550101")]
        assert theirs.pk and procurement
