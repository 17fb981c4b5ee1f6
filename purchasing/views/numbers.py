"""The numbers bought here, and what each still needs before it takes calls."""

from django.conf import settings
from django.core.paginator import Paginator
from django.shortcuts import render
from django.views.decorators.http import require_safe

from purchasing import selectors
from purchasing.states import State

PAGE = 50


@require_safe
def listing(request):
    """The bought numbers of the person's teams, newest first."""
    bought = (
        selectors.purchases_seen_by(request.user)
        .filter(state=State.PURCHASED)
        .order_by("-purchased_at", "-pk")
    )
    page = Paginator(bought, PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "purchasing/numbers.html",
        {"page": page, "dashboard_url": settings.IDENTITYCALL_DASHBOARD_URL},
    )
