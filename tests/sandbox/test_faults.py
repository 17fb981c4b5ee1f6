"""The faults of the sandbox, each seen by a client over a real socket."""

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import requests

from sandbox import keys, server
from sandbox.faults import KINDS, BadFault, read_fault

HEADERS = {"Authorization": f"Bearer {keys.ACCOUNT_KEY}", "Content-Type": "application/json"}
SESSION = requests.Session()
SESSION.trust_env = False
LIST = "/virtual_numbers"
OFFERS = "/virtual_numbers/available"


@pytest.fixture
def provider(tmp_path):
    with server.running(tmp_path, rate_limit=0, practice=False) as provider:
        yield provider


def call(provider, method="GET", path=LIST, timeout=5, **options):
    return SESSION.request(
        method, provider.api_url + path, headers=HEADERS, timeout=timeout, allow_redirects=False, **options
    )


def buy(provider, phone_number=None, *, timeout=5, **fields):
    fields["phone_number"] = phone_number or provider.offers()[0]
    return call(provider, "POST", "/virtual_numbers/purchase", timeout, json=fields)


def buy_raw(provider, *, patience=5):
    """Buy the first number on offer; return all bytes received, and how the connection ended."""
    body = json.dumps({"phone_number": provider.offers()[0]})
    lines = [
        "POST /api/v1/public/virtual_numbers/purchase HTTP/1.1",
        *[f"{name}: {value}" for name, value in HEADERS.items()],
        f"Content-Length: {len(body)}",
        "Connection: close",
        "",
        body,
    ]
    received = b""
    with socket.create_connection(("127.0.0.1", provider.port), timeout=patience) as connection:
        connection.sendall("\r\n".join(lines).encode())
        try:
            while part := connection.recv(65536):
                received += part
        except ConnectionResetError:
            return received, "reset"
        except TimeoutError:
            return received, "silence"
        return received, "closed"


def wait_for(condition, *, seconds=5):
    """Wait until the condition holds and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.005)
    raise AssertionError("it did not come about")


def bought(provider):
    return [entry["phone_number"] for entry in provider.ledger()]


def listed(provider):
    return [number["phone_number"] for number in call(provider).json()["data"]]


# Connections


@pytest.mark.parametrize(
    ("kind", "ending", "buys"),
    [
        ("hang_before", "silence", 0),
        ("hang_after", "silence", 1),
        ("close_before", "closed", 0),
        ("close_after", "closed", 1),
        ("reset_before", "reset", 0),
        ("reset_after", "reset", 1),
    ],
)
def test_a_connection_ends_without_an_answer(provider, kind, ending, buys):
    provider.set_fault(kind, times=1)

    assert buy_raw(provider, patience=0.3) == (b"", ending)

    assert len(bought(provider)) == buys
    assert provider.counters()["faults"] == {kind: 1}
    assert buy(provider).status_code == 201


def test_a_hanging_call_ends_when_its_time_is_up(provider):
    provider.set_fault("hang_before", seconds=0.1)
    assert buy_raw(provider) == (b"", "closed")


def test_refusing_connections_for_a_while_and_then_listening_on_the_same_port(provider):
    idle = http.client.HTTPConnection("127.0.0.1", provider.port, timeout=5)
    idle.request("GET", "/healthz")
    idle.getresponse().read()

    provider.refuse(0.4)

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", provider.port))
    assert idle.sock.recv(1) == b""

    def answers():
        with contextlib.suppress(requests.ConnectionError):
            return buy(provider).status_code == 201

    assert wait_for(answers)
    assert provider.counters()["faults"] == {"refuse": 1}


def test_refusing_as_a_fault_answers_the_call_that_set_it_off(provider):
    provider.set_fault("refuse", seconds=2, times=1)

    assert buy(provider).status_code == 201

    with pytest.raises(requests.ConnectionError):
        call(provider)
    assert provider.counters()["faults"] == {"refuse": 1}


def test_a_stopped_sandbox_does_not_come_back(tmp_path):
    with server.running(tmp_path) as provider:
        provider.refuse(0.05)
    time.sleep(0.1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", provider.port))


def test_buying_late_though_the_client_has_left(provider):
    provider.set_fault("buys_late", seconds=0.6)
    phone_number = provider.offers()[0]

    with pytest.raises(requests.ReadTimeout):
        buy(provider, phone_number, timeout=0.1)

    assert bought(provider) == []
    wait_for(lambda: bought(provider) == [phone_number])
    assert provider.requests()[0]["fault"] == "buys_late"


def test_a_reset_calls_off_a_late_purchase(provider):
    provider.set_fault("buys_late", seconds=0.2)
    thread = threading.Thread(target=buy_raw, args=(provider,))
    thread.start()
    wait_for(lambda: provider.counters()["faults"])

    provider.reset()

    thread.join()
    assert bought(provider) == []


@pytest.mark.parametrize("kind", ["slow_before", "slow_after"])
def test_a_slow_answer(provider, kind):
    provider.set_fault(kind, seconds=0.2)
    answer = buy(provider)
    assert answer.status_code == 201
    assert answer.elapsed.total_seconds() >= 0.2


def test_an_answer_that_drips(provider):
    provider.set_fault("drip_body", seconds=0.001, times=1)
    received, ending = buy_raw(provider)
    assert (received[:22], received[-2:], ending) == (b"HTTP/1.1 201 Created\r\n", b"}}", "closed")

    provider.set_fault("drip_head", seconds=1)
    received, ending = buy_raw(provider, patience=0.3)
    assert (received, ending) == (b"H", "silence")
    assert len(bought(provider)) == 2


# Statuses


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
@pytest.mark.parametrize(("kind", "buys"), [("status_before", 0), ("status_after", 1)])
def test_a_server_error_before_or_after_buying(provider, kind, buys, status):
    provider.set_fault(kind, status=status)

    answer = buy(provider)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert len(bought(provider)) == buys


@pytest.mark.parametrize("status", [200, 202, 204])
def test_another_success_after_buying(provider, status):
    provider.set_fault("status_after", status=status)

    answer = buy(provider)

    assert answer.status_code == status
    if status == 204:
        assert (answer.content, "Content-Length" in answer.headers) == (b"", False)
    else:
        assert answer.json()["data"]["phone_number"] == bought(provider)[0]
    assert len(bought(provider)) == 1


@pytest.mark.parametrize(("kind", "status"), [("unauthorized", 401), ("forbidden", 403)])
def test_a_good_key_is_refused_for_a_few_calls_in_the_middle(provider, kind, status):
    provider.set_fault(kind, skip=1, times=2)
    assert [buy(provider).status_code for _ in range(4)] == [201, status, status, 201]


def test_rate_limiting_with_every_sort_of_retry_after(provider):
    def retry_after(**options):
        provider.clear_faults()
        provider.set_fault("rate_limited", **options)
        answer = buy(provider)
        assert answer.status_code == 429
        return answer.headers.get("Retry-After")

    assert retry_after(seconds=7) == "7"
    assert retry_after(retry_after="none") is None
    assert retry_after(retry_after="-5") == "-5"
    assert not retry_after(retry_after="nonsense").isdecimal()
    assert int(retry_after(retry_after="huge")) > 10**20
    date = parsedate_to_datetime(retry_after(retry_after="date", seconds=90))
    assert 85 <= (date - datetime.now(UTC)).total_seconds() <= 91
    assert bought(provider) == []


@pytest.mark.parametrize(("kind", "buys"), [("redirect_before", 0), ("redirect_after", 1)])
def test_redirects_to_itself_to_another_host_and_to_any_address(provider, kind, buys):
    locations = []
    for location in ("self", "other", "https://elsewhere.invalid/"):
        provider.clear_faults()
        provider.set_fault(kind, location=location)
        answer = buy(provider)
        assert answer.status_code == 307
        locations.append(answer.headers["Location"])
    path = f":{provider.port}/api/v1/public/virtual_numbers/purchase"
    assert locations == [f"http://127.0.0.1{path}", f"http://localhost{path}", "https://elsewhere.invalid/"]
    assert len(bought(provider)) == 3 * buys


def test_a_client_that_follows_a_redirect_shows_in_the_counters(provider):
    provider.set_fault("redirect_before", location="self", times=1)
    phone_number = provider.offers()[0]
    url = provider.api_url + "/virtual_numbers/purchase"
    SESSION.post(url, json={"phone_number": phone_number}, headers=HEADERS, timeout=5)
    assert provider.counters()["purchase_posts"] == {phone_number: 2}


@pytest.mark.parametrize(
    ("form", "shape"),
    [
        ("error", {"error": "<b>No</b>"}),
        ("errors", {"errors": ["<b>No</b>", "Please choose another number"]}),
        ("shapeless", {"message": "<b>No</b>", "code": 17}),
        ("object", {"error": {"message": "<b>No</b>"}}),
    ],
)
def test_declining_in_the_shapes_of_json(provider, form, shape):
    provider.set_fault("declined", form=form, text="<b>No</b>")
    answer = buy(provider)
    assert (answer.status_code, answer.json()) == (422, shape)
    assert bought(provider) == []


def test_declining_without_json_and_with_a_megabyte(provider):
    answers = []
    for form in ("html", "empty", "huge"):
        provider.clear_faults()
        provider.set_fault("declined", form=form, status=404)
        answers.append(buy(provider))
    html, empty, huge = answers
    assert {answer.status_code for answer in answers} == {404}
    assert html.headers["Content-Type"].startswith("text/html")
    assert empty.content == b""
    assert len(huge.json()["error"]) == 1_000_000


# Bodies


def test_a_body_that_is_empty_or_not_json(provider):
    provider.set_fault("body_empty", times=1)
    answer = buy(provider)
    assert (answer.status_code, answer.content) == (201, b"")
    provider.set_fault("body_not_json", times=1)
    answer = buy(provider)
    assert (answer.status_code, answer.text) == (201, "<html><body>OK</body></html>")
    assert len(bought(provider)) == 2


def test_a_body_that_is_cut(provider):
    provider.set_fault("body_truncated", times=1)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="IncompleteRead"):
        buy(provider)
    provider.set_fault("body_unmeasured", times=1)
    answer = buy(provider)
    assert (answer.status_code, "Content-Length" in answer.headers) == (201, False)
    with pytest.raises(ValueError):
        answer.json()
    provider.set_fault("head_cut", times=1)
    received, ending = buy_raw(provider)
    assert (received[:22], b"\r\n\r\n" in received, ending) == (b"HTTP/1.1 201 Created\r\n", False, "closed")
    assert len(bought(provider)) == 3


def test_a_body_of_many_megabytes(provider):
    provider.set_fault("body_huge", times=1)
    assert len(buy(provider).content) > 10_000_000
    provider.set_fault("body_gzip", megabytes=5, times=1)
    received, _ = buy_raw(provider)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"Content-Encoding: gzip" in head
    assert len(body) < 50_000
    assert len(gzip.decompress(body)) > 5_000_000


@pytest.mark.parametrize(
    ("fault", "changes"),
    [
        ({"kind": "body_wrong_number"}, {"phone_number": "+12125550199"}),
        ({"kind": "body_text_id"}, {"id": "1001"}),
        ({"kind": "body_field"}, {"id": None}),
        ({"kind": "body_field", "value": True}, {"id": True}),
        ({"kind": "body_field", "field": "phone_number", "value": ""}, {"phone_number": ""}),
    ],
)
def test_a_body_with_another_value(provider, fault, changes):
    provider.set_fault(**fault)
    data = buy(provider).json()["data"]
    assert data == call(provider).json()["data"][0] | changes


def test_a_body_without_an_id(provider):
    provider.set_fault("body_no_id")
    data = buy(provider).json()["data"]
    assert "id" not in data
    assert data["phone_number"] == bought(provider)[0]


# Lists


def test_the_list_lags_behind_purchases(provider):
    provider.set_fault("list_lag", seconds=0.5)
    buy(provider)

    assert listed(provider) == []
    wait_for(lambda: listed(provider) == bought(provider))
    provider.clear_faults()
    provider.set_fault("list_lag", phone_number=provider.offers()[0], seconds=60)
    buy(provider)
    buy(provider)
    assert listed(provider) == [bought(provider)[0], bought(provider)[2]]


def test_the_list_is_empty_half_garbage_or_an_error(provider):
    for _ in range(3):
        buy(provider)
    first, second, third = bought(provider)

    def spoiled(kind, **options):
        provider.clear_faults()
        provider.set_fault(kind, **options)
        return call(provider)

    assert spoiled("list_empty").json() == {"data": []}
    assert [n["phone_number"] for n in spoiled("list_empty", phone_number=second).json()["data"]] == [
        first,
        third,
    ]
    assert [n["phone_number"] for n in spoiled("list_half").json()["data"]] == [first]
    garbage = spoiled("list_garbage").json()["data"]
    assert None in garbage
    assert garbage[-1]["id"] == "1003"
    assert spoiled("status_before", endpoint="list", status=500).status_code == 500
    assert spoiled("body_not_json", endpoint="list").text.startswith("<html>")
    assert [n["phone_number"] for n in spoiled("body_no_id", endpoint="list").json()["data"]] == [
        first,
        second,
        third,
    ]


def test_the_list_can_come_in_pages(provider):
    for _ in range(3):
        buy(provider)
    provider.set_fault("list_paged")

    page = call(provider, path=LIST + "?page=2&per_page=2").json()

    assert page["meta"] == {"current_page": 2, "per_page": 2, "total_pages": 2, "total_count": 3}
    assert [number["phone_number"] for number in page["data"]] == bought(provider)[2:]
    assert call(provider).json()["meta"]["per_page"] == 20


def test_offers_with_missing_null_odd_and_extra_fields(provider):
    proper = call(provider, path=OFFERS).json()["data"]
    one = proper[3]["phone_number"]

    def spoiled(kind, **options):
        provider.clear_faults()
        provider.set_fault(kind, **options)
        return call(provider, path=OFFERS).json()["data"]

    assert spoiled("offers_missing") == [{"phone_number": offer["phone_number"]} for offer in proper]
    assert spoiled("offers_null", field="features") == [offer | {"features": None} for offer in proper]
    assert set(spoiled("offers_null")[0].values()) == {None, proper[0]["phone_number"]}
    assert spoiled("offers_odd")[0]["monthly_cost"] == 1.5
    assert spoiled("offers_extra")[0].items() > proper[0].items()
    assert spoiled("offers_half") == proper[:12]
    assert spoiled("offers_empty", phone_number=one) == proper[:3] + proper[4:]
    assert spoiled("offers_garbage")[0] is None
    for value in ("1e400", "NaN", "1,00", "-1.00", "", 1.5, {"amount": 1}):
        offers = spoiled("offers_cost", value=value, phone_number=one)
        assert offers == [o | {"monthly_cost": value} if o["phone_number"] == one else o for o in proper]


# Which calls a fault is for


def test_a_fault_is_for_one_number_one_key_or_one_endpoint(provider):
    first, second = provider.offers()[:2]
    provider.set_fault("status_before", phone_number=first)
    assert [buy(provider, number).status_code for number in (first, second)] == [503, 201]
    provider.clear_faults()
    provider.set_fault("status_before", endpoint="any", key="sales")
    assert call(provider).status_code == 200
    sales = {"Authorization": f"Bearer {keys.SALES_KEY}"}
    assert SESSION.get(provider.api_url + LIST, headers=sales, timeout=5).status_code == 503
    provider.clear_faults()
    provider.set_fault("status_before", endpoint="get", phone_number=second)
    assert [call(provider).status_code, call(provider, path=f"{LIST}/1001").status_code] == [200, 503]
    provider.set_fault("status_before", endpoint="patch")
    assert call(provider, "PATCH", f"{LIST}/1001", json={"name": "x"}).status_code == 503


def test_a_fault_after_buying_waits_for_a_purchase_that_is_accepted(provider):
    provider.set_fault("reset_after", times=1)

    assert buy(provider, "+15551234567").status_code == 422
    assert provider.counters()["faults"] == {}
    assert buy_raw(provider) == (b"", "reset")
    assert buy(provider).status_code == 201
    assert provider.counters()["faults"] == {"reset_after": 1}


def test_a_random_fault_acts_the_same_way_for_the_same_seed(provider):
    def pattern(seed):
        provider.reset()
        provider.set_fault("status_before", endpoint="list", probability=0.5, seed=seed)
        return [call(provider).status_code for _ in range(16)]

    assert pattern(1) == pattern(1)
    assert pattern(1) != pattern(2)
    assert set(pattern(1)) == {200, 503}


def test_faults_are_set_listed_counted_and_cleared_over_http(provider):
    def control(method, path, body=None):
        return SESSION.request(method, f"{provider.url}/_control/{path}", json=body, timeout=5).json()["data"]

    first = control("POST", "faults", {"kind": "status_before", "times": 1})["id"]
    second = control("POST", "faults", {"kind": "hang_after", "phone_number": "+1"})["id"]
    assert buy(provider).status_code == 503
    assert [(fault["id"], fault["kind"], fault["applied"]) for fault in control("GET", "faults")] == [
        (first, "status_before", 1),
        (second, "hang_after", 0),
    ]
    assert control("DELETE", f"faults/{second}") == {"cleared": 1}
    assert control("DELETE", "faults") == {"cleared": 1}
    assert control("GET", "counters")["faults"] == {"status_before": 1}
    assert set(control("GET", "kinds")) == set(KINDS)
    assert control("POST", "refuse", {"seconds": 0}) == {"seconds": 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"kind": "nothing"},
        {"kind": ["hang_after"]},
        {"kind": "hang_after", "colour": "red"},
        {"kind": "hang_after", "endpoint": "nowhere"},
        {"kind": "list_lag", "endpoint": "purchase"},
        {"kind": "hang_after", "times": 1.5},
        {"kind": "hang_after", "seconds": "5"},
        {"kind": "hang_after", "seconds": -1},
        {"kind": "status_after", "status": 99},
        {"kind": "declined", "form": "poem"},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(provider, wrong):
    answer = SESSION.post(f"{provider.url}/_control/faults", json=wrong, timeout=5)
    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    assert provider.faults() == []


def test_faults_as_start_options():
    assert read_fault("reset_after") == {"kind": "reset_after"}
    assert read_fault("declined:form=html,times=3,seconds=0.5,phone_number=+1917") == {
        "kind": "declined",
        "form": "html",
        "times": 3,
        "seconds": 0.5,
        "phone_number": "+1917",
    }
    with pytest.raises(BadFault):
        read_fault("declined:times=many")


def test_every_kind_acts_and_is_harmless_to_the_next_call(tmp_path):
    def is_well():
        with contextlib.suppress(requests.ConnectionError):
            return call(provider).status_code == 200

    with server.running(tmp_path, rate_limit=0, practice=False, plain_numbers=50) as provider:
        for name, kind in KINDS.items():
            seconds = {"seconds": 0} if "seconds" in kind.defaults and name != "list_lag" else {}
            provider.set_fault(name, times=1, **seconds)
            if kind.endpoint == "purchase":
                buy_raw(provider)
            else:
                call(provider, path={"list": LIST, "available": OFFERS}[kind.endpoint])
            provider.clear_faults()
            wait_for(is_well)
        assert set(provider.counters()["faults"]) == set(KINDS)
