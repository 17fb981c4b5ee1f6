"""Reads a run of digit groups as phone numbers: usually one, sometimes several, never by guessing.

If the same digits can be read as two different numbers, because only a space separates the number from a count, a price
or a second number, the run is not understood.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import phonenumbers

from purchasing.pasting.numbers import LONGEST, NO_COUNTRY, SHORTEST, TOO_LONG, TWO_READINGS, Number, Plan

SLASH = "It is not clear what the digits after the slash mean. Write each number in full, on its own line."
_NORTH_AMERICA = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1])
_MOST_GROUPS = 20  # nobody writes one number in more groups of digits
_COMPLETE = 9  # digits without a space that make a complete number


class Group(NamedTuple):
    """A group of consecutive digits."""

    digits: str
    before: str  # the characters between the previous group and this one
    start: int
    end: int


Reading = Callable[[list[Group]], Number | str]


class Runs:
    """Reads runs of groups, with national numbers of one country or of none."""

    def __init__(self, plan: Plan, region: str):
        self._plan, self._region = plan, region

    def read(self, groups: list[Group], *, plus: bool, amount: str = "") -> tuple[int, Number | str]:
        """Read the first number of a run: return how many groups it takes, and the number or why there is none.

        `amount` holds the digits of what looks like a price after the run, separated by only a space.
        """
        start = joined(groups[:3])
        if plus:
            return _read(groups, self._from_abroad(2 if start.startswith("00") else 0), amount)
        if start.startswith("00"):
            result = _read(groups, self._from_abroad(2), amount)
        elif start.startswith("011") and (not self._region or self._region in _NORTH_AMERICA):
            result = _read(groups, self._from_abroad(3), amount)
        else:
            result = len(groups), TOO_LONG if length(groups) > LONGEST else NO_COUNTRY
        if not self._region or _is_known(result[1]):
            return result
        at_home = _read(groups, self._at_home, amount, at_home=True)
        return result if isinstance(result[1], Number) and not _is_known(at_home[1]) else at_home

    def _from_abroad(self, dropped: int) -> Reading:
        return lambda groups: self._plan.international(joined(groups)[dropped:])

    def _at_home(self, groups: list[Group]) -> Number | str:
        return self._plan.national(joined(groups), self._region)


def joined(groups: list[Group]) -> str:
    """Return the digits of all groups."""
    return "".join(group.digits for group in groups)


def length(groups: list[Group]) -> int:
    """Return how many digits the groups have together."""
    return sum(len(group.digits) for group in groups)


def _read(
    groups: list[Group], read: Reading, amount: str, *, at_home: bool = False
) -> tuple[int, Number | str]:
    head = groups[:_MOST_GROUPS]
    whole = read(head) if len(head) == len(groups) else TOO_LONG
    if isinstance(whole, Number):
        return len(groups), _unless_ambiguous(whole, groups, read, amount, at_home=at_home)
    fits = []
    for used in _possible_ends(head):
        follows = head[used].digits.startswith("0" if at_home else "00")  # as the next number would begin
        number = read(head[:used])
        if not isinstance(number, Number) or (at_home and not follows):
            continue
        if not at_home and (used == 1 or follows):
            return used, number
        if number.known:
            fits.append((used, number))
    if len(fits) == 1:
        return fits[0]
    return len(groups), TWO_READINGS if fits else whole


def _possible_ends(groups: list[Group]) -> Iterator[int]:
    """Yield the numbers of groups after which the phone number may end and something else begin."""
    digits = 0
    for used in range(1, len(groups)):
        digits += len(groups[used - 1].digits)
        if digits > LONGEST + 3:
            return
        if digits >= SHORTEST - 1 and not {" ", "/"}.isdisjoint(groups[used].before):
            yield used


def _unless_ambiguous(
    number: Number, groups: list[Group], read: Reading, amount: str, *, at_home: bool
) -> Number | str:
    """Return the number, unless part of the same digits is an equally good reading."""
    if len(groups) == 1:
        return number
    first, last = groups[0], groups[-1]
    if (
        not at_home
        and len(first.digits) >= _COMPLETE
        and " " in groups[1].before
        and isinstance(read(groups[:1]), Number)
    ):
        return TWO_READINGS
    if amount and isinstance(read([*groups, Group(amount, " ", last.end, last.end)]), Number):
        return TWO_READINGS
    if len(last.digits) == 1 and last.before == " " and _differs(read(groups[:-1]), number):
        return TWO_READINGS
    if at_home and _may_be_a_row_number(first, groups[1]) and _differs(read(groups[1:]), number):
        return TWO_READINGS
    return SLASH if "/" in last.before and len(last.digits) <= 3 else number


def _may_be_a_row_number(first: Group, second: Group) -> bool:
    """Return whether the first digits may be a row number rather than part of a phone number."""
    apart = second.before.strip("()[]") == " " or second.before.startswith((")", "]"))
    most = 4 if second.digits.startswith("0") else 1
    return apart and len(first.digits) <= most and not first.digits.startswith("0")


def _differs(reading: Number | str, number: Number) -> bool:
    return isinstance(reading, Number) and reading.known and reading.phone_number != number.phone_number


def _is_known(reading: Number | str) -> bool:
    return isinstance(reading, Number) and reading.known
