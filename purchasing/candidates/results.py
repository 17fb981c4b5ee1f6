"""What reading a pasted text gives: one record for each number, and for each line that holds none."""

from dataclasses import dataclass
from decimal import Decimal

MAX_CHARACTERS = 1_000_000
MAX_LINES = 10_000  # lines that are not blank, entries of JSON, numbers
MAX_WRITTEN = 200  # characters kept of what was pasted for one record, and of a name
TOO_MANY = f"This is more than {MAX_LINES:,} numbers. Paste it in smaller parts."


class TooLarge(ValueError):
    """The text is longer than is read in one go; its text says so to staff."""


@dataclass(frozen=True)
class Candidate:
    """A phone number that was read. All but the number itself is a claim of the text or of the numbering plan."""

    line: int  # 1-based line of the cleaned text where it begins
    written: str  # what was pasted for it, redacted and cut
    phone_number: str  # E.164 with its plus sign
    country_code: str  # ISO alpha-2: as pasted if it agrees, else by the plan; '' when unknown
    number_type: str  # 'local', 'mobile', 'national', 'toll-free'; '' when unknown
    name: str = ""
    upfront_cost: Decimal | None = None
    monthly_cost: Decimal | None = None
    features: tuple[str, ...] = ()
    region: str = ""
    requirement_group_id: int | None = None
    warnings: tuple[str, ...] = ()  # sentences for staff
    span: int = 1  # how many lines it takes


@dataclass(frozen=True)
class NotUnderstood:
    """Something that looks like a number, or should hold one, and was not read."""

    line: int
    written: str
    reason: str  # one sentence for staff
    span: int = 1


@dataclass(frozen=True)
class Repeat:
    """A number that stands further up already; the first one is the candidate."""

    line: int
    written: str
    phone_number: str
    first_line: int
    span: int = 1


@dataclass(frozen=True)
class Skipped:
    """Lines in which no number is expected: headings, text without a number, the JSON around the entries."""

    line: int
    written: str
    reason: str
    span: int = 1


Record = Candidate | NotUnderstood | Repeat | Skipped


@dataclass(frozen=True)
class Pasted:
    """A whole text, read. How its lines are accounted for stands in `purchasing.candidates`."""

    candidates: tuple[Candidate, ...] = ()
    not_understood: tuple[NotUnderstood, ...] = ()
    repeats: tuple[Repeat, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    held_secret: bool = False  # an API key stood in the text and was cut out
    shape: str = "lines"  # 'json', 'jsonl', 'table' or 'lines': what it was read as

    @property
    def records(self) -> list[Record]:
        """Every record, by line; of one line the numbers first."""
        everything = [*self.candidates, *self.not_understood, *self.repeats, *self.skipped]
        return sorted(everything, key=lambda record: record.line)


def check_size(count: int, limit: int, what: str) -> None:
    """Raise TooLarge when `count` is beyond `limit`."""
    if count > limit:
        raise TooLarge(f"This is more than {limit:,} {what}. Paste it in smaller parts.")
