"""Approving and rejecting: who may, how many approvals are needed, and whether the budget allows it.

An approval is bound to the version and the costs of the page it was given on. Two approvals count together only where
they are for the same version at the same costs, and accept an unconfirmed cost both or neither. The ticked numbers are
approved all or none.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import F, Q

from purchasing import audit, clock, jobs, permissions, words, workflow
from purchasing.asking import submission
from purchasing.models import Approval
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.states import State
from purchasing.teams import budgets

# Not superseded when the purchase came into its present state: they count, or have to be given again.
SINCE_MOVED = Q(superseded_at=None) | Q(superseded_at__gt=F("purchase__state_changed_at"))
NOT_AN_APPROVER = "A colleague who may approve for this team has to decide; nobody decides their own request."


@dataclass(frozen=True)
class Costs:
    """What an approval agrees to pay, in CURRENCY, None where unknown. IdentityCall showed them at `confirmed_at`."""

    upfront: Decimal | None
    monthly: Decimal | None
    confirmed_at: datetime | None

    @classmethod
    def of(cls, purchase):
        """The current costs of a purchase."""
        return cls(purchase.upfront_cost, purchase.monthly_cost, purchase.confirmed_at)

    @property
    def sum(self):
        """The upfront cost and one month, as far as they are known."""
        return (self.upfront or Decimal(0)) + (self.monthly or Decimal(0))

    @property
    def is_sure(self):
        """Whether both are known and confirmed by IdentityCall."""
        return None not in (self.upfront, self.monthly, self.confirmed_at)


@transaction.atomic
def approve(request_id, purchase_ids, *, approver, version, unconfirmed_cost_ok=False):
    """Approve exactly what the approver saw, all or none: `version` is the one that the page was drawn from.

    Where a second approval is needed, the first one is kept and the purchases stay pending. Raises `NotYours` (nobody
    approves their own request), `AlreadyMoved` when any purchase was decided or changed in the meantime, and `Problem`
    with the figures when a hard budget does not allow it.
    """
    request, purchases = workflow.chosen(request_id, purchase_ids)
    deciding_as = _deciding_as(approver, request)
    for purchase in purchases:
        if purchase.state != State.PENDING or purchase.version != version:
            raise AlreadyMoved(workflow.what_happened(purchase))
    submission.refuse_papers(request.team, purchases)
    over = _check_budget(request.team, [(purchase, Costs.of(purchase), Decimal(0)) for purchase in purchases])
    needed = permissions.approvals_needed(request)
    for purchase in purchases:
        _add_approval(
            purchase,
            request,
            approver,
            deciding_as,
            needed=needed,
            costs=Costs.of(purchase),
            unconfirmed_cost_ok=unconfirmed_cost_ok,
            over=over,
            expected={"version": version},
        )
    return purchases


@transaction.atomic
def approve_again(purchase, approver, *, reason, unconfirmed_cost_ok, costs=None):
    """Approve a held purchase at `costs`, by default its own; the caller has locked it and checked that it is held.

    The same checks as for any approval; the budget has to allow what it costs beyond what is reserved for it. Approvals
    from before it was held do not count. Where two are needed, the first leaves the purchase held and unchanged.
    """
    request = purchase.request
    deciding_as = _deciding_as(approver, request)
    submission.refuse_papers(request.team, [purchase])
    costs = costs or Costs.of(purchase)
    over = _check_budget(request.team, [(purchase, costs, Costs.of(purchase).sum)])
    instead = {purchase.pk: costs.monthly} if costs.is_sure else None
    _add_approval(
        purchase,
        request,
        approver,
        deciding_as,
        needed=permissions.approvals_needed(request, instead=instead),
        costs=costs,
        unconfirmed_cost_ok=unconfirmed_cost_ok,
        over=over,
        note=reason.strip(),
    )


def _deciding_as(approver, request):
    """As which `Decider`s the actor may approve. Raises `NotYours` where they may not."""
    deciding_as = permissions.deciding_as(approver.user, request)
    if not deciding_as:
        raise NotYours(NOT_AN_APPROVER)
    if not request.team.is_active:
        raise NotYours(f"{request.team} is switched off; nothing is approved for it.")
    return deciding_as


def _add_approval(
    purchase,
    request,
    approver,
    deciding_as,
    *,
    needed,
    costs,
    unconfirmed_cost_ok,
    over,
    expected=None,
    note="",
):
    """Record one approval of one purchase. The last one that is needed approves the purchase and queues it."""
    at = {
        "costs": (costs.upfront, costs.monthly),
        "unconfirmed_cost_ok": None if costs.is_sure else unconfirmed_cost_ok,
    }
    given = permissions.counting_approvals(purchase, request, **at)
    approved_by = people_of(given)
    decider = next((decider for decider in deciding_as if not decider.ids & approved_by), None)
    terms = workflow.terms(purchase) | {"unconfirmed_cost_ok": unconfirmed_cost_ok} | _in_data(costs)
    if over:
        terms["over_budget"] = True
    now = clock.now()
    if decider is None and len(given) < needed:
        raise AlreadyMoved(
            f"{purchase} has this approval already; {_missing(request, given)} has to approve it too."
        )
    if decider is not None:
        if decider.principal != approver.user:
            approver = approver.standing_in_for(decider.principal)
        standing = purchase.approvals.filter(superseded_at=None)
        other = [one.pk for one in standing if not permissions.is_at(one, purchase.version, **at)]
        standing.filter(pk__in=other).update(superseded_at=now)
        Approval.objects.create(
            purchase=purchase,
            version=purchase.version,
            approver=approver.user,
            on_behalf_of=None if decider.principal == approver.user else decider.principal,
            upfront_cost=costs.upfront,
            monthly_cost=costs.monthly,
            unconfirmed_cost_ok=unconfirmed_cost_ok,
            created_at=now,
        )
        if len(given) + 1 < needed:
            audit.record("purchase.approved_first", actor=approver, purchase=purchase, note=note, **terms)
            return
    # Approvals that no longer count (the giver has left, for instance) are superseded, or the claim would hold the
    # purchase because of them.
    counting = [approval.pk for approval in permissions.counting_approvals(purchase, request, **at)]
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


def people_of(given):
    """The ids of everybody who gave one of these approvals, and of those it was given for."""
    return {pk for approval in given for pk in (approval.approver_id, approval.on_behalf_of_id) if pk}


@dataclass(frozen=True)
class Standing:
    """How the approvals of a pending or held purchase stand: those that count, and why others have to be given again.

    `outdated` are sentences, one for each person whose approval is for other terms or costs.
    """

    counting: list[Approval]
    outdated: tuple[str, ...]


def standing_of(purchase, rows, costs=None):
    """The `Standing` of a purchase at `costs`, by default its own.

    `rows` are its approvals `SINCE_MOVED`, oldest first, of people whose approval still counts.
    """
    costs = costs or Costs.of(purchase)
    now = (costs.upfront, costs.monthly)
    counting = [
        one for one in rows if one.superseded_at is None and permissions.is_at(one, purchase.version, now)
    ]
    done, latest = people_of(counting), {}
    for one in rows:
        if not people_of([one]) & done:
            latest[one.approver_id, one.on_behalf_of_id] = one
    whys = ((one, _why_outdated(one, purchase, now, counting)) for one in latest.values())
    return Standing(
        counting,
        tuple(f"{_by(one)} has to approve it again: the earlier approval {why}." for one, why in whys if why),
    )


def _by(approval):
    return (
        f"{approval.approver} (for {approval.on_behalf_of})"
        if approval.on_behalf_of
        else str(approval.approver)
    )


def _why_outdated(approval, purchase, costs, counting):
    """Why an approval is not for what those that count are for; '' where it is."""
    if (approval.upfront_cost, approval.monthly_cost) != costs:
        return (
            f"was for {words.money(approval.upfront_cost)} once and {words.money(approval.monthly_cost)} a month, "
            "and the price has changed since"
        )
    if approval.version != purchase.version:
        return "was for an older version of the request"
    if any(one.unconfirmed_cost_ok != approval.unconfirmed_cost_ok for one in counting):
        accepted = "accepted" if approval.unconfirmed_cost_ok else "did not accept"
        return f"{accepted} a price that nobody has confirmed, unlike the newer one"
    return ""


def waits_for_another_approver(purchase, request, costs=None):
    """A sentence on who approved a purchase that needs two approvals, who has to approve it too, and who again and why.

    `costs` are those that another approval would be for, by default the purchase's own. '' while nobody has approved
    it. Where the approvals given are enough by now, it says that one more click is needed.
    """
    rows = purchase.approvals.filter(SINCE_MOVED).select_related("approver", "on_behalf_of").order_by("pk")
    rows = [approval for approval in rows if permissions.still_counts(approval, request)]
    return sentence(request, standing_of(purchase, rows, costs))


def sentence(request, standing):
    """The sentence of `waits_for_another_approver` for a purchase of this request whose approvals stand so."""
    again = " ".join(standing.outdated)
    given = standing.counting
    if not given:
        return again
    names = ", ".join(_by(approval) for approval in given)
    if len(given) >= permissions.approvals_needed(request):
        first = f"{names} approved it, which is enough by now. An approver has to approve it once more."
    else:
        first = f"{names} approved it; {_missing(request, given)} has to approve it too."
    return f"{first} {again}".rstrip()


def _missing(request, given):
    """Who may give the approval that is missing: 'ana or eve'."""
    approved_by = people_of(given)
    names = dict.fromkeys(
        str(decider) for decider in permissions.deciders(request) if not decider.ids & approved_by
    )
    return " or ".join(names) or "a second approver, who has to be named first,"


def _check_budget(team, asked):
    """Whether this goes beyond the team's budget. Raises `Problem`, with the figures, where the budget is hard.

    `asked` are triples: the purchase, the costs to approve, and how much of them is reserved already. The caller has
    locked the team.
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
            f"Nothing may go beyond the budget of {team}, and IdentityCall has not confirmed the cost of "
            f"{', '.join(words.phone(p.phone_number) for p in unsure[:5])}. Wait until the price is confirmed."
        )
    raise Problem(
        f"This is {words.money(more - budget.left)} more than the budget of {team} allows: "
        f"{words.money(budget.amount)} a month, of which {words.money(budget.committed)} are committed and "
        f"{words.left(budget.left)}; this needs {words.money(more)}."
    )


@transaction.atomic
def reject(request_id, purchase_ids, *, approver, version, reason):
    """Reject purchases, all or none, with a reason that the requester reads."""
    if not reason.strip():
        raise Problem("Say why you reject: the person who asked reads it.")
    request, purchases = workflow.chosen(request_id, purchase_ids)
    deciding_as = permissions.deciding_as(approver.user, request)
    if not deciding_as:
        raise NotYours(NOT_AN_APPROVER)
    if deciding_as[0].principal != approver.user:
        approver = approver.standing_in_for(deciding_as[0].principal)
    for purchase in purchases:
        if purchase.state != State.PENDING or purchase.version != version:
            raise AlreadyMoved(workflow.what_happened(purchase))
        workflow.move(
            purchase, State.REJECTED, actor=approver, note=reason.strip(), expected={"version": version}
        )
    return purchases
