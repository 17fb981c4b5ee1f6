"""One call on one connection: proves when nothing was sent, and ends the call in time.

No exception class of requests proves that a request was not sent. The proof is a mark that our own connection
sets directly before the first byte of the request goes to the socket: an exception raised before the mark is set
carries `never_sent = True`.
"""

import http.client
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection

BACKWARDS = 5  # seconds that a wall clock may be set back before it proves nothing
# SO_LINGER: closing resets the connection and forgets what is not yet delivered.
_ABORT = struct.pack("ii", 1, 0)

P = ParamSpec("P")
T = TypeVar("T")
# What getaddrinfo returns.
_Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]]


def _boottime() -> float:
    """Seconds that also pass while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Fence:
    """Decides whether too much time has passed to send. Made before the claim, so that a worker that froze sends
    nothing when it wakes up.

    `limit_seconds` counts by the clock that goes on while the machine sleeps and by the wall clock. A clock that
    went backwards closes the fence as well.
    """

    def __init__(
        self,
        limit_seconds: float,
        *,
        boottime: Callable[[], float] = _boottime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._limit = limit_seconds
        self._boottime, self._wall = boottime, wall
        self._boottime_then, self._wall_then = boottime(), wall()

    def left(self) -> float:
        """Return the seconds in which sending is still allowed; below 0 when it no longer is."""
        awake, wall = self._boottime() - self._boottime_then, self._wall() - self._wall_then
        if not (awake >= 0 and wall >= -BACKWARDS):
            return float("-inf")
        return self._limit - max(awake, wall)

    def closed(self) -> bool:
        """Return whether more than the limit has passed by either clock, or a clock went backwards."""
        return not self.left() >= 0


class Stopped(Exception):
    """The call ended on our side. `never_sent`: no byte of the request had been handed to the socket.

    Not an OSError, so that no layer in between takes it for a broken pipe and goes on.
    """

    def __init__(self, *, never_sent: bool) -> None:
        super().__init__("never sent" if never_sent else "stopped after sending began")
        self.never_sent = never_sent


class Exchange:
    """The time limit, the mark and the single connection of one call.

    A watchdog shuts the socket down after `deadline` seconds, whatever the call is waiting for: handshake,
    sending, head or body. It holds a duplicate of the socket, so it can neither close a different socket nor be
    disturbed when TLS takes the original over.
    """

    def __init__(self, deadline: float, *, fence: Fence | None = None) -> None:
        self.sent = False
        self.fenced = False
        self.cut_head = False
        self._fence = fence
        self._dialled = self._done = self._cut = self._kept = False
        self._handle: socket.socket | None = None
        self._lock = threading.Lock()
        self._ends_at = time.monotonic() + deadline
        self._watchdog = threading.Timer(deadline, self._cut_off)
        self._watchdog.daemon = True

    def __enter__(self) -> Self:
        self.guarded(self._watchdog.start)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._watchdog.cancel()
        with self._lock:
            self._done = True
            if self._handle is not None:
                if not self._kept:
                    _abort(self._handle)
                self._handle.close()

    def left(self) -> float:
        """Return the seconds until the deadline; 0 or less when it has passed."""
        return self._ends_at - time.monotonic()

    def keep(self) -> bool:
        """Stop the watchdog; return whether everything read so far arrived in time, and so may be trusted."""
        with self._lock:
            self._kept = self._kept or not (self._cut or self.left() <= 0)
            self._done = self._done or self._kept
            return self._kept

    def in_time(self) -> bool:
        """Return whether the deadline has not passed and the watchdog has not cut the call."""
        return not self._cut and self.left() > 0

    def guarded(self, step: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        """Take a step towards sending. What it raises before the mark is set proves that nothing was sent."""
        try:
            return step(*args, **options)
        except Exception as error:
            if self.sent or isinstance(error, Stopped):
                raise
            raise Stopped(never_sent=True) from error

    def dial(self, host: str, port: int, timeout: float, options: Any) -> socket.socket:
        """Open the single connection of this call, within the time in which sending is still allowed.

        `timeout` is for each address of the host, in seconds. A second connection is refused.
        """
        if self._dialled:
            raise Stopped(never_sent=not self.sent)
        self._dialled = True
        failure: OSError | None = None
        for family, kind, protocol, _, address in _addresses(host, port, self._left_to_send()):
            try:
                connected = _connect(
                    socket.socket(family, kind, protocol),
                    address,
                    min(timeout, self._left_to_send()),
                    options,
                )
            except OSError as error:
                failure = error
                continue
            connected.settimeout(min(timeout, self._left_to_send()))
            self._watch(connected)
            return connected
        raise failure or OSError("the host has no address")

    def _left_to_send(self) -> float:
        left = self.left() if self._fence is None else min(self.left(), self._fence.left())
        if left <= 0:
            self._check_sending()
        return max(left, 0.001)

    def _watch(self, connected: socket.socket) -> None:
        with self._lock:
            self._handle = connected.dup()

    def _check_sending(self) -> None:
        """Raise `Stopped` when nothing may be sent any more: the fence is closed or the deadline has passed."""
        if not self.in_time():
            raise Stopped(never_sent=not self.sent)
        if self._fence is not None and self._fence.closed():
            self.fenced = True
            raise Stopped(never_sent=not self.sent)

    def begin_sending(self) -> None:
        """Pass the fence and set the mark: what follows may reach the provider. No second request passes."""
        if self.sent:
            raise Stopped(never_sent=False)
        self._check_sending()
        self.sent = True

    def _cut_off(self) -> None:
        with self._lock:
            if self._done:
                return
            self._cut = True
            if self._handle is not None:
                _abort(self._handle)
                with suppress(OSError):  # not connected any more
                    self._handle.shutdown(socket.SHUT_RDWR)


def _abort(connected: socket.socket) -> None:
    """Make the kernel drop what it has not delivered: a request must not arrive after we have given it up."""
    with suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)


def _addresses(host: str, port: int, seconds: float) -> _Addresses:
    """Look the host up. The system's look-up has no time limit, so it runs in a thread of its own."""
    answers: queue.SimpleQueue[_Addresses | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("the look-up of the host took too long") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _connect(fresh: socket.socket, address: Any, timeout: float, options: Any) -> socket.socket:
    try:
        for option in options or ():
            fresh.setsockopt(*option)
        fresh.settimeout(timeout)
        fresh.connect(address)
        if fresh.getsockname() == fresh.getpeername():
            raise ConnectionRefusedError("the socket reached itself")
    except BaseException:
        fresh.close()
        raise
    return fresh


class _LastLine:
    """A file that remembers the last line that was read from it."""

    def __init__(self, file: Any) -> None:
        self.file, self.last = file, b""

    def readline(self, *args: Any) -> bytes:
        self.last = self.file.readline(*args)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


class _Head(http.client.HTTPResponse):
    """A response that notes on its exchange when its head was cut: a head without the final empty line parses too."""

    fp: Any  # the file of the answer, watched while the head is read

    def __init__(self, *args: Any, exchange: Exchange, **options: Any) -> None:
        super().__init__(*args, **options)
        self._exchange = exchange

    def begin(self) -> None:
        watched = self.fp = _LastLine(self.fp)
        super().begin()
        self._exchange.cut_head = watched.last not in (b"\r\n", b"\n")
        if self.fp is watched:
            self.fp = watched.file


class _Guarded(HTTPConnection):
    """A connection that is opened once and sends one request in one piece. Nothing else opens or uses it."""

    auto_open = 0  # http.client would connect anew in the middle of a request
    response_class: Any  # `_Head` with its exchange

    def __init__(self, *args: Any, exchange: Exchange, **options: Any) -> None:
        super().__init__(*args, **options)
        self._exchange = exchange
        self._pieces: list[bytes] = []
        self.response_class = partial(_Head, exchange=exchange)

    def _new_conn(self) -> socket.socket:
        assert self.timeout is not None  # the client always sets one
        return self._exchange.dial(self._dns_host, self.port, self.timeout, self.socket_options)

    def connect(self) -> None:
        """Connect: name, TCP and TLS. If this fails, no byte of the request was sent."""
        self._exchange.guarded(super().connect)

    def request(self, *args: Any, **options: Any) -> None:
        """Put the request together, connect if that has not happened yet, and send everything."""
        self._exchange.guarded(super().request, *args, **options)
        if self.sock is None:
            self.connect()
        self._exchange.begin_sending()
        super().send(b"".join(self._pieces))

    def send(self, data: bytes) -> None:  # type: ignore[override]  # a body is always bytes
        """Keep a piece of the request. Head and body leave together, so that nothing comes between them."""
        self._pieces.append(data)


class _TLSConnection(_Guarded, HTTPSConnection):
    pass


def _pool(pool_class: type, connection_class: type, exchange: Exchange, *args: Any, **options: Any) -> Any:
    pool = pool_class(*args, **options)
    pool.ConnectionCls = partial(connection_class, exchange=exchange)
    return pool


class Adapter(HTTPAdapter):
    """Carries one request of one exchange: no retry, no redirect, no proxy, no cookie, nothing from the
    environment.

    Used without a `Session`, which would read .netrc and proxies, and follow or at least parse a redirect.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_pool, HTTPConnectionPool, _Guarded, self._exchange),
            "https": partial(_pool, HTTPSConnectionPool, _TLSConnection, self._exchange),
        }

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        return self._exchange.guarded(super().get_connection_with_tls_context, *args, **options)

    def cert_verify(self, *args: Any, **options: Any) -> None:
        self._exchange.guarded(super().cert_verify, *args, **options)

    def build_response(self, request: PreparedRequest, raw: Any) -> Response:
        """Build the response without cookies: parsing them would run on whatever the provider sent."""
        response = Response()
        response.status_code = raw.status
        response.headers = CaseInsensitiveDict(raw.headers)
        response.raw, response.reason, response.request = raw, raw.reason, request
        response.url = request.url or ""
        response.connection = self
        return response
