"""Tables in a pasted text: cells separated by tabs, semicolons, bars or commas, with or without headings."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from purchasing.countries import country_of
from purchasing.pasting.account import Account
from purchasing.pasting.fields import Claims, is_nothing, read_claims
from purchasing.pasting.headings import role_of, type_of
from purchasing.pasting.lines import cell_problem, read_line
from purchasing.pasting.text import plain

HEADING = "This is the heading of the table."
RULE = "This row of the table is empty."
MISSING = "This row has no number."
AMOUNTS_GUESSED = (
    "The table has no headings. Of its two amounts, the first was used as the one-time cost "
    "and the second as the monthly cost."
)
AMOUNTS_LEFT = "It is not clear which amount is the one-time and which the monthly cost, so none was used."
SHIFTED = "This row has more cells than the heading, so only its number was used."

_DELIMITERS = "\t;|,"
_MOST_CELLS = 200
_HEADING_WITHIN = 10  # lines that are not blank, from the top
_SAMPLE = 200
_LONGEST_ROW = 20  # lines of a row with quoted line breaks
_LONGEST_QUOTED = 20_000
_NUMBER_ALONE = re.compile(r"[\s'\"=(]*(?:\+|00)?[\s(]*\d(?:[\s().\-/]{0,3}\d){6,16}(?:\.0)?[\s'\"]*")
_PLUS_ALONE = re.compile(r"[\s'\"=(]*(?:\+|00)")
_AMOUNT = re.compile(r"\s*\d{1,6}[.,]\d{1,4}\s*")
_FEATURE = re.compile(
    r"\s*(?:(?:sms|mms|voice|fax|emergency|hd_?voice|international_sms|local_calling)[\s,;|/+]*){1,10}",
    re.IGNORECASE,
)
_DATE = re.compile(r"\s*(?:\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)?\d\d|(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2})\s*")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its cells and the lines it covers."""

    line: int
    span: int
    text: str
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a table contain."""

    roles: dict[str, list[int]]  # the columns of each role, best first
    # Groups of columns with numbers, best first: a row is read from the first group that is filled.
    phones: list[list[int]]
    width: int
    headed: bool
    priced: bool


def read(account: Account, lines: list[str], region: str) -> bool:
    """Account for all lines if they are a table; return whether they are."""
    for delimiter in _DELIMITERS:
        if heading := _heading(lines, delimiter):
            _read_rows(account, lines, region, delimiter, *heading)
            return True
    for delimiter in _DELIMITERS:
        if layout := _layout_without_heading(lines, delimiter):
            _read_rows(account, lines, region, delimiter, -1, layout)
            return True
    return False


def _heading(lines: list[str], delimiter: str) -> tuple[int, Layout] | None:
    """Find the line with the headings near the top."""
    filled = [index for index, line in enumerate(lines[:1000]) if line.strip()][:_HEADING_WITHIN]
    for place, index in enumerate(filled):
        count = lines[index].count(delimiter)
        if not 1 <= count <= _MOST_CELLS or _NUMBER_ALONE.search(plain(lines[index][:2000])):
            continue
        layout = _layout_of(split(lines, index, delimiter)[0])
        following = lines[filled[place + 1]].count(delimiter) if place + 1 < len(filled) else -1
        if layout.phones and (following == count or sum(map(len, layout.roles.values())) >= 2):
            return index, layout
    return None


def _layout_of(headings: list[str]) -> Layout:
    ranked: dict[str, list[tuple[int, int]]] = {}
    for column, heading in enumerate(headings):
        role, rank = role_of(heading)
        if role:
            ranked.setdefault(role, []).append((rank, column))
    roles = {role: [column for _, column in sorted(found)] for role, found in ranked.items()}
    phones: dict[int, list[int]] = {}
    for rank, column in sorted(ranked.get("phone", [])):
        phones.setdefault(rank, []).append(column)
    return Layout(roles, list(phones.values()), len(headings), True, "upfront" in roles or "monthly" in roles)


def _layout_without_heading(lines: list[str], delimiter: str) -> Layout | None:
    """Work out from a sample of rows what the columns contain."""
    sample = [index for index, line in enumerate(lines[:2000]) if line.strip()][:_SAMPLE]
    rows = [split(lines, index, delimiter)[0] for index in sample if delimiter in lines[index][:100_000]]
    if not rows or len(rows) * 10 < len(sample) * (5 if delimiter == "\t" else 8):
        return None
    width, alike = Counter(len(row) for row in rows).most_common(1)[0]
    if not 2 <= width <= _MOST_CELLS or alike * 10 < len(rows) * 8:
        return None
    columns = [[plain(row[column]) for row in rows if len(row) == width] for column in range(width)]
    phones = [column for column in range(width) if _mostly(columns[column], _is_number_alone)]
    with_plus = [column for column in phones if _mostly(columns[column], _PLUS_ALONE.match)]
    phones = with_plus or phones
    others = [column for column in range(width) if column not in phones]
    roles = {
        role: [column for column in others if _mostly(columns[column], fits)]
        for role, fits in _CONTENTS.items()
    }
    if not phones or len(phones) == width or (len(rows) < 2 and not any(roles.values())):
        return None
    if len(amounts := roles.pop("amount")) == 2:
        roles["upfront"], roles["monthly"] = amounts[:1], amounts[1:]
    elif amounts:
        roles["price"] = amounts
    return Layout(roles, [phones], width, False, False)


def _mostly(cells: list[str], matches: Callable[[str], object]) -> bool:
    filled = [cell for cell in cells if cell.strip()]
    return bool(filled) and sum(1 for cell in filled if matches(cell)) * 10 >= len(filled) * 6


def _is_number_alone(cell: str) -> bool:
    return _NUMBER_ALONE.fullmatch(cell[:60]) is not None and not _DATE.fullmatch(cell)


def _is_country(cell: str) -> bool:
    return len(cell.strip()) <= 40 and country_of(cell) != ""


_CONTENTS: dict[str, Callable[[str], object]] = {
    "country": _is_country,
    "type": type_of,
    "features": _FEATURE.fullmatch,
    "amount": _AMOUNT.fullmatch,
}


def rows(lines: list[str], delimiter: str) -> Iterator[Row]:
    """Split the lines into rows, without the blank ones."""
    index = 0
    while index < len(lines):
        cells, used = split(lines, index, delimiter)
        text = "\n".join(lines[index : index + used])
        if text.strip():
            yield Row(index + 1, used, text, cells)
        index += used


def split(lines: list[str], index: int, delimiter: str) -> tuple[list[str], int]:
    """Return the cells of the row that begins at a line, and how many lines it covers."""
    line = lines[index]
    if delimiter == "|" and re.fullmatch(r"\s*\|.*\|\s*", line):
        line = line.strip()[1:-1]
    if line.count(delimiter) > _MOST_CELLS:
        return [line], 1
    if '"' not in line:
        return line.split(delimiter), 1
    quoted = re.compile(rf'(?:^|{re.escape(delimiter)})[ ]*"')
    used = 1
    if line.count('"') % 2 and quoted.search(line):
        used = _lines_to_closing_quote(lines, index)
    text = "\n".join([line, *lines[index + 1 : index + used]])
    return _quoted_cells(text, delimiter), used


def _lines_to_closing_quote(lines: list[str], index: int) -> int:
    """Return how many lines a row with an open quote covers; 1 if the quote is not closed nearby."""
    quotes = length = 0
    for used, line in enumerate(lines[index : index + _LONGEST_ROW], start=1):
        quotes += line.count('"')
        length += len(line)
        if length > _LONGEST_QUOTED:
            return 1
        if quotes % 2 == 0:
            return used
    return 1


def _quoted_cells(text: str, delimiter: str) -> list[str]:
    cell = re.compile(
        rf'[ ]*"([^"]*(?:""[^"]*)*)"[ ]*(?=[{re.escape(delimiter)}]|$)|([^{re.escape(delimiter)}]*)'
    )
    cells: list[str] = []
    place = 0
    while place <= len(text) and len(cells) <= _MOST_CELLS + 1 and (match := cell.match(text, place)):
        cells.append(match[1].replace('""', '"') if match[1] is not None else match[2])
        place = match.end() + 1
    return cells


def _read_rows(
    account: Account, lines: list[str], region: str, delimiter: str, heading: int, layout: Layout
) -> None:
    head = [cell.strip().casefold() for cell in split(lines, heading, delimiter)[0]] if heading >= 0 else None
    for row in rows(lines, delimiter):
        cells = [_trimmed(cell) for cell in row.cells]
        if row.line - 1 < heading or (len(cells) == 1 and row.span == 1):
            read_line(account, row.line, row.text, region)
        elif head == [cell.casefold() for cell in cells]:
            account.skip(row.line, row.text, HEADING, row.span)
        elif not any(character.isalnum() for cell in cells for character in cell):
            account.skip(row.line, row.text, RULE, row.span)
        else:
            _read_row(account, row, cells, layout, region)


def _trimmed(cell: str) -> str:
    cell = cell.strip()
    return cell.strip('"').strip() if cell.count('"') == 1 else cell


def _read_row(account: Account, row: Row, cells: list[str], layout: Layout, region: str) -> None:
    claims = _claims(cells, layout, region)
    groups = ([cells[column] for column in columns if column < len(cells)] for columns in layout.phones)
    filled = next((list(filter(None, group)) for group in groups if any(group)), [])
    if not filled:
        account.add_not_understood(row.line, row.text, MISSING, row.span)
        return
    area = next((cells[column] for column in layout.roles.get("area", []) if column < len(cells)), "")
    found = [one for cell in filled for one in account.finder.find(_in_full(area, cell), claims.home).found]
    for one in found:
        written = row.text if len(found) == 1 else one.written
        account.add(one, claims, line=row.line, written=written, span=row.span)
    if not found:
        account.add_not_understood(row.line, row.text, cell_problem(filled[0]), row.span)


def _in_full(area: str, cell: str) -> str:
    """Put an area code from its own column before a number, unless that starts with +, 00 or the area code."""
    whole = plain(cell).lstrip("(").startswith(("+", "00", area))
    return f"{area} {cell}" if re.fullmatch(r"\(?\d{1,6}\)?", plain(area)) and not whole else cell


def _claims(cells: list[str], layout: Layout, region: str) -> Claims:
    if layout.headed and any(cells[layout.width :]):
        return Claims(home=region, warnings=(SHIFTED,))
    values = {}
    for role, columns in layout.roles.items():
        there = [cells[column] for column in columns if column < len(cells) and not is_nothing(cells[column])]
        values[role] = ", ".join(dict.fromkeys(there)) if role == "region" else next(iter(there), "")
    return read_claims(values, default_country=region, priced=layout.priced, notes=_notes(values, layout))


def _notes(values: dict[str, str], layout: Layout) -> list[str]:
    if not layout.headed and values.get("upfront"):
        return [AMOUNTS_GUESSED]
    return [AMOUNTS_LEFT] if values.get("price") and not layout.priced else []
