"""The stored state of the sandbox: bought numbers, operators, keys and costs, in two files of one directory.

`ledger.jsonl` has one line per purchase, written and fsynced before the answer is sent; it alone decides what was
bought. `state.json` has all other changes and is replaced as a whole. A kill at any moment leaves both readable: an
incomplete line belongs to a purchase that was never answered, and is cut off at the next start.
"""

import fcntl
import json
import os
import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sandbox import keys as api_keys

FIRST_ID = 1001
EMPTY = {"numbers": {}, "operators": [], "keys": [], "costs": {}}


class InUse(RuntimeError):
    """Another sandbox uses this directory."""


class NoLongerAvailable(Exception):
    """The number was already bought."""


@dataclass(frozen=True)
class VirtualNumber:
    """A bought number; recording is on from the start (VN-BUY)."""

    id: int
    phone_number: str
    country_code: str
    project_id: int | None
    bought_at: str
    name: str | None = None
    active: bool = True
    recording: bool = True
    routing_strategy: str = "priority"
    released: bool = False


CHANGEABLE = ("name", "active", "recording", "routing_strategy", "released")


class State:
    """The account at the provider. Safe for many threads of one process."""

    def __init__(self, directory, *, keys=()):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._start_keys = [*api_keys.BUILT_IN_KEYS, *keys]
        self._lock = threading.RLock()
        self._claim_directory()
        self._load()

    def close(self):
        with self._lock:
            self._ledger_file.close()
            self._lock_file.close()

    # Reading

    def numbers(self):
        """Bought numbers that were not released, oldest first."""
        with self._lock:
            return [number for number in self._numbers.values() if not number.released]

    def number(self, number_id):
        with self._lock:
            number = self._numbers.get(number_id)
        return None if number is None or number.released else number

    def bought_at(self, number_id):
        """When a number was bought (ISO 8601), released or not."""
        with self._lock:
            return self._numbers[number_id].bought_at

    def is_sold(self, phone_number):
        """Whether a number was ever bought; a released number stays sold and does not come back on offer."""
        with self._lock:
            return phone_number in self._sold

    def ledger(self):
        """Every accepted purchase, in order; released numbers included."""
        with self._lock:
            return [dict(entry) for entry in self._ledger]

    def cost_changes(self, phone_number):
        with self._lock:
            return dict(self._document["costs"].get(phone_number, {}))

    def operators(self):
        with self._lock:
            return [dict(operator) for operator in self._document["operators"]]

    def projects(self):
        """Names by id: the built-in projects and all that keys are bound to."""
        bound = {key.project_id for key in self.keyring.all() if key.project_id}
        return {number: f"Project {number}" for number in bound} | api_keys.PROJECT_NAMES

    # Writing

    def buy(self, phone_number, *, country_code, key, payload):
        """Sell a number to a key's project, once; the purchase is on disk when this returns."""
        with self._lock:
            if phone_number in self._sold:
                raise NoLongerAvailable(phone_number)
            sequence = len(self._ledger) + 1
            entry = {
                "sequence": sequence,
                "time": datetime.now(UTC).isoformat(),
                "key": key.last_four,
                "phone_number": phone_number,
                "id": FIRST_ID + sequence - 1,
                "project_id": key.project_id,
                "country_code": country_code,
                "payload": payload,
            }
            self._append(entry)
            return self._enter(entry)

    def change(self, number_id, **changes):
        """Change a bought number and return the new record."""
        with self._lock:
            self._numbers[number_id] = replace(self._numbers[number_id], **changes)
            self._document["numbers"].setdefault(str(number_id), {}).update(changes)
            self._save()
            return self._numbers[number_id]

    def release(self, phone_number):
        """Remove a number from the account, as the dashboard does; return False if it is not on the account."""
        with self._lock:
            for number in self.numbers():
                if number.phone_number == phone_number:
                    self.change(number.id, released=True)
                    return True
        return False

    def set_costs(self, phone_number, **costs):
        """Show these costs for an offer from now on, even invalid ones."""
        with self._lock:
            self._document["costs"].setdefault(phone_number, {}).update(costs)
            self._save()

    def add_operator(self, **fields):
        with self._lock:
            operator = {"id": 501 + len(self._document["operators"]), **fields}
            self._document["operators"].append(operator)
            self._save()
            return operator

    def add_key(self, key):
        with self._lock:
            self.keyring.add(key)
            self._save()

    def revoke_key(self, name):
        """Revoke a key; raises KeyError if there is none of this name."""
        with self._lock:
            self.keyring.revoke(name)
            self._save()

    def reset(self):
        """Return to an empty account with the keys of the start."""
        with self._lock:
            self._start_empty()
            self._save()  # first, so that after a kill in between old changes cannot apply to new numbers
            os.ftruncate(self._ledger_file.fileno(), 0)
            os.fsync(self._ledger_file.fileno())

    # Files

    def _claim_directory(self):
        self._lock_file = open(self.directory / "lock", "w")  # noqa: SIM115 - held until close()
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock_file.close()
            raise InUse(f"Another sandbox already keeps its state in {self.directory}.") from None

    def _start_empty(self):
        self._document = json.loads(json.dumps(EMPTY))
        self._numbers, self._sold, self._ledger = {}, set(), []
        self.keyring = api_keys.Keyring(self._start_keys)

    def _load(self):
        self._start_empty()
        state_path = self.directory / "state.json"
        if state_path.exists():
            self._document |= json.loads(state_path.read_text())
        names_at_start = {key.name for key in self._start_keys[len(api_keys.BUILT_IN_KEYS) :]}
        for record in self._document["keys"]:
            if record["name"] not in names_at_start or record["revoked"]:
                self.keyring.add(api_keys.make_key(**record))
        self._ledger_file = open(self.directory / "ledger.jsonl", "a+b", buffering=0)  # noqa: SIM115
        self._ledger_file.seek(0)
        content = self._ledger_file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.ftruncate(self._ledger_file.fileno(), len(whole))
        for line in whole.splitlines():
            self._enter(json.loads(line))

    def _enter(self, entry):
        """Load a ledger entry, with the later changes to its number."""
        number = VirtualNumber(
            id=entry["id"],
            phone_number=entry["phone_number"],
            country_code=entry["country_code"],
            project_id=entry["project_id"],
            bought_at=entry["time"],
            name=entry["payload"].get("name"),
        )
        changes = self._document["numbers"].get(str(number.id), {})
        number = replace(number, **{field: changes[field] for field in CHANGEABLE if field in changes})
        self._ledger.append(entry)
        self._sold.add(number.phone_number)
        self._numbers[number.id] = number
        return number

    def _append(self, entry):
        descriptor = self._ledger_file.fileno()
        length = os.fstat(descriptor).st_size
        line = json.dumps(entry).encode() + b"\n"
        try:
            while line:
                line = line[os.write(descriptor, line) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, length)
            raise

    def _save(self):
        self._document["keys"] = self.keyring.as_records()
        path = self.directory / "state.json"
        new = path.with_suffix(".new")
        with open(new, "w") as file:
            json.dump(self._document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
