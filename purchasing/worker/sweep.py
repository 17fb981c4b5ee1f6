"""The sweep takes up what is due, whatever became of its queue row. It runs at the worker's start and every 15 s."""

import logging
from datetime import timedelta

from django.db import DatabaseError, transaction
from django.db.models import Q

from purchasing import audit, clock, jobs, selectors, workflow
from purchasing.audit import marks, restores
from purchasing.buying import evidence, outcomes, procurement
from purchasing.mail import reminders
from purchasing.models import Attempt, Desk, Purchase
from purchasing.provider import pauses, unrecorded
from purchasing.states import WATCHED, Outcome, State
from purchasing.teams import restore_alarm

NOTIFY_AFTER = 20  # minutes that an approved purchase waits before its team admins are notified
NO_ANSWER = "The worker stopped or the answer did not come in time."
NOBODY_CAME = "Queued. No worker has picked it up yet."
log = logging.getLogger(__name__)


def run():
    """Take up what is due: settle what needs no network, and enqueue the rest. Safe to run at any time.

    A step that fails is logged and does not stop the others.
    """
    now = clock.now()
    Desk.objects.filter(pk=Desk.ONLY).update(swept_at=now)
    due = Purchase.objects.filter(selectors.is_due(now))
    for step in (
        _check_for_a_restore,
        lambda: _give_up_waiting_for_answers(now),
        lambda: _expire(now),
        evidence.settle_all_shown,
        unrecorded.end_reviews,
        lambda: _hold_undecided(now),
        lambda: _hold_waited_too_long(now),
        lambda: _notify_of_long_waits(now),
        lambda: _notify_of_unapplied(now),
        reminders.remind,
        lambda: _wake(due),
    ):
        try:
            step()
        except DatabaseError:
            raise  # the worker reconnects and sweeps again
        except Exception:
            log.exception("A step of the sweep failed; the others go on.")


def _check_for_a_restore():
    """Raise the alarm if the database went back in time; else note its newest event in this host's mark."""
    desk = Desk.objects.get(pk=Desk.ONLY)
    if desk.alarm_at:
        return
    try:
        restores.keep_newest(restores.check(desk))
    except restores.Alarm as alarm:
        restore_alarm.sound(alarm)
    except marks.Unusable as problem:
        log.error("%s", problem)


def _give_up_waiting_for_answers(now):
    """Give up attempts whose answer is overdue, whatever the state of their purchase is by now."""
    overdue = Attempt.objects.filter(outcome=Outcome.OPEN).select_related("purchase").order_by("pk")
    for attempt in overdue:
        if clock.has_come(attempt.deadline_at + timedelta(seconds=2), now):
            _give_up_waiting_for_the_answer(attempt)


def _expire(now):
    for purchase in Purchase.objects.filter(state=State.PENDING, expires_at__lte=now).order_by("pk"):
        workflow.expire(purchase, actor=audit.SWEEP)


def _hold_undecided(now):
    for purchase in Purchase.objects.filter(state=State.UNCONFIRMED).order_by("pk"):
        if evidence.window_is_over(purchase, now):
            _hold_unconfirmed(purchase)


def _hold_waited_too_long(now):
    old = Purchase.objects.filter(
        state=State.APPROVED,
        approvals__superseded_at=None,
        approvals__created_at__lt=procurement.too_old(now),
    )
    for purchase in old.distinct().order_by("pk"):
        procurement.hold_for_a_person(purchase, procurement.waited_too_long(), audit.SWEEP)


@transaction.atomic
def _notify_of_long_waits(now):
    """Notify team admins once of an approved purchase that has waited 20 minutes, also when no worker picked it up."""
    since = now - timedelta(minutes=NOTIFY_AFTER)
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
        audit.record("purchase.waits_long", actor=audit.SWEEP, purchase=purchase, note=purchase.waiting_for)


@transaction.atomic
def _notify_of_unapplied(now):
    """Notify team admins once of a number whose recording or name is not as requested 20 minutes after purchase."""
    unapplied = Purchase.objects.select_for_update(no_key=True, of=("self",)).select_related("request__team")
    unapplied = list(
        unapplied.filter(
            state=State.PURCHASED,
            applied_at=None,
            waiting_told_at=None,
            released_at=None,
            purchased_at__lt=now - timedelta(minutes=NOTIFY_AFTER),
        ).order_by("pk")
    )
    Purchase.objects.filter(pk__in=[purchase.pk for purchase in unapplied]).update(waiting_told_at=now)
    for purchase in unapplied:
        audit.record(
            "purchase.not_applied", actor=audit.SWEEP, purchase=purchase, note=purchase.applied_words
        )


def _give_up_waiting_for_the_answer(attempt):
    """Give up an attempt whose worker died or hangs past the deadline: the outcome of its call is unknown."""
    with transaction.atomic():
        _, [purchase] = workflow.locked(attempt.purchase.request_id, [attempt.purchase_id])
        attempt = Attempt.objects.get(pk=attempt.pk)
        if attempt.outcome != Outcome.OPEN:
            return  # it has been settled in the meantime
        Attempt.objects.filter(pk=attempt.pk).update(
            outcome=Outcome.UNCONFIRMED, ended_at=clock.now(), ended_seq=audit.position() + 1
        )
        attempt.refresh_from_db()
        if purchase.state == State.PURCHASING:
            outcomes.doubt(purchase, attempt, NO_ANSWER)
        else:
            audit.record(
                "attempt.given_up", actor=audit.SWEEP, purchase=purchase, attempt=attempt, note=NO_ANSWER
            )


def _hold_unconfirmed(purchase):
    with transaction.atomic():
        _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
        if purchase.state == State.UNCONFIRMED and evidence.window_is_over(purchase, clock.now()):
            evidence.hold(purchase)


def _wake(due):
    """Enqueue what is due and not already in the queue, oldest first."""
    # A task that is planned for later than the next sweep was planned by a clock that has since been set back.
    soon = jobs.queued().values("task_path", "args_kwargs")[:5000]
    waiting = {(row["task_path"].rpartition(".")[2], tuple(row["args_kwargs"]["args"])) for row in soon}
    wanted = [("buy", (pk,)) for pk in _pks(due.filter(state=State.APPROVED))]
    wanted += [("apply", (pk,)) for pk in _pks(due.filter(state=State.PURCHASED))]
    doubtful = Attempt.objects.filter(
        outcome=Outcome.UNCONFIRMED,
        purchase__in=_pks(due.filter(state__in=sorted({*WATCHED, State.APPROVED})), most=5000),
    )
    cancelled = Attempt.objects.filter(purchase__cancel_asked_at__isnull=False)
    keys = {
        *doubtful.values_list("key", flat=True),
        *cancelled.values_list("key", flat=True),
        *pauses.keys_waiting_for_a_read(),
    }
    wanted += [("check", (key,)) for key in sorted(keys)]
    for task, arguments in wanted:
        if (task, arguments) not in waiting:
            jobs.enqueue(task, *arguments)


def _pks(purchases, *, most=100):
    return list(purchases.order_by("due_at", "pk").values_list("pk", flat=True)[:most])
