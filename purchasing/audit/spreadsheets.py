"""Cells that a spreadsheet shows unchanged: the rule for CSV, and XLSX written as a stream.

**The rule.** Every value is text. A spreadsheet that opens CSV guesses types: it runs text that starts with `=`, `+`,
`-` or `@` as a formula and turns `+15551234567` into the number 15551234567. So in CSV an apostrophe is put in front of
text that starts with one of these signs, with an apostrophe, with quotation marks before such a sign, or with a
character that is not printed (a tab, a line break, a space). An apostrophe also goes before each of these signs that
follows a `;`, a tab or a line break inside the text, because a spreadsheet may take those for the end of a cell. To
read the file back, remove the first apostrophe. In XLSX the type of the cell marks it as text, so it needs no prefix.

XLSX is written here because XlsxWriter and openpyxl write a sheet to disk and zip it after the last row, so the first
byte is sent only when all the work is done. A sheet is XML in a zip archive, and zipfile can write one to a stream that
cannot seek.
"""

import re
import zipfile
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import IO, cast
from xml.sax.saxutils import escape

Row = Sequence[str]

_FIRST = frozenset("=+-@'＝＋－＠")
_QUOTED = re.compile(r"\"[\s\"]*[=+\-@]")  # the quotation mark may be taken for the start of a quoted cell
_INSIDE = re.compile(r"([;\t\r\n][\s\"]*)([=+\-@])")


def harmless(text: str) -> str:
    """A text for a cell of CSV, by the rule above."""
    if not text:
        return text
    first = text[0]
    unprinted = first == " " or not first.isprintable()
    if first in _FIRST or unprinted or (first == '"' and _QUOTED.match(text)):
        text = f"'{text}"
    return (
        _INSIDE.sub(r"\1'\2", text) if ";" in text or "\n" in text or "\t" in text or "\r" in text else text
    )


# --- XLSX -----------------------------------------------------------------------------------------------------------

MOST_ROWS = 1_048_576  # per sheet
MOST_CHARACTERS = 32_767  # per cell
MOST_BYTES = 1_500_000_000  # of XML per sheet: below the limit of readers without ZIP64
_CUT = " … (cut: a cell holds no more; CSV and JSON Lines have all of it)"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LOOKS_ESCAPED = re.compile("_(?=x[0-9A-Fa-f]{4}_)")
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_KIND = "application/vnd.openxmlformats-officedocument.spreadsheetml"
# Style 0 is plain. Style 1 has number format 49 (text), so a cell stays text when somebody edits it.
_FORMATS = (
    f'{_HEAD}<styleSheet xmlns="{_MAIN}"><fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill>'
    '</fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="2"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
_RELATIONS = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1" '
    f'Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>'
)


def xlsx(rows: Iterable[Row], *, name: str, width: int) -> Iterator[bytes]:
    """The bytes of a workbook in pieces. Each of the `rows` holds at most `width` texts; every cell is text.

    Rows that do not fit on a sheet continue on the next one. Memory use stays constant.
    """
    pipe = _Pipe()
    sheets = 0
    rows = iter(rows)
    with zipfile.ZipFile(cast("IO[bytes]", pipe), "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        row: Row | None = next(rows, ())
        while row is not None:
            sheets += 1
            with archive.open(f"xl/worksheets/sheet{sheets}.xml", "w") as sheet:
                row = yield from _sheet(sheet, row, rows, pipe, width)
        for path, text in _frame(sheets, name):
            archive.writestr(path, text)
    yield pipe.take()


def _sheet(
    sheet: IO[bytes], row: Row | None, rows: Iterator[Row], pipe: "_Pipe", width: int
) -> Generator[bytes, None, Row | None]:
    """Write rows until the sheet is full; returns the first row that did not fit, or None."""
    columns = "".join(
        f'<col min="{n}" max="{n}" width="20" style="1" customWidth="1"/>' for n in range(1, width + 1)
    )
    sheet.write(f'{_HEAD}<worksheet xmlns="{_MAIN}"><cols>{columns}</cols><sheetData>'.encode())
    lines, written, count = [], 0, 0
    while row is not None and count < MOST_ROWS and written < MOST_BYTES:
        lines.append(_line(row))
        count += 1
        row = next(rows, None)
        if len(lines) == 500 or row is None:
            written += sheet.write("".join(lines).encode())
            lines = []
            if piece := pipe.take():
                yield piece
    sheet.write("".join(lines).encode())
    sheet.write(b"</sheetData></worksheet>")
    return row


def _line(row: Row) -> str:
    return f"<row>{''.join([_cell(text) for text in row])}</row>"


def _cell(text: str) -> str:
    """One cell. An empty cell is written too, because cells are counted from the left."""
    if not text:
        return "<c/>"
    if len(text) > MOST_CHARACTERS:
        text = text[: MOST_CHARACTERS - len(_CUT)] + _CUT
    if not text.isalnum():
        if not text.isascii() or not text.isprintable():
            text = _NOT_XML.sub("", text)
        if "_x" in text:
            text = _LOOKS_ESCAPED.sub("_x005F_", text)
        if "&" in text or "<" in text or ">" in text:
            text = escape(text)
        if "\r" in text:
            text = text.replace("\r", "_x000D_")
    return f'<c s="1" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def _frame(sheets: int, name: str) -> Iterator[tuple[str, str]]:
    """The files of a workbook other than its sheets: `(path, text)`."""
    numbers = range(1, sheets + 1)
    parts = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_KIND}.worksheet+xml"/>'
        for n in numbers
    )
    yield (
        "[Content_Types].xml",
        f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" '
        f'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_KIND}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{_KIND}.styles+xml"/>{parts}</Types>',
    )
    yield "_rels/.rels", _RELATIONS
    titles = [name if n == 1 else f"{name} {n}" for n in numbers]
    listed = "".join(
        f'<sheet name="{escape(title)}" sheetId="{n}" r:id="rId{n}"/>'
        for n, title in zip(numbers, titles, strict=True)
    )
    yield (
        "xl/workbook.xml",
        f'{_HEAD}<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
    )
    links = "".join(
        f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in numbers
    )
    yield (
        "xl/_rels/workbook.xml.rels",
        f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">{links}'
        f'<Relationship Id="rId{sheets + 1}" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>',
    )
    yield "xl/styles.xml", _FORMATS


class _Pipe:
    """A buffer that zipfile writes to and that can be emptied at any time: it cannot seek, so nothing is rewritten."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        """Everything written since the last call."""
        data, self._parts = b"".join(self._parts), []
        return data
