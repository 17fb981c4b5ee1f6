"""API keys of the sandbox: their shape and permissions, the built-in keys, and the rate limit.

The built-in keys work only in the sandbox. Each has the documented shape, `idc_` and 32 letters or digits (AUTH), and
ends in four digits of its own, by which the ledger identifies it.
"""

import math
import re
import secrets
import string
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

SHAPE = re.compile(r"idc_[A-Za-z0-9]{32}")
ANYTHING_LIKE_A_KEY = re.compile(r"idc_\w*", re.ASCII | re.IGNORECASE)
LETTERS_AND_DIGITS = string.ascii_letters + string.digits
PERMISSIONS = ("read", "write", "delete")

SALES_PROJECT = 11
SUPPORT_PROJECT = 12
PROJECT_NAMES = {SALES_PROJECT: "Sales", SUPPORT_PROJECT: "Support", 13: "Logistics"}


def _built_in(word, ending):
    return f"idc_Sandbox{word:0<21}{ending}"


ACCOUNT_KEY = _built_in("Account", "1001")  # account-wide, read and write
SALES_KEY = _built_in("Sales", "1011")  # project 11, read and write
SUPPORT_KEY = _built_in("Support", "1012")  # project 12, read and write
READ_ONLY_KEY = _built_in("ReadOnly", "1021")  # account-wide
WRITE_ONLY_KEY = _built_in("WriteOnly", "1022")  # account-wide
DELETE_KEY = _built_in("Delete", "1023")  # account-wide, read, write and delete
EXPIRED_KEY = _built_in("Expired", "1031")
REVOKED_KEY = _built_in("Revoked", "1032")


class BadKey(ValueError):
    """The options do not describe a valid key; the text says why, without the key."""


@dataclass(frozen=True)
class Key:
    """One key; `project_id` None is account-wide, `expires_at` is ISO 8601 or None."""

    name: str
    secret: str
    permissions: tuple[str, ...] = ("read", "write")
    project_id: int | None = None
    expires_at: str | None = None
    revoked: bool = False

    def __repr__(self):
        return f"<Key {self.name} ...{self.last_four}>"

    @property
    def last_four(self):
        return self.secret[-4:]

    def works(self):
        """Whether the provider still accepts the key."""
        expired = self.expires_at and datetime.fromisoformat(self.expires_at) <= datetime.now(UTC)
        return not (self.revoked or expired)

    def sees(self, project_id):
        """An account-wide key sees everything, a bound one only its own project (AUTH)."""
        return self.project_id in (None, project_id)


BUILT_IN_KEYS = (
    Key("account", ACCOUNT_KEY),
    Key("sales", SALES_KEY, project_id=SALES_PROJECT),
    Key("support", SUPPORT_KEY, project_id=SUPPORT_PROJECT),
    Key("read-only", READ_ONLY_KEY, ("read",)),
    Key("write-only", WRITE_ONLY_KEY, ("write",)),
    Key("delete", DELETE_KEY, PERMISSIONS),
    Key("expired", EXPIRED_KEY, expires_at="2020-01-01T00:00:00+00:00"),
    Key("revoked", REVOKED_KEY, revoked=True),
)


def make_key(
    name, secret=None, permissions=("read", "write"), project_id=None, expires_at=None, revoked=False
):
    """A valid key, with a new secret if none is given; raises BadKey, which says what is wrong."""
    secret = secret or "idc_" + "".join(secrets.choice(LETTERS_AND_DIGITS) for _ in range(32))
    if not isinstance(name, str) or not name.strip():
        raise BadKey("a key needs a name")
    if not isinstance(secret, str) or not SHAPE.fullmatch(secret):
        raise BadKey(f"key {name}: not of the form idc_ and 32 letters or digits")
    if not isinstance(permissions, list | tuple) or not set(permissions) <= set(PERMISSIONS):
        raise BadKey(f"key {name}: permissions are a list of {', '.join(PERMISSIONS)}")
    if project_id is not None and (type(project_id) is not int or project_id < 1):
        raise BadKey(f"key {name}: project_id is a positive integer or left out")
    try:
        if expires_at is not None and datetime.fromisoformat(expires_at).tzinfo is None:
            raise ValueError
    except (TypeError, ValueError):
        raise BadKey(f"key {name}: expires_at is an ISO 8601 time with its zone, or left out") from None
    return Key(name, secret, tuple(permissions), project_id, expires_at, bool(revoked))


def read_key(text):
    """A key from `NAME=SECRET`, `NAME=SECRET:read+write` or `NAME=SECRET:read+write:PROJECT_ID`."""
    name, equals, rest = text.partition("=")
    secret, *options = rest.split(":")
    if not equals or len(options) > 2:
        raise BadKey(
            "a key is given as NAME=SECRET, NAME=SECRET:read+write or NAME=SECRET:read+write:PROJECT_ID"
        )
    permissions = options[0].split("+") if options else ["read", "write"]
    if len(options) == 2 and not options[1].isdecimal():
        raise BadKey(f"key {name}: the project is a number")
    return make_key(name, secret or "-", permissions, int(options[1]) if len(options) == 2 else None)


class Keyring:
    """All keys by name. Adding a name again replaces its key; a secret belongs to one name only."""

    def __init__(self, keys=()):
        self._keys = {}
        for key in keys:
            self.add(key)

    def add(self, key):
        if any(other.secret == key.secret and other.name != key.name for other in self._keys.values()):
            raise BadKey(f"key {key.name}: another key has this secret")
        self._keys[key.name] = key

    def revoke(self, name):
        """Revoke a key for good; raises KeyError if there is none of this name."""
        self._keys[name] = replace(self._keys[name], revoked=True)

    def find(self, authorization):
        """The key in an Authorization header, working or not, or None."""
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        return next((key for key in list(self._keys.values()) if key.secret == secret.strip()), None)

    def all(self):
        return list(self._keys.values())

    def as_records(self):
        return [asdict(key) for key in self.all()]


class RateLimit:
    """At most `per_minute` requests per key in any 60 seconds; 0 means no limit."""

    WINDOW = 60

    def __init__(self, per_minute):
        self.per_minute = per_minute
        self._times = {}
        self._lock = threading.Lock()

    def seconds_to_wait(self, name):
        """0 if the request is allowed, which counts it; else the whole seconds until one would be."""
        if not self.per_minute:
            return 0
        now = time.monotonic()
        with self._lock:
            times = self._times.setdefault(name, deque())
            while times and times[0] <= now - self.WINDOW:
                times.popleft()
            if len(times) < self.per_minute:
                times.append(now)
                return 0
            free_at = times[len(times) - self.per_minute] + self.WINDOW
            return max(1, math.ceil(free_at - now))

    def forget(self):
        with self._lock:
            self._times.clear()
