"""Files that staff drop: what is in them as text, ready to be read like anything that was pasted."""

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
MOST_ROWS = 1_200_000  # of all sheets, blank ones included: a sheet may say that its last row is the last there can be
MOST_BLANK = 100  # blank rows one after the other that are kept
_PART = 1024 * 1024

TOO_LARGE = f"The file is larger than {LARGEST_FILE >> 20} MB. Save a part of it as a file of its own."
TOO_MANY_ROWS = "The workbook has too many rows. Copy those with numbers out of it and paste them."
UNPACKS_TOO_LARGE = (
    "The workbook is far larger inside than its file. Copy the numbers out of it and paste them."
)
OLD_WORKBOOK = (
    "This is a workbook of an old format, or one with a password. Save it as .xlsx without a password."
)
EXTERNAL = (
    "The workbook refers to other files, which are not opened. Save a copy of it with its values alone."
)
DAMAGED = "The file is damaged: it cannot be opened as a workbook. Save it once more as .xlsx or as CSV."
NO_TEXT = "There is no text in this file. Drop a table (.xlsx, .csv, .tsv), .json or .txt."
EMPTY = "The file is empty."


class NotReadable(ValueError):
    """A file cannot be read; its text says to staff why, and what helps."""


def text_of(file: BinaryIO) -> str:
    """Return the text of a file: a workbook's sheets as rows between tabs, else its characters.

    What it is tells its content, never its name. Raises NotReadable and nothing else.
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
    """Decode a text by its byte order mark, else as UTF-8, UTF-16 without a mark, or Western European."""
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
    except (
        Exception
    ):  # openpyxl raises whatever its XML parser, or a value of an odd type, makes of a broken file
        raise NotReadable(DAMAGED) from None
    if not text:
        raise NotReadable(EMPTY)
    return text


def _check_parts(content: bytes) -> None:
    """Unpack every part once, to see how large it really is, before anything reads it whole."""
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
                        if (
                            b"<!DOCTYPE" in piece or b"<!ENTITY" in piece
                        ):  # no spreadsheet program writes them
                            raise NotReadable(DAMAGED)
    except NotReadable:
        raise
    except Exception:  # zipfile raises several kinds for a broken or an encrypted archive
        raise NotReadable(DAMAGED) from None


def _rows(book: Any) -> Iterator[str]:
    """The rows of all sheets as text, cells between tabs, a blank line between two sheets.

    More than can be read are not gone through: what is yielded by then is more than is read in one go.
    """
    filled = blank = count = 0
    for sheet in book.worksheets:
        sheet.reset_dimensions()  # a sheet says itself how large it is, which need not be true
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
