"""The look before a claim: the offer and the list of owned numbers, as IdentityCall shows them now.

No transaction is open while the network is used.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from purchasing import audit, clock, workflow
from purchasing.buying import evidence
from purchasing.identitycall import errors
from purchasing.identitycall.resources import Offer
from purchasing.models import ApiKey, Desk, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import offers, owned_list, pauses, turns
from purchasing.states import Cause, Outcome, State

LOOK_AGE = 60  # seconds: the greatest age of a look at the claim


class NotNow(Exception):
    """Nothing is bought now: `words` give the reason, `until` the time to try again."""

    def __init__(self, words: str, until: datetime) -> None:
        super().__init__(words)
        self.words, self.until = words, until


@dataclass(frozen=True)
class Look:
    """What IdentityCall showed just before the claim: a well-formed owned list without the number, and its offer."""

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
    read = _read(key, since, max_age)
    if mode is pauses.LookMode.PROBE:
        pauses.provider_answered()
    if key.credential.projects is None and not owned_list.knows_numbers(key.credential):
        _read_projects(key)
    replaced = keys_in_doubt(purchase, but=key)
    for old in replaced.filter(credential__refused_at=None, secret__isnull=False):
        _read(old, since, max_age)
    for lister in (*replaced, key):
        if owned_list.listed(lister, purchase.phone_number).exists():
            _settle_owned(purchase, lister)
            return None
    if blocking_entry(purchase, read):
        read = _read(key, since, 0)  # once more: what the list showed before this read is not new any more
    odd = blocking_entry(purchase, read)
    if odd is not None:
        raise NotNow(
            f"IdentityCall's list has a new entry that cannot be read, under the id {odd.provider_id}: it could be "
            "this number. Nothing more is bought under it until that is clear.",
            _seconds_from_now(pauses.LOOK_AGAIN),
        )
    return Look(read, offer, seen_at)


def _read(key: ApiKey, since: int, max_age: float) -> OwnedRead:
    """A well-formed owned list of this key from after the last attempt."""
    try:
        return owned_list.fresh_read(key, not_before_seq=since, max_age=max_age)
    except errors.ProviderError as error:
        raise _put_behind(pauses.after_failed_read(key, error)) from None


def _read_projects(key: ApiKey) -> None:
    """Note the projects of a key that knows no number: the only way to see later that it was moved to another one."""
    try:
        projects = turns.client_for(key).projects()
    except errors.ProviderError:
        return  # its lists then prove no absence for what is bought now
    with transaction.atomic():
        owned_list.note_projects(key, [project.id for project in projects])


def blocking_entry(purchase: Purchase, read: OwnedRead) -> VirtualNumber | None:
    """An entry of the list that cannot be read and is new since the last call for this purchase, or None.

    Without such a call, or after one that was certainly not carried out: new since the list before this one.
    """
    sent = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED).order_by("-pk").first()
    if sent is None:
        return owned_list.new_odd_entries(read).first()
    return owned_list.odd_entries(read.credential_id).filter(first_seen_seq__gte=sent.claimed_seq).first()


def keys_in_doubt(purchase: Purchase, *, but: ApiKey) -> QuerySet[ApiKey]:
    """The replaced keys of earlier attempts in doubt: only their lists show what became of those attempts."""
    keys = ApiKey.objects.filter(attempts__purchase=purchase, attempts__outcome=Outcome.UNCONFIRMED)
    return keys.exclude(pk=but.pk).distinct().order_by("pk")


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


def _settle_owned(purchase: Purchase, key: ApiKey) -> None:
    """Settle a purchase whose number the list of this key shows: an earlier call bought it, or a person decides."""
    if not evidence.settle_by_presence(purchase.pk, purchase.request_id, key):
        hold_owned(purchase.pk, key.pk)


def hold_owned(purchase_id: int, key_id: int) -> None:
    """Hold a queued purchase whose number the list of this key shows, though no call of ours with it explains that.

    Where a call is in doubt a person decides about that; only the list of its own key shows what became of it.
    """
    key = ApiKey.objects.get(pk=key_id)
    purchase = Purchase.objects.get(pk=purchase_id)
    with transaction.atomic():
        _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
        owned = owned_list.listed(key, purchase.phone_number).first()
        if purchase.state != State.APPROVED or owned is None:
            return
        doubts = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED)
        if doubts.filter(key__credential=key.credential_id).exists():
            words = "The list of owned numbers already showed it before the call that is in doubt."
        elif doubts.exists():
            words = (
                f"The list of another key (…{key.last_four}) shows it. The key of the call that is in doubt was "
                "replaced since, so nobody can tell from this whether that call bought it."
            )
        else:
            words = (
                f"IdentityCall's list shows it already, under the id {owned.provider_id}, and no call of ours "
                "explains that. It is not bought again."
            )
        workflow.move(
            purchase,
            State.HELD,
            actor=audit.WORKER,
            note=words,
            held_cause=Cause.DOUBT if doubts.exists() else Cause.OWNED,
            held_words=words,
            due_at=_seconds_from_now(settings.EVIDENCE_CHECK_DELAYS[0]) if doubts.exists() else None,
            data={"provider_id": owned.provider_id, "key": key.last_four},
        )
