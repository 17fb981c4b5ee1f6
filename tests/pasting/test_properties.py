"""No pasted text raises, and every line that is not blank is accounted for exactly once."""

import json
import re
from collections import Counter
from decimal import Decimal

import phonenumbers
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from purchasing.pasting import Candidate, NotUnderstood, Repeat, Skipped, clean, number, read
from purchasing.redaction import holds_secret

KEY = "idc_" + "A1b2C3d4" * 4
COUNTRIES = st.sampled_from(["", "US", "DE", "FR", "IT", "JP", "AU", "zz", "de"])

FRAGMENTS = """+15551234567¦+49 30 123456¦0049 30 123457¦011 44 20 7946 0000¦030 123456¦(555) 123-4567¦
＋４９ ３０ １２３４５６¦+٤٩٣٠١٢٣٤٥٦¦+49\u00a030\u2009123\u00ad456¦tel:+1-555-123-4567;ext=9¦12345678¦9999999999999999¦
ext. 12¦&#43;¦%2B¦00¦(0)¦
1.5551E+10¦1-800-FLOWERS¦2025-01-31 10:30¦1.234,56 €¦Order 4930123456¦#NAME?¦1.00¦1.00 1.00¦ 5 ¦10:30¦(2)¦1. ¦
{"data": [{"phone_number": "+15551234568", "upfront_cost": "1.00"}]}¦["+15551234569", 5, null]¦[[[[¦{}¦[]¦"data":¦
{"phone_number": "+4930123458"}¦{"phone_number": "¦"}¦["¦"]¦null¦NaN¦1e400¦\\u0000¦{"a": {"b": [¦]}}¦
phone_number,country_code\n¦Rufnummer;Land;Preis\n¦+4930123459;DE;1,00\n¦\t1.00\t¦|---|\n¦
number¦Telefon¦US¦DE¦local¦hello¦世界¦é¦🇩🇪¦"""
SIGNS = "\n\r\u2028\x0b\t,;|\"' \u00a0\u200b\ufeff\x00\ud800{}[]:+-/().\\x"
FRAGMENTS = st.sampled_from([*FRAGMENTS.split("¦"), KEY, *SIGNS])
ANYTHING = st.one_of(
    st.text(alphabet=st.characters(), max_size=200),
    st.text(alphabet=st.characters(exclude_categories=[]), max_size=80),
    st.text(alphabet="+0123456789 ()-./\n\t,;\"'[]{}:xeE", max_size=200),
    st.lists(FRAGMENTS, max_size=30).map("".join),
    st.lists(FRAGMENTS, max_size=30).map("\n".join),
    st.lists(FRAGMENTS, max_size=30).map(",".join),
    st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.binary(max_size=200).map(lambda data: data.decode("latin-1")),
)
KEYS = (
    "phone_number data country_code number_type upfront_cost monthly_cost name features number +15551234567"
)
MORE_KEYS = "region_information requirement_group_id numbers"
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), FRAGMENTS)
JSON = st.recursive(
    VALUES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(f"{KEYS} {MORE_KEYS}".split(" ")), st.text(max_size=5)),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)
many = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
some = settings(max_examples=100, deadline=None)


def lines_of(record):
    return range(record.line, record.line + record.span)


def assert_accounted(text, pasted):
    """Check the three rules in the docstring of purchasing.pasting against the cleaned text."""
    lines = clean(text).split("\n")
    blank = {place for place, line in enumerate(lines, start=1) if not line.strip()}
    filled = set(range(1, len(lines) + 1)) - blank
    read_lines = Counter(
        line
        for record in [*pasted.candidates, *pasted.not_understood, *pasted.repeats]
        for line in lines_of(record)
    )
    skipped_lines = Counter(line for record in pasted.skipped for line in lines_of(record))
    assert filled <= set(read_lines) | set(skipped_lines)  # 1: none is missing
    assert set(read_lines) | set(skipped_lines) <= set(range(1, len(lines) + 1))
    assert not set(read_lines) & set(skipped_lines)  # 2: skipped or read
    assert max((count for line, count in skipped_lines.items() if line in filled), default=1) == 1
    if pasted.shape == "lines":
        assert all(record.span == 1 for record in pasted.records)
    if pasted.shape == "table":  # rows do not overlap
        for line in read_lines:
            assert (
                len({(record.line, record.span) for record in pasted.records if line in lines_of(record)})
                == 1
            )
    for line, count in read_lines.items():  # 3: several share a line only as parts of it
        if count > 1:
            together = [record for record in pasted.records if line in lines_of(record)]
            assert pasted.shape != "lines" or all(record.written for record in together)


def assert_sound(pasted):
    """Check the promises of every record."""
    phone_numbers = [candidate.phone_number for candidate in pasted.candidates]
    assert len(phone_numbers) == len(set(phone_numbers))
    assert {repeat.phone_number for repeat in pasted.repeats} <= set(phone_numbers)
    for candidate in pasted.candidates:
        assert re.fullmatch(r"\+[1-9][0-9]{6,14}", candidate.phone_number)
        assert phonenumbers.is_possible_number(phonenumbers.parse(candidate.phone_number))
        assert candidate.number_type in ("local", "mobile", "national", "toll-free", "")
        assert re.fullmatch(r"([A-Z]{2})?", candidate.country_code)
        assert all(
            cost is None or (isinstance(cost, Decimal) and cost >= 0)
            for cost in (candidate.upfront_cost, candidate.monthly_cost)
        )
    for record in pasted.records:
        assert len(record.written) <= 200
        for kept in [value for value in vars(record).values() if isinstance(value, str)]:
            assert kept == clean(kept) and "\n" not in kept
        assert not holds_secret(json.dumps(vars(record), default=str, ensure_ascii=False))
    assert all(record.reason for record in [*pasted.not_understood, *pasted.skipped])


@many
@given(text=ANYTHING, country=COUNTRIES)
def test_any_text_is_read_and_accounted_for(text, country):
    pasted = read(text, default_country=country)

    assert_accounted(text, pasted)
    assert_sound(pasted)


@some
@given(
    value=JSON,
    indent=st.sampled_from([None, 1, 2]),
    escaped=st.booleans(),
    cut=st.integers(0, 400),
    country=COUNTRIES,
)
def test_any_json_is_read_and_accounted_for(value, indent, escaped, cut, country):
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    for pasted_text in (text, text[:cut], f"$ curl -s x\n{text}\nbye"):
        pasted = read(pasted_text, default_country=country)

        assert_accounted(pasted_text, pasted)
        assert_sound(pasted)


@some
@given(text=ANYTHING)
def test_cleaning_twice_changes_nothing_and_reads_the_same(text):
    cleaned = clean(text)

    assert clean(cleaned) == cleaned
    assert not holds_secret(cleaned)
    assert (
        cleaned == cleaned.encode("utf-8").decode("utf-8") and "\x00" not in cleaned and "\r" not in cleaned
    )
    assert read(cleaned).records == read(text).records


@some
@given(text=ANYTHING, country=COUNTRIES)
def test_a_single_field_gives_one_number_or_one_sentence(text, country):
    assert isinstance(number(text, default_country=country), Candidate | NotUnderstood)


LINES = {
    "+15551230001": Candidate,
    "  Tel.: +1 (555) 123-0002 ": Candidate,
    "- 0049 30 1230003": Candidate,
    "please take +44 20 7946 0000 for the shop": Candidate,
    "030 123456": NotUnderstood,
    "+1 555": NotUnderstood,
    "1.5551E+10": NotUnderstood,
    "9999999999999999": NotUnderstood,
    "hello": Skipped,
    "see you at 10:30 on 2025-01-31": Skipped,
    "1.00 EUR": Skipped,
    "Authorization: Bearer " + KEY: Skipped,
}


@some
@given(
    lines=st.lists(st.sampled_from(["", "  ", "\u200b", *LINES]), max_size=25),
    newline=st.sampled_from(["\n", "\r\n", "\r", "\u2028"]),
)
def test_each_line_becomes_what_it_is_once(lines, newline):
    pasted = read(newline.join(lines))

    seen, expected = set(), []
    for place, line in enumerate(lines, start=1):
        if line in LINES:
            kind = Repeat if LINES[line] is Candidate and line in seen else LINES[line]
            expected.append((place, kind))
            seen.add(line)
    assert [(record.line, type(record)) for record in pasted.records] == expected


ENTRIES = {
    '{"phone_number": "+15551230001", "monthly_cost": "1.00"}': Candidate,
    '{\n  "phone_number": "+4930123456",\n\n  "name": null\n}': Candidate,
    '"+442079460000"': Candidate,
    '{"phone_number": null}': NotUnderstood,
    '{"phone_number": "12"}': NotUnderstood,
    '{"name": "x"}': NotUnderstood,
    "null": NotUnderstood,
    '"nothing"': NotUnderstood,
    "15551230009": NotUnderstood,
}


@some
@given(
    first=st.sampled_from(['{"phone_number": "+12025550100"}', '"+12025550100"']),
    entries=st.lists(st.sampled_from(list(ENTRIES)), max_size=12),
    between=st.sampled_from([",", ", ", ",\n", "\n,\n\n"]),
    frame=st.sampled_from(
        ["[%s]", '{"data": [%s]}', '{"data": [\n%s\n], "meta": {"page": 1}}\n', '{"a": {"numbers": [%s]}}']
    ),
)
def test_each_entry_of_json_becomes_what_it_is_once(first, entries, between, frame):
    text = frame % between.join([first, *entries])

    pasted = read(text)

    seen, expected = set(), [Candidate]
    for entry in entries:
        expected.append(Repeat if ENTRIES[entry] is Candidate and entry in seen else ENTRIES[entry])
        seen.add(entry)
    read_entries = [type(record) for record in pasted.records if not isinstance(record, Skipped)]
    assert Counter(read_entries) == Counter(expected)
    assert_accounted(text, pasted)


ROWS = {
    ("+15551230001", "US"): Candidate,
    ("030 123456", "DE"): Candidate,
    ("+44 20 7946 0000", ""): Candidate,
    ("0301234", ""): NotUnderstood,
    ("", "US"): NotUnderstood,
    ("none", "US"): NotUnderstood,
    ("1.5E+10", "US"): NotUnderstood,
    ("phone number", "country"): Skipped,
    ("", ""): Skipped,
}


@some
@given(
    rows=st.lists(st.sampled_from(list(ROWS)), max_size=12),
    delimiter=st.sampled_from("\t;,|"),
    quoted=st.booleans(),
)
def test_each_row_of_a_table_becomes_what_it_is_once(rows, delimiter, quoted):
    cell = '"{}"' if quoted else "{}"
    text = "\n".join(delimiter.join(map(cell.format, row)) for row in [("phone number", "country"), *rows])

    pasted = read(text)

    seen, expected = set(), [Skipped]
    for row in rows:
        expected.append(Repeat if ROWS[row] is Candidate and row in seen else ROWS[row])
        seen.add(row)
    blank = [False, *(not delimiter.join(row).strip() and not quoted for row in rows)]
    expected = [kind for kind, empty in zip(expected, blank, strict=True) if not empty]
    assert [type(record) for record in pasted.records] == expected
    assert pasted.shape == "table"


@pytest.mark.parametrize(
    "place", ["name", "features", "region_information", "phone_number", "number_type", "country_code"]
)
def test_a_key_written_with_escapes_is_cut_out_of_every_field(place):
    hidden = KEY.replace("idc", r"\u0069\u0064c")
    text = f'[{{"phone_number": "+15551234567", "{place}": "{hidden}"}}]'

    assert_sound(read(text))
