"""Faults in lists: numbers missing from the account's list, offers that differ from the documentation.

A fault with a `phone_number` affects only that entry.
"""

import copy
from datetime import UTC, datetime

from sandbox.api import Answer
from sandbox.kinds import AFTER, ALTER, Kinds

KINDS = Kinds()
EITHER = ("list", "available")
JUNK = [None, 17, "text", [], {}, {"id": "x", "phone_number": 5}, {"id": None, "phone_number": None}]
ODD_VALUES = {
    "country_code": 49,
    "number_type": ["mobile"],
    "upfront_cost": {"amount": "1.00"},
    "monthly_cost": 1.5,
    "features": "sms, voice",
    "region_information": {"region_type": "country"},
}
EXTRA_FIELDS = {"reservable": True, "vanity": {"words": ["<b>bold</b>", None]}, "quality_score": 1e300}


# Missing entries


@KINDS.kind("list_lag", ALTER, endpoints=("list",), seconds=10.0)
def lag(fault, entries, scene):
    """Numbers bought less than `seconds` ago are not in the list yet."""
    now = datetime.now(UTC)

    def is_listed(entry):
        age = now - datetime.fromisoformat(scene.bought_at(entry["id"]))
        return age.total_seconds() >= fault.seconds or not _is_meant(fault, entry)

    return [entry for entry in entries if is_listed(entry)]


@KINDS.kind("list_empty", ALTER, endpoints=EITHER)
@KINDS.kind("offers_empty", ALTER, endpoints=("available",))
def empty(fault, entries, scene):
    """The list is empty; with `phone_number` only that number is missing."""
    return [entry for entry in entries if not _is_meant(fault, entry)]


@KINDS.kind("list_half", ALTER, endpoints=EITHER)
@KINDS.kind("offers_half", ALTER, endpoints=("available",))
def half(fault, entries, scene):
    """Only the first half: the newest of the bought numbers are missing."""
    return entries[: len(entries) // 2]


@KINDS.kind("list_garbage", ALTER, endpoints=EITHER)
@KINDS.kind("offers_garbage", ALTER, endpoints=("available",))
def garbage(fault, entries, scene):
    """Invalid entries of every kind, then the proper ones with a string as id."""
    return JUNK + [entry | {"id": str(entry.get("id"))} for entry in entries]


@KINDS.kind("list_paged", AFTER, endpoints=("list", "available", "projects"))
def paged(fault, line, answer, scene):
    """Pages by `page` and `per_page` (20) with a `meta`, as the overview promises for lists (PAG, REF-A)."""
    page = _positive(scene.query.get("page"), 1)
    per_page = min(_positive(scene.query.get("per_page"), 20), 100)
    entries = answer.payload["data"]
    meta = {
        "current_page": page,
        "per_page": per_page,
        "total_pages": -(-len(entries) // per_page),
        "total_count": len(entries),
    }
    line.send(Answer(answer.status, {"data": entries[(page - 1) * per_page : page * per_page], "meta": meta}))


# Offers that differ from the documentation


@KINDS.kind("offers_missing", ALTER, endpoints=("available",))
def missing(fault, entries, scene):
    """`field` is missing; without one, all but the phone number is."""

    def strip(entry):
        gone = {fault.field} if fault.field else set(entry) - {"phone_number"}
        return {name: value for name, value in entry.items() if name not in gone}

    return _changed(fault, entries, strip)


@KINDS.kind("offers_null", ALTER, endpoints=("available",))
def null(fault, entries, scene):
    """`field` is null; without one, all but the phone number is."""

    def blank(entry):
        names = {fault.field} if fault.field else set(entry) - {"phone_number"}
        return entry | dict.fromkeys(names)

    return _changed(fault, entries, blank)


@KINDS.kind("offers_odd", ALTER, endpoints=("available",))
def odd(fault, entries, scene):
    """Fields with other types than documented."""
    return _changed(fault, entries, lambda entry: entry | copy.deepcopy(ODD_VALUES))


@KINDS.kind("offers_extra", ALTER, endpoints=("available",))
def extra(fault, entries, scene):
    """Undocumented fields."""
    return _changed(fault, entries, lambda entry: entry | EXTRA_FIELDS)


@KINDS.kind("offers_cost", ALTER, endpoints=("available",), field="monthly_cost", value="NaN")
def cost(fault, entries, scene):
    """`field`, a cost or any other, has this `value`: 1e400, NaN, 1,00, -1.00 or anything else."""
    return _changed(fault, entries, lambda entry: entry | {fault.field: fault.value})


def _is_meant(fault, entry):
    return fault.phone_number in (None, entry["phone_number"])


def _positive(text, default):
    return int(text) if text and len(text) < 9 and text.isdecimal() and int(text) else default


def _changed(fault, entries, change):
    return [change(entry) if _is_meant(fault, entry) else entry for entry in entries]
