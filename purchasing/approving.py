"""Yes and no before anything is bought: who may say it, how many have to, and whether the money is there.

An approval is bound to the version and the costs of the page it was given on. All or none of the ticked numbers.
"""

from datetime import timedelta
from decimal import Decimal

from django.db import transaction

from purchasing import audit, budgets, clock, rules, selectors, wake, words, workflow
from purchasing.models import Approval, Purchase
from purchasing.states import State
from purchasing.workflow import AlreadyMoved, NotYours, WorkflowError

NEITHER_OWN = "A colleague who may approve for this team has to decide; nobody decides their own request."
LOOKED_BACK = 30  # days of a person's requests that count towards the limit for a second approver
ENDED_WITHOUT = (State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED)


@transaction.atomic
def approve(request_id, purchase_ids, *, approver, version, unconfirmed_cost_ok=False):
    """Approve exactly what the approver saw: `version` is the one that the page was drawn from. All or none.

    Where the team wants a second approver, the first yes is kept and the purchases stay pending. Raises `NotYours`
    (never one's own), `AlreadyMoved` when any of them was decided or changed meanwhile, and `WorkflowError` with
    the figures when a hard budget does not hold them.
    """
    request, purchases = workflow.chosen(request_id, purchase_ids)
    principal = _principal(approver, request)
    if not request.team.is_active:
        raise NotYours(f"{request.team} is switched off; nothing is approved for it.")
    for purchase in purchases:
        _require(purchase, version)
    given = {purchase.pk: _given(purchase, request) for purchase in purchases}
    mine = {approver.user.pk, principal.pk}
    for purchase in purchases:
        if any(mine & {approval.approver_id, approval.on_behalf_of_id} for approval in given[purchase.pk]):
            raise AlreadyMoved(
                f"{purchase} has this yes already; {_missing(request, given[purchase.pk])} has to say it too."
            )
    over = _check_budget(request.team, purchases)
    needed = yeses_needed(request)
    now = clock.now()
    if principal != approver.user:
        approver = approver.standing_in_for(principal)
    for purchase in purchases:
        terms = _write(purchase, approver, principal, now, unconfirmed_cost_ok, over)
        if len(given[purchase.pk]) + 1 >= needed:
            _to_the_worker(purchase, approver, now, expected={"version": version}, terms=terms)
        else:
            audit.record("purchase.approved_first", actor=approver, purchase=purchase, **terms)
    return purchases


def _principal(approver, request):
    """The person whose yes or no this is: the actor, or whom they stand in for."""
    principals = rules.approves_as(approver.user, request)
    if not principals:
        raise NotYours(NEITHER_OWN)
    return principals[0]


def _require(purchase, version):
    if purchase.state != State.PENDING or purchase.version != version:
        raise AlreadyMoved(workflow.what_happened(purchase))


def _given(purchase, request):
    """The yeses that this pending purchase has already, as it stands."""
    approvals = purchase.approvals.filter(superseded_at=None, version=purchase.version)
    return [
        approval
        for approval in approvals.select_related("approver", "on_behalf_of")
        if rules.still_counts(approval, request)
    ]


def yeses_needed(request):
    """1, or 2 from the team's limit on: the monthly sum of this request and of all its person asked for in 30 days.

    A cost that IdentityCall has not confirmed counts as above the limit.
    """
    limit = request.team.second_approver_from
    if limit is None:
        return 1
    asked = Purchase.objects.filter(
        request__team=request.team, request__requester=request.requester_id
    ).exclude(state__in=ENDED_WITHOUT)
    since = clock.now() - timedelta(days=LOOKED_BACK)
    asked = asked.filter(request__created_at__gte=since) | asked.filter(request=request)
    costs = list(asked.values_list("monthly_cost", "cost_confirmed_at", "request"))
    if any(number == request.pk and (cost is None or seen is None) for cost, seen, number in costs):
        return 2
    return 2 if sum((cost for cost, _, _ in costs if cost is not None), Decimal(0)) >= limit else 1


def waits_for_second(purchase, request):
    """Who said yes to a pending purchase that wants a second one, and who may: in words; '' when nobody has yet."""
    given = _given(purchase, request)
    if not given:
        return ""
    names = ", ".join(str(approval.approver) for approval in given)
    return f"{names} said yes; {_missing(request, given)} has to say it too."


def _missing(request, given):
    done = {pk for approval in given for pk in (approval.approver_id, approval.on_behalf_of_id)}
    names = [str(person) for person in selectors.approvers_of(request) if person.pk not in done]
    return " or ".join(names) or "a second approver, who has to be named first,"


def _check_budget(team, purchases):
    """Refuse what a hard budget does not hold, with the figures; whether a soft one is passed. The team is locked."""
    budget = budgets.of(team)
    if budget.amount is None:
        return False
    unsure = [purchase for purchase in purchases if purchase.cost_confirmed_at is None]
    asked = sum(
        (cost or Decimal(0) for p in purchases for cost in (p.upfront_cost, p.monthly_cost)), Decimal(0)
    )
    if not unsure and asked <= budget.left:
        return False
    if not budget.hard:
        return True
    if unsure:
        raise WorkflowError(
            f"{team} has a budget that may not be passed, and IdentityCall has not confirmed the cost of "
            f"{', '.join(words.phone(p.phone_number) for p in unsure[:5])}. Wait until the price is confirmed."
        )
    raise WorkflowError(
        f"This would pass the budget of {team}: {words.money(budget.amount)} a month, of which "
        f"{words.money(budget.committed)} are committed and {words.money(budget.left)} are left; "
        f"this needs {words.money(asked)}."
    )


def _write(purchase, approver, principal, now, unconfirmed_cost_ok, over):
    """Keep the approval as a row of its own; returns its terms for the record."""
    Approval.objects.create(
        purchase=purchase,
        version=purchase.version,
        approver=approver.user,
        on_behalf_of=None if principal == approver.user else principal,
        upfront_cost=purchase.upfront_cost,
        monthly_cost=purchase.monthly_cost,
        unconfirmed_cost_ok=unconfirmed_cost_ok,
        created_at=now,
    )
    terms = workflow.terms(purchase) | {"unconfirmed_cost_ok": unconfirmed_cost_ok}
    return terms | ({"over_budget": True} if over else {})


def _to_the_worker(purchase, approver, now, *, terms, expected=None, note=""):
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
    )
    wake.soon("buy", purchase.pk)


def approve_again(purchase, approver, *, reason, unconfirmed_cost_ok, before=Decimal(0)):
    """Approve a held purchase as it stands now; the caller has locked it and checked that it is held.

    All checks of an approval: who may, how many have to, and the budget for what it costs more than `before`, its
    reserved cost. The yeses from before it was held are void; where two are needed, the first leaves it held.
    """
    request = purchase.request
    principal = _principal(approver, request)
    if not request.team.is_active:
        raise NotYours(f"{request.team} is switched off; nothing is approved for it.")
    purchase.approvals.filter(superseded_at=None, created_at__lt=purchase.state_changed_at).update(
        superseded_at=clock.now()
    )
    given = _given(purchase, request)
    if any({approver.user.pk, principal.pk} & {a.approver_id, a.on_behalf_of_id} for a in given):
        raise AlreadyMoved(f"{purchase} has this yes already; {_missing(request, given)} has to say it too.")
    budget = budgets.of(request.team)
    cost = (purchase.upfront_cost or Decimal(0)) + (purchase.monthly_cost or Decimal(0))
    over = budget.amount is not None and cost > before and cost - before > budget.left
    if over and budget.hard:
        raise WorkflowError(
            f"This would pass the budget of {request.team}: {words.money(budget.left)} are left of "
            f"{words.money(budget.amount)}; this needs {words.money(cost - before)} more."
        )
    now = clock.now()
    if principal != approver.user:
        approver = approver.standing_in_for(principal)
    terms = _write(purchase, approver, principal, now, unconfirmed_cost_ok, over)
    if len(given) + 1 < yeses_needed(request):
        audit.record(
            "purchase.approved_first", actor=approver, purchase=purchase, note=reason.strip(), **terms
        )
    else:
        _to_the_worker(purchase, approver, now, terms=terms, note=reason.strip())


@transaction.atomic
def reject(request_id, purchase_ids, *, approver, version, reason):
    """Say no, with a reason that the requester reads. All or none."""
    if not reason.strip():
        raise WorkflowError("Say why you reject: the person who asked reads it.")
    request, purchases = workflow.chosen(request_id, purchase_ids)
    principal = _principal(approver, request)
    if principal != approver.user:
        approver = approver.standing_in_for(principal)
    for purchase in purchases:
        _require(purchase, version)
        workflow.move(
            purchase, State.REJECTED, actor=approver, note=reason.strip(), expected={"version": version}
        )
    return purchases
