"""Yes and no before anything is bought: who may say it, how many have to, and whether the money is there.

An approval is bound to the version and the costs of the page it was given on. All or none of the ticked numbers.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from purchasing import audit, clock, jobs, permissions, words, workflow
from purchasing.asking import submission
from purchasing.models import Approval
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.states import State
from purchasing.teams import budgets

NEITHER_OWN = "A colleague who may approve for this team has to decide; nobody decides their own request."


@dataclass(frozen=True)
class Costs:
    """What a yes is given to, in CURRENCY; None where nobody knows it. `confirmed_at`: when IdentityCall showed it."""

    upfront: Decimal | None
    monthly: Decimal | None
    confirmed_at: datetime | None

    @classmethod
    def of(cls, purchase):
        """The costs of a purchase as it stands."""
        return cls(purchase.upfront_cost, purchase.monthly_cost, purchase.confirmed_at)

    @property
    def sum(self):
        """Once and for a month, as far as it is known."""
        return (self.upfront or Decimal(0)) + (self.monthly or Decimal(0))

    @property
    def is_sure(self):
        """Whether IdentityCall has shown both."""
        return None not in (self.upfront, self.monthly, self.confirmed_at)


@transaction.atomic
def approve(request_id, purchase_ids, *, approver, version, unconfirmed_cost_ok=False):
    """Approve exactly what the approver saw: `version` is the one that the page was drawn from. All or none.

    Where the team wants a second approver, the first yes is kept and the purchases stay pending. Raises `NotYours`
    (never one's own), `AlreadyMoved` when any of them was decided or changed meanwhile, and `Problem` with
    the figures when a hard budget does not hold them.
    """
    request, purchases = workflow.chosen(request_id, purchase_ids)
    voices = _voices(approver, request)
    for purchase in purchases:
        if purchase.state != State.PENDING or purchase.version != version:
            raise AlreadyMoved(workflow.what_happened(purchase))
    submission.refuse_papers(request.team, purchases)
    over = _check_budget(request.team, [(purchase, Costs.of(purchase), Decimal(0)) for purchase in purchases])
    needed = permissions.approvals_needed(request)
    for purchase in purchases:
        _say_yes(
            purchase,
            request,
            approver,
            voices,
            needed=needed,
            costs=Costs.of(purchase),
            unconfirmed_cost_ok=unconfirmed_cost_ok,
            over=over,
            expected={"version": version},
        )
    return purchases


@transaction.atomic
def approve_again(purchase, approver, *, reason, unconfirmed_cost_ok, costs=None):
    """Approve a held purchase at `costs`, else as it stands; the caller has locked it and checked that it is held.

    All checks of an approval: who may, how many have to, and the budget for what it costs more than is reserved for
    it. No yes from before it was held counts; where two are needed, the first leaves it held, and as it was.
    """
    request = purchase.request
    voices = _voices(approver, request)
    submission.refuse_papers(request.team, [purchase])
    costs = costs or Costs.of(purchase)
    over = _check_budget(request.team, [(purchase, costs, Costs.of(purchase).sum)])
    instead = {purchase.pk: costs.monthly} if costs.is_sure else None
    _say_yes(
        purchase,
        request,
        approver,
        voices,
        needed=permissions.approvals_needed(request, instead=instead),
        costs=costs,
        unconfirmed_cost_ok=unconfirmed_cost_ok,
        over=over,
        note=reason.strip(),
    )


def _voices(approver, request):
    """For whom the actor may speak here; raises `NotYours` where for nobody."""
    voices = permissions.deciding_as(approver.user, request)
    if not voices:
        raise NotYours(NEITHER_OWN)
    if not request.team.is_active:
        raise NotYours(f"{request.team} is switched off; nothing is approved for it.")
    return voices


def _say_yes(
    purchase, request, approver, voices, *, needed, costs, unconfirmed_cost_ok, over, expected=None, note=""
):
    """Keep one yes to one purchase; the last one that is needed sends it to the worker."""
    given = permissions.counting_approvals(purchase, request)
    said = {pk for approval in given for pk in _ids(approval)}
    voice = next((voice for voice in voices if not voice.ids & said), None)
    terms = workflow.terms(purchase) | {"unconfirmed_cost_ok": unconfirmed_cost_ok} | _in_data(costs)
    if over:
        terms["over_budget"] = True
    now = clock.now()
    if voice is None and len(given) < needed:
        raise AlreadyMoved(f"{purchase} has this yes already; {_missing(request, given)} has to say it too.")
    if voice is not None:
        if voice.principal != approver.user:
            approver = approver.standing_in_for(voice.principal)
        Approval.objects.create(
            purchase=purchase,
            version=purchase.version,
            approver=approver.user,
            on_behalf_of=None if voice.principal == approver.user else voice.principal,
            upfront_cost=costs.upfront,
            monthly_cost=costs.monthly,
            unconfirmed_cost_ok=unconfirmed_cost_ok,
            created_at=now,
        )
        if len(given) + 1 < needed:
            audit.record("purchase.approved_first", actor=approver, purchase=purchase, note=note, **terms)
            return
    # A yes that counts no more (its giver has left, for instance) must not stand in the way of those that do.
    counting = [approval.pk for approval in permissions.counting_approvals(purchase, request)]
    purchase.approvals.filter(superseded_at=None).exclude(pk__in=counting).update(superseded_at=now)
    workflow.move(
        purchase,
        State.APPROVED,
        actor=approver,
        expected=expected,
        note=note,
        data=terms,
        due_at=now,
        held_cause="",
        held_words="",
        upfront_cost=costs.upfront,
        monthly_cost=costs.monthly,
        cost_confirmed_at=costs.confirmed_at,
    )
    jobs.enqueue("buy", purchase.pk)


def _in_data(costs):
    return workflow.in_data({"upfront_cost": costs.upfront, "monthly_cost": costs.monthly}) | {
        "cost_confirmed": costs.confirmed_at is not None
    }


def _ids(approval):
    return [pk for pk in (approval.approver_id, approval.on_behalf_of_id) if pk]


def waits_for_second(purchase, request):
    """Who said yes to a purchase that wants a second one, and who may say it too: in words; '' when nobody has yet.

    Where the yeses that were given are enough by now, that one more click is missing.
    """
    given = permissions.counting_approvals(purchase, request)
    if not given:
        return ""
    names = ", ".join(
        f"{approval.approver} (for {approval.on_behalf_of})"
        if approval.on_behalf_of
        else str(approval.approver)
        for approval in given
    )
    if len(given) >= permissions.approvals_needed(request):
        return f"{names} said yes, which is enough by now. An approver has to approve it once more."
    return f"{names} said yes; {_missing(request, given)} has to say it too."


def _missing(request, given):
    said = {pk for approval in given for pk in _ids(approval)}
    names = dict.fromkeys(str(voice) for voice in permissions.deciders(request) if not voice.ids & said)
    return " or ".join(names) or "a second approver, who has to be named first,"


def _check_budget(team, asked):
    """Refuse what a hard budget does not hold, with the figures; whether a soft one is passed. The team is locked.

    `asked` are triples: purchase, the costs that are approved, and what of them is reserved already.
    """
    budget = budgets.of(team)
    if budget.amount is None:
        return False
    unsure = [purchase for purchase, costs, _ in asked if not costs.is_sure]
    more = sum((max(costs.sum - reserved, Decimal(0)) for _, costs, reserved in asked), Decimal(0))
    if not unsure and (more <= budget.left or more == 0):
        return False
    if not budget.hard:
        return True
    if unsure:
        raise Problem(
            f"{team} has a budget that nothing may go beyond, and IdentityCall has not confirmed the cost of "
            f"{', '.join(words.phone(p.phone_number) for p in unsure[:5])}. Wait until the price is confirmed."
        )
    raise Problem(
        f"This is {words.money(more - budget.left)} more than the budget of {team} allows: "
        f"{words.money(budget.amount)} a month, of which {words.money(budget.committed)} are committed and "
        f"{words.left(budget.left)}; this needs {words.money(more)}."
    )


@transaction.atomic
def reject(request_id, purchase_ids, *, approver, version, reason):
    """Say no, with a reason that the requester reads. All or none."""
    if not reason.strip():
        raise Problem("Say why you reject: the person who asked reads it.")
    request, purchases = workflow.chosen(request_id, purchase_ids)
    voices = permissions.deciding_as(approver.user, request)
    if not voices:
        raise NotYours(NEITHER_OWN)
    if voices[0].principal != approver.user:
        approver = approver.standing_in_for(voices[0].principal)
    for purchase in purchases:
        if purchase.state != State.PENDING or purchase.version != version:
            raise AlreadyMoved(workflow.what_happened(purchase))
        workflow.move(
            purchase, State.REJECTED, actor=approver, note=reason.strip(), expected={"version": version}
        )
    return purchases
