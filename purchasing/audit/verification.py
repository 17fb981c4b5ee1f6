"""Checks of the whole record that auditors ask for on its page. The queue carries them out in slices of seconds."""

import time

from django.db import transaction

from purchasing import audit, clock, jobs, permissions
from purchasing.audit.proof import Walk
from purchasing.models import AuditCheck, AuditHead
from purchasing.problems import NotYours

SLICE = 4  # seconds; what runs it sweeps as well
WHO_CAN = "Only an auditor or a superuser can check the whole record."


def may_check(user):
    """Auditors and superusers: who reads every team's records."""
    return permissions.sees_every_team(user)


@transaction.atomic
def begin(*, actor):
    """Let the queue check the record; one check at a time. Asked again it is woken, should its task have been lost."""
    if not may_check(actor.user):
        raise NotYours(WHO_CAN)
    head = AuditHead.objects.select_for_update().get(pk=AuditHead.ONLY)
    check = AuditCheck.objects.filter(ended_at=None).first()
    if check is None:
        check = AuditCheck.objects.create(
            asked_by=actor.user, asked_at=clock.now(), ip=actor.ip, seq=head.seq, place=Walk.begin().place
        )
    jobs.enqueue("check_record", check.pk)
    return check


def go_on(check_id):
    """Check for some seconds, and let the queue go on, or say what was found."""
    check = AuditCheck.objects.select_related("asked_by").get(pk=check_id)
    if check.ended_at:
        return
    walk, until = Walk.again(check.place), time.monotonic() + SLICE
    while not walk.step() and time.monotonic() < until:
        pass
    with transaction.atomic():
        mine = AuditCheck.objects.filter(pk=check.pk, done=check.done, ended_at=None)
        if walk.verdict:
            _end(check, mine, walk.verdict)
        elif mine.update(
            done=walk.expected - 1, place=walk.place
        ):  # else the task ran twice, and another was quicker
            jobs.enqueue("check_record", check.pk)


def _end(check, mine, verdict):
    ended = mine.update(
        done=verdict.events,
        place={},
        ended_at=clock.now(),
        bad_seq=verdict.bad_seq,
        problem=verdict.problem[:500],
    )
    if ended:
        record_verdict(verdict, actor=audit.Actor.person(check.asked_by, ip=check.ip))


def record_verdict(verdict, *, actor):
    """Keep in the record that it was checked, and what came of it."""
    audit.record("audit.verified", actor=actor, result=in_words(verdict), events=verdict.events)


def in_words(verdict):
    """'whole: 120 events, 3 seals', or 'broken at event 7: its content was changed'."""
    if verdict.whole:
        return f"whole: {verdict.events} events" + (f", {verdict.seals} seals" if verdict.seals else "")
    where = "" if verdict.bad_seq is None else f" at event {verdict.bad_seq}"
    return f"broken{where}: {verdict.problem}"
