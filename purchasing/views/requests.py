"""The list of requests, and the page of each with its progress."""

import uuid
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from purchasing import permissions, selectors, words, workflow
from purchasing.approving import decision_card
from purchasing.asking import drafts, versions
from purchasing.buying import evidence
from purchasing.models import Purchase
from purchasing.states import State
from purchasing.views.approvals import decision_cards, warn_of_lost_decision
from purchasing.views.forms.asking import CancelForm
from purchasing.views.home import poll_seconds
from purchasing.views.post_redirect_get import redraw, submit

PAGE = 50


@dataclass(frozen=True)
class Row:
    """One number of a request, as its page lists it."""

    purchase: Purchase
    evidence: evidence.Evidence | None  # of a purchase in doubt
    note: str  # of the event that brought it into its state
    approvals: str  # of a pending one: who approved it and who has to approve it too


@require_safe
def listing(request):
    """All requests that the person may see, newest first."""
    pages = Paginator(selectors.requests_seen_by(request.user).order_by("-pk"), PAGE)
    page = pages.get_page(request.GET.get("page"))
    context = {
        "page": page,
        "requests": selectors.summaries(page.object_list),
        "may_ask": permissions.teams_asked_for_by(request.user).exists(),
        "drafts": request.user.drafts.select_related("team"),
    }
    return render(request, "purchasing/requests.html", context)


@require_safe
def detail(request, pk):
    """One request: its numbers, its history, and what this person may do."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    context = _live_context(request, asked)
    if context["may_approve"]:
        [context["card"]] = decision_cards(request, [asked])
        context["drawn"] = context["card"].facts.check.mark
    warn_of_lost_decision(request)
    context["versions"] = versions.earlier(asked)
    context["cancel_form"] = redraw(
        request, f"cancel-{pk}", CancelForm, auto_id="cancel_%s", reason_required=not context["is_own"]
    )
    return render(request, "purchasing/request.html", context)


@require_safe
def live(request, pk):
    """The live part of a request's page; 204 while nothing has changed since the page was drawn."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    context = _live_context(request, asked)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    # The decision card is redrawn only on request, so it is as old as the page.
    drawn = request.GET.get("drawn", "")[:100]
    context |= {"polled": True, "drawn": drawn}
    if context["check"] and drawn:
        context["news"] = context["check"].changes(drawn)
    return render(request, "purchasing/partials/request_live.html", context)


def _live_context(request, asked):
    # The events first: a move in between then has no event in `seen`, so the next poll draws it.
    events = list(asked.events.select_related("team").order_by("-seq")[:300])
    purchases = list(asked.purchases.select_related("request__team").order_by("pk"))
    notes = {event.purchase_id: event.note for event in reversed(events) if event.became}
    states = {purchase.state for purchase in purchases}
    seconds = poll_seconds(states)
    if any(purchase.state == State.PURCHASED and purchase.applied_at is None for purchase in purchases):
        seconds = seconds or 5
    pending = [purchase for purchase in purchases if purchase.state == State.PENDING]
    sentences, approvers = decision_card.describe_approvals(asked, pending) if pending else ({}, [])
    rows = [_row(one, notes.get(one.pk, ""), sentences.get(one.pk, "")) for one in purchases]
    check = decision_card.checks([asked])[asked.pk] if pending else None
    marks = [events[0].seq if events else 0, check]
    marks += [f"{p.waiting_for}{p.checks}{p.applied_words}{p.cost_confirmed_at}" for p in purchases]
    own = request.user.pk == asked.requester_id
    may_approve = bool(pending) and permissions.may_approve(request.user, asked)
    return {
        "asked": asked,
        "pending": bool(pending),
        "check": check,
        "may_ask_again": permissions.may_ask(request.user, asked.team) and drafts.may_ask_again(asked),
        "is_own": own,
        "may_edit": bool(pending) and own and permissions.may_ask(request.user, asked.team),
        "may_approve": may_approve,
        "approvers": approvers,
        "cancellable": _cancellable(request.user, asked, purchases),
        "listed": [row for row in rows if row.purchase.state != State.PENDING] if may_approve else rows,
        "events": events,
        "figures": selectors.figures(purchases),
        "states": selectors.state_counts(purchases),
        "poll_seconds": seconds,
        "seen": uuid.uuid5(uuid.NAMESPACE_URL, repr(marks)).hex,
        "may_decide": permissions.may_decide_doubt(request.user, asked),
        "may_manage": not own and permissions.may_manage(request.user, asked.team),
    }


def _row(purchase, note, approvals):
    in_doubt = purchase.state in (State.UNCONFIRMED, State.HELD, State.GIVEN_UP)
    return Row(purchase, evidence.about(purchase) if in_doubt else None, note, approvals)


def _cancellable(user, asked, purchases):
    """What `user` can cancel here: in their own request all that is not being bought yet, else what is approved.

    Other people's pending numbers are rejected instead.
    """
    if not permissions.may_cancel(user, asked):
        return []
    states = (State.PENDING, State.APPROVED) if user.pk == asked.requester_id else (State.APPROVED,)
    return [
        purchase for purchase in purchases if purchase.state in states and purchase.cancel_asked_at is None
    ]


@require_POST
def cancel(request, pk):
    """Cancel what is not being bought yet."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    if not permissions.may_cancel(request.user, asked):
        raise PermissionDenied("Only the requester, an approver or the team admin can cancel this.")
    ids = [purchase.pk for purchase in _cancellable(request.user, asked, asked.purchases.order_by("pk"))]
    own = request.user.pk == asked.requester_id
    form = CancelForm(request.POST, reason_required=not own)
    if not ids and own:
        messages.warning(
            request, "There is nothing left to cancel. The status of each number is shown below."
        )
    elif not ids:
        messages.warning(
            request,
            "No approved number can be cancelled any more. Reject numbers that are waiting for approval instead.",
        )
    else:
        submit(
            request,
            f"cancel-{pk}",
            form,
            lambda: workflow.cancel(pk, ids, actor=request.actor, reason=form.cleaned_data["reason"]),
            done=_cancelled,
        )
    return redirect("purchasing:request", pk=pk)


def _cancelled(purchases):
    held = sum(purchase.state == State.HELD for purchase in purchases)
    reading = sum(purchase.cancel_asked_at is not None for purchase in purchases)
    cancelled = len(purchases) - held - reading
    sentence = f"{words.numbers(cancelled).capitalize()} cancelled." if cancelled else ""
    if reading:
        sentence += f" {words.numbers(reading).capitalize()} will be cancelled as soon as IdentityCall's list was read."
    if held:
        count = words.numbers(held).capitalize()
        sentence += f" {count} may have been bought by an earlier order and needs a decision."
    return sentence.strip()
