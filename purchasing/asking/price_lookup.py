"""Looking up what pending numbers cost: after a request is sent, and when an approver opens its page.

Each task makes one search: its process also reads evidence, which must not wait behind many searches.
"""

from datetime import timedelta

from purchasing import audit, clock, jobs
from purchasing.asking import versions
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.models import Desk, Purchase, PurchaseRequest
from purchasing.provider import offers, pauses, turns
from purchasing.states import State


def confirm(request_id):
    """Look up the pending numbers of a request, one list of offers each time, and record the costs that are known.

    Ends quietly when IdentityCall cannot be asked now. A list that failed does not keep the others from being asked.
    """
    request = PurchaseRequest.objects.select_related("team").filter(pk=request_id).first()
    if request is None:
        return
    pending = list(request.purchases.filter(state=State.PENDING).order_by("pk"))
    key = usable_key(request.team)
    if key is None or not pending:
        return
    # Lists from before the request was sent confirm nothing.
    since = max(request.created_at, clock.now() - timedelta(seconds=offers.OFFERS_SERVE))
    places = list(dict.fromkeys(place for purchase in pending for place in offers.places_of(purchase)))
    sightings = offers.Sightings(key, places, since=since)
    missing = [place for place in places if place not in sightings.seen and place not in sightings.failed]
    if missing:
        try:
            search(key, missing[0])
        except turns.Busy as busy:
            try_again_soon(busy, "confirm_costs", request_id)
            return
        except Undecryptable:
            return
        sightings = offers.Sightings(key, places, since=since)
    _take_in(request, pending, sightings)
    if missing[1:] and usable_key(request.team):
        jobs.enqueue("confirm_costs", request_id)


def search(key, place):
    """Search one list of offers, `(country_code, number_type)`. A failure is stored with the list. Raises `Busy`."""
    country_code, number_type = place
    try:
        offers.available(key, country_code=country_code, number_type=number_type, max_age=0, behind=True)
    except errors.ProviderError as error:
        if isinstance(error, errors.RateLimited | errors.KeyRefused):
            pauses.after_failed_read(key, error)


def _take_in(request, pending, sightings):
    shown, oldest = {}, None
    for purchase in pending:
        offer, seen_at = sightings.of(purchase)
        if offer is not None:
            shown[purchase.pk] = offer
            oldest = min(oldest or seen_at, seen_at)
    if shown:
        versions.note_offers(request.pk, shown, seen_at=oldest, actor=audit.WORKER)


def look_again(purchase_id):
    """Look up one held purchase, so that its page shows the current costs."""
    held = Purchase.objects.select_related("request__team").filter(state=State.HELD)
    purchase = held.filter(pk=purchase_id).first()
    key = usable_key(purchase.request.team) if purchase else None
    if key is None:
        return
    try:
        offers.find_offer(key, purchase, behind=True)
    except errors.ProviderError as error:
        if isinstance(error, errors.RateLimited | errors.KeyRefused):
            pauses.after_failed_read(key, error)
    except turns.Busy as busy:
        try_again_soon(busy, "look_again", purchase_id)
    except Undecryptable:
        pass


def try_again_soon(busy, task, *arguments):
    """Run this task again when the key is free, if that is within a minute. Returns whether it is."""
    now = clock.now()
    if busy.until > now + timedelta(minutes=1):
        return False
    # The sweep knows nothing of these tasks: until then they plan themselves, at most as far ahead as the queue takes.
    return jobs.enqueue_at(min(busy.until, now + timedelta(seconds=jobs.SWEEP_EVERY - 1)), task, *arguments)


def usable_key(team):
    """The team's key if IdentityCall can be asked with it now, else None."""
    key = pauses.current_key(team)
    now, desk = clock.now(), Desk.objects.get(pk=Desk.ONLY)
    if key is None or key.credential.refused_at:
        return None
    paused = any(
        until and not clock.has_come(until, now) for until in (key.credential.paused_until, desk.paused_until)
    )
    return None if paused else key


def ask_again(request):
    """Queue a look-up of the pending numbers, unless all costs are recent or one is queued already."""
    recent = clock.now() - timedelta(seconds=offers.OFFERS_SERVE)
    if request.purchases.filter(state=State.PENDING).exclude(cost_confirmed_at__gt=recent).exists():
        _enqueue_once("confirm_costs", request.pk)


def ask_again_for_held(purchase):
    """Queue a look-up of one held purchase, unless its offer is recent or one is queued already."""
    key = pauses.current_key(purchase.request.team)
    seen_at = offers.last_offer(key, purchase)[1] if key else None
    if key and (seen_at is None or seen_at < clock.now() - timedelta(seconds=offers.OFFERS_SERVE)):
        _enqueue_once("look_again", purchase.pk)


def _enqueue_once(task, pk):
    if not jobs.queued(task, pk).exists():
        jobs.enqueue(task, pk)
