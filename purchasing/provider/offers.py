"""What IdentityCall lists as available, kept for a minute for each key, country and type. Reads over HTTP; never
changes a state.

Nothing here runs inside a database transaction, since it uses the network.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from django.db import transaction

from purchasing import clock
from purchasing.identitycall import errors
from purchasing.identitycall.resources import Offer, parse_cost
from purchasing.models import ApiKey, OfferLook
from purchasing.provider.turns import alone, client_for
from purchasing.states import NumberType

OFFERS_SERVE = 60  # seconds for which a list may be reused
AFTER_A_FAILURE = 15  # seconds after a failed search in which pages do not repeat it on their own


Place = tuple[str, str]  # a country code and a number type: one list of IdentityCall


class Listed(Protocol):
    """A number to find in the lists: a purchase, a pasted line or a line of a draft."""

    @property
    def phone_number(self) -> str: ...
    @property
    def country_code(self) -> str: ...
    @property
    def number_type(self) -> str: ...


class OffersRead(NamedTuple):
    """One list of offers, by phone number, and when IdentityCall was asked for it."""

    offers: dict[str, Offer]
    began_at: datetime


class Sighting(NamedTuple):
    """What the kept lists show of one number: its offer, if it is in one, and the time of the list."""

    offer: Offer | None
    seen_at: datetime | None


def shelf(key: ApiKey, *, country_code: str, number_type: str) -> OfferLook | None:
    """The stored search for a country and a type with this key (an `OfferLook`), or None."""
    return OfferLook.objects.filter(
        credential=key.credential_id, country_code=country_code, number_type=number_type
    ).first()


def available(
    key: ApiKey,
    *,
    country_code: str,
    number_type: str,
    max_age: float = OFFERS_SERVE,
    patience: float | None = None,
    behind: bool = False,
    longest: float | None = None,
) -> OffersRead:
    """The offers for a country and a type, by phone number, and when they were requested.

    An answer is reused for `max_age` seconds with this key. Raises a `ProviderError`, after storing the failure, or
    `Busy`.
    """
    place: dict[str, Any] = {
        "credential_id": key.credential_id,
        "country_code": country_code,
        "number_type": number_type,
    }
    look = OfferLook.objects.filter(**place).first()
    now = clock.now()
    if look is None or not is_fresh(look, now, max_age):
        try:
            client = client_for(key, patience=patience, behind=behind, longest=longest)
            found = client.available(country_code=country_code, number_type=number_type)
        except errors.ProviderError as error:
            _keep_look(place, failed_at=clock.now(), problem=str(error)[:500])
            raise
        # The list that a number is in decides its type: what the entry itself gives is the carrier's own word.
        kept = {offer.phone_number: _packed(offer) | {"number_type": number_type} for offer in found.offers}
        look = _keep_look(place, began_at=now, offers=kept, failed_at=None, problem="")
        _parsed.pop(look.pk, None)
    assert look.began_at is not None  # fresh, or read just now
    return OffersRead(offers_of(look), look.began_at)


def _keep_look(place: dict[str, Any], **fields: object) -> OfferLook:
    with transaction.atomic():
        return OfferLook.objects.update_or_create(**place, defaults=fields)[0]


def is_fresh(look: OfferLook, now: datetime, max_age: float = OFFERS_SERVE) -> bool:
    """Whether a stored answer may still be used at the time `now`: it was requested at most `max_age` seconds ago."""
    return look.began_at is not None and now - timedelta(seconds=max_age) < look.began_at <= now


def offers_of(look: OfferLook) -> dict[str, Offer]:
    """The offers of a stored search, by phone number."""
    return {number: _unpacked(number, fields) for number, fields in look.offers.items()}


def places_of(number: Listed) -> list[Place]:
    """The lists that may hold this number: pairs of country and type; all four types where the type is unknown."""
    country_code = number.country_code or "US"
    return [
        (country_code, kind) for kind in ([number.number_type] if number.number_type else NumberType.values)
    ]


class Sightings:
    """What the stored searches of a key show of many numbers. Read once, without calling IdentityCall.

    Searches from before `since` do not count. `seen` are the places whose list is known, `failed` those whose last
    search failed a moment ago.
    """

    def __init__(
        self, key: ApiKey | None, places: Collection[Place], *, since: datetime | None = None
    ) -> None:
        looks = OfferLook.objects.filter(
            credential=key.credential_id if key else None,
            country_code__in={country for country, _ in places},
            number_type__in={kind for _, kind in places},
        )
        self.looks = {(look.country_code, look.number_type): look for look in looks}
        self.seen = {
            place
            for place, look in self.looks.items()
            if look.began_at is not None and (since is None or look.began_at > since)
        }
        recent = clock.now() - timedelta(seconds=AFTER_A_FAILURE)
        self.failed = {
            place for place, look in self.looks.items() if look.failed_at and look.failed_at > recent
        }

    def of(self, number: Listed) -> Sighting:
        """The offer for a number, if there is one, and when it was seen.

        `seen_at` is None when no known list holds the number and not every list that may hold it is known.
        """
        places = [place for place in places_of(number) if place in self.seen]
        for place in places:
            look = self.looks[place]
            if number.phone_number in look.offers:
                return Sighting(
                    _unpacked(number.phone_number, look.offers[number.phone_number]), look.began_at
                )
        known = len(places) == len(places_of(number))
        times = [began_at for place in places if (began_at := self.looks[place].began_at)]
        return Sighting(None, min(times) if known else None)


def last_offer(key: ApiKey, purchase: Listed) -> Sighting:
    """What the stored searches show for this purchase's number, without calling IdentityCall."""
    return Sightings(key, places_of(purchase)).of(purchase)


def find_offer(
    key: ApiKey, purchase: Listed, *, max_age: float = OFFERS_SERVE, behind: bool = False
) -> tuple[Offer | None, datetime]:
    """The provider's offer for this purchase's number and when it was seen: `(offer or None, began_at)`.

    A purchase of unknown type is searched for under every type.
    """
    began_at = None
    for country_code, number_type in places_of(purchase):
        place: dict[str, Any] = {"country_code": country_code, "number_type": number_type}
        kept = _fresh_look(key, place, max_age)
        if kept is None:
            with alone(key):
                available(key, **place, max_age=max_age, behind=behind)
            kept = _fresh_look(key, place, None)
            assert kept is not None  # it was stored just now
        asked_at, found = kept
        began_at = min(began_at, asked_at) if began_at else asked_at
        if purchase.phone_number in found:
            return _unpacked(purchase.phone_number, found[purchase.phone_number]), asked_at
    assert began_at is not None  # there is always a list to look in
    return None, began_at


# Long lists are parsed once in each process, not once for each of their numbers: by row, with its time.
_parsed: dict[int, tuple[datetime, dict[str, Any]]] = {}


def _fresh_look(
    key: ApiKey, place: dict[str, Any], max_age: float | None
) -> tuple[datetime, dict[str, Any]] | None:
    """The time and the offers of a stored search of at most this age, if there is one."""
    look = OfferLook.objects.filter(credential=key.credential_id, **place).defer("offers").first()
    if look is None or look.began_at is None:
        return None
    if max_age is not None and not is_fresh(look, clock.now(), max_age):
        return None
    kept = _parsed.get(look.pk)
    if kept is None or kept[0] != look.began_at:
        look = OfferLook.objects.get(pk=look.pk)
        assert look.began_at is not None  # never taken back
        if len(_parsed) > 20:
            _parsed.clear()
        kept = _parsed[look.pk] = look.began_at, look.offers
    return kept


def _packed(offer: Offer) -> dict[str, Any]:
    return {
        "country_code": offer.country_code,
        "number_type": offer.number_type,
        "upfront_cost": None if offer.upfront_cost is None else str(offer.upfront_cost),
        "monthly_cost": None if offer.monthly_cost is None else str(offer.monthly_cost),
        "features": list(offer.features),
        "regions": list(offer.regions),
    }


def _unpacked(phone_number: str, fields: dict[str, Any]) -> Offer:
    return Offer(
        phone_number=phone_number,
        country_code=fields["country_code"],
        number_type=fields["number_type"],
        upfront_cost=parse_cost(fields["upfront_cost"]),
        monthly_cost=parse_cost(fields["monthly_cost"]),
        features=tuple(fields["features"]),
        regions=tuple(fields["regions"]),
    )
