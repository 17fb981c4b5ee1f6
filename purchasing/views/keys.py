"""The page of a team's API key: store, test, state its scope and rate, remove. No page ever shows the key itself."""

from django.conf import settings
from django.contrib import messages
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST

from purchasing import words
from purchasing.buying import missing
from purchasing.encryption import Undecryptable
from purchasing.models import ApiKey, Purchase
from purchasing.problems import Problem
from purchasing.provider import pauses, unrecorded
from purchasing.states import State
from purchasing.teams import keys
from purchasing.views.forms.fields import ReasonForm
from purchasing.views.forms.teams import RateForm, RemoveKeyForm, ScopeForm, StoreKeyForm
from purchasing.views.members import managed
from purchasing.views.post_redirect_get import redraw, submit


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@sensitive_post_parameters("key", "password")
def page(request, slug):
    """What is known about the key, and the forms; a POST stores a new key."""
    team = managed(request, slug)
    if request.method == "POST":
        return _store(request, team)
    key = pauses.current_key(team)
    context = {
        "team": team,
        "key": key,
        "key_is_readable": key is None or is_readable(key),
        "account_wide": key is not None and keys.is_account_wide(key),
        "scope": keys.SCOPES.get(key.said_scope, "") if key else "",
        "scope_stated": keys.scope_event(key) if key else None,
        "kept": keys.kept(team),
        "waiting": Purchase.objects.filter(request__team=team, state=State.APPROVED).count(),
        "missing": len(missing.of_team(team, request.user)),
        "unrecorded": unrecorded.count(unrecorded.unknown_for(team)),
        "right_form": redraw(request, f"right-{team.pk}", ReasonForm, auto_id="right_%s"),
        "dashboard": settings.IDENTITYCALL_DASHBOARD_URL,
        "store_form": redraw(request, f"key-{team.pk}", StoreKeyForm, user=request.user, auto_id="new_%s"),
        "scope_form": redraw(
            request,
            f"scope-{team.pk}",
            ScopeForm,
            auto_id="scope_%s",
            initial={"scope": key.said_scope if key else ""},
        ),
        "rate_form": redraw(
            request,
            f"rate-{team.pk}",
            RateForm,
            auto_id="rate_%s",
            initial={"rate": key.credential.rate_per_minute if key else None},
        ),
        "remove_form": redraw(
            request,
            f"remove-key-{team.pk}",
            RemoveKeyForm,
            user=request.user,
            auto_id="remove_%s",
            initial={"seen": key.pk if key else ""},
        ),
    }
    return render(request, "purchasing/key.html", context)


page.takes_secrets = True  # the only such view: the key goes from here into the encrypted field


@sensitive_variables()
def _store(request, team):
    form = StoreKeyForm(request.POST, user=request.user)

    def store():
        secret, scope = form.cleaned_data["key"], form.cleaned_data["scope"]
        return keys.store(team, secret, scope=scope, actor=request.actor)

    submit(
        request,
        f"key-{team.pk}",
        form,
        store,
        done=lambda stored: f"The key {stored[0]} is stored. {stored[1]}",
    )
    return redirect("purchasing:team-key", slug=team.slug)


@require_POST
def test(request, slug):
    """Test the stored key, at no cost."""
    team = managed(request, slug)
    try:
        passed, sentence = keys.test_stored(team, actor=request.actor)
    except Problem as problem:
        passed, sentence = False, str(problem)
    (messages.success if passed else messages.warning)(request, sentence)
    return redirect("purchasing:team-key", slug=slug)


@require_POST
def say_scope(request, slug):
    """State whether the key is for one project or for the whole account."""
    team = managed(request, slug)
    form = ScopeForm(request.POST)
    submit(
        request,
        f"scope-{team.pk}",
        form,
        lambda: keys.say_scope(team, scope=form.cleaned_data["scope"], actor=request.actor),
        done="Saved, with your name.",
    )
    return redirect("purchasing:team-key", slug=slug)


@require_POST
def is_right(request, slug):
    """Say that the numbers a blind key knew are gone, and that it is the right key."""
    team = managed(request, slug)
    form = ReasonForm(request.POST)
    submit(
        request,
        f"right-{team.pk}",
        form,
        lambda: missing.key_is_right(team, reason=form.cleaned_data["reason"], actor=request.actor),
        done=lambda count: (
            f"{words.numbers(count).capitalize()} recorded as gone. The key is used to buy again."
        ),
    )
    return redirect("purchasing:team-key", slug=slug)


@require_POST
def set_rate(request, slug):
    """Set how many calls a minute the plan allows."""
    team = managed(request, slug)
    form = RateForm(request.POST)
    submit(
        request,
        f"rate-{team.pk}",
        form,
        lambda: keys.set_rate(team, rate=form.cleaned_data["rate"], actor=request.actor),
        done=lambda rate: f"Saved: {rate:,} calls a minute.",
    )
    return redirect("purchasing:team-key", slug=slug)


@require_POST
@sensitive_post_parameters("password")
def remove(request, slug):
    """Take the key out of use."""
    team = managed(request, slug)
    form = RemoveKeyForm(request.POST, user=request.user)
    submit(
        request,
        f"remove-key-{team.pk}",
        form,
        lambda: keys.remove(
            team, seen=form.cleaned_data["seen"], reason=form.cleaned_data["reason"], actor=request.actor
        ),
        done=f"The key was removed. Nothing is bought for {team} until a new one is stored.",
    )
    return redirect("purchasing:team-key", slug=slug)


def is_readable(key):
    """Whether the key can be decrypted with the keys in the settings."""
    try:
        ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk)
    except Undecryptable:
        return False
    return True
