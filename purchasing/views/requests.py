"""Asking for numbers, and watching what becomes of a request."""

import uuid

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.forms import formset_factory
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from purchasing import briefing, candidates, evidence, rules, selectors, words, workflow
from purchasing.forms import CancelForm, LineForm, RequestForm
from purchasing.models import Paste
from purchasing.states import State
from purchasing.views.approvals import prepare, say_the_rest
from purchasing.views.doing import rebound, submitted
from purchasing.views.home import poll_seconds
from purchasing.views.paste import too_few_or_many

PAGE = 50
Lines = formset_factory(LineForm, extra=0, max_num=workflow.MOST_NUMBERS, absolute_max=workflow.MOST_NUMBERS)


@require_safe
def listing(request):
    """All requests that the person may see, newest first."""
    pages = Paginator(selectors.requests_seen_by(request.user).order_by("-pk"), PAGE)
    page = pages.get_page(request.GET.get("page"))
    context = {
        "page": page,
        "requests": selectors.with_summaries(page.object_list),
        "may_ask": rules.teams_asked_for_by(request.user).exists(),
    }
    return render(request, "purchasing/requests.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def new(request):
    """The form for the picked numbers of a paste. Numbers and costs come from the paste, never from the form."""
    teams = rules.teams_asked_for_by(request.user)
    if not teams.exists():
        raise PermissionDenied("Only requesters ask for numbers. Your team admin can make you one.")
    source = request.POST.get("paste") or request.GET.get("paste")
    if not source:
        return redirect("purchasing:paste")
    kept = get_object_or_404(Paste, pk=_uuid(source), user=request.user)
    read = candidates.read(kept.text, default_country=kept.country_code)
    picked = [candidate for candidate in read.candidates if candidate.phone_number in set(kept.picked)]
    if not 1 <= len(picked) <= workflow.MOST_NUMBERS:
        messages.warning(request, too_few_or_many(len(picked)))
        return redirect("purchasing:paste-verdicts", pk=kept.pk)
    if request.method == "POST":
        form, lines = RequestForm(request.POST, teams=teams), Lines(request.POST, prefix="n")
        if not _shows(lines, picked):  # the ticks changed in another tab, or the form was tampered with
            messages.warning(
                request, "The ticked numbers have changed since this form was opened. Here they are now."
            )
            lines = _lines(picked, kept=lines)
        elif form.is_valid() and lines.is_valid() and _send(request, form, lines, picked):
            return redirect("purchasing:request", pk=request.sent.pk)
    else:
        form = RequestForm(teams=teams, initial={"form_token": uuid.uuid4()})
        lines = _lines(picked)
    context = {
        "form": form,
        "lines": lines,
        "rows": list(zip(lines.forms, picked, strict=True)),
        "paste": kept,
        "figures": selectors.figures(picked),
    }
    return render(request, "purchasing/request_new.html", context)


def _uuid(text):
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _shows(lines, picked):
    """Whether the form that was sent showed exactly these numbers, in this order."""
    shown = [line["phone_number"].value() for line in lines.forms]
    return shown == [candidate.phone_number for candidate in picked]


def _lines(picked, kept=None):
    """A form a number, with what was typed for the same number into the form `kept`."""
    typed = {line["phone_number"].value(): line for line in kept.forms} if kept else {}
    initial = []
    for candidate in picked:
        line = typed.get(candidate.phone_number)
        initial.append({name: line[name].value() for name in line.fields} if line else _initial(candidate))
    return Lines(prefix="n", initial=initial)


def _initial(candidate):
    return {
        "phone_number": candidate.phone_number,
        "name": candidate.name,
        "number_type": candidate.number_type,
        "requirement_group_id": candidate.requirement_group_id,
    }


def _send(request, form, lines, picked):
    try:
        request.sent = workflow.submit(
            team=form.cleaned_data["team"],
            requester=request.actor,
            reason=form.cleaned_data["reason"],
            lines=[
                _line(candidate, line.cleaned_data)
                for candidate, line in zip(picked, lines.forms, strict=True)
            ],
            form_token=form.cleaned_data["form_token"],
        )
    except workflow.NotYours as problem:
        raise PermissionDenied(str(problem)) from None
    except workflow.WorkflowError as problem:
        form.add_error(None, str(problem))
        return False
    numbers = set(request.sent.purchases.values_list("phone_number", flat=True))
    if numbers == {candidate.phone_number for candidate in picked}:
        messages.success(request, "Sent. Nothing is bought before somebody else approves it.")
    else:
        messages.warning(
            request,
            "That form was sent before, and this is the request that it made. Nothing was added to it: "
            "to ask for other numbers, paste them anew.",
        )
    return True


def _line(candidate, chosen):
    return workflow.Line(
        phone_number=candidate.phone_number,
        country_code=candidate.country_code,
        number_type=chosen["number_type"],
        name=chosen["name"],
        requirement_group_id=chosen["requirement_group_id"],
        upfront_cost=candidate.upfront_cost,
        monthly_cost=candidate.monthly_cost,
        features=", ".join(candidate.features)[:200],
        region=candidate.region[:200],
        warning=" ".join(w for w in candidate.warnings if w not in candidates.FOR_WHO_ASKS)[:500],
        record_calls=chosen["record_calls"] == "yes",
    )


@require_safe
def detail(request, pk):
    """One request: its numbers, what happened, and what this person may do about it."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    context = _live_context(request, asked)
    if context["may_approve"]:
        prepare(request, [asked])
        context["drawn"] = asked.briefing.check.mark
    say_the_rest(request)
    context["versions"] = asked.versions.select_related("replaced_by")
    context["cancel_form"] = rebound(
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
    # What stands in the card above, which is drawn anew only when the person asks, is as old as the page.
    drawn = request.GET.get("drawn", "")[:100]
    context |= {"polled": True, "drawn": drawn}
    if context["check"] and drawn:
        context["news"] = context["check"].changes(drawn)
    return render(request, "purchasing/partials/request_live.html", context)


def _live_context(request, asked):
    purchases = list(asked.purchases.select_related("request__team").order_by("pk"))
    for purchase in purchases:
        if purchase.state in (State.UNCONFIRMED, State.HELD, State.GIVEN_UP):
            purchase.findings = evidence.findings(purchase)
    events = list(asked.events.select_related("team").order_by("-seq")[:300])
    notes = {event.purchase_id: event.note for event in reversed(events) if event.became}
    for purchase in purchases:
        purchase.last_words = notes.get(purchase.pk, "")
    states = {purchase.state for purchase in purchases}
    seconds = poll_seconds(states)
    if any(purchase.state == State.PURCHASED and purchase.applied_at is None for purchase in purchases):
        seconds = seconds or 5
    pending = [purchase for purchase in purchases if purchase.state == State.PENDING]
    check = briefing.checks([asked])[asked.pk] if pending else None
    marks = [events[0].seq if events else 0, check]
    marks += [f"{p.waiting_for}{p.checks}{p.applied_words}{p.cost_confirmed_at}" for p in purchases]
    own = request.user.pk == asked.requester_id
    may_approve = bool(pending) and rules.may_approve(request.user, asked)
    return {
        "asked": asked,
        "pending": bool(pending),
        "check": check,
        "is_own": own,
        "may_edit": bool(pending) and own and rules.may_ask(request.user, asked.team),
        "may_approve": may_approve,
        "approvers": briefing.tell_yeses(asked, pending) if pending else [],
        "cancellable": _cancellable(request.user, asked, purchases),
        "purchases": purchases,
        "listed": [p for p in purchases if p.state != State.PENDING] if may_approve else purchases,
        "events": events,
        "figures": selectors.figures(purchases),
        "states": selectors.summary(asked),
        "poll_seconds": seconds,
        "seen": uuid.uuid5(uuid.NAMESPACE_URL, repr(marks)).hex,
        "may_decide": rules.may_decide_doubt(request.user, asked),
    }


def _cancellable(user, asked, purchases):
    """What `user` can take back here: one's own as long as it is not being bought, of others what is approved.

    Who did not ask rejects what is pending instead.
    """
    if not rules.may_cancel(user, asked):
        return []
    states = (State.PENDING, State.APPROVED) if user.pk == asked.requester_id else (State.APPROVED,)
    return [purchase for purchase in purchases if purchase.state in states]


@require_POST
def cancel(request, pk):
    """Take back what is not claimed yet."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    if not rules.may_cancel(request.user, asked):
        raise PermissionDenied("The person who asked, an approver or the team admin can cancel this.")
    ids = [purchase.pk for purchase in _cancellable(request.user, asked, asked.purchases.order_by("pk"))]
    own = request.user.pk == asked.requester_id
    form = CancelForm(request.POST, reason_required=not own)
    if not ids and own:
        messages.warning(request, "There is nothing left to cancel. What became of the numbers stands below.")
    elif not ids:
        messages.warning(
            request,
            "There is nothing approved that could still be cancelled. What waits is rejected instead.",
        )
    else:
        submitted(
            request,
            f"cancel-{pk}",
            form,
            lambda: workflow.cancel(pk, ids, actor=request.actor, reason=form.cleaned_data["reason"]),
            done=_cancelled,
        )
    return redirect("purchasing:request", pk=pk)


def _cancelled(purchases):
    held = sum(purchase.state == State.HELD for purchase in purchases)
    said = f"{words.numbers(len(purchases) - held).capitalize()} cancelled." if len(purchases) > held else ""
    if held:
        said += f" {words.numbers(held).capitalize()} may have been bought by an earlier order and needs a decision."
    return said.strip()
