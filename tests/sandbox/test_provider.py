"""The sandbox provider as documented: over real HTTP on 127.0.0.1, without Django."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import phonenumbers
import pytest
import requests

from sandbox import keys, practice, server
from sandbox.bad_answers import KINDS as BAD_ANSWERS
from sandbox.bad_lists import KINDS as BAD_LISTS
from sandbox.inventory import TYPES, Inventory
from sandbox.plans import NUMBER_TYPES, PLANS

SESSION = requests.Session()
SESSION.trust_env = False
ROOT = Path(__file__).parent.parent.parent
NOT_FOUND = {"error": "Resource not found"}
UNAUTHORIZED = {"error": "Unauthorized"}


class Client:
    """A client with one key."""

    def __init__(self, provider, key=keys.ACCOUNT_KEY):
        self.url = provider.api_url
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}

    def call(self, method, path, **options):
        headers = {**self.headers, **options.pop("headers", {})}
        return SESSION.request(method, self.url + path, headers=headers, timeout=5, **options)

    def get(self, path, **params):
        return self.call("GET", path, params=params)

    def buy(self, phone_number, **fields):
        return self.call("POST", "/virtual_numbers/purchase", json={"phone_number": phone_number, **fields})

    def listed(self):
        return [number["phone_number"] for number in self.get("/virtual_numbers").json()["data"]]

    def offered(self, **params):
        return self.get("/virtual_numbers/available", **params).json()["data"]


@pytest.fixture
def provider(tmp_path):
    with server.running(tmp_path / "state", rate_limit=0, slow_seconds=0.3) as provider:
        yield provider


@pytest.fixture
def client(provider):
    return Client(provider)


def control(provider, method, path, body=None):
    return SESSION.request(method, f"{provider.url}/_control/{path}", json=body, timeout=5)


def list_form(phone_number, *, id=1001, name=None, country_code="US"):
    return {
        "id": id,
        "phone_number": phone_number,
        "name": name,
        "country_code": country_code,
        "active": True,
        "ai_receptionist_enabled": False,
        "operators": [],
        "operators_count": 0,
    }


# Inventory


def test_every_number_on_offer_is_valid_of_its_type_and_unique():
    inventory = Inventory()
    seen = set()
    for (country_code, number_type), plan in PLANS.items():
        offers = inventory.offers(country_code, number_type)
        endings = [offer.phone_number[-3:] for offer in offers]
        assert [ending for ending in endings if ending[:2] == "99"] == list(practice.BY_ENDING), plan
        assert len(offers) == (505 if (plan.country_code, plan.number_type) == ("US", "local") else 25)
        for offer in offers:
            parsed = phonenumbers.parse(offer.phone_number)
            assert phonenumbers.is_valid_number_for_region(parsed, country_code), offer
            assert phonenumbers.number_type(parsed) in TYPES[number_type], offer
            assert inventory.find(offer.phone_number) == offer
            seen.add(offer.phone_number)
    assert len(seen) == 25 * len(PLANS) + 480
    assert len({country_code for country_code, _ in PLANS}) >= 20
    assert {number_type for _, number_type in PLANS} == set(NUMBER_TYPES)
    assert {("US", "mobile"), ("US", "local"), ("US", "toll-free")} <= set(PLANS)
    assert {"GB", "DE", "FR"} <= {country_code for country_code, _ in PLANS}


def test_the_same_seed_offers_the_same_numbers():
    assert Inventory(3).offers("DE", "local") == Inventory(3).offers("DE", "local")
    assert Inventory(3).offers("DE", "local") != Inventory(4).offers("DE", "local")


@pytest.mark.parametrize(
    "phone_number", ["", "+", "15551234567", "+15551234567", "+1917", "x" * 500, "+1917\x00"]
)
def test_a_number_that_was_never_on_offer_is_not_found(phone_number):
    assert Inventory().find(phone_number) is None


def test_available_shows_whole_offers_of_us_mobile_by_default(client):
    offers = client.offered()

    assert offers[:-1] == client.offered(country="us", number_type="mobile")[:-1]  # the last one gets dearer
    assert offers[0] == {
        "phone_number": offers[0]["phone_number"],
        "country_code": "US",
        "number_type": "mobile",
        "upfront_cost": offers[0]["upfront_cost"],
        "monthly_cost": offers[0]["monthly_cost"],
        "features": ["sms", "voice", "mms"],
        "region_information": [
            {"region_type": "country", "region_name": "United States"},
            {"region_type": "state", "region_name": "New York"},
            {"region_type": "city", "region_name": "New York"},
        ],
    }
    assert all(re.fullmatch(r"\d+\.\d\d", offer["monthly_cost"]) for offer in offers)
    assert [offer["number_type"] for offer in client.offered(country="gb", number_type="toll-free")] == [
        "toll-free"
    ] * 25


def test_available_is_empty_where_there_is_no_such_plan(client):
    assert client.offered(country="US", number_type="national") == []
    assert client.offered(country="ZZ") == []


@pytest.mark.parametrize(
    "params", [{"country": "USA"}, {"country": "1"}, {"number_type": "fax"}, {"country": "é1"}]
)
def test_available_refuses_odd_values_in_the_documented_shape(client, params):
    answer = client.get("/virtual_numbers/available", **params)

    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]


# Buying


def test_a_purchase_is_listed_recorded_and_gone_from_the_offers(provider, client):
    phone_number = provider.offers()[0]
    payload = {
        "phone_number": phone_number,
        "name": "Front desk",
        "country_code": "US",
        "monthly_cost": "1.00",
    }

    answer = client.call("POST", "/virtual_numbers/purchase", json=payload)

    bought = list_form(phone_number, name="Front desk")
    assert (answer.status_code, answer.json()) == (201, {"data": bought})
    assert answer.headers["Content-Type"].startswith("application/json")
    assert client.get("/virtual_numbers").json() == {"data": [bought]}
    assert client.get("/virtual_numbers/1001").json() == {
        "data": {
            "id": 1001,
            "phone_number": phone_number,
            "name": "Front desk",
            "country_code": "US",
            "active": True,
            "recording": True,
            "routing_strategy": "priority",
            "ai_receptionist_enabled": False,
            "stats": {
                "total_calls": 0,
                "answered_calls": 0,
                "missed_calls": 0,
                "average_duration_seconds": 0,
            },
            "operators": [],
            "available_operators": [],
            "recent_calls": [],
        }
    }
    sales = Client(provider, keys.SALES_KEY)
    assert phone_number not in [offer["phone_number"] for offer in sales.offered()]
    [entry] = provider.ledger()
    assert entry | {"time": ""} == {
        "sequence": 1,
        "time": "",
        "key": keys.ACCOUNT_KEY[-4:],
        "phone_number": phone_number,
        "id": 1001,
        "project_id": None,
        "country_code": "US",
        "payload": payload,
    }
    assert [json.loads(line) for line in (provider.state.directory / "ledger.jsonl").open()] == [entry]


def test_a_number_is_sold_once_even_to_many_at_the_same_moment(provider, monkeypatch):
    phone_number = provider.offers()[0]
    barrier = threading.Barrier(12)
    monkeypatch.setattr(
        provider.state, "is_sold", lambda phone_number: False
    )  # every thread has just seen it unsold

    def buy(number):
        client = Client(provider, [keys.SALES_KEY, keys.SUPPORT_KEY][number % 2])
        barrier.wait()
        return client.buy(phone_number)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(buy, range(12)))

    assert sorted(answer.status_code for answer in answers) == [201] + [422] * 11
    refused = {answer.text for answer in answers if answer.status_code == 422}
    assert refused == {json.dumps({"error": f"{phone_number} is no longer available"})}
    assert len(provider.ledger()) == 1
    assert provider.counters()["purchase_posts"] == {phone_number: 12}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, "phone_number is required"),
        ({"phone_number": None}, "phone_number is required"),
        ({"phone_number": " "}, "phone_number is required"),
        ({"phone_number": 15551234567}, "phone_number must be a string"),
        ({"phone_number": "+15551234567"}, "+15551234567 is no longer available"),
        ({"requirement_group_id": 9000}, "Requirement group must be approved before purchasing"),
        ({"requirement_group_id": "17"}, "requirement_group_id must be an integer"),
        ({"requirement_group_id": True}, "requirement_group_id must be an integer"),
        ({"upfront_cost": 1.0}, "upfront_cost must be a string"),
        ({"country_code": "USA"}, "country_code must be a two-letter code"),
        ({"number_type": []}, "number_type must be one of mobile, local, toll-free, national"),
    ],
)
def test_a_purchase_that_is_not_right_is_refused_and_buys_nothing(provider, client, fields, error):
    good = {"phone_number": provider.offers()[0]} if fields and "phone_number" not in fields else {}

    answer = client.call("POST", "/virtual_numbers/purchase", json=good | fields)

    assert (answer.status_code, answer.json()) == (422, {"error": error})
    assert provider.ledger() == []


def test_a_purchase_with_an_approved_group_and_unknown_fields_is_bought(provider, client):
    assert (
        client.buy(provider.offers()[0], requirement_group_id=17, colour="red", name=None).status_code == 201
    )


# Scope and permissions


def test_a_bound_key_sees_only_its_own_project(provider, client):
    sales, support = Client(provider, keys.SALES_KEY), Client(provider, keys.SUPPORT_KEY)
    mine, theirs = provider.offers()[:2]
    assert sales.buy(mine).json()["data"]["id"] == 1001
    assert support.buy(theirs).json()["data"]["id"] == 1002

    assert (sales.listed(), support.listed()) == ([mine], [theirs])
    assert client.listed() == [mine, theirs]
    assert sales.get("/virtual_numbers/1001").status_code == 200
    for answer in (
        sales.get("/virtual_numbers/1002"),
        sales.call("PATCH", "/virtual_numbers/1002", json={"name": "mine"}),
        sales.get("/virtual_numbers/9999"),
        sales.get("/virtual_numbers/x"),
    ):
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


def test_projects_are_sorted_and_a_bound_key_gets_its_own(provider, client):
    names = [project["name"] for project in client.get("/projects").json()["data"]]
    assert names == ["Logistics", "Sales", "Support"]
    [own] = Client(provider, keys.SUPPORT_KEY).get("/projects").json()["data"]
    assert own == {
        "id": keys.SUPPORT_PROJECT,
        "name": "Support",
        "language": "en",
        "industry": None,
        "created_at": own["created_at"],
        "updated_at": own["updated_at"],
    }


READS = ["/virtual_numbers", "/virtual_numbers/available", "/virtual_numbers/1001", "/projects"]
WRITES = [("POST", "/virtual_numbers/purchase"), ("PATCH", "/virtual_numbers/1001"), ("POST", "/operators")]


def test_a_key_without_the_permission_is_refused_with_the_documented_text(provider):
    for path in READS:
        answer = Client(provider, keys.WRITE_ONLY_KEY).get(path)
        assert (answer.status_code, answer.json()) == (403, {"error": "Read permission required"})
    for method, path in WRITES:
        answer = Client(provider, keys.READ_ONLY_KEY).call(method, path, json={})
        assert (answer.status_code, answer.json()) == (403, {"error": "Write permission required"})
    assert Client(provider, keys.WRITE_ONLY_KEY).buy(provider.offers()[0]).status_code == 201
    assert len(Client(provider, keys.DELETE_KEY).listed()) == 1


@pytest.mark.parametrize("key", [None, keys.EXPIRED_KEY, keys.REVOKED_KEY, "idc_" + "x" * 32, "é"])
def test_a_missing_or_wrong_key_is_unauthorized(provider, key):
    client = Client(provider, key and key.encode())
    client.headers = {"Authorization": b"Bearer " + key.encode()} if key else {}

    assert (client.get("/virtual_numbers").status_code, client.get("/virtual_numbers").json()) == (
        401,
        UNAUTHORIZED,
    )
    assert client.call("POST", "/virtual_numbers/purchase", json={}).status_code == 401
    assert client.call("POST", "/operators", json={}).json() == {"error": "Invalid API key"}
    assert client.get("/projects").json() == {"error": "Invalid or expired API key"}


def test_demo_keys_have_the_documented_shape_and_differ_in_their_end():
    secrets = [key.secret for key in keys.BUILT_IN_KEYS]
    assert all(re.fullmatch(r"idc_[A-Za-z0-9]{32}", secret) for secret in secrets)
    assert len({secret[-4:] for secret in secrets}) == len(secrets)


def test_the_rate_limit_counts_each_key_and_says_when_to_come_back(provider, client):
    provider.set_rate_limit(3)

    statuses = [client.get("/projects").status_code for _ in range(4)]
    answer = client.buy(provider.offers()[0])

    assert statuses == [200, 200, 200, 429]
    assert answer.status_code == 429
    assert list(answer.json()) == ["error"]
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert Client(provider, keys.SALES_KEY).get("/projects").status_code == 200
    assert provider.ledger() == []


# Changing


def test_a_patch_changes_what_is_sent_and_nothing_else(provider, client):
    client.buy(provider.offers()[0], name="Old")
    before = client.get("/virtual_numbers/1001").json()["data"]

    answer = client.call(
        "PATCH", "/virtual_numbers/1001", json={"recording": False, "id": 5, "project_id": 12}
    )

    assert (answer.status_code, answer.json()) == (200, {"data": before | {"recording": False}})
    answer = client.call(
        "PATCH", "/virtual_numbers/1001", json={"name": "New", "routing_strategy": "round_robin"}
    )
    assert answer.json()["data"] == before | {
        "recording": False,
        "name": "New",
        "routing_strategy": "round_robin",
    }
    assert client.call("PATCH", "/virtual_numbers/1001").json() == answer.json()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"recording": "no"}, "Recording must be true or false"),
        ({"active": None}, "Active must be true or false"),
        ({"name": 5}, "Name must be a string"),
        ({"routing_strategy": ["priority"]}, "Routing strategy is not included in the list"),
    ],
)
def test_a_patch_with_an_odd_value_changes_nothing(provider, client, changes, error):
    client.buy(provider.offers()[0])

    answer = client.call("PATCH", "/virtual_numbers/1001", json={"name": "New", **changes})

    assert (answer.status_code, answer.json()) == (422, {"errors": [error]})
    assert client.listed() == [provider.ledger()[0]["phone_number"]]
    assert client.get("/virtual_numbers/1001").json()["data"]["name"] is None


def test_an_operator_needs_a_name_and_a_phone_number(provider, client):
    answer = client.call("POST", "/operators", json={"name": " "})
    assert answer.status_code == 422
    assert answer.json() == {"errors": ["Name can't be blank", "Phone number can't be blank"]}

    answer = client.call("POST", "/operators", json={"name": "Ada Byron", "phone_number": "(212) 555-0123"})
    assert answer.status_code == 201
    assert answer.json()["data"] == {
        "id": 501,
        "name": "Ada Byron",
        "phone_number": "+12125550123",
        "email": None,
        "active": True,
        "initials": "AB",
        "virtual_numbers_count": 0,
    }


# Kept on disk


def test_a_restart_keeps_what_was_bought_and_changed(tmp_path):
    with server.running(tmp_path, rate_limit=0) as provider:
        first, second, third = provider.offers()[:3]
        client = Client(provider)
        client.buy(first, name="One")
        client.buy(second)
        client.call("PATCH", "/virtual_numbers/1001", json={"recording": False})
        assert provider.release(second)
        provider.set_cost(third, monthly_cost="7.77")
        provider.revoke_key("support")
        added = provider.add_key("fresh", project_id=77)
        ledger = provider.ledger()

    with server.running(tmp_path, rate_limit=0) as provider:
        client = Client(provider)
        assert provider.ledger() == ledger
        assert client.get("/virtual_numbers").json()["data"] == [list_form(first, name="One")]
        assert client.get("/virtual_numbers/1001").json()["data"]["recording"] is False
        assert client.buy(second).status_code == 422
        assert {offer["phone_number"]: offer["monthly_cost"] for offer in client.offered()}[third] == "7.77"
        assert Client(provider, keys.SUPPORT_KEY).get("/projects").status_code == 401
        assert Client(provider, added.secret).get("/projects").json()["data"][0]["id"] == 77
        assert client.buy(third).json()["data"]["id"] == 1003


def test_a_ledger_line_that_was_cut_by_a_kill_is_a_purchase_that_was_not_made(tmp_path):
    with server.running(tmp_path) as provider:
        first, second = provider.offers()[:2]
        Client(provider).buy(first)
    with (tmp_path / "ledger.jsonl").open("a") as ledger:
        ledger.write('{"sequence": 2, "phone_number": "' + second)

    with server.running(tmp_path) as provider:
        assert [entry["phone_number"] for entry in provider.ledger()] == [first]
        assert Client(provider).buy(second).json()["data"]["id"] == 1002
    assert [json.loads(line)["id"] for line in (tmp_path / "ledger.jsonl").open()] == [1001, 1002]


def test_a_full_disk_refuses_the_purchase_and_leaves_the_ledger_whole(provider, client, monkeypatch):
    client.buy(provider.offers()[0])
    write = os.write

    def write_a_part_then_fail(descriptor, data):
        write(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("sandbox.state.os.write", write_a_part_then_fail)
        answer = client.buy(provider.offers()[0])

    assert (answer.status_code, answer.json()) == (500, {"error": "Internal server error"})
    assert client.buy(provider.offers()[0]).json()["data"]["id"] == 1002
    assert [json.loads(line)["id"] for line in (provider.state.directory / "ledger.jsonl").open()] == [
        1001,
        1002,
    ]


# Requests that are not right


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_a_method_or_path_that_is_not_documented_is_not_found(client, method):
    answer = client.call(method, "/virtual_numbers/purchase")
    assert answer.status_code == 404
    assert answer.text == ("" if method == "HEAD" else json.dumps(NOT_FOUND))
    assert client.call(method, "/nowhere").status_code == 404


@pytest.mark.parametrize(
    "path", ["", "/", "x", "/virtual_numbers/", "/virtual_numbers/1/2", "/virtual_numbers/-1"]
)
def test_a_path_beside_the_documented_ones_is_not_found(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"+1"',
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a": NaN}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_not_a_json_object_is_a_bad_request(provider, client, body):
    answer = client.call(
        "POST", "/virtual_numbers/purchase", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


def test_a_body_of_another_type_is_a_bad_request(provider, client):
    answer = client.call("POST", "/virtual_numbers/purchase", data={"phone_number": provider.offers()[0]})
    assert (answer.status_code, answer.json()) == (400, {"error": "Content-Type must be application/json"})


def exchange(provider, *requests_):
    """Send raw requests one after the other on one connection; the heads and bodies of the answers."""
    with socket.create_connection(("127.0.0.1", provider.port), timeout=5) as connection:
        file = connection.makefile("rb")
        answers = []
        for request in requests_:
            connection.sendall(request)
            status = int(file.readline().split()[1])
            headers = {}
            while line := file.readline().strip():
                name, _, value = line.decode().partition(": ")
                headers[name] = value
            answers.append(
                (status, file.read(int(headers.get("Content-Length", 0))), headers.get("Connection"))
            )
        return answers


def test_a_body_beyond_a_megabyte_is_refused_and_the_client_gets_to_read_it(provider):
    head = b"POST /api/v1/public/virtual_numbers/purchase HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n"

    answers = exchange(provider, head + b"x" * 8_000_000)

    assert answers == [(413, b'{"error": "Request body is too large"}', "close")]


def test_one_connection_serves_many_requests_even_refused_ones(provider):
    authorization = f"Authorization: Bearer {keys.ACCOUNT_KEY}\r\n"
    bad = "POST /api/v1/public/nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\nGET / x"
    good = f"GET /api/v1/public/virtual_numbers HTTP/1.1\r\nHost: x\r\n{authorization}\r\n"
    last = (
        f"GET /api/v1/public/virtual_numbers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\r\n"
    )

    answers = exchange(provider, bad.encode(), good.encode(), last.encode())

    empty = b'{"data": []}'
    assert answers == [(404, json.dumps(NOT_FOUND).encode(), None), (200, empty, None), (200, empty, "close")]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_a_request_that_cannot_be_read_gets_an_error_and_the_end_of_the_connection(
    provider, request_, status
):
    [(answered, body, connection)] = exchange(provider, request_)

    assert (answered, connection) == (status, "close")
    assert list(json.loads(body)) == ["error"]


def test_a_fault_of_the_sandbox_itself_is_a_documented_500(provider, client, monkeypatch):
    monkeypatch.setattr(provider.api, "projects", lambda call: 1 / 0)
    answer = client.get("/projects")
    assert (answer.status_code, answer.json()) == (500, {"error": "Internal server error"})


# Practice numbers


def practice_number(provider, rule):
    ending = next(ending for ending, its_rule in practice.BY_ENDING.items() if its_rule == rule)
    return next(number for number in provider.offers() if number.endswith(ending))


def test_the_sold_out_number_is_listed_and_refused(provider, client):
    phone_number = practice_number(provider, practice.SOLD_OUT)
    answer = client.buy(phone_number)
    assert (answer.status_code, answer.json()) == (422, {"error": f"{phone_number} is no longer available"})
    assert phone_number in [offer["phone_number"] for offer in client.offered()]


def test_the_slow_number_is_bought_at_once_and_answered_late(provider, client):
    phone_number = practice_number(provider, practice.SLOW)
    answer = client.buy(phone_number)
    assert answer.status_code == 201
    assert answer.elapsed.total_seconds() >= 0.3


def test_the_answer_of_the_lost_number_never_comes(provider, client):
    phone_number = practice_number(provider, practice.LOST)
    with pytest.raises(requests.ConnectionError):
        client.buy(phone_number)
    assert client.listed() == [phone_number]


def test_the_number_with_papers_needs_an_approved_group(provider, client):
    phone_number = practice_number(provider, practice.PAPERS)
    refusal = {"error": "Requirement group must be approved before purchasing"}
    assert client.buy(phone_number).json() == refusal
    assert client.buy(phone_number, requirement_group_id=9001).json() == refusal
    assert client.buy(phone_number, requirement_group_id=17).status_code == 201


def test_the_dearer_number_costs_more_each_time_until_its_cost_is_set(provider, client):
    phone_number = practice_number(provider, practice.DEARER)

    def costs():
        [offer] = [offer for offer in client.offered() if offer["phone_number"] == phone_number]
        return float(offer["upfront_cost"]), float(offer["monthly_cost"])

    first, second, third = costs(), costs(), costs()
    assert first < second < third
    assert second == pytest.approx([cost * 1.1 for cost in first], abs=0.01)
    provider.set_cost(phone_number, monthly_cost="1.00", upfront_cost="1.00")
    assert costs() == costs() == (1, 1)


def test_practice_can_be_turned_off(tmp_path):
    with server.running(tmp_path, practice=False) as provider:
        assert Client(provider).buy(practice_number(provider, practice.SOLD_OUT)).status_code == 201


# The control endpoint


def test_keys_are_added_replaced_and_revoked_at_the_control_endpoint(provider):
    added = control(provider, "POST", "keys", {"name": "night", "permissions": ["read"], "project_id": 11})
    client = Client(provider, added.json()["data"]["secret"])
    assert client.get("/projects").json()["data"][0]["id"] == 11
    moved = {**added.json()["data"], "project_id": 12}
    assert control(provider, "POST", "keys", moved).status_code == 200
    assert client.get("/projects").json()["data"][0]["id"] == 12
    assert control(provider, "DELETE", "keys/night").status_code == 200
    assert client.get("/projects").status_code == 401
    assert control(provider, "DELETE", "keys/nobody").status_code == 404
    for wrong in (
        {"name": ""},
        {"name": "a", "secret": "x"},
        {"name": "a", "colour": 1},
        {},
        {"name": "a", "expires_at": "x"},
    ):
        assert control(provider, "POST", "keys", wrong).status_code == 422, wrong
    text = control(provider, "GET", "keys").text
    assert "night" in text
    assert "idc_" not in text


def test_a_released_number_leaves_the_account_and_does_not_come_back(provider, client):
    phone_number = provider.offers()[0]
    client.buy(phone_number)

    assert control(provider, "POST", "release", {"phone_number": phone_number}).status_code == 200

    assert client.listed() == []
    assert client.get("/virtual_numbers/1001").status_code == 404
    assert client.buy(phone_number).status_code == 422
    assert control(provider, "POST", "release", {"phone_number": phone_number}).status_code == 404
    assert len(control(provider, "GET", "ledger").json()["data"]) == 1


def test_counters_show_requests_by_key_and_purchases_by_number(provider, client):
    phone_number = provider.offers()[0]
    client.buy(phone_number)
    client.buy(phone_number)
    client.call("POST", "/virtual_numbers/purchase", json={})
    Client(provider, keys.SALES_KEY).get("/projects")
    Client(provider, None).get("/projects")
    Client(provider, "wrong").get("/projects")

    assert control(provider, "GET", "counters").json()["data"] == {
        "total": 6,
        "requests": {"purchase": {"account": 3}, "projects": {"sales": 1, "none": 1, "unknown": 1}},
        "purchase_posts": {phone_number: 2, "": 1},
        "faults": {},
    }
    rows = control(provider, "GET", "requests?after=1").json()["data"]
    assert [(row["number"], row["endpoint"]) for row in rows[:2]] == [(2, "purchase"), (3, "purchase")]


def test_a_reset_leaves_an_empty_account(provider, client):
    phone_number = provider.offers()[0]
    client.buy(phone_number)
    provider.release(phone_number)
    provider.set_fault("status_before")
    provider.add_key("extra")

    assert control(provider, "POST", "reset").status_code == 200

    assert (provider.ledger(), provider.faults(), provider.counters()["total"]) == ([], [], 0)
    assert "extra" not in control(provider, "GET", "keys").text
    assert client.buy(phone_number).json() == {"data": list_form(phone_number)}
    assert client.listed() == [phone_number]


def test_the_control_endpoint_can_be_left_out(tmp_path):
    with server.running(tmp_path, control=False) as provider:
        assert control(provider, "GET", "ledger").json() == NOT_FOUND


def test_an_unknown_control_call_is_not_found(provider):
    assert control(provider, "GET", "nothing").status_code == 404
    assert control(provider, "GET", "ledger/1").status_code == 404
    assert control(provider, "DELETE", "ledger").status_code == 404


# As a program


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "sandbox", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_program_says_when_it_is_ready_keeps_its_state_and_ends_at_once(tmp_path, ending):
    process = start(
        "--port", 0, "--state", tmp_path, "--key", f"mine=idc_{'k' * 32}", "--fault", "hang_after:skip=1"
    )
    ready = process.stdout.readline()
    url = re.fullmatch(r"Sandbox provider ready at (http://127\.0\.0\.1:\d+/api/v1/public)\n", ready)[1]
    provider = type("Elsewhere", (), {"api_url": url})
    client = Client(provider, "idc_" + "k" * 32)
    phone_number = client.offered()[0]["phone_number"]
    assert client.buy(phone_number, name="idc_" + "p" * 32).status_code == 201
    client.get("/virtual_numbers?key=idc_" + "q" * 32)

    errors = [process.stderr.readline() for _ in range(3)]  # one line per call, written after its answer
    process.send_signal(ending)
    errors += process.communicate(timeout=2)[1].splitlines()

    assert process.returncode == (-9 if ending == signal.SIGKILL else 0)
    assert len(errors) == 3
    assert not re.search("idc_[A-Za-z0-9]", "".join(errors))
    with server.running(tmp_path) as provider:
        assert Client(provider).listed() == [phone_number]


def test_a_busy_port_another_host_and_a_used_directory_are_refused_in_a_sentence(provider, tmp_path):
    port, used = provider.port, provider.state.directory
    cases = [
        (["--port", port, "--state", tmp_path / "b"], f"Port {port} is in use by another program.\n"),
        (
            ["--port", 0, "--host", "0.0.0.0", "--state", tmp_path / "c"],
            "The sandbox listens on 127.0.0.1 only.\n",
        ),
        (["--port", 0, "--state", used], f"Another sandbox already keeps its state in {used}.\n"),
    ]
    for process, sentence in [(start(*arguments), sentence) for arguments, sentence in cases]:
        assert process.communicate(timeout=5) == ("", sentence)
        assert process.returncode == 1


def test_the_help_and_the_readme_name_every_rule_kind_and_key():
    readme = (ROOT / "sandbox" / "README.md").read_text()
    helped = subprocess.run(
        [sys.executable, "-m", "sandbox", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert practice.RULES in helped
    for word in [*practice.BY_ENDING, *BAD_ANSWERS, *BAD_LISTS]:
        assert word in readme
    for key in keys.BUILT_IN_KEYS:
        assert key.secret in readme
