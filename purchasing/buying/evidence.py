"""Settles purchases in doubt by reading the owned list.

This module makes GET requests only. Only the list of the attempt's own key is evidence; a list that is not whole proves
nothing, nor does an offer that is still listed.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Min, QuerySet

from purchasing import audit, clock, jobs, selectors, workflow
from purchasing.buying import outcomes
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.models import ApiKey, Attempt, OwnedRead, Purchase
from purchasing.provider import owned_list, pauses, turns
from purchasing.states import WATCHED, Cause, Outcome, State

SLOW = 15 * 60  # seconds between reads once a purchase is held or given up
CLEAN_READS = 3  # whole reads without the number before a person may order another try
GIVEN_UP_DAYS = 30


# --- Reading ------------------------------------------------------------------------------------------------------


def gather(key_id: int) -> None:
    """Read the owned list of a key once and conclude for every purchase that an attempt with it left in doubt."""
    watched, now = in_doubt(key_id), clock.now()
    key = ApiKey.objects.get(pk=key_id)
    planned = watched.filter(state__in=sorted(WATCHED))
    if not watched.filter(selectors.is_due(now)).exists() and not pauses.waits_for_a_read(key):
        return
    read = None
    try:
        read = owned_list.read(key)
        pauses.provider_answered()
        if read.whole:
            pauses.trust_key(key.pk, read_began_after=read.began_after)
    except turns.Busy as busy:
        pauses.plan(planned, busy.until)
        return
    except Undecryptable:
        read = None  # the team's page shows it; the window goes on
    except errors.ProviderError as error:
        if isinstance(error, errors.RateLimited | errors.KeyRefused):
            pauses.after_failed_read(key, error)
    for purchase_id, request_id in list(watched.values_list("pk", "request_id")):
        conclude(purchase_id, request_id, key, read)
    next_at = planned.aggregate(at=Min("due_at"))["at"]
    if next_at:
        jobs.enqueue_at(next_at, "check", key_id)


def in_doubt(key_id: int) -> QuerySet[Purchase]:
    """The purchases that wait for evidence from this key: watched, or approved to be tried again."""
    return Purchase.objects.filter(
        state__in=sorted({*WATCHED, State.APPROVED}),
        pk__in=Attempt.objects.filter(key=key_id, outcome=Outcome.UNCONFIRMED).values("purchase"),
    ).order_by("pk")


@transaction.atomic
def conclude(purchase_id: int, request_id: int, key: ApiKey, read: OwnedRead | None) -> None:
    """Move to purchased if the whole list shows the number under an id that it did not show before the attempt.

    Otherwise plan the next read. An unconfirmed purchase is held when its window is over, whatever the reads showed.
    A purchase that was approved to be tried again has its own plan.
    """
    _, [purchase] = workflow.locked(request_id, [purchase_id])
    if purchase.state not in WATCHED and purchase.state != State.APPROVED:
        return
    owned = owned_list.listed(key, purchase.phone_number) if read and read.whole else None
    doubts = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED, key=key).order_by("pk")
    attempt = outcomes.which_bought(doubts, owned) if owned else None
    if owned and attempt:
        outcomes.record_purchased(
            purchase, attempt, owned.provider_id, "The list of owned numbers shows it.", actor=audit.WORKER
        )
        return
    if purchase.state == State.APPROVED:
        return
    now = clock.now()
    checks = purchase.checks + 1
    if purchase.state == State.UNCONFIRMED and window_is_over(purchase, now):
        hold(purchase)
        return
    if purchase.state == State.GIVEN_UP and _was_never_bought(purchase, now):
        workflow.move(
            purchase,
            State.FAILED,
            actor=audit.WORKER,
            note=f"Watched for {GIVEN_UP_DAYS} days after it was given up; the number never appeared.",
        )
        return
    gaps = settings.EVIDENCE_CHECK_DELAYS
    gap = gaps[min(checks, len(gaps) - 1)] if purchase.state == State.UNCONFIRMED else SLOW
    Purchase.objects.filter(pk=purchase.pk).update(checks=checks, due_at=now + timedelta(seconds=gap))


def window_is_over(purchase: Purchase, now: datetime) -> bool:
    """Whether an unconfirmed purchase has waited for evidence long enough that a person has to decide.

    An end further ahead than any window was written by a clock that has since been set back.
    """
    longest = timedelta(seconds=settings.SETTLE_WINDOW + settings.IDENTITYCALL_DEADLINE + 60)
    ends_at = purchase.window_ends_at
    assert ends_at is not None  # stored with the state
    return ends_at <= now or ends_at > now + longest


def hold(purchase: Purchase) -> None:
    """Hold an unconfirmed purchase for a person to decide; the reads go on."""
    workflow.move(
        purchase,
        State.HELD,
        actor=audit.WORKER,
        held_cause=Cause.DOUBT,
        held_words="IdentityCall never gave a clear answer, and its list of owned numbers has not settled it.",
        note="No evidence within the time set for it.",
        due_at=clock.now() + timedelta(seconds=settings.EVIDENCE_CHECK_DELAYS[-1]),
    )


def _was_never_bought(purchase: Purchase, now: datetime) -> bool:
    """Whether every key with an attempt in doubt has read whole lists without the number for 30 days."""
    since = purchase.state_changed_at + timedelta(days=GIVEN_UP_DAYS)
    return now > since and all(
        clean_reads(attempt).filter(began_at__gt=since).exists()
        for attempt in purchase.attempts.filter(outcome=Outcome.UNCONFIRMED)
    )


def clean_reads(attempt: Attempt) -> QuerySet[OwnedRead]:
    """Whole reads of the attempt's own key that began after the attempt had ended and did not show its number.

    None counts while the list shows the number under an id from before the attempt: the number is not absent.
    """
    if owned_list.listed(attempt.key, attempt.purchase.phone_number):
        return OwnedRead.objects.none()
    return OwnedRead.objects.filter(key=attempt.key_id, whole=True, began_after__gte=attempt.ended_seq or 0)


@dataclass(frozen=True)
class Evidence:
    """What the reads since an attempt in doubt have shown: for the page, and for allowing another try."""

    attempt: Attempt
    clean: int
    failed: int
    last: OwnedRead | None
    next_at: datetime | None
    may_try_again: bool
    owned_before: int | None  # the id under which the key's own list shows it since before the attempt
    seen_with: list[str]


def about(purchase: Purchase) -> Evidence | None:
    """The evidence on a purchase in doubt, or None when none of its attempts is."""
    doubts = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED).select_related("key").order_by("-pk")
    attempt = doubts.first()
    if attempt is None:
        return None
    listed = owned_list.listed(attempt.key, purchase.phone_number)
    reads = OwnedRead.objects.filter(key=attempt.key_id, began_after__gte=attempt.ended_seq or 0)
    clean = clean_reads(attempt)
    after_window = purchase.window_ends_at and clean.filter(began_at__gt=purchase.window_ends_at).exists()
    # What another key of any team shows proves nothing; the page shows it to the person who decides.
    others = ApiKey.objects.exclude(pk=attempt.key_id).filter(
        numbers__phone_number=purchase.phone_number, numbers__gone_at=None
    )
    return Evidence(
        attempt=attempt,
        clean=clean.count(),
        failed=reads.filter(whole=False).count(),
        last=reads.order_by("-pk").first(),
        next_at=purchase.due_at,
        may_try_again=bool(clean.count() >= CLEAN_READS and after_window),
        owned_before=listed.provider_id if listed else None,
        seen_with=[
            f"the key …{key.last_four} of {key.team}" for key in others.select_related("team").distinct()
        ],
    )
