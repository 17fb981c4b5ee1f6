"""Events as a file: exactly those that match a filter, newest first, streamed as they are read.

The first line names the exporter, the filter, the head of the chain and the newest seal; with these the whole record
can be checked later. JSON Lines contain everything that the hash of an event covers (audit/chain.py). Only people who
see every team get IP addresses and hashes: the hash and the rest of an event are enough to work out its address.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from django.db import connection

from purchasing import audit, clock, words
from purchasing.audit.chain import moment
from purchasing.audit.search import Reader
from purchasing.audit.spreadsheets import harmless, xlsx
from purchasing.models import AuditHead, AuditSeal, Team

SIZE = 1000  # events read at once
# Title in a spreadsheet, name in JSON, SQL on an event `e`. `_sql` fills in None; the formats fill in 'what'.
COLUMNS: list[tuple[str, str, str | None]] = [
    ("Event", "seq", "e.seq"),
    ("Time (UTC)", "at", None),
    ("Who", "actor_name", "e.actor_name"),
    ("Role", "actor_role", "e.actor_role"),
    ("Standing in for", "on_behalf_of", "e.on_behalf_of"),
    ("What", "what", "''"),
    ("Phone number", "phone_number", "e.phone_number"),
    ("Before", "was", "e.was"),
    ("After", "became", "e.became"),
    ("Reason", "note", "e.note"),
    ("Team", "team_name", f"(SELECT t.name FROM {Team._meta.db_table} t WHERE t.id = e.team_id)"),
    ("Request", "request", "e.request_id"),
    ("Action", "action", "e.action"),
    ("Details", "data", None),
    ("Address", "ip", "e.ip"),
    ("Click", "click", "e.click"),
    ("Person's id", "actor", "e.actor_id"),
    ("Team's id", "team", "e.team_id"),
    ("Number's id", "purchase", "e.purchase_id"),
    ("Attempt's id", "attempt", "e.attempt_id"),
    ("Hash before", "previous_hash", "e.previous_hash"),
    ("Hash", "hash", "e.hash"),
]
NAMES = [name for _, name, _ in COLUMNS]
_WHAT, _ACTION, _DATA = (NAMES.index(name) for name in ("what", "action", "data"))
# The columns with text that people wrote, which a spreadsheet could take for a formula.
_WORDS = [NAMES.index(n) for n in ("actor_name", "on_behalf_of", "phone_number", "note", "team_name", "data")]


@dataclass(frozen=True)
class Format:
    """A kind of file: its content type, and the function that makes the pieces (texts or bytes) of an `Export`."""

    content_type: str
    pieces: "Callable[[Export], Iterator[str] | Iterator[bytes]]"


@dataclass
class Export:
    """What is exported; it is read as the file is written."""

    reader: Reader
    about: dict[str, str]  # the first line: {title: text}
    with_ip: bool

    def batches(self) -> Iterator[list[tuple[Any, ...]]]:
        """Lists of tuples in the order of `COLUMNS`; the column 'what' is still empty."""
        return self.reader.batches(_sql(self.with_ip), SIZE)


def begin(
    kind: str, *, reader: Reader, filtered: str, actor: audit.Actor, sees_all: bool
) -> Iterator[str] | Iterator[bytes]:
    """Record an export and return its pieces; `filtered` is the filter in words. It contains no later events."""
    head = AuditHead.objects.get(pk=AuditHead.ONLY)
    seal = AuditSeal.objects.order_by("-number").first()
    low, high = reader.limits
    reader.limits = (low, min(high, head.seq + 1))
    about = {
        "Number Desk": "events of the audit record",
        "Exported": f"{clock.now().astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC by {actor.name}",
        "Filter": filtered,
        "Head of the chain": f"event {head.seq}, {head.hash}",
        "Newest seal": _in_words(seal) if seal else "none yet",
    }
    audit.record("audit.exported", actor=actor, format=kind, filter=filtered, head=head.seq)
    return FORMATS[kind].pieces(Export(reader, about, with_ip=sees_all))


def _in_words(seal: AuditSeal) -> str:
    return (
        f"seal {seal.number} of {seal.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC: event {seal.seq}, {seal.hash}, "
        f"public key {seal.public_key}, signature {seal.signature}"
    )


def _sql(with_ip: bool) -> str:
    special = {
        "at": moment(connection.vendor, "e.at"),
        "data": "e.data::text" if connection.vendor == "postgresql" else "e.data || ''",
    }
    if not with_ip:
        special |= dict.fromkeys(("ip", "hash", "previous_hash"), "''")
    return ", ".join(special.get(name) or sql or "''" for _, name, sql in COLUMNS)


# --- Formats --------------------------------------------------------------------------------------------------------


def _csv(export: Export) -> Iterator[str]:
    """UTF-8 with a byte order mark for spreadsheets, commas, and the rule of spreadsheets.py."""
    text = io.StringIO()
    writer = csv.writer(text)
    about = [harmless(f"{title}: {value}") for title, value in export.about.items()]
    writer.writerows([about, [title for title, _, _ in COLUMNS]])
    yield "\ufeff" + text.getvalue()
    what = _Words()
    for rows in export.batches():
        text.seek(0)
        text.truncate()
        writer.writerows([_safe(row, what) for row in rows])
        yield text.getvalue()


def _safe(values: Sequence[Any], what: "_Words") -> list[Any]:
    row = list(values)
    row[_WHAT] = what[row[_ACTION]]
    for place in _WORDS:
        if row[place]:
            row[place] = harmless(row[place])
    return row


def _json_lines(export: Export) -> Iterator[str]:
    """One object per line: first the description of the export, then the events."""
    yield json.dumps(export.about, ensure_ascii=False) + "\n"
    what = _Words()
    for rows in export.batches():
        lines = []
        for row in rows:
            event = dict(zip(NAMES, row, strict=True))
            event["what"] = what[event["action"]]
            event["data"] = json.loads(event["data"])
            lines.append(json.dumps(event, ensure_ascii=False))
        yield "\n".join(lines) + "\n"


def _xlsx(export: Export) -> Iterator[bytes]:
    """A workbook with only text in its cells."""
    return xlsx(_cells(export), name="Events", width=len(COLUMNS))


def _cells(export: Export) -> Iterator[list[str]]:
    yield [f"{title}: {value}" for title, value in export.about.items()]
    yield [title for title, _, _ in COLUMNS]
    what = _Words()
    for rows in export.batches():
        for row in rows:
            cells = ["" if value is None else str(value) for value in row]
            cells[_WHAT] = what[cells[_ACTION]]
            yield cells


class _Words(dict[str, str]):
    """Actions in words, each looked up once."""

    def __missing__(self, action: str) -> str:
        self[action] = words.action_in_words(action)
        return self[action]


FORMATS = {
    "csv": Format("text/csv; charset=utf-8", _csv),
    "jsonl": Format("application/x-ndjson; charset=utf-8", _json_lines),
    "xlsx": Format("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", _xlsx),
}
