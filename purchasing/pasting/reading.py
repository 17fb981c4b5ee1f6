"""Reads a whole text: decides whether it is JSON, a table or lines, and accounts for every part."""

import re
from bisect import bisect_right
from itertools import accumulate, islice

from purchasing.pasting import tables
from purchasing.pasting.account import Account
from purchasing.pasting.fields import Claims, candidate
from purchasing.pasting.json_entries import Block, Reader, read_entry
from purchasing.pasting.lines import NO_NUMBER, read_line
from purchasing.pasting.numbers import TOO_SHORT, supported
from purchasing.pasting.results import MAX_CHARACTERS, MAX_LINES, Candidate, NotUnderstood, Pasted, check_size
from purchasing.pasting.scan import Finder
from purchasing.pasting.text import clean, cut, printable
from purchasing.redaction import holds_secret, redact

SEVERAL = "There is more than one number here. Enter only one."
_OPENS = re.compile(r"^\s*[\[{]|[\[{]\s*(?:[\"\[{]|$)")
# Commands and HTTP headers are full of figures that nobody takes for phone numbers.
_COMMAND = re.compile(
    r"\s*(?:[<>*$%] |HTTP/|curl\b|[a-z0-9]+(?:-[a-z0-9]+)*:\s|[A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]*)+:\s)"
)
_TRIES = 3  # places in a line where JSON is tried
_ODD_BLANK = {
    ord(blank): " "
    for blank in "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
}
_CURLY = {ord(quote): '"' for quote in "“”„‟"}


def read(text: str, *, default_country: str = "") -> Pasted:
    """Read a pasted text; numbers without a calling code count as numbers of `default_country`.

    Raises TooLarge and nothing else.
    """
    check_size(len(text), MAX_CHARACTERS, "characters")
    shown = printable(text)
    region = supported(default_country)
    account = Account()
    shape = _Text(redact(shown), region, account).read()
    return account.pasted(held_secret=holds_secret(shown), shape=shape)


def number(text: str, *, default_country: str = "") -> Candidate | NotUnderstood:
    """Read the one number of a form field."""
    line = clean(text[:2000]).replace("\n", " ")
    found = Finder().find(line, supported(default_country)).found
    if len(found) == 1 and found[0].number and len(text) <= 2000:
        return candidate(found[0].number, Claims(), line=1, written=line, warning=found[0].warning)
    reason = (found[0].reason or SEVERAL) if found else (TOO_SHORT if re.search(r"\d", line) else NO_NUMBER)
    return NotUnderstood(1, cut(line), SEVERAL if len(found) > 1 else reason)


class _Text:
    """One clean text while it is read into an account."""

    def __init__(self, text: str, region: str, account: Account):
        self._text, self._region, self._account = text, region, account
        self._lines = text.split("\n")
        self._starts = [0, *accumulate(len(line) + 1 for line in self._lines)]

    def read(self) -> str:
        """Fill the account; return the shape of the text."""
        blocks = self._blocks()
        if blocks:
            self._read_around(blocks)
        elif not self._read_table():
            self._check_lines(self._lines)
            for line, text in enumerate(self._lines, start=1):
                if text.strip():
                    read_line(self._account, line, text, self._region)
            return "lines"
        self._skip_the_rest()
        if not blocks:
            return "table"
        return "json" if len(blocks) == 1 else "jsonl"

    def _check_lines(self, lines: list[str]) -> None:
        check_size(sum(1 for line in lines if line.strip()), MAX_LINES, "lines")

    def _read_table(self) -> bool:
        self._check_lines(self._lines)
        return tables.read(self._account, self._lines, self._region)

    def _blocks(self) -> list[tuple[int, Block]]:
        """Find the JSON in the text."""
        if "{" not in self._text and "[" not in self._text:
            return []
        text = self._json_text()
        reader = Reader(text)
        blocks: list[tuple[int, Block]] = []
        read_to = 0
        for line, start in enumerate(self._starts[:-1]):
            begin, stop = max(start, read_to), start + len(self._lines[line])
            for opening in islice(_OPENS.finditer(text[begin:stop]), _TRIES) if begin <= stop else ():
                at = begin + opening.end() - len(opening[0].lstrip())
                if block := reader.block(at):
                    blocks.append((at, block))
                    read_to = block.end
                    break
        return blocks if any(block.holds_a_number for _, block in blocks) or self._is_all(blocks) else []

    def _is_all(self, blocks: list[tuple[int, Block]]) -> bool:
        """Return whether the text is only these blocks: an answer without numbers, not a list with a {} in it."""
        ends = [0, *(block.end for _, block in blocks)]
        starts = [*(start for start, _ in blocks), len(self._text)]
        return not any(self._text[end:start].strip() for end, start in zip(ends, starts, strict=True))

    def _json_text(self) -> str:
        """Return the text with spaces that JSON accepts, and with straight quotes if all its quotes are curly."""
        if self._text.isascii():
            return self._text
        text = self._text.translate(_ODD_BLANK)
        return text if '"' in text else text.translate(_CURLY)

    def _read_around(self, blocks: list[tuple[int, Block]]) -> None:
        """Read the blocks, and the numbers in the text between them."""
        read_to = 0
        for start, block in [*blocks, (len(self._text), Block([], len(self._text)))]:
            self._read_between(read_to, start)
            for entry in block.entries:
                line = self._line_of(entry.start)
                span = self._line_of(max(entry.end - 1, entry.start)) - line + 1
                read_entry(self._account, entry, self._text, line=line, span=span, region=self._region)
            read_to = block.end

    def _read_between(self, start: int, end: int) -> None:
        if start >= end:
            return
        first = self._line_of(start)
        pieces = self._text[start:end].split("\n")
        self._check_lines(pieces)
        for line, piece in enumerate(pieces, start=first):
            found = self._account.finder.find(piece, self._region).found
            if _COMMAND.match(piece):
                found = [one for one in found if one.number]
            for one in found:
                written = piece if len(found) == 1 else one.written
                self._account.add(one, Claims(), line=line, written=written)

    def _line_of(self, place: int) -> int:
        return min(bisect_right(self._starts, place), len(self._lines))

    def _skip_the_rest(self) -> None:
        """Add a skipped record for each run of lines that no record covers."""
        covered = bytearray(len(self._lines) + 2)
        for record in self._account.records:
            covered[record.line : record.line + record.span] = b"\1" * record.span
        first = 0
        for line, text in enumerate([*self._lines, ""], start=1):
            free = not covered[line] and text.strip()
            if free and not first:
                first, last = line, line
            elif free:
                last = line
            elif first and (covered[line] or line > len(self._lines)):
                written = " ".join(self._lines[first - 1 : min(last, first + 20)])
                self._account.skip(first, written, NO_NUMBER, last - first + 1)
                first = 0
