"""The look before a claim: the offer and the list of owned numbers, as IdentityCall shows them now.

No transaction is open while the network is used.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from purchasing import audit, clock, workflow
from purchasing.buying import outcomes
from purchasing.identitycall import errors
from purchasing.identitycall.resources import Offer
from purchasing.models import ApiKey, Desk, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import offers, owned_list, pauses
from purchasing.states import Cause, Outcome, State

LOOK_AGE = 60  # seconds: the greatest age of a look at the claim


class NotNow(Exception):
    """Nothing is bought now: `words` give the reason, `until` the time to try again."""

    def __init__(self, words: str, until: datetime) -> None:
        super().__init__(words)
        self.words, self.until = words, until


@dataclass(frozen=True)
class Look:
    """What IdentityCall showed just before the claim: a whole owned list without the number, and its offer."""

    read: OwnedRead
    offer: Offer | None
    seen_at: datetime

    def is_fresh(self, now: datetime) -> bool:
        """Whether it is young enough for a claim."""
        oldest = now - timedelta(seconds=LOOK_AGE)
        return oldest <= self.read.began_at <= now and oldest <= self.seen_at <= now


def _seconds_from_now(seconds: float) -> datetime:
    return clock.now() + timedelta(seconds=seconds)


def look_at(purchase: Purchase, key: ApiKey) -> Look | None:
    """Look before the claim. Returns None when the look itself settled the purchase; raises `NotNow`."""
    mode = pauses.look_mode()
    if mode is pauses.LookMode.WAIT:
        desk = Desk.objects.get(pk=Desk.ONLY)
        raise NotNow(desk.pause_reason, desk.probing_until or _seconds_from_now(15))
    max_age = 0 if mode is pauses.LookMode.PROBE else LOOK_AGE - 8
    offer, seen_at = _offer(purchase, key, max_age)
    last = purchase.attempts.order_by("-pk").first()
    since = last.ended_seq if last and last.ended_seq else 0
    try:
        read = owned_list.fresh_read(key, not_before_seq=since, max_age=max_age)
    except owned_list.NotWhole as problem:
        raise NotNow(
            f"Before buying, the list of owned numbers is read again. {problem}", _seconds_from_now(5)
        ) from None
    except errors.ProviderError as error:
        raise _put_behind(pauses.after_failed_read(key, error)) from None
    if mode is pauses.LookMode.PROBE:
        pauses.provider_answered()
    pauses.trust_key(key.pk, read_began_after=read.began_after)
    replaced = keys_in_doubt(purchase, but=key)
    for old in replaced.filter(refused_at=None, secret__isnull=False):
        _read_for_doubt(old, since, max_age)
    for lister in (*replaced, key):
        owned = owned_list.listed(lister, purchase.phone_number)
        if owned:
            _already_owned(purchase, owned, lister)
            return None
    return Look(read, offer, seen_at)


def keys_in_doubt(purchase: Purchase, *, but: ApiKey) -> QuerySet[ApiKey]:
    """The replaced keys of earlier attempts in doubt: only their lists show what became of those attempts."""
    keys = ApiKey.objects.filter(attempts__purchase=purchase, attempts__outcome=Outcome.UNCONFIRMED)
    return keys.exclude(pk=but.pk).distinct().order_by("pk")


def _read_for_doubt(key: ApiKey, since: int, max_age: float) -> None:
    """Read this key's whole owned list from after the last attempt, before another call is made with a new key."""
    try:
        owned_list.fresh_read(key, not_before_seq=since, max_age=max_age)
    except owned_list.NotWhole as problem:
        raise NotNow(
            f"Before buying, the list of the replaced key is read again. {problem}", _seconds_from_now(5)
        ) from None
    except errors.ProviderError as error:
        raise _put_behind(pauses.after_failed_read(key, error)) from None


def _offer(purchase: Purchase, key: ApiKey, max_age: float) -> tuple[Offer | None, datetime]:
    """The offer for this purchase's number, and when it was seen."""
    try:
        return offers.find_offer(key, purchase, max_age=max_age)
    except errors.Unreadable as error:
        if pauses.is_of_the_provider(error):
            raise _put_behind(pauses.after_failed_read(key, error)) from None
        # Only this list of offers is affected: purchases of another country or type go on.
        raise NotNow(
            f"The number could not be looked up: {error}", _seconds_from_now(pauses.LOOK_AGAIN)
        ) from None
    except errors.Declined as error:
        raise NotNow(
            f"IdentityCall could not look this number up: {error}", _seconds_from_now(pauses.LOOK_AGAIN)
        ) from None
    except errors.ProviderError as error:
        raise _put_behind(pauses.after_failed_read(key, error)) from None


def _put_behind(wait: pauses.Wait) -> NotNow:
    """Wait a little longer than all others, so that what failed here is not the probe each time."""
    return NotNow(wait.words, wait.until + timedelta(seconds=pauses.BEHIND))


def _already_owned(purchase: Purchase, owned: VirtualNumber, key: ApiKey) -> None:
    """Settle a purchase whose number is already owned: an earlier attempt in doubt bought it, or it was ours before.

    Only the list of an attempt's own key shows what became of it: another key may see numbers of other origin.
    """
    with transaction.atomic():
        _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
        if purchase.state != State.APPROVED:
            return
        doubts = list(purchase.attempts.filter(outcome=Outcome.UNCONFIRMED).order_by("pk"))
        own = [doubt for doubt in doubts if doubt.key_id == key.pk]
        attempt = outcomes.which_bought(own, owned)
        if attempt:
            outcomes.record_purchased(
                purchase,
                attempt,
                owned.provider_id,
                "The list of owned numbers shows it: an earlier call bought it.",
            )
        elif doubts:
            words = (
                "The list of owned numbers already showed it before the call that is in doubt."
                if own
                else f"The list of another key (…{key.last_four}) shows it. The key of the call that is in doubt was "
                "replaced since, so nobody can tell from this whether that call bought it."
            )
            workflow.move(
                purchase,
                State.HELD,
                actor=audit.WORKER,
                note=words,
                held_cause=Cause.DOUBT,
                held_words=words,
                due_at=_seconds_from_now(settings.EVIDENCE_CHECK_DELAYS[0]),
            )
        else:
            workflow.move(
                purchase,
                State.FAILED,
                actor=audit.WORKER,
                note="The number already belongs to your IdentityCall account. Nothing was bought.",
                data={"provider_id": owned.provider_id, "key": key.last_four},
            )
