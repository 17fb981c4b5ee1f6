"""The only writer of audit events.

Every event carries the SHA-256 of its own content and of the event before it, so whoever changes, removes or
inserts one has to rewrite all that follow, and the head.
"""

from django.db import connection, transaction

from purchasing import clock, terms
from purchasing.audit.chain import fingerprint
from purchasing.models import AuditDigits, AuditEvent, AuditHead, AuditSegment, AuditStretch, AuditWord
from purchasing.models.search import SEGMENT
from purchasing.redaction import redact

QUARTER = 15 * 60  # seconds


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


def _insert(model, *columns, rows=1, or_ignore=False):
    marks = ", ".join([f"({', '.join(['%s'] * len(columns))})"] * rows)
    ignore = " ON CONFLICT DO NOTHING" if or_ignore else ""
    return f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) VALUES {marks}{ignore}"


_FIELDS = AuditEvent._meta.concrete_fields
_INSERT_EVENT = _insert(AuditEvent, *(field.column for field in _FIELDS))
_HEAD = f"FROM {AuditHead._meta.db_table} WHERE id = {AuditHead.ONLY}"
_LOCK_HEAD = f"SELECT seq, hash, quarter, reached {_HEAD}"
_MOVE_HEAD = (
    f"UPDATE {AuditHead._meta.db_table} SET seq = %s, hash = %s, quarter = %s, reached = %s "
    f"WHERE id = {AuditHead.ONLY}"
)
_KNOWN_NUMBER = f"SELECT 1 FROM {AuditEvent._meta.db_table} WHERE phone_number = %s AND seq >= %s LIMIT 1"


def _append(event, cursor):
    """Give the event its place in the chain and write it, with all that it can be found by."""
    cursor.execute(f"{_LOCK_HEAD} FOR UPDATE" if connection.vendor == "postgresql" else _LOCK_HEAD)
    seq, event.previous_hash, quarter_before, reached = cursor.fetchone()
    event.seq = seq + 1
    event.at = clock.now()
    event.hash = fingerprint(event)
    quarter = int(event.at.timestamp()) // QUARTER
    reached = max(reached, quarter)
    segment = event.seq // SEGMENT
    if event.phone_number:
        cursor.execute(_KNOWN_NUMBER, [event.phone_number, segment * SEGMENT])
        is_new = cursor.fetchone() is None
    cursor.execute(
        _INSERT_EVENT,
        [field.get_db_prep_save(getattr(event, field.attname), connection) for field in _FIELDS],
    )
    cursor.execute(_MOVE_HEAD, [event.seq, event.hash, quarter, reached])
    if quarter != quarter_before:
        cursor.execute(
            _insert(AuditStretch, "first_seq", "quarter", "reached"), [event.seq, quarter, reached]
        )
    if event.seq == 1 or event.seq % SEGMENT == 0:
        cursor.execute(_insert(AuditSegment, "number"), [segment])
    if event.phone_number and is_new:
        parts = terms.digits(event.phone_number)
        _write(
            cursor, AuditDigits, "digits", "phone_number", segment, [(p, event.phone_number) for p in parts]
        )
    if found := words_of(event):
        _write(cursor, AuditWord, "word", "seq", segment, [(word, event.seq) for word in found])


def _write(cursor, model, first, second, segment, pairs):
    sql = _insert(model, "segment", first, second, rows=len(pairs), or_ignore=True)
    cursor.execute(sql, [value for pair in pairs for value in (segment, *pair)])


NAMES = ("name", "member", "stand_in", "approver", "papers", "before", "after")


def words_of(event):
    """What an event is found by: the words of its reason, and of the names of people and things in it."""
    names = [value for name in NAMES if isinstance(value := event.data.get(name), str)]
    people = [event.actor_name, event.on_behalf_of] if event.actor_role != "system" else []
    if not (event.note or names or people):
        return []
    return terms.words(event.note, *people, *names)
