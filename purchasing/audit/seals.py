"""Seals: the head of the chain, signed with a key that is not in the database.

Anyone who can write to the database can rewrite the whole chain, hashes included, but cannot sign it. So each day the
number and the hash of the newest event are signed (Ed25519). The seal is stored, recorded as an event, logged, shown on
a page and included in every export. The key comes from AUDIT_SEAL_KEYS. The seal contains its public half, so an export
and the record are enough to check it.
"""

import hashlib
import logging
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db import transaction

from purchasing import clock
from purchasing.audit.actors import SWEEP, Actor
from purchasing.audit.events import record
from purchasing.models import AuditHead, AuditSeal

log = logging.getLogger(__name__)
ACTION = "audit.sealed"


def _keys() -> list[Ed25519PrivateKey]:
    """The signing keys from the settings, newest first."""
    return [
        Ed25519PrivateKey.from_private_bytes(
            hashlib.sha256(b"number desk, seal: " + secret.encode()).digest()
        )
        for secret in settings.AUDIT_SEAL_KEYS
    ]


def trusted_keys() -> list[str]:
    """The public halves (64 hex digits each) of the keys that may sign seals, newest first."""
    return [key.public_key().public_bytes_raw().hex() for key in _keys()]


def message(number: int, seq: int, hash_: str, at: datetime, signature_before: str) -> bytes:
    """The bytes that a seal signs."""
    moment = at.astimezone(UTC).isoformat(timespec="microseconds")
    return f"Number Desk, seal {number}\nevent {seq}\n{hash_}\n{moment}\n{signature_before}\n".encode()


@transaction.atomic
def seal(*, actor: Actor) -> AuditSeal | None:
    """Sign the head of the chain and record that; None if nothing has happened since the last seal."""
    head = AuditHead.objects.select_for_update().get(pk=AuditHead.ONLY)
    last = AuditSeal.objects.order_by("-number").first()
    if head.seq <= (last.seq + 1 if last else 0):  # only the event of the last seal itself
        return None
    number, at, key = last.number + 1 if last else 1, clock.now(), _keys()[0]
    signed = key.sign(message(number, head.seq, head.hash, at, last.signature if last else ""))
    made = AuditSeal(
        number=number,
        at=at,
        seq=head.seq,
        hash=head.hash,
        public_key=key.public_key().public_bytes_raw().hex(),
        signature=signed.hex(),
    )
    AuditSeal.objects.bulk_create([made])
    record(ACTION, actor=actor, seal=number, event=head.seq, hash=head.hash, signature=made.signature)
    log.info("Seal %s: event %s, %s, signed %s", number, head.seq, head.hash, made.signature)
    return made


def seal_if_due() -> AuditSeal | None:
    """Seal once a day (UTC), for the worker's sweep. Safe to run at any time and in several processes at once."""
    with transaction.atomic():
        AuditHead.objects.select_for_update().get(pk=AuditHead.ONLY)
        last = AuditSeal.objects.order_by("-number").first()
        if last and last.at.astimezone(UTC).date() == clock.now().astimezone(UTC).date():
            return None
        return seal(actor=SWEEP)


def problem_of(seal: AuditSeal, before: AuditSeal | None) -> str:
    """What is wrong with the seal itself, given the one before it (or None); '' if nothing is."""
    expected = before.number + 1 if before else 1
    if seal.number != expected:
        return f"seal {expected} is missing"
    signature_before = before.signature if before else ""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(seal.public_key)).verify(
            bytes.fromhex(seal.signature),
            message(seal.number, seal.seq, seal.hash, seal.at, signature_before),
        )
    except (InvalidSignature, ValueError):
        return f"seal {seal.number} was forged: its signature does not fit"
    if seal.public_key not in trusted_keys():
        return f"seal {seal.number} was signed with a key that AUDIT_SEAL_KEYS does not hold"
    return ""
