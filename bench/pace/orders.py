"""What happens on the stage, one order a process: `python -m bench.pace.orders ORDER`. Prints JSON."""

import json
import statistics
import sys
import time
from datetime import UTC
from decimal import Decimal

import django

django.setup()

from bench.pace.stage import KEY  # noqa: E402
from purchasing import audit, clock  # noqa: E402
from purchasing.approving import approvals  # noqa: E402
from purchasing.asking import submission  # noqa: E402
from purchasing.models import Attempt, AuditEvent, Purchase, PurchaseRequest, Team, User  # noqa: E402
from purchasing.provider import offers, pauses  # noqa: E402
from purchasing.states import Outcome, State  # noqa: E402
from purchasing.teams import keys, members, teams  # noqa: E402

ACTOR = audit.system("bench")
PLACE = {"country_code": "US", "number_type": "local"}
PATIENCE = 900  # seconds for everything that was approved together
OVER = (State.PURCHASED, State.FAILED, State.HELD)


def people():
    """One team with a key, a requester and an approver."""
    team = teams.create_team("Bench", actor=ACTOR)
    keys.set_key(team, KEY, actor=ACTOR)
    for name, role in (("sam", "requester"), ("ana", "approver")):
        members.set_member(name, role=role, password="a password of the bench", team=team, actor=ACTOR)
    return {}


def buy(count, record_calls):
    """Approve `count` numbers at once and wait until they are bought and set up."""
    requests = ask(int(count), record_calls == "recorded")
    began = clock.now()
    for request in requests:
        approve(request)
    purchases = Purchase.objects.filter(request__in=requests)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        open_ones = purchases.exclude(state__in=OVER).exists()
        if not open_ones and not purchases.filter(state=State.PURCHASED, applied_at=None).exists():
            break
        time.sleep(0.2)
    return found(purchases, began)


def found(purchases, began):
    """What became of these purchases, in seconds since `began` and since their purchase."""
    bought = list(purchases.filter(state=State.PURCHASED))
    attempts = Attempt.objects.filter(purchase__in=bought)
    switched = [
        (purchase.applied_at - purchase.purchased_at).total_seconds()
        for purchase in bought
        if purchase.applied_at
    ]
    lost = AuditEvent.objects.filter(action="purchase.unconfirmed", purchase__in=bought)
    settled = {purchase.pk: purchase.purchased_at for purchase in bought}
    first = min((attempt.claimed_at for attempt in attempts), default=began)
    last = max((purchase.purchased_at for purchase in bought), default=began)
    # A purchase that waited for evidence does not count for the pace of the others.
    sure = attempts.filter(outcome=Outcome.PURCHASED)
    return {
        "began": began.astimezone(UTC).isoformat(),
        "bought": len(bought),
        "seconds": (last - began).total_seconds(),
        "span": (last - first).total_seconds(),
        "sure": sure.count(),
        "applied": len(switched),
        "applied_median": statistics.median(switched) if switched else None,
        "evidence": [(settled[event.purchase_id] - event.at).total_seconds() for event in lost],
    }


def idle(count):
    """Approve numbers one by one, each while the worker is idle. Milliseconds from each approval to its claim."""
    waits = []
    for request in ask(int(count), True, each=1):
        approve(request)
        approved = clock.now()
        purchase = request.purchases.get()
        until = time.monotonic() + 30
        while time.monotonic() < until and not Purchase.objects.filter(
            pk=purchase.pk, state=State.PURCHASED
        ).exclude(applied_at=None):
            time.sleep(0.05)
        claimed = purchase.attempts.values_list("claimed_at", flat=True).first()
        if claimed:
            waits.append((claimed - approved).total_seconds() * 1000)
        time.sleep(0.3)
    return {"claimed": len(waits), "median": statistics.median(waits) if waits else None, "all": waits}


def ask(count, record_calls, *, each=submission.MOST_NUMBERS):
    """Requests for `count` numbers on offer, `each` in a request, with confirmed costs."""
    team = Team.objects.get()
    shelf = offers.available(pauses.current_key(team), **PLACE).offers
    taken = submission.taken(list(shelf))
    free = [offer for number, offer in shelf.items() if number not in taken][:count]
    requests = [
        submission.submit(
            team=team,
            requester=audit.Actor.person(User.objects.get(username="sam")),
            reason="To measure",
            lines=[line(offer, record_calls) for offer in free[start : start + each]],
        )
        for start in range(0, count, each)
    ]
    pending = Purchase.objects.filter(request__in=requests)
    until = time.monotonic() + 60
    while pending.filter(cost_confirmed_at=None).exists() and time.monotonic() < until:
        time.sleep(0.1)
    return requests


def line(offer, record_calls):
    return submission.RequestedNumber(
        phone_number=offer.phone_number,
        name=f"Desk {offer.phone_number[-4:]}",
        upfront_cost=offer.upfront_cost or Decimal(0),
        monthly_cost=offer.monthly_cost or Decimal(0),
        record_calls=record_calls,
        **PLACE,
    )


def approve(request):
    ana = audit.Actor.person(User.objects.get(username="ana"))
    request = PurchaseRequest.objects.get(pk=request.pk)
    approvals.approve(
        request.pk,
        list(request.purchases.values_list("pk", flat=True)),
        approver=ana,
        version=request.version,
    )


if __name__ == "__main__":
    print(json.dumps({"people": people, "buy": buy, "idle": idle}[sys.argv[1]](*sys.argv[2:])))
