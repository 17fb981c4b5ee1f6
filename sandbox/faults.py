"""Faults: what can be made to go wrong, for which calls and how often, with a count of what did."""

import dataclasses
import random
import threading
from collections import Counter

from sandbox import bad_answers, bad_lists

ANY = "any"
LISTS = ("list", "available")  # calls that are not about a single number
KINDS = {**bad_answers.KINDS, **bad_lists.KINDS}


class BadFault(ValueError):
    """The options do not describe a valid fault; the text says why."""


@dataclasses.dataclass
class Fault:
    """One active fault: its kind, the calls that it applies to, and the options of its kind.

    `endpoint` is one of the API's or 'any'; `phone_number` is the number bought, read or changed, or the entry to
    alter for a kind that alters lists; `key` is the name of a key. The fault lets `skip` matching calls pass, then
    acts on `times` of them (None: until cleared), each with `probability`. Only some kinds use the other options.
    """

    kind: str
    endpoint: str = None
    phone_number: str = None
    key: str = None
    times: int = None
    skip: int = 0
    probability: float = 1.0
    seed: int = 0
    seconds: float = None
    status: int = None
    form: str = None
    text: str = None
    retry_after: str = None
    location: str = None
    megabytes: float = None
    field: str = None
    value: object = None
    id: int = 0
    applied: int = 0
    chance: random.Random = None

    def matches(self, call, phone_number):
        """Whether the fault applies to this call."""
        return (
            self.endpoint in (ANY, call.endpoint)
            and self.key in (None, call.key.name)
            and (self.endpoint in LISTS or self.phone_number in (None, phone_number))
        )

    def record(self):
        """The fault as the control endpoint shows it: every field that is set."""
        values = {
            item.name: getattr(self, item.name) for item in dataclasses.fields(self) if item.name != "chance"
        }
        return {name: value for name, value in values.items() if value is not None}


NUMBERS = {
    "times": int,
    "skip": int,
    "seed": int,
    "status": int,
    "probability": float,
    "seconds": float,
    "megabytes": float,
}
TEXTS = {"endpoint", "phone_number", "key", "form", "text", "retry_after", "location", "field"}
SETTABLE = {"kind", "value", *NUMBERS, *TEXTS}


def make_fault(options, *, endpoints):
    """A valid fault from a mapping of options; raises BadFault, which says what is wrong."""
    unknown = sorted(set(options) - SETTABLE)
    if unknown:
        raise BadFault(f"a fault has no {', '.join(map(str, unknown))}")
    kind = KINDS.get(str(options.get("kind")))
    if kind is None:
        raise BadFault(f"kind must be one of {', '.join(KINDS)}")
    values = {"endpoint": kind.endpoint} | kind.defaults | {k: v for k, v in options.items() if v is not None}
    for name, value in values.items():
        if name in TEXTS and not isinstance(value, str):
            raise BadFault(f"{name} must be a string")
        if name in NUMBERS and not _is_number(value):
            raise BadFault(f"{name} must be a number, 0 or more")
        if NUMBERS.get(name) is int and value != int(value):
            raise BadFault(f"{name} must be a whole number")
    if not 200 <= values.get("status", 200) <= 599:
        raise BadFault("status must be from 200 to 599")
    possible = kind.endpoints or (ANY, *endpoints)
    if values["endpoint"] not in possible:
        raise BadFault(f"endpoint must be one of {', '.join(possible)}")
    for name, choices in kind.choices.items():
        if values[name] not in choices:
            raise BadFault(f"{name} must be one of {', '.join(choices)}")
    return Fault(**values)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def read_fault(text):
    """The options in `kind` or `kind:name=value,name=value`, the format of --fault."""
    kind, _, rest = text.partition(":")
    options = {"kind": kind.strip()}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        try:
            options[name.strip()] = NUMBERS.get(name.strip(), str)(value)
        except ValueError:
            raise BadFault(f"{name} must be a number") from None
    return options


class FaultPlan:
    """The active faults, in order, and how often each kind was applied."""

    def __init__(self):
        self._faults = []
        self._counts = Counter()
        self._last_id = 0
        self._lock = threading.Lock()

    def add(self, fault):
        with self._lock:
            self._last_id += 1
            fault.id = self._last_id
            fault.chance = random.Random(f"{fault.seed}/{fault.id}")
            self._faults.append(fault)
            return fault.id

    def clear(self, fault_id=None):
        """Clear one fault or all of them; return how many were cleared."""
        with self._lock:
            before = len(self._faults)
            self._faults = [fault for fault in self._faults if fault_id not in (None, fault.id)]
            return before - len(self._faults)

    def take(self, call, phone_number):
        """The first fault that acts on this call, counted as applied, or None."""
        with self._lock:
            for fault in self._faults:
                if not fault.matches(call, phone_number) or fault.times == 0:
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.probability < 1 and fault.chance.random() >= fault.probability:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                fault.applied += 1
                self._counts[fault.kind] += 1
                return fault
        return None

    def give_back(self, fault):
        """Undo `take` for a fault that had nothing to spoil, such as a purchase that was refused."""
        with self._lock:
            fault.applied -= 1
            self._counts[fault.kind] -= 1
            if fault.times is not None:
                fault.times += 1

    def count(self, kind):
        """Count a fault that was applied without a call."""
        with self._lock:
            self._counts[kind] += 1

    def all(self):
        with self._lock:
            return [fault.record() for fault in self._faults]

    def counts(self):
        """How often each kind was applied, without those that never were."""
        with self._lock:
            return {kind: count for kind, count in sorted(self._counts.items()) if count > 0}

    def reset(self):
        with self._lock:
            self._faults = []
            self._counts.clear()
            self._last_id = 0
