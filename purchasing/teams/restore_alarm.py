"""The alarm of a database that went back in time (audit/restores.py), and 'Go on' after it.

It is a flag of its own beside 'Stop buying': neither ends the other.
"""

from django.db import connection, transaction

from purchasing import audit, clock, workflow
from purchasing.models import ApiKey, Credential, Desk, Purchase, PurchaseRequest, Team
from purchasing.problems import NotYours, Problem
from purchasing.provider import owned_list, pauses
from purchasing.states import Cause, State
from purchasing.teams import stop_buying

HELD = (
    "The database went back in time after this was approved, so what was decided or bought since may be missing here. "
    "Check in IdentityCall whether the number is yours already, then approve it again or give it up."
)


def sound(alarm):
    """Stop all buying until a superuser says 'go on', record why, and return the reason for what waits.

    A worker may still have a file open that was replaced: it looks at what is there now before it writes.
    """
    owned_list.forget_reads()
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        connection.close()
    with transaction.atomic():
        desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
        if desk.alarm_at is None:
            desk.alarm_at, desk.alarm_words = clock.now(), audit.clean(str(alarm))[:1000]
            # 'Go on' begins an epoch that is later than any that a host has seen.
            desk.epoch = max(desk.epoch or 0, alarm.epoch) or None
            desk.save(update_fields=["alarm_at", "alarm_words", "epoch"])
            audit.record("desk.alarm", actor=audit.WORKER, note=desk.alarm_words)
    return pauses.after_alarm(desk)


@transaction.atomic
def go_on(*, actor, reason):
    """End the alarm: a new epoch begins, in which each host begins its mark anew, and what is approved is held.

    With each key nothing is bought until its list was read and the numbers that the record does not explain were
    decided about (`unrecorded.end_reviews`). A key that cannot be read stops only its teams.

    Returns how many purchases are held. The database counts as what it says it is when a worker asks next.
    """
    if not stop_buying.may_stop_all(actor):
        raise NotYours("Only a superuser can let buying go on after an alarm.")
    reason = audit.clean(reason).strip()
    if not reason:
        raise Problem("Say why: the reason stays in the record.")
    desk = Desk.objects.select_for_update(no_key=True).get(pk=Desk.ONLY)
    if desk.alarm_at is None:
        raise Problem("There is no alarm.")
    held = _hold_approved(actor)
    Desk.objects.filter(pk=Desk.ONLY).update(
        epoch=max(int(clock.now().timestamp() * 1000), (desk.epoch or 0) + 1),
        identity=None,
        alarm_at=None,
        alarm_words=None,
    )
    audit.record("desk.goes_on_after_alarm", actor=actor, note=reason, held=held)
    return held


def _hold_approved(actor):
    """Hold every approved purchase, and have each key reviewed.

    One that is being cancelled is never bought, and goes on being cancelled.
    """
    approved = Purchase.objects.filter(state=State.APPROVED, cancel_asked_at=None)
    requests = list(approved.order_by("request").values_list("request", flat=True).distinct())
    # In the one order of all locks: teams, requests, purchases.
    list(Team.objects.select_for_update(no_key=True).filter(requests__in=requests).order_by("pk"))
    current = ApiKey.objects.filter(retired_at=None).values("credential")
    Credential.objects.filter(pk__in=current).update(review_seq=audit.position())
    list(PurchaseRequest.objects.select_for_update(no_key=True).filter(pk__in=requests).order_by("pk"))
    purchases = list(
        approved.select_for_update(no_key=True, of=("self",)).select_related("request__team").order_by("pk")
    )
    for purchase in purchases:
        workflow.move(
            purchase,
            State.HELD,
            actor=actor,
            note=HELD,
            held_cause=Cause.RESTORED,
            held_words=HELD,
            due_at=clock.now() if purchase.is_in_doubt else None,
        )
    return len(purchases)
