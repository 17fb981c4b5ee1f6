"""Purchases that need a person's decision: the evidence, and what can be done."""

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from purchasing import costs, decisions, evidence, rules, selectors, words
from purchasing.forms import BoughtForm, ReasonForm
from purchasing.identitycall.resources import parse_cost
from purchasing.models import OwnedRead
from purchasing.states import State
from purchasing.views.doing import attempted, keep_typed, rebound, submitted

MOST = 100


@require_safe
def listing(request):
    """Everything that waits for this person's decision, by cause, each with its evidence."""
    held = list(selectors.held_for(request.user)[:MOST])
    causes = {}
    for purchase in held:
        purchase.findings = evidence.findings(purchase)
        costs.ask_again_for_held(purchase)
        purchase.offered, purchase.offered_at = decisions.offer_now(purchase)
        causes.setdefault(purchase.held_cause if purchase.findings is None else "doubt", []).append(purchase)
    context = {
        "groups": [
            {
                "cause": cause,
                "purchases": purchases,
                "in_doubt": cause == "doubt",
                "may_try_again": any(
                    p.findings and p.findings.may_try_again and rules.may_approve(request.user, p.request)
                    for p in purchases
                ),
                "may_approve_again": any(
                    p.findings is None and rules.may_approve(request.user, p.request) for p in purchases
                ),
                "form": rebound(request, f"several-{cause}", ReasonForm, auto_id=f"several-{cause}_%s"),
            }
            for cause, purchases in causes.items()
        ]
    }
    return render(request, "purchasing/held.html", context)


@require_safe
def detail(request, pk):
    """The whole story of one purchase; a held one with its evidence and the choices."""
    purchase = get_object_or_404(selectors.purchases_seen_by(request.user), pk=pk)
    found = evidence.findings(purchase)
    reads = []
    if found:
        since = found.attempt.ended_seq or found.attempt.claimed_seq
        reads = OwnedRead.objects.filter(key=found.attempt.key_id, began_after__gte=since).order_by("-pk")[
            :20
        ]
    held = purchase.state == State.HELD
    offered = offered_at = None
    if held:
        costs.ask_again_for_held(purchase)
        offered, offered_at = decisions.offer_now(purchase)
    context = {
        "offered": offered,
        "offered_at": offered_at,
        "purchase": purchase,
        "asked": purchase.request,
        "findings": found,
        "reads": reads,
        "attempts": purchase.attempts.select_related("key").defer("key__secret").order_by("pk"),
        "approvals": purchase.approvals.select_related("approver"),
        "events": purchase.events.select_related("team").order_by("-seq")[:300],
        "held": held,
        "may_decide": held and rules.may_decide_doubt(request.user, purchase.request),
        "may_approve": held and rules.may_approve(request.user, purchase.request),
        "bought_form": rebound(request, f"bought-{pk}", BoughtForm, auto_id="bought_%s"),
        "again_form": rebound(request, f"again-{pk}", ReasonForm, auto_id="again_%s"),
        "may_stop_watching": decisions.may_stop_watching(purchase)
        and rules.may_decide_doubt(request.user, purchase.request),
        "may_release": purchase.state == State.PURCHASED
        and purchase.released_at is None
        and rules.may_manage(request.user, purchase.request.team),
        "stop_form": rebound(request, f"stop_watching-{pk}", ReasonForm, auto_id="stop_%s"),
        "release_form": rebound(request, f"release-{pk}", ReasonForm, auto_id="release_%s"),
        "give_up_form": rebound(request, f"give_up-{pk}", ReasonForm, auto_id="give_up_%s"),
    }
    return render(request, "purchasing/purchase.html", context)


@require_POST
def it_was_bought(request, pk):
    """Settle a doubt: it was bought, under this id."""
    return _decide(request, pk, "bought", BoughtForm, decisions.it_was_bought, "Kept as bought.")


@require_POST
def try_again(request, pk):
    """Settle a doubt: it was not bought, one more try."""
    return _decide(request, pk, "again", ReasonForm, _as_shown(request, decisions.try_again), _approved_again)


@require_POST
def approve_again(request, pk):
    """Approve what is held for its price, its approver or its age."""
    return _decide(
        request, pk, "again", ReasonForm, _as_shown(request, decisions.approve_again), _approved_again
    )


def _as_shown(request, decide):
    """The decision with the price that the page showed for the purchase, and whether an unconfirmed one is fine."""

    def decided(purchase, **decision):
        seen = tuple(parse_cost(request.POST.get(f"{name}-{purchase.pk}")) for name in ("upfront", "monthly"))
        return decide(
            purchase,
            seen=None if None in seen else seen,
            unconfirmed_cost_ok=request.POST.get(f"unconfirmed-{purchase.pk}") == "on",
            **decision,
        )

    return decided


@require_POST
def give_up(request, pk):
    """Stop here."""
    return _decide(request, pk, "give_up", ReasonForm, decisions.give_up, "Given up.")


def _approved_again(purchase):
    purchase.refresh_from_db()
    if purchase.state == State.HELD:
        return "Your yes is kept. A second approver has to say it too."
    return "Approved again: it is in line."


def _decide(request, pk, name, form_class, decide, done):
    purchase = get_object_or_404(selectors.purchases_seen_by(request.user), pk=pk)
    form = form_class(request.POST)
    submitted(
        request,
        f"{name}-{pk}",
        form,
        lambda: decide(purchase, actor=request.actor, **form.cleaned_data),
        done=done,
    )
    return redirect("purchasing:purchase", pk=pk)


@require_POST
def give_up_several(request):
    """Give up all ticked purchases of one cause, for one reason."""
    return _decide_several(request, decisions.give_up, "given up")


@require_POST
def try_again_several(request):
    """Order another try of all ticked purchases, for one reason."""
    return _decide_several(request, _as_shown(request, decisions.try_again), "approved again")


@require_POST
def approve_again_several(request):
    """Approve all ticked purchases of one cause again, for one reason."""
    return _decide_several(request, _as_shown(request, decisions.approve_again), "approved again")


@require_POST
def stop_watching(request, pk):
    """End what was given up and can never be settled by a read."""
    return _decide(
        request, pk, "stop_watching", ReasonForm, decisions.stop_watching, "It is not watched any more."
    )


@require_POST
def release(request, pk):
    """A bought number is no longer rented."""
    done = "It is no longer rented: it costs nothing any more and may be asked for again."
    return _decide(request, pk, "release", ReasonForm, decisions.release, done)


def _decide_several(request, decide, word):
    form = ReasonForm(request.POST)
    ids = [int(pk) for pk in request.POST.getlist("purchase")[:MOST] if pk.isdecimal() and len(pk) < 19]
    chosen = list(selectors.held_for(request.user).filter(pk__in=ids))
    if not form.is_valid():
        keep_typed(request, f"several-{request.POST.get('cause', '')[:20]}", form)
    elif not chosen:
        messages.warning(request, "Tick at least one number that still needs a decision.")
    for purchase in chosen if form.is_valid() else []:
        attempted(
            request,
            lambda purchase=purchase: decide(
                purchase, actor=request.actor, reason=form.cleaned_data["reason"]
            ),
            done=f"{words.phone(purchase.phone_number)}: {word}.",
        )
    return redirect("purchasing:held")
