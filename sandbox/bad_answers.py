"""Faults in the connection, the status and the body of an answer."""

import gzip
import json
import math
import time
from email.utils import formatdate

from sandbox.api import Answer
from sandbox.kinds import AFTER, BEFORE, LATE, Kinds
from sandbox.wire import body_of, head_of

KINDS = Kinds()
FOR_EVER = 3600.0
ERROR_TEXTS = {401: "Unauthorized", 403: "Write permission required", 404: "Resource not found"}
REFUSAL_FORMS = ("error", "errors", "html", "empty", "huge", "shapeless", "object")


# The connection


@KINDS.kind("hang_before", BEFORE, seconds=FOR_EVER)
@KINDS.kind("hang_after", AFTER, seconds=FOR_EVER)
def hang(fault, line, answer, scene):
    """No answer until the client gives up or `seconds` have passed."""
    line.hang(fault.seconds)


@KINDS.kind("close_before", BEFORE)
@KINDS.kind("close_after", AFTER)
@KINDS.kind("buys_late", LATE, seconds=10.0)
def close(fault, line, answer, scene):
    """The connection ends without an answer.

    buys_late first waits `seconds` in silence, and then buys even if the client has left.
    """
    line.close()


@KINDS.kind("reset_before", BEFORE)
@KINDS.kind("reset_after", AFTER)
def reset(fault, line, answer, scene):
    """The connection is reset (RST)."""
    line.reset()


@KINDS.kind("refuse", AFTER, seconds=2.0)
def refuse(fault, line, answer, scene):
    """Answers properly, and then refuses connections for `seconds`."""
    line.closing = True
    scene.refuse(fault.seconds)
    line.send(answer)


@KINDS.kind("slow_before", LATE, seconds=5.0)
def slow_before(fault, line, answer, scene):
    """Waits `seconds`, then carries out the call and answers."""
    line.send(answer)


@KINDS.kind("slow_after", AFTER, seconds=5.0)
def slow_after(fault, line, answer, scene):
    """Carries out the call, waits `seconds`, then answers."""
    if not line.wait(fault.seconds):
        line.send(answer)


@KINDS.kind("drip_head", AFTER, seconds=0.5)
def drip_head(fault, line, answer, scene):
    """Sends the head byte by byte, `seconds` apart, then the body."""
    body = body_of(answer)
    line.outcome = f"{answer.status} dripped"
    line.drip(head_of(answer.status, length=len(body), close=True) + body, fault.seconds)


@KINDS.kind("drip_body", AFTER, seconds=0.5)
def drip_body(fault, line, answer, scene):
    """Sends the head at once and the body byte by byte."""
    body = body_of(answer)
    line.outcome = f"{answer.status} dripped"
    line.write(head_of(answer.status, length=len(body), close=True))
    line.drip(body, fault.seconds)


@KINDS.kind("head_cut", AFTER)
def head_cut(fault, line, answer, scene):
    """The connection closes in the middle of the head."""
    line.write(head_of(answer.status, length=len(body_of(answer)), close=True)[:60])
    line.close("cut")


# Statuses


@KINDS.kind("status_before", BEFORE, status=503)
@KINDS.kind("status_after", AFTER, status=503)
def status(fault, line, answer, scene):
    """Another `status`: below 300 with the proper body (204 with none), else with an error (`text`) as body."""
    if fault.status < 300:
        payload = answer.payload if answer else {"data": None}
    else:
        payload = {"error": fault.text or ERROR_TEXTS.get(fault.status, "Something went wrong")}
    line.send(Answer(fault.status, None if fault.status == 204 else payload))


@KINDS.kind("unauthorized", BEFORE, status=401)
@KINDS.kind("forbidden", BEFORE, status=403)
def refused_key(fault, line, answer, scene):
    """401 or 403 for a valid key."""
    status(fault, line, answer, scene)


@KINDS.kind("rate_limited", BEFORE, retry_after="seconds", seconds=2.0)
def rate_limited(fault, line, answer, scene):
    """429 with a Retry-After by `retry_after`: seconds, date, none, nonsense, huge, or any other text unchanged.

    The first two stand for `seconds` from now.
    """
    values = {
        "seconds": str(math.ceil(fault.seconds)),
        "date": formatdate(time.time() + fault.seconds, usegmt=True),
        "nonsense": "soon, I hope",
        "huge": "9" * 30,
    }
    headers = {"Retry-After": values.get(fault.retry_after, fault.retry_after)}
    line.send(Answer(429, {"error": "Too many requests"}, {} if fault.retry_after == "none" else headers))


@KINDS.kind("redirect_before", BEFORE, status=307, location="self")
@KINDS.kind("redirect_after", AFTER, status=307, location="self")
def redirect(fault, line, answer, scene):
    """A redirect to `location`: self, other (the same server under another host name), or any URL."""
    hosts = {"self": "127.0.0.1", "other": "localhost"}
    location = fault.location
    if location in hosts:
        location = f"http://{hosts[location]}:{scene.port}{scene.path}"
    line.send(Answer(fault.status, {"error": "Moved"}, {"Location": location}))


@KINDS.kind("declined", BEFORE, status=422, form="error", choices={"form": REFUSAL_FORMS})
def declined(fault, line, answer, scene):
    """422 (or another `status`) in one of several forms, with `text` as the message."""
    words = fault.text or "This number cannot be purchased"
    bodies = {
        "error": {"error": words},
        "errors": {"errors": [words, "Please choose another number"]},
        "huge": {"error": "x" * 1_000_000},
        "shapeless": {"message": words, "code": 17},
        "object": {"error": {"message": words}},
    }
    if fault.form == "html":
        page = f"<html><body><h1>{fault.status}</h1><p>{words}</p></body></html>"
        line.send_body(fault.status, page.encode(), content_type="text/html; charset=utf-8")
    elif fault.form == "empty":
        line.send_body(fault.status, b"")
    else:
        line.send(Answer(fault.status, bodies[fault.form]))


# Bodies


@KINDS.kind("body_empty", AFTER)
def body_empty(fault, line, answer, scene):
    """The proper status and no body."""
    line.send_body(answer.status, b"")


@KINDS.kind("body_truncated", AFTER)
def body_truncated(fault, line, answer, scene):
    """Content-Length announces more than arrives before the connection closes."""
    body = body_of(answer)
    line.write(head_of(answer.status, length=len(body), close=True) + body[: len(body) // 2])
    line.close(f"{answer.status} cut")


@KINDS.kind("body_unmeasured", AFTER)
def body_unmeasured(fault, line, answer, scene):
    """No Content-Length, and half of the body before the connection closes."""
    body = body_of(answer)
    line.write(head_of(answer.status, length=None, close=True) + body[: len(body) // 2])
    line.close(f"{answer.status} cut")


@KINDS.kind("body_not_json", AFTER)
def body_not_json(fault, line, answer, scene):
    """The proper status with an HTML page instead of JSON."""
    line.send_body(answer.status, (fault.text or "<html><body>OK</body></html>").encode())


@KINDS.kind("body_huge", AFTER, megabytes=10.0)
def body_huge(fault, line, answer, scene):
    """The proper JSON with this many `megabytes` of filler."""
    filler = "x" * int(fault.megabytes * 1_000_000)
    line.send(Answer(answer.status, {"filler": filler} | answer.payload))


@KINDS.kind("body_gzip", AFTER, megabytes=0.0)
def body_gzip(fault, line, answer, scene):
    """The proper JSON with this many `megabytes` of filler, compressed although the client did not ask for it."""
    filler = "x" * int(fault.megabytes * 1_000_000)
    body = json.dumps({"filler": filler} | answer.payload).encode()
    line.send_body(answer.status, gzip.compress(body), headers={"Content-Encoding": "gzip"})


@KINDS.kind("body_field", AFTER, field="id")
def body_field(fault, line, answer, scene):
    """`field` of the data has another `value`, null by default."""
    _send_altered(line, answer, lambda data: data | {fault.field: fault.value})


@KINDS.kind("body_wrong_number", AFTER, value="+12125550199")
def body_wrong_number(fault, line, answer, scene):
    """The answer names another number than the one that was bought."""
    _send_altered(line, answer, lambda data: data | {"phone_number": fault.value})


@KINDS.kind("body_text_id", AFTER)
def body_text_id(fault, line, answer, scene):
    """The id is a string."""
    _send_altered(line, answer, lambda data: data | {"id": str(data.get("id"))})


@KINDS.kind("body_no_id", AFTER)
def body_no_id(fault, line, answer, scene):
    """The answer has no id."""
    _send_altered(line, answer, lambda data: {name: value for name, value in data.items() if name != "id"})


def _send_altered(line, answer, change):
    """Send the answer with `change` applied to its record, or to each record of its list."""
    data = answer.payload["data"]
    data = [change(entry) for entry in data] if isinstance(data, list) else change(data)
    line.send(Answer(answer.status, {"data": data}))
