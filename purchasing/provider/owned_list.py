"""The numbers that a key owns, as its lists show them. Reads over HTTP; never changes a state.

Nothing here runs inside a database transaction, since it uses the network.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction

from purchasing import audit, clock
from purchasing.identitycall import errors
from purchasing.identitycall.resources import OwnedNumber
from purchasing.models import ApiKey, OwnedRead, VirtualNumber
from purchasing.provider.turns import alone, client_for

LIST_SERVES = 60  # seconds for which a read may be reused


class NotWhole(Exception):
    """The owned list was read, but it does not prove that a number is absent."""


def fresh_read(key: ApiKey, *, not_before_seq: int = 0, max_age: float = LIST_SERVES) -> OwnedRead:
    """A read of the key's owned list that proves absence: a recent whole read, or a new one.

    Raises `NotWhole` when the new list proves nothing, and a `ProviderError` when it could not be read.
    """
    recent = _recent_read(key, not_before_seq, max_age)
    if recent is not None:
        return recent
    with alone(key):
        recent = _recent_read(key, not_before_seq, max_age)
        new = recent or read(key)
    if not new.whole:
        raise NotWhole(new.problem)
    return new


def _recent_read(key: ApiKey, not_before_seq: int, max_age: float) -> OwnedRead | None:
    now = clock.now()
    recent = OwnedRead.objects.filter(key=key, began_at__gt=now - timedelta(seconds=max_age)).last()
    if recent and recent.whole and recent.began_after >= not_before_seq and recent.began_at <= now:
        return recent
    return None


def read(key: ApiKey) -> OwnedRead:
    """Read the key's owned list now and store what it showed. A failure is stored too, and raised (`ProviderError`)."""
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
def _keep(key: ApiKey, began_after: int, began_at: datetime, numbers: Collection[OwnedNumber]) -> OwnedRead:
    ApiKey.objects.select_for_update(no_key=True).get(pk=key.pk)  # lists of one key are stored one at a time
    shown = {(number.id, number.phone_number) for number in numbers}
    known = {
        (row.provider_id, row.phone_number): row for row in VirtualNumber.objects.filter(key=key).iterator()
    }
    held = {phone_number for (_, phone_number), row in known.items() if row.gone_at is None}
    missing = sorted(held - {phone_number for _, phone_number in shown})
    before = OwnedRead.objects.filter(key=key, well_formed=True).order_by("-pk").first()
    later = before is not None and before.began_after > began_after  # another worker's read began after ours
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


def listed(key: ApiKey, phone_number: str) -> VirtualNumber | None:
    """The row of `phone_number` in the key's last whole owned list, or None."""
    return VirtualNumber.objects.filter(key=key, phone_number=phone_number, gone_at=None).first()
