"""What the hash of an event is made of."""

import hashlib
import json
from datetime import UTC

FIRST_HASH = "0" * 64
# What an event says, in the order of the alphabet, with the columns that hold it.
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


def fingerprint(event):
    """The SHA-256 (64 hex digits) of everything that `event` says and of the hash before it."""
    values = [getattr(event, column) for column in CONTENT.values()]
    values[_PLACE_OF_AT] = event.at.astimezone(UTC).isoformat(timespec="microseconds")
    return fingerprint_of(values, event.data)


def fingerprint_of(values, data):
    """The same of a sequence of the values in the order of `CONTENT`, `at` as ISO text; `data` is given apart.

    They are hashed as one JSON object, without blanks, with sorted keys and nothing but ASCII.
    """
    parts = [
        _quoted(value) if isinstance(value, str) else "null" if value is None else str(value)
        for value in values
    ]
    parts[_PLACE_OF_DATA] = "{}" if data == {} else json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256((_TEXT % tuple(parts)).encode()).hexdigest()


def moment(vendor, column):
    """SQL for a time as ISO text in UTC, to the microsecond, as it is hashed and exported."""
    if vendor == "postgresql":
        return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US') || '+00:00'"""
    whole = f"CASE length({column}) WHEN 19 THEN '.000000' ELSE '' END"
    return f"substr({column}, 1, 10) || 'T' || substr({column}, 12) || {whole} || '+00:00'"


def columns(vendor):
    """The content of an event as SQL gives it quickest: `at` is ISO text in UTC, `data` JSON text."""
    as_text = {"at": moment(vendor, "at"), "data": "data || ''" if vendor == "sqlite" else "data"}
    return [as_text.get(column, column) for column in CONTENT.values()]
