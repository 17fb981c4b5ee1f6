"""Requests that nobody decides: first the approvers are reminded, then the team admins, then the requests expire.

The time runs from when a request was sent, or from its newest version: an edit or a changed price starts it again, and
reminders about an older version do not count.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, Q

from purchasing import audit, clock
from purchasing.models import Purchase, PurchaseRequest
from purchasing.states import State

SYSTEM = audit.system("reminders")
# For each reminder: its setting, the column that notes when it was sent, and its event.
STEPS = (
    ("REMIND_APPROVERS_AFTER_HOURS", "reminded_at", "request.reminded"),
    ("REMIND_ADMINS_AFTER_HOURS", "admins_reminded_at", "request.admins_reminded"),
)


def remind():
    """Record due reminders of requests, once for each step. The record leads to the mails."""
    for setting, column, action in STEPS:
        _remind(clock.now() - timedelta(hours=getattr(settings, setting)), column, action)


@transaction.atomic
def _remind(before, column, action):
    due = dict(_due(before, column))
    waiting = PurchaseRequest.objects.filter(pk__in=due).select_related("team").order_by("pk")
    waiting = [
        request
        for request in waiting.select_for_update(no_key=True, of=("self",))
        if getattr(request, column) == due[request.pk]  # otherwise another sweep was faster
    ]
    PurchaseRequest.objects.filter(pk__in=[request.pk for request in waiting]).update(**{column: clock.now()})
    for request in waiting:
        audit.record(action, actor=SYSTEM, request=request)


def _due(before, column):
    """Requests with pending numbers, older and unchanged since `before`, with no reminder about this version yet."""
    pending = Purchase.objects.filter(state=State.PENDING, state_changed_at__lt=before)
    requests = PurchaseRequest.objects.filter(pk__in=pending.values("request"))
    requests = requests.annotate(changed_at=Max("versions__replaced_at"))
    requests = requests.filter(Q(changed_at=None) | Q(changed_at__lt=before))
    requests = requests.filter(Q(**{column: None}) | Q(**{f"{column}__lt": F("changed_at")}))
    return requests.values_list("pk", column)
