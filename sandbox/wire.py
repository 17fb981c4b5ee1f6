"""The bytes of an answer, and a connection that can send them at once, slowly, in part or not at all."""

import json
import select
import socket
import struct
from email.utils import formatdate
from http import HTTPStatus

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close() sends RST


def body_of(answer):
    """The JSON body of an answer; empty if it has no payload."""
    return b"" if answer.payload is None else json.dumps(answer.payload).encode()


def head_of(status, *, length, headers=None, content_type="application/json; charset=utf-8", close=False):
    """A response head; without `length` it has no Content-Length, and a 204 has neither length nor type."""
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
    """The connection of one request. `outcome` describes for the log how the request ended."""

    def __init__(self, connection, *, stopping, closing=False, head_only=False):
        self.connection = connection
        self.stopping = stopping
        self.closing = closing  # the connection ends after this request
        self.head_only = head_only
        self.outcome = "nothing"

    def send(self, answer, **head_options):
        """Send the answer as documented."""
        self.send_body(answer.status, body_of(answer), headers=answer.headers, **head_options)

    def send_body(self, status, body, *, headers=None, **head_options):
        """Send a complete answer with any body."""
        head = head_of(status, length=len(body), headers=headers, close=self.closing, **head_options)
        self.outcome = str(status)
        self.write(head + (b"" if self.head_only or status == 204 else body))

    def write(self, data):
        """Send all data; a client that has hung up is not an error."""
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
        """End the connection normally, whatever was sent."""
        self.outcome = outcome
        self.closing = True

    def reset(self):
        """End the connection with RST."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.close("reset")

    def hang(self, seconds):
        """Send nothing for `seconds` or until the client hangs up, then close."""
        self.close("no answer")
        waited = 0
        while waited < seconds and not self.is_gone() and not self.wait(0.05):
            waited += 0.05

    def wait(self, seconds):
        """Wait; return True if the server stops first."""
        return self.stopping.wait(seconds)

    def is_gone(self):
        """Whether the client has hung up."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        try:
            return bool(poll.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


def is_reset(connection):
    """Whether `Line.reset` was called for this connection."""
    try:
        return connection.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == RESET_ON_CLOSE
    except OSError:
        return False
