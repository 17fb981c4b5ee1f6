"""The fields beside a number in JSON or in a table: claims, used as far as they can be understood."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import phonenumbers

from purchasing.countries import country_name, country_of
from purchasing.identitycall.resources import parse_cost
from purchasing.pasting.headings import type_of
from purchasing.pasting.numbers import Number
from purchasing.pasting.results import MAX_WRITTEN, Candidate
from purchasing.pasting.text import cut, tidy

_MOST_FEATURES = _MOST_REGIONS = 20
_LONGEST_WORD = 60
_LARGEST_ID = 2**63 - 1
_COSTS = {"upfront": "one-time cost", "monthly": "monthly cost"}
_NOTHING = ("", "null", "none", "nil", "n/a", "-", "–")

UNKNOWN_NUMBER = "This number is not in the numbering plan. Check it carefully."
UNKNOWN_COUNTRY = "The country of this number is unknown. Choose one before you request it."
UNKNOWN_TYPE = "The type of this number is unknown. Choose one before you request it."
FOR_THE_REQUESTER = (UNKNOWN_COUNTRY, UNKNOWN_TYPE)  # only the requester can act on these, on the form
NAME_CUT = f"The name was longer than {MAX_WRITTEN} characters, so its end was cut off."


@dataclass(frozen=True)
class Claims:
    """What a text says about a number, as far as it could be understood."""

    country_code: str = ""
    home: str = ""  # the country that a number without calling code is read for
    number_type: str = ""
    name: str = ""
    upfront_cost: Decimal | None = None
    monthly_cost: Decimal | None = None
    features: tuple[str, ...] = ()
    region: str = ""
    requirement_group_id: int | None = None
    warnings: tuple[str, ...] = ()


def read_claims(
    values: Mapping[str, Any], *, default_country: str, priced: bool, notes: Sequence[str] = ()
) -> Claims:
    """Read the values beside a number, by role; `priced` says that costs are expected among them."""
    warnings: list[str] = list(notes)
    if priced:
        _warn_of_missing_costs(values, warnings)
    country, home = _country(values.get("country"), default_country, warnings)
    return Claims(
        country_code=country,
        home=home,
        number_type=_number_type(values.get("type"), warnings),
        name=_name(values.get("name"), warnings),
        upfront_cost=_cost(values.get("upfront"), _COSTS["upfront"], warnings),
        monthly_cost=_cost(values.get("monthly"), _COSTS["monthly"], warnings),
        features=_features(values.get("features")),
        region=_region(values.get("region")),
        requirement_group_id=_group(values.get("group"), warnings),
        warnings=tuple(warnings),
    )


def candidate(
    number: Number, claims: Claims, *, line: int, written: str, span: int = 1, warning: str = ""
) -> Candidate:
    """Combine a number with the claims about it; contradictions become warnings."""
    warnings = [warning] if warning else []
    if not number.known:
        warnings.append(UNKNOWN_NUMBER)
    country = _agreed_country(number, claims, warnings)
    number_type = _agreed_type(number, claims, warnings)
    return Candidate(
        line=line,
        written=cut(written),
        phone_number=number.phone_number,
        country_code=country,
        number_type=number_type,
        name=claims.name,
        upfront_cost=claims.upfront_cost,
        monthly_cost=claims.monthly_cost,
        features=claims.features,
        region=claims.region,
        requirement_group_id=claims.requirement_group_id,
        warnings=(*warnings, *claims.warnings),
        span=span,
    )


def _agreed_country(number: Number, claims: Claims, warnings: list[str]) -> str:
    claimed, planned = claims.country_code, number.country_code
    if claimed and (claimed == planned or (not planned and claimed in number.countries)):
        return claimed
    if claimed and planned:
        warnings.append(
            f"The text says {country_name(claimed)}, but this number belongs to {country_name(planned)}."
        )
    elif claimed:
        warnings.append(
            f"The text says {country_name(claimed)}, but no number of that country starts like this."
        )
    if not planned:
        warnings.append(UNKNOWN_COUNTRY)
    return planned


def _agreed_type(number: Number, claims: Claims, warnings: list[str]) -> str:
    claimed = claims.number_type
    planned = number.types[0] if len(number.types) == 1 else ""
    if claimed and number.types and claimed not in number.types:
        likely = " or ".join(number.types)
        warnings.append(f"The text says {claimed}, but the numbering plan says {likely}.")
    if not (claimed or planned):
        warnings.append(UNKNOWN_TYPE)
    return claimed or planned


def is_nothing(value: Any) -> bool:
    """Return whether a field has no value, in the ways that tables and JSON write that."""
    return (
        value is None
        or value == []
        or value == {}
        or (isinstance(value, str) and value.strip().casefold() in _NOTHING)
    )


def _country(value: Any, default: str, warnings: list[str]) -> tuple[str, str]:
    if is_nothing(value):
        return "", default
    text = str(value) if isinstance(value, str | int) else ""
    if code := country_of(text):
        return code, code if code in phonenumbers.SUPPORTED_REGIONS else default
    calling = re.fullmatch(r"\s*(?:\+|00)?\s*([1-9]\d{0,2})\s*", text)
    if (
        calling
        and (codes := phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(calling[1])))
        and codes[0] != "001"
    ):
        return codes[0] if len(codes) == 1 else "", default if default in codes else codes[0]
    warnings.append(f"The country '{_shown(value)}' was not understood. Use two letters, such as DE.")
    return "", default


def _number_type(value: Any, warnings: list[str]) -> str:
    if is_nothing(value):
        return ""
    if isinstance(value, str) and (number_type := type_of(value)):
        return number_type
    warnings.append(
        f"The type '{_shown(value)}' was not understood. It must be local, mobile, national or toll-free."
    )
    return ""


def _name(value: Any, warnings: list[str]) -> str:
    if is_nothing(value) or isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    name = tidy(str(value), MAX_WRITTEN)
    if len(tidy(str(value), MAX_WRITTEN + 1)) > MAX_WRITTEN:
        warnings.append(NAME_CUT)
    return name


def _warn_of_missing_costs(values: Mapping[str, Any], warnings: list[str]) -> None:
    missing = [called for role, called in _COSTS.items() if is_nothing(values.get(role))]
    if missing:
        warnings.append(f"The {' and the '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.")


def _cost(value: Any, called: str, warnings: list[str]) -> Decimal | None:
    if is_nothing(value):
        return None
    cost = parse_cost(value.strip() if isinstance(value, str) else value)
    if cost is None:
        warnings.append(
            f"The {called} '{_shown(value)}' was not understood. Write a plain amount, such as 1.50."
        )
    return cost


def _features(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = re.split(r"[,;|/+]|\s{1,}", value[:2000])
    elif isinstance(value, dict):
        value = [key for key, on in list(value.items())[:100] if on]
    if not isinstance(value, list):
        return ()
    words = [
        tidy(str(word), _LONGEST_WORD) for item in value[:100] if isinstance(word := _named(item), str | int)
    ]
    return tuple(dict.fromkeys(word for word in words if word))[:_MOST_FEATURES]


def _named(item: Any) -> Any:
    return (
        next((item[key] for key in ("name", "region_name") if key in item), None)
        if isinstance(item, dict)
        else item
    )


def _region(value: Any) -> str:
    if isinstance(value, dict):
        value = [_named(value)] if _named(value) else list(value.values())
    if isinstance(value, list):
        parts = [
            tidy(str(word), _LONGEST_WORD)
            for item in value[:100]
            if isinstance(word := _named(item), str | int)
        ]
        value = ", ".join(dict.fromkeys(part for part in parts[:_MOST_REGIONS] if part))
    return tidy(value) if isinstance(value, str) and not is_nothing(value) else ""


def _group(value: Any, warnings: list[str]) -> int | None:
    if is_nothing(value):
        return None
    text = value.strip() if isinstance(value, str) else str(value)
    if not isinstance(value, bool) and re.fullmatch(r"[0-9]{1,19}", text) and 0 < int(text) <= _LARGEST_ID:
        return int(text)
    warnings.append(f"The requirement group '{_shown(value)}' was not understood. It must be a whole number.")
    return None


def _shown(value: Any) -> str:
    return tidy(str(value), 40) if isinstance(value, str | int | Decimal) else "…"
