"""Sending a request: what was picked and typed becomes purchases waiting for approval."""

import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.db import IntegrityError, transaction

from purchasing import audit, clock, jobs, permissions, workflow
from purchasing.models import Purchase, PurchaseRequest
from purchasing.problems import AlreadyAsked, NotYours, Problem
from purchasing.states import OPEN, State
from purchasing.teams import papers

MOST_NUMBERS = 100


@dataclass(frozen=True)
class RequestedNumber:
    """One number of a new request. Costs are in CURRENCY, None where unknown."""

    phone_number: str
    country_code: str = ""
    number_type: str = ""
    name: str = ""
    requirement_group_id: int | None = None
    upfront_cost: Decimal | None = None
    monthly_cost: Decimal | None = None
    features: str = ""
    region: str = ""
    warning: str = ""
    record_calls: bool = True


def submit(*, team, requester, reason, lines, purpose="", form_token=None):
    """Send a request for `lines` to the approvers of `team`; the same form sent twice gives the same request.

    `requester` is an `audit.Actor` with a user. Raises `NotYours`, `AlreadyAsked` or `Problem`.
    """
    reason, purpose, form_token = reason.strip(), purpose.strip(), form_token or uuid.uuid4()
    if not permissions.may_ask(requester.user, team):
        raise NotYours(
            f"Only requesters of {team} can request numbers for it. Its team admin can make you one."
        )
    sent = PurchaseRequest.objects.filter(requester=requester.user, form_token=form_token).first()
    if sent:
        return sent
    if not 1 <= len(lines) <= MOST_NUMBERS:
        raise Problem(f"A request holds 1 to {MOST_NUMBERS} numbers; this one has {len(lines)}.")
    if not reason:
        raise Problem("Say why these numbers are needed: the approver decides by it.")
    refuse_papers(team, lines)
    lines = sorted(lines, key=lambda line: line.phone_number)
    numbers = [line.phone_number for line in lines]
    try:
        return _submit(team, requester, reason, purpose, lines, form_token)
    except IntegrityError:
        sent = PurchaseRequest.objects.filter(requester=requester.user, form_token=form_token).first()
        if sent:
            return sent  # the same form, sent twice at once
        twice = {number for number in numbers if numbers.count(number) > 1}
        raise AlreadyAsked(twice or taken(numbers) or numbers) from None


def refuse_papers(team, numbers):
    """Raise `Problem` for the first of these numbers whose requirement group is unknown, expired or for others."""
    register = papers.Register(team)
    for number in numbers:
        refusal = register.refusal(number.country_code, number.number_type, number.requirement_group_id)
        if refusal:
            raise Problem(f"{number.phone_number}: {refusal}")


def taken(phone_numbers):
    """Which of these numbers are requested or owned already, so that nobody can request them again."""
    records = Purchase.objects.filter(phone_number__in=phone_numbers)
    return set(
        (
            records.filter(state__in=sorted(OPEN))
            | records.filter(state=State.PURCHASED, released_at__isnull=True)
        ).values_list("phone_number", flat=True)
    )


@transaction.atomic
def _submit(team, requester, reason, purpose, lines, form_token):
    now = clock.now()
    expires_at = now + timedelta(days=settings.REQUEST_EXPIRY_DAYS)
    request = PurchaseRequest.objects.create(
        team=team,
        requester=requester.user,
        reason=audit.clean(reason),
        purpose=audit.clean(purpose)[:200],
        form_token=form_token,
        created_at=now,
    )
    purchases = Purchase.objects.bulk_create(
        Purchase(
            request=request,
            phone_number=line.phone_number,
            country_code=line.country_code,
            number_type=line.number_type,
            name=audit.clean(line.name),
            requirement_group_id=line.requirement_group_id,
            upfront_cost=line.upfront_cost,
            monthly_cost=line.monthly_cost,
            features=audit.clean(line.features),
            region=audit.clean(line.region),
            warning=audit.clean(line.warning),
            record_calls=line.record_calls,
            state_changed_at=now,
            expires_at=expires_at,
            due_at=expires_at,
        )
        for line in lines
    )
    audit.record("request.submitted", actor=requester, request=request, note=reason, numbers=len(lines))
    for purchase in purchases:
        audit.record(
            "purchase.pending",
            actor=requester,
            purchase=purchase,
            became=State.PENDING,
            **workflow.terms(purchase),
        )
    jobs.enqueue("confirm_costs", request.pk)
    return request
