"""Turns digits into an E.164 phone number by the numbering plan, or into a sentence for staff that says why not."""

import re
from dataclasses import dataclass, replace

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumber, PhoneNumberType, ValidationResult
from phonenumbers.phonenumberutil import _number_type_helper

from purchasing.pasting.results import TOO_MANY, TooLarge

SHORTEST, LONGEST = 7, 15  # digits, calling code included
MAX_READINGS = 20_000

TOO_SHORT = "This is too short for a phone number. Check that no digit is missing."
TOO_LONG = (
    "This has more digits than a phone number can have. If it is two numbers, put each on its own line."
)
WRONG_LENGTH = "This has too many or too few digits for its country. Check the digits."
NO_AREA_CODE = "The area code is missing. Write the full number, with + and the calling code of the country."
NO_CALLING_CODE = "No country has the calling code that this number starts with. Check the first digits."
NO_COUNTRY = (
    "This number has no calling code. Choose the country for this list, or write the number with + and its calling "
    "code."
)
TWO_READINGS = (
    "This can be read as two different numbers. Write it with + and the calling code, without spaces and with "
    "nothing after it."
)

_TYPES = {
    PhoneNumberType.FIXED_LINE: ("local",),
    PhoneNumberType.MOBILE: ("mobile",),
    PhoneNumberType.FIXED_LINE_OR_MOBILE: ("local", "mobile"),
    PhoneNumberType.TOLL_FREE: ("toll-free",),
    PhoneNumberType.UAN: ("national",),
    PhoneNumberType.VOIP: ("national",),
}
_REASONS = {
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: NO_AREA_CODE,
    ValidationResult.INVALID_COUNTRY_CODE: NO_CALLING_CODE,
    ValidationResult.TOO_SHORT: TOO_SHORT,
    ValidationResult.TOO_LONG: TOO_LONG,
    ValidationResult.INVALID_LENGTH: WRONG_LENGTH,
}
_REGIONS = phonenumbers.COUNTRY_CODE_TO_REGION_CODE


@dataclass(frozen=True, slots=True)
class Number:
    """One phone number and what the numbering plan says about it."""

    phone_number: str  # E.164 with its plus sign
    country_code: str  # '' if the plan cannot tell
    types: tuple[str, ...]  # the types that the plan allows; empty if it cannot tell
    known: bool  # the number exists in the plan
    countries: tuple[str, ...]  # the countries that share its calling code


def supported(region: str) -> str:
    """Return the ISO code of a country that has a numbering plan, or ''."""
    region = region.strip().upper() if isinstance(region, str) else ""
    return region if region in phonenumbers.SUPPORTED_REGIONS else ""


class Plan:
    """Reads digits by the numbering plan. It caches its readings, and allows MAX_READINGS of them."""

    def __init__(self) -> None:
        self._readings: dict[tuple[str, str], Number | str] = {}

    def international(self, digits: str) -> Number | str:
        """Read digits that begin with a calling code: return a number, or the reason why they are none."""
        # The plan may drop up to three digits, such as (0).
        if not SHORTEST <= len(digits) <= LONGEST + 3:
            return TOO_LONG if len(digits) > LONGEST else TOO_SHORT
        return self._once("", digits)

    def national(self, digits: str, region: str) -> Number | str:
        """Read digits as dialled inside a country: return a number, or the reason why they are none."""
        # Up to five digits may be dialled before the number without being part of it.
        if len(digits) > LONGEST + 5:
            return TOO_LONG
        number = self._once(region, digits)
        calling = str(phonenumbers.country_code_for_region(region))
        if not digits.startswith(calling) or not isinstance(number, Number):
            return number
        abroad = self.international(digits)
        trunk = phonenumbers.ndd_prefix_for_region(region, True)
        if trunk and not digits.startswith(trunk) and isinstance(abroad, Number) and abroad.known:
            return abroad  # inside the country it would be dialled with the trunk prefix
        # Of equal readings _one_of keeps the last, which knows the country.
        return _one_of(abroad, self.international(calling + digits), number)

    def _once(self, region: str, digits: str) -> Number | str:
        reading = self._readings.get((region, digits))
        if reading is None:
            if len(self._readings) >= MAX_READINGS:
                raise TooLarge(TOO_MANY)
            reading = _at_home(digits, region) if region else _from_abroad(digits)
            self._readings[region, digits] = reading
        return reading


def _from_abroad(digits: str) -> Number | str:
    parsed = _split(digits)
    if parsed is None:
        return NO_CALLING_CODE
    number = _described(parsed)
    if isinstance(number, Number) and not digits[len(str(parsed.country_code)) :].startswith("0"):
        return number
    # The plan may know a digit that is dropped when calling from abroad.
    try:
        return _described(phonenumbers.parse("+" + digits))
    except NumberParseException as problem:
        return _unparsed(problem)


def _at_home(digits: str, region: str) -> Number | str:
    try:
        number = _described(phonenumbers.parse(digits, region))
    except NumberParseException as problem:
        return _unparsed(problem)
    if isinstance(number, Number) and not number.country_code and region in number.countries:
        return replace(number, country_code=region)
    return number


def _one_of(*readings: Number | str) -> Number | str:
    """Return the only number among readings of the same digits; of several, the only one in the plan."""
    numbers = {reading.phone_number: reading for reading in readings if isinstance(reading, Number)}
    known = [number for number in numbers.values() if number.known] or list(numbers.values())
    return known[0] if len(known) == 1 else TWO_READINGS


def _split(digits: str) -> PhoneNumber | None:
    for length in (1, 2, 3):
        if (calling := digits[:length]) and calling[0] != "0" and int(calling) in _REGIONS:
            rest = digits[length:]
            zeros = len(rest) - len(rest.lstrip("0"))
            return PhoneNumber(
                country_code=int(calling),
                national_number=int(rest or 0),
                italian_leading_zero=True if zeros else None,
                number_of_leading_zeros=zeros if zeros > 1 else None,
            )
    return None


def _described(parsed: PhoneNumber) -> Number | str:
    possible = phonenumbers.is_possible_number_with_reason(parsed)
    if possible != ValidationResult.IS_POSSIBLE:
        return _REASONS[possible]
    significant = phonenumbers.national_significant_number(parsed)
    phone_number = f"+{parsed.country_code}{significant}"
    if not SHORTEST < len(phone_number) <= LONGEST + 1:
        return TOO_SHORT if len(phone_number) <= SHORTEST else TOO_LONG
    calling_code = parsed.country_code or 0  # a parsed number always has one
    regions = _REGIONS[calling_code]
    country, number_type = _country_and_type(significant, calling_code, regions)
    countries = () if regions[0] == "001" else regions
    types = _TYPES.get(number_type, ()) if countries or number_type == PhoneNumberType.TOLL_FREE else ()
    return Number(
        phone_number,
        country if country in countries else "",
        types,
        number_type != PhoneNumberType.UNKNOWN,
        countries,
    )


def _country_and_type(significant: str, calling_code: int, regions: tuple[str, ...]) -> tuple[str, int]:
    """Return what region_code_for_number() and number_type() would, in one pass instead of two."""
    for region in regions:
        plan = PhoneMetadata.metadata_for_region_or_calling_code(calling_code, region)
        if plan is None:
            continue
        if plan.leading_digits is not None and len(regions) > 1:
            if re.match(plan.leading_digits, significant):
                return region, _number_type_helper(significant, plan)
        elif (number_type := _number_type_helper(significant, plan)) != PhoneNumberType.UNKNOWN:
            return region, number_type
    return regions[0] if len(regions) == 1 else "", PhoneNumberType.UNKNOWN


def _unparsed(problem: NumberParseException) -> str:
    if problem.error_type == NumberParseException.INVALID_COUNTRY_CODE:
        return NO_CALLING_CODE
    return TOO_LONG if problem.error_type == NumberParseException.TOO_LONG else TOO_SHORT
