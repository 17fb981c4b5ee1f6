"""The life of a purchase: the only writer of a state. Each move is one transaction with its audit event.

Locks are taken in the same order everywhere: desk, team, key, request, purchases by id (new ones by phone number),
head of the chain. They are `no_key` locks: another transaction's audit event may refer to a locked row.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import transaction

from purchasing import audit, clock, jobs, permissions
from purchasing.models import (
    ApiKey,
    Approval,
    Attempt,
    AuditEvent,
    OwnedRead,
    Purchase,
    PurchaseRequest,
    Team,
)
from purchasing.problems import AlreadyMoved, ForbiddenMove, NotYours, Problem
from purchasing.states import FINAL, NEXT, SENT, Cause, Outcome, State

# --- The only writer ----------------------------------------------------------------------------------------------


@transaction.atomic
def move(
    purchase: Purchase,
    to: State,
    *,
    actor: audit.Actor,
    note: str = "",
    expected: Mapping[str, object] | None = None,
    attempt: Attempt | None = None,
    data: Mapping[str, Any] | None = None,
    due_at: datetime | None = None,
    **changes: Any,
) -> AuditEvent:
    """Change the state and record it: both, or neither.

    The UPDATE repeats the state that was read, and whatever else the actor relied on (`expected`, columns of the
    purchase itself), so when two people act at once, one succeeds and the other gets `AlreadyMoved`. `due_at` is when
    the sweep takes it up again; None in a state where nothing is due. Returns the event.
    """
    was = purchase.state
    if to not in NEXT.get(State(was), ()):
        raise ForbiddenMove(f"{purchase} is “{State(was).label}” and cannot become “{State(to).label}”.")
    unmoved = Purchase.objects.filter(pk=purchase.pk, state=was, **(expected or {}))
    # A call that was certainly not carried out does not end the wait.
    if {was, to} != {State.APPROVED, State.PURCHASING}:
        changes = {"waiting_for": "", "waiting_since": None, "waiting_told_at": None, **changes}
    if to == State.HELD:  # whatever comes next needs a new approval
        Approval.objects.filter(purchase=purchase, superseded_at=None).update(superseded_at=clock.now())
    if not unmoved.update(state=to, state_changed_at=clock.now(), due_at=due_at, **changes):
        raise AlreadyMoved(what_happened(purchase))
    request = purchase.request
    purchase.refresh_from_db()
    purchase.request = request  # no move changes it: saves reading it again
    event: AuditEvent = audit.record(
        f"purchase.{to}",
        actor=actor,
        purchase=purchase,
        attempt=attempt,
        was=was,
        became=to,
        note=note,
        **(data or {}),
    )
    return event


_HAPPENED = {
    State.PENDING: "{number} was changed since you opened this page. Look at it again before you decide.",
    State.APPROVED: "{who} approved {number} a moment ago.",
    State.PURCHASING: "{number} is being bought right now; it can no longer be changed.",
    State.UNCONFIRMED: "{number} was sent to IdentityCall and is being checked; it can no longer be changed.",
    State.HELD: "{number} is now waiting for a decision.",
    State.GIVEN_UP: "{who} gave up {number}.",
    State.PURCHASED: "{number} has already been bought.",
    State.FAILED: "{number} could not be bought.",
    State.REJECTED: "{who} rejected {number}.",
    State.CANCELLED: "{who} cancelled {number}.",
    State.EXPIRED: "{number} expired before anybody decided.",
}


def what_happened(purchase: Purchase) -> str:
    """One sentence about what somebody else did to this purchase."""
    purchase.refresh_from_db()
    last = purchase.events.order_by("-seq").first()
    return _HAPPENED[State(purchase.state)].format(
        who=last.actor_name if last else "Somebody", number=purchase.phone_number
    )


def locked_team(team_id: int) -> Team:
    """Lock a team's row, before any key, request or purchase."""
    return Team.objects.select_for_update(no_key=True).get(pk=team_id)


def locked(
    request_id: int, purchase_ids: Collection[int] | None = None
) -> tuple[PurchaseRequest, list[Purchase]]:
    """Lock the team, the request and its purchases in that order; returns `(request, purchases)`."""
    request = PurchaseRequest.objects.get(pk=request_id)
    locked_team(request.team_id)
    request = (
        PurchaseRequest.objects.select_for_update(no_key=True, of=("self",))
        .select_related("team", "requester")
        .get(pk=request_id)
    )
    rows = Purchase.objects.select_for_update(no_key=True).filter(request=request).order_by("pk")
    if purchase_ids is not None:
        rows = rows.filter(pk__in=purchase_ids)
    purchases = list(rows)
    for purchase in purchases:
        purchase.request = request
    return request, purchases


# --- What the record keeps -----------------------------------------------------------------------------------------


def terms(purchase: Purchase) -> dict[str, object]:
    """What is requested or approved, for the record."""
    return {
        "phone_number": purchase.phone_number,
        "version": purchase.version,
        "country_code": purchase.country_code,
        "number_type": purchase.number_type,
        "name": purchase.name,
        "requirement_group_id": purchase.requirement_group_id,
        "record_calls": purchase.record_calls,
        "upfront_cost": text_of(purchase.upfront_cost),
        "monthly_cost": text_of(purchase.monthly_cost),
        "cost_confirmed": purchase.cost_confirmed_at is not None,
    }


def text_of(cost: Decimal | None) -> str | None:
    """A cost as the record keeps it, None where it is unknown."""
    return None if cost is None else f"{cost:f}"


def in_data(fields: Mapping[str, datetime | Decimal | None]) -> dict[str, str | None]:
    """Values of a purchase's columns as the record keeps them."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else text_of(value)
        for name, value in fields.items()
    }


# --- Cancelling ---------------------------------------------------------------------------------------------------


CANCELLING = (
    "Cancelled. IdentityCall's list is read first, in case the call that it refused bought the number."
)


@transaction.atomic
def cancel(
    request_id: int, purchase_ids: Collection[int], *, actor: audit.Actor, reason: str = ""
) -> list[Purchase]:
    """Cancel numbers that no worker has claimed yet. All or none.

    Anybody but the requester has to give a reason. A number that an earlier call may have bought is not tried again but
    waits for a decision: nobody can cancel what may have happened. After a call that IdentityCall refused it is
    cancelled as soon as its list was read, since a refusal can lie.
    """
    request, purchases = chosen(request_id, purchase_ids)
    if not permissions.may_cancel(actor.user, request):
        raise NotYours("The person who asked, an approver or the team admin can cancel this.")
    is_requester = actor.user is not None and actor.user.pk == request.requester_id
    if not is_requester and not reason.strip():
        raise Problem("Say why: the person who asked reads it.")
    for purchase in purchases:
        if purchase.state not in (State.PENDING, State.APPROVED):
            raise AlreadyMoved(what_happened(purchase))
        if purchase.cancel_asked_at is None:
            _cancel(purchase, actor, reason.strip())
    return purchases


def _cancel(purchase: Purchase, actor: audit.Actor, reason: str) -> None:
    refused = _refused_unread(purchase)
    if purchase.is_in_doubt or (refused is not None and not _can_be_read(refused.key)):
        _hold_in_doubt(purchase, refused, actor, reason or "Not to be tried again.")
    elif refused is not None:
        Purchase.objects.filter(pk=purchase.pk).update(
            cancel_asked_at=clock.now(), due_at=None, waiting_for=CANCELLING, waiting_since=clock.now()
        )
        audit.record("purchase.cancel_asked", actor=actor, purchase=purchase, note=reason)
        jobs.enqueue("check", refused.key_id)
        purchase.refresh_from_db()
    else:
        move(purchase, State.CANCELLED, actor=actor, note=reason)


def _refused_unread(purchase: Purchase) -> Attempt | None:
    """The last sent call of a queued purchase, if no well-formed list of its key was read since: a refusal can lie."""
    if purchase.state != State.APPROVED:
        return None
    sent = purchase.attempts.filter(outcome__in=sorted(SENT)).select_related("key__credential")
    last = sent.order_by("-pk").first()
    if last is None:
        return None
    since = OwnedRead.objects.filter(
        credential=last.key.credential_id, well_formed=True, began_after__gte=last.ended_seq or 0
    )
    return None if since.exists() else last


def _can_be_read(key: ApiKey) -> bool:
    has_secret = ApiKey.objects.filter(pk=key.pk, secret__isnull=False).exists()
    return has_secret and key.credential.refused_at is None


def _hold_in_doubt(purchase: Purchase, refused: Attempt | None, actor: audit.Actor, reason: str) -> None:
    if refused is not None:  # nobody can read whether its refusal was true
        Attempt.objects.filter(pk=refused.pk).update(outcome=Outcome.UNCONFIRMED)
    move(
        purchase,
        State.HELD,
        actor=actor,
        note=reason,
        held_cause=Cause.DOUBT,
        held_words="The next try was cancelled; whether an earlier call bought it is not known yet.",
        due_at=clock.now(),
        cancel_asked_at=None,
    )


def cancel_after_read(purchase: Purchase) -> None:
    """Cancel a queued purchase for which somebody asked that, once a list was read after its last call.

    The caller has locked it. It is held in doubt where the list can no longer be read. Nothing happens before.
    """
    asked = purchase.events.filter(action="purchase.cancel_asked").order_by("-seq").first()
    assert asked is not None  # recorded with the column
    note = (
        f"{asked.actor_name} cancelled it: {asked.note}"
        if asked.note
        else f"{asked.actor_name} cancelled it."
    )
    refused = _refused_unread(purchase)
    if refused is None:
        move(purchase, State.CANCELLED, actor=audit.WORKER, note=note, cancel_asked_at=None)
    elif not _can_be_read(refused.key):
        _hold_in_doubt(purchase, refused, audit.WORKER, note)


def expire(purchase: Purchase, *, actor: audit.Actor) -> None:
    """End a pending purchase that nobody decided in time."""
    with transaction.atomic():
        _, [purchase] = locked(purchase.request_id, [purchase.pk])
        is_late = purchase.expires_at is not None and purchase.expires_at <= clock.now()
        if purchase.state == State.PENDING and is_late:
            move(purchase, State.EXPIRED, actor=actor, note="Nobody decided in time.")


def chosen(request_id: int, purchase_ids: Collection[int]) -> tuple[PurchaseRequest, list[Purchase]]:
    """Lock a request with its ticked purchases. Raises `Problem` for none, or for purchases of another request."""
    request, purchases = locked(request_id, purchase_ids)
    if not purchases or len(purchases) != len(set(purchase_ids)):
        raise Problem("Choose at least one number of this request.")
    return request, purchases


def is_over(state: str) -> bool:
    """Whether nothing more happens to a purchase in this state."""
    return state in FINAL
