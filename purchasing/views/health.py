"""Liveness and readiness for monitoring. No log-in, no secrets."""

from datetime import timedelta

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError
from django.http import HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from purchasing import clock
from purchasing.models import Desk, Purchase
from purchasing.states import State

SILENT = 60  # seconds without a sweep after which no worker can be running


@login_not_required
@require_safe
def healthz(request):
    """200 while the web process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
def readyz(request):
    """200 with details when the database answers and a worker sweeps, else 503."""
    try:
        now = clock.now()
        swept_at = Desk.objects.get(pk=Desk.ONLY).swept_at
        oldest = Purchase.objects.filter(state=State.APPROVED, due_at__lte=now).order_by("due_at").first()
    except (DatabaseError, Desk.DoesNotExist):
        return JsonResponse({"database": "no answer"}, status=503)
    works = bool(swept_at and swept_at > now - timedelta(seconds=SILENT))
    return JsonResponse(
        {
            "database": "ok",
            "worker": "ok" if works else "silent",
            "oldest_due_seconds": round((now - oldest.due_at).total_seconds()) if oldest else 0,
        },
        status=200 if works else 503,
    )
