"""The only writer of audit events.

Every event carries the SHA-256 of its own content and of the event before it, so changing, removing or inserting one
means rewriting all later events and the head.
"""

from typing import Any

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from purchasing import clock
from purchasing.audit import filing
from purchasing.audit.actors import Actor
from purchasing.audit.chain import fingerprint
from purchasing.models import Attempt, AuditEvent, AuditHead, Purchase, PurchaseRequest, Team
from purchasing.redaction import redact


def record(
    action: str,
    *,
    actor: Actor,
    team: Team | None = None,
    request: PurchaseRequest | None = None,
    purchase: Purchase | None = None,
    attempt: Attempt | None = None,
    was: str = "",
    became: str = "",
    note: object = "",
    **data: Any,
) -> AuditEvent:
    """Append one event in the transaction of the change that it records, and return it.

    `action` is dotted words ('purchase.approved'). Every text is redacted: nothing that looks like an API key is kept.
    `data` holds further details: texts, whole numbers, and lists and dicts of them.
    """
    if purchase is not None:
        request = purchase.request
    if request is not None:
        team = request.team
    event = AuditEvent(
        action=action,
        actor=actor.user,
        actor_name=clean(actor.name)[:150],
        actor_role=actor.role_in(team.pk if team is not None else None),
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
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        _append(event, cursor)
    return event


def position() -> int:
    """The number of the newest committed event: a clock that cannot go backwards."""
    return AuditHead.objects.get(pk=AuditHead.ONLY).seq


def clean(text: object) -> str:
    """`text` without secrets and without characters that a database or a log cannot hold."""
    text = str(text).encode("utf-8", "replace").decode()
    # Redact last: removing an invisible character from the middle of a key can make it recognisable.
    return redact("".join(c for c in text if c in "\n\t" or ((c.isprintable() or c.isspace()) and c != "\r")))


def _cleaned(value: object) -> Any:
    if isinstance(value, dict):
        return {clean(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(item) for item in value]
    if value is None or isinstance(value, bool | int):
        return value
    return clean(value)


# --- The statements -----------------------------------------------------------------------------------------------
# Plain SQL, because every step of every purchase waits for it: the ORM would double the time that an event takes.

_FIELDS = AuditEvent._meta.concrete_fields
_INSERT_EVENT = filing.insert(AuditEvent._meta.db_table, *(str(field.column) for field in _FIELDS))
_INSERT_STRETCH = filing.insert(*filing.STRETCHES)
_HEAD = f"FROM {AuditHead._meta.db_table} WHERE id = {AuditHead.ONLY}"
_LOCK_HEAD = f"SELECT seq, hash, quarter, reached, filed {_HEAD}"
_MOVE_HEAD = (
    f"UPDATE {AuditHead._meta.db_table} SET seq = %s, hash = %s, quarter = %s, reached = %s, filed = %s "
    f"WHERE id = {AuditHead.ONLY}"
)


def _append(event: AuditEvent, cursor: CursorWrapper) -> None:
    """Number and hash the event and write it; if it fills a lot, file that lot."""
    event.words = filing.joined(filing.words_of(event))
    cursor.execute(f"{_LOCK_HEAD} FOR UPDATE" if connection.vendor == "postgresql" else _LOCK_HEAD)
    seq, event.previous_hash, quarter_before, reached, filed = cursor.fetchone()
    event.seq = seq + 1
    event.at = clock.now()
    event.hash = fingerprint(event)
    quarter = int(event.at.timestamp()) // filing.QUARTER
    reached = max(reached, quarter)
    values = [field.get_db_prep_save(getattr(event, field.attname), connection) for field in _FIELDS]
    is_full = event.seq - filed >= filing.LOT
    moved = [event.seq, event.hash, quarter, reached, event.seq if is_full else filed]
    if connection.vendor == "postgresql":  # one round trip instead of two
        cursor.execute(f"WITH moved AS ({_MOVE_HEAD}) {_INSERT_EVENT}", [*moved, *values])
    else:
        cursor.execute(_INSERT_EVENT, values)
        cursor.execute(_MOVE_HEAD, moved)
    if quarter != quarter_before:
        cursor.execute(_INSERT_STRETCH, [event.seq, quarter, reached])
    if is_full:
        filing.file(cursor, filed, event.seq)
