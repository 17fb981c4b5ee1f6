"""The audit record: the only writer of `AuditEvent`, and its proof.

Every event carries the SHA-256 of its own content and of the event before it, so whoever changes, removes or
inserts one has to rewrite all that follow, and the head.
"""

import hashlib
import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC

from django.db import transaction

from purchasing import clock
from purchasing.models import AuditEvent, AuditHead, User
from purchasing.redaction import redact

FIRST_HASH = "0" * 64


@dataclass(frozen=True)
class Actor:
    """Who does something: a person at a browser, or a named part of the system."""

    name: str
    user: User | None = None
    role: str = ""
    on_behalf_of: str = ""
    ip: str = ""
    click: str = field(default_factory=lambda: str(uuid.uuid4()))

    @classmethod
    def person(cls, user, *, ip="", **details):
        """A logged-in person; the name is copied, so that the record outlives a renamed account."""
        return cls(name=user.get_username(), user=user, ip=ip, **details)

    def standing_in_for(self, principal):
        """The same person, acting for an approver who is away: both names are recorded."""
        return replace(self, on_behalf_of=principal.get_username())


def system(name):
    """A part of the system as an actor: the worker, the sweep, a command."""
    return Actor(name=name, role="system", click="")


WORKER = system("worker")


def record(
    action, *, actor, team=None, request=None, purchase=None, attempt=None, was="", became="", note="", **data
):
    """Append one event, in the transaction of what it tells of; returns it.

    `action` is dotted words ('purchase.approved'). Everything is redacted: nothing of the form of an API key is kept.
    `data` holds what else belongs to it: texts, whole numbers, lists and dicts of them.
    """
    if purchase is not None:
        request = purchase.request
    if request is not None:
        team = request.team
    event = AuditEvent(
        action=action,
        actor=actor.user,
        actor_name=clean(actor.name)[:150],
        actor_role=actor.role,
        on_behalf_of=clean(actor.on_behalf_of)[:150],
        ip=actor.ip[:45],
        click=actor.click,
        team=team,
        request=request,
        purchase=purchase,
        attempt=attempt,
        phone_number=purchase.phone_number if purchase else "",
        was=was,
        became=became,
        note=clean(note),
        data=_cleaned(data),
    )
    with transaction.atomic():
        head = AuditHead.objects.select_for_update().get(pk=AuditHead.ONLY)
        event.seq = head.seq + 1
        event.at = clock.now()
        event.previous_hash = head.hash
        event.hash = fingerprint(event)
        AuditEvent.objects.bulk_create([event])
        AuditHead.objects.filter(pk=AuditHead.ONLY).update(seq=event.seq, hash=event.hash)
    return event


def position():
    """The number of the newest committed event: a clock that cannot go backwards."""
    return AuditHead.objects.get(pk=AuditHead.ONLY).seq


def clean(text):
    """`text` as it may be kept: without secrets, and without what a database or a log cannot hold."""
    text = str(text).encode("utf-8", "replace").decode()
    # Last of all, since a key may come together where something invisible is taken out of its middle.
    return redact("".join(c for c in text if c in "\n\t" or ((c.isprintable() or c.isspace()) and c != "\r")))


def _cleaned(value):
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    return clean(value)


def fingerprint(event):
    """The SHA-256 (64 hex digits) of everything that `event` says and of the hash before it."""
    content = {
        "seq": event.seq,
        "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "action": event.action,
        "actor": event.actor_id,
        "actor_name": event.actor_name,
        "actor_role": event.actor_role,
        "on_behalf_of": event.on_behalf_of,
        "ip": event.ip,
        "click": event.click,
        "team": event.team_id,
        "request": event.request_id,
        "purchase": event.purchase_id,
        "attempt": event.attempt_id,
        "phone_number": event.phone_number,
        "was": event.was,
        "became": event.became,
        "note": event.note,
        "data": event.data,
        "previous_hash": event.previous_hash,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Verdict:
    """What a walk along the chain found: how many events are sound, and the first that is not."""

    events: int
    bad_seq: int | None = None
    problem: str = ""

    @property
    def whole(self):
        """Whether every event is as it was written."""
        return self.bad_seq is None


def verify():
    """Walk the whole chain and say where it first breaks, if it does. Memory stays flat."""
    head = AuditHead.objects.get(pk=AuditHead.ONLY)
    expected, previous = 1, FIRST_HASH
    # Events that are added during the walk lie behind the head that was read first.
    for event in AuditEvent.objects.filter(seq__lte=head.seq).order_by("seq").iterator(chunk_size=1000):
        if event.seq != expected:
            return Verdict(expected - 1, expected, f"event {expected} is missing")
        if event.previous_hash != previous:
            return Verdict(expected - 1, event.seq, "it does not follow the event before it")
        if fingerprint(event) != event.hash:
            return Verdict(expected - 1, event.seq, "its content was changed")
        expected, previous = event.seq + 1, event.hash
    if expected - 1 != head.seq:
        return Verdict(expected - 1, expected, f"event {expected} is missing")
    if previous != head.hash:
        return Verdict(expected - 1, head.seq, "the head of the chain does not match it")
    beyond = AuditEvent.objects.filter(seq__gt=head.seq).order_by("seq").first()
    if beyond and AuditHead.objects.get(pk=AuditHead.ONLY).seq < beyond.seq:
        return Verdict(head.seq, beyond.seq, "it was added without the head of the chain")
    return Verdict(head.seq)
