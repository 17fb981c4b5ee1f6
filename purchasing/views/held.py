"""Purchases that need a person's decision: the evidence and the choices."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from purchasing import permissions, selectors, words
from purchasing.approving import approvals, decision_card
from purchasing.asking import price_lookup
from purchasing.buying import adoption, evidence, held_purchases
from purchasing.identitycall.resources import Offer, parse_cost
from purchasing.models import OwnedRead, Purchase
from purchasing.states import State
from purchasing.teams import papers
from purchasing.views.forms.asking import BoughtForm, KeepForm
from purchasing.views.forms.fields import ReasonForm
from purchasing.views.post_redirect_get import attempt, redraw, send_back, submit, warn_if_over_budget

MOST = 100


@dataclass(frozen=True)
class Row:
    """A held purchase as the list of decisions shows it."""

    purchase: Purchase
    evidence: evidence.Evidence | None  # of a purchase in doubt
    offered: Offer | None
    again: decision_card.Again
    may_approve: bool
    ids: list[int]  # of one that is owned already: the ids under which the list shows it
    approvals: str  # who approved it again, and who has to approve it too or again; '' while nobody has

    @property
    def may_try_again(self):
        """Whether the person may order another try."""
        return self.may_approve and self.evidence is not None and self.evidence.may_try_again

    @property
    def may_approve_again(self):
        """Whether the person may approve it again: it is not in doubt, and the budget allows it."""
        is_owned = adoption.is_owned_already(self.purchase)
        return self.may_approve and self.evidence is None and not is_owned and self.again.may_fit


@require_safe
def listing(request):
    """All purchases waiting for this person's decision, by team and cause, with their evidence."""
    groups = {}
    for purchase in selectors.held_for(request.user)[:MOST]:
        price_lookup.ask_again_for_held(purchase)
        found = evidence.about(purchase)
        cause = purchase.held_cause if found is None else "doubt"
        groups.setdefault((purchase.request.team, cause), []).append((purchase, found))
    context = {"groups": [_group(request, team, cause, held) for (team, cause), held in groups.items()]}
    return render(request, "purchasing/held.html", context)


def _group(request, team, cause, held):
    """Held purchases of one team and one cause (`held`: each with its evidence), what can be done and what it costs."""
    money, name = decision_card.Money.of(team), f"{cause}-{team.pk}"
    rows = [_row(request.user, purchase, found, money) for purchase, found in held]
    return {
        "name": name,
        "team": team,
        "cause": cause,
        "rows": rows,
        "in_doubt": cause == "doubt",
        "owned": cause == "owned",
        "may_keep": cause == "owned" and permissions.may_manage(request.user, team),
        "may_try_again": any(row.may_try_again for row in rows),
        "may_approve_again": any(row.may_approve_again for row in rows),
        "money": money.needing(
            sum((row.again.money.needs for row in rows), Decimal(0)),
            sum(row.again.money.unknown for row in rows),
        ),
        "form": redraw(request, f"several-{name}", ReasonForm, auto_id=f"several-{name}_%s"),
    }


def _row(user, purchase, found, money):
    offered, offered_at = held_purchases.offer_now(purchase)
    return Row(
        purchase,
        found,
        offered,
        decision_card.again(purchase, offered, offered_at, money),
        permissions.may_approve(user, purchase.request),
        adoption.ids_to_keep(purchase) if adoption.is_owned_already(purchase) else [],
        _waits_for(purchase, offered, offered_at),
    )


@require_safe
def detail(request, pk):
    """The page of one purchase; if it is held, with its evidence and the choices."""
    purchase = get_object_or_404(selectors.purchases_seen_by(request.user), pk=pk)
    found = evidence.about(purchase)
    reads = []
    if found:
        since = found.attempt.ended_seq or found.attempt.claimed_seq
        reads = OwnedRead.objects.filter(credential=found.attempt.key.credential_id, began_after__gte=since)
        reads = reads.order_by("-pk")[:20]
    held = purchase.state == State.HELD
    offered = offered_at = None
    if held:
        price_lookup.ask_again_for_held(purchase)
        offered, offered_at = held_purchases.offer_now(purchase)
    money = decision_card.Money.of(purchase.request.team) if held else None
    owned = adoption.is_owned_already(purchase)
    may_keep = adoption.may_keep(request.user, purchase)
    ids = adoption.ids_to_keep(purchase) if may_keep or owned else []
    its_papers = papers.Register(purchase.request.team).of_purchase(purchase)
    context = {
        "again": decision_card.again(purchase, offered, offered_at, money) if held else None,
        "approvals_again": _waits_for(purchase, offered, offered_at) if held else "",
        "offered": offered,
        "offered_at": offered_at,
        "purchase": purchase,
        "asked": purchase.request,
        "papers": its_papers.name,
        "papers_problem": its_papers.problem if held or purchase.state == State.PENDING else "",
        "evidence": found,
        "reads": reads,
        "attempts": purchase.attempts.select_related("key").defer("key__secret").order_by("pk"),
        "approvals": purchase.approvals.select_related("approver", "on_behalf_of"),
        "events": purchase.events.select_related("team").order_by("-seq")[:300],
        "held": held,
        "owned": owned,
        "ids": ids,
        "may_keep": may_keep and (owned or bool(ids)),
        "keep_form": redraw(request, f"keep-{pk}", KeepForm, ids=ids, auto_id="keep_%s"),
        "not_ours_form": redraw(request, f"not_ours-{pk}", ReasonForm, auto_id="not_ours_%s"),
        "may_decide": held and not owned and permissions.may_decide_doubt(request.user, purchase.request),
        "may_approve": held and not owned and permissions.may_approve(request.user, purchase.request),
        "bought_form": redraw(request, f"bought-{pk}", BoughtForm, auto_id="bought_%s"),
        "again_form": redraw(request, f"again-{pk}", ReasonForm, auto_id="again_%s"),
        "may_stop_watching": held_purchases.may_stop_watching(purchase)
        and permissions.may_decide_doubt(request.user, purchase.request),
        "may_end_watch": held_purchases.may_end_watch(request.user, purchase),
        "watch_ends_at": purchase.state == State.GIVEN_UP
        and purchase.state_changed_at + timedelta(days=evidence.GIVEN_UP_DAYS),
        "id_also_of": selectors.others_with_its_id(purchase),
        "may_release": purchase.state == State.PURCHASED
        and purchase.released_at is None
        and permissions.may_manage(request.user, purchase.request.team),
        "stop_form": redraw(request, f"stop_watching-{pk}", ReasonForm, auto_id="stop_%s"),
        "release_form": redraw(request, f"release-{pk}", ReasonForm, auto_id="release_%s"),
        "give_up_form": redraw(request, f"give_up-{pk}", ReasonForm, auto_id="give_up_%s"),
    }
    return render(request, "purchasing/purchase.html", context)


@require_POST
def it_was_bought(request, pk):
    """Settle a purchase in doubt, or one that was watched long enough: it was bought, under this id."""

    def decide(purchase, **decision):
        given_up = purchase.state == State.GIVEN_UP
        settle = held_purchases.bought_after_all if given_up else held_purchases.it_was_bought
        return settle(purchase, **decision)

    return _decide(request, pk, "bought", BoughtForm, decide, "Recorded as bought.")


@require_POST
def try_again(request, pk):
    """Settle an unconfirmed purchase: it was not bought, so try once more."""
    return _decide(
        request, pk, "again", ReasonForm, _as_shown(request, held_purchases.try_again), _approved_again
    )


@require_POST
def approve_again(request, pk):
    """Approve a purchase again that is held because of its price, its approver or its age."""
    return _decide(
        request, pk, "again", ReasonForm, _as_shown(request, held_purchases.approve_again), _approved_again
    )


def _as_shown(request, decide):
    """`decide` with the price that the page showed, and whether an unconfirmed price was accepted."""

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
def keep(request, pk):
    """Record a number that the list shows as ours."""
    purchase = get_object_or_404(selectors.purchases_seen_by(request.user), pk=pk)
    form = KeepForm(request.POST, ids=adoption.ids_to_keep(purchase))
    submit(
        request,
        f"keep-{pk}",
        form,
        lambda: adoption.keep(purchase, actor=request.actor, **form.cleaned_data),
        done="Recorded as yours.",
    )
    return redirect("purchasing:purchase", pk=pk)


@require_POST
def not_ours(request, pk):
    """End a purchase whose number the list shows, as it is not ours."""
    return _decide(request, pk, "not_ours", ReasonForm, adoption.not_ours, "Recorded as not yours.")


@require_POST
def give_up(request, pk):
    """Give up a held purchase."""
    return _decide(request, pk, "give_up", ReasonForm, held_purchases.give_up, "Given up.")


def _waits_for(purchase, offered, offered_at):
    """Who approved a held purchase again, and who has to approve it too or again, at what IdentityCall offers now."""
    costs = approvals.Costs(offered.upfront_cost, offered.monthly_cost, offered_at) if offered else None
    return approvals.waits_for_another_approver(purchase, purchase.request, costs)


def _approved_again(purchase):
    purchase.refresh_from_db()
    if purchase.state == State.HELD:
        return f"Your approval is recorded. {_waits_for(purchase, *held_purchases.offer_now(purchase))}"
    return "Approved again and queued."


def _decide(request, pk, name, form_class, decide, done):
    purchase = get_object_or_404(selectors.purchases_seen_by(request.user), pk=pk)
    form = form_class(request.POST)
    decided = submit(
        request,
        f"{name}-{pk}",
        form,
        lambda: decide(purchase, actor=request.actor, **form.cleaned_data),
        done=done,
    )
    if decided:
        warn_if_over_budget(request, [purchase])
    return redirect("purchasing:purchase", pk=pk)


@require_POST
def give_up_several(request):
    """Give up all ticked purchases of one cause, for one reason."""
    return _decide_several(request, held_purchases.give_up, "given up")


@require_POST
def keep_several(request):
    """Record all ticked numbers that the list shows as ours, each under the id that it shows, at unknown costs."""
    return _decide_several(request, adoption.keep, "recorded as yours")


@require_POST
def not_ours_several(request):
    """End all ticked purchases whose numbers the list shows, as they are not ours."""
    return _decide_several(request, adoption.not_ours, "recorded as not yours")


@require_POST
def try_again_several(request):
    """Try all ticked purchases again, for one reason."""
    return _decide_several(request, _as_shown(request, held_purchases.try_again), "approved again")


@require_POST
def approve_again_several(request):
    """Approve all ticked purchases of one cause again, for one reason."""
    return _decide_several(request, _as_shown(request, held_purchases.approve_again), "approved again")


@require_POST
def stop_watching(request, pk):
    """Stop watching a purchase that was given up and that no read can settle."""
    return _decide(
        request, pk, "stop_watching", ReasonForm, held_purchases.stop_watching, "It is no longer watched."
    )


@require_POST
def release(request, pk):
    """Record that a bought number is no longer rented."""
    done = "It is no longer rented: its cost no longer counts, and it can be requested again."
    return _decide(request, pk, "release", ReasonForm, held_purchases.release, done)


def _decide_several(request, decide, word):
    form = ReasonForm(request.POST)
    ids = [int(pk) for pk in request.POST.getlist("purchase")[:MOST] if pk.isdecimal() and len(pk) < 19]
    chosen = list(selectors.held_for(request.user).filter(pk__in=ids))
    if not form.is_valid():
        send_back(request, f"several-{request.POST.get('group', '')[:40]}", form)
    elif not chosen:
        messages.warning(request, "Tick at least one number that still needs a decision.")
    for purchase in chosen if form.is_valid() else []:
        attempt(
            request,
            lambda purchase=purchase: decide(
                purchase, actor=request.actor, reason=form.cleaned_data["reason"]
            ),
            done=lambda after, purchase=purchase: (
                f"{words.phone(purchase.phone_number)}: {_outcome(after, word)}"
            ),
        )
    if chosen:
        warn_if_over_budget(request, chosen)
    return redirect("purchasing:held")


def _outcome(purchase, word):
    purchase.refresh_from_db()
    if purchase.state == State.HELD:
        return f"your approval is recorded. {_waits_for(purchase, *held_purchases.offer_now(purchase))}"
    return f"{word}."
