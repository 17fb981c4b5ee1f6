"""Judges an answer of the provider: is it complete, what does it refuse, what may be stored of it?"""

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from requests import Response

from purchasing.identitycall import errors, resources
from purchasing.identitycall.connection import Exchange
from purchasing.redaction import REMOVED, redact

PART = 8_192
EXCERPT = 65_536  # bytes of a body that are read for the record
RETRY_AFTER = 60.0  # seconds, when the provider gives no usable time
LONGEST_RETRY_AFTER = 900.0
_LENGTH = re.compile(r"[0-9]{1,18}")
_SECONDS = re.compile(r"[0-9]{1,1000}(\.[0-9]{1,1000})?")
_ESCAPED = re.compile(r"\\u00([0-7][0-9a-fA-F])")

Cleaner = Callable[[str], str]


@dataclass(frozen=True)
class Answer:
    """An answer whose head arrived complete. `whole`: so did its body, in time, within the cap, not encoded."""

    status: int
    headers: Any
    body: bytes
    whole: bool


@dataclass(frozen=True)
class Failure:
    """A call that ended without an answer. `never_sent`: proved; `late`: by a timeout or the deadline."""

    never_sent: bool
    fenced: bool
    late: bool
    detail: str


def cleaner(key: str) -> Cleaner:
    """Return a function that cleans text for the record: it removes this key, other keys and control characters."""
    secrets = sorted({key, key.partition("_")[2]} - {""}, key=len, reverse=True)
    known = re.compile(
        "|".join(re.escape(secret) for secret in secrets if len(secret) >= 8) or "(?!)", re.IGNORECASE
    )

    def clean(text: str) -> str:
        plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)
        plain = resources.clean_text(plain, len(plain))
        return _without_beginning(redact(known.sub(REMOVED, plain)), key)

    return clean


def _without_beginning(text: str, key: str) -> str:
    """Cut off the beginning of a key at the end of the text, where the rest did not arrive."""
    for length in range(min(len(key), len(text)), 7, -1):
        if text.endswith(key[:length]):
            return text[:-length] + REMOVED
    return text


def read_answer(response: Response, exchange: Exchange, *, cap: int) -> Answer | Failure:
    """Read the body part by part, checking the clock and `cap` (in bytes) each time. Never raises for what the
    provider does.

    The body is whole when its length was reached or its last chunk arrived. A body without a length ends with
    the connection, so only a complete JSON text in it proves anything. An encoded body is not read.
    """
    if exchange.cut_head:
        return Failure(never_sent=False, fenced=False, late=not exchange.in_time(), detail="the head was cut")
    headers = response.raw.headers
    sound, length = _framing(headers)
    body, ended = bytearray(), False
    if not _is_encoded(headers):
        with suppress(Exception):
            ended = _read_into(body, response.raw, exchange, length=length, cap=cap)
    whole = ended and sound and len(body) <= cap and exchange.keep()
    return Answer(response.status_code, headers, bytes(body), whole)


def _read_into(body: bytearray, raw: Any, exchange: Exchange, *, length: int | None, cap: int) -> bool:
    while exchange.in_time() and len(body) <= cap:
        if length is not None and len(body) >= length:
            return len(body) == length
        part = raw.read1(PART, decode_content=False)
        if not part:
            return length is None
        body += part
    return False


def _framing(headers: Any) -> tuple[bool, int | None]:
    """Return whether the head states clearly where the body ends, and the length if it gives one."""
    encodings, lengths = headers.getlist("transfer-encoding"), headers.getlist("content-length")
    if encodings:
        return not lengths and [encoding.strip().lower() for encoding in encodings] == ["chunked"], None
    if not lengths:
        return True, None
    if len(set(lengths)) == 1 and _LENGTH.fullmatch(lengths[0]):
        return True, int(lengths[0])
    return False, None


def _is_encoded(headers: Any) -> bool:
    return any(
        coding.strip().lower() not in ("", "identity") for coding in headers.getlist("content-encoding")
    )


def failure_of(
    error: Exception, exchange: Exchange, *, handled: BaseException | None, clean: Cleaner
) -> Failure:
    """Return what an exception of the transport means. `handled`: an exception that the client's caller was
    already handling.
    """
    chain = _chain(error, until=_chain(handled))
    never_sent = not exchange.sent and any(getattr(link, "never_sent", None) is True for link in chain)
    late = not exchange.in_time() or any(isinstance(link, TimeoutError) for link in chain)
    late = late or any("timeout" in type(link).__name__.lower() for link in chain)
    detail = "; ".join(f"{type(link).__name__}: {_text(link)}" for link in chain)
    return Failure(never_sent, never_sent and exchange.fenced, late, clean(detail)[: errors.DETAIL_LENGTH])


def _text(error: BaseException) -> str:
    try:
        return str(error)[:PART]
    except Exception:
        return ""


def _chain(error: BaseException | None, until: tuple[BaseException, ...] = ()) -> tuple[BaseException, ...]:
    """Return the error and every exception that led to it, each once."""
    links: list[BaseException] = []
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is None or any(link is known for known in (*links, *until)):
            continue
        links.append(link)
        waiting += [link.__context__, link.__cause__]
    return tuple(links)


def handled_now() -> BaseException | None:
    """Return the exception that the caller is handling, to which Python chains every new one."""
    return sys.exc_info()[1]


def refusal(answer: Answer, clean: Cleaner) -> errors.Unavailable | None:
    """Return the error for a status that means, whatever the body, that nothing was carried out: 429, 401, 403."""
    if answer.status not in (401, 403, 429):
        return None
    kept = kept_of(answer, clean)
    if answer.status == 429:
        text = "IdentityCall asks us to wait before we ask again."
        return errors.RateLimited(text, retry_after=retry_after(answer.headers), **kept)
    problem = (
        "does not accept this API key" if answer.status == 401 else "says that this API key may not do this"
    )
    return errors.KeyRefused(f"IdentityCall {problem}.", **kept)


def declined(answer: Answer, clean: Cleaner) -> errors.Declined | None:
    """Return the error for a complete, error-shaped 400, 404 or 422, in the provider's words (ERR); else None."""
    if answer.status not in (400, 404, 422):
        return None
    kept = kept_of(answer, clean)
    return errors.Declined(f"IdentityCall declined: {kept['words']}", **kept) if kept["words"] else None


def kept_of(answer: Answer, clean: Cleaner) -> dict[str, Any]:
    """Return what an error keeps of an answer: status, words and excerpt."""
    excerpt = clean(answer.body[:EXCERPT].decode(errors="replace"))[: errors.ANSWER_LENGTH]
    return {"status": answer.status, "words": _words(answer, clean), "answer_text": excerpt}


def _words(answer: Answer, clean: Cleaner) -> str:
    """Return the provider's words from an error-shaped body: a text `error` or a list of texts `errors`; else ''."""
    if not answer.whole or len(answer.body) > EXCERPT:
        return ""
    try:
        value = resources.load(answer.body)
    except resources.Malformed:
        return ""
    if not isinstance(value, dict):
        return ""
    error = value.get("error")
    texts = [error] if isinstance(error, str) and error.strip() else value.get("errors")
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return ""
    return clean("; ".join(text.strip() for text in texts if text.strip()))[: errors.WORDS_LENGTH]


def retry_after(headers: Any) -> float:
    """Return the seconds to wait, 0 to 900: from the header in seconds or as a date; else 60 (REF-A)."""
    text = str(headers.get("retry-after", "")).strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_RETRY_AFTER)
    until = _moment(text)
    if until is None:
        return RETRY_AFTER
    now = _moment(str(headers.get("date", "")).strip()) or datetime.now(UTC)
    seconds = (until - now).total_seconds()
    return min(seconds, LONGEST_RETRY_AFTER) if seconds >= 0 else RETRY_AFTER


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text[:100])
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except Exception:  # the parser raises several kinds for odd texts
        return None
