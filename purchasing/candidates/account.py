"""The account of a text: every record in its place, numbers that stand twice told apart, nothing beyond the limit."""

from purchasing.candidates.fields import Claims, candidate
from purchasing.candidates.results import (
    MAX_LINES,
    Candidate,
    NotUnderstood,
    Pasted,
    Repeat,
    Skipped,
    check_size,
)
from purchasing.candidates.scan import Found
from purchasing.candidates.text import tidy


class Account:
    """Collects what stands in a text."""

    def __init__(self) -> None:
        self.candidates: list[Candidate] = []
        self.not_understood: list[NotUnderstood] = []
        self.repeats: list[Repeat] = []
        self.skipped: list[Skipped] = []
        self._first_lines: dict[str, int] = {}
        self._count = 0

    def found(self, found: Found, said: Claims, *, line: int, written: str, span: int = 1) -> None:
        """Add a number, or what looks like one and was not understood."""
        if found.number is None:
            self.not_understand(line, written, found.reason, span)
        elif (first := self._first_lines.get(found.number.phone_number)) is not None:
            self._counted()
            self.repeats.append(Repeat(line, tidy(written), found.number.phone_number, first, span))
        else:
            self._counted()
            self._first_lines[found.number.phone_number] = line
            self.candidates.append(candidate(found, said, line=line, written=written, span=span))

    def not_understand(self, line: int, written: str, reason: str, span: int = 1) -> None:
        """Add something that should be a number and was not understood."""
        self._counted()
        self.not_understood.append(NotUnderstood(line, tidy(written), reason, span))

    def skip(self, line: int, written: str, reason: str, span: int = 1) -> None:
        """Add lines in which no number is expected."""
        self.skipped.append(Skipped(line, tidy(written), reason, span))

    def pasted(self, *, held_secret: bool, shape: str) -> Pasted:
        """Return the whole account."""
        return Pasted(
            tuple(self.candidates),
            tuple(self.not_understood),
            tuple(self.repeats),
            tuple(self.skipped),
            held_secret,
            shape,
        )

    def _counted(self) -> None:
        self._count += 1
        check_size(self._count, MAX_LINES, "numbers")
