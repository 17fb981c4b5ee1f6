"""What people decide about a purchase that is held or in doubt, always with a reason that stays in the record."""

from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from purchasing import audit, clock, permissions, workflow
from purchasing.approving import approvals
from purchasing.buying import evidence, outcomes
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.identitycall.resources import Offer
from purchasing.models import ApiKey, Attempt, Credential, OwnedRead, Purchase, User, VirtualNumber
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.provider import offers, owned_list, pauses, turns
from purchasing.states import Cause, Outcome, State

APART = 60  # seconds between the two lists that have to lack a number before it counts as given back
WHO_DECIDES = "A team admin or an approver, other than the person who asked, has to decide this."

WHO_ENDS_THE_WATCH = (
    f"From {evidence.GIVEN_UP_DAYS} days after it was given up, a team admin, other than the person who asked, may say "
    "how it ended."
)

SeenCosts = tuple[Decimal | None, Decimal | None]  # the upfront and the monthly cost that a page showed


def it_was_bought(purchase: Purchase, *, provider_id: int, reason: str, actor: audit.Actor) -> Purchase:
    """Record, on a person's word, that IdentityCall bought it under this id, unless the owned list refutes it."""
    _may_decide(purchase, actor, reason)
    attempt = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED).order_by("-pk").first()
    if attempt is None or purchase.state != State.HELD:
        raise AlreadyMoved(workflow.what_happened(purchase))
    if not 0 < provider_id < 2**63:
        raise Problem("The id is the whole number that IdentityCall shows for the number, above 0.")
    other = Purchase.objects.filter(provider_id=provider_id).exclude(pk=purchase.pk).first()
    if other:
        raise Problem(f"IdentityCall's id {provider_id} already belongs to {other} here.")
    seen = _read_for(purchase, attempt, provider_id)
    with transaction.atomic():
        outcomes.lock_ids()  # when people in two teams name the same id at once, the second waits here
        purchase = _held(purchase, in_doubt=True)
        _may_decide(purchase, actor, reason)  # again: a role may have been lost while the list was read
        if Purchase.objects.filter(provider_id=provider_id).exclude(pk=purchase.pk).exists():
            raise Problem(f"IdentityCall's id {provider_id} already belongs to another number here.")
        outcomes.record_purchased(purchase, attempt, provider_id, f"{reason.strip()} ({seen})", actor=actor)
    return purchase


def _read_for(purchase: Purchase, attempt: Attempt, provider_id: int) -> str:
    """What the owned list of the attempt's key shows for this id, in words. Raises `Problem` when it refutes it."""
    try:
        read = owned_list.read(attempt.key)
    except (errors.ProviderError, turns.Busy, Undecryptable) as problem:
        return f"the list of owned numbers could not be read: {problem}"
    rows = VirtualNumber.objects.filter(credential=read.credential_id, gone_at=None)
    there = rows.filter(provider_id=provider_id).first()
    if there is None and not read.complete:
        return "the list of owned numbers was not complete"
    if there is None:
        raise Problem(
            f"IdentityCall's list of owned numbers, read just now, has no number with id {provider_id}."
        )
    if there.phone_number and there.phone_number != purchase.phone_number:
        raise Problem(f"IdentityCall shows {there.phone_number} under id {provider_id}, not {purchase}.")
    return (
        "the list of owned numbers shows it" if there.phone_number else "its entry in the list cannot be read"
    )


@transaction.atomic
def try_again(
    purchase: Purchase,
    *,
    reason: str,
    actor: audit.Actor,
    seen: SeenCosts | None = None,
    unconfirmed_cost_ok: bool = False,
) -> Purchase:
    """Order another attempt, as it was not bought. Needs enough clean reads; counts as a new approval.

    `seen` and `unconfirmed_cost_ok` as in `approve_again`.
    """
    return _again(purchase, reason, actor, seen, unconfirmed_cost_ok, in_doubt=True)


@transaction.atomic
def approve_again(
    purchase: Purchase,
    *,
    reason: str,
    actor: audit.Actor,
    seen: SeenCosts | None = None,
    unconfirmed_cost_ok: bool = False,
) -> Purchase:
    """Approve a purchase held for its price, its approver or its age, as its page showed it.

    `seen` are the upfront and monthly cost that the page showed from IdentityCall's list, None where it showed
    none. If the list has changed since, nothing is approved.
    """
    return _again(purchase, reason, actor, seen, unconfirmed_cost_ok, in_doubt=False)


def _again(
    purchase: Purchase,
    reason: str,
    actor: audit.Actor,
    seen: SeenCosts | None,
    unconfirmed_cost_ok: bool,
    *,
    in_doubt: bool,
) -> Purchase:
    if not reason.strip():
        raise Problem("Say why: the reason stays in the record.")
    if not permissions.may_approve(actor.user, purchase.request):
        raise NotYours("Only someone who may approve this request can approve it again or order another try.")
    purchase = _held(purchase, in_doubt=in_doubt)
    _not_owned_already(purchase)
    if in_doubt:
        found = evidence.about(purchase)
        assert found is not None  # an attempt is in doubt, as checked under the lock
        if found.owned_before is not None:
            raise Problem(
                f"IdentityCall's list shows this number under the id {found.owned_before}, and did before the order: "
                "it is yours already, so another try cannot help."
            )
        if not found.may_try_again:
            raise Problem(
                f"Too early: {evidence.CLEAN_READS} complete lists of owned numbers have to lack this number, the last "
                "of them read after the waiting time is over. A list is complete when it shows every number that the "
                "key is known to own."
            )
    offer, seen_at = offer_now(purchase)
    if seen != (offer and (offer.upfront_cost, offer.monthly_cost)):
        raise AlreadyMoved(
            "The price has changed since you opened this page. Look at it again before you decide."
        )
    approvals.approve_again(
        purchase,
        actor,
        reason=reason,
        unconfirmed_cost_ok=unconfirmed_cost_ok,
        costs=approvals.Costs(offer.upfront_cost, offer.monthly_cost, seen_at) if offer else None,
    )
    return purchase


def offer_now(purchase: Purchase) -> tuple[Offer | None, datetime | None]:
    """What another approval would approve: the provider's last offer and when it was seen, None where unknown."""
    key = pauses.current_key(purchase.request.team)
    offer, seen_at = offers.last_offer(key, purchase) if key else (None, None)
    known = offer and offer.upfront_cost is not None and offer.monthly_cost is not None
    return (offer, seen_at) if known else (None, seen_at)


@transaction.atomic
def give_up(purchase: Purchase, *, reason: str, actor: audit.Actor) -> Purchase:
    """End a held purchase: given up and still watched if it may have been bought, else failed."""
    _may_decide(purchase, actor, reason)
    _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    if purchase.state != State.HELD:
        raise AlreadyMoved(workflow.what_happened(purchase))
    _not_owned_already(purchase)
    doubt = purchase.is_in_doubt
    workflow.move(
        purchase,
        State.GIVEN_UP if doubt else State.FAILED,
        actor=actor,
        note=reason.strip(),
        due_at=clock.now() if doubt else None,
    )
    return purchase


@transaction.atomic
def stop_watching(purchase: Purchase, *, reason: str, actor: audit.Actor) -> Purchase:
    """End a purchase that was given up, as never bought.

    It is for one that no read can settle any more (`may_stop_watching`), and after 30 days for any, on a team admin's
    word (`may_end_watch`). Otherwise the number would stay locked, and its cost committed, for ever.
    """
    _may_decide(purchase, actor, reason)
    _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    if purchase.state != State.GIVEN_UP:
        raise AlreadyMoved(workflow.what_happened(purchase))
    if not may_stop_watching(purchase) and not may_end_watch(permissions.as_stored(actor.user), purchase):
        raise Problem(
            "It is still being watched: IdentityCall's list can be read with the key of the order. "
            f"{WHO_ENDS_THE_WATCH}"
        )
    workflow.move(purchase, State.FAILED, actor=actor, note=reason.strip())
    return purchase


def may_stop_watching(purchase: Purchase) -> bool:
    """Whether no read can settle a given up purchase any more, for any key of its attempts in doubt.

    A key can settle nothing when it is refused or gone, when it gave no complete list for 30 days, or when its list
    still lacked the number after 30 days.
    """
    return purchase.state == State.GIVEN_UP and not any(
        _may_still_settle(doubt, purchase)
        for doubt in purchase.attempts.filter(
            outcome=Outcome.UNCONFIRMED, key__credential__refused_at=None, key__secret__isnull=False
        )
    )


def may_end_watch(user: User, purchase: Purchase) -> bool:
    """Whether this person may say how a given up purchase ended: its team's admin, not the requester, after 30 days."""
    return (
        purchase.state == State.GIVEN_UP
        and _was_watched_long(purchase)
        and user.pk != purchase.request.requester_id
        and permissions.may_manage(user, purchase.request.team)
    )


def _was_watched_long(purchase: Purchase) -> bool:
    return clock.now() > purchase.state_changed_at + timedelta(days=evidence.GIVEN_UP_DAYS)


def bought_after_all(purchase: Purchase, *, provider_id: int, reason: str, actor: audit.Actor) -> Purchase:
    """Record, on a team admin's word, that a purchase watched for 30 days was bought, under an id of its key's list.

    An id that another number here has is accepted too, here alone, and flagged in the event and on the page: that two
    numbers have one id is what may have kept every read from settling it. Raises `Problem` for an id that the list does
    not show, or shows for a number that nobody here has.
    """
    _may_say_bought(purchase, actor, reason)
    doubts = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED).select_related("key").order_by("-pk")
    for key in {doubt.key_id: doubt.key for doubt in doubts}.values():
        with suppress(errors.ProviderError, turns.Busy, Undecryptable):  # then its last list counts
            owned_list.read(key)
    with transaction.atomic():
        outcomes.lock_ids()
        _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
        _may_say_bought(purchase, actor, reason)  # again: a role may have been lost while the list was read
        also = [
            str(other)
            for other in Purchase.objects.filter(provider_id=provider_id)
            .exclude(pk=purchase.pk)
            .order_by("pk")
        ]
        doubt = _doubt_with(list(doubts), purchase, provider_id, is_used=bool(also))
        flag = f" (the id {provider_id} also belongs to {', '.join(also)} here)" if also else ""
        outcomes.record_purchased(
            purchase, doubt, provider_id, f"{reason.strip()}{flag}", actor=actor, also_of=also
        )
    return purchase


def _may_say_bought(purchase: Purchase, actor: audit.Actor, reason: str) -> None:
    _may_decide(purchase, actor, reason)
    if purchase.state != State.GIVEN_UP:
        raise AlreadyMoved(workflow.what_happened(purchase))
    if not _was_watched_long(purchase):
        raise Problem(f"It is still being watched. {WHO_ENDS_THE_WATCH}")
    if not may_end_watch(permissions.as_stored(actor.user), purchase):
        raise NotYours(WHO_ENDS_THE_WATCH)


def _doubt_with(doubts: list[Attempt], purchase: Purchase, provider_id: int, *, is_used: bool) -> Attempt:
    """The attempt whose key's list shows this id for the number, or for whatever number where the id is used here."""
    shown: set[str] = set()
    for doubt in doubts:
        rows = VirtualNumber.objects.filter(
            credential=doubt.key.credential_id, provider_id=provider_id, gone_at=None
        )
        numbers = set(rows.values_list("phone_number", flat=True))
        if purchase.phone_number in numbers or (is_used and numbers):
            return doubt
        shown |= numbers
    if shown:
        raise Problem(
            f"IdentityCall shows {', '.join(sorted(shown))} under id {provider_id}, not {purchase}."
        )
    raise Problem(f"IdentityCall's list of owned numbers has no number with id {provider_id}.")


def _may_still_settle(doubt: Attempt, purchase: Purchase) -> bool:
    now, days = clock.now(), timedelta(days=evidence.GIVEN_UP_DAYS)
    if now <= purchase.state_changed_at + days:
        return True
    clean_since = evidence.clean_reads(doubt).filter(began_at__gt=purchase.state_changed_at + days)
    complete = OwnedRead.objects.filter(
        credential=doubt.key.credential_id, complete=True, began_at__gt=now - days
    )
    return complete.exists() and not clean_since.exists()


def release(purchase: Purchase, *, reason: str, actor: audit.Actor) -> Purchase:
    """Record that a bought number is no longer rented: two lists, a minute apart, lack it, of a key that is not blind.

    The second is read now. From then on the number costs nothing and may be requested again.
    """
    _may_release(purchase, actor)
    if not reason.strip():
        raise Problem("Say why: the reason stays in the record.")
    if purchase.state != State.PURCHASED or purchase.released_at:
        raise AlreadyMoved("This number is not rented, as far as is known here.")
    assert purchase.purchased_at is not None  # stored with the state
    if purchase.purchased_at > clock.now() - timedelta(seconds=settings.SETTLE_WINDOW):
        raise Problem("It was bought a moment ago; IdentityCall's list may not show it yet. Try again later.")
    key = _key_that_sees(purchase)
    try:
        read = owned_list.read(key)
    except (errors.ProviderError, turns.Busy, Undecryptable) as problem:
        raise Problem(f"IdentityCall's list of owned numbers could not be read: {problem}") from None
    if owned_list.listed(key, purchase.phone_number).exists():
        raise Problem(
            "IdentityCall's list of owned numbers still shows it. Give the number back in IdentityCall first."
        )
    blind = Credential.objects.get(pk=key.credential_id).blind_words
    if blind:
        raise Problem(f"The list proves nothing: {blind} Decide about that on the page of the key first.")
    if not lacked_before(purchase, read):
        raise Problem(
            "IdentityCall's list of owned numbers does not show it. A second list, at least a minute later, has to "
            "agree: try again in a minute."
        )
    with transaction.atomic():
        _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
        _may_release(purchase, actor)  # again: the role may have been lost while the list was read
        if not Purchase.objects.filter(pk=purchase.pk, state=State.PURCHASED, released_at=None).update(
            released_at=clock.now(), due_at=None
        ):
            raise AlreadyMoved("Somebody else has already done this.")
        event = audit.record("purchase.released", actor=actor, purchase=purchase, note=reason.strip())
        assert purchase.provider_id is not None  # stored with the state
        owned_list.confirm_gone({(purchase.provider_id, purchase.phone_number)}, event)
    return purchase


def lacked_before(purchase: Purchase, read: OwnedRead) -> bool:
    """Whether a well-formed list that began at least `APART` before this one lacked the number as well."""
    earlier = read.began_at - timedelta(seconds=APART)
    assert purchase.provider_id is not None  # stored with the state
    row = VirtualNumber.objects.filter(
        credential=read.credential_id,
        provider_id=purchase.provider_id,
        phone_number=purchase.phone_number,
    ).first()
    if row is not None:
        return row.gone_at is not None and row.gone_at <= earlier
    before = OwnedRead.objects.filter(
        credential=read.credential_id,
        well_formed=True,
        began_at__range=(purchase.purchased_at, earlier),
    )
    return before.exists()


def _key_that_sees(purchase: Purchase) -> ApiKey:
    """A key whose list proves that a bought number is gone: its own, or one that has shown a number of that key."""
    usable = ApiKey.objects.filter(credential__refused_at=None, secret__isnull=False)
    key = usable.filter(pk=purchase.bought_with_id).first() if purchase.bought_with_id else None
    if key:
        return key
    key = pauses.current_key(purchase.request.team)
    if key is None:
        raise Problem("The team has no API key, so IdentityCall's list of owned numbers cannot be read.")
    of_its_own = VirtualNumber.objects.filter(credential__keys=purchase.bought_with_id).values("provider_id")
    if not VirtualNumber.objects.filter(credential=key.credential_id, provider_id__in=of_its_own).exists():
        raise Problem(
            f"The key it was bought with cannot be read with any more, and the key …{key.last_four} has never shown a "
            "number of that account, so its list proves nothing. Store a key of the account that rents the number."
        )
    return key


def _not_owned_already(purchase: Purchase) -> None:
    if purchase.held_cause == Cause.OWNED:
        raise Problem("IdentityCall's list shows it already: a team admin decides whether it is yours.")


def _may_release(purchase: Purchase, actor: audit.Actor) -> None:
    if not permissions.may_manage(permissions.as_stored(actor.user), purchase.request.team):
        raise NotYours("Only the team admin can record that a number is no longer rented.")


def _may_decide(purchase: Purchase, actor: audit.Actor, reason: str) -> None:
    if not permissions.may_decide_doubt(permissions.as_stored(actor.user), purchase.request):
        raise NotYours(WHO_DECIDES)
    if not reason.strip():
        raise Problem("Say why: the reason stays in the record.")


def _held(purchase: Purchase, *, in_doubt: bool) -> Purchase:
    _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    if purchase.state != State.HELD:
        raise AlreadyMoved(workflow.what_happened(purchase))
    if purchase.is_in_doubt != in_doubt:
        raise Problem(
            "It may have been bought already: decide that first."
            if not in_doubt
            else "Nothing of it is in doubt: approve it again, or give it up."
        )
    return purchase
