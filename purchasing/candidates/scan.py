"""Finds the phone numbers in one line of text, in time linear in its length.

What looks like a number and is none (a date, a time, a price, an order number, a web address) is left alone; what may be
one and cannot be read as exactly one comes back with the reason.
"""

import re
from dataclasses import dataclass

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
from purchasing.candidates.numbers import NO_COUNTRY, TOO_LONG, TWO_READINGS, Number, international, national
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
_WORD_BEHIND = re.compile(r"[ -]?[A-Z]{3,}(?![a-z])")
_FLOAT = re.compile(r"\d{7,15}\.0{1,2}")
_MOST_GROUPS = 20  # no number is written in more groups of digits
_COMPACT = 9  # digits without a space that stand for a whole number


@dataclass(frozen=True, slots=True)
class Found:
    """One number, or one thing that is not understood, as it stands in its line."""

    written: str
    number: Number | None
    reason: str = ""
    extension: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """What stands in one line, in its order, and whether the line holds words or digits besides."""

    found: list[Found]
    prose: bool
    digits: bool


@dataclass(frozen=True, slots=True)
class _Group:
    digits: str
    before: str  # what stands between it and the group before
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Line:
    written: str
    text: str  # of the same length: plain, and what is surely no phone number blanked out
    region: str
    prose: bool
    amounts: frozenset[int]  # where a bare amount stands behind


def find(line: str, region: str = "", *, only_plus: bool = False) -> Scan:
    """Look for phone numbers in one line; `only_plus` leaves alone what has no plus sign."""
    written = decoded(line)
    text, blanked = masked(plain(written))
    if not _DIGITS.search(text) and not blanked:
        return Scan([], letters_outside_labels(text), False)
    amounts = frozenset(match.start() - 1 for match in blanked if match["weak"])
    where = _Line(written, text, region, letters_outside_labels(text), amounts)
    found = [
        (match.start(), Found(written[slice(*match.span())], None, DAMAGED))
        for match in blanked
        if match["damaged"]
    ]
    for token in _TOKEN.finditer(text, list_mark(text)):
        if token["plus"] or not (only_plus or is_identifier(text, token.start(), token.end())):
            found += _numbers(where, token)
    if not found and (match := VANITY.search(text)):
        found.append((match.start(), Found(written[slice(*match.span())], None, LETTERS)))
    found.sort(key=lambda place: place[0])
    return Scan([one for _, one in found], where.prose, _DIGITS.search(text) is not None)


def _numbers(line: _Line, token: re.Match) -> list[tuple[int, Found]]:
    """Read one run of digits: mostly one number, at times several."""
    plus = token["plus"] is not None
    groups = _groups(line.text, token)
    found = []
    while groups:
        used, result = _international(groups, 0) if plus else _bare(groups, line.region)
        start, end = groups[0].start if found else token.start(), groups[used - 1].end
        extension = None
        if used == len(groups):
            extension = EXTENSION.match(line.text, end)
            result = result if extension else _in_its_place(result, line, end, groups)
        if line.prose and not plus and isinstance(result, Number) and not result.known:
            result = UNSURE
        if isinstance(result, Number):
            behind = extension.end() if extension else end
            found.append(
                (
                    start,
                    Found(line.written[start:behind], result, "", extension["digits"] if extension else ""),
                )
            )
        elif sum(len(group.digits) for group in groups[:used]) >= _worth_saying(plus, line.prose):
            found.append((start, Found(line.written[start:end], None, result)))
        groups, plus = groups[used:], False
    return found


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
    return 7


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


def _international(groups: list[_Group], dropped: int) -> tuple[int, Number | str]:
    """Read groups that begin with a calling code, after `dropped` digits: how many were used, and what came of it."""
    few = groups[:_MOST_GROUPS]
    whole = international(_joined(few)[dropped:]) if len(few) == len(groups) else TOO_LONG
    if isinstance(whole, Number):
        return len(groups), _doubted(whole, groups, dropped)
    fits = []
    for used in range(1, len(few)):
        if {" ", "/"}.isdisjoint(few[used].before):
            continue
        digits = _joined(few[:used])[dropped:]
        if len(digits) > 15:
            break
        if isinstance(number := international(digits), Number):
            if used == 1 or few[used].digits.startswith("00"):
                return used, number
            fits.append((used, number))
    if len(fits) == 1:
        return fits[0]
    return len(groups), TWO_READINGS if fits else whole


def _doubted(number: Number, groups: list[_Group], dropped: int) -> Number | str:
    """Return the number, unless a shorter part of the same digits is as good a reading."""
    if len(groups) == 1:
        return number
    first = groups[0].digits[dropped:]
    if len(first) >= _COMPACT and " " in groups[1].before and isinstance(international(first), Number):
        return TWO_READINGS
    return SLASH if _ends_in_a_variant(groups) else number


def _ends_in_a_variant(groups: list[_Group]) -> bool:
    return "/" in groups[-1].before and len(groups[-1].digits) <= 3


def _bare(groups: list[_Group], region: str) -> tuple[int, Number | str]:
    """Read groups without a plus sign: behind 00 or 011, or as the country dials them."""
    start = _joined(groups[:3])
    if start.startswith("00"):
        used, result = _international(groups, 2)
    elif start.startswith("011") and (not region or region in _NORTH_AMERICA):
        used, result = _international(groups, 3)
    else:
        used, result = len(groups), NO_COUNTRY
    if not region:
        return used, result
    if isinstance(result, Number) and result.known:
        return used, result
    at_home = _national(groups, region)
    if isinstance(result, Number) and not (isinstance(at_home[1], Number) and at_home[1].known):
        return used, result
    return at_home


def _national(groups: list[_Group], region: str) -> tuple[int, Number | str]:
    few = groups[:_MOST_GROUPS]
    whole = national(_joined(few), region) if len(few) == len(groups) else TOO_LONG
    if isinstance(whole, Number):
        return len(groups), SLASH if _ends_in_a_variant(groups) else whole
    fits = []
    for used in range(1, len(few)):
        if {" ", "/"}.isdisjoint(few[used].before) or few[used].digits[0] != "0" != groups[0].digits[0]:
            continue
        digits = _joined(few[:used])
        if len(digits) > 15:
            break
        if isinstance(number := national(digits, region), Number):
            fits.append((used, number))
    if len(fits) == 1:
        return fits[0]
    return len(groups), TWO_READINGS if fits else whole
