"""Nothing was sent, proved by the missing mark on real sockets; and what looks the same after sending, which proves
nothing.

A provider that reads every byte it gets is the witness: it never saw what is reported as not sent.
"""

import socket
import ssl
import threading
import time
from contextlib import closing, suppress

import pytest
from requests import Request

from purchasing.identitycall import errors
from purchasing.identitycall.client import Fence
from purchasing.identitycall.connection import BACKWARDS, Adapter, Exchange, Stopped
from purchasing.identitycall.resources import OwnedNumber
from tests import wire
from tests.identitycall.test_purchase import CREATED, KEY, NUMBER, ORDER, outcome
from tests.wire import serving, wait_until

NOT_REACHED = "IdentityCall could not be reached; nothing was sent."
TOO_LATE = "Nothing was sent: too much time had passed since the purchase was started."
NOT_KNOWN = "Whether the number was bought is not known yet."
LIMIT = 10  # seconds of the fences of these tests


@pytest.fixture(params=["http", "https"])
def scheme(request):
    return request.param


def summary(error):
    """The error as its caller sees it: its class, sentence and details."""
    return type(error), str(error), getattr(error, "fenced", None), error.status, error.answer_text


REACHED_NOBODY = (errors.NotSent, NOT_REACHED, False, None, "")
FENCED = (errors.NotSent, TOO_LATE, True, None, "")


class Witness:
    """A provider that keeps every byte it receives, speaks TLS on request, and never answers."""

    def __init__(self, *, tls):
        self.tls = tls
        self.got = b""
        self.greeted = lambda: None  # called when the client has begun to speak TLS
        self.left = threading.Event()  # the client has closed the connection

    def __call__(self, peer):
        with suppress(OSError):
            if self.tls:
                peer.socket.recv(1, socket.MSG_PEEK)
                self.greeted()
                peer.socket = wire.server_context().wrap_socket(peer.socket, server_side=True)
            while part := peer.socket.recv(65536):
                self.got += part
        self.left.set()
        return True

    def saw_the_client_leave(self):
        return self.left.wait(5)


@pytest.fixture
def look_up(monkeypatch):
    """Let the look-up of every host lead to these ports of this machine, in this order."""

    def lead_to(*ports):
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: addresses)

    return lead_to


@pytest.fixture
def when_connected(monkeypatch):
    """Let something happen when a connection has just been opened, before the client can go on."""

    def arrange(happening):
        connect = socket.socket.connect

        def connect_and_then(self, address):
            connect(self, address)
            happening()

        monkeypatch.setattr(socket.socket, "connect", connect_and_then)

    return arrange


# --- Nobody was reached -------------------------------------------------------------------------------------------


def test_a_refused_connection_sent_nothing(scheme):
    assert summary(outcome(f"{scheme}://127.0.0.1:{wire.closed_port()}/v1")) == REACHED_NOBODY


def test_a_host_that_nobody_knows_was_sent_nothing():
    assert summary(outcome("https://nobody.invalid/v1")) == REACHED_NOBODY


def test_a_host_without_an_address_was_sent_nothing(scheme, look_up):
    look_up()
    assert summary(outcome(f"{scheme}://localhost:9/v1")) == REACHED_NOBODY


def test_a_look_up_that_hangs_ends_with_the_deadline_and_sent_nothing(scheme, monkeypatch):
    found, asked = threading.Event(), []

    def hang(host, *args, **options):
        asked.append(host)
        found.wait(10)
        asked.append("given up")
        raise OSError("too late to matter")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        assert summary(outcome(f"{scheme}://localhost:9/v1", deadline=0.2)) == REACHED_NOBODY
        assert asked == ["localhost"]
    finally:
        found.set()


def test_a_look_up_that_ends_after_the_deadline_reaches_nobody(scheme, monkeypatch):
    """The answer of the look-up comes late: nobody is waiting for it, and nothing is dialled."""
    real, may_answer, answered = socket.getaddrinfo, threading.Event(), threading.Event()

    def late(*args, **options):
        may_answer.wait()
        try:
            return real(*args, **options)
        finally:
            answered.set()

    witness = Witness(tls=scheme == "https")
    with serving(opening=witness) as server:
        monkeypatch.setattr(socket, "getaddrinfo", late)
        error = outcome(f"{scheme}://localhost:{server.port}/v1", deadline=0.2)
        may_answer.set()
        assert answered.wait(5)
        assert (summary(error), server.connections, witness.got) == (REACHED_NOBODY, 0, b"")


@pytest.mark.parametrize("limit", [{"connect_timeout": 0.2}, {"deadline": 0.2}], ids=["connect", "deadline"])
def test_a_connection_that_is_not_accepted_in_time_sent_nothing(scheme, limit, monkeypatch):
    waits, settimeout = [], socket.socket.settimeout
    with wire.full_backlog() as port:
        monkeypatch.setattr(
            socket.socket, "settimeout", lambda self, wait: (waits.append(wait), settimeout(self, wait))
        )
        assert summary(outcome(f"{scheme}://127.0.0.1:{port}/v1", **limit)) == REACHED_NOBODY
    assert len(waits) == 1 and waits[0] <= 0.2


def test_when_every_address_of_the_host_refuses_nothing_was_sent(scheme, look_up):
    look_up(wire.closed_port(), wire.closed_port())
    assert summary(outcome(f"{scheme}://localhost:9/v1")) == REACHED_NOBODY


def test_the_next_address_is_tried_where_one_refuses_and_the_request_is_sent_once(scheme, look_up):
    with serving(lambda peer: peer.answer(201, CREATED), tls=scheme == "https") as server:
        look_up(wire.closed_port(), server.port, server.port)
        bought = outcome(f"{scheme}://localhost:9/v1")
        assert bought == OwnedNumber(7, NUMBER, "Front desk", "US", True)
        assert (server.connections, len(server.requests)) == (1, 1)


def test_a_deadline_that_passes_while_connecting_sends_nothing(scheme, when_connected):
    def wait_too_long():
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 0.5)

    when_connected(wait_too_long)
    witness = Witness(tls=scheme == "https")
    with serving(opening=witness) as server:
        error = outcome(f"{scheme}://127.0.0.1:{server.port}/v1", deadline=0.5)
        assert witness.saw_the_client_leave()
        assert (summary(error), server.connections, witness.got) == (REACHED_NOBODY, 1, b"")


# --- TLS that did not come about ------------------------------------------------------------------------------------


def with_old_tls(peer):
    """A server of an age that the client does not speak with any more."""
    context = wire.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1
    context.wrap_socket(peer.socket, server_side=True)


def greeted_then(then):
    """Wait for the first words of TLS, and then do something else than answer them."""

    def opening(peer):
        peer.socket.recv(65536)
        then(peer)
        return True

    return opening


NO_TLS = {
    "reset": greeted_then(lambda peer: peer.reset()),
    "closed": greeted_then(lambda peer: None),
    "closed in the middle": greeted_then(lambda peer: peer.send(b"\x16\x03\x03\x00\x7a\x02")),
    "silence": greeted_then(lambda peer: peer.hold()),
    "a refusal in its own form": greeted_then(lambda peer: peer.send(b"\x15\x03\x03\x00\x02\x02\x28")),
    "nonsense": greeted_then(lambda peer: peer.send(b"\x00" * 999)),
    "another protocol": greeted_then(lambda peer: peer.send(b"220 mail.example ESMTP\r\n")),
    "an answer without TLS": greeted_then(lambda peer: peer.answer(201, CREATED)),
    "old TLS alone": with_old_tls,
}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1 is deprecated")
@pytest.mark.parametrize("case", NO_TLS)
def test_a_handshake_that_fails_sent_nothing(case):
    with serving(opening=NO_TLS[case]) as server:
        error = outcome(f"https://127.0.0.1:{server.port}/v1", deadline=0.5 if case == "silence" else 9)
    assert (summary(error), server.connections, server.requests) == (REACHED_NOBODY, 1, [])


def test_a_certificate_of_an_authority_that_is_not_trusted_is_sent_nothing():
    with serving(tls=True) as server:
        error = outcome(server.url, verify=wire.authority_file("Somebody else"))
    assert (summary(error), server.connections, server.requests) == (REACHED_NOBODY, 1, [])


def test_a_certificate_that_no_authority_of_the_system_signed_is_sent_nothing():
    with serving(tls=True) as server:
        error = outcome(server.url, verify=True)
    assert (summary(error), server.connections, server.requests) == (REACHED_NOBODY, 1, [])


def test_a_certificate_for_another_host_is_sent_nothing(look_up):
    with serving(tls=True) as server:
        look_up(server.port)
        error = outcome("https://api.example/v1")
    assert (summary(error), server.connections, server.requests) == (REACHED_NOBODY, 1, [])


def test_certificates_of_a_file_that_is_not_there_send_nothing(tmp_path):
    with serving(tls=True) as server:
        error = outcome(server.url, verify=str(tmp_path / "nothing.pem"))
    assert (summary(error), server.connections) == (REACHED_NOBODY, 0)


# --- The fence ------------------------------------------------------------------------------------------------------


class Clocks:
    """The clock that goes on while a machine sleeps, and the one on its wall."""

    def __init__(self):
        self.awake, self.wall = 1_000.0, 1_800_000_000.0

    def fence(self):
        return Fence(LIMIT, boottime=lambda: self.awake, wall=lambda: self.wall)

    def move(self, awake, wall):
        self.awake += awake
        self.wall += wall


TOO_MUCH = {
    "a long sleep": (LIMIT + 3600, LIMIT + 3600),
    "just past the limit by the clock that never sleeps": (LIMIT + 0.001, 0),
    "just past the limit by the wall": (0, LIMIT + 0.001),
    "a wall clock set back": (1, -BACKWARDS - 0.001),
    "a wall clock set back by hours": (1, -7200),
    "the clock that never sleeps set back": (-0.001, 1),
    "a clock that cannot tell": (float("nan"), 1),
    "a wall clock that cannot tell": (1, float("nan")),
}
LITTLE = {
    "nothing": (0, 0),
    "half of the limit": (LIMIT / 2, LIMIT / 2),
    "a wall clock set back a little": (1, -BACKWARDS),
}


@pytest.mark.parametrize("passed", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_behind_the_fence_nobody_is_dialled(scheme, passed):
    clocks, witness = Clocks(), Witness(tls=scheme == "https")
    fence = clocks.fence()
    with serving(opening=witness) as server:
        clocks.move(*passed)
        error = outcome(f"{scheme}://127.0.0.1:{server.port}/v1", fence=fence)
    assert (summary(error), server.connections, witness.got) == (FENCED, 0, b"")


@pytest.mark.parametrize("passed", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_a_fence_that_closes_while_connecting_sends_nothing_and_closes_the_connection(
    scheme, passed, when_connected
):
    clocks, witness = Clocks(), Witness(tls=scheme == "https")
    when_connected(lambda: clocks.move(*passed))
    with serving(opening=witness) as server:
        error = outcome(f"{scheme}://127.0.0.1:{server.port}/v1", fence=clocks.fence())
        assert witness.saw_the_client_leave()
    assert (summary(error), server.connections, witness.got) == (FENCED, 1, b"")


@pytest.mark.parametrize("passed", TOO_MUCH.values(), ids=TOO_MUCH.keys())
def test_a_fence_that_closes_during_the_handshake_sends_nothing_and_closes_the_connection(passed):
    clocks, witness = Clocks(), Witness(tls=True)
    witness.greeted = lambda: clocks.move(*passed)
    with serving(opening=witness) as server:
        error = outcome(f"https://127.0.0.1:{server.port}/v1", fence=clocks.fence())
        assert witness.saw_the_client_leave()
    assert (summary(error), server.connections, witness.got) == (FENCED, 1, b"")


@pytest.mark.parametrize("passed", LITTLE.values(), ids=LITTLE.keys())
def test_within_the_fence_it_is_sent(scheme, passed, when_connected):
    clocks = Clocks()
    when_connected(lambda: clocks.move(*passed))
    with serving(lambda peer: peer.answer(201, CREATED), tls=scheme == "https") as server:
        assert outcome(server.url, fence=clocks.fence()) == OwnedNumber(7, NUMBER, "Front desk", "US", True)
    assert [request.body for request in server.requests] == [ORDER]


def test_a_fence_is_closed_exactly_when_nothing_may_be_sent():
    for passed, closed in {
        (LIMIT, LIMIT): False,
        **dict.fromkeys(TOO_MUCH.values(), True),
        **dict.fromkeys(LITTLE.values(), False),
    }.items():
        clocks = Clocks()
        fence = clocks.fence()
        clocks.move(*passed)
        assert fence.closed() is closed, passed


def test_a_fence_counts_the_time_that_a_machine_sleeps(monkeypatch):
    fence, asleep, gettime = Fence(3600), 0, time.clock_gettime

    def clock(which):
        return gettime(which) + (asleep if which == time.CLOCK_BOOTTIME else 0)

    monkeypatch.setattr(time, "clock_gettime", clock)
    assert not fence.closed()
    asleep = 3601
    assert fence.closed()


# --- One connection and one request ---------------------------------------------------------------------------------


@pytest.fixture
def call():
    """A server, an exchange with it, and a function that sends one request over it."""
    with (
        serving(lambda peer: peer.answer(201, CREATED)) as server,
        Exchange(9) as exchange,
        closing(Adapter(exchange)) as adapter,
    ):
        request = Request("POST", f"{server.url}/virtual_numbers/purchase", data=ORDER).prepare()
        yield server, exchange, lambda: adapter.send(request, stream=True, timeout=(9, 9), proxies={})


def test_a_second_request_of_the_same_call_is_refused(call):
    server, _, send = call
    assert send().raw.read() == CREATED
    with pytest.raises(Stopped) as stopped:
        send()
    assert stopped.value.never_sent is False  # for the first one was
    assert (server.connections, len(server.requests)) == (1, 1)


def test_a_second_connection_of_the_same_call_is_refused(call):
    server, exchange, _ = call
    with closing(exchange.dial("127.0.0.1", server.port, 9, None)):
        with pytest.raises(Stopped) as stopped:
            exchange.dial("127.0.0.1", server.port, 9, None)
        assert stopped.value.never_sent is True
    wait_until(lambda: server.connections)
    assert server.connections == 1


def test_a_second_connection_after_the_mark_proves_nothing(call):
    server, exchange, _ = call
    with closing(exchange.dial("127.0.0.1", server.port, 9, None)):
        exchange.begin_sending()
        for again in (exchange.begin_sending, lambda: exchange.dial("127.0.0.1", server.port, 9, None)):
            with pytest.raises(Stopped) as stopped:
                again()
            assert stopped.value.never_sent is False


def test_a_connection_that_was_refused_is_not_dialled_again():
    with Exchange(9) as exchange:
        with pytest.raises(ConnectionRefusedError):
            exchange.dial("127.0.0.1", wire.closed_port(), 9, None)
        with serving() as server:
            with pytest.raises(Stopped) as stopped:
                exchange.dial("127.0.0.1", server.port, 9, None)
            assert (stopped.value.never_sent, server.connections) == (True, 0)


def test_the_fence_stands_directly_before_sending():
    clocks = Clocks()
    with (
        serving() as server,
        Exchange(9, fence=clocks.fence()) as exchange,
        closing(exchange.dial("127.0.0.1", server.port, 9, None)),
    ):
        clocks.move(LIMIT + 1, LIMIT + 1)
        with pytest.raises(Stopped) as stopped:
            exchange.begin_sending()
    assert (stopped.value.never_sent, exchange.fenced, exchange.sent) == (True, True, False)


def test_the_deadline_stands_directly_before_sending():
    with (
        serving() as server,
        Exchange(0.2) as exchange,
        closing(exchange.dial("127.0.0.1", server.port, 9, None)),
    ):
        wait_until(lambda: exchange.left() <= 0)
        with pytest.raises(Stopped) as stopped:
            exchange.begin_sending()
    assert (stopped.value.never_sent, exchange.fenced, exchange.sent) == (True, False, False)


# --- What looks the same after sending ------------------------------------------------------------------------------


def raw(peer, data):
    """Send below TLS."""
    socket.socket.send(peer.socket, data)


def in_the_middle(then):
    """Read the beginning of the request, within TLS where it is spoken, and then end it in some way."""

    def opening(peer):
        if peer.server.speaks_tls:
            peer.socket = wire.server_context().wrap_socket(peer.socket, server_side=True)
            peer.server._open.append(peer.socket)
        peer.socket.recv(9)
        then(peer)
        return True

    return opening


AFTER_SENDING = {
    "reset": lambda peer: peer.reset(),
    "closed": lambda peer: None,
    "silence": lambda peer: peer.hold(),
    "nonsense": lambda peer: peer.send(b"\x00" * 99),
    "a reset in the head": lambda peer: peer.send(b"HTTP/1.1 201 Cre") or peer.reset(),
}
AFTER_SENDING_OVER_TLS = {
    "a broken record": lambda peer: raw(peer, b"\x17\x03\x03\x00\x20" + b"\x00" * 32),
    "an unknown record": lambda peer: raw(peer, b"\x63" * 99),
    "a record that is cut": lambda peer: raw(peer, b"\x17\x03\x03\x00\x20" + b"\x00" * 5),
    "a refusal in its own form": lambda peer: raw(peer, b"\x15\x03\x03\x00\x02\x02\x28"),
    "an answer without TLS": lambda peer: raw(peer, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
    "closed without a word of TLS": lambda peer: socket.socket.shutdown(peer.socket, socket.SHUT_RDWR),
    "closed in the form of TLS": lambda peer: peer.socket.unwrap(),
}
EVERY_END = [(case, end, False) for case, end in AFTER_SENDING.items()]
EVERY_END += [(case, end, True) for case, end in (AFTER_SENDING | AFTER_SENDING_OVER_TLS).items()]
ENDS = pytest.mark.parametrize(
    ("end", "tls"),
    [row[1:] for row in EVERY_END],
    ids=[f"{row[0]}-{['plain', 'tls'][row[2]]}" for row in EVERY_END],
)


def is_unconfirmed(error):
    return (type(error), str(error).endswith(NOT_KNOWN), error.status) == (errors.Unconfirmed, True, None)


@ENDS
def test_an_end_after_the_whole_request_was_read_is_unconfirmed(end, tls):
    with serving(end, tls=tls) as server:
        error = outcome(server.url, deadline=0.5 if end == AFTER_SENDING["silence"] else 9)
    assert is_unconfirmed(error), summary(error)
    assert [request.body for request in server.requests] == [ORDER]


@ENDS
def test_an_end_after_the_first_bytes_of_the_request_is_unconfirmed(end, tls):
    with serving(opening=in_the_middle(end)) as server:
        server.speaks_tls = tls
        scheme = "https" if tls else "http"
        url = f"{scheme}://127.0.0.1:{server.port}/v1"
        error = outcome(url, deadline=0.5 if end == AFTER_SENDING["silence"] else 9)
    assert is_unconfirmed(error), summary(error)


def test_a_server_that_wants_a_certificate_of_ours_refuses_after_we_have_sent():
    """In TLS 1.3 the client may speak before the server has looked at what it did not show."""

    def opening(peer):
        context = wire.server_context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(wire.authority_file())
        context.wrap_socket(peer.socket, server_side=True)

    with serving(opening=opening) as server:
        error = outcome(f"https://127.0.0.1:{server.port}/v1")
    assert is_unconfirmed(error), summary(error)


def test_a_request_that_the_server_never_reads_is_unconfirmed():
    """It lies in the buffers of the connection, from where the server may take it at any time."""
    with serving(opening=lambda peer: peer.hold() or True) as server:
        big = b"x" * 20_000_000  # more than fits there
        error = outcome(server.url, body=big, deadline=0.5)
    assert is_unconfirmed(error), summary(error)


def test_no_word_of_the_key_stands_in_what_is_said_of_a_call_that_was_not_sent(scheme):
    error = outcome(f"{scheme}://127.0.0.1:{wire.closed_port()}/v1")
    assert KEY[4:] not in f"{error!r}{error.detail}{error.words}{error.answer_text}"
