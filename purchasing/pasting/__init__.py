"""Reads whatever staff paste: the provider's JSON, tables, emails, lines of text. No line disappears.

How the lines of a text are accounted for, numbered as in `clean(text).split("\\n")`:

1. Every line that is not blank is covered by at least one record: a candidate, a repeat, something not understood or
   something skipped covers the lines `line` to `line + span - 1`.
2. A skipped line is covered by nothing else.
3. Other records share a line only if the line contains several numbers or JSON entries; the `written` of each record
   is then its part of the line. A record covers several lines only if its JSON entry or table row does.

So each line is either skipped, once, or read, once for each number or entry in it.

Limits: MAX_CHARACTERS in total, MAX_LINES lines that are not blank (for JSON, entries instead of lines) and MAX_LINES
numbers. Beyond them `read` raises TooLarge, whose text is written for staff. It raises nothing else.
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
