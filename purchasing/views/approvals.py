"""Approving and rejecting, number by number, before anything is bought."""

import hashlib
from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from purchasing import permissions, selectors, words
from purchasing.approving import approvals, decision_card
from purchasing.asking import price_lookup
from purchasing.problems import NotYours, Problem
from purchasing.states import State
from purchasing.views.forms.asking import DecisionForm, SeenForm
from purchasing.views.post_redirect_get import keep_typed, take_typed, warn_if_over_budget

SHOWN = 20
MOST_MARKS = 100  # requests whose changes a page of the queue can notice
# The two forms of a card: numbers the person has not decided, and numbers the person has approved.
DECISION, APPROVED = "decision", "approved"


@dataclass(frozen=True)
class TypedDecision:
    """What a decision form shows as typed: its reason, its ticks, and why it was not carried out."""

    reason: str
    unconfirmed_cost_ok: bool
    ticked: frozenset[int]  # ids of purchases
    problem: str
    errors: dict[str, list[str]]


@dataclass(frozen=True)
class Card:
    """The decision of one request as it is drawn for one person."""

    facts: decision_card.Briefing
    undecided: TypedDecision  # the form of the numbers that the person has not decided
    approved: TypedDecision  # that of the numbers the person approved, which lack another approval


@require_safe
def queue(request):
    """Everything that this person may decide, with what they need to know."""
    _only_approvers(request.user)
    waiting = list(selectors.requests_to_decide(request.user))
    shown = waiting[:SHOWN]
    cards = decision_cards(request, shown)
    warn_of_lost_decision(request)
    checks = {card.facts.asked.pk: card.facts.check for card in cards}
    context = {"decisions": cards, "more": len(waiting) - len(shown), **_news(waiting, checks, drawn=None)}
    return render(request, "purchasing/approvals.html", context)


@require_safe
def news(request):
    """What changed since the queue was drawn, shown above the forms and in the check line of each card.

    Nothing that somebody types is in these fragments. 204 while the page already shows all of it.
    """
    _only_approvers(request.user)
    waiting = list(selectors.requests_to_decide(request.user))
    drawn = request.GET.get("drawn", "")
    cards = [asked for asked in waiting if _drawn_mark(drawn, asked.pk)]
    context = _news(waiting, decision_card.checks(cards[:SHOWN]), drawn=drawn)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "purchasing/partials/approval_news.html", context | {"polled": True})


def _news(waiting, checks, *, drawn):
    """How the queue differs from the page with the marks `drawn`; None while the page is being drawn."""
    marks = _marks(waiting, checks)
    drawn = marks if drawn is None else drawn
    cards = [
        {"pk": pk, "check": check, "changes": check.changes(_drawn_mark(drawn, pk))}
        for pk, check in checks.items()
    ]
    changed = _in_queue(marks) != _in_queue(drawn)
    shown = [len(waiting) if changed else None, [(c["pk"], c["check"].asked_at, c["changes"]) for c in cards]]
    return {
        "waiting": len(waiting),
        "changed": changed,
        "cards": cards,
        "drawn": drawn,
        "seen": hashlib.blake2s(repr(shown).encode(), digest_size=8).hexdigest(),
    }


def _marks(waiting, checks):
    """The state of the queue as one text, such as '12:1.3-13:2.1', with longer marks for the requests shown."""
    return "-".join(
        f"{asked.pk}:{checks[asked.pk].mark if asked.pk in checks else f'{asked.version}.{pending.count}'}"
        for asked, pending in decision_card.with_pending_figures(waiting[:MOST_MARKS])
    )


def _in_queue(marks):
    return [mark.split(".")[:2] for mark in marks.split("-")]


def _drawn_mark(drawn, pk):
    """The mark that the card of a request was drawn with; '' for one that was not shown."""
    for mark in drawn.split("-")[:MOST_MARKS]:
        number, _, rest = mark.partition(":")
        if number == str(pk) and rest.count(".") == 3:
            return rest
    return ""


def decision_cards(request, shown):
    """The cards of some requests: each with its briefing, and with what was typed into its forms before."""
    for asked in shown:
        price_lookup.ask_again(asked)
    return [_card(request, facts) for facts in decision_card.briefings(shown, request.user)]


def _card(request, facts):
    all_fit = facts.may_fit and not (facts.money.is_hard and facts.allowed.too_much)
    ticked_first = [number for number in facts.undecided if all_fit and not number.is_blocked]
    return Card(
        facts,
        _typed_decision(request, f"{DECISION}-{facts.asked.pk}", facts.undecided, ticked_first),
        _typed_decision(request, f"{APPROVED}-{facts.asked.pk}", facts.approved, []),
    )


def _typed_decision(request, where, numbers, ticked_first):
    """What was typed into the form `where`; `ticked_first` are the numbers ticked before anybody ticks anything."""
    kept = take_typed(request, where)
    typed = kept["values"]
    ticks = typed.get("purchase")
    ticked = ticked_first if ticks is None else [one for one in numbers if str(one.purchase.pk) in ticks]
    return TypedDecision(
        reason=(typed.get("reason") or [""])[-1],
        unconfirmed_cost_ok=bool(typed.get("unconfirmed_cost_ok")),
        ticked=frozenset(number.purchase.pk for number in ticked),
        problem=kept["problem"],
        errors=kept["errors"],
    )


def warn_of_lost_decision(request):
    """Show above the page why a decision failed whose card is no longer on it."""
    kept = request.session.get("typed")
    if kept and kept["where"].startswith((f"{DECISION}-", f"{APPROVED}-")):
        del request.session["typed"]
        errors = [error for errors in kept["errors"].values() for error in errors]
        for sentence in [kept.get("problem", ""), *errors]:
            if sentence:
                messages.warning(request, sentence)


def _only_approvers(user):
    if not permissions.decides_somewhere(user):
        raise PermissionDenied("Only approvers can see this page. Your team admin can make you one.")


@require_POST
def approve(request, pk):
    """Approve the ticked numbers as the page showed them."""

    def decide(form):
        return approvals.approve(
            pk,
            form.cleaned_data["purchase"],
            approver=request.actor,
            version=form.cleaned_data["version"],
            unconfirmed_cost_ok=form.cleaned_data["unconfirmed_cost_ok"],
        )

    return _decide(request, pk, decide, _report_approved)


@require_POST
def reject(request, pk):
    """Reject the ticked numbers, with a reason that the requester reads."""

    def decide(form):
        return approvals.reject(
            pk,
            form.cleaned_data["purchase"],
            approver=request.actor,
            version=form.cleaned_data["version"],
            reason=form.cleaned_data["reason"],
        )

    return _decide(request, pk, decide, _report_rejected, reason_required=True)


@require_POST
def seen(request, pk):
    """Remember that this person has seen the changes to a request."""
    asked = _asked_for_decision(request, pk)
    form = SeenForm(request.POST)
    if form.is_valid():
        decision_card.note_seen(asked, request.user, form.cleaned_data["version"])
    return redirect(f"{_back(request, pk)}#request-{pk}")


def _report_approved(request, asked, purchases):
    count = words.numbers(len(purchases))
    pending = [purchase for purchase in purchases if purchase.state == State.PENDING]
    if pending:
        missing = approvals.waits_for_another_approver(pending[0], asked)
        messages.success(request, f"Your approval of {count} is recorded. {missing}")
    else:
        messages.success(request, f"{count.capitalize()} approved.")
    warn_if_over_budget(request, purchases)


def _report_rejected(request, asked, purchases):
    messages.success(request, f"{words.numbers(len(purchases)).capitalize()} rejected.")


def _decide(request, pk, decide, report, *, reason_required=False):
    """Carry out the form; if that fails, keep it with the reason until its card is drawn again."""
    asked = _asked_for_decision(request, pk)
    form = DecisionForm(request.POST, purchases=asked.purchases.all(), reason_required=reason_required)
    where = f"{APPROVED if request.POST.get('form') == APPROVED else DECISION}-{pk}"
    problem = ""
    if form.is_valid():
        try:
            purchases = decide(form)
        except NotYours as refusal:
            raise PermissionDenied(str(refusal)) from None
        except Problem as refusal:
            problem = str(refusal)
        else:
            decision_card.note_seen(asked, request.user, form.cleaned_data["version"])
            report(request, asked, purchases)
            return redirect(_back(request, pk))
    keep_typed(request, where, form, problem)
    return redirect(f"{_back(request, pk)}#request-{pk}")


def _asked_for_decision(request, pk):
    """The request, for people who may decide it; 404 for those who cannot see it, else 403."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    if not permissions.may_approve(request.user, asked):
        names = ", ".join(str(person) for person in selectors.approvers_of(asked))
        raise PermissionDenied(
            f"You cannot decide this request. People who can: {names or 'nobody yet, so ask the team admin'}."
        )
    return asked


def _back(request, pk):
    """The page that the form was on, if it is one of this site, else the request's page."""
    target = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(target, allowed_hosts=None) and target.startswith("/"):
        return target
    return reverse("purchasing:request", args=[pk])
