"""A team's rules and budget, set by its admin, and its stand-ins, named by approvers."""

from django.contrib import messages
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from purchasing import permissions, words
from purchasing.models import StandIn, User
from purchasing.teams import budgets, money_rules, stand_ins
from purchasing.views.forms.teams import RulesForm, StandInForm
from purchasing.views.post_redirect_get import attempt, redraw, submit

LACKS_SECOND = (
    "{team} does not have two approvers. Until it has, the second approval has to come from a superuser: make "
    "somebody else an approver."
)


def context_for(request, team):
    """The rules, budget and stand-ins for the team's page."""
    may_manage = permissions.may_manage(request.user, team)
    approvers = money_rules.approvers(team)
    if not may_manage:
        approvers = approvers.filter(pk=request.user.pk)
    people = _people(team)
    current = team.stand_ins.filter(ended_at=None).select_related("approver", "stand_in")
    return {
        "rules_in_words": money_rules.in_words(team),
        "budget": budgets.of(team),
        "rules_form": _rules_form(request, team) if may_manage else None,
        "stand_ins": [
            (
                row,
                may_manage or request.user in (row.approver, row.stand_in),
            )  # and whether the person may end it
            for row in current
        ],
        "stand_in_form": redraw(
            request,
            f"stand-in-{team.pk}",
            StandInForm,
            auto_id="stand_in_%s",
            approvers=approvers,
            people=people,
        )
        if approvers.exists()
        else None,
    }


def _rules_form(request, team):
    return redraw(
        request,
        f"rules-{team.pk}",
        RulesForm,
        auto_id="rules_%s",
        fresh={"seen": money_rules.mark(team)},
        initial={
            "monthly_budget": _as_typed(team.monthly_budget),
            "budget_is_hard": "hard" if team.budget_is_hard else "soft",
            "second_approver_from": _as_typed(team.second_approver_from),
        },
    )


def _as_typed(amount):
    return "" if amount is None else words.plain(amount)


def _people(team):
    return User.objects.filter(memberships__team=team, is_active=True).distinct().order_by("username")


@require_POST
def set_rules(request, slug):
    """Set budget and limits."""
    team = get_object_or_404(permissions.teams_seen_by(request.user), slug=slug)
    form = RulesForm(request.POST)

    def save():
        return money_rules.set_rules(
            team,
            actor=request.actor,
            seen=form.cleaned_data["seen"],
            monthly_budget=form.cleaned_data["monthly_budget"],
            budget_is_hard=form.cleaned_data["budget_is_hard"] == "hard",
            second_approver_from=form.cleaned_data["second_approver_from"],
        )

    def done(changed):
        return "The rules were changed." if changed else ""

    changed = submit(request, f"rules-{team.pk}", form, save, done=done)
    if changed is False:
        messages.info(request, "Nothing was changed: the form has the same rules as before.")
    team.refresh_from_db()
    if changed and money_rules.lacks_second_approver(team):
        messages.warning(request, LACKS_SECOND.format(team=team))
    return redirect("purchasing:team", slug=slug)


@require_POST
def name_stand_in(request, slug):
    """Name a stand-in for an approver."""
    team = get_object_or_404(permissions.teams_seen_by(request.user), slug=slug)
    people = _people(team)
    form = StandInForm(request.POST, approvers=people, people=people)
    submit(
        request,
        f"stand-in-{team.pk}",
        form,
        lambda: stand_ins.name_stand_in(team, actor=request.actor, **form.cleaned_data),
        done="Stand-in named. Each of their decisions shows both names.",
    )
    return redirect("purchasing:team", slug=slug)


@require_POST
def end_stand_in(request, slug, pk):
    """End a stand-in before its last day."""
    team = get_object_or_404(permissions.teams_seen_by(request.user), slug=slug)
    row = get_object_or_404(StandIn.objects.select_related("approver", "stand_in"), pk=pk, team=team)
    attempt(request, lambda: stand_ins.end_stand_in(row, actor=request.actor), done="The stand-in has ended.")
    return redirect("purchasing:team", slug=slug)
