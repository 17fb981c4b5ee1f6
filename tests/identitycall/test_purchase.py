"""Every row of the outcome table of a purchase call, on real sockets, plain and with TLS."""

import gzip
import json

import pytest
import requests
import responses

from purchasing.identitycall import errors
from purchasing.identitycall.client import Client, Fence
from purchasing.identitycall.resources import OwnedNumber
from tests.wire import authority_file, serving

KEY = "idc_" + "0123456789abcdefABCDEF0123456789"
NUMBER = "+15551234567"
ORDER = b'{"phone_number": "+15551234567",  "name": "Front desk \xe2\x98\x8e"}'
BOUGHT = {"id": 7, "phone_number": NUMBER, "name": "Front desk", "country_code": "US", "active": True}
CREATED = json.dumps({"data": BOUGHT}).encode()
DECLINED = b'{"error": "Number is no longer available"}'


def client_of(url, **options):
    options = {"connect_timeout": 9, "read_timeout": 9, "deadline": 9, "verify": authority_file()} | options
    return Client(url, KEY, **options)


def outcome(url, *, body=ORDER, phone_number=NUMBER, fence=None, **options):
    """Make one purchase call; return what it returns or raises."""
    try:
        return client_of(url, **options).purchase_number(
            body, phone_number=phone_number, fence=fence or Fence(60)
        )
    except errors.ProviderError as error:
        return error


def created(**changes):
    return json.dumps({"data": BOUGHT | changes}).encode()


def chunked(body, end=b"0\r\n\r\n"):
    head = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%b\r\n" % (len(body), body) + end


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request):
    return request.param


PURCHASED = {
    "whole 201": lambda peer: peer.answer(201, CREATED),
    "chunked": lambda peer: peer.send(chunked(CREATED)),
    "chunked, many parts": lambda peer: peer.send(
        chunked(CREATED[:20], b"%x\r\n%b\r\n0\r\n\r\n" % (len(CREATED) - 20, CREATED[20:]))
    ),
    "no length, ended by closing": lambda peer: peer.answer(201, CREATED, length=None),
    "100 Continue first": lambda peer: (
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n") or peer.answer(201, CREATED)
    ),
    "identity said": lambda peer: peer.answer(201, CREATED, "Content-Encoding: identity"),
    "length said twice": lambda peer: peer.answer(201, CREATED, f"Content-Length: {len(CREATED)}"),
    "slow but in time": lambda peer: peer.drip(b"HTTP/1.1 201 X\r\n", 0.002) or peer.send(b"\r\n" + CREATED),
    "odd extra fields": lambda peer: peer.answer(201, created(name=[1], active="yes", operators={"a": None})),
    "largest id": lambda peer: peer.answer(201, created(id=2**63 - 1)),
}


@pytest.mark.parametrize("case", PURCHASED)
def test_full_201_with_id_and_number_is_purchased(case, tls):
    with serving(PURCHASED[case], tls=tls) as server:
        bought = outcome(server.url)

    assert isinstance(bought, OwnedNumber)
    assert bought.phone_number == NUMBER
    assert (server.connections, len(server.requests)) == (1, 1)


def test_bought_number_is_read_from_the_answer():
    with serving(lambda peer: peer.answer(201, CREATED)) as server:
        assert outcome(server.url) == OwnedNumber(7, NUMBER, "Front desk", "US", True)


def test_request_is_exactly_the_bytes_with_the_key_in_one_header(tls):
    with serving(lambda peer: peer.answer(201, CREATED), tls=tls) as server:
        outcome(server.url)

    (request,) = server.requests
    assert (request.method, request.target) == ("POST", "/api/v1/public/virtual_numbers/purchase")
    assert request.body == ORDER
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "number-desk",
        "content-type": "application/json",
        "content-length": str(len(ORDER)),
        "connection": "close",
        "authorization": f"Bearer {KEY}",
    }
    assert request.raw.count(KEY.encode()) == 1


def nested(depth):
    return b'{"data":' * depth + b"1" + b"}" * depth


BAD_201 = {
    "empty": b"",
    "garbage": b"\x00\xff garbage",
    "html": b"<html>bought</html>",
    "array": b"[]",
    "null": b"null",
    "no data": json.dumps(BOUGHT).encode(),
    "data is a list": json.dumps({"data": [BOUGHT]}).encode(),
    "data is null": b'{"data": null}',
    "no id": b'{"data": {"phone_number": "+15551234567"}}',
    "id as text": created(id="7"),
    "id as fraction": created(id=7.0),
    "id true": created(id=True),
    "id zero": created(id=0),
    "id negative": created(id=-7),
    "id null": created(id=None),
    "id too large": created(id=2**63),
    "id of 5000 digits": b'{"data": {"id": ' + b"1" * 5000 + b', "phone_number": "+15551234567"}}',
    "id with exponent": b'{"data": {"id": 7e0, "phone_number": "+15551234567"}}',
    "id twice": b'{"data": {"id": 7, "id": 8, "phone_number": "+15551234567"}}',
    "data twice": b'{"data": null, "data": ' + json.dumps(BOUGHT).encode() + b"}",
    "other number": created(phone_number="+15551234568"),
    "number with spaces": created(phone_number="+1 555 123 4567"),
    "number as integer": created(phone_number=15551234567),
    "no number": b'{"data": {"id": 7}}',
    "not utf-8": CREATED.replace(b"Front", b"\xff\xfe"),
    "utf-16": CREATED.decode().encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf" + CREATED,
    "json, then more": CREATED + CREATED,
    "NaN": CREATED.replace(b"7", b"NaN", 1),
    "nested deeply": nested(6000),
    "exponent without end": b'{"data": {"id": 1e' + b"9" * 400 + b', "phone_number": "+15551234567"}}',
}


@pytest.mark.parametrize("case", BAD_201)
def test_201_that_does_not_show_the_number_is_unconfirmed(case):
    with serving(lambda peer: peer.answer(201, BAD_201[case])) as server:
        error = outcome(server.url)

    assert type(error) is errors.Unconfirmed
    assert error.status == 201
    assert (server.connections, len(server.requests)) == (1, 1)


def head_of(status, *headers):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode("latin-1")


UNCONFIRMED = {
    "reset before reading the answer": lambda peer: peer.reset(),
    "closed without a word": lambda peer: None,
    "silence": lambda peer: peer.hold(),
    "status line cut": lambda peer: peer.send(b"HTTP/1.1 20"),
    "status line, then reset": lambda peer: peer.send(b"HTTP/1.1 201 Created\r\n") or peer.reset(),
    "head cut": lambda peer: peer.send(b"HTTP/1.1 201 Created\r\nContent-Le"),
    "head cut before the empty line": lambda peer: peer.send(b"HTTP/1.1 429 Slow down\r\nRetry-After: 5\r\n"),
    "head of a refusal cut": lambda peer: peer.send(b"HTTP/1.1 401 Unauthorized"),
    "head, then silence": lambda peer: peer.send(b"HTTP/1.1 201 X\r\n") or peer.hold(),
    "body, then silence": lambda peer: peer.answer(201, CREATED, length=999) or peer.hold(),
    "body shorter than its length": lambda peer: peer.answer(201, CREATED, length=999),
    "body cut by a reset": lambda peer: peer.answer(201, CREATED, length=999) or peer.reset(),
    "body cut in the middle": lambda peer: peer.answer(201, CREATED[:-5], length=len(CREATED)),
    "no length and cut": lambda peer: peer.answer(201, CREATED[:-1], length=None),
    "no length and open": lambda peer: peer.answer(201, CREATED, length=None) or peer.hold(),
    "chunks without an end": lambda peer: peer.send(chunked(CREATED, b"")),
    "chunks, then silence": lambda peer: peer.send(chunked(CREATED, b"")) or peer.hold(),
    "chunks of nonsense": lambda peer: peer.send(chunked(CREATED, b"zz\r\n\r\n")),
    "chunk of a negative size": lambda peer: peer.send(chunked(CREATED, b"-5\r\nabc\r\n0\r\n\r\n")),
    "drip of the status line": lambda peer: peer.drip(b"HTTP/1.1 201 " + b"x" * 9999),
    "drip of the head": lambda peer: peer.drip(b"HTTP/1.1 201 Created\r\nX-Slow: " + b"x" * 9999),
    "drip of the body": lambda peer: (
        peer.send(head_of(201, "Content-Length: 9999")) or peer.drip(b" " * 9999)
    ),
    "drip of chunks": lambda peer: (
        peer.send(head_of(201, "Transfer-Encoding: chunked")) or peer.drip(b"1\r\n \r\n" * 999)
    ),
    "drip of a whole answer": lambda peer: peer.drip(
        head_of(201, f"Content-Length: {len(CREATED)}") + CREATED, 0.05
    ),
    "100 without end": lambda peer: peer.drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 999, 0.001),
    "103 first": lambda peer: peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n") or peer.answer(201, CREATED),
    "10 MB": lambda peer: peer.answer(201, CREATED + b" " * 10_000_000),
    "10 MB without length": lambda peer: peer.answer(201, CREATED + b" " * 10_000_000, length=None),
    "10 MB in chunks": lambda peer: peer.send(chunked(CREATED + b" " * 10_000_000)),
    "gzip": lambda peer: peer.answer(201, gzip.compress(CREATED), "Content-Encoding: gzip"),
    "gzip bomb": lambda peer: peer.answer(201, gzip.compress(b"0" * 50_000_000), "Content-Encoding: gzip"),
    "said to be gzip": lambda peer: peer.answer(201, CREATED, "Content-Encoding: gzip"),
    "gzip and chunked": lambda peer: peer.send(
        chunked(CREATED).replace(b"Encoding: chunked", b"Encoding: gzip, chunked")
    ),
    "two lengths": lambda peer: peer.answer(201, CREATED, "Content-Length: 5"),
    "two lengths in one line": lambda peer: peer.answer(201, CREATED, length=f"{len(CREATED)}, 5"),
    "negative length": lambda peer: peer.answer(201, CREATED, length=-5),
    "length of words": lambda peer: peer.answer(201, CREATED, length="many"),
    "length of 5000 digits": lambda peer: peer.answer(201, CREATED, length="9" * 5000),
    "length and chunks": lambda peer: peer.send(
        chunked(CREATED).replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n", 1)
    ),
    "length shorter than the body": lambda peer: peer.answer(201, CREATED, length=len(CREATED) - 3),
    "thousand headers": lambda peer: peer.answer(201, CREATED, *(f"X-{n}: {n}" for n in range(1000))),
    "header of a megabyte": lambda peer: peer.answer(201, CREATED, "X-Large: " + "x" * 1_000_000),
    "no header form": lambda peer: peer.answer(201, b"", "no colon here", length=None),
    "no http": lambda peer: peer.send(b"SSH-2.0-OpenSSH_9\r\n" * 3),
    "http 2": lambda peer: peer.send(b"HTTP/2 201 Created\r\n\r\n" + CREATED),
    "status of four digits": lambda peer: peer.send(b"HTTP/1.1 2010 Created\r\n\r\n" + CREATED),
    "status of words": lambda peer: peer.send(b"HTTP/1.1 created\r\n\r\n" + CREATED),
    "101": lambda peer: peer.answer(101, CREATED),
    "200": lambda peer: peer.answer(200, CREATED),
    "202": lambda peer: peer.answer(202, CREATED),
    "204": lambda peer: peer.answer(204),
    "304": lambda peer: peer.answer(304),
    "402": lambda peer: peer.answer(402, DECLINED),
    "408": lambda peer: peer.answer(408, DECLINED),
    "409": lambda peer: peer.answer(409, DECLINED),
    "418": lambda peer: peer.answer(418, DECLINED),
    "500": lambda peer: peer.answer(500, DECLINED),
    "502": lambda peer: peer.answer(502, b"<html>Bad gateway</html>"),
    "503 with Retry-After": lambda peer: peer.answer(503, DECLINED, "Retry-After: 1"),
    "504": lambda peer: peer.answer(504),
    "999": lambda peer: peer.answer(999, CREATED),
}


@pytest.mark.parametrize("case", UNCONFIRMED)
def test_everything_else_is_unconfirmed_after_one_request(case, tls):
    with serving(UNCONFIRMED[case], tls=tls) as server:
        error = outcome_of_one_request(server)

    assert type(error) is errors.Unconfirmed, error
    assert "not known" in str(error)
    assert len(server.requests) == 1


def outcome_of_one_request(server):
    """The outcome of a call that ends soon; repeated with more time if a busy machine did not get to send it."""
    for patience in (1, 5, 20):
        error = outcome(server.url, read_timeout=0.3 * patience, deadline=0.4 * patience)
        if server.requests:
            break
    return error


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (DECLINED, "Number is no longer available"),
        (b'{"errors": ["phone_number is required", "or not"]}', "phone_number is required; or not"),
        (b'{"error": "first", "errors": ["second"]}', "first"),
        (b'{"error": null, "errors": ["second"]}', "second"),
        (b'{"error": "<b>\\u0000line\\r\\nbreak\\u202e</b> \\ud800"}', "<b> line break</b>"),
        (json.dumps({"error": "x" * 60_000}).encode(), "x" * 500),
    ],
)
def test_error_shaped_400_404_422_is_declined_in_the_providers_words(status, body, words, tls):
    with serving(lambda peer: peer.answer(status, body), tls=tls) as server:
        error = outcome(server.url)

    assert type(error) is errors.Declined
    assert (error.status, error.words, str(error)) == (status, words, f"IdentityCall declined: {words}")
    assert (server.connections, len(server.requests)) == (1, 1)


NOT_ERROR_SHAPED = {
    "empty": b"",
    "text": b"Number is no longer available",
    "html": b"<h1>Unprocessable</h1>",
    "list": b'["Number is no longer available"]',
    "text in json": b'"no longer available"',
    "empty error": b'{"error": ""}',
    "blank error": b'{"error": " \\n"}',
    "error object": b'{"error": {"message": "no"}}',
    "error true": b'{"error": true}',
    "no errors": b'{"errors": []}',
    "errors object": b'{"errors": {"phone_number": ["taken"]}}',
    "errors of objects": b'{"errors": [{"detail": "taken"}]}',
    "errors text": b'{"errors": "taken"}',
    "errors mixed": b'{"errors": ["taken", 5]}',
    "errors blank": b'{"errors": [""]}',
    "other key": b'{"message": "taken"}',
    "error twice": b'{"error": "a", "error": "b"}',
    "1 MB": json.dumps({"error": "x" * 1_000_000}).encode(),
    "nested deeply": b'{"error": "no", "x": ' + b"[" * 30_000,
    "not utf-8": b'{"error": "\xff"}',
}


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("case", NOT_ERROR_SHAPED)
def test_other_400_404_422_is_unconfirmed(status, case):
    with serving(lambda peer: peer.answer(status, NOT_ERROR_SHAPED[case])) as server:
        error = outcome(server.url)

    assert (type(error), error.status) == (errors.Unconfirmed, status)


@pytest.mark.parametrize(
    "handler",
    [
        lambda peer: peer.answer(422, DECLINED, length=len(DECLINED) + 1),
        lambda peer: peer.answer(422, DECLINED, length=len(DECLINED) + 1) or peer.reset(),
        lambda peer: peer.answer(422, DECLINED, length=None) or peer.hold(),
        lambda peer: peer.answer(422, DECLINED, "Content-Encoding: br"),
        lambda peer: peer.answer(422, DECLINED, "Content-Length: 3"),
        lambda peer: peer.drip(head_of(422, f"Content-Length: {len(DECLINED)}") + DECLINED, 0.05),
    ],
)
def test_declined_needs_a_whole_answer(handler, tls):
    with serving(handler, tls=tls) as server:
        assert type(outcome_of_one_request(server)) is errors.Unconfirmed


BODIES = {
    "none": lambda peer, status: peer.answer(status),
    "error": lambda peer, status: peer.answer(status, b'{"error": "Write permission required"}'),
    "created": lambda peer, status: peer.answer(status, CREATED),
    "html": lambda peer, status: peer.answer(status, b"<html>"),
    "gzip": lambda peer, status: peer.answer(status, gzip.compress(b"x"), "Content-Encoding: gzip"),
    "10 MB": lambda peer, status: peer.answer(status, b"x" * 10_000_000),
    "cut": lambda peer, status: peer.answer(status, b"x", length=99),
    "silent": lambda peer, status: peer.answer(status, b"x", length=99) or peer.hold(),
    "odd length": lambda peer, status: peer.answer(status, b"x", length="many"),
}


@pytest.mark.parametrize("case", BODIES)
@pytest.mark.parametrize(
    ("status", "kind"), [(401, errors.KeyRefused), (403, errors.KeyRefused), (429, errors.RateLimited)]
)
def test_401_403_429_were_surely_not_carried_out_whatever_the_body(case, status, kind, tls):
    with serving(lambda peer: BODIES[case](peer, status), tls=tls) as server:
        error = outcome(server.url, read_timeout=1)

    assert (type(error), error.status) == (kind, status)
    assert isinstance(error, errors.Unavailable)
    assert (server.connections, len(server.requests)) == (1, 1)


def test_a_refusal_whose_body_was_reset_counts():
    # Without TLS alone: there a reset may take the head with it, and what did not arrive refuses nothing.
    with serving(lambda peer: peer.answer(403, b"x", length=99) or peer.reset()) as server:
        assert type(outcome(server.url)) is errors.KeyRefused


def test_words_of_a_refusal_are_kept():
    with serving(lambda peer: peer.answer(403, b'{"error": "Write permission required"}')) as server:
        assert outcome(server.url).words == "Write permission required"


DATE = "Date: Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["Retry-After: 7"], 7),
        (["Retry-After: 0"], 0),
        (["Retry-After: 7.5"], 7.5),
        (["Retry-After: 901"], 900),
        (["Retry-After: " + "9" * 5000], 60),
        (["Retry-After: " + "9" * 900], 900),
        ([], 60),
        (["Retry-After:"], 60),
        (["Retry-After: -5"], 60),
        (["Retry-After: soon"], 60),
        (["Retry-After: nan"], 60),
        (["Retry-After: inf"], 60),
        (["Retry-After: 1e3"], 60),
        (["Retry-After: \xb2"], 60),
        (["Retry-After: 5", "Retry-After: 9"], 60),
        ([DATE, "Retry-After: Wed, 21 Oct 2026 07:30:00 GMT"], 120),
        ([DATE, "Retry-After: Wed, 21 Oct 2026 09:28:00 GMT"], 900),
        ([DATE, "Retry-After: Wed, 21 Oct 2026 07:27:00 GMT"], 60),
        ([DATE, "Retry-After: Wed, 21 Oct 2026 08:30:00 +0100"], 120),
        (["Date: never", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"], 900),
        (["Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"], 60),
        (["Retry-After: Wed, 99 Oct 2026 99:99:99 GMT"], 60),
        (["Retry-After: Sat, 01 Jan 99999999999 00:00:00 GMT"], 60),
    ],
)
def test_retry_after_is_seconds_or_a_date_within_15_minutes(headers, seconds):
    with serving(lambda peer: peer.answer(429, b"", *headers)) as server:
        error = outcome(server.url)

    assert type(error) is errors.RateLimited
    assert error.retry_after == seconds


def test_an_answer_to_half_of_the_request_is_read():
    """A server may answer and close before it has read the body."""

    def opening(peer):
        peer.socket.recv(4)
        peer.answer(422, DECLINED)
        peer.hold()
        return True

    with serving(opening=opening) as server:
        assert type(outcome(server.url)) is errors.Declined


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (requests.ConnectionError("refused"), errors.Unconfirmed),
        (requests.ConnectTimeout("never connected"), errors.Unconfirmed),
        (requests.ReadTimeout("silence"), errors.Unconfirmed),
        (requests.exceptions.SSLError("handshake"), errors.Unconfirmed),
        (requests.exceptions.InvalidURL("odd"), errors.Unconfirmed),
        (UnicodeError("odd"), errors.Unconfirmed),
        (RecursionError("deep"), errors.Unconfirmed),
    ],
)
def test_no_class_of_exception_proves_that_nothing_was_sent(error, kind):
    with responses.RequestsMock() as http:
        http.post("https://api.example/v1/virtual_numbers/purchase", body=error)
        assert type(outcome("https://api.example/v1")) is kind


@pytest.mark.parametrize("link", ["itself", "cause", "context"])
def test_the_mark_on_an_exception_proves_that_nothing_was_sent(link):
    proof = OSError("not connected")
    proof.never_sent = True
    error = proof if link == "itself" else requests.ConnectionError("odd")
    if link != "itself":
        setattr(error, f"__{link}__", proof)

    with responses.RequestsMock() as http:
        http.post("https://api.example/v1/virtual_numbers/purchase", body=error)
        assert type(outcome("https://api.example/v1")) is errors.NotSent


def test_an_error_that_the_caller_was_handling_proves_nothing():
    proof = OSError("of an earlier call")
    proof.never_sent = True
    with responses.RequestsMock() as http:
        http.post("https://api.example/v1/virtual_numbers/purchase", body=requests.ReadTimeout("silence"))
        try:
            raise proof
        except OSError:
            assert type(outcome("https://api.example/v1")) is errors.Unconfirmed


def test_answers_of_the_responses_library_are_read():
    with responses.RequestsMock() as http:
        http.post("https://api.example/v1/virtual_numbers/purchase", body=CREATED, status=201)
        assert outcome("https://api.example/v1").id == 7
        (call,) = http.calls
        assert call.request.body == ORDER
        assert call.request.req_kwargs["timeout"] == (9, 9)
        assert call.request.req_kwargs["proxies"] == {}
