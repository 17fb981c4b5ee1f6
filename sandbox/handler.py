"""One connection to the sandbox: reads requests, answers or spoils them, and logs one line for each."""

import socket
import sys
import time
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl

from sandbox import control, practice
from sandbox.api import Answer, Call, Refused, find_call, not_found, unauthorized
from sandbox.faults import KINDS
from sandbox.keys import ANYTHING_LIKE_A_KEY
from sandbox.kinds import ALTER, BEFORE, LATE, Scene
from sandbox.wire import Line

MOST_BODY = 1_000_000
SERVER_ERROR = Answer(500, {"error": "Internal server error"})


class Handler(BaseHTTPRequestHandler):
    """Serves one client until it or a fault ends the connection; `server.provider` is the sandbox."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60  # seconds for the next bytes of a request

    def setup(self):
        super().setup()
        self.provider = self.server.provider
        self.is_busy = self.is_unread = False
        self.provider.connections.add(self)

    def finish(self):
        self.provider.connections.discard(self)
        super().finish()

    def do_any(self):
        """Answer one request of any kind; a traceback never reaches the client."""
        self.is_busy = True
        started = time.monotonic()
        line = Line(
            self.connection,
            stopping=self.provider.stopping,
            closing=self.close_connection,
            head_only=self.command == "HEAD",
        )
        note = ""
        try:
            note = self._serve(line)
        except Refused as refused:
            line.send(refused.answer())
        except ConnectionError:
            line.close("client gone")
        except TimeoutError:
            line.close("request never came")
        except Exception as error:
            line.closing = True
            line.send(SERVER_ERROR)
            note = type(error).__name__
        if self.is_unread:
            self._drain()
        self.close_connection = line.closing
        self.is_busy = False
        took = (time.monotonic() - started) * 1000
        self.log(f"{self.command} {self.path} {line.outcome} {took:.0f} ms {note or ''}")

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = do_any

    def send_error(self, code, message=None, explain=None):
        """Answer a request that the parser refuses with our error body; an unknown method counts as an unknown path."""
        line = Line(self.connection, stopping=self.provider.stopping, closing=True)
        self.close_connection = True
        line.send(not_found().answer() if code == 501 else Answer(code, {"error": message or "Bad request"}))
        self._drain()
        self.log(f"{self.command or '-'} {line.outcome}")

    def log(self, text):
        """Write one line to stderr, without control characters and anything that looks like a key."""
        if not self.provider.quiet:
            text = ANYTHING_LIKE_A_KEY.sub("idc_...", text.strip())[:500]
            print("".join(c if c.isprintable() else "?" for c in text), file=sys.stderr, flush=True)

    def log_message(self, format, *args):
        """Silence the log of the base class."""

    def _serve(self, line):
        path, _, query_text = self.path.partition("?")
        query = dict(parse_qsl(query_text, keep_blank_values=True))
        body = self._read_body(line)
        content_type = self.headers.get("Content-Type", "")
        if self.command == "GET" and path == "/healthz":
            return line.send(Answer(200, {"status": "ok", "sandbox": True}))
        if self.provider.has_control and (path + "/").startswith(control.PATH + "/"):
            fields = Call("control", "", body=body, content_type=content_type).fields()
            return line.send(control.answer(self.provider, self.command, path, query, fields))
        return self._serve_api(line, path, query, body, content_type)

    def _serve_api(self, line, path, query, body, content_type):
        """Check the key, the rate limit and the faults, then carry out the call; return the fault for the log."""
        provider = self.provider
        call = find_call(self.command, path)
        call.query, call.body, call.content_type = query, body, content_type
        call.key = provider.state.keyring.find(self.headers.get("Authorization"))
        phone_number = provider.phone_number_of(call)
        key_name = call.key.name if call.key else "unknown" if "Authorization" in self.headers else "none"
        row = provider.traffic.note(
            method=self.command, endpoint=call.endpoint, key=key_name, phone_number=phone_number
        )
        try:
            if call.key is None or not call.key.works():
                raise unauthorized(call.endpoint)
            wait = provider.rate_limit.seconds_to_wait(call.key.name)
            if wait:
                line.send(Answer(429, {"error": "Rate limit exceeded"}, {"Retry-After": str(wait)}))
                return ""
            fault = provider.fault_plan.take(call, phone_number)
            if fault is None:
                self._answer_properly(line, call, phone_number)
                return ""
            row["fault"] = fault.kind
            scene = Scene(path, query, provider.port, provider.bought_at, provider.stop_listening_for)
            if not self._misbehave(fault, line, call, scene):
                row["fault"] = None
            return row["fault"]
        except Refused as refused:
            line.send(refused.answer())
            return ""
        finally:
            row["outcome"] = line.outcome

    def _answer_properly(self, line, call, phone_number):
        """Answer as documented, unless the call bought a practice number."""
        answer = self.provider.api.answer(call)
        is_sale = call.endpoint == "purchase" and answer.status == 201
        rule = self.provider.api.practice_rule(phone_number) if is_sale else None
        if rule == practice.SLOW:
            line.wait(self.provider.slow_seconds)
        if rule == practice.LOST:
            return line.close("answer lost")
        return line.send(answer)

    def _misbehave(self, fault, line, call, scene):
        """Let a fault act; return False if there was nothing to spoil, which keeps the fault for the next call."""
        kind = KINDS[fault.kind]
        if kind.phase == BEFORE:
            kind.act(fault, line, None, scene)
            return True
        life = self.provider.life
        if kind.phase == LATE and (line.wait(fault.seconds) or life != self.provider.life):
            line.close("ended before")
            return True
        answer = spoiled = self.provider.api.answer(call)
        if kind.phase == ALTER and answer.status == 200:
            spoiled = Answer(200, {"data": kind.act(fault, answer.payload["data"], scene)})
        elif answer.status < 300:
            kind.act(fault, line, answer, scene)
            return True
        if spoiled == answer:
            self.provider.fault_plan.give_back(fault)
        line.send(spoiled)
        return spoiled != answer

    def _read_body(self, line):
        """The whole body, at most a megabyte; a body that cannot be read ends the connection after the answer."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or len(lengths) > 1 or not all(map(_is_length, lengths)):
            self._leave_body(line, 400, "A body needs one Content-Length")
        length = int(lengths[0]) if lengths else 0
        if length > MOST_BODY:
            self._leave_body(line, 413, "Request body is too large")
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError
        return body

    def _leave_body(self, line, status, reason):
        """Refuse a request without reading its body, and end the connection, which is unusable after that."""
        line.closing = self.is_unread = True
        raise Refused(status, reason)

    def _drain(self):
        """Read what the client still sends, for a while; an early close would lose the answer."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(1)
            for _ in range(1000):
                if not self.connection.recv(65536):
                    return
        except OSError:
            return


def _is_length(text):
    return text.isascii() and text.isdecimal() and len(text) < 16
