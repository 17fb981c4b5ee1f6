"""What the provider says that pending numbers cost: looked up after sending, and when an approver opens the page."""

from datetime import timedelta

from django_tasks import TaskResultStatus
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock, inventory, pauses, settlement, wake, workflow
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.models import Desk, PurchaseRequest
from purchasing.states import State


def confirm(request_id):
    """Look up every pending number of a request and take its cost in; ends quietly when it cannot be asked now."""
    request = PurchaseRequest.objects.select_related("team").filter(pk=request_id).first()
    if request is None:
        return
    key = pauses.current_key(request.team)
    desk = Desk.objects.get(pk=Desk.ONLY)
    now = clock.now()
    blocked = (
        key is None
        or key.refused_at
        or any(until and until > now for until in (key.paused_until, desk.paused_until))
    )
    if blocked:
        return
    found, oldest = {}, None
    try:
        for purchase in request.purchases.filter(state=State.PENDING).order_by("pk"):
            offer, seen_at = inventory.find_offer(key, purchase)
            oldest = min(oldest or seen_at, seen_at)
            found[purchase.pk] = offer
    except errors.ProviderError as error:
        if isinstance(error, errors.RateLimited | errors.KeyRefused):
            settlement.after_failed_read(key, error)
    except (inventory.Busy, Undecryptable):
        pass
    if found:
        workflow.note_offers(request_id, found, seen_at=oldest, actor=audit.WORKER)


def ask_again(request):
    """Let the worker look up the pending numbers, unless all were seen within the last minute or it is on its way."""
    recent = clock.now() - timedelta(seconds=inventory.FRESH)
    stale = request.purchases.filter(state=State.PENDING).exclude(cost_confirmed_at__gt=recent)
    waiting = DBTaskResult.objects.filter(
        status=TaskResultStatus.READY,
        task_path="purchasing.tasks.confirm_costs",
        args_kwargs={"args": [request.pk], "kwargs": {}},
    )
    if stale.exists() and not waiting.exists():
        wake.soon("confirm_costs", request.pk)
