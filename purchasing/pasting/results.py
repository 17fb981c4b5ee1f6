"""The result of reading a pasted text: a record for each number and for each line without one."""

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

MAX_CHARACTERS = 1_000_000
MAX_LINES = 10_000  # lines that are not blank, JSON entries, numbers
MAX_WRITTEN = 200  # characters kept of the source of a record, and of a name
TOO_MANY = f"This is more than {MAX_LINES:,} numbers. Paste it in smaller parts."


class TooLarge(ValueError):
    """The pasted text is too long to read at once. The text of the error is written for staff."""


@dataclass(frozen=True)
class Candidate:
    """A phone number that was read. Everything but the number is a claim of the text or of the numbering plan."""

    line: int  # first line in the cleaned text, from 1
    written: str  # its source in the text, redacted and cut
    phone_number: str  # E.164 with its plus sign
    country_code: str  # ISO alpha-2: as pasted if it fits the number, else by the plan; '' if unknown
    number_type: str  # 'local', 'mobile', 'national', 'toll-free'; '' if unknown
    name: str = ""
    upfront_cost: Decimal | None = None
    monthly_cost: Decimal | None = None
    features: tuple[str, ...] = ()
    region: str = ""
    requirement_group_id: int | None = None
    warnings: tuple[str, ...] = ()  # sentences for staff
    span: int = 1  # how many lines it covers


@dataclass(frozen=True)
class NotUnderstood:
    """Something that looks like a number, or should contain one, and could not be read."""

    line: int
    written: str
    reason: str  # one sentence for staff
    span: int = 1


@dataclass(frozen=True)
class Repeat:
    """A number that occurs further up as well; the first occurrence is the candidate."""

    line: int
    written: str
    phone_number: str
    first_line: int
    span: int = 1


@dataclass(frozen=True)
class Skipped:
    """Lines in which no number is expected: headings, text without a number, JSON around the entries."""

    line: int
    written: str
    reason: str
    span: int = 1


Record = Candidate | NotUnderstood | Repeat | Skipped


@dataclass(frozen=True)
class Pasted:
    """The records of a text. `purchasing.pasting` explains how they account for its lines."""

    candidates: tuple[Candidate, ...] = ()
    not_understood: tuple[NotUnderstood, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    held_secret: bool = False  # the text contained an API key, which was removed
    shape: str = "lines"  # what the text was read as: 'json', 'jsonl', 'table' or 'lines'

    @property
    def records(self) -> list[Record]:
        """Every record, by line; within a line the numbers come first."""
        everything: list[Record] = [*self.candidates, *self.not_understood, *self.repeats, *self.skipped]
        return sorted(everything, key=lambda record: record.line)


def check_size(count: int, limit: int, what: str) -> None:
    """Raise TooLarge if `count` exceeds `limit`."""
    if count > limit:
        raise TooLarge(f"This is more than {limit:,} {what}. Paste it in smaller parts.")


def dump(pasted: Pasted) -> dict[str, Any]:
    """Return the records of a text as a dict for JSON, which `load` turns back into an equal Pasted."""
    return {
        "candidates": [_packed(candidate) for candidate in pasted.candidates],
        "not_understood": [[n.line, n.written, n.reason, n.span] for n in pasted.not_understood],
        "repeats": [[r.line, r.written, r.phone_number, r.first_line, r.span] for r in pasted.repeats],
        "skipped": [[s.line, s.written, s.reason, s.span] for s in pasted.skipped],
        "held_secret": pasted.held_secret,
        "shape": pasted.shape,
    }


def load(kept: dict[str, Any]) -> Pasted:
    """Return the Pasted that `dump` was given."""
    return Pasted(
        candidates=tuple(_unpacked(each) for each in kept["candidates"]),
        not_understood=tuple(NotUnderstood(*each) for each in kept["not_understood"]),
        repeats=tuple(Repeat(*each) for each in kept["repeats"]),
        skipped=tuple(Skipped(*each) for each in kept["skipped"]),
        held_secret=kept["held_secret"],
        shape=kept["shape"],
    )


_BLANK = {field.name: field.default for field in fields(Candidate)}
_COSTS = ("upfront_cost", "monthly_cost")


def _packed(candidate: Candidate) -> dict[str, Any]:
    """Return the fields that differ from their defaults; a text can have 10,000 candidates."""
    packed = {name: getattr(candidate, name) for name in _BLANK}
    packed |= {name: str(packed[name]) for name in _COSTS if packed[name] is not None}
    return {name: value for name, value in packed.items() if value != _BLANK[name]}


def _unpacked(kept: dict[str, Any]) -> Candidate:
    kept = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
    kept |= {name: Decimal(kept[name]) for name in _COSTS if name in kept}
    return Candidate(**kept)
