"""What keeps an approved purchase waiting: stops, pauses and refused keys, each with its reason in words.

A pause of the provider is for all keys, one of a key for what it buys. The functions that write expect to run inside
the transaction of what caused the pause, with the row locked in the order of `workflow`.
"""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from purchasing import audit, clock, jobs
from purchasing.identitycall import errors
from purchasing.models import ApiKey, Desk, Purchase, Team
from purchasing.states import State

LONGEST_PAUSE = 300  # seconds that the provider pauses at most before one look probes it again
LOOK_AGAIN = 60  # seconds after which a purchase that waits for a person is looked at again
# Seconds that a purchase whose look failed waits longer than the others: one of them is the next probe.
BEHIND = 5
KEY_REFUSED = "IdentityCall refuses the team's API key. The team admin has to store a new one."
DOUBTS = 3  # unconfirmed answers in a row that pause a key


@dataclass(frozen=True)
class Wait:
    """Why nothing is bought now, and when to look again."""

    words: str
    until: datetime
    event: dict[str, Any] | None = None


def tell(wait: Wait | None) -> None:
    """Record the event of a pause that has just begun, as the last thing of its transaction."""
    if wait and wait.event:
        audit.record(actor=audit.WORKER, **wait.event)


def current_key(team: Team, *, lock: bool = False) -> ApiKey | None:
    """The key that the team buys with, or None."""
    keys = ApiKey.objects.select_for_update(no_key=True) if lock else ApiKey.objects
    return keys.filter(team=team, retired_at__isnull=True).first()


def obstacle(desk: Desk, team: Team, key: ApiKey | None, now: datetime) -> Wait | None:
    """Why nothing may be bought for `team` with `key` now, as a `Wait`, or None."""
    later = now + timedelta(seconds=LOOK_AGAIN)
    if desk.stopped_at:
        return Wait(f"All buying is stopped: {desk.stop_reason}", later)
    if not team.is_active:
        return Wait(f"{team} is switched off.", later)
    if team.stopped_at:
        return Wait(f"Buying is stopped for {team}: {team.stop_reason}", later)
    if key is None:
        return Wait(f"{team} has no API key. Its team admin has to store one.", later)
    if key.refused_at:
        return Wait(KEY_REFUSED, later)
    if key.paused_until and not clock.has_come(key.paused_until, now):
        return Wait(key.pause_reason, key.paused_until)
    if waits_for_a_read(key):
        return Wait(
            "The last answers of IdentityCall were lost. Nothing more is bought with this key until the list of "
            "owned numbers has been read.",
            now + timedelta(seconds=15),
        )
    if desk.paused_until and not clock.has_come(desk.paused_until, now):
        return Wait(desk.pause_reason, desk.paused_until)
    return None


@transaction.atomic
def plan(purchases: QuerySet[Purchase], at: datetime) -> None:
    """Let the sweep look at these purchases at `at`. Locks them in the one order: by id."""
    ids = list(purchases.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    Purchase.objects.filter(pk__in=ids).update(due_at=at)


def put_off(purchase_id: int, words: str, until: datetime) -> None:
    """Let an approved purchase wait, with the reason that its page shows."""
    now = clock.now()
    with transaction.atomic():
        waiting = Purchase.objects.filter(pk=purchase_id, state=State.APPROVED)
        waiting.filter(waiting_since__isnull=True).update(waiting_since=now)
        due_at = max(until, now + timedelta(seconds=1))  # never at once: that would go round and round
        if waiting.update(waiting_for=words[:500], due_at=due_at):
            jobs.enqueue_at(due_at, "buy", purchase_id)


def provider_failed(words: str, *, call_unsent: bool = False) -> Wait:
    """A look failed or a connection was refused: the provider pauses for all, longer each time. Locks the desk.

    `call_unsent` says that it was a purchase call: its pause goes on growing until one has reached the provider,
    whatever looks show meanwhile. Returns the `Wait`; its `event` is recorded by the caller when all its rows are
    locked.
    """
    desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
    now = clock.now()
    unsent = desk.unsent + 1 if call_unsent else desk.unsent
    if desk.paused_until and not clock.has_come(desk.paused_until, now):
        if call_unsent:
            Desk.objects.filter(pk=Desk.ONLY).update(unsent=unsent)
        return Wait(desk.pause_reason, desk.paused_until)  # another worker's failure of the same moment
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
    event = None if desk.failures or desk.unsent else {"action": "provider.paused", "note": words}
    return Wait(reason, until, event)


class May(enum.Enum):
    """Whether a worker may look before it buys."""

    LOOK = "look"
    PROBE = "probe"  # the provider was paused, and this is the single look that finds out how it is
    WAIT = "wait"


def may_look() -> May:
    """`LOOK` while the provider is not paused; when a pause is over, `PROBE` for one worker and `WAIT` for the others.

    A probe has to ask the provider itself: what is kept of earlier answers proves nothing.
    """
    if not Desk.objects.filter(pk=Desk.ONLY, failures__gt=0).exists():
        return May.LOOK
    now = clock.now()
    with transaction.atomic():
        desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
        if not desk.failures:
            return May.LOOK
        for until in (desk.paused_until, desk.probing_until):
            if until and not clock.has_come(until, now):
                return May.WAIT
        Desk.objects.filter(pk=Desk.ONLY).update(probing_until=now + timedelta(seconds=LOOK_AGAIN))
    return May.PROBE


def provider_answered() -> None:
    """A whole answer has just come over the network: a pause ends, and what waited for it is due at once."""
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
    """A purchase call reached the provider; returns what to record where the ones before it did not, or None.

    Locks the desk only where that is so: a caller that holds other rows already must not call it.
    """
    if not Desk.objects.filter(pk=Desk.ONLY, unsent__gt=0).exists():
        return None
    desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
    Desk.objects.filter(pk=Desk.ONLY).update(unsent=0)
    return Wait("", clock.now(), {"action": "provider.resumed"}) if desk.unsent else None


ASKED_TO_WAIT = "IdentityCall asked to wait: too many calls with this key in a minute."


def pause_key(key_id: int, seconds: float, reason: str = ASKED_TO_WAIT) -> Wait:
    """Nothing is called with this key for `seconds`: a 429, or a list that cannot be used. Locks the key."""
    key = ApiKey.objects.select_for_update(no_key=True).get(pk=key_id)
    now = clock.now()
    until = now + timedelta(seconds=seconds)
    if key.paused_until and not clock.has_come(key.paused_until, now):
        until = max(until, key.paused_until)
    ApiKey.objects.filter(pk=key_id).update(paused_until=until, paused_since=now, pause_reason=reason)
    return Wait(reason, until)


def refuse_key(key_id: int, words: str) -> Wait:
    """IdentityCall refused the key (401, 403): nothing more is bought with it until a person sees to it."""
    key = ApiKey.objects.select_for_update(no_key=True).get(pk=key_id)
    event = None
    if not key.refused_at:
        ApiKey.objects.filter(pk=key_id).update(
            refused_at=clock.now(), refused_words=audit.clean(words)[:500]
        )
        event = {"action": "key.refused", "team": key.team, "note": words, "key": key.last_four}
    return Wait(KEY_REFUSED, clock.now() + timedelta(seconds=LOOK_AGAIN), event)


def doubt_key(key_id: int, seq: int) -> None:
    """One more unconfirmed answer in a row with this key; `seq` is the event that says so."""
    key = ApiKey.objects.select_for_update(no_key=True).get(pk=key_id)
    ApiKey.objects.filter(pk=key_id).update(doubts_in_a_row=key.doubts_in_a_row + 1, doubted_seq=seq)


def waits_for_a_read(key: ApiKey) -> bool:
    """Whether nothing is bought with `key` until its owned list has been read whole."""
    return key.doubts_in_a_row >= DOUBTS


def keys_waiting_for_a_read() -> QuerySet[ApiKey, int]:
    """The ids of those keys; perhaps nothing that was bought with them is watched any more."""
    return ApiKey.objects.filter(retired_at=None, doubts_in_a_row__gte=DOUBTS).values_list("pk", flat=True)


def trust_key(key_id: int, *, read_began_after: int | None = None) -> None:
    """A clear answer, or a whole owned list that began after the last doubt: the key's doubts are over.

    A clear answer alone does not end the pause of a key that waits for its list to be read.
    """
    doubted = ApiKey.objects.filter(pk=key_id, doubts_in_a_row__gt=0)
    if read_began_after is None:
        doubted = doubted.filter(doubts_in_a_row__lt=DOUBTS)
    else:
        doubted = doubted.filter(doubted_seq__lte=read_began_after)
    doubted.update(doubts_in_a_row=0)


NOT_UNDERSTOOD = "IdentityCall's list of owned numbers could not be used: {error}"


def after_failed_read(key: ApiKey, error: errors.ProviderError) -> Wait:
    """Pause what a failed read of the owned list, or a failed search, has to pause; returns the `Wait`.

    Only what says that IdentityCall as a whole does not answer pauses it for all. An answer that came and cannot be
    used is a matter of this key.
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
        tell(wait)
    return wait


def is_of_the_provider(error: errors.ProviderError) -> bool:
    """Whether the provider as a whole seems not to answer: no connection, no answer in time, a fault of its own."""
    return error.status is None or error.status >= 500
