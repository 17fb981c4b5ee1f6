"""The rate limit of a key: every call waits its turn, across all teams with the same secret, workers and machines."""

import time
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from purchasing import clock
from purchasing.encryption import Undecryptable
from purchasing.identitycall.client import Client
from purchasing.models import ApiKey, Credential

WORKER_WAIT = 20  # seconds that the worker waits for its turn at most


class Busy(Exception):
    """The key may not make a call now. The text says why, `until` when it may."""

    def __init__(
        self,
        until: datetime,
        words: str = "This key is making as many calls as its plan allows; it continues in a moment.",
    ) -> None:
        super().__init__(words)
        self.until = until


def client_for(
    key: ApiKey, *, patience: float = WORKER_WAIT, behind: bool = False, longest: float | None = None
) -> Client:
    """A client that waits its turn before each read; `behind` others, see `take_turn`.

    No call takes more than `longest` seconds. Raises `Undecryptable`, also for a key whose secret was wiped.
    """
    secret = ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk)
    if secret is None:
        raise Undecryptable(f"The secret of the key {key} was wiped: nothing can be read with it any more.")
    deadline = min(longest or settings.IDENTITYCALL_DEADLINE, settings.IDENTITYCALL_DEADLINE)
    return Client(
        settings.IDENTITYCALL_API_URL,
        secret,
        connect_timeout=settings.IDENTITYCALL_CONNECT_TIMEOUT,
        read_timeout=min(deadline, settings.IDENTITYCALL_READ_TIMEOUT),
        deadline=deadline,
        before_read=lambda: take_turn(key, patience=patience, behind=behind),
    )


def take_turn(key: ApiKey, *, patience: float, behind: bool = False) -> None:
    """Take the key's next turn and wait for it, at most `patience` seconds; else raise `Busy`.

    A sixth of the rate may be used at once; the rest is spread, so that no minute sees more calls than the plan
    allows, across all workers and machines. Calls that go `behind` purchases and evidence leave half of that sixth
    to them and never wait. A paused key makes no call at all.
    """
    # Durable: refuses to be called inside a transaction, as the network is used next.
    with transaction.atomic(durable=True):
        row = Credential.objects.select_for_update(no_key=True).get(pk=key.credential_id)
        now = clock.now()
        if row.paused_until and not clock.has_come(row.paused_until, now):
            raise Busy(row.paused_until, row.pause_reason)
        burst = max(1, row.rate // 6)
        interval = timedelta(seconds=60 / max(1, row.rate - burst))
        # A turn more than two minutes ahead was given by a clock that has since been set back.
        next_at = (
            row.next_call_at if row.next_call_at and row.next_call_at < now + timedelta(minutes=2) else now
        )
        usable = max(1, burst // 2) if behind else burst
        allowed_at = next_at - interval * (usable - 1)
        wait = (allowed_at - now).total_seconds()
        if wait > (0 if behind else patience):
            raise Busy(allowed_at)
        Credential.objects.filter(pk=row.pk).update(next_call_at=max(next_at, now) + interval)
    if wait > 0:
        time.sleep(wait)
