"""Files that staff upload: workbooks, tables and texts become text; other files are refused with a reason."""

import io
import zipfile

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from openpyxl import Workbook

from purchasing import pasting
from purchasing.models import Paste
from purchasing.pasting import files
from tests.views.access import words

KEY = "idc_" + "Zq9" * 10 + "Zq"


def workbook(*sheets):
    """A workbook with these sheets, each a list of rows."""
    book = Workbook()
    book.remove(book.active)
    for rows in sheets:
        sheet = book.create_sheet()
        for row in rows:
            sheet.append(row)
    held = io.BytesIO()
    book.save(held)
    return held.getvalue()


def with_part(content, name, data):
    """The same workbook with a part added or replaced."""
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            if part.filename != name:
                new.writestr(part, old.read(part))
        new.writestr(name, data)
    return held.getvalue()


def text_of(content):
    return files.text_of(io.BytesIO(content))


class TestWorkbooks:
    def test_cells_are_read_whatever_their_type(self):
        rows = [["Number", "Country", "Monthly"], ["+442079460018", "GB", 1.5], [12125550101, "US", 2]]
        assert (
            text_of(workbook(rows)) == "Number\tCountry\tMonthly\n+442079460018\tGB\t1.5\n12125550101\tUS\t2"
        )

    def test_numbers_keep_all_their_digits(self):
        rows = [["phone number", "country"], [4915112345678, "DE"], [447911123456.0, "GB"]]
        read = pasting.read(text_of(workbook(rows)))
        assert [one.phone_number for one in read.candidates] == ["+4915112345678", "+447911123456"]

    def test_a_number_that_lost_its_digits_is_recognised_as_damaged(self):
        read = pasting.read(text_of(workbook([["phone number"], [1.5551e16]])))
        assert read.candidates == ()
        assert len(read.not_understood) == 1

    def test_every_sheet_is_read(self):
        text = text_of(workbook([["+442079460018"]], [["+12125550101"]]))
        assert text == "+442079460018\n\n+12125550101"

    def test_line_breaks_in_a_cell_start_no_new_line(self):
        assert text_of(workbook([["+44 20\n7946\t0018", "a\r\nb"]])) == "+44 20 7946 0018\ta b"

    def test_the_last_row_and_column_there_can_be_cost_nothing(self):
        book = Workbook()
        book.active["A1"], book.active["XFD1048576"] = "+442079460018", "+12125550101"
        held = io.BytesIO()
        book.save(held)
        read = pasting.read(text_of(held.getvalue()))
        assert [one.phone_number for one in read.candidates] == ["+442079460018", "+12125550101"]

    def test_more_rows_than_the_limit_are_refused(self):
        rows = [[f"+1212{5550000 + n}"] for n in range(10_001)]
        with pytest.raises(pasting.TooLarge, match="10,000"):
            pasting.read(text_of(workbook(rows)))


class TestRefused:
    WORKBOOK = workbook([["+442079460018"]])

    @pytest.mark.parametrize(
        "content, sentence",
        {
            "empty": (b"", files.EMPTY),
            "blank": (b" \n\t\n", files.EMPTY),
            "an empty workbook": (workbook([]), files.EMPTY),
            "over 5 MB": (b"x" * (files.LARGEST_FILE + 1), files.TOO_LARGE),
            "an old or protected workbook": (b"\xd0\xcf\x11\xe0" + b"x" * 600, files.OLD_WORKBOOK),
            "a PDF": (b"%PDF-1.7 +442079460018", files.NO_TEXT),
            "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\1\2\3\4\5\6", files.NO_TEXT),
            "another zip": (with_part(b"PK\x05\x06" + b"\0" * 18, "a.txt", b"+442079460018"), files.NO_TEXT),
            "a cut workbook": (WORKBOOK[: len(WORKBOOK) // 2], files.DAMAGED),
            "external links": (
                with_part(WORKBOOK, "xl/externalLinks/externalLink1.xml", b"<externalLink/>"),
                files.EXTERNAL,
            ),
            "an entity bomb": (
                with_part(WORKBOOK, "xl/workbook.xml", b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'),
                files.DAMAGED,
            ),
            "broken XML": (with_part(WORKBOOK, "xl/workbook.xml", b"<workbook"), files.DAMAGED),
            "a bomb": (
                with_part(WORKBOOK, "xl/media/a.bin", b"\0" * (files.LARGEST_UNPACKED + 1)),
                files.UNPACKS_TOO_LARGE,
            ),
        }.values(),
    )
    def test_with_a_sentence(self, content, sentence):
        with pytest.raises(files.NotReadable) as refused:
            text_of(content)
        assert str(refused.value) == sentence

    def test_a_bomb_that_lies_about_its_size(self):
        """The directory of the archive says one byte; unpacked, the part is far larger."""
        content = bytearray(with_part(self.WORKBOOK, "xl/media/a.bin", b"\0" * 50_000_000))
        at = content.rindex(b"xl/media/a.bin") - 46  # its entry in the central directory
        content[at + 24 : at + 28] = (1).to_bytes(4, "little")
        with pytest.raises(files.NotReadable):
            text_of(bytes(content))

    def test_too_many_parts(self):
        held = io.BytesIO(self.WORKBOOK)
        with zipfile.ZipFile(held, "a") as book:
            for place in range(files.MOST_PARTS):
                book.writestr(f"xl/{place}", b"")
        with pytest.raises(files.NotReadable, match="far too large when unpacked"):
            text_of(held.getvalue())


class TestTexts:
    @pytest.mark.parametrize(
        "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"], ids=str
    )
    def test_are_decoded(self, encoding):
        text = "Téléphone;Pays\n+442079460018;GB\n+33140205050;FR"
        content = text.encode(encoding)
        if encoding == "utf-16-be":
            content = b"\xfe\xff" + content
        assert text_of(content) == text

    def test_undecodable_bytes_are_replaced(self):
        assert text_of(b"\xef\xbb\xbf\xff +442079460018") == "\ufffd +442079460018"


@pytest.mark.django_db
class TestDropped:
    @pytest.fixture
    def client(self, client, sam):
        client.force_login(sam)
        return client

    def drop(self, client, name, content, **fields):
        return client.post("/paste/", fields | {"file": SimpleUploadedFile(name, content)}, follow=True)

    def test_a_workbook_leads_to_its_verdicts(self, client):
        response = self.drop(client, "numbers.xlsx", TestRefused.WORKBOOK)
        assert "numbers.xlsx: 1 line read, 1 number can be requested" in words(response)
        assert Paste.objects.get().picked == ["+442079460018"]

    def test_the_content_decides_what_a_file_is_not_its_name(self, client):
        assert "1 number can be requested" in words(self.drop(client, "x.csv", TestRefused.WORKBOOK))

    def test_a_file_wins_over_text(self, client):
        self.drop(client, "a.txt", b"+442079460018", text="+12125550101")
        assert Paste.objects.get().picked == ["+442079460018"]

    @pytest.mark.parametrize(
        "content, sentence",
        [(b"", files.EMPTY), (b"%PDF", files.NO_TEXT), (b"Dear all", "There is no phone number in this.")],
    )
    def test_a_file_that_cannot_be_read_is_an_error_of_its_field_and_the_text_is_kept(
        self, client, content, sentence
    ):
        response = self.drop(client, "x.txt", content, text="typed already")
        [problem] = response.context["form"].errors["file"]
        assert problem.startswith(sentence)
        assert "typed already" in response.content.decode()
        assert not Paste.objects.exists()

    def test_an_api_key_in_a_file_is_removed_and_reported(self, client):
        response = self.drop(client, f"{KEY}.txt", f"+442079460018\n{KEY}".encode())
        assert "contained an API key" in words(response)
        kept = Paste.objects.get()
        assert KEY not in kept.text + kept.file_name + str(kept.records) + response.content.decode()

    def test_a_file_of_50_mb_is_refused_in_a_sentence(self, client):
        response = self.drop(client, "x.csv", b"+442079460018\n" * 3_600_000)
        assert response.status_code in (200, 400)
        assert "larger than" in words(response)
