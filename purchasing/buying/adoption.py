"""Numbers that IdentityCall's list shows and that no call of ours explains: 'It is ours, keep it', or 'Not ours'.

A team admin decides about a purchase that is held because its number is owned already. After a restore the record may
lack what was bought: then a superuser may keep the number of any open purchase that is not being bought right now.
"""

from decimal import Decimal

from django.db import transaction

from purchasing import audit, clock, jobs, permissions, workflow
from purchasing.buying import outcomes
from purchasing.models import ApiKey, Purchase, RentedNumber, User, VirtualNumber
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.states import Cause, State

WHO_DECIDES = "A team admin other than the person who asked has to decide whether the number is yours."
WHO_ADOPTS = "Only a superuser, other than the person who asked, can record this number as yours."
ADOPTED = frozenset({State.PENDING, State.APPROVED, State.UNCONFIRMED, State.HELD, State.GIVEN_UP})


def is_owned_already(purchase: Purchase) -> bool:
    """Whether it is held because the list shows its number and no call of ours explains that."""
    return purchase.state == State.HELD and purchase.held_cause == Cause.OWNED


def may_keep(user: User, purchase: Purchase) -> bool:
    """Whether `user` may record the number of this purchase as ours, if a list shows it."""
    if user.pk == purchase.request.requester_id or purchase.state not in ADOPTED:
        return False
    if is_owned_already(purchase):
        return bool(permissions.may_manage(user, purchase.request.team))
    return bool(user.is_active and user.is_superuser)


def shown(purchase: Purchase) -> dict[int, ApiKey]:
    """The ids under which the last lists show the number, each with a key whose list it is, the newest first.

    A key of the purchase's own team comes before one of another team, and a current key before a replaced one.
    """
    rows = VirtualNumber.objects.filter(phone_number=purchase.phone_number, gone_at=None)
    found: dict[int, ApiKey] = {}
    for row in rows.order_by("-first_seen_seq", "-pk"):
        keys = ApiKey.objects.filter(credential=row.credential_id).select_related("team")
        best = max(
            keys, key=lambda key: (key.team_id == purchase.request.team_id, key.retired_at is None, key.pk)
        )
        if row.provider_id not in found or best.team_id == purchase.request.team_id:
            found[row.provider_id] = best
    return found


def ids_to_keep(purchase: Purchase) -> list[int]:
    """The ids that may be chosen: those that a list shows and that no other purchase has."""
    ids = list(shown(purchase))
    taken = Purchase.objects.filter(provider_id__in=ids).exclude(pk=purchase.pk)
    return sorted(set(ids) - set(taken.values_list("provider_id", flat=True)))


@transaction.atomic
def keep(
    purchase: Purchase,
    *,
    reason: str,
    actor: audit.Actor,
    provider_id: int | None = None,
    upfront_cost: Decimal | None = None,
    monthly_cost: Decimal | None = None,
) -> Purchase:
    """Record that the number is ours, under an id that a list shows. Its costs are those stated; None is unknown.

    Without a `provider_id` it is the only one that the list shows; `Problem` where there are several.
    """
    _check(actor, purchase, reason)
    outcomes.lock_ids()
    _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    if purchase.state not in ADOPTED:
        raise AlreadyMoved(workflow.what_happened(purchase))
    _check(actor, purchase, reason)
    keys = shown(purchase)
    if provider_id is None:
        ids = ids_to_keep(purchase)
        if len(ids) > 1:
            raise Problem(
                "IdentityCall's list shows it under more than one id: open the number and choose one."
            )
        provider_id = ids[0] if ids else next(iter(keys), None)
    if provider_id is None or provider_id not in keys:
        raise Problem(
            "IdentityCall's list does not show this number under that id now. Look at the page again."
        )
    other = Purchase.objects.filter(provider_id=provider_id).exclude(pk=purchase.pk).first()
    if other is not None:
        raise Problem(f"IdentityCall's id {provider_id} already belongs to {other} here.")
    now = clock.now()
    workflow.move(
        purchase,
        State.PURCHASED,
        actor=actor,
        note=reason.strip(),
        provider_id=provider_id,
        purchased_at=now,
        bought_with=keys[provider_id],
        upfront_cost=upfront_cost,
        monthly_cost=monthly_cost,
        cost_confirmed_at=None,
        cancel_asked_at=None,
        held_cause="",
        held_words="",
        checks=0,
        due_at=now,
        data={
            "provider_id": provider_id,
            "adopted": True,
            "upfront_cost": workflow.text_of(upfront_cost),
            "monthly_cost": workflow.text_of(monthly_cost),
        },
    )
    RentedNumber.objects.filter(provider_id=provider_id, ended_at=None).update(ended_at=now)
    jobs.enqueue("apply", purchase.pk)
    return purchase


@transaction.atomic
def not_ours(purchase: Purchase, *, reason: str, actor: audit.Actor) -> Purchase:
    """End a purchase that is held as owned already: it failed, and nothing was bought for it."""
    _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    if not is_owned_already(purchase):
        raise AlreadyMoved(workflow.what_happened(purchase))
    _check(actor, purchase, reason)
    workflow.move(
        purchase, State.FAILED, actor=actor, note=reason.strip(), held_cause="", held_words="", due_at=None
    )
    return purchase


def _check(actor: audit.Actor, purchase: Purchase, reason: str) -> None:
    if purchase.state in ADOPTED and not (
        actor.user and may_keep(permissions.as_stored(actor.user), purchase)
    ):
        raise NotYours(WHO_DECIDES if is_owned_already(purchase) else WHO_ADOPTS)
    if not reason.strip():
        raise Problem("Say why: the reason stays in the record.")
