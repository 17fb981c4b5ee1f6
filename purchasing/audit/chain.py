"""What the hash of an event covers."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from purchasing.models import AuditEvent

FIRST_HASH = "0" * 64
# The content of an event in alphabetical order, each name with the column that holds it.
CONTENT = {
    "action": "action",
    "actor": "actor_id",
    "actor_name": "actor_name",
    "actor_role": "actor_role",
    "at": "at",
    "attempt": "attempt_id",
    "became": "became",
    "click": "click",
    "data": "data",
    "ip": "ip",
    "note": "note",
    "on_behalf_of": "on_behalf_of",
    "phone_number": "phone_number",
    "previous_hash": "previous_hash",
    "purchase": "purchase_id",
    "request": "request_id",
    "seq": "seq",
    "team": "team_id",
    "was": "was",
}
_TEXT = "{" + ",".join(f'"{name}":%s' for name in CONTENT) + "}"
_PLACE_OF_AT, _PLACE_OF_DATA = (list(CONTENT).index(name) for name in ("at", "data"))
_quoted = json.encoder.encode_basestring_ascii


def fingerprint(event: AuditEvent) -> str:
    """The SHA-256 (64 hex digits) of the whole content of `event`, which includes the hash before it."""
    values = [getattr(event, column) for column in CONTENT.values()]
    values[_PLACE_OF_AT] = event.at.astimezone(UTC).isoformat(timespec="microseconds")
    return fingerprint_of(values, event.data)


def fingerprint_of(values: Sequence[Any], data: object) -> str:
    """The same hash from values in the order of `CONTENT`, with `at` as ISO text and `data` passed separately.

    They are hashed as one JSON object: sorted keys, no spaces, ASCII only.
    """
    parts = [
        _quoted(value) if isinstance(value, str) else "null" if value is None else str(value)
        for value in values
    ]
    parts[_PLACE_OF_DATA] = "{}" if data == {} else json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((_TEXT % tuple(parts)).encode()).hexdigest()


def moment(vendor: str, column: str) -> str:
    """SQL for a time as ISO text in UTC, to the microsecond: the form that is hashed and exported."""
    if vendor == "postgresql":
        return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '+00:00'"""
    fraction = f"CASE length({column}) WHEN 19 THEN '.000000' ELSE '' END"
    return f"substr({column}, 1, 10) || 'T' || substr({column}, 12) || {fraction} || '+00:00'"


def columns(vendor: str) -> list[str]:
    """The SQL columns of `CONTENT` in the form that reads fastest: `at` as ISO text in UTC, `data` as JSON text."""
    as_text = {"at": moment(vendor, "at"), "data": "data || ''" if vendor == "sqlite" else "data"}
    return [as_text.get(column, column) for column in CONTENT.values()]
