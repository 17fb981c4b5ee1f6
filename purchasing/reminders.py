"""Requests that nobody decides: the approvers are reminded, then the team admins, then they expire."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction

from purchasing import audit, clock
from purchasing.models import Purchase, PurchaseRequest
from purchasing.states import State

SYSTEM = audit.system("reminders")
STEPS = (  # the setting, the column that says it was done, and the event
    ("REMIND_APPROVERS_AFTER_HOURS", "reminded_at", "request.reminded"),
    ("REMIND_ADMINS_AFTER_HOURS", "admins_reminded_at", "request.admins_reminded"),
)


def remind():
    """Record a reminder for every request that has waited long enough, once for each step; mail follows the record."""
    for setting, column, action in STEPS:
        _remind(clock.now() - timedelta(hours=getattr(settings, setting)), column, action)


@transaction.atomic
def _remind(before, column, action):
    pending = Purchase.objects.filter(state=State.PENDING, state_changed_at__lt=before)
    waiting = PurchaseRequest.objects.filter(pk__in=pending.values("request"), **{column: None})
    waiting = list(waiting.select_for_update(no_key=True, of=("self",)).select_related("team").order_by("pk"))
    PurchaseRequest.objects.filter(pk__in=[request.pk for request in waiting]).update(**{column: clock.now()})
    for request in waiting:
        audit.record(action, actor=SYSTEM, request=request)
