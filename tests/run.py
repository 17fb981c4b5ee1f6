"""`make test`: every check, with a table of the results. `BROWSER=0` leaves the tests in a browser out.

`make lint` runs the first of them alone: `python -m tests.run lint`.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.fernet import Fernet

BASE_DIR = Path(__file__).resolve().parent.parent
COVERED = (
    "tests/buying/test_aftercare.py",
    "tests/buying/test_claim.py",
    "tests/buying/test_procurement.py",
    "tests/buying/test_refusals_that_lied.py",
    "tests/buying/test_restores.py",
)
CAMPAIGN = "tests/bench/test_campaign.py"
BROWSER = "tests/browser"
TWO = ("-n", "2", "--dist", "worksteal")  # processes; the one that is done takes tests of the other
SPENDING = (
    "--cov=purchasing.buying.procurement",
    "--cov=purchasing.buying.look",
    "--cov=purchasing.buying.price_guard",
)
ALL_OF_IT = ("--cov-fail-under=100", "--cov-report=term-missing:skip-covered")
# Migrated once and copied by the tests, which would otherwise migrate a database of their own in each process.
MIGRATE = """
import os, sys, django
from django.conf import settings
from django.core.management import call_command
from django.db import connection
django.setup()
call_command("migrate", verbosity=0)
connection.close()
os.rename(settings.DATABASES["default"]["NAME"], sys.argv[1])
"""
COLLECT = """
import sys, django
from django.conf import settings
from django.core.management import call_command
django.setup()
settings.STATIC_ROOT = sys.argv[1]
call_command("collectstatic", interactive=False, verbosity=0)
"""


MEMORY, ROOM = "/dev/shm", 2 * 1024**3  # a file system in memory, and the bytes that have to be free in it


def scratch():
    """Where the checks keep their files: in memory where there is room, since a test's database waits for the disk."""
    try:
        return MEMORY if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM else None
    except OSError:
        return None


def environments(folder):
    """The environments of the checks: `(plain, production)`. None of the developer's own settings is in them."""
    # The many processes of a run would otherwise compile everything anew, each for itself.
    ours = {"PYTHONDONTWRITEBYTECODE"}
    ours |= set(re.findall(r"^(?:# )?([A-Z_]+)=", (BASE_DIR / ".env.example").read_text(), re.MULTILINE))
    plain = {name: value for name, value in os.environ.items() if name not in ours} | {
        "ENV_FILE": os.devnull,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "API_KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "DATABASE_URL": f"sqlite:///{folder}/checks.sqlite3",
        "MIGRATED_DATABASE": f"{folder}/migrated.sqlite3",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": scratch() or tempfile.gettempdir(),
    }
    production = plain | {
        "DEBUG": "off",
        "SANDBOX": "off",
        "SITE_URL": "https://desk.example.com",
        "ALLOWED_HOSTS": "desk.example.com",
        "CSRF_TRUSTED_ORIGINS": "https://desk.example.com",
    }
    return plain, production


def lint(plain):
    """The checks that only read the code."""
    return [
        ("Lint", plain, ("-m", "ruff", "check", "--quiet")),
        ("Format", plain, ("-m", "ruff", "format", "--check", "--quiet")),
        ("Types", plain, ("-m", "mypy", "--no-error-summary")),
    ]


def lanes(folder):
    """What is checked, in lanes that run side by side, since tests of running processes mostly wait.

    Each lane is a list of `(words, environment, arguments of python)`, in order.
    """
    plain, production = environments(folder)
    pytest = ("-m", "pytest", "-q")
    rest = [f"--ignore={path}" for path in (*COVERED, CAMPAIGN, BROWSER)]
    alone = [
        *lint(plain),
        ("Migrations are complete", plain, ("manage.py", "makemigrations", "--check", "--dry-run")),
        ("Settings of production", production, ("manage.py", "check", "--deploy", "--fail-level", "WARNING")),
        (
            "Static files of production",
            {**production, "DJANGO_SETTINGS_MODULE": "dashboard.settings"},
            ("-c", COLLECT, f"{folder}/static"),
        ),
        (
            "A database from nothing",
            {
                **plain,
                "DJANGO_SETTINGS_MODULE": "dashboard.settings",
                "DATABASE_URL": f"sqlite:///{folder}/migrating.sqlite3",
            },
            ("-c", MIGRATE, plain["MIGRATED_DATABASE"]),
        ),
        ("Tests on SQLite", plain, (*pytest, *TWO, *rest)),
        (
            "Tests of locks, constraints, triggers and queue on PostgreSQL",
            {**plain, "TEST_DATABASE": "postgresql"},
            (*pytest, *TWO, "-m", "database and not browser"),
        ),
    ]
    running = [
        ("A short campaign against a running Number Desk", plain, (*pytest, CAMPAIGN)),
        # A run of its own: to watch every test would take much longer.
        (
            "Every line and branch of what spends money is tested",
            {**plain, "COVERAGE_FILE": f"{folder}/coverage"},
            (*pytest, *TWO, *COVERED, *SPENDING, "--cov-branch", *ALL_OF_IT),
        ),
    ]
    if wants_browser():
        running[:0] = [
            ("A Chromium", plain, ("-m", "tests.browser.chromium")),
            ("Tests in Chromium", plain, (*pytest, "-m", "browser", BROWSER)),
        ]
    return alone, running


def wants_browser():
    return os.environ.get("BROWSER", "1").strip().lower() not in ("0", "no", "off", "false")


# What drives running processes waits with deadlines of its own, so it gets the processor before what only computes.
GIVES_WAY = ("nice", "-n", "10")


def run(lane, output=None, before=()):
    """Run the checks of a lane, also after one failed: `[(words, passed, seconds)]`. `before` precedes each command."""
    results = []
    for words, environment, arguments in lane:
        print(f"\n== {words}", file=output, flush=True)
        start = time.monotonic()
        done = subprocess.run(
            [*before, sys.executable, *arguments], cwd=BASE_DIR, env=environment, stdout=output, stderr=output
        )
        results.append((words, done.returncode == 0, time.monotonic() - start))
    return results


def main():
    """Run every check; the exit status says whether all passed. One lane is shown as it goes, the other at its end."""
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="number-desk-checks-", dir=scratch()) as folder,
        open(f"{folder}/output", "w+") as output,
        ThreadPoolExecutor() as pool,
    ):
        if sys.argv[1:] == ["lint"]:
            results = run(lint(environments(folder)[0]))
        else:
            shown, kept = lanes(folder)
            beside = pool.submit(run, kept, output)
            results = run(shown, before=GIVES_WAY) + beside.result()
            output.seek(0)
            print(output.read(), flush=True)
    print(f"\n== {len(results)} checks, {time.monotonic() - began:.0f} s")
    for words, passed, seconds in results:
        print(f"{'passed' if passed else 'FAILED'}  {seconds:5.1f} s  {words}")
    if sys.argv[1:] != ["lint"] and not wants_browser():
        print("Left out: the tests in a browser (BROWSER=0).")
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
