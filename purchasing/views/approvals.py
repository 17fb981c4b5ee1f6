"""Approve or reject, number by number, before anything is bought."""

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
from purchasing.models import PurchaseRequest
from purchasing.problems import NotYours, Problem
from purchasing.states import State
from purchasing.views.forms.asking import DecisionForm, SeenForm
from purchasing.views.post_redirect_get import keep_typed, take_typed, warn_if_over_budget

SHOWN = 20
MOST_MARKS = 100  # requests that a page of the queue can tell changes of
# Where what was typed is kept for: the form of what is not decided, and that of what this person said yes to.
DECISION, SAID_YES = "decision", "said-yes"


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
    """The decision of one request (with its `briefing`) as it is drawn for one person."""

    asked: PurchaseRequest
    undecided: TypedDecision  # the form of the numbers that the person has not decided
    approved: TypedDecision  # that of the numbers the person approved, which lack another approval


@require_safe
def queue(request):
    """Everything that this person may decide, with what they need for it."""
    _only_approvers(request.user)
    waiting = list(selectors.requests_to_decide(request.user))
    shown = waiting[:SHOWN]
    cards = decision_cards(request, shown)
    say_the_rest(request)
    checks = {asked.pk: asked.briefing.check for asked in shown}
    context = {"decisions": cards, "more": len(waiting) - len(shown), **_news(waiting, checks, drawn=None)}
    return render(request, "purchasing/approvals.html", context)


@require_safe
def news(request):
    """What changed since the page of the queue was drawn: above the forms, and in the line of each about its check.

    Nothing typed lies in any of it. 204 while the page tells all of it already.
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
    """What tells the page of the queue from how it was drawn: with the marks `drawn`, None where it is drawn now."""
    marks = _marks(waiting, checks)
    drawn = marks if drawn is None else drawn
    cards = [
        {"pk": pk, "check": check, "changes": check.changes(_drawn_mark(drawn, pk))}
        for pk, check in checks.items()
    ]
    changed = _in_queue(marks) != _in_queue(drawn)
    told = [len(waiting) if changed else None, [(c["pk"], c["check"].asked_at, c["changes"]) for c in cards]]
    return {
        "waiting": len(waiting),
        "changed": changed,
        "cards": cards,
        "drawn": drawn,
        "seen": hashlib.blake2s(repr(told).encode(), digest_size=8).hexdigest(),
    }


def _marks(waiting, checks):
    """One text that tells the queue from any other: '12:1.3-13:2.1', and more of the requests that are shown."""
    waiting = decision_card.with_what_waits(waiting[:MOST_MARKS])
    return "-".join(
        f"{asked.pk}:{checks[asked.pk].mark if asked.pk in checks else f'{asked.version}.{asked.waits.count}'}"
        for asked in waiting
    )


def _in_queue(marks):
    return [mark.split(".")[:2] for mark in marks.split("-")]


def _drawn_mark(drawn, pk):
    """The mark with which the card of a request was drawn, '' for one that was not shown."""
    for mark in drawn.split("-")[:MOST_MARKS]:
        number, _, rest = mark.partition(":")
        if number == str(pk) and rest.count(".") == 3:
            return rest
    return ""


def decision_cards(request, shown):
    """The cards of some requests: each with its briefing, and with what was typed into its forms before."""
    for asked in shown:
        price_lookup.ask_again(asked)
    return [_card(request, asked) for asked in decision_card.brief(shown, request.user)]


def _card(request, asked):
    facts = asked.briefing
    all_fit = facts.may_fit and not (facts.money.is_hard and facts.allowed.too_much)
    ticked_first = [purchase for purchase in facts.undecided if all_fit and not purchase.is_blocked]
    return Card(
        asked,
        _typed_decision(request, f"{DECISION}-{asked.pk}", facts.undecided, ticked_first),
        _typed_decision(request, f"{SAID_YES}-{asked.pk}", facts.said_yes, []),
    )


def _typed_decision(request, where, purchases, ticked_first):
    """What was typed into the form `where`; `ticked_first` are the purchases ticked before anybody ticks anything."""
    kept = take_typed(request, where)
    typed = kept["values"]
    ticks = typed.get("purchase")
    ticked = ticked_first if ticks is None else [one for one in purchases if str(one.pk) in ticks]
    return TypedDecision(
        reason=(typed.get("reason") or [""])[-1],
        unconfirmed_cost_ok=bool(typed.get("unconfirmed_cost_ok")),
        ticked=frozenset(purchase.pk for purchase in ticked),
        problem=kept["problem"],
        errors=kept["errors"],
    )


def say_the_rest(request):
    """Say above the page what became of a decision whose card is not on it any more."""
    kept = request.session.get("typed")
    if kept and kept["where"].startswith((f"{DECISION}-", f"{SAID_YES}-")):
        del request.session["typed"]
        errors = [error for errors in kept["errors"].values() for error in errors]
        for sentence in [kept.get("problem", ""), *errors]:
            if sentence:
                messages.warning(request, sentence)


def _only_approvers(user):
    if not permissions.decides_somewhere(user):
        raise PermissionDenied("Only approvers see this page. Your team admin can make you one.")


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

    return _decide(request, pk, decide, _say_approved)


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

    return _decide(request, pk, decide, _say_rejected, reason_required=True)


@require_POST
def seen(request, pk):
    """Keep that this person has seen what changed in a request."""
    asked = _asked_for_decision(request, pk)
    form = SeenForm(request.POST)
    if form.is_valid():
        decision_card.note_seen(asked, request.user, form.cleaned_data["version"])
    return redirect(f"{_back(request, pk)}#request-{pk}")


def _say_approved(request, asked, purchases):
    count = words.numbers(len(purchases))
    first = [purchase for purchase in purchases if purchase.state == State.PENDING]
    if first:
        missing = approvals.waits_for_second(first[0], asked)
        messages.success(request, f"Your yes to {count} is kept. {missing}")
    else:
        messages.success(request, f"{count.capitalize()} approved.")
    warn_if_over_budget(request, purchases)


def _say_rejected(request, asked, purchases):
    messages.success(request, f"{words.numbers(len(purchases)).capitalize()} rejected.")


def _decide(request, pk, decide, say, *, reason_required=False):
    """Do what the form says; where that cannot be, keep it with the sentence until its card is drawn again."""
    asked = _asked_for_decision(request, pk)
    form = DecisionForm(request.POST, purchases=asked.purchases.all(), reason_required=reason_required)
    where = f"{SAID_YES if request.POST.get('form') == SAID_YES else DECISION}-{pk}"
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
            say(request, asked, purchases)
            return redirect(_back(request, pk))
    keep_typed(request, where, form, problem)
    return redirect(f"{_back(request, pk)}#request-{pk}")


def _asked_for_decision(request, pk):
    """The request, for who may decide it; 404 for who does not see it, else 403."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    if not permissions.may_approve(request.user, asked):
        names = ", ".join(str(person) for person in selectors.approvers_of(asked))
        raise PermissionDenied(
            f"You cannot decide this request. Who can: {names or 'nobody yet: ask the team admin'}."
        )
    return asked


def _back(request, pk):
    """Where the form was: a page of this site, else that of the request."""
    target = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(target, allowed_hosts=None) and target.startswith("/"):
        return target
    return reverse("purchasing:request", args=[pk])
