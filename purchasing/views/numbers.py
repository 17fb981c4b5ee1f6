"""The numbers bought here, and what each still needs before it takes calls."""

from django.conf import settings
from django.core.paginator import Paginator
from django.shortcuts import render
from django.views.decorators.http import require_safe

from purchasing import permissions, selectors
from purchasing.models import RentedNumber
from purchasing.states import State

PAGE = 50


@require_safe
def listing(request):
    """The bought numbers of the person's teams, newest first, and those that they keep without a purchase here."""
    bought = (
        selectors.purchases_seen_by(request.user)
        .filter(state=State.PURCHASED)
        .order_by("-purchased_at", "-pk")
    )
    page = Paginator(bought, PAGE).get_page(request.GET.get("page"))
    kept = RentedNumber.objects.filter(
        kept=True, ended_at=None, team__in=permissions.teams_seen_by(request.user).values("pk")
    )
    context = {
        "page": page,
        "kept": kept.select_related("team", "decided_by").order_by("phone_number", "pk"),
        "dashboard_url": settings.IDENTITYCALL_DASHBOARD_URL,
    }
    return render(request, "purchasing/numbers.html", context)
