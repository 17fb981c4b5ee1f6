"""Settles purchase calls: stores the outcome, moves the purchase, begins pauses.

An answer belongs to its attempt. Any answer that is not certainly a no leaves the purchase unconfirmed.
"""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import InterfaceError, InternalError, OperationalError, connection, transaction

from purchasing import audit, clock, jobs, workflow
from purchasing.buying import price_guard
from purchasing.identitycall import errors
from purchasing.models import ApiKey, Attempt, Desk, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import owned_list, pauses, turns
from purchasing.states import SENT, Outcome, State

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
    pause, again = 0.1, False  # seconds
    while True:
        try:
            _settle(attempt.pk, outcome, error, provider_id, answer_text, applied, again)
            return
        except (OperationalError, InterfaceError, InternalError) as problem:  # gone, locked, full, read-only
            log.error("The outcome of attempt %s is not stored yet: %s", attempt.pk, problem)
            connection.close()
            owned_list.forget_reads()
            time.sleep(pause)
            pause, again = min(pause * 2, 5), True


@transaction.atomic
def _settle(
    attempt_id: int,
    outcome: Outcome,
    error: errors.ProviderError | None,
    provider_id: int | None,
    answer_text: str,
    applied: bool | None,
    again: bool,
) -> None:
    attempt = Attempt.objects.select_related("purchase__request").get(pk=attempt_id)
    sent: pauses.Wait | None = None
    wait: pauses.Wait | None
    if outcome == Outcome.NOT_SENT:
        wait = pauses.provider_failed(str(error), call_unsent=True)
    else:
        sent = pauses.call_was_sent()
        if outcome == Outcome.PURCHASED:
            assert provider_id is not None  # a 201 without one is unconfirmed
            outcome, error = _checked_id(attempt, provider_id, answer_text)
        workflow.locked_team(attempt.purchase.request.team_id)
        wait = _pause_key(attempt, outcome, error)
    _, [purchase] = workflow.locked(attempt.purchase.request_id, [attempt.purchase_id])
    attempt = Attempt.objects.select_related("key").get(pk=attempt_id)
    note = audit.clean(str(error) if error else "")[:1000]
    answer: dict[str, Any] = {
        "http_status": error.status if error else 201,
        "answer": audit.clean(error.answer_text if error else answer_text),
        "words": note,
    }
    stored = {"outcome": attempt.outcome, **{name: getattr(attempt, name) for name in answer}}
    if again and stored == {"outcome": outcome, **answer}:
        transaction.set_rollback(True)  # the earlier try was committed, though the database did not say so
        return
    given_up = attempt.outcome != Outcome.OPEN
    # An answer of an earlier attempt may have settled the purchase while this one was under way.
    late = given_up or purchase.state != State.PURCHASING
    Attempt.objects.filter(pk=attempt_id).update(
        **answer,
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
    if isinstance(error, errors.Unconfirmed) and error.bought_instead:
        number_id, phone_number = error.bought_instead
        audit.record(
            "purchase.other_bought",
            actor=audit.WORKER,
            purchase=purchase,
            attempt=attempt,
            note=note,
            provider_id=number_id,
            bought=phone_number,
        )
    if error and 300 <= (error.status or 0) < 400:
        audit.record("provider.redirected", actor=audit.WORKER, purchase=purchase, attempt=attempt, note=note)
    pauses.record_event(sent)
    pauses.record_event(wait)


def _checked_id(
    attempt: Attempt, provider_id: int, answer_text: str
) -> tuple[Outcome, errors.ProviderError | None]:
    """What a 201 means under the desk's lock: purchased, or unconfirmed where its id belongs to another number."""
    lock_ids()
    other = id_belongs_to(provider_id, attempt.purchase, attempt.key)
    if not other:
        return Outcome.PURCHASED, None
    words = (
        f"IdentityCall's answer has the id {provider_id}, which belongs to {other}. Whether the number was bought is "
        "not known yet."
    )
    return Outcome.UNCONFIRMED, errors.Unconfirmed(words, status=201, answer_text=answer_text)


def lock_ids() -> None:
    """Take ids one at a time, over all teams: whoever checks an id and takes it holds this lock (the desk's row)."""
    Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)


def id_belongs_to(provider_id: int, purchase: Purchase, key: ApiKey) -> str:
    """The other number that has this id, in our records or in the key's lists, or ''. Call `lock_ids` before."""
    other = Purchase.objects.filter(provider_id=provider_id).exclude(pk=purchase.pk).first()
    if other is not None:
        return f"{other} here"
    shown = VirtualNumber.objects.filter(credential=key.credential_id, provider_id=provider_id)
    stranger = shown.exclude(phone_number__in=["", purchase.phone_number]).first()
    return f"{stranger.phone_number} in IdentityCall's list" if stranger is not None else ""


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
    also_of: Sequence[str] = (),
    applied: bool | None = None,
) -> None:
    """Move to purchased, on an answer, evidence or a person's word, and see to its settings.

    `key` is the key that sees the number, where that is not the attempt's. `also_of` are other numbers here that have
    the same id, which only a person can have said.
    `applied`: whether the answer itself shows
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
        data={"provider_id": provider_id, **({"id_also_of": list(also_of)} if also_of else {})},
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


def sent_attempts(purchase: Purchase, key: ApiKey) -> list[Attempt]:
    """The attempts of a purchase that were sent with its secret: each may have bought it, whatever it answered."""
    attempts = purchase.attempts.filter(outcome__in=sorted(SENT), key__credential=key.credential_id)
    return list(attempts.select_related("key").order_by("pk"))


def which_bought(attempts: Iterable[Attempt], shown: Iterable[VirtualNumber]) -> tuple[Attempt, int] | None:
    """Which of these sent attempts bought a number that their key's list shows, and its id; None if none did.

    `shown` are the rows of the number in the list of the attempts' own key. An attempt bought it only if the id was
    first shown after the attempt was claimed, and a list from before the claim is known. If several attempts could
    have, nobody can know which one did: the more expensive counts, so that no budget is charged too little; of equals,
    the first. Call `lock_ids` before.
    """
    attempts = list(attempts)
    for owned in shown:
        possible = [
            attempt
            for attempt in attempts
            if attempt.claimed_seq <= owned.first_seen_seq
            and OwnedRead.objects.filter(
                credential=owned.credential_id, well_formed=True, seq__lt=attempt.claimed_seq
            ).exists()
        ]
        if possible and not _is_taken(owned, possible[0].purchase_id):
            return max(possible, key=lambda attempt: sum(_costs_sent(attempt).values())), owned.provider_id
    return None


def _is_taken(owned: VirtualNumber, purchase_id: int) -> bool:
    return Purchase.objects.filter(provider_id=owned.provider_id).exclude(pk=purchase_id).exists()


def since_our_order(attempt: Attempt) -> str:
    """What a list that shows the number proves, in words; a refusal that was not true is named."""
    words = "IdentityCall's list shows it since our order."
    if attempt.outcome in (Outcome.DECLINED, Outcome.RATE_LIMITED, Outcome.KEY_REFUSED):
        return f"{words} Its answer had been: {attempt.words}"[:1000]
    return words


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
