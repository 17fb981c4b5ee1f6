"""What keeps an approved purchase waiting: stops, pauses and refused keys, each with its reason in words.

A pause of the provider holds for all keys, a pause of a key for what it buys. The functions that write expect to run
in the transaction of whatever caused the pause, with rows locked in the order that `workflow` gives.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from purchasing import audit, clock, jobs
from purchasing.identitycall import errors
from purchasing.models import ApiKey, Credential, Desk, Purchase, Team
from purchasing.states import State

LONGEST_PAUSE = 300  # seconds that the provider pauses at most before a single look probes it again
LOOK_AGAIN = 60  # seconds after which a purchase that waits for a person is checked again
# Seconds that a purchase whose look failed waits longer than the others, so that one of those probes next.
BEHIND = 5
KEY_REFUSED = "IdentityCall refuses the team's API key. The team admin has to store a new one."
WHILE_BLIND = "Nothing is bought with this key until its list shows them again or a team admin decides."
REVIEW = (
    "The database went back in time. Nothing is bought with this key until its list has been read and the team admin "
    "has decided about every number that is rented but not in the record."
)
DOUBTS = 3  # unconfirmed answers in a row after which a key waits for a read


@dataclass(frozen=True)
class Wait:
    """Why nothing is bought now, and when to try again."""

    words: str
    until: datetime
    events: tuple[dict[str, Any], ...] = ()


def record_event(wait: Wait | None) -> None:
    """Record the events of a pause that has just begun or ended. Call it last in the transaction."""
    for event in wait.events if wait else ():
        audit.record(actor=audit.WORKER, **event)


def current_key(team: Team, *, lock: bool = False) -> ApiKey | None:
    """The key that the team buys with, or None."""
    keys = ApiKey.objects.select_for_update(no_key=True) if lock else ApiKey.objects
    return keys.filter(team=team, retired_at__isnull=True).first()


def obstacle(desk: Desk, team: Team, key: ApiKey | None, now: datetime) -> Wait | None:
    """Why nothing may be bought for `team` with `key` now, or None."""
    later = now + timedelta(seconds=LOOK_AGAIN)
    if desk.alarm_at:
        return Wait(after_alarm(desk), later)
    if desk.stopped_at:
        return Wait(f"All buying is stopped: {desk.stop_reason}", later)
    if not team.is_active:
        return Wait(f"{team} is switched off.", later)
    if team.stopped_at:
        return Wait(f"Buying is stopped for {team}: {team.stop_reason}", later)
    if key is None:
        return Wait(f"{team} has no API key. Its team admin has to store one.", later)
    credential = key.credential
    if credential.refused_at:
        return Wait(KEY_REFUSED, later)
    if credential.blind_at:
        return Wait(f"{credential.blind_words} {WHILE_BLIND}"[:500], later)
    if credential.review_seq is not None:
        return Wait(REVIEW, later)
    if credential.paused_until and not clock.has_come(credential.paused_until, now):
        return Wait(credential.pause_reason, credential.paused_until)
    if waits_for_a_read(credential):
        return Wait(
            "The last answers of IdentityCall were lost. Nothing more is bought with this key until the list of "
            "owned numbers has been read.",
            now + timedelta(seconds=15),
        )
    if desk.paused_until and not clock.has_come(desk.paused_until, now):
        return Wait(desk.pause_reason, desk.paused_until)
    return None


def after_alarm(desk: Desk) -> str:
    """What waits because of an alarm (audit/restores.py), in words."""
    return f"All buying is stopped by an alarm until a superuser says 'Go on'. {desk.alarm_in_short}"


@transaction.atomic
def plan(purchases: QuerySet[Purchase], at: datetime) -> None:
    """Make these purchases due at `at`, except those that are being cancelled. Locks them by id, as everywhere."""
    purchases = purchases.filter(cancel_asked_at=None)
    ids = list(purchases.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    Purchase.objects.filter(pk__in=ids).update(due_at=at)


def put_off(purchase_id: int, words: str, until: datetime) -> None:
    """Make an approved purchase wait, for the reason that its page shows."""
    now = clock.now()
    with transaction.atomic():
        waiting = Purchase.objects.filter(pk=purchase_id, state=State.APPROVED)
        waiting.filter(waiting_since__isnull=True).update(waiting_since=now)
        due_at = max(until, now + timedelta(seconds=1))  # never at once: that would loop
        if waiting.update(waiting_for=words[:500], due_at=due_at):
            jobs.enqueue_at(due_at, "buy", purchase_id)


def provider_failed(words: str, *, call_unsent: bool = False) -> Wait:
    """Pause the provider for all keys, longer each time: a look failed or a connection was refused. Locks the desk.

    `call_unsent`: it was a purchase call. Its pause keeps growing until a purchase call reaches the provider, whatever
    looks show in the meantime. Returns the `Wait`; the caller records its `events` when all its rows are locked.
    """
    desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
    now = clock.now()
    unsent = desk.unsent + 1 if call_unsent else desk.unsent
    if desk.paused_until and not clock.has_come(desk.paused_until, now):
        if call_unsent:
            Desk.objects.filter(pk=Desk.ONLY).update(unsent=unsent)
        return Wait(desk.pause_reason, desk.paused_until)  # another worker failed at the same moment
    times = max(desk.failures, desk.unsent if call_unsent else 0)
    until = now + timedelta(seconds=min(LONGEST_PAUSE, 5 * 2 ** min(times, 10)))
    reason = words[:1000]
    Desk.objects.filter(pk=Desk.ONLY).update(
        failures=desk.failures + 1,
        unsent=unsent,
        paused_until=until,
        paused_since=desk.paused_since or now,
        probing_until=None,
        pause_reason=reason,
    )
    events = () if desk.failures or desk.unsent else ({"action": "provider.paused", "note": words},)
    return Wait(reason, until, events)


class LookMode(enum.Enum):
    """Whether and how a worker may look before it buys."""

    LOOK = "look"
    PROBE = "probe"  # the provider was paused, and this single look finds out whether it answers again
    WAIT = "wait"


def look_mode() -> LookMode:
    """`LOOK` while the provider is not paused; after a pause, `PROBE` for one worker and `WAIT` for the others.

    A probe must call the provider: stored answers prove nothing.
    """
    if not Desk.objects.filter(pk=Desk.ONLY, failures__gt=0).exists():
        return LookMode.LOOK
    now = clock.now()
    with transaction.atomic():
        desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
        if not desk.failures:
            return LookMode.LOOK
        for until in (desk.paused_until, desk.probing_until):
            if until and not clock.has_come(until, now):
                return LookMode.WAIT
        Desk.objects.filter(pk=Desk.ONLY).update(probing_until=now + timedelta(seconds=LOOK_AGAIN))
    return LookMode.PROBE


def provider_answered() -> None:
    """End the pause, since a complete answer has just arrived: what waited for it is due at once."""
    if not Desk.objects.filter(pk=Desk.ONLY, failures__gt=0).exists():
        return
    with transaction.atomic():
        desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
        if not desk.failures:
            return
        Desk.objects.filter(pk=Desk.ONLY).update(
            failures=0, paused_until=None, paused_since=None, probing_until=None, pause_reason=""
        )
        plan(Purchase.objects.filter(state=State.APPROVED, waiting_since__isnull=False), clock.now())
        if not desk.unsent:
            audit.record("provider.resumed", actor=audit.WORKER)


def call_was_sent() -> Wait | None:
    """Note that a purchase call reached the provider; returns the event to record if earlier ones did not, or None.

    Locks the desk in that case only: a caller that already holds other locks must not call it.
    """
    if not Desk.objects.filter(pk=Desk.ONLY, unsent__gt=0).exists():
        return None
    desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
    Desk.objects.filter(pk=Desk.ONLY).update(unsent=0)
    return Wait("", clock.now(), ({"action": "provider.resumed"},)) if desk.unsent else None


ASKED_TO_WAIT = "IdentityCall asked to wait: too many calls with this key in a minute."


def _locked_credential(key_id: int) -> Credential:
    """Lock what concerns the key's secret, for all teams that stored it."""
    return Credential.objects.select_for_update(no_key=True, of=("self",)).get(keys=key_id)


def pause_key(key_id: int, seconds: float, reason: str = ASKED_TO_WAIT) -> Wait:
    """Make no call with this key for `seconds`, after a 429 or an unusable list. Locks the credential."""
    credential = _locked_credential(key_id)
    now = clock.now()
    until = now + timedelta(seconds=seconds)
    if credential.paused_until and not clock.has_come(credential.paused_until, now):
        until = max(until, credential.paused_until)
    Credential.objects.filter(pk=credential.pk).update(
        paused_until=until, paused_since=now, pause_reason=reason
    )
    return Wait(reason, until)


def refuse_key(key_id: int, words: str) -> Wait:
    """Stop buying with a secret that IdentityCall refused (401, 403), until a person acts. Locks the credential."""
    credential = _locked_credential(key_id)
    events: tuple[dict[str, Any], ...] = ()
    if not credential.refused_at:
        Credential.objects.filter(pk=credential.pk).update(
            refused_at=clock.now(), refused_words=audit.clean(words)[:500]
        )
        events = tuple(
            {"action": "key.refused", "team": key.team, "note": words, "key": key.last_four}
            for key in concerned(credential, key_id)
        )
    return Wait(KEY_REFUSED, clock.now() + timedelta(seconds=LOOK_AGAIN), events)


def concerned(credential: Credential, key_id: int | None = None) -> QuerySet[ApiKey]:
    """The keys whose teams are told of what happened to their secret: the current ones, and this one."""
    keys = ApiKey.objects.filter(credential=credential).select_related("team")
    return keys.filter(Q(retired_at=None) | Q(pk=key_id)).order_by("pk")


def doubt_key(key_id: int, seq: int) -> None:
    """Count one more unconfirmed answer in a row with this key; `seq` is its event. Locks the credential."""
    credential = _locked_credential(key_id)
    Credential.objects.filter(pk=credential.pk).update(
        doubts_in_a_row=credential.doubts_in_a_row + 1, doubted_seq=seq
    )


def waits_for_a_read(credential: Credential) -> bool:
    """Whether nothing is bought with this secret until its owned list has been read."""
    return credential.doubts_in_a_row >= DOUBTS


def keys_waiting_for_a_read() -> QuerySet[ApiKey, int]:
    """The ids of current keys that buy nothing until a list was read: also of blind
    ones, which may see again, and of those that are reviewed after a restore.

    They need a read even when none of their purchases is watched any more.
    """
    waits = Q(credential__doubts_in_a_row__gte=DOUBTS) | Q(credential__blind_at__isnull=False)
    waits |= Q(credential__review_seq__isnull=False)
    return ApiKey.objects.filter(waits, retired_at=None).values_list("pk", flat=True)


def trust_key(key_id: int) -> None:
    """Reset the count of doubts after a clear answer. One that waits for its list to be read goes on waiting."""
    doubted = Credential.objects.filter(keys=key_id, doubts_in_a_row__gt=0, doubts_in_a_row__lt=DOUBTS)
    Credential.objects.filter(pk__in=doubted.values("pk")).update(doubts_in_a_row=0)


def trust_after_read(credential: Credential, *, began_after: int) -> None:
    """Reset the count of doubts after a well-formed list whose read began after the last of them.

    What waited for it is due at once.
    """
    doubted = Credential.objects.filter(pk=credential.pk, doubts_in_a_row__gt=0, doubted_seq__lte=began_after)
    waited = waits_for_a_read(credential)
    if doubted.update(doubts_in_a_row=0) and waited:
        resume(credential)


def resume(credential: Credential) -> None:
    """Make approved purchases of the teams that buy with this secret due at once, and wake the worker for them."""
    teams = ApiKey.objects.filter(credential=credential, retired_at=None).values("team")
    waiting = Purchase.objects.filter(state=State.APPROVED, request__team__in=teams)
    plan(waiting, clock.now())
    # The sweep takes any others.
    for purchase_id in waiting.order_by("pk").values_list("pk", flat=True)[:100]:
        jobs.enqueue("buy", purchase_id)


NOT_UNDERSTOOD = "IdentityCall's list of owned numbers could not be used: {error}"


def after_failed_read(key: ApiKey, error: errors.ProviderError) -> Wait:
    """Pause the key or the provider after a failed read of the owned list or a failed search; returns the `Wait`.

    The provider pauses for all only when IdentityCall as a whole does not answer. An answer that arrived but cannot be
    used concerns this key only.
    """
    with transaction.atomic():
        if isinstance(error, errors.RateLimited):
            wait = pause_key(key.pk, error.retry_after)
        elif isinstance(error, errors.KeyRefused):
            wait = refuse_key(key.pk, str(error))
        elif is_of_the_provider(error):
            wait = provider_failed(str(error))
        else:
            wait = pause_key(key.pk, LOOK_AGAIN, NOT_UNDERSTOOD.format(error=error)[:1000])
        record_event(wait)
    return wait


def is_of_the_provider(error: errors.ProviderError) -> bool:
    """Whether IdentityCall as a whole does not seem to answer: no connection, no answer in time, a fault of its own."""
    return error.status is None or error.status >= 500
