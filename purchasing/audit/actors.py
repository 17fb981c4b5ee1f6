"""The actors that events name: people and parts of the system."""

import secrets
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Self

from purchasing.models import Membership, User
from purchasing.states import Role


def new_click() -> str:
    """An id shared by everything one click does: a UUID (version 7), which starts with the time and so sorts by it."""
    milliseconds = time.time_ns() // 1_000_000
    number = (milliseconds << 80) | secrets.randbits(80)
    return str(uuid.UUID(int=number & ~(0xF << 76) & ~(0x3 << 62) | (0x7 << 76) | (0x2 << 62)))


@dataclass(frozen=True)
class Actor:
    """A person at a browser, or a named part of the system."""

    name: str
    user: User | None = None
    role: str = ""
    on_behalf_of: str = ""
    ip: str = ""
    click: str = field(default_factory=new_click)
    # Roles already looked up, by team id.
    _roles: dict[int | None, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def person(cls, user: User, *, ip: str = "", **details: Any) -> Self:
        """A logged-in person. The name is copied, so the record outlives a renamed account."""
        return cls(name=user.get_username(), user=user, ip=ip, **details)

    @classmethod
    def nobody(cls, *, ip: str = "", **details: Any) -> Self:
        """Somebody who has not logged in."""
        return cls(name="somebody", role="nobody", ip=ip, **details)

    def standing_in_for(self, principal: User) -> Self:
        """The same person, acting for an approver who is away: both names are recorded."""
        return replace(self, on_behalf_of=principal.get_username())

    def role_in(self, team_id: int | None) -> str:
        """The actor's current role: 'approver, admin', 'auditor', 'superuser', 'system'; '' for none.

        Looked up once per click and team.
        """
        if self.role or self.user is None:
            return self.role
        if team_id not in self._roles:
            self._roles[team_id] = _role_in(self.user, team_id)
        return self._roles[team_id]


def _role_in(user: User, team_id: int | None) -> str:
    if user.is_superuser:
        return "superuser"
    if team_id is not None:
        held = set(Membership.objects.filter(user=user, team=team_id).values_list("role", flat=True))
        if held:
            return ", ".join(role for role in Role if role in held)
    return "auditor" if user.is_auditor else ""


def system(name: str) -> Actor:
    """A part of the system as an actor: the worker, the sweep, a command."""
    return Actor(name=name, role="system", click="")


WORKER = system("worker")
SWEEP = system("sweep")
