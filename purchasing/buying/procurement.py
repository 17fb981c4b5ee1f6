"""Buying: look, claim, call once, settle. The only module that spends money.

The purchase call carries no idempotency key (VN-BUY), so a claim is durable before the first byte, one attempt makes
one POST, and an answer that is not certainly a no leaves the purchase unconfirmed until evidence or a person decides.
No transaction is open while the network is used.
"""

import hashlib
import json
import os
import socket
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from purchasing import audit, clock, jobs, permissions, problems, selectors, words, workflow
from purchasing.audit import marks, restores
from purchasing.buying import aftercare, outcomes, price_guard
from purchasing.buying.look import Look, NotNow, keys_in_doubt, look_at
from purchasing.buying.price_guard import Hold
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.identitycall.client import Client, Fence
from purchasing.models import ApiKey, Approval, Attempt, Desk, Purchase, PurchaseRequest, User
from purchasing.provider import owned_list, pauses, turns
from purchasing.states import Cause, Outcome, State
from purchasing.teams import restore_alarm

FENCE_GRACE = 5  # seconds beyond the connect timeout after which a claim may no longer be sent


def buy(purchase_id: int, *, worker: audit.Actor = audit.WORKER) -> None:
    """Purchase one approved number that is due: look, claim, call once, settle. If it is not due, do nothing."""
    purchase = _due(purchase_id)
    if purchase is None:
        return
    try:
        key = _free_key(purchase)
        look = look_at(purchase, key)
        if look is None:
            return
        # Switching recording off follows directly: its place is taken with that of the purchase.
        places = 1 if purchase.record_calls else 2
        place = turns.take_turn(key, patience=turns.WORKER_WAIT, places=places)
        if not look.is_fresh(clock.now()):  # the turn was long in coming
            look = look_at(purchase, key)
            if look is None:
                return
        client = turns.client_for(key)
        if jobs.is_draining():
            raise NotNow("The worker is being restarted.", clock.now())
        fence = Fence(settings.IDENTITYCALL_CONNECT_TIMEOUT + FENCE_GRACE)
        attempt = claim(purchase, key=key, look=look, worker=worker)
    except (NotNow, turns.Busy) as reason:
        pauses.put_off(purchase_id, str(reason), reason.until)
    except restores.Alarm as alarm:
        words = restore_alarm.sound(alarm)
        pauses.put_off(purchase_id, words, clock.now() + timedelta(seconds=pauses.LOOK_AGAIN))
    except Undecryptable as error:
        pauses.put_off(purchase_id, str(error), clock.now() + timedelta(seconds=pauses.LOOK_AGAIN))
    except Hold as hold:
        hold_for_a_person(purchase, hold, worker)
    except problems.Problem:
        return  # another worker has it, or it was cancelled
    else:
        if _marked(attempt):
            _call(client, attempt, fence)
            if not purchase.record_calls:
                aftercare.switch_off(purchase_id, key, place=place)


def _due(purchase_id: int) -> Purchase | None:
    waiting = Purchase.objects.select_related("request__team").filter(pk=purchase_id, state=State.APPROVED)
    return waiting.filter(selectors.is_due(clock.now())).first()


def _free_key(purchase: Purchase) -> ApiKey:
    """The team's key. Raises `NotNow` when anything prevents buying with it."""
    team = purchase.request.team
    key = pauses.current_key(team)
    desk = Desk.objects.get(pk=Desk.ONLY)
    owned_list.count_reads_of(desk.epoch)
    wait = pauses.obstacle(desk, team, key, clock.now())
    if wait:
        raise NotNow(wait.words, wait.until)
    assert key is not None  # a missing key is an obstacle
    return key


@transaction.atomic
def hold_for_a_person(purchase: Purchase, hold: Hold, worker: audit.Actor) -> None:
    """Move a queued purchase to held with the cause, unless it has moved since."""
    _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    if purchase.state != State.APPROVED:
        return
    workflow.move(
        purchase,
        State.HELD,
        actor=worker,
        note=hold.words,
        held_cause=hold.cause,
        held_words=hold.words[:1000],
        due_at=clock.now() if purchase.is_in_doubt else None,
    )


# --- Claim --------------------------------------------------------------------------------------------------------


@transaction.atomic(durable=True)
def claim(purchase: Purchase, *, key: ApiKey, look: Look, worker: audit.Actor) -> Attempt:
    """Move to purchasing and store the attempt, on exactly what was looked at and approved.

    Everything is checked again under locks (desk, team, key, request, purchase): after 'Stop buying', a cancellation,
    a lost role or a new key, nothing is claimed; nor on a database that went back in time. Raises `NotNow`, `Hold`,
    `restores.Alarm` or `Problem`.
    """
    desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
    team = workflow.locked_team(purchase.request.team_id)
    current = pauses.current_key(team, lock=True)
    now = clock.now()
    wait = pauses.obstacle(desk, team, current, now)
    if wait:
        raise NotNow(wait.words, wait.until)
    try:
        place = restores.check(desk)
    except marks.Unusable as problem:
        raise NotNow(str(problem), now + timedelta(seconds=pauses.LOOK_AGAIN)) from None
    if current is None or current.pk != key.pk:
        raise NotNow("The team's key was replaced just now.", now)
    request, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    is_due = purchase.due_at is not None and clock.has_come(purchase.due_at, now)
    if purchase.state != State.APPROVED or not is_due or purchase.cancel_asked_at is not None:
        raise problems.AlreadyMoved(workflow.what_happened(purchase))
    if not look.is_fresh(now):
        raise NotNow("Looking at IdentityCall once more before buying.", now)
    keys = (key, *keys_in_doubt(purchase, but=key))
    # Another worker may have read a list since the look.
    if any(owned_list.listed(lister, purchase.phone_number).exists() for lister in keys):
        raise NotNow("The list of owned numbers shows it now. Looking once more.", now)
    approvals = _counting_approvals(purchase, request)
    if min(approval.created_at for approval in approvals) < too_old(now):
        raise waited_too_long()
    price_guard.hold_if_dearer(purchase, approvals, look.offer)
    body = payload(purchase)
    shown = price_guard.shown_costs(purchase, look)
    costs: dict[str, Any] = {**shown}
    attempt = Attempt.objects.create(
        purchase=purchase,
        key=key,
        base_url=settings.IDENTITYCALL_API_URL,
        payload=body,
        payload_hash=hashlib.sha256(body.encode()).hexdigest(),
        worker=f"{socket.gethostname()}:{os.getpid()}"[:100],
        claimed_at=now,
        claimed_seq=0,
        projects=None if owned_list.knows_numbers(current.credential) else current.credential.projects or [],
        deadline_at=now + timedelta(seconds=settings.IDENTITYCALL_DEADLINE),
    )
    claimed = workflow.move(
        purchase,
        State.PURCHASING,
        actor=worker,
        attempt=attempt,
        expected={"version": purchase.version, "due_at": purchase.due_at},
        deadline_at=attempt.deadline_at,
        due_at=attempt.deadline_at + timedelta(seconds=2),
        data={"payload_hash": attempt.payload_hash, "key": key.last_four, **workflow.in_data(shown)},
        **costs,
    )
    # Lists of this key stored from now on are later than the claim: storing one locks the key, as this claim does.
    Attempt.objects.filter(pk=attempt.pk).update(claimed_seq=claimed.seq)
    attempt.claimed_seq = claimed.seq
    attempt.keep_mark = partial(place.keep, claimed.seq, claimed.hash)
    return attempt


def too_old(now: datetime) -> datetime:
    """The time before which an approval is too old: a person has to decide again."""
    return now - timedelta(days=settings.REQUEST_EXPIRY_DAYS)


def waited_too_long() -> Hold:
    """The hold of a purchase that was approved too long ago."""
    return Hold(Cause.TOO_LONG, f"It was approved more than {settings.REQUEST_EXPIRY_DAYS:g} days ago.")


def _counting_approvals(purchase: Purchase, request: PurchaseRequest) -> list[Approval]:
    """The approvals that the claim rests on; approvers, and those they stood in for, must still be entitled.

    All must be for what is bought: its version and its costs, an unconfirmed cost accepted by all or by none.
    """
    counting = purchase.approvals.filter(superseded_at__isnull=True)
    ids = {pk for pair in counting.values_list("approver", "on_behalf_of") for pk in pair if pk}
    # Locked, so that nobody loses a role or an account between this check and the claim's commit.
    list(request.team.memberships.select_for_update(no_key=True).filter(user__in=ids).order_by("pk"))
    list(User.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk"))
    approvals = list(counting.select_related("approver", "on_behalf_of"))
    if not approvals:
        raise Hold(Cause.APPROVER, "None of its approvals counts any more.")
    for approval in approvals:
        if not permissions.still_counts(approval, request):
            raise Hold(
                Cause.APPROVER,
                f"{approval.approver} approved it, but may no longer approve for {request.team}.",
            )
        if not _is_for(approval, purchase):
            raise Hold(Cause.APPROVER, f"{approval.approver} approved it at other terms or costs than these.")
    if purchase.cost_confirmed_at is None and len({one.unconfirmed_cost_ok for one in approvals}) > 1:
        raise Hold(
            Cause.APPROVER, "Not everybody who approved it accepted a price that nobody has confirmed."
        )
    return approvals


def _is_for(approval: Approval, purchase: Purchase) -> bool:
    """Whether an approval is for these terms and costs; a cost that was unknown then, a claim may have filled in."""
    return approval.version == purchase.version and all(
        getattr(approval, name) in (None, getattr(purchase, name)) for name in price_guard.COSTS
    )


def payload(purchase: Purchase) -> str:
    """The exact JSON text of the purchase call (VN-BUY): what was approved, without unknown values."""
    fields = {
        "phone_number": purchase.phone_number,
        "country_code": purchase.country_code,
        "number_type": purchase.number_type,
        "name": purchase.name,
        "requirement_group_id": purchase.requirement_group_id,
        "upfront_cost": purchase.upfront_cost is not None and words.plain(purchase.upfront_cost),
        "monthly_cost": purchase.monthly_cost is not None and words.plain(purchase.monthly_cost),
    }
    return json.dumps({name: value for name, value in fields.items() if value})


def _marked(attempt: Attempt) -> bool:
    """Note the claim in this host's restore mark, durably, before a byte is sent. Without it nothing is sent.

    Otherwise a copy of the database from before the claim could buy once more.
    """
    try:
        attempt.keep_mark()
    except marks.Unusable as problem:
        outcomes.settle(attempt, Outcome.NOT_SENT, error=errors.NotSent(f"Nothing was sent. {problem}"))
        return False
    return True


# --- Call ----------------------------------------------------------------------------------------------


def _call(client: Client, attempt: Attempt, fence: Fence) -> None:
    """Make one POST and settle its outcome; an error that proves nothing counts as unconfirmed."""
    number = attempt.purchase.phone_number
    try:
        bought = client.purchase_number(attempt.payload.encode(), phone_number=number, fence=fence)
    except errors.Declined as error:
        outcomes.settle(attempt, Outcome.DECLINED, error=error)
    except errors.NotSent as error:
        outcomes.settle(attempt, Outcome.NOT_SENT, error=error)
    except errors.RateLimited as error:
        outcomes.settle(attempt, Outcome.RATE_LIMITED, error=error)
    except errors.KeyRefused as error:
        outcomes.settle(attempt, Outcome.KEY_REFUSED, error=error)
    except errors.ProviderError as error:
        outcomes.settle(attempt, Outcome.UNCONFIRMED, error=error)
    else:
        outcomes.settle(
            attempt,
            Outcome.PURCHASED,
            provider_id=bought.id,
            answer_text=bought.answer_text,
            applied=aftercare.shown_by(bought, attempt.purchase),
        )
