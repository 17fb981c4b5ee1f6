"""Settles purchases that a call may have bought by reading the owned list.

This module makes GET requests only. Only the lists of the attempt's own key are evidence. A well-formed list that shows
the number settles that it was bought, whoever read it and whatever the call's answer said; only a complete one proves
that it was not. An offer that is still listed proves nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, Min, OuterRef, QuerySet

from purchasing import audit, clock, jobs, selectors, workflow
from purchasing.buying import outcomes
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.models import ApiKey, Attempt, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import owned_list, pauses, turns
from purchasing.states import SENT, WATCHED, Cause, Outcome, State

SLOW = 15 * 60  # seconds between reads once a purchase is held or given up
CLEAN_READS = 3  # complete reads without the number before a person may order another try
GIVEN_UP_DAYS = 30
# A call that was sent may have bought it, in whatever state that left the purchase.
MAY_BE_BOUGHT = sorted({*WATCHED, State.APPROVED, State.FAILED, State.CANCELLED})


# --- Reading ------------------------------------------------------------------------------------------------------


def gather(key_id: int) -> None:
    """Read the owned list of a key once and conclude for every purchase that an attempt with it left in doubt."""
    watched, now = in_doubt(key_id), clock.now()
    key = ApiKey.objects.get(pk=key_id)
    planned = watched.filter(state__in=sorted(WATCHED))
    cancelled = Purchase.objects.filter(cancel_asked_at__isnull=False, attempts__key=key_id)
    is_wanted = watched.filter(selectors.is_due(now)).exists() or cancelled.exists()
    if not is_wanted and (key.retired_at is not None or not _needs_a_read(key)):
        return
    read = None
    try:
        read = owned_list.read(key)
        pauses.provider_answered()
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
    settle_shown(key.credential_id)
    for purchase_id, request_id in list(cancelled.values_list("pk", "request_id").distinct()):
        finish_cancelling(purchase_id, request_id)
    next_at = planned.aggregate(at=Min("due_at"))["at"]
    if next_at:
        jobs.enqueue_at(next_at, "check", key_id)


def _needs_a_read(key: ApiKey) -> bool:
    """Whether buying with a current key waits for its list. One that is blind,
    or reviewed after a restore, is read once a minute."""
    if pauses.waits_for_a_read(key.credential):
        return True
    minute_ago = clock.now() - timedelta(seconds=owned_list.LIST_SERVES)
    reads = OwnedRead.objects.filter(credential=key.credential_id, began_at__gt=minute_ago)
    waits = key.credential.blind_at is not None or key.credential.review_seq is not None
    return waits and not reads.exists()


def in_doubt(key_id: int) -> QuerySet[Purchase]:
    """The purchases that wait for evidence from this key: watched, or approved to be tried again."""
    return Purchase.objects.filter(
        state__in=sorted({*WATCHED, State.APPROVED}),
        pk__in=Attempt.objects.filter(key=key_id, outcome=Outcome.UNCONFIRMED).values("purchase"),
    ).order_by("pk")


def settle_all_shown() -> None:
    """Settle what lists have shown since a call for it, for every credential: a task for it may have been lost."""
    shown = VirtualNumber.objects.filter(
        credential=OuterRef("key__credential"),
        phone_number=OuterRef("purchase__phone_number"),
        gone_at=None,
        first_seen_seq__gte=OuterRef("claimed_seq"),
    )
    sent = Attempt.objects.filter(outcome__in=sorted(SENT), purchase__state__in=MAY_BE_BOUGHT)
    for credential_id in set(sent.filter(Exists(shown)).values_list("key__credential", flat=True)):
        settle_shown(credential_id)


def settle_shown(credential_id: int) -> None:
    """Settle every purchase that the last lists of a credential show since a call for it, whatever was answered."""
    shown = VirtualNumber.objects.filter(credential=credential_id, gone_at=None).exclude(phone_number="")
    sent = Attempt.objects.filter(
        key__credential=credential_id, outcome__in=sorted(SENT), purchase__state__in=MAY_BE_BOUGHT
    )
    found = sent.filter(purchase__phone_number__in=shown.values("phone_number"))
    pairs = set(found.values_list("purchase", "purchase__request"))
    key = ApiKey.objects.filter(credential=credential_id).order_by("-pk").first()
    for purchase_id, request_id in sorted(pairs):
        assert key is not None  # its credential has attempts
        settle_by_presence(purchase_id, request_id, key)


@transaction.atomic
def settle_by_presence(purchase_id: int, request_id: int, key: ApiKey) -> bool:
    """Move to purchased what the last list of the key's secret shows since a call for it. Returns whether it did.

    A purchase that failed or was cancelled stays so while another record of its number is open: if that one is queued,
    it is held, since the number is owned already.
    """
    outcomes.lock_ids()
    _, [purchase] = workflow.locked(request_id, [purchase_id])
    if purchase.state not in MAY_BE_BOUGHT:
        return False
    shown = owned_list.listed(key, purchase.phone_number)
    found = outcomes.which_bought(outcomes.sent_attempts(purchase, key), shown)
    if found is None:
        return False
    other = None
    if workflow.is_over(purchase.state):
        other = selectors.open_records(purchase.phone_number).exclude(pk=purchase.pk).first()
    if other is not None:
        if other.state == State.APPROVED:
            jobs.enqueue("hold_owned", other.pk, key.pk)
        return False
    attempt, provider_id = found
    outcomes.record_purchased(
        purchase, attempt, provider_id, outcomes.since_our_order(attempt), actor=audit.WORKER
    )
    return True


@transaction.atomic
def finish_cancelling(purchase_id: int, request_id: int) -> None:
    """Cancel what somebody cancelled after a refused call, now that a later list of its key does not show it.

    Without a key that can be read nobody can know: a person decides.
    """
    _, [purchase] = workflow.locked(request_id, [purchase_id])
    if purchase.state == State.APPROVED and purchase.cancel_asked_at is not None:
        workflow.cancel_after_read(purchase)


@transaction.atomic
def conclude(purchase_id: int, request_id: int, key: ApiKey, read: OwnedRead | None) -> None:
    """Move to purchased if the list shows the number under an id that it did not show before the attempt.

    Otherwise plan the next read. An unconfirmed purchase is held when its window is over, whatever the reads showed.
    A purchase that was approved to be tried again has its own plan.
    """
    if read is not None and read.well_formed and settle_by_presence(purchase_id, request_id, key):
        return
    _, [purchase] = workflow.locked(request_id, [purchase_id])
    if purchase.state not in WATCHED:
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
    """Whether every key with an attempt in doubt has read complete lists without the number for 30 days."""
    since = purchase.state_changed_at + timedelta(days=GIVEN_UP_DAYS)
    return now > since and all(
        clean_reads(attempt).filter(began_at__gt=since).exists()
        for attempt in purchase.attempts.filter(outcome=Outcome.UNCONFIRMED)
    )


def clean_reads(attempt: Attempt) -> QuerySet[OwnedRead]:
    """Complete reads of the attempt's own key that began after the attempt had ended and did not show its number.

    None counts while the list shows the number under an id from before the attempt: the number is not absent. None
    counts that rests on a number confirmed as gone since the claim, that held an entry that cannot be read and is new
    since the claim, or, where the key knew no number at the claim, that no longer came with every project of then.
    """
    if owned_list.listed(attempt.key, attempt.purchase.phone_number).exists():
        return OwnedRead.objects.none()
    credential = attempt.key.credential_id
    reads = OwnedRead.objects.filter(
        credential=credential,
        complete=True,
        began_after__gte=attempt.ended_seq or 0,
        gone_seq__lt=attempt.claimed_seq,
    )
    odd = VirtualNumber.objects.filter(
        credential=credential, phone_number="", first_seen_seq__gte=attempt.claimed_seq
    )
    for gone_at in odd.values_list("gone_at", flat=True):
        if gone_at is None:
            return OwnedRead.objects.none()
        reads = reads.filter(began_at__gt=gone_at)
    if attempt.projects is not None:
        then = set(attempt.projects)
        asked = reads.filter(projects__isnull=False).order_by("-pk")[:200]
        same = [read.pk for read in asked if then and then <= set(read.projects or ())]
        reads = OwnedRead.objects.filter(pk__in=same)
    return reads


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
    listed = owned_list.listed(attempt.key, purchase.phone_number).first()
    credential = attempt.key.credential
    reads = OwnedRead.objects.filter(credential=credential, began_after__gte=attempt.ended_seq or 0)
    clean = clean_reads(attempt)
    after_window = purchase.window_ends_at and clean.filter(began_at__gt=purchase.window_ends_at).exists()
    # What another key of any team shows proves nothing; the page shows it to the person who decides.
    others = ApiKey.objects.exclude(credential=credential).filter(
        credential__numbers__phone_number=purchase.phone_number, credential__numbers__gone_at=None
    )
    return Evidence(
        attempt=attempt,
        clean=clean.count(),
        failed=reads.filter(complete=False).count(),
        last=reads.order_by("-pk").first(),
        next_at=purchase.due_at,
        may_try_again=bool(clean.count() >= CLEAN_READS and after_window and not credential.blind_at),
        owned_before=listed.provider_id if listed else None,
        seen_with=[
            f"the key …{key.last_four} of {key.team}" for key in others.select_related("team").distinct()
        ],
    )
