"""New versions of a request before it is decided: by an edit of its requester, or by a price that IdentityCall shows.

A click on a page of an older version is refused. Older versions stay readable.
"""

from dataclasses import dataclass
from functools import cached_property

from django.db import transaction

from purchasing import audit, clock, jobs, permissions, words, workflow
from purchasing.asking import submission
from purchasing.models import Approval, Purchase, PurchaseRequest, RequestVersion
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.states import NumberType, State
from purchasing.teams import papers

LABELS = {
    "name": "name",
    "number_type": "type",
    "requirement_group_id": "papers",
    "record_calls": "recording",
    "upfront_cost": "cost once",
    "monthly_cost": "cost a month",
}


@transaction.atomic
def note_offers(request_id, offers, *, seen_at, actor):
    """Record what IdentityCall just showed for the pending numbers of a request.

    `offers` maps purchase ids to the offer that was seen for each. Costs that are the same become confirmed. Other
    costs, or a type that was not known, make a new version: clicks on a page of the old one are refused.
    """
    request, purchases = workflow.locked(request_id)
    pending = [purchase for purchase in purchases if purchase.state == State.PENDING]
    changed, before = [], [workflow.terms(purchase) for purchase in pending]
    for purchase in pending:
        offer = offers.get(purchase.pk)
        if offer is None or offer.upfront_cost is None or offer.monthly_cost is None:
            continue
        was = (purchase.upfront_cost, purchase.monthly_cost, purchase.number_type)
        shown = (offer.upfront_cost, offer.monthly_cost, purchase.number_type or offer.number_type)
        if was != shown:
            changed.append((purchase, *was))
        purchase.upfront_cost, purchase.monthly_cost, purchase.number_type = shown
        Purchase.objects.filter(pk=purchase.pk).update(
            upfront_cost=offer.upfront_cost,
            monthly_cost=offer.monthly_cost,
            cost_confirmed_at=seen_at,
            number_type=purchase.number_type,
            features=purchase.features or audit.clean(", ".join(offer.features))[:200],
            region=purchase.region or audit.clean(", ".join(offer.regions))[:200],
        )
    if not changed:
        return
    version = _new_version(request, pending, before, actor)
    for purchase, upfront, monthly, number_type in changed:
        audit.record(
            "purchase.price_changed",
            actor=actor,
            purchase=purchase,
            note=_what_changed(purchase, upfront, monthly, number_type),
            upfront_cost=[workflow.text_of(upfront), workflow.text_of(purchase.upfront_cost)],
            monthly_cost=[workflow.text_of(monthly), workflow.text_of(purchase.monthly_cost)],
            number_type=[number_type, purchase.number_type],
            version=version,
        )


def _what_changed(purchase, upfront, monthly, number_type):
    sentences = []
    if (upfront, monthly) != (purchase.upfront_cost, purchase.monthly_cost):
        sentences = [
            f"Once: {words.money(upfront)} before, {words.money(purchase.upfront_cost)} now.",
            f"A month: {words.money(monthly)} before, {words.money(purchase.monthly_cost)} now.",
        ]
    if number_type != purchase.number_type:
        sentences.append(f"IdentityCall lists it as {NumberType(purchase.number_type).label.lower()}.")
    return " ".join(sentences)


def _new_version(request, pending, before, actor):
    """Give a request and its pending purchases a new version. Keeps the old one and voids its approvals."""
    RequestVersion.objects.create(
        request=request,
        version=request.version,
        reason=request.reason,
        purpose=request.purpose,
        lines=before,
        replaced_by=actor.user,
        replaced_at=clock.now(),
    )
    version, ids = request.version + 1, [purchase.pk for purchase in pending]
    PurchaseRequest.objects.filter(pk=request.pk).update(version=version)
    Purchase.objects.filter(pk__in=ids).update(version=version)
    Approval.objects.filter(purchase__in=ids, superseded_at=None).update(superseded_at=clock.now())
    return version


@dataclass(frozen=True)
class Change:
    """The new values of one pending purchase in an edit."""

    name: str
    number_type: str
    requirement_group_id: int | None
    record_calls: bool


@transaction.atomic
def edit(request_id, *, actor, version, reason, changes, purpose=None, taken_out=()):
    """Change an undecided request, which makes a new version: clicks on a page of the old one are refused.

    `changes` maps ids of pending purchases to a `Change`; those in `taken_out` are cancelled. Phone numbers cannot be
    changed: take them out and request others. Only the requester may edit a request.
    """
    request, purchases = workflow.locked(request_id)
    if actor.user.pk != request.requester_id or not permissions.may_ask(actor.user, request.team):
        raise NotYours("Only the person who asked can change a request.")
    if request.version != version:
        raise AlreadyMoved("The request has changed since you opened this page. Look at it again.")
    reason = audit.clean(reason).strip()
    if not reason:
        raise Problem("Say why these numbers are needed: the approver decides by it.")
    pending = [purchase for purchase in purchases if purchase.state == State.PENDING]
    for purchase in purchases:
        if purchase.pk in {*changes, *taken_out} and purchase not in pending:
            raise AlreadyMoved(workflow.what_happened(purchase))
    staying = [purchase for purchase in pending if purchase.pk not in taken_out]
    before = [workflow.terms(purchase) for purchase in pending]
    edited = [purchase for purchase in staying if _apply(purchase, changes.get(purchase.pk))]
    purpose = request.purpose if purpose is None else audit.clean(purpose).strip()
    if not edited and not taken_out and (reason, purpose) == (request.reason, request.purpose):
        raise Problem("Nothing was changed.")
    submission.refuse_papers(request.team, staying)
    new_version = _new_version(request, pending, before, actor)
    PurchaseRequest.objects.filter(pk=request.pk).update(
        reason=reason, purpose=purpose, reminded_at=None, admins_reminded_at=None
    )
    request.refresh_from_db()
    audit.record(
        "request.edited",
        actor=actor,
        request=request,
        note=reason,
        purpose=purpose,
        version=new_version,
        before=before,
        after=[workflow.terms(purchase) | {"version": new_version} for purchase in staying],
    )
    for purchase in pending:
        if purchase.pk in taken_out:
            workflow.move(purchase, State.CANCELLED, actor=actor, note="Taken out of the request.")
    jobs.enqueue("confirm_costs", request.pk)
    return request


def _apply(purchase, change):
    """Store a change of a purchase. Returns whether anything differed."""
    if change is None:
        return False
    fields = {
        "name": audit.clean(change.name).strip(),
        "number_type": change.number_type,
        "requirement_group_id": change.requirement_group_id,
        "record_calls": change.record_calls,
    }
    if all(getattr(purchase, field) == value for field, value in fields.items()):
        return False
    if fields["number_type"] != purchase.number_type:
        fields["cost_confirmed_at"] = None  # the list of that type has not been searched yet
    Purchase.objects.filter(pk=purchase.pk).update(**fields)
    for field, value in fields.items():
        setattr(purchase, field, value)
    return True


# --- Older versions -----------------------------------------------------------------------------------------------


def before(asked, version):
    """The row of an older `version` of a request; None for the current version, which has no row."""
    return RequestVersion.objects.filter(request=asked, version=version).first()


def earlier(asked):
    """The older versions of a request, oldest first, each line with the name of its `papers`."""
    register, versions = papers.Register(asked.team), asked.versions.select_related("replaced_by")
    for old in versions:
        for line in old.lines:
            line["papers"] = register.name_of(line.get("requirement_group_id"))
    return versions


def changes_since(asked, version):
    """What changed in a request since `version`: a sentence for each change."""
    old = RequestVersion.objects.filter(request=asked, version__gte=version).order_by("version").first()
    if old is None:
        return []
    sentences = []
    if old.reason != asked.reason:
        sentences.append(f"The reason was: {old.reason}")
    if old.purpose != asked.purpose:
        sentences.append(f"The purpose was: {old.purpose}" if old.purpose else "A purpose was added.")
    shown = _Shown(asked.team)
    now = {purchase.phone_number: purchase for purchase in asked.purchases.all()}
    for line in old.lines:
        purchase = now.get(line["phone_number"])
        if purchase is not None:
            sentences += _differences(line, purchase, shown)
    return sentences


def _differences(line, purchase, shown):
    number = words.phone(purchase.phone_number)
    if purchase.state != State.PENDING:
        return [f"{number} is now: {State(purchase.state).label}."]
    return [
        f"{number}: {label} was {before}, is {now}."
        for field, label in LABELS.items()
        if (before := shown(field, line.get(field))) != (now := shown(field, getattr(purchase, field)))
    ]


class _Shown:
    """Formats the fields of a number. Reads the team's register of papers only when a group has to be named."""

    def __init__(self, team):
        self.team = team

    @cached_property
    def register(self):
        return papers.Register(self.team)

    def __call__(self, field, value):
        if field in ("upfront_cost", "monthly_cost"):
            return words.money(value)
        if field == "record_calls":
            return "recorded" if value else "not recorded"
        if field == "requirement_group_id" and value:
            return self.register.name_of(value)
        return str(value) if value not in (None, "") else "none"
