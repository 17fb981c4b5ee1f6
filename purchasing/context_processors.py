"""The context of every page."""

from django.conf import settings
from django.db.models import Value
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from purchasing import permissions, selectors
from purchasing.models import Desk, Membership
from purchasing.provider import pauses
from purchasing.states import Role


def desk(request):
    """The navigation, and the banners for the sandbox, for an alarm and for a stop of all buying."""
    frame = SimpleLazyObject(lambda: _frame(request.user))
    return {
        "sandbox": settings.SANDBOX,
        "currency": settings.CURRENCY,
        "nav": SimpleLazyObject(lambda: _nav(request, frame["role"])),
        "buying_stopped": SimpleLazyObject(lambda: _stopped(frame)),
    }


def _stopped(frame):
    reasons = [pauses.after_alarm(Desk.objects.get(pk=Desk.ONLY))] if frame["alarm"] else []
    return reasons + [f"All buying is stopped: {reason}" for reason in frame["stop"]]


def _frame(user):
    """The person's roles, and why all buying is stopped, by people or an alarm: one query, as every page needs it."""
    found = {"role": [], "stop": [], "alarm": []}
    if user.is_authenticated:
        stops = Desk.objects.filter(pk=Desk.ONLY, stopped_at__isnull=False)
        roles = Membership.objects.filter(user=user).order_by()
        stops = stops.values_list(Value("stop"), "stop_reason")
        alarms = Desk.objects.filter(pk=Desk.ONLY, alarm_at__isnull=False)
        alarms = alarms.values_list(Value("alarm"), "alarm_words")
        for kind, text in roles.values_list(Value("role"), "role").union(stops, alarms, all=True):
            found[kind].append(text)
    return found


def _nav(request, roles):
    user, roles = request.user, set(roles)
    if not user.is_authenticated:
        return []
    entries = [("Home", "home", 0)]
    if user.is_superuser or Role.REQUESTER in roles:
        entries.append(("Find numbers", "find", 0))
        entries.append(("Paste numbers", "paste", 0))
    entries.append(("Requests", "requests", 0))
    member = user.is_superuser or roles  # people in no team decide nothing
    if member and permissions.decides_somewhere(user):
        entries.append(("Approvals", "approvals", selectors.requests_to_decide(user).count()))
    held = selectors.held_for(user).count() if user.is_superuser or roles - {Role.REQUESTER} else 0
    if held:
        entries.append(("Decisions", "held", held))
    entries.append(("Numbers", "numbers", 0))
    entries.append(("Audit", "audit", 0))
    if roles or permissions.sees_every_team(user):
        entries.append(("Teams", "teams", 0))
    current = request.resolver_match.url_name if request.resolver_match else ""
    return [
        {"url": reverse(f"purchasing:{name}"), "label": label, "current": name == current, "count": count}
        for label, name, count in entries
    ]
