"""The bytes of an answer, and a connection on which they can be sent whole, slowly, in part or not at all."""

import json
import select
import socket
import struct
from email.utils import formatdate
from http import HTTPStatus

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


def body_of(answer):
    """The JSON body of an answer; no bytes where it has no payload."""
    return b"" if answer.payload is None else json.dumps(answer.payload).encode()


def head_of(status, *, length, headers=None, content_type="application/json; charset=utf-8", close=False):
    """A response head; `length` None leaves Content-Length out, and a 204 has neither length nor type."""
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", f"Date: {formatdate(usegmt=True)}"]
    if status != 204:
        lines.append(f"Content-Type: {content_type}")
        if length is not None:
            lines.append(f"Content-Length: {length}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if close:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class Line:
    """The connection of one request. `outcome` says for the log what became of it."""

    def __init__(self, connection, *, stopping, closing=False, head_only=False):
        self.connection = connection
        self.stopping = stopping
        self.closing = closing  # the connection ends after this request
        self.head_only = head_only
        self.outcome = "nothing"

    def send(self, answer, **head_options):
        """The answer as documented."""
        self.send_body(answer.status, body_of(answer), headers=answer.headers, **head_options)

    def send_body(self, status, body, *, headers=None, **head_options):
        """A whole answer with any body."""
        head = head_of(status, length=len(body), headers=headers, close=self.closing, **head_options)
        self.outcome = str(status)
        self.write(head + (b"" if self.head_only or status == 204 else body))

    def write(self, data):
        """Send all of it; a client that hung up is no error."""
        try:
            self.connection.sendall(data)
        except OSError:
            self.outcome += " (client gone)"
            self.closing = True

    def drip(self, data, pause):
        """Send byte by byte with a pause after each, until the client hangs up."""
        self.closing = True
        for position in range(len(data)):
            try:
                self.connection.sendall(data[position : position + 1])
            except OSError:
                self.outcome += " (client gone)"
                return
            if self.wait(pause):
                return

    def close(self, outcome="closed"):
        """End the connection in an orderly way, whatever was sent."""
        self.outcome = outcome
        self.closing = True

    def reset(self):
        """End the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close("reset")

    def hang(self, seconds):
        """Say nothing for so long, or until the client hangs up; then close."""
        self.close("no answer")
        waited = 0
        while waited < seconds and not self.is_gone() and not self.wait(0.05):
            waited += 0.05

    def wait(self, seconds):
        """Let time pass; True when the server ends meanwhile."""
        return self.stopping.wait(seconds)

    def is_gone(self):
        """Whether the client hung up."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        try:
            return bool(poll.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


def is_reset(connection):
    """Whether `Line.reset` was asked for this connection."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == RESET_ON_CLOSE
    except OSError:
        return False
