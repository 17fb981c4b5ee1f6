"""The auditors' desk: events by any filter, page by page; one event; the whole story of a purchase."""

from datetime import timedelta
from urllib.parse import urlencode

from django.http import QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from purchasing import clock, permissions, selectors
from purchasing.audit import desk
from purchasing.audit.search_places import LAST
from purchasing.models import AuditSeal
from purchasing.views.forms.audit import FilterForm, JumpForm, begin_of

PAGE = 50
SAME_CLICK = 100  # other events of the same click that are shown
EXPORTS = {"csv": "CSV", "jsonl": "JSON Lines", "xlsx": "Excel (XLSX)"}


@require_safe
def listing(request):
    """Events, newest first: those that match the filter in the address and that the person may see."""
    form, offered = filter_of(request)
    jump = JumpForm(request.GET if request.GET.get("day") else None)
    if jump.is_valid() and form.is_valid():
        behind = begin_of(jump.cleaned_data["day"] + timedelta(days=1))
        _, before = desk.offered_to(request.user, until=behind).limits
        return redirect(address(form, before=before))
    context = {
        "form": form,
        "jump": jump,
        "offered": offered,
        "more_filters": bool(set(form.query) - {"q", "number"}),
        "sees_all": permissions.sees_every_team(request.user),
        "exports": [(name, address(form, f"purchasing:audit-{kind}")) for kind, name in EXPORTS.items()],
    }
    if form.is_valid():
        context |= _page(request, form, offered)
    return render(request, "purchasing/audit.html", context)


def filter_of(request):
    """The validated filter in the address, and the choices that the person has: `(form, offered)`."""
    form = FilterForm(request.GET)
    form.is_valid()
    since, until = form.moments
    offered = desk.offered_to(request.user, since=since, until=until)
    form.offer(offered)
    return form, offered


def address(form, view="purchasing:audit", **more):
    """The address of a view with the same filter."""
    query = urlencode(form.query | more)
    return f"{reverse(view)}?{query}" if query else reverse(view)


def _page(request, form, offered):
    """One page of events and the addresses of its neighbours. Reads one row more than it shows; counts nothing."""
    reader = desk.reader_for(request.user, form.wanted, offered)
    before, after = _number(request.GET, "before"), _number(request.GET, "after")
    links, to_newer = {}, after is not None and before is None
    if to_newer:
        found = reader.newer(after, PAGE + 1)
        events = found.events[:PAGE][::-1]
        links["older"] = address(form, before=events[-1].seq if events else after + 1)
        if len(found.events) > PAGE:
            links["newer"] = address(form, after=events[0].seq)
        elif found.reached is not None:
            links["search_on"] = address(form, after=found.reached)
    else:
        found = reader.older(LAST if before is None else before, PAGE + 1)
        events = found.events[:PAGE]
        if len(found.events) > PAGE:
            links["older"] = address(form, before=events[-1].seq)
        elif found.reached is not None:
            links["search_on"] = address(form, before=found.reached)
        if before is not None:
            links["newer"] = address(form, after=events[0].seq if events else before - 1)
    paged = before is not None or after is not None
    return {
        "events": events,
        "rows": desk.rows_of(events, offered.teams),
        "older": events[-1].seq if "older" in links and events else None,
        "links": links,
        "newest": address(form) if paged else "",
        "reached": found.reached,
        "way": "up" if to_newer else "down",
        "goes_on": "search_on" in links and not events,
    }


def _number(query: QueryDict, name):
    """An event number from the address; None if it is not one."""
    text = query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


@require_safe
def event(request, seq):
    """Everything about one event, with the provider's raw answer and the other events of the same click."""
    seen = selectors.events_seen_by(request.user).select_related("team", "request", "attempt")
    found = get_object_or_404(seen, seq=seq)
    beside = []
    if found.click:
        beside = list(seen.filter(click=found.click).exclude(seq=seq).order_by("seq")[:SAME_CLICK])
    context = {
        "event": found,
        "attempt": found.attempt,
        "details": desk.details_of(found),
        "beside": beside,
        "seal": AuditSeal.objects.filter(seq__gte=seq).order_by("number").first(),
        "sees_all": permissions.sees_every_team(request.user),
    }
    return render(request, "purchasing/event.html", context)


@require_safe
def story(request, pk):
    """Everything that happened to one number since the request, on one page that can be printed."""
    purchase = get_object_or_404(selectors.purchases_seen_by(request.user), pk=pk)
    events = [*purchase.events.all(), *purchase.request.events.filter(purchase=None)]
    attempts = purchase.attempts.select_related("key").defer("key__secret").order_by("pk")
    teams = {purchase.request.team_id: purchase.request.team}
    context = {
        "purchase": purchase,
        "asked": purchase.request,
        "approvals": purchase.approvals.select_related("approver", "on_behalf_of"),
        "attempts": attempts,
        "rows": desk.rows_of(sorted(events, key=lambda e: e.seq), teams),
        "audit_url": reverse("purchasing:audit"),
        "seal": AuditSeal.objects.order_by("-number").first(),
        "now": clock.now(),
    }
    return render(request, "purchasing/story.html", context)
