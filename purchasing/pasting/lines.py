"""Reads one line of free text."""

import re

from purchasing.pasting.account import Account
from purchasing.pasting.fields import Claims
from purchasing.pasting.numbers import TOO_SHORT
from purchasing.pasting.scan import DAMAGED

NO_NUMBER = "There is no phone number here."
NOT_A_NUMBER = "This is not a phone number."
_DAMAGED_CELL = re.compile(
    r"\s*(?:#{3,}|#(?:NAME|VALUE|REF|ERROR|NUM|NULL|N/A|WERT|BEZUG|ZAHL|NOM|VALEUR)[?!]?)\s*", re.IGNORECASE
)
_LETTERS = re.compile(r"[^\W\d_]")
_SOME_DIGITS = re.compile(r"(?:\D*\d){3}")


def read_line(account: Account, line: int, text: str, region: str) -> None:
    """Account for one line that is not blank: its numbers, or the reason why it has none."""
    scan = account.finder.find(text, region)
    for found in scan.found:
        written = text if len(scan.found) == 1 else found.written
        account.add(found, Claims(), line=line, written=written)
    if scan.found:
        return
    if is_damaged(text):
        account.add_not_understood(line, text, DAMAGED)
    elif scan.digits and not scan.prose and _SOME_DIGITS.match(text[:400]):
        account.add_not_understood(line, text, TOO_SHORT)
    else:
        account.skip(line, text, NO_NUMBER)


def cell_problem(text: str) -> str:
    """Return the reason why a cell that should contain a number does not."""
    if is_damaged(text):
        return DAMAGED
    return TOO_SHORT if _SOME_DIGITS.match(text[:400]) and not _LETTERS.search(text) else NOT_A_NUMBER


def is_damaged(text: str) -> bool:
    """Return whether a cell holds what a spreadsheet writes if it cannot show a value: `####`, `#NAME?`."""
    return _DAMAGED_CELL.fullmatch(text[:40]) is not None
