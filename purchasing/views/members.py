"""The members of a team: invite, change roles, remove, switch accounts; and the page that an invitation links to."""

from django.contrib import messages
from django.contrib.auth.views import PasswordResetConfirmView
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from purchasing import permissions
from purchasing.models import Membership, User
from purchasing.states import Role
from purchasing.teams import invitations, members, teams
from purchasing.views.forms.teams import ChangeRolesForm, ChoosePasswordForm, InviteForm
from purchasing.views.post_redirect_get import attempt, redraw, submit

NO_ADMIN = " {team} now has no team admin; superusers manage it until it has one."


@require_POST
def invite(request, slug):
    """Invite somebody by mail, or add a person who already has an account."""
    team = managed(request, slug)
    form = InviteForm(request.POST)

    def done(result):
        user, made = result
        if made:
            return f"{user} was invited: a mail with a link is on its way to {user.email}."
        off = "" if user.is_active else " The account is switched off."
        return f"{user} already has an account and is now in {team}; no invitation was needed.{off}"

    invited = submit(
        request,
        where(team),
        form,
        lambda: members.invite(team, actor=request.actor, **form.cleaned_data),
        done=done,
    )
    if invited:
        return redirect("purchasing:member", slug=slug, pk=invited[0].pk)
    return redirect("purchasing:team", slug=slug)


def invite_form(request, team):
    """The form for the team's page."""
    return redraw(request, where(team), InviteForm, auto_id="invite_%s")


def where(team):
    return f"invite-{team.pk}"


@require_safe
@never_cache
def member(request, slug, pk):
    """One member: roles, account, invitation."""
    team = managed(request, slug)
    person = _member(team, pk)
    roles = members.roles_in(team, person)
    asked = invitations.last_asked(person)
    others = person.memberships.exclude(team=team).values_list("team__name", flat=True)
    context = {
        "team": team,
        "person": person,
        "roles": [Role(role).label for role in roles],
        "other_teams": sorted(set(others)) if request.user.is_superuser else [],
        "form": redraw(
            request,
            f"roles-{team.pk}-{person.pk}",
            ChangeRolesForm,
            initial={"roles": roles, "seen": ",".join(roles)},
        ),
        "is_new": not person.has_usable_password(),
        "asked": asked,
        "mail": invitations.mail_of(asked) if asked else None,
        "on_its_way": asked is not None and invitations.is_on_its_way(asked),
        "life": invitations.life_of_a_link(),
        "may_switch": members.may_switch(request.user, person),
        "link": invitations.link_shown_for(person),
    }
    return render(request, "purchasing/member.html", context)


@require_POST
def change_roles(request, slug, pk):
    """Change the roles of a member."""
    team = managed(request, slug)
    person = _member(team, pk)
    form = ChangeRolesForm(request.POST)
    submit(
        request,
        f"roles-{team.pk}-{person.pk}",
        form,
        lambda: members.change_roles(
            team,
            person,
            roles=form.cleaned_data["roles"],
            seen=[role for role in form.cleaned_data["seen"].split(",") if role],
            actor=request.actor,
        ),
        done=lambda admin_left: f"The roles of {person} were changed.{_no_admin(team)}",
    )
    return redirect("purchasing:member", slug=slug, pk=pk)


@require_POST
def remove(request, slug, pk):
    """Remove a person from the team."""
    team = managed(request, slug)
    person = _member(team, pk)
    gone = attempt(
        request,
        lambda: members.remove_member(team, person, actor=request.actor),
        done=lambda admin_left: f"{person} is no longer in {team}.{_no_admin(team)}",
    )
    if gone:
        return redirect("purchasing:team", slug=slug)
    return redirect("purchasing:member", slug=slug, pk=pk)


def _no_admin(team):
    return "" if members.has_admin(team) else NO_ADMIN.format(team=team)


@require_POST
def send_link(request, slug, pk):
    """Send the person a link to choose a password."""
    team = managed(request, slug)
    person = _member(team, pk)
    attempt(
        request,
        lambda: members.send_link(team, person, actor=request.actor),
        done=f"A mail with a link is on its way to {person.email}.",
    )
    return redirect("purchasing:member", slug=slug, pk=pk)


@require_POST
def switch_off(request, pk):
    """Switch an account off: the person is logged out everywhere and cannot log in."""
    return _switch(request, pk, on=False, done="The account of {person} is switched off.")


@require_POST
def switch_on(request, pk):
    """Switch an account on again."""
    return _switch(request, pk, on=True, done="{person} can log in again.")


def _switch(request, pk, *, on, done):
    person = get_object_or_404(User, pk=pk)
    shared = permissions.teams_seen_by(request.user).filter(memberships__user=person).order_by("name")
    if not shared and not request.user.is_superuser:
        raise Http404
    if not members.may_switch(request.user, person):
        raise PermissionDenied(
            "You cannot switch this account. Nobody can switch their own; a team admin can switch people who are "
            "in no other team, and a superuser can switch everybody."
        )
    attempt(
        request,
        lambda: members.switch_account(person, on=on, actor=request.actor),
        done=done.format(person=person),
    )
    if shared:
        return redirect("purchasing:member", slug=shared[0].slug, pk=pk)
    return redirect("purchasing:teams")


def managed(request, slug):
    """The team, for people who may manage it; 404 for those who cannot see it, else 403."""
    team = get_object_or_404(permissions.teams_seen_by(request.user), slug=slug)
    if not permissions.may_manage(request.user, team):
        raise PermissionDenied(teams.NOT_ITS_ADMIN.format(team=team))
    return team


def _member(team, pk):
    in_team = Membership.objects.filter(team=team).values("user")
    return get_object_or_404(User, pk=pk, pk__in=in_team)


@method_decorator(require_http_methods(["GET", "HEAD", "POST"]), name="dispatch")
class Welcome(PasswordResetConfirmView):
    """Where an invitation leads: choose a password. A wrong, expired or used link says only that it no longer works."""

    token_generator = invitations.tokens
    form_class = ChoosePasswordForm
    template_name = "registration/welcome.html"
    success_url = reverse_lazy("login")

    def form_valid(self, form):
        with transaction.atomic():
            answer = super().form_valid(form)
            invitations.record_choice(self.user)
        messages.success(self.request, "Your password is set. Log in with it.")
        return answer

    def get_context_data(self, **kwargs):
        return super().get_context_data(person=self.user if self.validlink else None, **kwargs)
