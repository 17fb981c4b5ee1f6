"""Turns files that staff upload into text that can be read like any other paste."""

import io
import re
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any, BinaryIO

from openpyxl import load_workbook

from purchasing.pasting.results import MAX_LINES

LARGEST_FILE = 5 * 1024 * 1024  # bytes
LARGEST_UNPACKED = 60 * 1024 * 1024  # bytes of a workbook, all parts together
MOST_PARTS = 2_000
# In all sheets together, blank rows included: a sheet may claim to reach down to the last row that a format allows.
MOST_ROWS = 1_200_000
MOST_BLANK = 100  # consecutive blank rows that are kept
_PART = 1024 * 1024

TOO_LARGE = f"The file is larger than {LARGEST_FILE >> 20} MB. Split it into smaller files."
TOO_MANY_ROWS = "The workbook has too many rows. Copy the rows with numbers and paste them instead."
UNPACKS_TOO_LARGE = "The workbook is far too large when unpacked. Copy the numbers and paste them instead."
OLD_WORKBOOK = "This workbook has an old format or a password. Save it as .xlsx without a password."
EXTERNAL = "The workbook refers to other files, which are not opened. Save a copy that contains only values."
DAMAGED = "The file is damaged and cannot be opened as a workbook. Save it again as .xlsx or CSV."
NO_TEXT = "There is no text in this file. Use a table (.xlsx, .csv, .tsv), a .json or a .txt file."
EMPTY = "The file is empty."


class NotReadable(ValueError):
    """A file cannot be read. The text of the error tells staff why, and what to do."""


def text_of(file: BinaryIO) -> str:
    """Return the text of a file: the sheets of a workbook as rows of tab-separated cells, else its characters.

    The content decides what a file is, never its name. Raises NotReadable and nothing else.
    """
    content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise NotReadable(TOO_LARGE)
    if not content.strip():
        raise NotReadable(EMPTY)
    if content.startswith(b"PK\x03\x04"):
        return _workbook(content)
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise NotReadable(OLD_WORKBOOK)
    return _decoded(content)


def _decoded(content: bytes) -> str:
    """Decode text by its byte order mark, else as UTF-8, UTF-16 without a mark, or Windows-1252."""
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
    ):
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    sample = content[:4096]
    if sample.count(0) * 3 > len(sample):
        return content.decode("utf-16-le" if sample[1:2] == b"\0" else "utf-16-be", "replace")
    if (
        sample.count(0)
        or re.search(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]{4}", sample)
        or sample.startswith(b"%PDF")
    ):
        raise NotReadable(NO_TEXT)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def _workbook(content: bytes) -> str:
    _check_parts(content)
    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        text = "\n".join(_rows(book)).strip("\n")
    except NotReadable:
        raise
    # What openpyxl raises for a broken file depends on its XML parser and on the value that it stumbles over.
    except Exception:
        raise NotReadable(DAMAGED) from None
    if not text:
        raise NotReadable(EMPTY)
    return text


def _check_parts(content: bytes) -> None:
    """Unpack every part once, a piece at a time, to learn its real size before anything loads all of it."""
    left = LARGEST_UNPACKED
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            names = [part.filename for part in parts]
            if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > LARGEST_UNPACKED:
                raise NotReadable(UNPACKS_TOO_LARGE)
            if "xl/workbook.xml" not in names:
                raise NotReadable(NO_TEXT)
            if any(name.startswith("xl/externalLinks/") for name in names):
                raise NotReadable(EXTERNAL)
            for part in parts:
                with archive.open(part) as unpacked:
                    while piece := unpacked.read(_PART):
                        left -= len(piece)
                        if left < 0:
                            raise NotReadable(UNPACKS_TOO_LARGE)
                        # No spreadsheet program writes these; they let a small file expand without limit.
                        if b"<!DOCTYPE" in piece or b"<!ENTITY" in piece:
                            raise NotReadable(DAMAGED)
    except NotReadable:
        raise
    except Exception:  # zipfile raises several kinds for a broken or an encrypted archive
        raise NotReadable(DAMAGED) from None


def _rows(book: Any) -> Iterator[str]:
    """Yield the rows of all sheets as tab-separated text, with a blank line between sheets.

    Stops one row past MAX_LINES, which is enough for the reader to refuse the text as too large.
    """
    filled = blank = count = 0
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # the size that a sheet states need not be true
        for row in sheet.iter_rows(values_only=True):
            count += 1
            line = "\t".join(_cell(value) for value in row).rstrip("\t")
            blank = 0 if line.strip() else blank + 1
            filled += blank == 0
            if blank <= MOST_BLANK:
                yield line
            if filled > MAX_LINES:
                return
            if count > MOST_ROWS:
                raise NotReadable(TOO_MANY_ROWS)
        yield ""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return " ".join(str(value).split())
