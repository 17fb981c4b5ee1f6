"""Events as a file: exactly what a filter lets through, newest first, written while it is read.

The first line says whose export it is, of what, and where the chain stands: its head and its newest seal, with which
the whole record can be checked later. JSON Lines hold what the hash of each event is made of (audit/chain.py). Only who
sees every team gets addresses, and hashes: from one and the rest of an event its address could be computed.
"""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

from django.db import connection

from purchasing import audit, clock, words
from purchasing.audit.chain import moment
from purchasing.audit.spreadsheets import harmless, xlsx
from purchasing.models import AuditHead, AuditSeal, Team

SIZE = 1000  # events read at once
# Title in a spreadsheet, name in JSON, SQL on an event `e`. The column 'what' is filled in here.
COLUMNS = [
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
# Where people's words stand, which a spreadsheet could take for something else.
_WORDS = [NAMES.index(n) for n in ("actor_name", "on_behalf_of", "phone_number", "note", "team_name", "data")]


@dataclass(frozen=True)
class Format:
    """A kind of file: what browsers call it, and what makes its pieces (texts or bytes) of an `Export`."""

    content_type: str
    pieces: Callable


@dataclass
class Export:
    """What is exported: pieces of a file, made while they are asked for."""

    reader: object
    about: dict  # the first line: {title: text}
    with_ip: bool

    def batches(self):
        """Lists of tuples in the order of `COLUMNS`; what an event is in words is not filled in yet."""
        return self.reader.batches(_sql(self.with_ip), SIZE)


def begin(kind, *, reader, filtered, actor, sees_all):
    """Record an export and give its pieces: `filtered` is the filter in words. Nothing that comes later is in it."""
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


def _in_words(seal):
    return (
        f"seal {seal.number} of {seal.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC: event {seal.seq}, {seal.hash}, "
        f"public key {seal.public_key}, signature {seal.signature}"
    )


def _sql(with_ip):
    special = {
        "at": moment(connection.vendor, "e.at"),
        "data": "e.data::text" if connection.vendor == "postgresql" else "e.data || ''",
    }
    if not with_ip:
        special |= dict.fromkeys(("ip", "hash", "previous_hash"), "''")
    return ", ".join(special.get(name, sql) for _, name, sql in COLUMNS)


# --- Formats --------------------------------------------------------------------------------------------------------


def _csv(export):
    """UTF-8 with a mark that lets spreadsheets know it, commas, and the rule of spreadsheets.py."""
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


def _safe(row, what):
    row = list(row)
    row[_WHAT] = what[row[_ACTION]]
    for place in _WORDS:
        if row[place]:
            row[place] = harmless(row[place])
    return row


def _json_lines(export):
    """An object a line: first what this is, then the events."""
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


def _xlsx(export):
    """A workbook with nothing but text in its cells."""
    return xlsx(_cells(export), name="Events", width=len(COLUMNS))


def _cells(export):
    yield [f"{title}: {value}" for title, value in export.about.items()]
    yield [title for title, _, _ in COLUMNS]
    what = _Words()
    for rows in export.batches():
        for row in rows:
            cells = ["" if value is None else str(value) for value in row]
            cells[_WHAT] = what[cells[_ACTION]]
            yield cells


class _Words(dict):
    """Actions in words, each looked up once."""

    def __missing__(self, action):
        self[action] = words.action_in_words(action)
        return self[action]


FORMATS = {
    "csv": Format("text/csv; charset=utf-8", _csv),
    "jsonl": Format("application/x-ndjson; charset=utf-8", _json_lines),
    "xlsx": Format("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", _xlsx),
}
