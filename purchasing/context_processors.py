"""What every page knows."""

from django.conf import settings
from django.urls import reverse
from django.utils.functional import SimpleLazyObject

from purchasing import rules, selectors
from purchasing.models import Desk, Membership
from purchasing.states import Role


def desk(request):
    """The navigation, and the banners about the sandbox and a stop of all buying."""
    return {
        "sandbox": settings.SANDBOX,
        "currency": settings.CURRENCY,
        "nav": SimpleLazyObject(lambda: _nav(request)),
        "buying_stopped": SimpleLazyObject(lambda: _stopped(request)),
    }


def _stopped(request):
    if not request.user.is_authenticated:
        return ""
    row = Desk.objects.get(pk=Desk.ONLY)
    return f"All buying is stopped: {row.stop_reason}" if row.stopped_at else ""


def _nav(request):
    user = request.user
    if not user.is_authenticated:
        return []
    roles = set(Membership.objects.filter(user=user).values_list("role", flat=True))
    entries = [("Home", "home", 0)]
    if user.is_superuser or Role.REQUESTER in roles:
        entries.append(("Find numbers", "find", 0))
        entries.append(("Paste numbers", "paste", 0))
    entries.append(("Requests", "requests", 0))
    if rules.decides_somewhere(user):
        entries.append(("Approvals", "approvals", selectors.requests_to_decide(user).count()))
    held = selectors.held_for(user).count()
    if held:
        entries.append(("Decisions", "held", held))
    entries.append(("Numbers", "numbers", 0))
    entries.append(("Audit", "audit", 0))
    if roles or rules.sees_every_team(user):
        entries.append(("Teams", "teams", 0))
    current = request.resolver_match.url_name if request.resolver_match else ""
    return [
        {"url": reverse(f"purchasing:{name}"), "label": label, "current": name == current, "count": count}
        for label, name, count in entries
    ]
