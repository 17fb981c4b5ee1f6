"""Settles purchase calls: stores the outcome, moves the purchase, begins pauses.

An answer belongs to its attempt. Any answer that is not certainly a no leaves the purchase unconfirmed.
"""

import json
import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError, connection, transaction

from purchasing import audit, clock, jobs, workflow
from purchasing.buying import price_guard
from purchasing.identitycall import errors
from purchasing.models import ApiKey, Attempt, Purchase, VirtualNumber
from purchasing.provider import pauses, turns
from purchasing.states import Outcome, State

log = logging.getLogger(__name__)


def settle(
    attempt: Attempt,
    outcome: Outcome,
    *,
    error: errors.ProviderError | None = None,
    provider_id: int | None = None,
    answer_text: str = "",
    applied: bool | None = None,
) -> None:
    """Store the outcome of the call and move the purchase; repeated until the database accepts it.

    `answer_text` is an excerpt of the answer that confirmed the purchase; an error brings its own. `applied`: see
    `record_purchased`.
    """
    pause = 0.1  # seconds
    while True:
        try:
            _settle(attempt.pk, outcome, error, provider_id, answer_text, applied)
            return
        except (OperationalError, InterfaceError, InternalError) as problem:  # gone, locked, full, read-only
            log.error("The outcome of attempt %s is not stored yet: %s", attempt.pk, problem)
            connection.close()
            time.sleep(pause)
            pause = min(pause * 2, 5)


@transaction.atomic
def _settle(
    attempt_id: int,
    outcome: Outcome,
    error: errors.ProviderError | None,
    provider_id: int | None,
    answer_text: str,
    applied: bool | None,
) -> None:
    attempt = Attempt.objects.select_related("purchase__request").get(pk=attempt_id)
    sent: pauses.Wait | None = None
    wait: pauses.Wait | None
    if outcome == Outcome.NOT_SENT:
        wait = pauses.provider_failed(str(error), call_unsent=True)
    else:
        sent = pauses.call_was_sent()
        workflow.locked_team(attempt.purchase.request.team_id)
        wait = _pause_key(attempt, outcome, error)
    _, [purchase] = workflow.locked(attempt.purchase.request_id, [attempt.purchase_id])
    attempt = Attempt.objects.get(pk=attempt_id)
    given_up = attempt.outcome != Outcome.OPEN
    # An answer of an earlier attempt may have settled the purchase while this one was under way.
    late = given_up or purchase.state != State.PURCHASING
    note = audit.clean(str(error) if error else "")[:1000]
    Attempt.objects.filter(pk=attempt_id).update(
        http_status=error.status if error else 201,
        answer=audit.clean(error.answer_text if error else answer_text),
        words=note,
        **({} if given_up and outcome != Outcome.PURCHASED else {"outcome": outcome}),
        **({} if given_up else {"ended_at": clock.now(), "ended_seq": audit.position() + 1}),
    )
    attempt.refresh_from_db()
    if late:
        _record_late_answer(purchase, attempt, outcome, note, provider_id, applied)
    elif outcome == Outcome.PURCHASED:
        words = "IdentityCall confirmed the purchase."
        record_purchased(purchase, attempt, provider_id, words, applied=applied)
    elif outcome == Outcome.UNCONFIRMED or (outcome == Outcome.DECLINED and purchase.is_in_doubt):
        doubt(purchase, attempt, note)
    elif outcome == Outcome.DECLINED:
        workflow.move(purchase, State.FAILED, actor=audit.WORKER, attempt=attempt, note=note)
    else:
        assert wait is not None  # not sent, rate limited and key refused all pause something
        workflow.move(
            purchase,
            State.APPROVED,
            actor=audit.WORKER,
            attempt=attempt,
            note=note,
            due_at=wait.until,
            waiting_for=note[:500],
            waiting_since=purchase.waiting_since or clock.now(),
        )
    if error and 300 <= (error.status or 0) < 400:
        audit.record("provider.redirected", actor=audit.WORKER, purchase=purchase, attempt=attempt, note=note)
    pauses.record_event(sent)
    pauses.record_event(wait)


def _pause_key(attempt: Attempt, outcome: Outcome, error: errors.ProviderError | None) -> pauses.Wait | None:
    """Pause, doubt or trust the key, depending on the outcome, before the purchase is locked. Returns any `Wait`."""
    if outcome == Outcome.RATE_LIMITED:
        assert isinstance(error, errors.RateLimited)
        return pauses.pause_key(attempt.key_id, error.retry_after)
    if outcome == Outcome.KEY_REFUSED:
        return pauses.refuse_key(attempt.key_id, str(error))
    if outcome == Outcome.UNCONFIRMED:
        pauses.doubt_key(attempt.key_id, audit.position() + 1)
    else:
        pauses.trust_key(attempt.key_id)
    return None


def _record_late_answer(
    purchase: Purchase,
    attempt: Attempt,
    outcome: Outcome,
    note: str,
    provider_id: int | None,
    applied: bool | None,
) -> None:
    """Take an answer that came after the purchase moved on: 'purchased' is evidence, all else is only recorded."""
    if (
        outcome == Outcome.PURCHASED
        and not workflow.is_over(purchase.state)
        and purchase.state != State.PENDING
    ):
        words = "IdentityCall confirmed the purchase, late."
        record_purchased(purchase, attempt, provider_id, words, applied=applied)
        return
    audit.record(
        "attempt.late_answer",
        actor=audit.WORKER,
        purchase=purchase,
        attempt=attempt,
        note=note,
        outcome=str(outcome),
        provider_id=provider_id,
    )


def record_purchased(
    purchase: Purchase,
    attempt: Attempt,
    provider_id: int | None,
    note: str,
    *,
    actor: audit.Actor = audit.WORKER,
    key: ApiKey | None = None,
    applied: bool | None = None,
) -> None:
    """Move to purchased, on an answer, evidence or a person's word, and see to its settings.

    `key` is the key that sees the number, where that is not the attempt's. `applied`: whether the answer itself shows
    the settings that were requested. True: nothing more is called. False: the caller applies them next, and a task does
    so if the caller is lost. None: the task finds out.
    """
    now = clock.now()
    by_the_caller = timedelta(seconds=settings.IDENTITYCALL_DEADLINE + turns.WORKER_WAIT + 5)
    due_at = None if applied else now if applied is None else now + by_the_caller
    # The costs approved for this call: another try may have been approved at another cost since.
    costs: dict[str, Any] = {**_costs_sent(attempt)}
    workflow.move(
        purchase,
        State.PURCHASED,
        actor=actor,
        attempt=attempt,
        note=note,
        provider_id=provider_id,
        purchased_at=now,
        bought_with=key or attempt.key,
        held_cause="",
        held_words="",
        checks=0,
        due_at=due_at,
        applied_at=now if applied else None,
        data={"provider_id": provider_id},
        **costs,
    )
    if applied:
        record_applied(purchase)
    elif applied is None:
        jobs.enqueue("apply", purchase.pk)


def record_applied(purchase: Purchase) -> None:
    """Record that the number is set up as requested."""
    audit.record(
        "purchase.applied",
        actor=audit.WORKER,
        purchase=purchase,
        record_calls=purchase.record_calls,
        name=purchase.name,
    )


def which_bought(doubts: Iterable[Attempt], owned: VirtualNumber) -> Attempt | None:
    """Which of these attempts in doubt bought what their key's list shows as `owned`, or None.

    An attempt that was claimed after the list first showed the number did not buy it. If several could have, nobody
    can know which one did: the more expensive counts, so that no budget is charged too little; of equals, the first.
    """
    possible = [doubt for doubt in doubts if doubt.claimed_seq <= owned.first_seen_seq]
    return max(possible, key=lambda attempt: sum(_costs_sent(attempt).values()), default=None)


def _costs_sent(attempt: Attempt) -> dict[str, Decimal]:
    """The costs sent with an attempt, by name; unknown costs are left out."""
    sent = json.loads(attempt.payload)
    return {name: Decimal(sent[name]) for name in price_guard.COSTS if name in sent}


def doubt(purchase: Purchase, attempt: Attempt, note: str) -> None:
    """Move to unconfirmed: from now on only reads, until evidence or a person decides."""
    due_at = clock.now() + timedelta(seconds=settings.EVIDENCE_CHECK_DELAYS[0])
    workflow.move(
        purchase,
        State.UNCONFIRMED,
        actor=audit.WORKER,
        attempt=attempt,
        note=note,
        checks=0,
        window_ends_at=attempt.deadline_at + timedelta(seconds=settings.SETTLE_WINDOW),
        due_at=due_at,
    )
    jobs.enqueue_at(due_at, "check", attempt.key_id)
