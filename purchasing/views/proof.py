"""Seals and checks of the record, for auditors; exports of events."""

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

SEALS, CHECKS = 30, 10  # how many of the newest are shown
POLL = 2  # seconds


@require_safe
def page(request):
    """The newest seals, the public keys, and the checks so far."""
    _require_auditor(request)
    return _page(request, kept_form=KeptForm())


@require_POST
def compare(request):
    """Compare the record with the first line of an export that somebody kept. Changes nothing."""
    _require_auditor(request)
    form = KeptForm(request.POST)
    compared = audit.compare(form.cleaned_data["kept"]) if form.is_valid() else {}
    compared = {seq: became.value for seq, became in compared.items()}
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
    """The fragment with the checks; 204 while the page already shows them."""
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
    """Queue a check of the whole record."""
    _require_auditor(request)
    verification.begin(actor=request.actor)
    messages.success(request, "The whole record is being checked. You can leave this page.")
    return redirect("purchasing:audit-proof")


def _require_auditor(request):
    if not verification.may_check(request.user):
        raise PermissionDenied("Only an auditor or a superuser can see the seals and check the whole record.")


# --- Exports --------------------------------------------------------------------------------------------------------


@require_safe
def as_csv(request):
    """The filtered events as CSV."""
    return _export(request, "csv")


@require_safe
def as_json_lines(request):
    """The filtered events as JSON Lines."""
    return _export(request, "jsonl")


@require_safe
def as_xlsx(request):
    """The filtered events as a workbook."""
    return _export(request, "xlsx")


def _export(request, kind):
    """A streamed file. A link on another site, or a page that the browser prefetches, exports nothing."""
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
