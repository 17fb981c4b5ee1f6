"""The only writer of audit events.

Every event carries the SHA-256 of its own content and of the event before it, so whoever changes, removes or
inserts one has to rewrite all that follow, and the head.
"""

from django.db import connection, transaction

from purchasing import clock
from purchasing.audit import filing
from purchasing.audit.chain import fingerprint
from purchasing.models import AuditEvent, AuditHead
from purchasing.redaction import redact


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


# --- The statements -----------------------------------------------------------------------------------------------
# Written out, since every step of every purchase waits for them: the ORM would double the time that an event takes.

_FIELDS = AuditEvent._meta.concrete_fields
_INSERT_EVENT = filing.insert(AuditEvent._meta.db_table, *(field.column for field in _FIELDS))
_INSERT_STRETCH = filing.insert(*filing.STRETCHES)
_HEAD = f"FROM {AuditHead._meta.db_table} WHERE id = {AuditHead.ONLY}"
_LOCK_HEAD = f"SELECT seq, hash, quarter, reached, filed {_HEAD}"
_MOVE_HEAD = (
    f"UPDATE {AuditHead._meta.db_table} SET seq = %s, hash = %s, quarter = %s, reached = %s, filed = %s "
    f"WHERE id = {AuditHead.ONLY}"
)


def _append(event, cursor):
    """Give the event its place in the chain and write it; file the lot that it fills."""
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
    if connection.vendor == "postgresql":  # one way to the server instead of two
        cursor.execute(f"WITH moved AS ({_MOVE_HEAD}) {_INSERT_EVENT}", [*moved, *values])
    else:
        cursor.execute(_INSERT_EVENT, values)
        cursor.execute(_MOVE_HEAD, moved)
    if quarter != quarter_before:
        cursor.execute(_INSERT_STRETCH, [event.seq, quarter, reached])
    if is_full:
        filing.file(cursor, filed, event.seq)
