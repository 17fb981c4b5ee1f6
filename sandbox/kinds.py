"""Kinds of faults, and the decorator that registers them."""

from collections.abc import Callable
from dataclasses import dataclass, field

BEFORE = "before"  # the call is not carried out
AFTER = "after"  # it is carried out, and only the answer is affected; a refused call is answered properly
LATE = "late"  # waits `seconds`, then as AFTER
ALTER = "alter"  # as AFTER, but only the entries of a list change


@dataclass(frozen=True)
class Scene:
    """What a fault may need: the request, our port, when a number was bought, a way to stop listening."""

    path: str
    query: dict
    port: int
    bought_at: Callable
    refuse: Callable


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    `act(fault, line, answer, scene)` sends what the client gets; `answer` is the proper answer, None for BEFORE.
    For ALTER `act(fault, entries, scene)` returns other entries. `endpoints` lists where the fault can be set, the
    default first; () means anywhere, with purchase as the default. `defaults` are the defaults of its options.
    """

    act: Callable
    phase: str
    endpoints: tuple = ()
    defaults: dict = field(default_factory=dict)
    choices: dict = field(default_factory=dict)

    @property
    def endpoint(self):
        return self.endpoints[0] if self.endpoints else "purchase"

    def record(self):
        """What the control endpoint shows about the kind."""
        return {
            "phase": self.phase,
            "endpoint": self.endpoint,
            "options": self.defaults,
            "what": " ".join(self.act.__doc__.split()),
        }


class Kinds(dict):
    """Kinds by name; the decorator `kind` adds one."""

    def kind(self, name, phase, *, endpoints=(), choices=None, **defaults):
        def add(act):
            self[name] = Kind(act, phase, endpoints, defaults, choices or {})
            return act

        return add
