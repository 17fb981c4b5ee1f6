"""What IdentityCall shows: the numbers that a key owns and what is on offer. Reads over HTTP, never a state.

Nothing here runs inside a database transaction: the network is used.
"""

import time
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from purchasing import audit, clock
from purchasing.identitycall import errors
from purchasing.identitycall.client import Client
from purchasing.identitycall.resources import Offer, parse_cost
from purchasing.models import ApiKey, OfferLook, OwnedRead, VirtualNumber
from purchasing.states import NumberType

FRESH = 60  # seconds for which one read serves
AFTER_A_FAILURE = 15  # seconds in which a list that could not be read is not asked for again by the way
PATIENCE = 20  # seconds that the worker waits for its turn in a key's rate


class Busy(Exception):
    """The key may make no call just now; the text says why and `until` when it may."""

    def __init__(
        self, until, words="This key makes as many calls as its plan allows; it goes on in a moment."
    ):
        super().__init__(words)
        self.until = until


class NotWhole(Exception):
    """The owned list was read, but it cannot prove that a number is missing from it."""


def client_for(key, *, patience=PATIENCE, behind=False, longest=None):
    """A client that waits its turn in the key's rate before each read; `behind` others, see `take_turn`.

    No call takes more than `longest` seconds.
    """
    deadline = min(longest or settings.IDENTITYCALL_DEADLINE, settings.IDENTITYCALL_DEADLINE)
    return Client(
        settings.IDENTITYCALL_API_URL,
        ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk),
        connect_timeout=settings.IDENTITYCALL_CONNECT_TIMEOUT,
        read_timeout=min(deadline, settings.IDENTITYCALL_READ_TIMEOUT),
        deadline=deadline,
        before_read=lambda: take_turn(key, patience=patience, behind=behind),
    )


def take_turn(key, *, patience, behind=False):
    """Take the next place in the key's rate and wait for it, at most `patience` seconds; else `Busy`.

    A sixth of the rate may be used at once, the rest is spread, so that no minute sees more calls than the plan
    allows, over all workers and machines. Who goes `behind` purchases and evidence leaves half of that sixth to them
    and waits for nothing. A key that is paused makes no call at all.
    """
    with transaction.atomic(
        durable=True
    ):  # refuses to be called inside a transaction, as the network is used next
        row = ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)
        now = clock.now()
        if row.paused_until and not clock.has_come(row.paused_until, now):
            raise Busy(row.paused_until, row.pause_reason)
        burst = max(1, row.rate // 6)
        interval = timedelta(seconds=60 / max(1, row.rate - burst))
        # A place further ahead than a minute was given by a clock that has since gone back.
        next_at = (
            row.next_call_at if row.next_call_at and row.next_call_at < now + timedelta(minutes=2) else now
        )
        usable = max(1, burst // 2) if behind else burst
        allowed_at = next_at - interval * (usable - 1)
        wait = (allowed_at - now).total_seconds()
        if wait > (0 if behind else patience):
            raise Busy(allowed_at)
        ApiKey.objects.filter(pk=key.pk).update(next_call_at=max(next_at, now) + interval)
    if wait > 0:
        time.sleep(wait)


# --- Owned numbers ------------------------------------------------------------------------------------------------


def owned_read(key, *, not_before_seq=0, max_age=FRESH):
    """A read of the key's owned list that proves absence: a recent whole one, or a new one.

    Raises `NotWhole` when the new list proves nothing, and a `ProviderError` when it could not be read.
    """
    recent = (
        OwnedRead.objects.filter(key=key, began_at__gt=clock.now() - timedelta(seconds=max_age))
        .order_by("-pk")
        .first()
    )
    if recent and recent.whole and recent.began_after >= not_before_seq and recent.began_at <= clock.now():
        return recent
    read = read_owned(key)
    if not read.whole:
        raise NotWhole(read.problem)
    return read


def read_owned(key):
    """Read the key's owned list now and keep what it showed. Raises a `ProviderError` after keeping that it failed."""
    client = client_for(key)
    began_after, began_at = audit.position(), clock.now()
    try:
        owned = client.owned_numbers()
    except errors.ProviderError as error:
        OwnedRead.objects.create(
            key=key,
            began_after=began_after,
            began_at=began_at,
            ended_at=clock.now(),
            whole=False,
            well_formed=False,
            problem=str(error)[:1000],
        )
        raise
    return _keep(key, began_after, began_at, owned.numbers)


@transaction.atomic
def _keep(key, began_after, began_at, numbers):
    ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)  # one list of a key is taken in at a time
    shown = {(number.id, number.phone_number) for number in numbers}
    known = {
        (row.provider_id, row.phone_number): row for row in VirtualNumber.objects.filter(key=key).iterator()
    }
    held = {phone_number for (_, phone_number), row in known.items() if row.gone_at is None}
    missing = sorted(held - {phone_number for _, phone_number in shown})
    before = OwnedRead.objects.filter(key=key, well_formed=True).order_by("-pk").first()
    later = before is not None and before.began_after > began_after  # another worker read after us
    agrees = (
        before is not None
        and not later
        and before.ended_at <= began_at
        and set(missing) <= set(before.missing)
    )
    whole = not missing or agrees
    now = clock.now()
    if whole:
        seq = audit.position()
        VirtualNumber.objects.bulk_create(
            [
                VirtualNumber(
                    key=key,
                    provider_id=provider_id,
                    phone_number=phone_number,
                    first_seen_seq=seq,
                    first_seen_at=now,
                )
                for provider_id, phone_number in sorted(shown - known.keys())
            ]
        )
        gone = [row.pk for pair, row in known.items() if pair not in shown and row.gone_at is None]
        back = [row.pk for pair, row in known.items() if pair in shown and row.gone_at is not None]
        for rows, gone_at in ((gone, now), (back, None)):
            for start in range(0, len(rows), 500):
                VirtualNumber.objects.filter(pk__in=rows[start : start + 500]).update(gone_at=gone_at)
    return OwnedRead.objects.create(
        key=key,
        began_after=began_after,
        began_at=began_at,
        ended_at=now,
        whole=whole,
        well_formed=True,
        count=len(shown),
        missing=[] if whole else missing,
        problem=""
        if whole
        else f"The list lacked {len(missing)} number(s) that it showed before; the next read has to agree.",
    )


def listed(key, phone_number):
    """The row of `phone_number` in the key's last whole owned list, or None."""
    return VirtualNumber.objects.filter(key=key, phone_number=phone_number, gone_at=None).first()


# --- Offers -------------------------------------------------------------------------------------------------------


def shelf(key, *, country_code, number_type):
    """What is kept of the searches for a country and a type with this key (an `OfferLook`), or None."""
    return OfferLook.objects.filter(key=key, country_code=country_code, number_type=number_type).first()


def offers(key, *, country_code, number_type, max_age=FRESH, patience=PATIENCE, behind=False, longest=None):
    """What is on offer for a country and a type, by phone number, and when that was asked: `(offers, began_at)`.

    The answer serves for `max_age` seconds for this key. Raises a `ProviderError`, after keeping that it failed, or
    `Busy`.
    """
    place = {"key": key, "country_code": country_code, "number_type": number_type}
    look = OfferLook.objects.filter(**place).first()
    now = clock.now()
    if look is None or not is_fresh(look, now, max_age):
        try:
            client = client_for(key, patience=patience, behind=behind, longest=longest)
            found = client.available(country_code=country_code, number_type=number_type)
        except errors.ProviderError as error:
            _keep_look(place, failed_at=clock.now(), problem=str(error)[:500])
            raise
        # Of which type a number is tells the list that it stands in; what its entry says is the carrier's own word.
        kept = {offer.phone_number: _packed(offer) | {"number_type": number_type} for offer in found.offers}
        look = _keep_look(place, began_at=now, offers=kept, failed_at=None, problem="")
    return offers_of(look), look.began_at


def _keep_look(place, **fields):
    with transaction.atomic():
        return OfferLook.objects.update_or_create(**place, defaults=fields)[0]


def is_fresh(look, now, max_age=FRESH):
    """Whether an answer that is kept may still serve at the time `now`, `max_age` seconds after it was asked for."""
    return look.began_at is not None and now - timedelta(seconds=max_age) < look.began_at <= now


def offers_of(look):
    """The offers that are kept of a look, by phone number."""
    return {number: _unpacked(number, fields) for number, fields in look.offers.items()}


def places_of(purchase):
    """The lists in which the number of a purchase may stand: pairs of country and type, four of an unknown type."""
    country_code = purchase.country_code or "US"
    return [
        (country_code, kind)
        for kind in ([purchase.number_type] if purchase.number_type else NumberType.values)
    ]


class Sightings:
    """What the kept looks of a key show of many numbers, read once; nothing is asked.

    Looks from before `since` do not count. `seen` are the places whose list is known, `failed` those whose last try
    has failed a moment ago.
    """

    def __init__(self, key, places, *, since=None):
        looks = OfferLook.objects.filter(
            key=key,
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

    def of(self, number):
        """The offer for what has a `phone_number`, a `country_code` and a `number_type`: `(offer or None, seen_at)`.

        `seen_at` is None where not all the lists in which it may stand are known, and it stands in none that is.
        """
        places = [place for place in places_of(number) if place in self.seen]
        for place in places:
            look = self.looks[place]
            if number.phone_number in look.offers:
                return _unpacked(number.phone_number, look.offers[number.phone_number]), look.began_at
        known = len(places) == len(places_of(number))
        return None, min(self.looks[place].began_at for place in places) if known else None


def last_offer(key, purchase):
    """What the last look kept shows for this purchase's number, without asking: `(offer or None, seen_at or None)`."""
    return Sightings(key, places_of(purchase)).of(purchase)


def find_offer(key, purchase, *, max_age=FRESH, patience=PATIENCE):
    """The provider's offer for this purchase's number and when it was seen: `(offer or None, began_at)`.

    A purchase whose type nobody knows is looked for under every type.
    """
    began_at = None
    for country_code, number_type in places_of(purchase):
        found, asked_at = offers(
            key, country_code=country_code, number_type=number_type, max_age=max_age, patience=patience
        )
        began_at = min(began_at, asked_at) if began_at else asked_at
        if purchase.phone_number in found:
            return found[purchase.phone_number], asked_at
    return None, began_at


def _packed(offer):
    return {
        "country_code": offer.country_code,
        "number_type": offer.number_type,
        "upfront_cost": None if offer.upfront_cost is None else str(offer.upfront_cost),
        "monthly_cost": None if offer.monthly_cost is None else str(offer.monthly_cost),
        "features": list(offer.features),
        "regions": list(offer.regions),
    }


def _unpacked(phone_number, fields):
    return Offer(
        phone_number=phone_number,
        country_code=fields["country_code"],
        number_type=fields["number_type"],
        upfront_cost=parse_cost(fields["upfront_cost"]),
        monthly_cost=parse_cost(fields["monthly_cost"]),
        features=tuple(fields["features"]),
        regions=tuple(fields["regions"]),
    )
