"""The rate limit of a key: every call waits its turn, across all teams with the same secret, workers and machines."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet

from purchasing import clock
from purchasing.encryption import Undecryptable
from purchasing.identitycall.client import Client
from purchasing.models import ApiKey, Credential, Purchase
from purchasing.states import State

WORKER_WAIT = 20  # seconds that the worker waits for its turn at most
READING = 10  # seconds for which other workers wait for a list that one of them reads
LATE = 3  # seconds after which a place that was taken ahead is too old to be used
FULL = "This key is making as many calls as its plan allows; it continues in a moment."


class Busy(Exception):
    """The key may not make a call now. The text says why, `until` when it may."""

    def __init__(self, until: datetime, words: str = FULL) -> None:
        super().__init__(words)
        self.until = until


def client_for(
    key: ApiKey,
    *,
    patience: float | None = None,
    behind: bool = False,
    longest: float | None = None,
    place: datetime | None = None,
) -> Client:
    """A client that waits its turn before each read, at most `patience` seconds; `behind` others, see `take_turn`.

    By default a worker is patient, and what goes behind does not wait. `place` is one that `take_turn` gave, for the
    first read. No call takes more than `longest` seconds. Raises `Undecryptable`, also
    for a key whose secret was wiped.
    """
    secret = ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk)
    if secret is None:
        raise Undecryptable(f"The secret of the key {key} was wiped: nothing can be read with it any more.")
    deadline = min(longest or settings.IDENTITYCALL_DEADLINE, settings.IDENTITYCALL_DEADLINE)
    places = [place] if place else []
    wait = patience if patience is not None else 0 if behind else WORKER_WAIT

    def before_read() -> None:
        if not (places and use_place(key, places.pop())):
            take_turn(key, patience=wait, behind=behind)

    return Client(
        settings.IDENTITYCALL_API_URL,
        secret,
        connect_timeout=settings.IDENTITYCALL_CONNECT_TIMEOUT,
        read_timeout=min(deadline, settings.IDENTITYCALL_READ_TIMEOUT),
        deadline=deadline,
        before_read=before_read,
    )


@contextmanager
def alone(key: ApiKey) -> Iterator[None]:
    """Read a list with this key while no other worker does; whoever waited uses what that one has stored.

    A worker may be killed while it reads: after `READING` seconds nobody waits for it any more.
    """
    mine = None
    while mine is None:
        now = clock.now()
        ahead = now + timedelta(seconds=READING)
        free = _paced(key).filter(
            Q(reading_until=None) | Q(reading_until__lte=now) | Q(reading_until__gt=ahead)
        )
        if free.exists() and free.update(reading_until=ahead):
            mine = ahead
        else:
            time.sleep(0.05)
    try:
        yield
    finally:
        _paced(key).filter(reading_until=mine).update(reading_until=None)


class Pace:
    """How a rate of calls a minute is shared out, so that no minute sees more of them.

    A tenth may be used at once (`burst`), and 5 % are for calls that go behind others, one every `gap_behind`. The rest
    is spread, one every `gap`.
    """

    def __init__(self, rate: int) -> None:
        behind = max(1, rate // 20)
        self.burst = max(1, rate // 10)
        self.spread = max(1, rate - self.burst - behind)
        self.gap = timedelta(seconds=60 / self.spread)
        self.gap_behind = timedelta(seconds=60 / behind)


def take_turn(key: ApiKey, *, patience: float, behind: bool = False, places: int = 1) -> datetime:
    """Take the key's next turn and wait for it, at most `patience` seconds; else raise `Busy`.

    Calls that go `behind` (pages, read-backs) leave half of the burst to purchases, evidence and switching recording
    off, and while any of those is due they have only the share that is kept for them. A paused key makes no call at
    all. With more `places` than one, those after the first are for calls of the same caller that follow; returns from
    when on the last of them may be used.
    """
    # Durable: refuses to be called inside a transaction, as the network is used next.
    with transaction.atomic(durable=True):
        row = _paced(key).select_for_update(no_key=True).get()
        now = clock.now()
        _refuse_paused(row, now)
        pace = Pace(row.rate)
        next_at = _sane(row.next_call_at, now)
        usable = max(1, pace.burst // 2) if behind else pace.burst
        allowed_at = next_at - pace.gap * (usable - 1)
        taken = {"next_call_at": max(next_at, now) + pace.gap * places}
        if behind and (allowed_at - now > timedelta(seconds=patience) or _others_are_due(key, now)):
            allowed_at = _sane(row.next_behind_at, now)
            taken = {"next_behind_at": max(allowed_at, now) + pace.gap_behind}
        wait = (allowed_at - now).total_seconds()
        if wait > patience:
            raise Busy(allowed_at)
        _paced(key).update(**taken)
    if wait > 0:
        time.sleep(wait)
    return allowed_at + pace.gap * (places - 1)


def use_place(key: ApiKey, place: datetime) -> bool:
    """Wait for a place that was taken ahead; returns whether it still counts. Raises `Busy` for a paused key."""
    now = clock.now()
    _refuse_paused(_paced(key).get(), now)
    wait = (place - now).total_seconds()
    if not -LATE <= wait <= WORKER_WAIT:
        return False
    time.sleep(max(0.0, wait))
    return True


def _paced(key: ApiKey) -> QuerySet[Credential]:
    """The row that keeps the pace of this key: that of its secret, for all teams that stored it."""
    return Credential.objects.filter(pk=key.credential_id)


def _refuse_paused(row: Credential, now: datetime) -> None:
    if row.paused_until and not clock.has_come(row.paused_until, now):
        raise Busy(row.paused_until, row.pause_reason)


def _sane(next_at: datetime | None, now: datetime) -> datetime:
    """When the next place is; now, where none was given or a clock gave it that has since been set back."""
    return next_at if next_at and next_at < now + timedelta(minutes=2) else now


def _others_are_due(key: ApiKey, now: datetime) -> bool:
    """Whether a purchase, its evidence or switching its recording off is due with this key."""
    due = Q(due_at__lte=now) | Q(due_at__gt=now + clock.LONGEST_WAIT)
    first = Q(state__in=[State.APPROVED, State.UNCONFIRMED, State.HELD, State.GIVEN_UP])
    first |= Q(state=State.PURCHASED, record_calls=False, applied_at=None)
    teams = ApiKey.objects.filter(credential=key.credential_id).values("team")
    return Purchase.objects.filter(due, first, request__team__in=teams).exists()
