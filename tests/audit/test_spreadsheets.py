"""Cells keep their text: in CSV by the rule of the module, in XLSX by their type."""

import csv
import io
import zipfile
from xml.etree import ElementTree

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purchasing.audit import spreadsheets
from purchasing.audit.spreadsheets import harmless, xlsx

RUNS = ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|'/C calc'!A0", "+15551234567", "＝1+1", "＋1", "－1", "＠x"]


class TestTheRule:
    @pytest.mark.parametrize("text", RUNS)
    @pytest.mark.parametrize("before", ["", "\t", "\r", "\n", " ", "\xa0", "'"])
    def test_puts_an_apostrophe_in_front(self, text, before):
        assert harmless(before + text)[0] == "'"

    @pytest.mark.parametrize(
        "text", ["", "x", "2026-11-27", "a=b", "a + b", "{}", "(+1)", "a;b", "1+1", "“=1”"]
    )
    def test_leaves_what_no_spreadsheet_runs(self, text):
        assert harmless(text) == text

    @pytest.mark.parametrize(
        "text, safe",
        [
            ("x;=1+1;y", "x;'=1+1;y"),
            ("x\n=1+1", "x\n'=1+1"),
            ("x\t @x", "x\t '@x"),
            ('x;"=1+1"', 'x;"\'=1+1"'),
            ("x;\n;+1", "x;\n;'+1"),
            ("a;b\nc", "a;b\nc"),
        ],
    )
    def test_looks_behind_what_may_be_taken_for_the_end_of_a_cell(self, text, safe):
        assert harmless(text) == safe

    @given(st.text(alphabet=st.sampled_from("=+-@;\t\n\r '\"ab１＝"), max_size=12))
    def test_leaves_no_cell_that_runs_however_the_file_is_cut(self, text):
        written = io.StringIO()
        csv.writer(written).writerow(["a", harmless(text), "b"])
        for separator in ",;\t":
            for row in csv.reader(io.StringIO(written.getvalue(), newline=""), delimiter=separator):
                for cell in row:
                    for line in [cell, *cell.split("\n"), *cell.split("\r")]:
                        assert not line.lstrip(' "').startswith(("=", "+", "-", "@")), (separator, row)

    @given(st.text(max_size=20))
    def test_can_be_taken_back(self, text):
        """Remove the first apostrophe, where nothing inside the text was changed."""
        safe = harmless(text)
        if len(safe) - len(text) <= 1 and not set(";\t\r\n") & set(text):
            assert (safe[1:] if safe.startswith("'") else safe) == text


ODD = [
    "=1+1",
    "+15551234567",
    "a & b <c> \"d\" 'e'",
    "line\nbreak\ttab",
    " blanks around ",
    "Zoë 東京 \U0001f4de",
    "{}",
    "x" * 32_767,
]


def read(data):
    """The rows of each sheet as texts."""
    book = openpyxl.load_workbook(io.BytesIO(data))
    return {sheet.title: [[cell.value or "" for cell in row] for row in sheet.iter_rows()] for sheet in book}


def made(rows, width=3, name="Events"):
    return b"".join(xlsx(rows, name=name, width=width))


class TestXlsx:
    def test_holds_every_text_as_it_was(self):
        assert read(made([ODD, ["", "b", ""], ODD[::-1]], width=8)) == {
            "Events": [ODD, ["", "b", "", "", "", "", "", ""], ODD[::-1]]
        }

    def test_every_cell_is_text_and_stays_text_when_it_is_edited(self):
        book = openpyxl.load_workbook(io.BytesIO(made([["=1+1", "15", "2026-11-27"]])))
        cells = [cell for row in book["Events"].iter_rows() for cell in row]
        assert {(cell.data_type, cell.number_format) for cell in cells} == {("s", "@")}

    @pytest.mark.parametrize("text", ["a\x00b", "a\x07b", "a\ufffeb", "a\ud800b"])
    def test_leaves_out_what_no_xml_holds(self, text):
        assert read(made([[text]], width=1)) == {"Events": [["ab"]]}

    def test_keeps_what_looks_like_an_escape(self):
        """As the standard requires: `_x0041_` would be read as A."""
        [entry] = [e for e in zipfile.ZipFile(io.BytesIO(made([["_x0041_ \r"]]))).namelist() if "sheet1" in e]
        text = zipfile.ZipFile(io.BytesIO(made([["_x0041_ \r"]]))).read(entry).decode()
        assert "_x005F_x0041_ _x000D_" in text

    def test_says_where_a_text_was_cut(self):
        [[cell]] = read(made([["x" * 40_000]], width=1))["Events"]
        assert len(cell) == 32_767 and cell.endswith(
            "(cut: a cell holds no more; CSV and JSON Lines have all of it)"
        )

    @pytest.mark.parametrize(
        "rows, sheets", [(0, [0]), (1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])]
    )
    def test_goes_on_in_the_next_sheet(self, monkeypatch, rows, sheets):
        monkeypatch.setattr(spreadsheets, "MOST_ROWS", 10)
        found = read(made([[f"row {n}", "b"] for n in range(rows)], width=2))
        assert [len([row for row in sheet if row]) for sheet in found.values()] == sheets
        assert [row[0] for sheet in found.values() for row in sheet if row] == [
            f"row {n}" for n in range(rows)
        ]
        assert list(found) == ["Events", "Events 2", "Events 3"][: len(sheets)]

    def test_starts_a_new_sheet_before_one_gets_too_large_for_some_readers(self, monkeypatch):
        monkeypatch.setattr(spreadsheets, "MOST_BYTES", 100_000)
        found = read(made([["x" * 100] for _ in range(2000)], width=1))
        assert len(found) > 1 and sum(len(sheet) for sheet in found.values()) == 2000

    def test_is_a_sound_archive_of_well_formed_xml(self):
        archive = zipfile.ZipFile(io.BytesIO(made([ODD], width=8)))
        assert archive.testzip() is None
        for name in archive.namelist():
            ElementTree.fromstring(archive.read(name))

    def test_the_first_bytes_leave_before_the_last_row_is_there(self):
        asked = []

        def rows():
            for n in range(5000):
                asked.append(n)
                yield [str(n)]

        pieces = xlsx(rows(), name="Events", width=1)
        next(pieces)
        assert len(asked) < 1000
        assert len(b"".join(pieces)) > 10_000
