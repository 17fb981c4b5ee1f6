"""The home page: what is waiting for the person, their requests, and whether buying works."""

import uuid
from datetime import timedelta

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from purchasing import clock, permissions, selectors
from purchasing.approving import decision_card
from purchasing.buying import missing
from purchasing.models import Desk
from purchasing.provider import unrecorded
from purchasing.states import State
from purchasing.views.health import SILENT

MINE = 20


@require_safe
def home(request):
    """What is waiting for the person, and their newest requests."""
    desk = Desk.objects.get(pk=Desk.ONLY)
    silent = not desk.swept_at or desk.swept_at < clock.now() - timedelta(seconds=SILENT)
    context = {
        "to_decide": decision_card.with_pending_figures(selectors.requests_to_decide(request.user)[:MINE]),
        "held": selectors.held_for(request.user)[:MINE],
        "waiting_long": selectors.waiting_long(request.user)[:MINE],
        "refused_keys": selectors.refused_keys_of(request.user),
        "blind_keys": selectors.blind_keys_of(request.user),
        "missing": missing.open_questions(request.user),
        "unrecorded": _unrecorded(request.user),
        "may_ask": permissions.teams_asked_for_by(request.user).exists(),
        "has_team": permissions.teams_seen_by(request.user).exists(),
        "worker_is_silent": silent,
        "alarm": desk.alarm_in_short,
        "provider_pause": desk.pause_reason if desk.failures else "",
        **_mine(request),
    }
    return render(request, "purchasing/home.html", context)


def _unrecorded(user):
    """The teams that `user` manages whose keys show numbers that are not in the record: `[(team, count)]`."""
    if not unrecorded.unknown_numbers().exists():
        return []
    counts = [
        (team, unrecorded.count(unrecorded.unknown_for(team))) for team in permissions.teams_managed_by(user)
    ]
    return [(team, count) for team, count in counts if count]


@require_safe
def live(request):
    """The fragment with the person's own requests; 204 while the page already shows them as they are."""
    context = _mine(request)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "purchasing/partials/my_requests.html", context)


def _mine(request):
    own = selectors.requests_seen_by(request.user).filter(requester=request.user).order_by("-pk")[:MINE]
    mine = selectors.summaries(own)
    states = {state for one in mine for state, _ in one.states}
    marks = [(one.asked.pk, one.states, one.figures) for one in mine]
    return {
        "mine": mine,
        "poll_seconds": poll_seconds(states),
        "seen": uuid.uuid5(uuid.NAMESPACE_URL, repr(marks)).hex,
    }


def poll_seconds(states):
    """How often, in seconds, a page with purchases in these states polls; None when nothing can change any more."""
    if states & set(selectors.MOVING):
        return 2
    if states & {State.PENDING, State.HELD, State.GIVEN_UP}:
        return 5
    return None
