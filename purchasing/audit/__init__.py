"""The audit record: who did what, when and why, kept for good.

Only `events` adds events. `filing` writes the search tables, `chain` defines what an event's hash covers, `seals` signs
the head of the chain, `proof` finds later changes, `search` reads events: filters, pages, search.
"""

from purchasing.audit.actors import SWEEP, WORKER, Actor, system
from purchasing.audit.chain import FIRST_HASH, fingerprint
from purchasing.audit.events import clean, position, record
from purchasing.audit.proof import Kept, Verdict, compare, verify
from purchasing.audit.seals import seal, seal_if_due

__all__ = [
    "FIRST_HASH",
    "SWEEP",
    "WORKER",
    "Actor",
    "Kept",
    "Verdict",
    "clean",
    "compare",
    "fingerprint",
    "position",
    "record",
    "seal",
    "seal_if_due",
    "system",
    "verify",
]
