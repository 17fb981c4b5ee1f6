"""The audit record, newest first."""

from django.shortcuts import render
from django.views.decorators.http import require_safe

from purchasing import selectors

PAGE = 50


@require_safe
def listing(request):
    """The events that the person may see; older pages by the number of the last event shown."""
    events = selectors.events_seen_by(request.user).order_by("-seq")
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 19:
        events = events.filter(seq__lt=int(before))
    shown = list(events[: PAGE + 1])
    older = shown[PAGE - 1].seq if len(shown) > PAGE else None
    return render(
        request, "purchasing/audit.html", {"events": shown[:PAGE], "older": older, "paged": bool(before)}
    )
