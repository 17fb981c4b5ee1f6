"""Every call other than a purchase, on real sockets: a list is whole or unreadable, odd entries break nothing, and the
key goes to one place alone.
"""

import gzip
import json
from decimal import Decimal

import pytest
import responses

from purchasing.identitycall import errors, paging, resources
from purchasing.identitycall.client import Fence
from purchasing.identitycall.resources import NumberDetail, Offer, OfferList, OwnedList, OwnedNumber, Project
from tests import wire
from tests.healthy_provider import offer, owned
from tests.identitycall.test_purchase import KEY, client_of
from tests.wire import serving

NUMBERS = "/api/v1/public/virtual_numbers"
NOT_UNDERSTOOD = "IdentityCall's answer could not be understood."


def phone(place):
    return f"+1555{place:07d}"


def entries(*places):
    return [{"id": place, "phone_number": phone(place)} for place in places]


def numbers(*places):
    return tuple(OwnedNumber(place, phone(place)) for place in places)


def page(places, **meta):
    """One answer with these numbers; `meta` only where it has a value."""
    return {"data": entries(*places)} | ({"meta": meta} if meta else {})


def as_json(value):
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def in_turn(*answers):
    """Give one answer after the other: a JSON value, the bytes of a body, or what is done with the connection."""
    waiting = list(answers)

    def handler(peer):
        answer = waiting.pop(0)
        if callable(answer):
            answer(peer)
        else:
            peer.answer(200, as_json(answer))

    return handler


def came_of(ask):
    """What a call returns or raises."""
    try:
        return ask()
    except errors.ProviderError as error:
        return error


def owned_numbers(*answers, **options):
    """The outcome of reading the owned list with these answers, and what was requested in which order."""
    with serving(in_turn(*answers)) as server:
        result = came_of(client_of(server.url, **options).owned_numbers)
    assert {request.method for request in server.requests} == {"GET"}
    return result, [request.target.removeprefix(NUMBERS) for request in server.requests]


def summary(error):
    return type(error), str(error), error.status


UNREADABLE = (errors.Unreadable, NOT_UNDERSTOOD, 200)


class TestAListInOneAnswer:
    @pytest.mark.parametrize(
        "meta",
        [
            {},
            {"total_pages": 1, "total_count": 3, "current_page": 1, "per_page": 20},
            {"total_count": 3},
            {"total_pages": None, "total_count": None, "current_page": None},
            {"total_pages": 0, "current_page": 0},
            {"something": "else"},
        ],
    )
    def test_that_agrees_with_itself_is_whole(self, meta):
        assert owned_numbers(page([1, 2, 3], **meta)) == (OwnedList(numbers(1, 2, 3)), [""])

    @pytest.mark.parametrize("meta", [None, {}])
    def test_says_nothing_with_an_empty_meta(self, meta):
        assert owned_numbers({"data": [], "meta": meta}) == (OwnedList(()), [""])

    @pytest.mark.parametrize(
        "meta",
        [
            {"total_count": 4},
            {"total_count": 2},
            {"total_count": 0},
            {"total_count": 4, "total_pages": 1},
            {"total_count": 50, "per_page": 3, "current_page": 1},
            {"current_page": 2},
            {"current_page": 2, "total_pages": 1, "total_count": 3},
        ],
    )
    def test_that_contradicts_its_meta_is_unreadable(self, meta):
        error, asked = owned_numbers(page([1, 2, 3], **meta))
        assert (summary(error), asked) == (UNREADABLE, [""])

    @pytest.mark.parametrize("meta", [[], [1], "1", "", 1, 0, True, False])
    def test_with_a_meta_that_is_no_object_is_unreadable(self, meta):
        error, asked = owned_numbers({"data": entries(1), "meta": meta})
        assert (summary(error), asked) == (UNREADABLE, [""])

    @pytest.mark.parametrize("name", ["total_pages", "total_count", "current_page"])
    @pytest.mark.parametrize("figure", ["1", "", 1.0, 1.5, True, False, -1, [], [1], {}, "many"])
    def test_with_a_figure_that_is_no_number_is_unreadable(self, name, figure):
        error, asked = owned_numbers({"data": entries(1), "meta": {name: figure}})
        assert (summary(error), asked) == (UNREADABLE, [""])

    def test_that_shows_a_number_twice_in_the_same_words_holds_it_once(self):
        assert owned_numbers(page([1, 2, 1])) == (OwnedList(numbers(1, 2)), [""])


PAGED = {"total_pages": 3, "total_count": 5}
FIRST = page([1, 2], **PAGED)
ONE, TWO, THREE = page([1, 2], **PAGED), page([3, 4], **PAGED), page([5], **PAGED)
ASKED = ["", "?page=1&per_page=100", "?page=2&per_page=100", "?page=3&per_page=100"]


class TestAListInPages:
    def test_that_agree_is_whole(self):
        assert owned_numbers(FIRST, ONE, TWO, THREE) == (OwnedList(numbers(1, 2, 3, 4, 5)), ASKED)

    def test_that_say_their_place_is_whole(self):
        pages = [one | {"meta": PAGED | {"current_page": n}} for n, one in enumerate([ONE, TWO, THREE], 1)]
        assert owned_numbers(FIRST, *pages) == (OwnedList(numbers(1, 2, 3, 4, 5)), ASKED)

    def test_that_are_larger_than_the_first_answer_let_expect_is_whole(self):
        """Without a page size the provider shows 20 a page, with ours 100."""
        shown = page(range(1, 21), total_pages=2, total_count=30)
        whole = page(range(1, 31), total_pages=1, total_count=30)
        assert owned_numbers(shown, whole) == (OwnedList(numbers(*range(1, 31))), ASKED[:2])

    @pytest.mark.parametrize(
        ("pages", "asked"),
        [
            ([ONE, TWO, page([5], total_pages=3, total_count=6)], 4),
            ([page([1, 2], total_pages=3, total_count=4), TWO, THREE], 4),
            ([ONE, TWO, page([5], total_pages=2, total_count=5)], 4),
            ([ONE, page([3, 4, 5], total_pages=2, total_count=5)], 3),
            ([ONE, page([3, 4], total_pages=3)], 4),
            ([ONE, TWO, page([5])], 4),
            ([page([1, 2])], 2),
            ([page([1, 2], total_pages=2), page([3, 4, 5], total_pages=2)], 3),
            ([ONE, TWO, page([5, 6], **PAGED)], 4),
            ([ONE, TWO, page([], **PAGED)], 4),
            ([ONE, page([], **PAGED), THREE], 4),
            ([ONE, ONE, THREE], 4),
            ([ONE, page([2, 3], **PAGED), page([4], **PAGED)], 4),
            ([page([1, 2], current_page=2, **PAGED), TWO, THREE], 4),
            ([ONE, page([3, 4], current_page=1, **PAGED), THREE], 4),
            ([ONE, TWO, page([5], current_page=0, **PAGED)], 4),
            ([ONE, page([3, 4], total_pages=3, total_count="5"), THREE], 4),
            ([ONE, page([3, 4], total_pages="3", total_count=5)], 3),
            ([ONE, {"data": entries(3, 4), "meta": []}], 3),
            ([page([], total_pages=0, total_count=0)], 2),
        ],
        ids=[
            "another count on the last",
            "another count on the first",
            "fewer pages on the last",
            "fewer pages in the middle",
            "a page without a count",
            "a page without a meta",
            "no meta from the first page on",
            "no count at all",
            "more numbers than said",
            "an empty last page",
            "an empty page in the middle",
            "the first page again",
            "moved on by one while it was read",
            "a place that is not the first",
            "a place that is not the second",
            "no place",
            "a count as text",
            "pages as text",
            "a meta that is a list",
            "all gone between two answers",
        ],
    )
    def test_that_do_not_agree_is_unreadable(self, pages, asked):
        error, targets = owned_numbers(FIRST, *pages, *[THREE] * 2)
        assert (summary(error), targets) == (UNREADABLE, ASKED[:asked])

    def test_that_grows_by_a_page_while_it_is_read_is_unreadable(self):
        larger = {"total_pages": 4, "total_count": 6}
        error, asked = owned_numbers(FIRST, ONE, TWO, page([5], **larger), page([6], **larger))
        assert (summary(error), asked) == (UNREADABLE, [*ASKED, "?page=4&per_page=100"])

    def test_with_more_on_a_page_than_was_asked_for_is_unreadable(self):
        meta = {"total_pages": 2, "total_count": 102}
        error, asked = owned_numbers(page([1], **meta), page(range(1, 102), **meta), page([102], **meta))
        assert (summary(error), asked) == (UNREADABLE, ASKED[:3])

    @pytest.mark.parametrize("lost", [1, 2, 3])
    @pytest.mark.parametrize(
        ("end", "kind"),
        [
            (lambda peer: peer.reset(), errors.Unreadable),
            (lambda peer: peer.answer(500), errors.Unreadable),
            (lambda peer: peer.answer(204), errors.Unreadable),
            (lambda peer: peer.answer(302, b"", f"Location: {NUMBERS}"), errors.Unreadable),
            (lambda peer: peer.answer(200, as_json(TWO)[:-9], length=len(as_json(TWO))), errors.Unreadable),
            (lambda peer: peer.answer(404, b'{"error": "Resource not found"}'), errors.Declined),
            (lambda peer: peer.answer(401), errors.KeyRefused),
            (lambda peer: peer.answer(403), errors.KeyRefused),
            (lambda peer: peer.answer(429, b"", "Retry-After: 7"), errors.RateLimited),
        ],
        ids=["reset", "500", "204", "302", "cut", "404", "401", "403", "429"],
    )
    def test_of_which_one_is_lost_is_no_list(self, lost, end, kind):
        pages = [ONE, TWO, THREE]
        pages[lost - 1] = end
        error, asked = owned_numbers(FIRST, *pages)
        assert (type(error), asked) == (kind, ASKED[: lost + 1])

    @pytest.mark.parametrize("pages", [paging.MOST_PAGES + 1, 10**30])
    def test_that_are_more_than_can_be_is_unreadable_at_once(self, pages):
        error, asked = owned_numbers(page([1], total_pages=pages, total_count=5))
        assert (summary(error), asked) == (UNREADABLE, [""])

    def test_of_the_largest_number_of_pages_is_read(self):
        assert paging.page_count({"meta": {"total_pages": 200}}) == 200

    def test_that_grow_with_each_read_comes_to_an_end(self):
        """Each answer announces one page more than the one before."""
        asked = []

        def one_more(request):
            asked.append(request.url)
            return 200, {}, json.dumps(page([len(asked)], total_pages=len(asked) + 1, total_count=999))

        with responses.RequestsMock() as http:
            http.add_callback("GET", "https://api.example/v1/virtual_numbers", one_more)
            error = came_of(client_of("https://api.example/v1").owned_numbers)
        assert (summary(error), len(asked)) == (UNREADABLE, paging.MOST_PAGES)


BAD_ENTRIES = {
    "null": None,
    "a text": "+15551234567",
    "a list": [7, "+15551234567"],
    "empty": {},
    "no id": {"phone_number": "+15551234567"},
    "id null": {"id": None, "phone_number": "+15551234567"},
    "id 0": {"id": 0, "phone_number": "+15551234567"},
    "id below 0": {"id": -7, "phone_number": "+15551234567"},
    "id as text": {"id": "7", "phone_number": "+15551234567"},
    "id true": {"id": True, "phone_number": "+15551234567"},
    "id with a fraction": {"id": 7.0, "phone_number": "+15551234567"},
    "id that no database holds": {"id": 2**63, "phone_number": "+15551234567"},
    "no number": {"id": 7},
    "number null": {"id": 7, "phone_number": None},
    "number as a figure": {"id": 7, "phone_number": 15551234567},
    "number without a plus": {"id": 7, "phone_number": "15551234567"},
    "number with blanks": {"id": 7, "phone_number": "+1 555 1234567"},
    "number and a line": {"id": 7, "phone_number": "+15551234567\n"},
    "number with a leading 0": {"id": 7, "phone_number": "+05551234567"},
    "number too long": {"id": 7, "phone_number": "+1555123456789012"},
    "number too short": {"id": 7, "phone_number": "+1"},
    "number in other digits": {"id": 7, "phone_number": "+١٥٥٥١٢٣٤٥٦٧"},
}
BAD_BODIES = {
    "empty": b"",
    "cut": as_json(page([1, 2]))[:-3],
    "two": as_json(page([1])) * 2,
    "html": b"<html>",
    "a list": entries(1),
    "a text": "data",
    "null": None,
    "no data": {"numbers": entries(1)},
    "data null": {"data": None},
    "data an object": {"data": {"1": entries(1)}},
    "data a text": {"data": "none"},
    "data twice": b'{"data": [], "data": []}',
    "NaN": b'{"data": [], "x": NaN}',
    "endless": b'{"data": ' + b"[" * 50_000,
    "not utf-8": b'{"data": [], "x": "\xff"}',
    "utf-16": '{"data": []}'.encode("utf-16"),
    "byte order mark": '\ufeff{"data": []}'.encode(),
}


class TestWhatAListHolds:
    @pytest.mark.parametrize("entry", BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
    def test_an_entry_that_cannot_be_read_is_named_beside_the_others(self, entry):
        result, _ = owned_numbers({"data": [*entries(1, 2), entry, *entries(3)]})
        assert (result.numbers, result.entries) == (numbers(1, 2, 3), 4)
        [odd] = result.odd
        assert odd.id == (
            entry["id"] if isinstance(entry, dict) and resources.is_id(entry.get("id")) else None
        )
        assert odd.shows

    @pytest.mark.parametrize("entry", BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
    def test_on_a_page_as_well(self, entry):
        result, _ = owned_numbers(FIRST, ONE, TWO, THREE | {"data": [entry]})
        assert (result.numbers, len(result.odd)) == (numbers(1, 2, 3, 4), 1)

    def test_what_it_shows_is_cut_and_holds_no_key(self):
        shows = "idc_" + "k" * 32 + "x" * 500
        result, _ = owned_numbers({"data": [{"id": 9, "phone_number": shows}]})
        assert (len(result.odd[0].shows) <= 100, "kkkk" in result.odd[0].shows) == (True, False)

    def test_one_number_may_stand_under_two_ids(self):
        result, _ = owned_numbers({"data": [*entries(1), {"id": 2, "phone_number": phone(1)}]})
        assert {(one.id, one.phone_number) for one in result.numbers} == {(1, phone(1)), (2, phone(1))}

    def test_one_id_for_two_numbers_shows_neither(self):
        result, _ = owned_numbers({"data": [*entries(1, 3), {"id": 1, "phone_number": phone(2)}]})
        assert result.numbers == numbers(3)
        assert [(odd.id, odd.shows) for odd in result.odd] == [(1, f"{phone(1)} and {phone(2)}")]

    def test_odd_and_extra_fields_break_nothing(self):
        odd = owned(
            phone(1), 1, name=["x"], country_code="USA", active="yes", operators=None, extra={"a": [1]}
        )
        named = owned(
            phone(2), 2**63 - 1, name=" Front\u202e\r\n desk\u200b ", country_code="gb", active=False
        )
        bare = {"id": 3, "phone_number": phone(3)}
        result, _ = owned_numbers({"data": [odd, named, bare], "extra": None})
        assert result == OwnedList(
            (
                OwnedNumber(1, phone(1)),
                OwnedNumber(2**63 - 1, phone(2), "Front desk", "GB", False),
                OwnedNumber(3, phone(3)),
            )
        )

    @pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
    def test_a_body_of_another_form_is_unreadable(self, body):
        error, asked = owned_numbers(body)
        assert (summary(error), asked) == (UNREADABLE, [""])

    def test_thousands_of_numbers_are_read(self):
        result, _ = owned_numbers({"data": [owned(phone(n), n) for n in range(1, 5001)]})
        assert len(result.numbers) == 5000


WHOLE = as_json(page([1]))
NO_LIST = {
    "201": lambda peer: peer.answer(201, WHOLE),
    "203": lambda peer: peer.answer(203, WHOLE),
    "206": lambda peer: peer.answer(206, WHOLE),
    "304": lambda peer: peer.answer(304),
    "402": lambda peer: peer.answer(402, b'{"error": "Pay"}'),
    "422 html": lambda peer: peer.answer(422, b"<html>"),
    "500 with a list": lambda peer: peer.answer(500, WHOLE),
    "503": lambda peer: peer.answer(503, b"", "Retry-After: 9"),
    "cut": lambda peer: peer.answer(200, WHOLE[:-1], length=len(WHOLE)),
    "cut without a length": lambda peer: peer.answer(200, WHOLE[:-1], length=None),
    "gzip": lambda peer: peer.answer(200, gzip.compress(WHOLE), "Content-Encoding: gzip"),
    "said to be gzip": lambda peer: peer.answer(200, WHOLE, "Content-Encoding: gzip"),
    "more than the cap": lambda peer: peer.answer(200, WHOLE + b" " * 9_000_000),
    "no http": lambda peer: peer.send(b"hello\r\n\r\n"),
    "closed": lambda peer: None,
    "reset": lambda peer: peer.reset(),
    "silence": lambda peer: peer.hold(),
    "a drip": lambda peer: peer.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + WHOLE + b" " * 900),
}
ASK = {
    "owned list": lambda client: client.owned_numbers(),
    "offers": lambda client: client.available(country_code="US", number_type="local"),
    "one number": lambda client: client.number(7),
    "a change": lambda client: client.update_number(7, recording=False),
    "projects": lambda client: client.projects(),
}
EVERY_CALL = ASK | {
    "write permission": lambda client: client.write_permission(),
    "purchase": lambda client: client.purchase_number(b"{}", phone_number=phone(1), fence=Fence(60)),
}


class TestWhatIsNoAnswer:
    @pytest.mark.parametrize("case", NO_LIST)
    @pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
    def test_to_any_call_is_unreadable_after_one_request(self, ask, case):
        deadline = 0.4 if case in ("silence", "a drip") else 9
        with serving(NO_LIST[case]) as server:
            error = came_of(lambda: ask(client_of(server.url, deadline=deadline)))
        assert type(error) is errors.Unreadable, error
        assert (server.connections, len(server.requests)) == (1, 1)

    @pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
    def test_was_not_sent_where_nobody_was_reached(self, ask):
        error = came_of(lambda: ask(client_of(f"http://127.0.0.1:{wire.closed_port()}")))
        assert summary(error) == (
            errors.NotSent,
            "IdentityCall could not be reached; nothing was sent.",
            None,
        )

    @pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (400, errors.Declined),
            (401, errors.KeyRefused),
            (403, errors.KeyRefused),
            (404, errors.Declined),
            (422, errors.Declined),
            (429, errors.RateLimited),
        ],
    )
    def test_is_told_in_the_providers_words(self, ask, status, kind):
        with serving(lambda peer: peer.answer(status, b'{"error": "Not like this"}')) as server:
            error = came_of(lambda: ask(client_of(server.url)))
        assert (type(error), error.status, error.words) == (kind, status, "Not like this")
        assert len(server.requests) == 1


class TestOffers:
    def read(self, *shown):
        with serving(in_turn({"data": list(shown)})) as server:
            found = client_of(server.url).available(country_code="US", number_type="toll-free")
        [request] = server.requests
        assert request.target == f"{NUMBERS}/available?country=US&number_type=toll-free"
        return found

    def test_are_read_in_the_providers_order(self):
        assert self.read(offer(phone(2)), offer(phone(1), "0", "1.5000")) == OfferList(
            (
                Offer(phone(2), "US", "local", Decimal("1.00"), Decimal("2.00"), ("voice", "sms"), ("US",)),
                Offer(phone(1), "US", "local", Decimal(0), Decimal("1.5000"), ("voice", "sms"), ("US",)),
            ),
            0,
        )

    def test_none_are_none(self):
        assert self.read() == OfferList((), 0)

    def test_entries_without_a_usable_number_are_counted_and_left_out(self):
        bad = [None, 5, "x", [], {}, {"phone_number": None}, {"phone_number": "15551234567"}]
        assert self.read(*bad, {"phone_number": phone(1)}) == OfferList((Offer(phone(1)),), len(bad))

    def test_odd_fields_count_as_missing(self):
        odd = {
            "phone_number": phone(1),
            "country_code": 1,
            "number_type": None,
            "upfront_cost": [],
            "monthly_cost": True,
            "features": {"sms": True},
            "region_information": ["x", {"region_name": 5}, {"region_name": "Ohio"}, None],
            "more": "fields",
        }
        assert self.read(odd) == OfferList((Offer(phone(1), regions=("Ohio",)),), 0)

    @pytest.mark.parametrize(
        "cost",
        [
            None,
            "",
            " 1",
            "-1",
            "1,00",
            "$1",
            "1e3",
            "NaN",
            "Infinity",
            "1.00001",
            "12345678901",
            True,
            [],
            {},
        ],
    )
    def test_a_cost_that_is_not_surely_meant_is_unknown_and_never_0(self, cost):
        assert self.read({"phone_number": phone(1), "monthly_cost": cost}) == OfferList((Offer(phone(1)),), 0)

    def test_a_number_that_comes_twice_with_other_costs_has_none_that_is_known(self):
        twice = [
            offer(phone(1), "1.00", "2.00"),
            offer(phone(1), "1.00", "3.00"),
            offer(phone(1), "1.00", "2.00"),
        ]
        [found] = self.read(*twice).offers
        assert (found.upfront_cost, found.monthly_cost) == (Decimal("1.00"), None)


class TestOneNumber:
    SHOWN = {
        "id": 7,
        "phone_number": phone(1),
        "name": "Desk",
        "country_code": "US",
        "active": True,
        "recording": False,
        "routing_strategy": "priority",
        "stats": {"total_calls": None},
    }
    DETAIL = NumberDetail(7, phone(1), "Desk", "US", True, False)

    def test_is_read(self):
        with serving(in_turn({"data": self.SHOWN})) as server:
            assert client_of(server.url).number(7) == self.DETAIL
        [request] = server.requests
        assert (request.method, request.target, request.body) == ("GET", f"{NUMBERS}/7", b"")

    def test_is_changed_in_the_fields_that_are_given_and_no_others(self):
        with serving(in_turn({"data": self.SHOWN})) as server:
            assert client_of(server.url).update_number(7, name="Dësk", recording=False) == self.DETAIL
        [request] = server.requests
        assert (request.method, request.target) == ("PATCH", f"{NUMBERS}/7")
        assert json.loads(request.body) == {"name": "Dësk", "recording": False}
        assert request.headers["content-type"] == "application/json"

    @pytest.mark.parametrize("ask", [ASK["one number"], ASK["a change"]], ids=["read", "changed"])
    def test_of_another_id_is_unreadable(self, ask):
        with serving(in_turn({"data": self.SHOWN | {"id": 8}})) as server:
            error = came_of(lambda: ask(client_of(server.url)))
        assert summary(error) == (
            errors.Unreadable,
            "IdentityCall's answer is about a different number.",
            200,
        )

    @pytest.mark.parametrize("entry", BAD_ENTRIES.values(), ids=BAD_ENTRIES.keys())
    def test_without_a_certain_id_and_number_is_unreadable(self, entry):
        with serving(in_turn({"data": entry})) as server:
            assert summary(came_of(lambda: client_of(server.url).number(7))) == UNREADABLE

    @pytest.mark.parametrize("odd", ["yes", 1, None, [], "false"])
    def test_a_switch_of_an_odd_type_is_not_told(self, odd):
        with serving(in_turn({"data": self.SHOWN | {"recording": odd, "active": odd}})) as server:
            found = client_of(server.url).number(7)
        assert (found.recording, found.active) == (None, None)

    @pytest.mark.parametrize("number_id", [0, -1, True, "7", "7/../purchase", None, 7.0, 2**63])
    def test_what_is_no_id_is_not_asked_for(self, number_id):
        with serving() as server:
            client = client_of(server.url)
            for ask in (client.number, client.update_number):
                with pytest.raises(ValueError, match="positive integer"):
                    ask(number_id)
            assert server.connections == 0


class TestProjects:
    def test_are_read_without_those_that_have_no_id(self):
        shown = [{"id": 11, "name": "Sales"}, {"name": "x"}, None, {"id": "3"}, {"id": 12, "name": None}]
        with serving(in_turn({"data": shown})) as server:
            assert client_of(server.url).projects() == (Project(11, "Sales"), Project(12, ""))
        assert [request.target for request in server.requests] == ["/api/v1/public/projects"]


class TestWritePermission:
    def of(self, handler, **options):
        with serving(handler) as server:
            answer = client_of(server.url, **options).write_permission()
        assert [(r.method, r.target, r.body) for r in server.requests] == [
            ("POST", "/api/v1/public/operators", b"{}")
        ]
        return answer

    @pytest.mark.parametrize(("status", "may"), [(403, False), (400, True), (422, True)])
    @pytest.mark.parametrize("body", [b"", b'{"error": "name is required"}', b"<html>"])
    def test_is_told_by_the_status(self, status, may, body):
        assert self.of(lambda peer: peer.answer(status, body)) is may

    @pytest.mark.parametrize("status", [200, 201, 204, 301, 307, 401, 404, 429, 500, 503])
    def test_is_not_known_from_any_other(self, status):
        assert self.of(lambda peer: peer.answer(status, b"{}")) is None

    @pytest.mark.parametrize("case", ["closed", "reset", "silence", "no http"])
    def test_is_not_known_where_nothing_was_answered(self, case):
        assert self.of(NO_LIST[case], deadline=0.4 if case == "silence" else 9) is None

    def test_is_not_known_where_nobody_was_reached(self):
        assert client_of(f"http://127.0.0.1:{wire.closed_port()}").write_permission() is None


class TestPace:
    @pytest.mark.parametrize(
        "ask", {**ASK, "write": EVERY_CALL["write permission"]}.values(), ids=[*ASK, "write"]
    )
    def test_each_call_waits_for_its_turn_and_what_that_raises_is_passed_on(self, ask):
        class NoTurn(Exception):
            pass

        def refuse():
            raise NoTurn

        with serving() as server:
            with pytest.raises(NoTurn):
                ask(client_of(server.url, before_read=refuse))
            assert server.connections == 0

    def test_each_page_is_a_call_of_its_own(self):
        turns = []
        owned_numbers(FIRST, ONE, TWO, THREE, before_read=lambda: turns.append(1))
        assert len(turns) == 4


class TestTheKey:
    """It goes to the host of the base URL, in one header, and nowhere else."""

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("where", ["its own host", "another host", "another name of its own host"])
    @pytest.mark.parametrize("name", EVERY_CALL)
    def test_follows_no_redirect(self, name, where, status):
        with (
            serving() as other,
            serving(lambda peer: peer.answer(status, WHOLE, f"Location: {target}")) as server,
        ):
            target = {
                "its own host": NUMBERS,
                "another host": other.url,
                "another name of its own host": server.url.replace("127.0.0.1", "localhost"),
            }[where]
            error = came_of(lambda: EVERY_CALL[name](client_of(server.url)))
        assert (server.connections, len(server.requests), other.connections) == (1, 1, 0)
        if name != "write permission":
            pointed = "IdentityCall pointed to another address, which is not followed."
            assert (str(error).startswith(pointed), error.status) == (True, status)

    @pytest.mark.parametrize("name", EVERY_CALL)
    def test_stands_in_one_header_of_each_call(self, name):
        with serving(lambda peer: peer.answer(500)) as server:
            came_of(lambda: EVERY_CALL[name](client_of(server.url)))
        [request] = server.requests
        assert request.headers["authorization"] == f"Bearer {KEY}"
        assert (request.raw.count(KEY.encode()), request.raw.count(KEY[4:].encode())) == (1, 1)

    @pytest.mark.parametrize("name", EVERY_CALL)
    def test_does_not_go_through_a_proxy_of_the_environment(self, name, monkeypatch):
        with serving() as proxy, serving(lambda peer: peer.answer(500)) as server:
            for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
                monkeypatch.setenv(variable.lower(), f"http://127.0.0.1:{proxy.port}")
            monkeypatch.delenv("NO_PROXY", raising=False)
            monkeypatch.delenv("no_proxy", raising=False)
            came_of(lambda: EVERY_CALL[name](client_of(server.url)))
        assert (len(server.requests), proxy.connections) == (1, 0)

    @pytest.mark.parametrize("name", EVERY_CALL)
    def test_is_not_replaced_by_a_password_of_netrc(self, name, monkeypatch, tmp_path):
        (tmp_path / ".netrc").write_text(
            "machine 127.0.0.1 login somebody password else\ndefault login x password y\n"
        )
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        monkeypatch.setenv("HOME", str(tmp_path))
        with serving(lambda peer: peer.answer(500)) as server:
            came_of(lambda: EVERY_CALL[name](client_of(server.url)))
        assert [request.headers["authorization"] for request in server.requests] == [f"Bearer {KEY}"]

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
    def test_is_not_shown_to_whom_the_environment_alone_trusts(self, variable, monkeypatch):
        monkeypatch.setenv(variable, wire.authority_file())
        with serving(tls=True) as server:
            error = came_of(client_of(server.url, verify=True).owned_numbers)
        assert (type(error), server.requests) == (errors.NotSent, [])

    def test_comes_with_no_cookie_of_an_earlier_answer(self):
        with serving(lambda peer: peer.answer(200, WHOLE, "Set-Cookie: session=1; Path=/")) as server:
            client = client_of(server.url)
            client.owned_numbers(), client.owned_numbers()
        assert [request.headers.get("cookie") for request in server.requests] == [None, None]
        assert server.connections == 2

    def test_is_in_no_representation_of_the_client(self):
        client = client_of("https://api.example/v1")
        assert (
            f"{client!r} {client}" == "<Client of https://api.example/v1> <Client of https://api.example/v1>"
        )
