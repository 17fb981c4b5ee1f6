"""Approve or reject, number by number, before anything is bought."""

from django.core.exceptions import PermissionDenied
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from purchasing import approving, briefing, costs, rules, selectors, words
from purchasing.forms import DecisionForm
from purchasing.states import State
from purchasing.views.doing import submitted, typed

SHOWN = 20
SEEN = 200  # requests whose last version seen is remembered


@require_safe
def queue(request):
    """Everything that this person may decide, with what they need for it."""
    _only_approvers(request.user)
    waiting = list(selectors.requests_to_decide(request.user))
    shown = waiting[:SHOWN]
    for asked in shown:
        prepare(request, asked)
    context = {"shown": shown, "more": len(waiting) - len(shown), "seen": _mark(waiting)}
    return render(request, "purchasing/approvals.html", context)


@require_safe
def news(request):
    """What changed in the queue since its page was drawn, above the forms: nothing typed there is lost. Else 204."""
    _only_approvers(request.user)
    waiting = list(selectors.requests_to_decide(request.user))
    if request.GET.get("seen") == _mark(waiting):
        return HttpResponse(status=204)
    return render(
        request, "purchasing/partials/approval_news.html", {"waiting": len(waiting), "seen": _mark(waiting)}
    )


def prepare(request, asked):
    """Give a request what its decision form shows: the briefing, and what was typed before."""
    costs.ask_again(asked)
    seen = request.session.get("seen_versions", {})
    asked.briefing = briefing.brief(asked, request.user, seen_version=seen.get(str(asked.pk)))
    if seen.get(str(asked.pk)) != asked.version:
        request.session["seen_versions"] = dict([*seen.items()][-SEEN:]) | {str(asked.pk): asked.version}
    kept = typed(request, f"decision-{asked.pk}")
    ticked = kept["values"].get("purchase")
    for purchase in asked.briefing.pending:
        purchase.ticked = ticked is None or str(purchase.pk) in ticked
    asked.typed_reason = (kept["values"].get("reason") or [""])[-1]
    asked.reason_errors = kept["errors"].get("reason", [])
    asked.purchase_errors = kept["errors"].get("purchase", [])


def _mark(waiting):
    return "-".join(
        f"{asked.pk}.{asked.version}.{dict(asked.states).get(State.PENDING, 0)}"
        for asked in selectors.with_summaries(waiting[:100])
    )


def _only_approvers(user):
    if not rules.decides_somewhere(user):
        raise PermissionDenied("Only approvers see this page. Your team admin can make you one.")


@require_POST
def approve(request, pk):
    """Approve the ticked numbers as the page showed them."""

    def decide(form):
        return approving.approve(
            pk,
            form.cleaned_data["purchase"],
            approver=request.actor,
            version=form.cleaned_data["version"],
            unconfirmed_cost_ok=form.cleaned_data["unconfirmed_cost_ok"],
        )

    return _decide(request, pk, decide, "approved")


@require_POST
def reject(request, pk):
    """Reject the ticked numbers, with a reason that the requester reads."""

    def decide(form):
        return approving.reject(
            pk,
            form.cleaned_data["purchase"],
            approver=request.actor,
            version=form.cleaned_data["version"],
            reason=form.cleaned_data["reason"],
        )

    return _decide(request, pk, decide, "rejected", reason_required=True)


def _done(purchases, word):
    count = words.numbers(len(purchases)).capitalize()
    if any(purchase.state == State.PENDING for purchase in purchases):
        return f"Your yes to {count.lower()} is kept. A second approver has to say it too."
    return f"{count} {word}."


def _decide(request, pk, decide, word, *, reason_required=False):
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    form = DecisionForm(request.POST, purchases=asked.purchases.all(), reason_required=reason_required)
    if not rules.may_approve(request.user, asked):
        names = (
            ", ".join(str(person) for person in selectors.approvers_of(asked))
            or "nobody yet: ask the team admin"
        )
        raise PermissionDenied(f"You cannot decide this request. Who can: {names}.")
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts=None) or not target.startswith("/"):
        target = reverse("purchasing:request", args=[pk])
    if not submitted(
        request, f"decision-{pk}", form, lambda: decide(form), done=lambda them: _done(them, word)
    ):
        target += f"#request-{pk}"
    return redirect(target)
