"""IdentityCall's answers as values of our own.

The provider's data is not trusted. What is only shown or compared is read tolerantly: a field of an unexpected
type counts as missing, and an unknown cost is None, never 0 (VN-AVAIL passes entries through from a carrier).
What proves something is read strictly: an answer that was not read to its end is worthless (`Malformed`), and an
entry that cannot be read is named.
"""

import json
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from purchasing.redaction import redact

TEXT_LENGTH = 100
FEATURES = REGIONS = 20
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_COST = re.compile(r"[0-9]{1,10}(\.[0-9]{1,4})?")
_COUNTRY = re.compile(r"[A-Za-z]{2}")
_LARGEST_ID = 2**63 - 1
_LARGEST_COST = Decimal(10) ** 10


class Malformed(ValueError):
    """An answer is not what its documentation promises. The text holds nothing that the provider sent."""


@dataclass(frozen=True)
class Offer:
    """A number that the provider lists as available (VN-AVAIL). Unknown values are None, '' or ()."""

    phone_number: str
    country_code: str = ""
    number_type: str = ""
    upfront_cost: Decimal | None = None
    monthly_cost: Decimal | None = None
    features: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()


@dataclass(frozen=True)
class OfferList:
    """The offers in the provider's order, and how many entries had no usable phone number."""

    offers: tuple[Offer, ...]
    skipped: int


@dataclass(frozen=True)
class OwnedNumber:
    """A number of the account or of the key's project (VN-LIST; also the answer to a purchase, VN-BUY).

    `answer_text`: an excerpt of the answer to a purchase, without keys; '' for a number of a list.
    """

    id: int
    phone_number: str
    name: str = ""
    country_code: str = ""
    active: bool | None = None
    answer_text: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True)
class OddEntry:
    """An entry of the owned list that shows no number that can be read: its id, if it has one, and what it shows."""

    id: int | None
    shows: str


@dataclass(frozen=True)
class OwnedList:
    """A list of numbers that was read to its end. `entries` is how many different ones it held."""

    numbers: tuple[OwnedNumber, ...]
    odd: tuple[OddEntry, ...] = ()
    entries: int = field(default=0, compare=False)


@dataclass(frozen=True)
class NumberDetail:
    """One number with its settings (VN-GET). None: the provider did not give the value."""

    id: int
    phone_number: str
    name: str = ""
    country_code: str = ""
    active: bool | None = None
    recording: bool | None = None


@dataclass(frozen=True)
class Project:
    """A project that the key sees (PR-LIST); a project-scoped key sees exactly one."""

    id: int
    name: str


def load(body: bytes) -> Any:
    """Return the JSON value of a body, fractions as Decimal. Raises Malformed, also for a key that comes twice."""
    try:
        return json.loads(
            body.decode(), parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_without_doubles
        )
    except (ValueError, ArithmeticError, RecursionError, MemoryError):
        pass
    raise Malformed("not a well-formed JSON text")


def _refuse(constant: str) -> None:
    raise ValueError("not JSON")


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key comes twice")
    return fields


def clean_text(value: Any, length: int = TEXT_LENGTH) -> str:
    """Return text without API keys, control, format and surrogate characters, cut to `length`; '' for any other
    type.
    """
    if not isinstance(value, str):
        return ""
    plain = "".join(_printable(character) for character in value)
    return redact(" ".join(plain.split()))[:length]


def _printable(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp"):
        return " "
    return "" if category in ("Cf", "Cs") else character


def is_e164(value: Any) -> bool:
    """Return whether the value is text in E.164 form: a plus sign and 2 to 15 ASCII digits, the first not 0."""
    return isinstance(value, str) and _E164.fullmatch(value) is not None


def is_id(value: Any) -> bool:
    """Return whether the value is a positive integer that a database can hold; True is not an integer."""
    return type(value) is int and 0 < value <= _LARGEST_ID


def parse_cost(value: Any) -> Decimal | None:
    """Return an unambiguous cost: 0 or more, at most 10 digits before the point and 4 after it; else None."""
    if isinstance(value, str):
        return Decimal(value) if _COST.fullmatch(value) else None
    if type(value) is int:
        return Decimal(value) if 0 <= value < _LARGEST_COST else None
    if isinstance(value, Decimal) and value.is_finite() and not value.is_signed() and value < _LARGEST_COST:
        return _plain(value)
    return None


def _plain(value: Decimal) -> Decimal | None:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # a finite number
    places = -exponent
    if places > 4:
        return None
    return value if places >= 0 else value.quantize(Decimal(1))


def data_of(answer: Any) -> Any:
    """Return what an answer holds under `data`."""
    if isinstance(answer, dict) and "data" in answer:
        return answer["data"]
    raise Malformed("no data in the answer")


def entries_of(answer: Any) -> list[Any]:
    """Return the list that an answer holds under `data`."""
    entries = data_of(answer)
    if isinstance(entries, list):
        return entries
    raise Malformed("the data of the answer is not a list")


def read_offers(answer: Any) -> OfferList:
    """Read the answer to a search. An entry without a usable phone number is skipped and counted.

    A number that comes twice is one offer; a cost on which its entries differ is unknown.
    """
    offers: dict[str, Offer] = {}
    skipped = 0
    for entry in entries_of(answer):
        if not isinstance(entry, dict) or not is_e164(entry.get("phone_number")):
            skipped += 1
            continue
        offer = _read_offer(entry)
        offers[offer.phone_number] = _agreed(offers.get(offer.phone_number, offer), offer)
    return OfferList(tuple(offers.values()), skipped)


def _read_offer(entry: dict[str, Any]) -> Offer:
    return Offer(
        phone_number=entry["phone_number"],
        country_code=_country(entry.get("country_code")),
        number_type=clean_text(entry.get("number_type")),
        upfront_cost=parse_cost(entry.get("upfront_cost")),
        monthly_cost=parse_cost(entry.get("monthly_cost")),
        features=_texts(_listed(entry.get("features")), FEATURES),
        regions=_texts(_region_names(_listed(entry.get("region_information"))), REGIONS),
    )


def _agreed(first: Offer, second: Offer) -> Offer:
    return replace(
        first,
        upfront_cost=first.upfront_cost if first.upfront_cost == second.upfront_cost else None,
        monthly_cost=first.monthly_cost if first.monthly_cost == second.monthly_cost else None,
    )


def _country(value: Any) -> str:
    return value.upper() if isinstance(value, str) and _COUNTRY.fullmatch(value) else ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _region_names(regions: list[Any]) -> Iterable[Any]:
    return (region.get("region_name") for region in regions if isinstance(region, dict))


def _texts(values: Iterable[Any], most: int) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for value in values:
        if text := clean_text(value):
            found[text] = None
        if len(found) == most:
            break
    return tuple(found)


def read_owned(entry: Any) -> OwnedNumber:
    """Read one number of the list, or the answer to a purchase. Raises Malformed without a valid id and number."""
    if not isinstance(entry, dict) or not is_id(entry.get("id")) or not is_e164(entry.get("phone_number")):
        raise Malformed("a number without a valid id or phone number")
    return OwnedNumber(
        id=entry["id"],
        phone_number=entry["phone_number"],
        name=clean_text(entry.get("name")),
        country_code=_country(entry.get("country_code")),
        active=_switch(entry.get("active")),
    )


def _switch(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def read_owned_list(entries: Iterable[Any]) -> OwnedList:
    """Read a whole list of numbers. An entry that comes twice counts once; a number may stand under two ids.

    An entry that cannot be read (a short code, no number, an id that is not an integer) is odd, and so is an id under
    which two numbers stand: what it shows is not known, but that it is there is.
    """
    numbers: dict[tuple[int, str], OwnedNumber] = {}
    odd: dict[OddEntry, None] = {}
    for entry in entries:
        try:
            number = read_owned(entry)
        except Malformed:
            odd[_odd_entry(entry)] = None
        else:
            numbers.setdefault((number.id, number.phone_number), number)
    count = len(numbers) + len(odd)
    shown: dict[int, list[str]] = {}
    for number_id, phone_number in numbers:
        shown.setdefault(number_id, []).append(phone_number)
    unclear = {number_id for number_id, found in shown.items() if len(found) > 1}
    odd |= {OddEntry(number_id, " and ".join(shown[number_id])[:TEXT_LENGTH]): None for number_id in unclear}
    return OwnedList(
        tuple(number for number in numbers.values() if number.id not in unclear), tuple(odd), count
    )


def _odd_entry(entry: Any) -> OddEntry:
    if not isinstance(entry, dict):
        return OddEntry(None, "something that is not a number")
    number_id, shows = entry.get("id"), entry.get("phone_number")
    text = (
        clean_text(shows)
        if isinstance(shows, str)
        else "no number"
        if shows is None
        else clean_text(str(shows))
    )
    if is_id(number_id):
        return OddEntry(number_id, text or "no number")
    return OddEntry(None, f"{text or 'no number'} with the id {clean_text(str(number_id), 40)}")


def read_detail(entry: Any) -> NumberDetail:
    """Read one number in its detail form. Raises Malformed without a valid id and number."""
    owned = read_owned(entry)
    return NumberDetail(
        id=owned.id,
        phone_number=owned.phone_number,
        name=owned.name,
        country_code=owned.country_code,
        active=owned.active,
        recording=_switch(entry.get("recording")),
    )


def read_projects(answer: Any) -> tuple[Project, ...]:
    """Read the projects that the key sees; entries without an id are left out."""
    return tuple(
        Project(entry["id"], clean_text(entry.get("name")))
        for entry in entries_of(answer)
        if isinstance(entry, dict) and is_id(entry.get("id"))
    )
