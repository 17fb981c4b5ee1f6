"""Teams: members, key and the stop button. Superusers create, rename and switch them."""

from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from purchasing import permissions
from purchasing.audit import marks
from purchasing.buying import missing
from purchasing.models import Desk, Purchase, User
from purchasing.provider import pauses, unrecorded
from purchasing.states import State
from purchasing.teams import papers, restore_alarm, stop_buying, teams
from purchasing.views import team_rules
from purchasing.views.forms.fields import ReasonForm
from purchasing.views.forms.teams import TeamForm
from purchasing.views.keys import is_readable
from purchasing.views.members import invite_form, managed
from purchasing.views.post_redirect_get import attempt, redraw, send_back, submit

ONLY_SUPERUSERS = "Only a superuser can do this."
NO_MARK = (
    "RESTORE_MARK is off: a database that is restored from a backup is not noticed, and numbers that were bought since "
    "can be bought again."
)


@require_safe
def listing(request):
    """The person's teams; for a superuser also the stop button for all buying, and the people in no team."""
    may_make = teams.may_make_teams(request.user)
    in_no_team = User.objects.filter(memberships=None, is_superuser=False, is_auditor=False)
    context = {
        "teams": permissions.teams_seen_by(request.user).order_by("name"),
        "desk": Desk.objects.get(pk=Desk.ONLY),
        "may_stop_all": permissions.may_stop_all(request.user),
        "may_make_teams": may_make,
        "in_no_team": in_no_team.order_by("username") if may_make else [],
        "form": redraw(request, "all", ReasonForm),
        "alarm_form": redraw(request, "alarm", ReasonForm, auto_id="alarm_%s"),
        "no_mark": NO_MARK if not marks.is_kept() else "",
    }
    return render(request, "purchasing/teams.html", context)


@require_safe
def detail(request, slug):
    """One team: members and roles, key, rules, and whether buying is active."""
    team = get_object_or_404(permissions.teams_seen_by(request.user), slug=slug)
    members = {}
    for membership in team.memberships.select_related("user").order_by("user__username", "role"):
        members.setdefault(membership.user, []).append(membership.get_role_display())
    key = pauses.current_key(team)
    may_manage = permissions.may_manage(request.user, team)
    may_make = teams.may_make_teams(request.user)
    register = papers.Register(team)
    context = {
        "team": team,
        "people": sorted(members.items(), key=lambda item: item[0].username),
        "key": key,
        "key_is_readable": key is None or is_readable(key),
        "waiting": Purchase.objects.filter(request__team=team, state=State.APPROVED).count(),
        "may_manage": may_manage,
        "missing": len(missing.of_team(team, request.user)) if may_manage else 0,
        "unrecorded": unrecorded.count(unrecorded.unknown_for(team)) if may_manage else 0,
        "no_mark": NO_MARK if may_manage and not marks.is_kept() else "",
        "form": redraw(request, f"team-{team.pk}", ReasonForm),
        "invite_form": invite_form(request, team) if may_manage else None,
        "name_form": _name_form(request, team) if may_make else None,
        "switch_form": redraw(request, f"switch-{team.pk}", ReasonForm, auto_id="switch_%s")
        if may_make
        else None,
        "papers_count": len(register.entries),
        "papers_over": sum(register.is_over(entry) for entry in register.entries),
        **team_rules.context_for(request, team),
    }
    return render(request, "purchasing/team.html", context)


def _name_form(request, team):
    return redraw(request, f"name-{team.pk}", TeamForm, auto_id="name_%s", initial={"name": team.name})


@require_http_methods(["GET", "HEAD", "POST"])
def new(request):
    """Create a team."""
    if not teams.may_make_teams(request.user):
        raise PermissionDenied(ONLY_SUPERUSERS)
    if request.method != "POST":
        form = redraw(request, "team-new", TeamForm)
        return render(request, "purchasing/team_new.html", {"form": form})
    form = TeamForm(request.POST)
    team = submit(
        request,
        "team-new",
        form,
        lambda: teams.create_team(form.cleaned_data["name"], actor=request.actor),
        done=lambda made: f"The team {made} was created. Invite its members, and store its API key.",
    )
    return redirect("purchasing:team", slug=team.slug) if team else redirect("purchasing:team-new")


@require_POST
def rename(request, slug):
    """Rename a team; its address stays the same."""
    team = _seen_by_superuser(request, slug)
    form = TeamForm(request.POST)
    submit(
        request,
        f"name-{team.pk}",
        form,
        lambda: teams.rename_team(team, form.cleaned_data["name"], actor=request.actor),
        done=f"{team} was renamed.",
    )
    return redirect("purchasing:team", slug=slug)


@require_POST
def switch_off(request, slug):
    """Switch a team off."""
    return _switch(
        request,
        slug,
        on=False,
        done="{team} is switched off: nothing can be requested, approved or bought for it.",
    )


@require_POST
def switch_on(request, slug):
    """Switch a team on again."""
    return _switch(request, slug, on=True, done="{team} is switched on again.")


def _switch(request, slug, *, on, done):
    team = _seen_by_superuser(request, slug)
    form = ReasonForm(request.POST)
    submit(
        request,
        f"switch-{team.pk}",
        form,
        lambda: teams.switch_team(team, on=on, reason=form.cleaned_data["reason"], actor=request.actor),
        done=done.format(team=team),
    )
    return redirect("purchasing:team", slug=slug)


def _seen_by_superuser(request, slug):
    team = get_object_or_404(permissions.teams_seen_by(request.user), slug=slug)
    if not teams.may_make_teams(request.user):
        raise PermissionDenied(ONLY_SUPERUSERS)
    return team


@require_POST
def stop(request, slug):
    """Stop buying for a team."""
    return _team(request, slug, stop_buying.stop, "Buying is stopped for {team}.")


@require_POST
def go_on(request, slug):
    """Resume buying for a team."""
    return _team(request, slug, stop_buying.go_on, "Buying for {team} is active again.")


def _team(request, slug, act, done):
    team = managed(request, slug)
    form = ReasonForm(request.POST)
    if form.is_valid():
        attempt(
            request,
            lambda: act(team, actor=request.actor, reason=form.cleaned_data["reason"]),
            done=done.format(team=team),
        )
    else:
        send_back(request, f"team-{team.pk}", form)
    return redirect("purchasing:team", slug=slug)


@require_POST
def stop_all(request):
    """Stop all buying."""
    return _all(request, stop_buying.stop_all, "All buying is stopped.")


@require_POST
def go_on_all(request):
    """Resume all buying."""
    return _all(request, stop_buying.go_on_all, "Buying is active again.")


@require_POST
def alarm_go_on(request):
    """Go on with the database after an alarm."""

    def done(held):
        return f"The alarm is over. Approved numbers that need a new decision: {held}."

    return _all(request, restore_alarm.go_on, done, where="alarm")


def _all(request, act, done, where="all"):
    if not permissions.may_stop_all(request.user):
        raise PermissionDenied(ONLY_SUPERUSERS)
    form = ReasonForm(request.POST)
    if form.is_valid():
        attempt(request, lambda: act(actor=request.actor, reason=form.cleaned_data["reason"]), done=done)
    else:
        send_back(request, where, form)
    return redirect("purchasing:teams")
