"""What a kind of fault is, and how the modules that have them put them down."""

from collections.abc import Callable
from dataclasses import dataclass, field

BEFORE = "before"  # the call is never carried out
AFTER = "after"  # it is carried out, only the answer suffers; a call that was refused is answered properly
LATE = "late"  # first a wait of `seconds`, then as AFTER
ALTER = "alter"  # as AFTER, and only the entries of a list differ


@dataclass(frozen=True)
class Scene:
    """What a fault may need: the request, our port, when a number was bought, how to stop listening."""

    path: str
    query: dict
    port: int
    bought_at: Callable
    refuse: Callable


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    `act(fault, line, answer, scene)` sends what the client gets; `answer` is the proper one, None for BEFORE.
    For ALTER it is `act(fault, entries, scene)` and returns other entries. `endpoints` are those it can be
    set on, the usual one first; () is any, usually purchase. `defaults` are for its options.
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
        """What the control endpoint tells about it."""
        return {
            "phase": self.phase,
            "endpoint": self.endpoint,
            "options": self.defaults,
            "what": " ".join(self.act.__doc__.split()),
        }


class Kinds(dict):
    """Kinds by name; `kind` is the decorator that adds one."""

    def kind(self, name, phase, *, endpoints=(), choices=None, **defaults):
        def add(act):
            self[name] = Kind(act, phase, endpoints, defaults, choices or {})
            return act

        return add
