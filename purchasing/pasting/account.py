"""Collects the records of a text and recognises numbers that appear more than once."""

from purchasing.pasting.fields import Claims, candidate
from purchasing.pasting.results import Candidate, NotUnderstood, Pasted, Record, Repeat, Skipped
from purchasing.pasting.scan import Finder, Found
from purchasing.pasting.text import cut


class Account:
    """The records of one text so far."""

    def __init__(self) -> None:
        self.finder = Finder()
        self.candidates: list[Candidate] = []
        self.not_understood: list[NotUnderstood] = []
        self.repeats: list[Repeat] = []
        self.skipped: list[Skipped] = []
        self._first_lines: dict[str, int] = {}

    def add(self, found: Found, claims: Claims, *, line: int, written: str, span: int = 1) -> None:
        """Add a number, or something that looks like one and was not understood."""
        if found.number is None:
            self.add_not_understood(line, written, found.reason, span)
        elif (first := self._first_lines.get(found.number.phone_number)) is not None:
            self.repeats.append(Repeat(line, cut(written), found.number.phone_number, first, span))
        else:
            self._first_lines[found.number.phone_number] = line
            self.candidates.append(
                candidate(found.number, claims, line=line, written=written, span=span, warning=found.warning)
            )

    def add_not_understood(self, line: int, written: str, reason: str, span: int = 1) -> None:
        """Add something that should be a number and was not understood."""
        self.not_understood.append(NotUnderstood(line, cut(written), reason, span))

    def skip(self, line: int, written: str, reason: str, span: int = 1) -> None:
        """Add lines in which no number is expected."""
        self.skipped.append(Skipped(line, cut(written), reason, span))

    @property
    def records(self) -> list[Record]:
        """Every record so far, by kind."""
        return [*self.candidates, *self.not_understood, *self.repeats, *self.skipped]

    def pasted(self, *, held_secret: bool, shape: str) -> Pasted:
        """Return the records as one result."""
        return Pasted(
            tuple(self.candidates),
            tuple(self.not_understood),
            tuple(self.repeats),
            tuple(self.skipped),
            held_secret,
            shape,
        )
