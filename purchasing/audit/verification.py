"""Checks of the whole record that auditors start on its page. The queue runs them in slices of a few seconds."""

import time

from django.db import transaction
from django.db.models import QuerySet

from purchasing import audit, clock, jobs, permissions
from purchasing.audit.proof import Verdict, Walk
from purchasing.models import AuditCheck, AuditHead, User
from purchasing.problems import NotYours

SLICE = 4  # seconds; short, because the same process also runs the sweep
WHO_CAN = "Only an auditor or a superuser can check the whole record."


def may_check(user: User) -> bool:
    """Whether the person reads every team's records: auditors and superusers."""
    return bool(permissions.sees_every_team(user))


@transaction.atomic
def begin(*, actor: audit.Actor) -> AuditCheck:
    """Queue a check of the record, one at a time. If one is running, queue it again in case its task was lost."""
    if actor.user is None or not may_check(actor.user):
        raise NotYours(WHO_CAN)
    head = AuditHead.objects.select_for_update().get(pk=AuditHead.ONLY)
    check = AuditCheck.objects.filter(ended_at=None).first()
    if check is None:
        check = AuditCheck.objects.create(
            asked_by=actor.user, asked_at=clock.now(), ip=actor.ip, seq=head.seq, place=Walk.begin().place
        )
    jobs.enqueue("check_record", check.pk)
    return check


def go_on(check_id: int) -> None:
    """Check for `SLICE` seconds, then queue the next slice or record the result."""
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
        # No row matches if the task ran twice and the other run was faster.
        elif mine.update(done=walk.expected - 1, place=walk.place):
            jobs.enqueue("check_record", check.pk)


def _end(check: AuditCheck, mine: QuerySet[AuditCheck], verdict: Verdict) -> None:
    ended = mine.update(
        done=verdict.events,
        place={},
        ended_at=clock.now(),
        bad_seq=verdict.bad_seq,
        problem=verdict.problem[:500],
    )
    if ended:
        record_verdict(verdict, actor=audit.Actor.person(check.asked_by, ip=check.ip))


def record_verdict(verdict: Verdict, *, actor: audit.Actor) -> None:
    """Record that the record was checked, and the outcome."""
    audit.record("audit.verified", actor=actor, result=in_words(verdict), events=verdict.events)


def in_words(verdict: Verdict) -> str:
    """'whole: 120 events, 3 seals', or 'broken at event 7: its content was changed'."""
    if verdict.whole:
        return f"whole: {verdict.events} events" + (f", {verdict.seals} seals" if verdict.seals else "")
    where = "" if verdict.bad_seq is None else f" at event {verdict.bad_seq}"
    return f"broken{where}: {verdict.problem}"
