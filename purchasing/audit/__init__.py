"""The audit record: who did what, when and why, for good.

`recording` alone adds events, `filing` writes what they are found by, `chain` says what an event's hash is of, `seals`
signs where the chain stands, `proof` finds whatever was changed afterwards, `finding` reads: filters, pages, search.
"""

from purchasing.audit.actors import SWEEP, WORKER, Actor, system
from purchasing.audit.chain import FIRST_HASH, fingerprint
from purchasing.audit.events import clean, position, record
from purchasing.audit.proof import Verdict, compare, verify
from purchasing.audit.seals import seal, seal_if_due

__all__ = [
    "FIRST_HASH",
    "SWEEP",
    "WORKER",
    "Actor",
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
