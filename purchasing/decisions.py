"""What people decide about a held or doubtful purchase, always with a reason that stays in the record."""

from django.db import transaction

from purchasing import approving, clock, evidence, inventory, pauses, rules, settlement, workflow
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.models import Purchase
from purchasing.states import Outcome, State
from purchasing.workflow import AlreadyMoved, NotYours, WorkflowError

WHO_DECIDES = "A team admin or an approver, other than the person who asked, has to decide this."


def it_was_bought(purchase, *, provider_id, reason, actor):
    """A person says that IdentityCall bought it, under this id; the owned list is read first and may refute that."""
    _may_decide(purchase, actor, reason)
    attempt = purchase.attempts.filter(outcome=Outcome.UNCONFIRMED).order_by("-pk").first()
    if attempt is None or purchase.state != State.HELD:
        raise AlreadyMoved(workflow.what_happened(purchase))
    if not 0 < provider_id < 2**63:
        raise WorkflowError("The id is the whole number that IdentityCall shows for the number, above 0.")
    other = Purchase.objects.filter(provider_id=provider_id).exclude(pk=purchase.pk).first()
    if other:
        raise WorkflowError(f"IdentityCall's id {provider_id} already belongs to {other} here.")
    seen = _read_for(purchase, attempt, provider_id)
    with transaction.atomic():
        purchase = _held(purchase, actor, in_doubt=True)
        if Purchase.objects.filter(provider_id=provider_id).exclude(pk=purchase.pk).exists():
            raise WorkflowError(f"IdentityCall's id {provider_id} already belongs to another number here.")
        settlement.record_purchased(purchase, attempt, provider_id, f"{reason.strip()} ({seen})", actor=actor)
    return purchase


def _read_for(purchase, attempt, provider_id):
    """What the owned list of the attempt's key says to this id, in words; raises when it refutes it."""
    try:
        read = inventory.read_owned(attempt.key)
    except (errors.ProviderError, inventory.Busy, Undecryptable) as problem:
        return f"the list of owned numbers could not be read: {problem}"
    if not read.whole:
        return "the list of owned numbers was not whole"
    rows = attempt.key.numbers.filter(gone_at=None)
    there = rows.filter(provider_id=provider_id).first()
    if there is None:
        raise WorkflowError(
            f"IdentityCall's list of owned numbers, read just now, has no number with id {provider_id}."
        )
    if there.phone_number != purchase.phone_number:
        raise WorkflowError(
            f"IdentityCall shows {there.phone_number} under id {provider_id}, not {purchase}."
        )
    return "the list of owned numbers shows it"


@transaction.atomic
def try_again(purchase, *, reason, actor):
    """It was not bought: order another attempt. Open only after enough clean reads; an approval of its own."""
    if not reason.strip():
        raise WorkflowError("Say why: the reason stays in the record.")
    if not rules.may_approve(actor.user, purchase.request):
        raise NotYours("Only someone who may approve this request can order another try.")
    purchase = _held(purchase, actor, in_doubt=True)
    if not evidence.findings(purchase).may_try_again:
        raise WorkflowError(
            f"Too early: the list of owned numbers has to be read whole {evidence.CLEAN_READS} times without this "
            "number, the last time after the waiting time is over."
        )
    approval = purchase.approvals.order_by("-pk").first()
    approving.approve_again(
        purchase,
        actor,
        reason=reason,
        unconfirmed_cost_ok=approval.unconfirmed_cost_ok,
        before=_cost(purchase),
    )
    return purchase


def offer_now(purchase):
    """What 'approve again' would approve: the provider's last offer and when it was seen, each None where unknown."""
    key = pauses.current_key(purchase.request.team)
    offer, seen_at = inventory.last_offer(key, purchase) if key else (None, None)
    known = offer and offer.upfront_cost is not None and offer.monthly_cost is not None
    return (offer, seen_at) if known else (None, seen_at)


@transaction.atomic
def approve_again(purchase, *, reason, actor, seen=None, unconfirmed_cost_ok=False):
    """Approve a purchase held for its price, its approver or its age, as its page showed it.

    `seen` are the upfront and monthly cost that the page showed from IdentityCall's list, None where it showed
    none. When the list has changed since, nothing is approved.
    """
    if not reason.strip():
        raise WorkflowError("Say why: the reason stays in the record.")
    if not rules.may_approve(actor.user, purchase.request):
        raise NotYours("Only someone who may approve this request can approve it again.")
    purchase = _held(purchase, actor, in_doubt=False)
    offer, seen_at = offer_now(purchase)
    reserved = _cost(purchase)
    if seen != (offer and (offer.upfront_cost, offer.monthly_cost)):
        raise AlreadyMoved(
            "The price has changed since you opened this page. Look at it again before you decide."
        )
    if offer:
        purchase.upfront_cost, purchase.monthly_cost = seen
        Purchase.objects.filter(pk=purchase.pk).update(
            upfront_cost=offer.upfront_cost, monthly_cost=offer.monthly_cost, cost_confirmed_at=seen_at
        )
    approving.approve_again(
        purchase, actor, reason=reason, unconfirmed_cost_ok=unconfirmed_cost_ok, before=reserved
    )
    return purchase


@transaction.atomic
def give_up(purchase, *, reason, actor):
    """Stop here: given up and still watched when it may have been bought, else failed."""
    _may_decide(purchase, actor, reason)
    _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    if purchase.state != State.HELD:
        raise AlreadyMoved(workflow.what_happened(purchase))
    doubt = purchase.is_in_doubt
    workflow.move(
        purchase,
        State.GIVEN_UP if doubt else State.FAILED,
        actor=actor,
        note=reason.strip(),
        due_at=clock.now() if doubt else None,
    )
    return purchase


def _cost(purchase):
    """What a held purchase reserves of its team's budget."""
    return (purchase.upfront_cost or 0) + (purchase.monthly_cost or 0)


def _may_decide(purchase, actor, reason):
    if not rules.may_decide_doubt(actor.user, purchase.request):
        raise NotYours(WHO_DECIDES)
    if not reason.strip():
        raise WorkflowError("Say why: the reason stays in the record.")


def _held(purchase, actor, *, in_doubt):
    _, [purchase] = workflow.locked(purchase.request_id, [purchase.pk])
    if purchase.state != State.HELD:
        raise AlreadyMoved(workflow.what_happened(purchase))
    if purchase.is_in_doubt != in_doubt:
        raise WorkflowError(
            "It may have been bought already: decide that first."
            if not in_doubt
            else "Nothing of it is in doubt: approve it again, or give it up."
        )
    return purchase
