"""Seals of the record and checks of all of it, for auditors; and events as files."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from purchasing import audit, permissions
from purchasing.audit import export, verification
from purchasing.audit.desk import reader_for
from purchasing.audit.seals import trusted_keys
from purchasing.models import AuditCheck, AuditHead, AuditSeal
from purchasing.views.audit import address, filter_of
from purchasing.views.forms.audit import KeptForm

SEALS, CHECKS = 30, 10  # of each, the newest are shown
POLL = 2  # seconds


@require_safe
def page(request):
    """The newest seals, how they are checked, and the checks so far."""
    _require_auditor(request)
    return _page(request, kept_form=KeptForm())


@require_POST
def compare(request):
    """Compare the record with what stands in an export that somebody kept. Nothing is changed."""
    _require_auditor(request)
    form = KeptForm(request.POST)
    compared = audit.compare(form.cleaned_data["kept"]) if form.is_valid() else {}
    return _page(request, kept_form=form, compared=compared)


def _page(request, **more):
    context = {
        "head": AuditHead.objects.get(pk=AuditHead.ONLY),
        "seals": AuditSeal.objects.order_by("-number")[:SEALS],
        "keys": trusted_keys(),
        **_checks(),
        **more,
    }
    return render(request, "purchasing/proof.html", context)


@require_safe
def live(request):
    """The fragment with the checks, as they are now; 204 while they are as the page shows them."""
    _require_auditor(request)
    context = _checks()
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, "purchasing/partials/checks.html", context)


def _checks():
    shown = list(AuditCheck.objects.select_related("asked_by").order_by("-pk")[:CHECKS])
    running = next((check for check in shown if not check.ended_at), None)
    return {
        "checks": [check for check in shown if check.ended_at],
        "running": running,
        "poll_seconds": POLL if running else None,
        "seen": f"{running.pk}-{running.done}" if running else f"{shown[0].pk if shown else 0}-ended",
    }


@require_POST
def check(request):
    """Let the queue check the whole record."""
    _require_auditor(request)
    verification.begin(actor=request.actor)
    messages.success(request, "The whole record is being checked. You may leave this page meanwhile.")
    return redirect("purchasing:audit-proof")


def _require_auditor(request):
    if not verification.may_check(request.user):
        raise PermissionDenied("Only an auditor or a superuser can see the seals and check the whole record.")


# --- Exports --------------------------------------------------------------------------------------------------------


@require_safe
def as_csv(request):
    """What is filtered, as CSV."""
    return _export(request, "csv")


@require_safe
def as_json_lines(request):
    """What is filtered, as JSON Lines."""
    return _export(request, "jsonl")


@require_safe
def as_xlsx(request):
    """What is filtered, as a workbook."""
    return _export(request, "xlsx")


def _export(request, kind):
    """A file that is written while it is read. A link on another site, or a guess of the browser, exports nothing."""
    form, offered = filter_of(request)
    foreign = request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")
    if request.method == "HEAD" or foreign or "Sec-Purpose" in request.headers or not form.is_valid():
        return redirect(address(form))
    pieces = export.begin(
        kind,
        reader=reader_for(request.user, form.wanted, offered),
        filtered=form.in_words,
        actor=request.actor,
        sees_all=permissions.sees_every_team(request.user),
    )
    name = f"number-desk-events-{timezone.localtime():%Y-%m-%d-%H%M}.{kind}"
    return StreamingHttpResponse(
        pieces,
        content_type=export.FORMATS[kind].content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"},
    )
