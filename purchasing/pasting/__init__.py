"""Reads whatever staff paste: the provider's JSON, tables, mails, lines of text. No line disappears.

How a text is accounted for, by its lines as `clean(text).split("\\n")` numbers them:

1. Every line that is not blank lies under at least one record: under the lines `line` to `line + span - 1` of a
   candidate, a repeat, something not understood, or something skipped.
2. A line under something skipped lies under nothing else.
3. Several other records share a line only where several numbers, or several entries of JSON, stand in it; each of them
   then says in `written` which part of the line it is. A record spans several lines only where one entry of JSON or one
   row of a table does.

So a line is either skipped, once, or read, once for each number or entry that stands in it.

Limits: MAX_CHARACTERS in all; MAX_LINES lines that are not blank (of JSON its entries count, not its lines); as many
numbers. Beyond them `read` raises TooLarge, whose text is written for staff, and it raises nothing else.
"""

from purchasing.pasting.fields import FOR_THE_REQUESTER
from purchasing.pasting.reading import number, read
from purchasing.pasting.results import (
    MAX_CHARACTERS,
    MAX_LINES,
    Candidate,
    NotUnderstood,
    Pasted,
    Repeat,
    Skipped,
    TooLarge,
    dump,
    load,
)
from purchasing.pasting.text import clean

__all__ = [
    "FOR_THE_REQUESTER",
    "MAX_CHARACTERS",
    "MAX_LINES",
    "Candidate",
    "NotUnderstood",
    "Pasted",
    "Repeat",
    "Skipped",
    "TooLarge",
    "clean",
    "dump",
    "load",
    "number",
    "read",
]
