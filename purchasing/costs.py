"""What the provider says that pending numbers cost: looked up after sending, and when an approver opens the page."""

from datetime import timedelta

from django_tasks import TaskResultStatus
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock, inventory, pauses, settlement, wake, workflow
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.models import Desk, Purchase, PurchaseRequest
from purchasing.states import State


def confirm(request_id):
    """Look up every pending number of a request and take its cost in; ends quietly when it cannot be asked now."""
    request = PurchaseRequest.objects.select_related("team").filter(pk=request_id).first()
    if request is None:
        return
    found, oldest = {}, None
    for purchase in request.purchases.filter(state=State.PENDING).order_by("pk"):
        seen = _look(request.team, purchase)
        if seen is None:
            break
        found[purchase.pk], seen_at = seen
        oldest = min(oldest or seen_at, seen_at)
    if found:
        workflow.note_offers(request_id, found, seen_at=oldest, actor=audit.WORKER)


def look_again(purchase_id):
    """Look up one held purchase, so that its page shows what it costs now."""
    purchase = (
        Purchase.objects.select_related("request__team").filter(pk=purchase_id, state=State.HELD).first()
    )
    if purchase is not None:
        _look(purchase.request.team, purchase)


def _look(team, purchase):
    """The offer for a purchase and when it was seen, or None where it cannot be asked for now."""
    key = pauses.current_key(team)
    now, desk = clock.now(), Desk.objects.get(pk=Desk.ONLY)
    paused = key and any(
        until and not clock.has_come(until, now) for until in (key.paused_until, desk.paused_until)
    )
    if key is None or key.refused_at or paused:
        return None
    # What the list showed before the request was sent confirms nothing.
    since_sent = (now - purchase.request.created_at).total_seconds()
    try:
        return inventory.find_offer(key, purchase, max_age=min(inventory.FRESH, since_sent))
    except errors.ProviderError as error:
        if isinstance(error, errors.RateLimited | errors.KeyRefused):
            settlement.after_failed_read(key, error)
    except (inventory.Busy, Undecryptable):
        pass
    return None


def ask_again(request):
    """Let the worker look up the pending numbers, unless all were seen within the last minute or it is on its way."""
    recent = clock.now() - timedelta(seconds=inventory.FRESH)
    if request.purchases.filter(state=State.PENDING).exclude(cost_confirmed_at__gt=recent).exists():
        _once("confirm_costs", request.pk)


def ask_again_for_held(purchase):
    """The same for one held purchase."""
    key = pauses.current_key(purchase.request.team)
    seen_at = inventory.last_offer(key, purchase)[1] if key else None
    if key and (seen_at is None or seen_at < clock.now() - timedelta(seconds=inventory.FRESH)):
        _once("look_again", purchase.pk)


def _once(task, pk):
    waiting = DBTaskResult.objects.filter(
        status=TaskResultStatus.READY,
        task_path=f"purchasing.tasks.{task}",
        args_kwargs={"args": [pk], "kwargs": {}},
    )
    if not waiting.exists():
        wake.soon(task, pk)
