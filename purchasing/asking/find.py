"""Find numbers: what IdentityCall offers for a country and a type, stored for a minute, filtered and sorted here.

The provider's search does not filter by area code, pattern, region, feature or price (VN-AVAIL), so filters work on its
answer. However many people search, a page asks once a minute, waits a few seconds at most, and keeps the last result
if a search fails.
"""

import fnmatch
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from purchasing import clock
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.identitycall.resources import Offer
from purchasing.models import Desk
from purchasing.provider import offers, pauses, turns

LONGEST_SEARCH = 8  # seconds that a search may take while a page waits
PAGE_WAIT = 2  # seconds that a page waits for its turn in the key's rate
AGAIN_AFTER_FAILURE = 15  # seconds after a search that failed before a page makes the next one
NO_KEY = "{team} has no API key yet, so IdentityCall cannot be asked. A team admin can store one."
AT_ONCE = 5  # seconds in which even 'Refresh' gets the stored result


@dataclass(frozen=True)
class Shelf:
    """The offers for one country and type, when they were seen, and why they may be out of date."""

    offers: list[Offer]
    seen_at: datetime | None  # None: never
    problem: str = ""


def look(team, *, country_code, number_type, again=False):
    """The shelf of a country and a type for the team's key; searches if the stored one is older than a minute.

    `again` allows a new search sooner. Provider errors are not raised: they become the shelf's `problem`.
    """
    key = pauses.current_key(team)
    if key is None:
        return Shelf([], None, NO_KEY.format(team=team))
    place = {"country_code": country_code, "number_type": number_type}
    kept, now = offers.shelf(key, **place), clock.now()
    if kept and offers.is_fresh(kept, now, AT_ONCE if again else offers.OFFERS_SERVE):
        return _shelf(kept)
    problem = _obstacle(key, now) or ("" if again else _failed_just_now(kept, now))
    if not problem:
        try:
            offers.available(key, **place, max_age=0, patience=PAGE_WAIT, behind=True, longest=LONGEST_SEARCH)
        except errors.ProviderError as error:
            problem = str(error)
            if isinstance(error, errors.RateLimited | errors.KeyRefused):
                problem = pauses.after_failed_read(key, error).words
        except (turns.Busy, Undecryptable) as reason:
            problem = str(reason)
        kept = offers.shelf(key, **place)
    return _shelf(kept, problem)


def kept(team, *, country_code, number_type):
    """The stored shelf, without a search."""
    key = pauses.current_key(team)
    return _shelf(offers.shelf(key, country_code=country_code, number_type=number_type) if key else None)


def _obstacle(key, now):
    """Why this key may not be used now, or ''."""
    if key.credential.refused_at:
        return pauses.KEY_REFUSED
    if key.credential.paused_until and not clock.has_come(key.credential.paused_until, now):
        return key.credential.pause_reason
    desk = Desk.objects.get(pk=Desk.ONLY)
    if desk.paused_until and not clock.has_come(desk.paused_until, now):
        return desk.pause_reason
    return ""


def _failed_just_now(kept, now):
    failed = (
        kept is not None
        and kept.failed_at
        and timedelta(0) <= now - kept.failed_at < timedelta(seconds=AGAIN_AFTER_FAILURE)
    )
    return kept.problem if failed else ""


def _shelf(kept, problem=""):
    if kept is None or kept.began_at is None:
        return Shelf([], None, problem)
    return Shelf(list(offers.offers_of(kept).values()), kept.began_at, problem)


# --- Filters and order --------------------------------------------------------------------------------------------

SORTS = {
    "monthly": "Cheapest per month",
    "first": "Cheapest in the first month",
    "number": "By number",
    "region": "By region",
}


@dataclass(frozen=True)
class Filters:
    """Which offers of a shelf to show, and in which order."""

    digits: str = ""  # as typed: '555' anywhere, '+1212*' from the start, '*00' at the end, '?' for one digit
    region: str = ""
    feature: str = ""
    highest: Decimal | None = None  # monthly cost
    sort: str = "monthly"

    def __bool__(self):
        return any((self.digits, self.region, self.feature, self.highest is not None))


def chosen(listed, filters):
    """The offers that pass the filters, sorted."""
    matches = digits_pattern(filters.digits)
    region = filters.region.casefold()
    found = [
        offer
        for offer in listed
        if (matches is None or matches(offer.phone_number))
        and (not region or any(region in name.casefold() for name in offer.regions))
        and (not filters.feature or filters.feature in offer.features)
        and (
            filters.highest is None
            or (offer.monthly_cost is not None and offer.monthly_cost <= filters.highest)
        )
    ]
    return sorted(found, key=_ORDER.get(filters.sort, _ORDER["monthly"]))


def digits_pattern(text):
    """A predicate that matches phone numbers against what was typed, or None if nothing was.

    Digits alone match anywhere in the number. With a '*' the pattern must match the whole number, with or without its
    plus sign and calling code: `*555*`, `1212*`, `*00`; a '?' matches one digit.
    """
    plain = re.sub(r"[^0-9*?+]", "", text)
    if not re.search(r"[0-9?]", plain):
        return None
    if "*" not in plain:
        plain = f"{plain}*" if plain.startswith("+") else f"*{plain.replace('+', '')}*"
    pattern = re.compile(fnmatch.translate(plain.replace("+", "")))
    places = (1,) if plain.startswith(("+", "*")) else (1, 2, 3, 4)  # a calling code has up to three digits
    return lambda number: any(pattern.match(number[place:]) for place in places)


_MOST = Decimal("Infinity")


def _first_month(offer):
    if offer.upfront_cost is None or offer.monthly_cost is None:
        return _MOST
    return offer.upfront_cost + offer.monthly_cost


_ORDER = {
    "monthly": lambda offer: (
        _MOST if offer.monthly_cost is None else offer.monthly_cost,
        _first_month(offer),
        offer.phone_number,
    ),
    "first": lambda offer: (_first_month(offer), offer.phone_number),
    "number": lambda offer: offer.phone_number,
    "region": lambda offer: (not offer.regions, offer.regions, offer.phone_number),
}


def regions_of(listed):
    """Every region of the offers, sorted by name."""
    return sorted({region for offer in listed for region in offer.regions}, key=str.casefold)


def features_of(listed):
    """Every feature of the offers, sorted by name."""
    return sorted({feature for offer in listed for feature in offer.features}, key=str.casefold)
