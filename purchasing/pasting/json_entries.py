"""Finds the JSON in a pasted text and its entries, even if its end is missing or other text surrounds it."""

import json
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from purchasing.pasting.account import Account
from purchasing.pasting.fields import Claims, is_nothing, read_claims
from purchasing.pasting.headings import role_of
from purchasing.pasting.lines import NOT_A_NUMBER, cell_problem
from purchasing.pasting.results import MAX_LINES, check_size
from purchasing.pasting.text import clean, tidy

NO_NUMBER = "There is no phone number in this entry."
TWO_NUMBERS = "This entry has two different numbers under one name. Paste only the one you mean."
CUT_OFF = "The text is cut off here. Copy it again, right to the end."
TOO_DEEP = "This is nested too deeply to be a list of numbers. Paste only the numbers."

_DEEPEST = 6
_NOT_BLANK = re.compile(r"[^ \t\n]")
_SEVEN_DIGITS = re.compile(r"(?:\d\D{0,4}){7}")
_PLAUSIBLE = re.compile(r'\{[ \t\n]*["}]|\[[ \t\n]*["{\[\]0-9tfnNI-]|["0-9tfnNI-]')
_BUDGET = 500_000_000  # characters examined in vain per text: about half a second
_LONGEST_FIGURE = 40  # characters; longer figures are no number or cost, and slow to convert


@dataclass(frozen=True, slots=True)
class Entry:
    """One value in a place where a number is expected, and its position in the text."""

    start: int
    end: int
    value: Any
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of JSON: its entries and where it ends."""

    entries: list[Entry]
    end: int

    @property
    def holds_a_number(self) -> bool:
        """Return whether an entry may be a phone number, or may have been one before it was cut off."""
        return any(entry.problem or _may_hold_a_number(entry.value) for entry in self.entries)


class _Broken(Exception):
    """The text stops being JSON: `at` is where the entry that could not be read begins."""

    def __init__(self, at: int, *, cut: bool = False, deep: bool = False):
        super().__init__()
        self.at, self.cut, self.deep = at, cut, deep


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys occurred more than once with different values."""

    def __init__(self, pairs: list[tuple[str, Any]]):
        super().__init__(pairs)
        several = pairs if len(self) < len(pairs) else ()
        self.doubled = frozenset(key for key, value in several if self[key] != value)


def _integer(written: str) -> int | str:
    return int(written) if len(written) <= _LONGEST_FIGURE else written


def _fraction(written: str) -> Decimal | str:
    try:
        return Decimal(written) if len(written) <= _LONGEST_FIGURE else written
    except InvalidOperation:
        return written


_DECODER = json.JSONDecoder(
    object_pairs_hook=_Object, parse_int=_integer, parse_float=_fraction, parse_constant=str
)


class Reader:
    """Finds blocks of JSON in one text, within a budget: attempts at places that turn out not to be JSON cost time."""

    def __init__(self, text: str):
        self._text = text
        self._length = len(text.rstrip())
        self._budget = _BUDGET

    def block(self, start: int) -> Block | None:
        """Return the JSON that begins at this place, or None if there is none."""
        if self._budget <= 0:
            return None
        walk = _Walk(self._text, self._length)
        try:
            end = walk.value(start, 0)
        except _Broken as broken:
            if broken.cut:
                rest = Entry(min(broken.at, self._length - 1), self._length, None, CUT_OFF)
                return Block([*walk.entries, rest], len(self._text))
            block = Block(walk.entries, broken.at)
            return block if block.holds_a_number else None
        finally:
            self._budget -= walk.cost
        follows = self._text[end : end + 200].split("\n")[0].strip(" \t,;")
        block = Block(walk.entries, end)
        if block.holds_a_number or (self._text[start] == "{" and not follows):
            return block
        self._budget -= 10 * (end - start)
        return None


class _Walk:
    """Walks through arrays and objects down to the entries."""

    def __init__(self, text: str, length: int):
        self._text = text
        self._length = length  # without the blanks at the end
        self.entries: list[Entry] = []
        self.cost = 0  # characters examined for what turned out not to be JSON

    def value(self, at: int, depth: int) -> int:
        """Collect the entries of the value that begins here; return where it ends."""
        opening = self._text[at : at + 1]
        if opening == "[" and depth < _DEEPEST:
            return self._array(at, depth)
        if opening == "{" and depth < _DEEPEST:
            return self._object(at, depth)
        value, end = self._decoded(at)
        self._add(Entry(at, end, value))
        return end

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        check_size(len(self.entries), MAX_LINES, "entries")

    def _array(self, at: int, depth: int) -> int:
        at = self._behind_blank(at + 1)
        while self._text[at : at + 1] != "]":
            at = self._behind_blank(self.value(at, depth + 1))
            if self._text[at : at + 1] == ",":
                at = self._behind_blank(at + 1)
            elif self._text[at : at + 1] != "]":
                raise _Broken(at, cut=at >= len(self._text))
        return at + 1

    def _object(self, start: int, depth: int) -> int:
        try:
            value, end = self._decoded(start)
        except _Broken as broken:
            if broken.deep:
                raise
            return self._members(start, depth, whole=False)
        known = len(self.entries)
        if phone_of(value) is None and any(isinstance(inner, list | dict) for inner in value.values()):
            self._members(start, depth, whole=True)
            if len(self.entries) == known and not _is_empty_answer(value):
                self._add(Entry(start, end, value))
        else:
            self._add(Entry(start, end, value))
        return end

    def _members(self, start: int, depth: int, *, whole: bool) -> int:
        """Read the members of an envelope; it is not `whole` if it is damaged or cut off."""
        at = self._behind_blank(start + 1)
        while self._text[at : at + 1] == '"':
            try:
                key, at = _DECODER.raw_decode(self._text, at)
            except ValueError as problem:
                raise self._broken(start, problem) from None
            at = self._behind_blank(at)
            if self._text[at : at + 1] != ":":
                raise _Broken(start, cut=at >= len(self._text))
            at = self._behind_blank(at + 1)
            if self._text[at : at + 1] in ("[", "{") and (whole or role_of(key)[0] in ("", "phone")):
                known = len(self.entries)
                at = self.value(at, depth + 1)
                if whole and not any(_may_hold_a_number(entry.value) for entry in self.entries[known:]):
                    del self.entries[known:]  # links, errors, counts: part of the envelope
            else:
                try:
                    _, at = self._decoded(at)
                except _Broken as broken:
                    raise _Broken(start, cut=broken.cut, deep=broken.deep) from None
            at = self._behind_blank(at)
            if self._text[at : at + 1] == ",":
                at = self._behind_blank(at + 1)
        if self._text[at : at + 1] != "}":
            raise _Broken(start, cut=at >= len(self._text))
        return at + 1

    def _decoded(self, at: int) -> tuple[Any, int]:
        if at < self._length and not _PLAUSIBLE.match(self._text, at):
            raise _Broken(at)
        try:
            return _DECODER.raw_decode(self._text, at)
        except RecursionError:
            self.cost += 50 * self._length
            raise _Broken(at, deep=True) from None
        except ValueError as problem:
            raise self._broken(at, problem) from None

    def _broken(self, at: int, problem: ValueError) -> _Broken:
        reached = getattr(problem, "pos", at)
        self.cost += reached + 20 * (reached - at)  # JSONDecodeError counts the lines before it
        unterminated = str(problem).startswith("Unterminated string")
        return _Broken(at, cut=unterminated or reached >= self._length)

    def _behind_blank(self, at: int) -> int:
        match = _NOT_BLANK.search(self._text, at)
        return match.start() if match else len(self._text)


def _is_empty_answer(value: dict[str, Any]) -> bool:
    return any(inner == [] for inner in value.values())


def _may_hold_a_number(value: Any) -> bool:
    if isinstance(value, dict):
        return phone_of(value) is not None or any(map(_may_hold_a_number, _texts(value)))
    if isinstance(value, str):
        return _SEVEN_DIGITS.search(value[:500]) is not None
    return isinstance(value, int) and value >= 10**6


def _texts(value: dict[str, Any]) -> list[str]:
    return [text for pair in list(value.items())[:40] for text in pair if isinstance(text, str)]


def phone_of(value: dict[str, Any]) -> tuple[str, Any] | None:
    """Return the key and value of an object's phone number."""
    ranked = sorted(
        (is_nothing(inner), role[1], place, key)
        for place, (key, inner) in enumerate(value.items())
        if (role := role_of(key))[0] == "phone" and not isinstance(inner, list | dict)
    )
    return (ranked[0][3], value[ranked[0][3]]) if ranked else None


def read_entry(account: Account, entry: Entry, text: str, *, line: int, span: int, region: str) -> None:
    """Account for one entry."""
    written = text[entry.start : min(entry.end, entry.start + 2000)]
    if entry.problem:
        account.add_not_understood(line, written, entry.problem, span)
    elif isinstance(entry.value, dict):
        _read_object(account, entry.value, written, line=line, span=span, region=region)
    elif isinstance(entry.value, str | int) and not isinstance(entry.value, bool):
        _read_text(account, str(entry.value), Claims(home=region), line=line, span=span)
    else:
        account.add_not_understood(
            line, written, TOO_DEEP if isinstance(entry.value, list) else NO_NUMBER, span
        )


def _read_object(
    account: Account, value: dict[str, Any], written: str, *, line: int, span: int, region: str
) -> None:
    claims = read_claims(_by_role(value), default_country=region, priced=True)
    phone = phone_of(value)
    if phone is None:
        _read_unnamed(account, value, claims, written, line=line, span=span)
    elif phone[0] in getattr(value, "doubled", ()):
        account.add_not_understood(line, written, TWO_NUMBERS, span)
    elif is_nothing(phone[1]):
        account.add_not_understood(line, written, NO_NUMBER, span)
    elif isinstance(phone[1], str | int) and not isinstance(phone[1], bool):
        _read_text(account, str(phone[1]), claims, line=line, span=span, written=written)
    else:
        account.add_not_understood(line, written, NOT_A_NUMBER, span)


def _by_role(value: dict[str, Any]) -> dict[str, Any]:
    """Return the values by the role of their keys; for each role the best key that has a value."""
    ranked: dict[str, tuple[tuple[bool, int, int], Any]] = {}
    for place, (key, inner) in enumerate(value.items()):
        role, rank = role_of(key)
        order = (is_nothing(inner), rank, place)
        if role and (role not in ranked or order < ranked[role][0]):
            ranked[role] = (order, inner)
    return {role: inner for role, (_, inner) in ranked.items()}


def _read_unnamed(
    account: Account, value: dict[str, Any], claims: Claims, written: str, *, line: int, span: int
) -> None:
    found = [one for text in _texts(value) for one in account.finder.find(tidy(text), only_plus=True).found]
    for one in found:
        account.add(one, claims, line=line, written=written if len(found) == 1 else one.written, span=span)
    if not found:
        account.add_not_understood(line, written, NO_NUMBER, span)


def _read_text(
    account: Account, text: str, claims: Claims, *, line: int, span: int, written: str = ""
) -> None:
    text = clean(text).replace("\n", " ")
    found = account.finder.find(text, claims.home).found
    for one in found:
        alone = (written or text) if len(found) == 1 else one.written
        account.add(one, claims, line=line, written=alone, span=span)
    if not found:
        account.add_not_understood(line, written or text, cell_problem(text), span)
