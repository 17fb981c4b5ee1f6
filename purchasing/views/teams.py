"""Teams: who may do what, the key, and the stop button."""

from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from purchasing import pauses, rules, stops
from purchasing.encryption import Undecryptable
from purchasing.forms import ReasonForm
from purchasing.models import ApiKey, Desk, Purchase
from purchasing.states import State
from purchasing.views.doing import attempted, keep_typed, rebound


@require_safe
def listing(request):
    """The person's teams; for a superuser also the stop button of everything."""
    context = {
        "teams": rules.teams_seen_by(request.user).order_by("name"),
        "desk": Desk.objects.get(pk=Desk.ONLY),
        "may_stop_all": rules.may_stop_all(request.user),
        "form": rebound(request, "all", ReasonForm),
    }
    return render(request, "purchasing/teams.html", context)


@require_safe
def detail(request, slug):
    """One team: members and roles, key, and whether it buys."""
    team = get_object_or_404(rules.teams_seen_by(request.user), slug=slug)
    people = {}
    for membership in team.memberships.select_related("user").order_by("user__username", "role"):
        people.setdefault(membership.user, []).append(membership.get_role_display())
    key = pauses.current_key(team)
    context = {
        "team": team,
        "people": sorted(people.items(), key=lambda item: item[0].username),
        "key": key,
        "key_is_readable": key is None or _is_readable(key),
        "waiting": Purchase.objects.filter(request__team=team, state=State.APPROVED).count(),
        "may_manage": rules.may_manage(request.user, team),
        "form": rebound(request, f"team-{team.pk}", ReasonForm),
    }
    return render(request, "purchasing/team.html", context)


def _is_readable(key):
    try:
        ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk)
    except Undecryptable:
        return False
    return True


@require_POST
def stop(request, slug):
    """Stop buying for a team."""
    return _team(request, slug, stops.stop, "Buying is stopped for {team}.")


@require_POST
def go_on(request, slug):
    """Let a team buy again."""
    return _team(request, slug, stops.go_on, "{team} buys again.")


def _team(request, slug, act, done):
    team = get_object_or_404(rules.teams_seen_by(request.user), slug=slug)
    if not rules.may_manage(request.user, team):
        raise PermissionDenied(f"Only the admin of {team} or a superuser can do this.")
    form = ReasonForm(request.POST)
    if form.is_valid():
        attempted(
            request,
            lambda: act(team, actor=request.actor, reason=form.cleaned_data["reason"]),
            done=done.format(team=team),
        )
    else:
        keep_typed(request, f"team-{team.pk}", form)
    return redirect("purchasing:team", slug=slug)


@require_POST
def stop_all(request):
    """Stop all buying."""
    return _all(request, stops.stop_all, "All buying is stopped.")


@require_POST
def go_on_all(request):
    """Let everybody buy again."""
    return _all(request, stops.go_on_all, "Buying goes on.")


def _all(request, act, done):
    if not rules.may_stop_all(request.user):
        raise PermissionDenied("Only a superuser can do this.")
    form = ReasonForm(request.POST)
    if form.is_valid():
        attempted(request, lambda: act(actor=request.actor, reason=form.cleaned_data["reason"]), done=done)
    else:
        keep_typed(request, "all", form)
    return redirect("purchasing:teams")
