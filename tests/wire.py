"""A provider on a real socket, for tests of what goes wrong on the wire.

`with serving(handler) as server:` listens on 127.0.0.1; the handler gets a `Peer` for each connection and is
usually one line: `lambda peer: peer.answer(201, body)`. What the server saw is counted: `server.connections`,
`server.requests`. With `tls=True` it speaks TLS with a certificate of `authority(AUTHORITY)`. `opening` runs on the
raw connection first, before TLS and before anything is read; a true result ends the connection there.
"""

import functools
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

AUTHORITY = "Number Desk tests"  # whose certificates the servers show


@dataclass
class Request:
    """A request as it arrived: the bytes, and what they contain."""

    raw: bytes
    method: str = ""
    target: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Peer:
    """The server's end of one connection. After `opening` and TLS the request is in `request`."""

    def __init__(self, server: "Server", connection: socket.socket) -> None:
        self.server = server
        self.socket = connection
        self.request = Request(b"")

    def answer(self, status: int, body: bytes = b"", *headers: str, length: int | str | None = -1) -> None:
        """Send a whole answer. `length` replaces the true one; None leaves the header out."""
        lines = [f"HTTP/1.1 {status} Words", *headers]
        if length is not None:
            lines.append(f"Content-Length: {len(body) if length == -1 else length}")
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def drip(self, data: bytes, pause: float = 0.02) -> None:
        """Send byte by byte, `pause` seconds apart, until all is sent or the server stops."""
        for place in range(len(data)):
            if self.server.closing.wait(pause):
                return
            self.send(data[place : place + 1])

    def hold(self) -> None:
        """Send nothing more, until the server stops."""
        self.server.closing.wait()

    def reset(self) -> None:
        """End the connection with a reset, below TLS if there is any."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.close(self.socket)

    def read_request(self) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._part()
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += self._part()
        method, target, _ = first.split(" ")
        self.request = Request(head + b"\r\n\r\n" + body, method, target, headers, body)

    def _part(self) -> bytes:
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the client left")
        return part


class Server:
    """Accepts connections, one thread each, until it is closed."""

    def __init__(self, handler: Callable[[Peer], object], *, tls: bool, opening: Callable | None) -> None:
        self.handler, self.opening = handler, opening
        self.context = server_context() if tls else None
        self.requests: list[Request] = []
        self.connections = 0
        self.closing = threading.Event()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/api/v1/public"
        self._start(self._accept)

    def _start(self, target: Callable, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                self._start(self._serve, Peer(self, connection))

    def _serve(self, peer: Peer) -> None:
        with suppress(OSError, ValueError):  # the client leaves in the middle of many cases
            self._talk(peer)
        with suppress(OSError):
            peer.socket.close()

    def _talk(self, peer: Peer) -> None:
        if self.opening is not None and self.opening(peer):
            return
        if self.context is not None:
            peer.socket = self.context.wrap_socket(peer.socket, server_side=True)
            self._open.append(peer.socket)
        peer.read_request()
        self.requests.append(peer.request)
        self.handler(peer)

    def close(self) -> None:
        self.closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(5)


@contextmanager
def serving(
    handler: Callable[[Peer], object] = Peer.hold, *, tls: bool = False, opening: Callable | None = None
) -> Iterator[Server]:
    """Run a server for the length of a `with` block. Nobody is left waiting on it afterwards."""
    server = Server(handler, tls=tls, opening=opening)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def full_backlog() -> Iterator[int]:
    """Give the port of a listener that takes no further connection: connecting to it ends in the timeout."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        try:
            for _ in range(16):
                client = socket.socket()
                waiting.append(client)
                client.setblocking(False)
                client.connect_ex(listener.getsockname())
            yield listener.getsockname()[1]
        finally:
            for client in waiting:
                client.close()


def closed_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Return as soon as the condition holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "what was waited for did not come"
        time.sleep(0.005)


@functools.cache
def authority(common_name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Make a certificate authority that exists for the length of the test run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _certificate(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _certificate(subject: x509.Name, issuer: x509.Name, public_key: object) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
    )


@functools.cache
def _directory() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="number-desk-tls-")


@functools.cache
def authority_file(common_name: str = AUTHORITY) -> str:
    """Return the path of the authority's certificate, for `Client(verify=...)`."""
    path = Path(_directory().name) / f"{common_name.replace(' ', '-')}.pem"
    path.write_bytes(authority(common_name)[0].public_bytes(serialization.Encoding.PEM))
    return str(path)


@functools.cache
def certificate_file() -> str:
    """Return the path of what a TLS server of these tests shows: a certificate for 127.0.0.1 and localhost."""
    issuer, issuer_key = authority(AUTHORITY)
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        _certificate(subject, issuer.subject, key.public_key())
        .add_extension(names, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    path = Path(_directory().name) / "server.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(path)


def server_context() -> ssl.SSLContext:
    """Return what a TLS server of these tests uses, for the caller to change as it likes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file())
    return context
