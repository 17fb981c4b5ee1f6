"""The team's register of requirement groups (papers): all members read it, the team admin edits it."""

from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from purchasing import permissions
from purchasing.models import RequirementGroup
from purchasing.teams import papers
from purchasing.views.forms.teams import PapersForm
from purchasing.views.members import managed
from purchasing.views.post_redirect_get import attempt, redraw, submit


@require_http_methods(["GET", "HEAD", "POST"])
def listing(request, slug):
    """The register; a POST adds an entry."""
    if request.method == "POST":
        team = managed(request, slug)
        form = PapersForm(request.POST)
        submit(
            request,
            f"papers-{team.pk}",
            form,
            lambda: papers.add(team, actor=request.actor, **form.entry()),
            done=lambda entry: f"“{entry}” was added to the register.",
        )
        return redirect("purchasing:papers", slug=slug)
    team = get_object_or_404(permissions.teams_seen_by(request.user), slug=slug)
    may_manage = permissions.may_manage(request.user, team)
    register = papers.Register(team)
    context = {
        "team": team,
        "entries": [(entry, register.is_over(entry)) for entry in register.entries],
        "may_manage": may_manage,
        "form": redraw(request, f"papers-{team.pk}", PapersForm) if may_manage else None,
    }
    return render(request, "purchasing/papers.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def entry(request, slug, pk):
    """One entry, to change or remove."""
    team = managed(request, slug)
    found = get_object_or_404(RequirementGroup, pk=pk, team=team, removed_at=None)
    where = f"papers-{team.pk}-{pk}"
    if request.method == "POST":
        form = PapersForm(request.POST)
        seen = request.POST.get("seen", "")
        changed = submit(
            request,
            where,
            form,
            lambda: papers.change(found, actor=request.actor, seen=seen, **form.entry()),
            done="Changed.",
        )
        return redirect("purchasing:papers", slug=slug) if changed else redirect(request.path)
    initial = {name: getattr(found, name) for name in papers.FIELDS}
    context = {
        "team": team,
        "entry": found,
        "seen": papers.fingerprint(found),
        "form": redraw(request, where, PapersForm, initial=initial),
    }
    return render(request, "purchasing/papers_entry.html", context)


@require_POST
def remove(request, slug, pk):
    """Remove an entry."""
    team = managed(request, slug)
    found = get_object_or_404(RequirementGroup, pk=pk, team=team, removed_at=None)
    attempt(
        request,
        lambda: papers.remove(found, actor=request.actor),
        done=f"“{found}” was removed from the register. Requests that use it can no longer be approved.",
    )
    return redirect("purchasing:papers", slug=slug)


def group_choices(teams):
    """The requirement groups of these teams as form choices, with the team's name where there are several."""
    teams = list(teams)
    choices = {}
    for team in teams:
        register = papers.Register(team)
        for entry in register.entries:
            if entry.provider_id is not None:
                label = f"{entry} (expired)" if register.is_over(entry) else str(entry)
                choices[str(entry.provider_id)] = f"{team}: {label}" if len(teams) > 1 else label
    return list(choices.items())


def with_choice(line, chosen):
    """Let a form show a pasted or typed group that is in no register; sending the form refuses it."""
    field = line.fields["requirement_group_id"]
    if chosen and chosen not in dict(field.choices):
        field.choices = [*field.choices, (chosen, f"Group {chosen[:20]}, not in the register")]
