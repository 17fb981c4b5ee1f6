"""A team's numbers that the record and IdentityCall's lists disagree about: rented without a record, and gone."""

from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from purchasing import words
from purchasing.audit.search import Filter, newest_first
from purchasing.buying import missing, rented
from purchasing.models import Purchase, RentedNumber
from purchasing.views.forms.asking import RentedForm, TickedForm
from purchasing.views.members import managed
from purchasing.views.post_redirect_get import redraw, submit

SHOWN = 200  # rows with tick boxes on a page


@require_safe
def listing(request, slug):
    """The numbers that are rented, but not in the record, and what was decided about others."""
    team = managed(request, slug)
    unknown = rented.unknown_for(team)
    ids = [one.number.provider_id for one in unknown]
    context = {
        "team": team,
        "unknown": unknown[:SHOWN],
        "count": len(unknown),
        "more": len(unknown) > SHOWN,
        "bought_instead": _bought_instead(team, set(ids)),
        "kept": RentedNumber.objects.filter(team=team, kept=True, ended_at=None)
        .select_related("decided_by")
        .order_by("phone_number"),
        "dismissed": RentedNumber.objects.filter(team=team, kept=False, ended_at=None).count(),
        "form": redraw(request, f"rented-{team.pk}", RentedForm, ids=ids),
    }
    return render(request, "purchasing/rented.html", context)


def _bought_instead(team, unknown):
    """The answers to orders that named another number, where it is not decided about: `[(event, is listed)]`."""
    events = list(newest_first(Filter(team=team.pk, action="purchase.other_bought")))
    named = {event.data["provider_id"] for event in events}
    decided = {
        *RentedNumber.objects.filter(provider_id__in=named).values_list("provider_id", flat=True),
        *Purchase.objects.filter(provider_id__in=named).values_list("provider_id", flat=True),
    }
    return [
        (event, event.data["provider_id"] in unknown)
        for event in events
        if event.data["provider_id"] not in decided
    ]


@require_POST
def keep(request, slug):
    """Record the ticked numbers as the team's."""
    return _decide(request, slug, rented.keep, ("upfront_cost", "monthly_cost"), "{} kept.")


@require_POST
def dismiss(request, slug):
    """Dismiss the ticked numbers."""
    return _decide(request, slug, rented.dismiss, (), "{} dismissed.")


def _decide(request, slug, decide, costs, done):
    team = managed(request, slug)
    form = RentedForm(request.POST, ids=[one.number.provider_id for one in rented.unknown_for(team)])
    submit(
        request,
        f"rented-{team.pk}",
        form,
        lambda: decide(
            team,
            form.cleaned_data["ticked"],
            reason=form.cleaned_data["reason"],
            actor=request.actor,
            **{name: form.cleaned_data[name] for name in costs},
        ),
        done=lambda count: done.format(words.numbers(count).capitalize()),
    )
    return redirect("purchasing:team-rented", slug=slug)


@require_safe
def what_became(request, slug):
    """The numbers that lists no longer show, with one question about all of them."""
    team = managed(request, slug)
    found = missing.of_team(team, request.user)
    context = {
        "team": team,
        "missing": found[:SHOWN],
        "count": len(found),
        "more": len(found) > SHOWN,
        "form": redraw(request, f"missing-{team.pk}", TickedForm, ids=[one.provider_id for one in found]),
    }
    return render(request, "purchasing/missing.html", context)


@require_POST
def gone(request, slug):
    """Record the ticked numbers as gone."""
    team = managed(request, slug)
    form = TickedForm(request.POST, ids=[one.provider_id for one in missing.of_team(team, request.user)])
    submit(
        request,
        f"missing-{team.pk}",
        form,
        lambda: missing.confirm_gone(
            team, form.cleaned_data["ticked"], reason=form.cleaned_data["reason"], actor=request.actor
        ),
        done=lambda count: f"{words.numbers(count).capitalize()} recorded as gone.",
    )
    return redirect("purchasing:team-missing", slug=slug)
