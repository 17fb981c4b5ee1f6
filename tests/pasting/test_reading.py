"""Pasted text becomes candidates: the corpus in `tests/pasting/texts/`, and what a corpus cannot show."""

import contextlib
import json
import time
from decimal import Decimal
from pathlib import Path

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from purchasing.pasting import (
    MAX_CHARACTERS,
    MAX_LINES,
    Candidate,
    NotUnderstood,
    Repeat,
    Skipped,
    TooLarge,
    clean,
    number,
    read,
)

PASTED = Path(__file__).parent / "texts"
CORPUS = sorted(path.stem for path in PASTED.glob("*.txt"))
KEY = "idc_" + "A1b2C3d4" * 4
TYPES = {
    PhoneNumberType.FIXED_LINE: "local",
    PhoneNumberType.MOBILE: "mobile",
    PhoneNumberType.TOLL_FREE: "toll-free",
}
SHORT_NUMBERS = ("+13101234", "+989601")  # examples of the plan that cannot be dialled from abroad
REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
# The values of fields that an expected result leaves out.
USUAL = {
    "span": 1,
    "country_code": "",
    "number_type": "",
    "name": "",
    "region": "",
    "warnings": [],
    "features": [],
}
USUAL |= {"upfront_cost": None, "monthly_cost": None, "requirement_group_id": None}


def as_expected(pasted):
    """Write a result as the files of the corpus do, without the usual values."""

    def fields(record, *left_out):
        values = {name: value for name, value in vars(record).items() if name not in left_out}
        values = json.loads(json.dumps(values, default=str))
        return {name: value for name, value in values.items() if name not in USUAL or value != USUAL[name]}

    return {
        "shape": pasted.shape,
        "held_secret": pasted.held_secret,
        "candidates": [fields(candidate, "written") for candidate in pasted.candidates],
        "not_understood": [fields(record) for record in pasted.not_understood],
        "repeats": [fields(record, "written") for record in pasted.repeats],
        "skipped": [fields(record, "written", "reason") for record in pasted.skipped],
    }


@pytest.mark.parametrize("name", CORPUS)
def test_what_people_paste_is_read_as_expected(name):
    text = (PASTED / f"{name}.txt").read_bytes().decode("utf-8", "surrogateescape")
    expected = json.loads((PASTED / f"{name}.json").read_text("utf-8"))

    pasted = read(text, default_country=expected.pop("default_country"))

    assert as_expected(pasted) == expected


def test_the_corpus_holds_sixty_shapes():
    assert len(CORPUS) >= 60


def test_the_documented_entry_gives_every_field():
    text = """{"data": [{
        "phone_number": "+15551234567", "country_code": "US", "number_type": "local", "upfront_cost": "1.00",
        "monthly_cost": "1.50", "features": ["sms", "voice"],
        "region_information": [{"region_type": "state", "region_name": "CA"}]}]}"""

    pasted = read(text)

    assert pasted.candidates == (
        Candidate(
            line=1,
            written=pasted.candidates[0].written,
            phone_number="+15551234567",
            country_code="US",
            number_type="local",
            upfront_cost=Decimal("1.00"),
            monthly_cost=Decimal("1.50"),
            features=("sms", "voice"),
            region="CA",
            warnings=("This number is not in the numbering plan. Check it carefully.",),
            span=4,
        ),
    )
    assert pasted.shape == "json"
    assert pasted.candidates[0].written.startswith('{ "phone_number": "+15551234567", "country_code": "US"')


def test_each_kind_of_line_is_one_record_in_the_order_of_the_text():
    pasted = read("Numbers:\n+12025550143\n+1 (202) 555-0143\n030 123456\n")

    assert [(record.line, type(record)) for record in pasted.records] == [
        (1, Skipped),
        (2, Candidate),
        (3, Repeat),
        (4, NotUnderstood),
    ]
    assert pasted.repeats == (Repeat(3, "+1 (202) 555-0143", "+12025550143", first_line=2),)


@pytest.mark.parametrize("country", ["", "ZZ", "nowhere", None, 49])
def test_a_national_number_without_a_country_asks_for_one(country):
    (record,) = read("030 23125011", default_country=country).not_understood

    assert record.reason == (
        "This number has no calling code. Choose the country for this list, or write the number with + and its "
        "calling code."
    )


def test_the_chosen_country_is_for_numbers_without_a_calling_code():
    pasted = read("030 23125011\n+44 20 7946 0101\n0033 1 99 00 12 34", default_country="de")

    assert [candidate.phone_number for candidate in pasted.candidates] == [
        "+493023125011",
        "+442079460101",
        "+33199001234",
    ]


COSTS = """""¦null¦"-1.00"¦-1¦"1e400"¦1e400¦"NaN"¦NaN¦Infinity¦"1,00"¦"$1.00"¦"1.00 EUR"¦[]¦{"amount": 1}¦true¦"0x1"
"0.1234567890123456789012345678901"¦0.1234567890123456789012345678901""".replace("\n", "¦").split("¦")


@pytest.mark.parametrize("field", ["upfront_cost", "monthly_cost"])
@pytest.mark.parametrize("written", COSTS)
def test_a_cost_that_is_not_a_plain_amount_is_unknown_and_warned_about(field, written):
    (candidate,) = read(f'[{{"phone_number": "+12025550143", "{field}": {written}}}]').candidates

    assert getattr(candidate, field) is None
    assert any(
        ("one-time" if field == "upfront_cost" else "monthly") in warning for warning in candidate.warnings
    )


@pytest.mark.parametrize(
    ("written", "cost"), [('"1.50"', "1.50"), ("1.5", "1.5"), ("2", "2"), ('"0"', "0"), ('" 1.00 "', "1.00")]
)
def test_a_plain_cost_is_taken_to_the_digit(written, cost):
    text = f'[{{"phone_number": "+12025550143", "upfront_cost": {written}, "monthly_cost": {written}}}]'

    (candidate,) = read(text).candidates

    assert (str(candidate.upfront_cost), str(candidate.monthly_cost)) == (cost, cost)


def test_country_and_type_that_do_not_fit_the_number_are_warned_about():
    offer = {"phone_number": "+493023125011", "country_code": "US", "number_type": "mobile"}
    text = json.dumps([{**offer, "upfront_cost": 1, "monthly_cost": 1}])

    (candidate,) = read(text).candidates

    assert (candidate.country_code, candidate.number_type) == ("DE", "mobile")
    assert candidate.warnings == (
        "The text says United States, but this number belongs to Germany.",
        "The text says mobile, but the numbering plan says local.",
    )


@pytest.mark.parametrize(
    ("line", "country"),
    [
        ("+49 30 23125011 1.00", ""),
        ("+49 30 23125011 3", ""),
        ("+4930231250 11", ""),
        ("+49 30 231250 11/12", ""),
        ("5 804 123 456", "PL"),
        ("1.00 030 23125011", "DE"),
        ("12 030 23125011", "DE"),
        ("+12025550143abc", ""),
    ],
)
def test_digits_that_can_be_read_as_two_numbers_are_not_guessed(line, country):
    pasted = read(line, default_country=country)

    assert pasted.candidates == ()
    assert len(pasted.not_understood) == 1


BESIDE = [
    "{}, 3",
    "{} (2)",
    "{} 14:30",
    "{} 01.05.2024",
    "2025-01-01 {}",
    "10:30 {}",
    "1. {}",
    "Tel {}",
    "{} $5.00",
]


@pytest.mark.parametrize("place", range(len(BESIDE)))
@pytest.mark.parametrize(
    "form", [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.NATIONAL]
)
def test_text_beside_a_number_does_not_become_part_of_it(place, form):
    for region in REGIONS[place :: len(BESIDE)]:
        example = phonenumbers.example_number(region)
        text = BESIDE[place].format(phonenumbers.format_number(example, form))

        pasted = read(text, default_country=region if form == PhoneNumberFormat.NATIONAL else "")

        truth = phonenumbers.format_number(example, PhoneNumberFormat.E164)
        assert {candidate.phone_number for candidate in pasted.candidates} <= {truth}, text


@pytest.mark.parametrize("number_type", TYPES)
def test_every_country_is_read_in_every_usual_form(number_type):
    for region in REGIONS[number_type::2]:
        if not (example := phonenumbers.example_number_for_type(region, number_type)):
            continue
        truth = phonenumbers.format_number(example, PhoneNumberFormat.E164)
        international = phonenumbers.format_number(example, PhoneNumberFormat.INTERNATIONAL)
        link = phonenumbers.format_number(example, PhoneNumberFormat.RFC3966)
        written = [truth, international, f"00{international[1:]}", link, international.replace(" ", "\u00a0")]

        pasted = read("\n".join(written))

        assert [candidate.phone_number for candidate in pasted.candidates] == [truth], (region, pasted)
        assert len(pasted.repeats) == len(written) - 1


def test_every_country_is_read_as_it_dials_at_home():
    unread = {}
    for region in REGIONS:
        example = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
        example = example or phonenumbers.example_number(region)
        national = phonenumbers.format_number(example, PhoneNumberFormat.NATIONAL)
        truth = phonenumbers.format_number(example, PhoneNumberFormat.E164)
        if [candidate.phone_number for candidate in read(national, default_country=region).candidates] != [
            truth
        ]:
            unread[region] = read(national, default_country=region)

    assert list(unread) == ["SO"]  # '7 1123456' may also be the number 1123456 in row 7
    assert [record.written for record in unread["SO"].not_understood] == ["7 1123456"]


def test_country_and_type_are_those_of_the_numbering_plan():
    for region in REGIONS:
        for number_type in (*TYPES, PhoneNumberType.UAN, PhoneNumberType.VOIP, PhoneNumberType.PREMIUM_RATE):
            example = phonenumbers.example_number_for_type(region, number_type)
            phone_number = example and phonenumbers.format_number(example, PhoneNumberFormat.E164)
            if not example or phone_number in SHORT_NUMBERS:
                continue
            (candidate,) = read(phone_number).candidates

            assert candidate.country_code == phonenumbers.region_code_for_number(example)
            planned = phonenumbers.number_type(example)
            if planned == PhoneNumberType.FIXED_LINE_OR_MOBILE:
                assert candidate.number_type == ""
            else:
                assert candidate.number_type == TYPES.get(planned, candidate.number_type)


def test_an_api_key_is_removed_and_reported():
    pasted = read(f"curl -H 'Authorization: Bearer {KEY}'\n+12025550143 {KEY}")

    assert pasted.held_secret
    assert [record.written for record in pasted.records] == [
        "curl -H 'Authorization: Bearer idc_[removed]'",
        "+12025550143 idc_[removed]",
    ]
    assert KEY not in clean(f"x {KEY} y")


def test_clean_text_has_one_kind_of_line_break_and_nothing_invisible():
    assert clean("\ufeffa\r\nb\rc\u2028d\x00\ud800\u202e\u200be\x85f\tg") == "a\nb\nc\nde\nf\tg"


def test_clean_text_keeps_what_people_write():
    text = "Zürich, Ω, 世界, 👩‍💻, می‌خواهم\t– „ok“\n"

    assert clean(text) == text


def test_a_long_name_is_cut_at_200_characters_with_a_warning():
    (candidate,) = read(json.dumps([{"phone_number": "+12025550143", "name": "n" * 500}])).candidates

    assert len(candidate.name) == 200
    assert "The name was longer than 200 characters, so its end was cut off." in candidate.warnings


def test_a_single_field_is_one_number_or_one_sentence():
    assert number(" +1 (202) 555-0143 ").phone_number == "+12025550143"
    assert number("030 23125011", default_country="DE").phone_number == "+493023125011"
    assert number("").reason == "There is no phone number here."
    assert number("12").reason == "This is too short for a phone number. Check that no digit is missing."
    assert number("+12025550143 +12025550144").reason == "There is more than one number here. Enter only one."
    assert isinstance(number("x" * 100_000), NotUnderstood)


def test_an_empty_text_gives_nothing():
    assert read("").records == []
    assert read(" \n\t\n\u200b\n").records == []


def test_a_text_at_the_limits_is_read_and_one_beyond_is_refused():
    lines = ["+12025550143"] * (MAX_LINES + 1)
    assert len(read("\n".join(lines[:MAX_LINES]) + "\n\n").repeats) == MAX_LINES - 1

    with pytest.raises(TooLarge, match=r"^This is more than 10,000 lines\. Paste it in smaller parts\.$"):
        read("\n".join(lines))
    with pytest.raises(TooLarge, match=r"^This is more than 10,000 entries\."):
        read(json.dumps(lines))
    with pytest.raises(TooLarge, match=r"^This is more than 10,000 numbers\."):
        read(" ".join(lines))
    with pytest.raises(TooLarge, match=r"^This is more than 1,000,000 characters\."):
        read("x" * (MAX_CHARACTERS + 1))


def test_a_list_of_offers_may_have_more_lines_than_a_text_because_entries_count():
    offers = [
        {"phone_number": f"+1202{5550000 + place}", "features": ["sms", "voice"]} for place in range(1500)
    ]
    text = json.dumps({"data": offers}, indent=2)

    assert text.count("\n") > MAX_LINES
    assert len(read(text).candidates) == 1500


@pytest.mark.parametrize(
    "piece", ["[", '{"a":', '{"a": [\n', "(", "1 ", "1.00 ", '"', ",", "\u200d", "+", "é1", "12345,"]
)
def test_reading_takes_linear_time(piece):
    text = (piece * 200_000)[:200_000]
    began = time.process_time()

    with contextlib.suppress(TooLarge):
        read(text, default_country="US")

    assert time.process_time() - began < 5  # a fifth of the largest text; quadratic work would take minutes
