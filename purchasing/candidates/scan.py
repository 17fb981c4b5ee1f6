"""Finds the phone numbers in one line of text, in time linear in its length.

What looks like a number and is none (a date, a time, a price, an order number, a web address) is left alone; what may be
one and cannot be read as exactly one comes back with the reason.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import phonenumbers

from purchasing.candidates.marks import (
    EXTENSION,
    VANITY,
    decoded,
    is_identifier,
    letters_outside_labels,
    list_mark,
    masked,
)
from purchasing.candidates.numbers import LONGEST, NO_COUNTRY, SHORTEST, TOO_LONG, TWO_READINGS, Number, Plan
from purchasing.candidates.results import MAX_LINES, TOO_MANY, TooLarge
from purchasing.candidates.text import plain

LETTERS = "Letters stand in this number. Write it with digits only."
DAMAGED = "A spreadsheet has shortened this number, and its last digits are lost. Set the column to text there, and copy it again."
UNSURE = (
    "It is not clear that this is a phone number. If it is, write it with + and the calling code in front."
)
SLASH = "It is not clear what stands behind the slash. Write each number in full, on a line of its own."
_NORTH_AMERICA = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1])

# What may stand between two digits of one number: bounded, so that looking on from any place is cheap.
_BETWEEN = r"(?=[ .\-/()\[\]]) ?[)\]]? ?(?:[./]|-{1,2})? ?[(\[]? ?"
_TOKEN = re.compile(rf"(?P<plus>[(\[]{{0,2}}\+{{1,3}}[ .(\[\])-]{{0,3}}(?=\d))?\d+(?:{_BETWEEN}\d+)*")
_DIGITS = re.compile(r"\d+")
_ALONE = re.compile(r"[ \t\"']*\+([1-9][0-9]{6,14})[ \t\"',;]*")  # most lists hold nothing else
_WORD_BEHIND = re.compile(r"[ -]?[A-Z]{3,}(?![a-z])")
_FLOAT = re.compile(r"\d{7,15}\.0{1,2}")
_MOST_GROUPS = 20  # no number is written in more groups of digits
_LONGEST_RUN = 4000  # characters of digits and what stands between them
_COMPACT = 9  # digits without a space that stand for a whole number


class Found(NamedTuple):
    """One number, or one thing that is not understood, as it stands in its line."""

    written: str
    number: Number | None
    reason: str = ""
    extension: str = ""


class Scan(NamedTuple):
    """What stands in one line, in its order, and whether the line holds words or digits besides."""

    found: list[Found]
    prose: bool
    digits: bool


class _Group(NamedTuple):
    digits: str
    before: str  # what stands between it and the group before
    start: int
    end: int


class _Line(NamedTuple):
    written: str
    text: str  # of the same length: plain, and what is surely no phone number blanked out
    region: str
    prose: bool
    amounts: frozenset[int]  # where a bare amount stands behind


class Finder:
    """Looks for phone numbers in the lines of one text."""

    def __init__(self) -> None:
        self._plan = Plan()
        self._count = 0

    def find(self, line: str, region: str = "", *, only_plus: bool = False) -> Scan:
        """Look for phone numbers in one line; `only_plus` leaves alone what has no plus sign."""
        if simple := _ALONE.fullmatch(line):
            alone = _Line(line, line, region, False, frozenset())
            return Scan([self._said(0, len(line), alone, self._plan.international(simple[1]))[1]], False, True)
        written = decoded(line)
        text = plain(written)
        if not _DIGITS.search(text):
            return Scan([], True, False)
        text, blanked = masked(text)
        amounts = frozenset(match.start() - 1 for match in blanked if match["weak"])
        where = _Line(written, text, region, letters_outside_labels(text), amounts)
        found = [self._said(match.start(), match.end(), where, DAMAGED) for match in blanked if match["damaged"]]
        shortest = _fewest_digits(where)
        for token in _TOKEN.finditer(text, list_mark(text)):
            if token["plus"] is None and (
                only_plus or token.end() - token.start() < shortest or is_identifier(text, token.start(), token.end())
            ):
                continue
            found += self._numbers(where, token)
        if not found and (match := VANITY.search(text)):
            found.append(self._said(match.start(), match.end(), where, LETTERS))
        found.sort(key=lambda place: place[0])
        return Scan([one for _, one in found], where.prose, _DIGITS.search(text) is not None)

    def _said(self, start: int, end: int, line: _Line, result: Number | str, extension: str = "") -> tuple[int, Found]:
        self._count += 1
        if self._count > MAX_LINES:
            raise TooLarge(TOO_MANY)
        number = result if isinstance(result, Number) else None
        return start, Found(line.written[start:end], number, "" if number else result, extension)

    def _numbers(self, line: _Line, token: re.Match) -> list[tuple[int, Found]]:
        """Read one run of digits: mostly one number, at times several."""
        if token.end() - token.start() > _LONGEST_RUN:
            return [self._said(*token.span(), line, TOO_LONG)]
        plus = token["plus"] is not None
        groups = _groups(line.text, token)
        found = []
        while groups:
            used, result = self._international(groups, 0) if plus else self._bare(groups, line.region)
            start, end = groups[0].start if found else token.start(), groups[used - 1].end
            extension = None
            if used == len(groups):
                extension = EXTENSION.match(line.text, end)
                result = result if extension else _in_its_place(result, line, end, groups)
            if line.prose and not plus and isinstance(result, Number) and not result.known:
                result = UNSURE
            digits = sum(len(group.digits) for group in groups[:used])
            if isinstance(result, Number) and extension:
                found.append(self._said(start, extension.end(), line, result, extension["digits"]))
            elif isinstance(result, Number) or digits >= _worth_saying(plus, line.prose):
                found.append(self._said(start, end, line, result))
            groups, plus = groups[used:], False
        return found

    def _international(self, groups: list[_Group], dropped: int) -> tuple[int, Number | str]:
        """Read groups that begin with a calling code, after `dropped` digits: how many were used, what came of it."""
        few = groups[:_MOST_GROUPS]
        whole = self._plan.international(_joined(few)[dropped:]) if len(few) == len(groups) else TOO_LONG
        if isinstance(whole, Number):
            return len(groups), self._doubted(whole, groups, dropped)
        fits = []
        for used in _cuts(few):
            number = self._plan.international(_joined(few[:used])[dropped:])
            if isinstance(number, Number):
                if used == 1 or few[used].digits.startswith("00"):
                    return used, number
                fits.append((used, number))
        if len(fits) == 1:
            return fits[0]
        return len(groups), TWO_READINGS if fits else whole

    def _doubted(self, number: Number, groups: list[_Group], dropped: int) -> Number | str:
        """Return the number, unless a shorter part of the same digits is as good a reading."""
        if len(groups) == 1:
            return number
        first = groups[0].digits[dropped:]
        if len(first) >= _COMPACT and " " in groups[1].before and isinstance(self._plan.international(first), Number):
            return TWO_READINGS
        return SLASH if _ends_in_a_variant(groups) else number

    def _bare(self, groups: list[_Group], region: str) -> tuple[int, Number | str]:
        """Read groups without a plus sign: behind 00 or 011, or as the country dials them."""
        start = _joined(groups[:3])
        if start.startswith("00"):
            used, result = self._international(groups, 2)
        elif start.startswith("011") and (not region or region in _NORTH_AMERICA):
            used, result = self._international(groups, 3)
        else:
            used, result = len(groups), NO_COUNTRY
        if not region or (isinstance(result, Number) and result.known):
            return used, result
        at_home = self._national(groups, region)
        if isinstance(result, Number) and not (isinstance(at_home[1], Number) and at_home[1].known):
            return used, result
        return at_home

    def _national(self, groups: list[_Group], region: str) -> tuple[int, Number | str]:
        few = groups[:_MOST_GROUPS]
        whole = self._plan.national(_joined(few), region) if len(few) == len(groups) else TOO_LONG
        if isinstance(whole, Number):
            return len(groups), SLASH if _ends_in_a_variant(groups) else whole
        fits = []
        for used in _cuts(few):
            if groups[0].digits[0] == "0" != few[used].digits[0]:
                continue  # the next number would begin with a 0 as well
            number = self._plan.national(_joined(few[:used]), region)
            if isinstance(number, Number):
                fits.append((used, number))
        if len(fits) == 1:
            return fits[0]
        return len(groups), TWO_READINGS if fits else whole


def _in_its_place(result: Number | str, line: _Line, end: int, groups: list[_Group]) -> Number | str:
    """Return what was read, unless what follows it leaves a doubt."""
    if isinstance(result, Number) and len(groups) > 1 and end in line.amounts:
        return TWO_READINGS
    glued = line.text[end : end + 1]
    if glued.isascii() and glued.isalpha():
        return LETTERS
    spelled = "+" in groups[0].before and _WORD_BEHIND.match(line.text, end)
    return LETTERS if spelled and not isinstance(result, Number) else result


def _worth_saying(plus: bool, prose: bool) -> int:
    """Return how many digits a person takes for a phone number rather than for one of the small figures of a text."""
    if plus:
        return 4 if prose else 1
    return SHORTEST


def _fewest_digits(line: _Line) -> int:
    """Return how long a run without a plus sign has to be to be looked at: the shortest numbers stand alone."""
    return 4 if line.region and not line.prose else SHORTEST


def _groups(text: str, token: re.Match) -> list[_Group]:
    groups = []
    before = token.start()
    end = token.end()
    if _FLOAT.fullmatch(token[0]):  # a spreadsheet's number, written out with its decimals
        end = token.start() + token[0].index(".")
    for run in _DIGITS.finditer(text, token.start(), end):
        groups.append(_Group(run[0], text[before : run.start()], run.start(), run.end()))
        before = run.end()
    return _without_zero_in_brackets(groups, text)


def _without_zero_in_brackets(groups: list[_Group], text: str) -> list[_Group]:
    """Leave the (0) out that is not dialled from abroad; Italy's zero is dialled, and the plan keeps it."""
    first = groups[0].digits
    if not (first.startswith("00") or "+" in groups[0].before) or first.startswith(("39", "0039")):
        return groups
    return [
        group
        for place, group in enumerate(groups)
        if not (
            place
            and group.digits == "0"
            and group.before.rstrip().endswith("(")
            and text[group.end : group.end + 1] == ")"
        )
    ]


def _joined(groups: list[_Group]) -> str:
    return "".join(group.digits for group in groups)


def _cuts(groups: list[_Group]) -> Iterator[int]:
    """Yield after how many groups a number may end and another thing begin."""
    digits = 0
    for used in range(1, len(groups)):
        digits += len(groups[used - 1].digits)
        if digits > LONGEST + 3:
            return
        if digits >= SHORTEST - 1 and not {" ", "/"}.isdisjoint(groups[used].before):
            yield used


def _ends_in_a_variant(groups: list[_Group]) -> bool:
    return "/" in groups[-1].before and len(groups[-1].digits) <= 3
