"""Finds the phone numbers in one line of text, in time linear in its length.

Things that look like a number and are none (a date, a time, a price, an order number, a web address) are ignored;
something that may be a number and cannot be read as exactly one is returned with the reason.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from purchasing.pasting.digit_groups import Group, Runs, length
from purchasing.pasting.look_alikes import (
    EXTENSION,
    VANITY,
    decoded,
    is_identifier,
    letters_outside_labels,
    list_mark,
    masked,
)
from purchasing.pasting.numbers import SHORTEST, TOO_LONG, TWO_READINGS, Number, Plan
from purchasing.pasting.results import MAX_LINES, TOO_MANY, TooLarge
from purchasing.pasting.text import plain

LETTERS = "This number contains letters. Write it with digits only."
DAMAGED = (
    "A spreadsheet has shortened this number, and its last digits are lost. Format the column there as text, then "
    "copy it again."
)
UNSURE = "This may not be a phone number. If it is one, write it with + and the calling code."

# What may separate two digits of one number: bounded, so that a match from any place is cheap.
_BETWEEN = r"(?=[ .\-/()\[\]]) ?[)\]]? ?(?:[./]|-{1,2})? ?[(\[]? ?"
_TOKEN = re.compile(rf"(?P<plus>[(\[]{{0,2}}\+{{1,3}}[ .(\[\])-]{{0,3}}(?=\d))?\d+(?:{_BETWEEN}\d+)*")
_DIGITS = re.compile(r"\d+")
_ALONE = re.compile(r"[ \t\"']*\+([1-9][0-9]{6,14})[ \t\"',;]*")  # most lists contain nothing else
_WORD_BEHIND = re.compile(r"[ -]?[A-Z]{3,}(?![a-z])")
_FLOAT = re.compile(r"\d{7,15}\.0{1,2}")
_AMOUNT_WITHIN = re.compile(r"(?<!\S)(?:0|[1-9]\d{0,5})\.\d\d(?:\d\d)?(?!\S)")
_NEXT_NUMBER = re.compile(r"[ /-]0|[/(\[]")
_LONGEST_NUMBER = 60  # characters, separators included
_MOST_RUNS = 2 * MAX_LINES
_LONGEST_RUN = 4000  # characters of consecutive numbers without a plus sign


class Found(NamedTuple):
    """One number, or one thing that was not understood, and its text in the line."""

    written: str
    number: Number | None
    reason: str = ""
    warning: str = ""


class Scan(NamedTuple):
    """What was found in one line, in order, and whether the line has prose and digits."""

    found: list[Found]
    prose: bool
    digits: bool


class _Line(NamedTuple):
    written: str
    text: str  # of the same length: normalised, with what is certainly not a phone number blanked out
    prose: bool
    amounts: dict[int, str]  # the digits of each bare amount, by the place where the text before it ends
    runs: Runs


class Finder:
    """Finds phone numbers in the lines of one text."""

    def __init__(self) -> None:
        self._plan = Plan()
        self._count = 0  # things found
        self._runs = 0  # runs of digits examined

    def find(self, line: str, region: str = "", *, only_plus: bool = False) -> Scan:
        """Find the phone numbers in one line; `only_plus` ignores digits without a plus sign."""
        if simple := _ALONE.fullmatch(line):
            return Scan([self._found(line, self._plan.international(simple[1]))], False, True)
        written = decoded(line)
        text = plain(written)
        if not _DIGITS.search(text):
            return Scan([], True, False)
        text, blanked = masked(text)
        amounts = {
            _end_before(text, match): _digits_of_amount(match[0]) for match in blanked if match["weak"]
        }
        where = _Line(written, text, letters_outside_labels(text), amounts, Runs(self._plan, region))
        placed = [
            (match.start(), self._found(written[slice(*match.span())], DAMAGED))
            for match in blanked
            if match["damaged"]
        ]
        shortest = SHORTEST if where.prose or not region else 4
        for token in _TOKEN.finditer(text, list_mark(text)):
            start, end = token.span()
            if token["plus"] or not (only_plus or end - start < shortest or is_identifier(text, start, end)):
                placed += [(start, found) for found in self._numbers(where, token)]
        if not placed and (match := VANITY.search(text)):
            placed.append((match.start(), self._found(written[slice(*match.span())], LETTERS)))
        placed.sort(key=lambda place: place[0])
        return Scan([found for _, found in placed], where.prose, _DIGITS.search(text) is not None)

    def _found(self, written: str, result: Number | str, warning: str = "") -> Found:
        self._count += 1
        if self._count > MAX_LINES:
            raise TooLarge(TOO_MANY)
        return (
            Found(written, result, "", warning)
            if isinstance(result, Number)
            else Found(written, None, result)
        )

    def _numbers(self, line: _Line, token: re.Match[str]) -> Iterator[Found]:
        """Read one run of digits: usually one number, sometimes several."""
        self._runs += 1
        if self._runs > _MOST_RUNS:
            raise TooLarge(TOO_MANY)
        if _is_endless(token[0]):
            yield self._found(line.written[slice(*token.span())], TOO_LONG)
            return
        plus = token["plus"] is not None
        runs = _split_at_brackets(_groups(line.text, token))
        start = token.start()
        while runs:
            groups = runs.pop(0)
            used, result = line.runs.read(groups, plus=plus, amount=line.amounts.get(groups[-1].end, ""))
            if len(groups) > 1 and _AMOUNT_WITHIN.search(line.text, start, groups[-1].end):
                used, result = len(groups), TWO_READINGS
            rest, end = groups[used:], groups[used - 1].end
            if rest:
                runs.insert(0, rest)
            warning = ""
            if not runs:
                result, end, warning = _with_context(result, line, end, plus=plus)
            elif sum(map(length, runs)) < SHORTEST and isinstance(result, Number):
                warning = f"'{line.written[end : token.end()].strip()}' after the number was left out."
                runs, end = [], token.end()
            if line.prose and not plus and isinstance(result, Number) and not result.known:
                result = UNSURE
            if isinstance(result, Number) or length(groups[:used]) >= _fewest_digits(plus, line.prose):
                yield self._found(line.written[start:end], result, warning)
            start = runs[0][0].start if runs else end
            plus = False


def _is_endless(run: str) -> bool:
    """Return whether a run is longer than one number and has no place where a second one could begin."""
    return len(run) > _LONGEST_RUN or (len(run) > _LONGEST_NUMBER and not _NEXT_NUMBER.search(run))


def _end_before(text: str, amount: re.Match[str]) -> int:
    """Return where the text before an amount ends, separators excluded."""
    before = text[max(0, amount.start() - 4) : amount.start()]
    return amount.start() - len(before) + len(before.rstrip(" .-/()[]"))


def _digits_of_amount(amount: str) -> str:
    return "".join(_DIGITS.findall(amount[:12])[:2])


def _with_context(
    result: Number | str, line: _Line, end: int, *, plus: bool
) -> tuple[Number | str, int, str]:
    """Check what follows the last digits: return the reading, or a reason against it, its end and a warning."""
    if extension := EXTENSION.match(line.text, end):
        left_out = f"The extension {extension['digits']} was left out: a purchased number has none."
        return (result, extension.end(), left_out) if isinstance(result, Number) else (result, end, "")
    glued = line.text[end : end + 1]
    spelled = plus and not isinstance(result, Number) and _WORD_BEHIND.match(line.text, end)
    return LETTERS if spelled or (glued.isascii() and glued.isalpha()) else result, end, ""


def _fewest_digits(plus: bool, prose: bool) -> int:
    """Return how many digits a person takes for a phone number rather than for some small figure in a text."""
    if plus:
        return 4 if prose else 1
    return SHORTEST


def _groups(text: str, token: re.Match[str]) -> list[Group]:
    groups = []
    before, end = token.span()
    if _FLOAT.fullmatch(token[0]):  # a phone number that a spreadsheet stored as a float
        end = before + token[0].index(".")
    for run in _DIGITS.finditer(text, before, end):
        groups.append(Group(run[0], text[before : run.start()], run.start(), run.end()))
        before = run.end()
    return _without_zero_in_brackets(groups, text)


def _without_zero_in_brackets(groups: list[Group], text: str) -> list[Group]:
    """Drop the (0) that is not dialled from abroad; Italy's zero is dialled, and the plan keeps it."""
    first = groups[0]
    if not (first.digits.startswith("00") or "+" in first.before) or first.digits.startswith(("39", "0039")):
        return groups
    return [first, *(group for group in groups[1:] if not _is_zero_in_brackets(group, text))]


def _is_zero_in_brackets(group: Group, text: str) -> bool:
    return (
        group.digits == "0" and group.before.rstrip().endswith("(") and text[group.end : group.end + 1] == ")"
    )


def _split_at_brackets(groups: list[Group]) -> list[list[Group]]:
    """Start a new run at an opening bracket that cannot hold an area code: after many digits, or at the very end."""
    runs: list[list[Group]] = [[]]
    for group in groups:
        opens = not {"(", "["}.isdisjoint(group.before)
        if opens and runs[-1] and (group is groups[-1] or length(runs[-1]) >= SHORTEST - 1):
            runs.append([])
        runs[-1].append(group)
    return runs
