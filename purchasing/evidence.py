"""What settles a purchase in doubt: reads of the owned list, and the sweep that finds what is due.

Only GETs are made here. Only the key of the attempt concludes; a list that is not whole proves nothing; an offer that
is still listed proves nothing.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import Min, Q

from purchasing import (
    audit,
    clock,
    inventory,
    pauses,
    procurement,
    reminders,
    selectors,
    settlement,
    wake,
    workflow,
)
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.models import ApiKey, Attempt, Desk, OwnedRead, Purchase
from purchasing.states import WATCHED, Cause, Outcome, State

SLOW = 15 * 60  # seconds between reads once a purchase is held or given up
CLEAN_READS = 3  # reads without the number before a person may order another try
GIVEN_UP_DAYS = 30
TOLD_AFTER = 20  # minutes that an approved purchase waits before somebody is told
SWEEP = audit.system("sweep")
NO_ANSWER = "The worker stopped or the answer did not come in time."
NOBODY_CAME = "It is in line, and no worker has come to it yet."
log = logging.getLogger(__name__)


# --- Reading ------------------------------------------------------------------------------------------------------


def check(key_id):
    """Read the owned list of a key once and conclude for every purchase that an attempt with it left in doubt."""
    watched, now = in_doubt(key_id), clock.now()
    key = ApiKey.objects.get(pk=key_id)
    planned = watched.filter(state__in=sorted(WATCHED))
    if not watched.filter(selectors.is_due(now)).exists() and not pauses.waits_for_a_read(key):
        return
    read = None
    try:
        read = inventory.read_owned(key)
        pauses.provider_answered()
        if read.whole:
            pauses.trust_key(key.pk, read_began_after=read.began_after)
    except inventory.Busy as busy:
        pauses.plan(planned, busy.until)
        return
    except Undecryptable:
        read = None  # said on the team's page; the window goes on
    except errors.ProviderError as error:
        if isinstance(error, errors.RateLimited | errors.KeyRefused):
            settlement.after_failed_read(key, error)
    for purchase_id, request_id in list(watched.values_list("pk", "request_id")):
        conclude(purchase_id, request_id, key, read)
    next_at = planned.aggregate(at=Min("due_at"))["at"]
    if next_at:
        wake.at(next_at, "check", key_id)


def in_doubt(key_id):
    """The purchases that wait for evidence from this key: watched ones, and those that wait to be tried again."""
    return Purchase.objects.filter(
        state__in=sorted({*WATCHED, State.APPROVED}),
        pk__in=Attempt.objects.filter(key=key_id, outcome=Outcome.UNCONFIRMED).values("purchase"),
    ).order_by("pk")


@transaction.atomic
def conclude(purchase_id, request_id, key, read):
    """Purchased when the whole list shows the number under an id that it did not show before the attempt.

    Else the next check is planned; an unconfirmed purchase is held when its window is over, whatever the reads gave.
    One that was approved to be tried again has its own plan.
    """
    _, [purchase] = workflow.locked(request_id, [purchase_id])
    if purchase.state not in WATCHED and purchase.state != State.APPROVED:
        return
    attempt = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED, key=key).order_by("pk").first()
    owned = inventory.listed(key, purchase.phone_number) if read and read.whole else None
    if owned and owned.first_seen_seq >= attempt.claimed_seq:
        settlement.record_purchased(
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


def window_is_over(purchase, now):
    """Whether an unconfirmed purchase has waited long enough for evidence to be put before a person.

    An end further ahead than any window was written by a clock that has since gone back.
    """
    longest = timedelta(seconds=settings.SETTLE_WINDOW + settings.IDENTITYCALL_DEADLINE + 60)
    return purchase.window_ends_at <= now or purchase.window_ends_at > now + longest


def hold(purchase):
    """Put an unconfirmed purchase before a person; the reads go on."""
    workflow.move(
        purchase,
        State.HELD,
        actor=audit.WORKER,
        held_cause=Cause.DOUBT,
        held_words="IdentityCall never gave a clear answer, and its list of owned numbers has not settled it.",
        note="No evidence within the time set for it.",
        due_at=clock.now() + timedelta(seconds=settings.EVIDENCE_CHECK_DELAYS[-1]),
    )


def _was_never_bought(purchase, now):
    """Whether every key with an attempt in doubt has read whole lists without the number for 30 days."""
    since = purchase.state_changed_at + timedelta(days=GIVEN_UP_DAYS)
    return now > since and all(
        clean_reads(attempt).filter(began_at__gt=since).exists()
        for attempt in purchase.attempts.filter(outcome=Outcome.UNCONFIRMED)
    )


def clean_reads(attempt):
    """Whole reads of the attempt's own key that began after the attempt had ended and did not show its number.

    None counts while the list shows the number under an id from before the attempt: that proves no absence.
    """
    if inventory.listed(attempt.key, attempt.purchase.phone_number):
        return OwnedRead.objects.none()
    return OwnedRead.objects.filter(key=attempt.key_id, whole=True, began_after__gte=attempt.ended_seq or 0)


@dataclass(frozen=True)
class Findings:
    """What the reads after a doubtful attempt have shown: for the page, and for opening 'try again'."""

    attempt: Attempt
    clean: int
    failed: int
    last: OwnedRead | None
    next_at: datetime | None
    may_try_again: bool
    owned_before: int | None  # the id under which the key's own list shows it, from before the attempt
    seen_with: list[str]


def findings(purchase):
    """The evidence on a purchase in doubt, or None when no attempt of it is."""
    doubts = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED).select_related("key").order_by("-pk")
    attempt = doubts.first()
    if attempt is None:
        return None
    listed = inventory.listed(attempt.key, purchase.phone_number)
    reads = OwnedRead.objects.filter(key=attempt.key_id, began_after__gte=attempt.ended_seq or 0)
    clean = clean_reads(attempt)
    after_window = purchase.window_ends_at and clean.filter(began_at__gt=purchase.window_ends_at).exists()
    # What another key of any team shows proves nothing; it stands on the screen for the person who decides.
    others = ApiKey.objects.exclude(pk=attempt.key_id).filter(
        numbers__phone_number=purchase.phone_number, numbers__gone_at=None
    )
    return Findings(
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


# --- The sweep ----------------------------------------------------------------------------------------------------


def sweep():
    """Take what is due: settle what needs no network, and wake the queue for the rest. Safe to run at any time.

    What goes wrong in one step is logged and keeps none of the others from being taken.
    """
    now = clock.now()
    Desk.objects.filter(pk=Desk.ONLY).update(swept_at=now)
    due = Purchase.objects.filter(selectors.is_due(now))
    for step in (
        lambda: _give_up_waiting_for_answers(now),
        lambda: _expire(now),
        lambda: _hold_undecided(now),
        lambda: _hold_waited_too_long(now),
        lambda: _tell_of_long_waits(now),
        lambda: _tell_of_unapplied(now),
        reminders.remind,
        lambda: _wake(due),
    ):
        try:
            step()
        except DatabaseError:
            raise  # the worker connects anew and sweeps again
        except Exception:
            log.exception("A step of the sweep failed; the others go on.")


def _give_up_waiting_for_answers(now):
    """Attempts whose answer is overdue, in whatever state their purchase is by now."""
    overdue = Attempt.objects.filter(outcome=Outcome.OPEN).select_related("purchase").order_by("pk")
    for attempt in overdue:
        if clock.has_come(attempt.deadline_at + timedelta(seconds=2), now):
            _give_up_waiting_for_the_answer(attempt)


def _expire(now):
    for purchase in Purchase.objects.filter(state=State.PENDING, expires_at__lte=now).order_by("pk"):
        workflow.expire(purchase, actor=SWEEP)


def _hold_undecided(now):
    for purchase in Purchase.objects.filter(state=State.UNCONFIRMED).order_by("pk"):
        if window_is_over(purchase, now):
            _hold_unconfirmed(purchase)


def _hold_waited_too_long(now):
    old = Purchase.objects.filter(
        state=State.APPROVED,
        approvals__superseded_at=None,
        approvals__created_at__lt=procurement.too_old(now),
    )
    for purchase in old.distinct().order_by("pk"):
        procurement.hold_for_a_person(purchase, procurement.waited_too_long(), SWEEP)


@transaction.atomic
def _tell_of_long_waits(now):
    """Once a purchase has waited 20 minutes its team admins are told, once; also of one that no worker came to."""
    since = now - timedelta(minutes=TOLD_AFTER)
    waiting = Purchase.objects.select_for_update(no_key=True, of=("self",)).select_related("request__team")
    waiting = waiting.filter(
        Q(waiting_since__lt=since) | Q(waiting_since=None, state_changed_at__lt=since),
        state=State.APPROVED,
        waiting_told_at=None,
    )
    waiting = list(waiting.order_by("pk"))
    for purchase in waiting:
        if purchase.waiting_since is None:
            purchase.waiting_since, purchase.waiting_for = purchase.state_changed_at, NOBODY_CAME
        purchase.waiting_told_at = now
    Purchase.objects.bulk_update(waiting, ["waiting_since", "waiting_for", "waiting_told_at"])
    for purchase in waiting:
        audit.record("purchase.waits_long", actor=SWEEP, purchase=purchase, note=purchase.waiting_for)


@transaction.atomic
def _tell_of_unapplied(now):
    """A bought number whose recording or name is not as asked for after 20 minutes: team admins are told, once."""
    unapplied = Purchase.objects.select_for_update(no_key=True, of=("self",)).select_related("request__team")
    unapplied = list(
        unapplied.filter(
            state=State.PURCHASED,
            applied_at=None,
            waiting_told_at=None,
            released_at=None,
            purchased_at__lt=now - timedelta(minutes=TOLD_AFTER),
        ).order_by("pk")
    )
    Purchase.objects.filter(pk__in=[purchase.pk for purchase in unapplied]).update(waiting_told_at=now)
    for purchase in unapplied:
        audit.record("purchase.not_applied", actor=SWEEP, purchase=purchase, note=purchase.applied_words)


def _give_up_waiting_for_the_answer(attempt):
    """The worker died or hangs past the deadline: nobody knows what came of its call."""
    with transaction.atomic():
        _, [purchase] = workflow.locked(attempt.purchase.request_id, [attempt.purchase_id])
        attempt = Attempt.objects.get(pk=attempt.pk)
        if attempt.outcome != Outcome.OPEN:
            return  # it was settled meanwhile
        Attempt.objects.filter(pk=attempt.pk).update(
            outcome=Outcome.UNCONFIRMED, ended_at=clock.now(), ended_seq=audit.position() + 1
        )
        attempt.refresh_from_db()
        if purchase.state == State.PURCHASING:
            settlement.doubt(purchase, attempt, NO_ANSWER)
        else:
            audit.record("attempt.given_up", actor=SWEEP, purchase=purchase, attempt=attempt, note=NO_ANSWER)


def _hold_unconfirmed(purchase):
    with transaction.atomic():
        _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
        if purchase.state == State.UNCONFIRMED and window_is_over(purchase, clock.now()):
            hold(purchase)


def _wake(due):
    """Enqueue what is due and not in the queue already, oldest first."""
    # A task that is planned for later than the next sweep was planned by a clock that has since gone back.
    soon = wake.in_line().values("task_path", "args_kwargs")[:5000]
    waiting = {(row["task_path"].rpartition(".")[2], tuple(row["args_kwargs"]["args"])) for row in soon}
    wanted = [("buy", (pk,)) for pk in _pks(due.filter(state=State.APPROVED))]
    wanted += [("apply", (pk,)) for pk in _pks(due.filter(state=State.PURCHASED))]
    doubtful = Attempt.objects.filter(
        outcome=Outcome.UNCONFIRMED,
        purchase__in=_pks(due.filter(state__in=sorted({*WATCHED, State.APPROVED})), most=5000),
    )
    keys = {*doubtful.values_list("key", flat=True), *pauses.keys_waiting_for_a_read()}
    wanted += [("check", (key,)) for key in sorted(keys)]
    for task, arguments in wanted:
        if (task, arguments) not in waiting:
            wake.soon(task, *arguments)


def _pks(purchases, *, most=100):
    return list(purchases.order_by("due_at", "pk").values_list("pk", flat=True)[:most])
