"""What the database says it is: a copy of it, or one restored elsewhere, says something else."""

import json
import os
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from django.db import connection

UNKNOWN = "-"  # a part that this machine or this database user cannot tell
_MACHINE_ID = ("/etc/machine-id", "/var/lib/dbus/machine-id")
# By connection: while one lasts it leads to the same server and the same database.
_of_servers: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def of_database() -> str:
    """The identity of the database behind the connection, as JSON: see `is_same` and `in_words`."""
    if connection.vendor == "postgresql":
        connection.ensure_connection()
        known = _of_servers.get(connection.connection)
        if known is None:
            known = _of_servers[connection.connection] = json.dumps(_of_server())
        return known
    path = os.path.realpath(connection.settings_dict["NAME"])
    try:
        file = os.stat(path)
    except FileNotFoundError:  # it was taken away while it is open here
        return json.dumps(["sqlite", _machine(), UNKNOWN, "gone", path])
    # Devices of major 0 (network and layered file systems) get another number at each mount.
    device = str(file.st_dev) if os.major(file.st_dev) else UNKNOWN
    return json.dumps(["sqlite", _machine(), device, str(file.st_ino), path])


def is_same(one: str, other: str) -> bool:
    """Whether two identities are of the same database, as far as both are known."""
    parts, others = json.loads(one), json.loads(other)
    return len(parts) == len(others) and all(
        part == its or UNKNOWN in (part, its) for part, its in zip(parts, others, strict=True)
    )


def in_words(identity: str) -> str:
    """'the file /srv/desk.sqlite3 (inode 12)' or 'the database number_desk (16384) of the server 74…'."""
    kind, *parts = json.loads(identity)
    if kind == "postgresql":
        server, number, name = parts
        return f"the database {name} ({number}) of the server {server}"
    machine, device, inode, path = parts
    return f"the file {path} (inode {inode}, device {device}) of the machine {machine[:8]}"


def _of_server() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT oid::text, datname, has_function_privilege('pg_control_system()', 'EXECUTE') "
            "FROM pg_database WHERE datname = current_database()"
        )
        number, name, may_ask = cursor.fetchone()
        if not may_ask:
            return ["postgresql", UNKNOWN, UNKNOWN, name]
        cursor.execute("SELECT system_identifier::text FROM pg_control_system()")
        return ["postgresql", cursor.fetchone()[0], number, name]


@cache
def _machine() -> str:
    for path in _MACHINE_ID:
        try:
            if text := Path(path).read_text(encoding="ascii").strip():
                return text
        except (OSError, ValueError):
            continue
    return UNKNOWN
