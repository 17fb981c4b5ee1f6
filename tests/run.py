"""`make test`: every check, one after the other, and what came of them. `BROWSER=0` leaves the browser tests out."""

import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.fernet import Fernet

BASE_DIR = Path(__file__).resolve().parent.parent
COVERED = ("tests/test_procurement.py", "tests/test_claim.py")
ALL_OF_IT = ("--cov-fail-under=100", "--cov-report=term-missing:skip-covered")
COLLECT = """
import sys, django
from django.conf import settings
from django.core.management import call_command
django.setup()
settings.STATIC_ROOT = sys.argv[1]
call_command("collectstatic", interactive=False, verbosity=0)
"""


def environments(folder):
    """The environments of the checks: `(plain, production)`. None of the developer's own settings is in them."""
    ours = set(re.findall(r"^(?:# )?([A-Z_]+)=", (BASE_DIR / ".env.example").read_text(), re.MULTILINE))
    plain = {name: value for name, value in os.environ.items() if name not in ours} | {
        "ENV_FILE": os.devnull,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "API_KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
        "DATABASE_URL": f"sqlite:///{folder}/checks.sqlite3",
        "PYTHONUNBUFFERED": "1",
    }
    production = plain | {
        "DEBUG": "off",
        "SANDBOX": "off",
        "SITE_URL": "https://desk.example.com",
        "ALLOWED_HOSTS": "desk.example.com",
        "CSRF_TRUSTED_ORIGINS": "https://desk.example.com",
    }
    return plain, production


def steps(folder):
    """What is checked, in order: `(words, environment, arguments of python)`."""
    plain, production = environments(folder)
    pytest = ("-m", "pytest", "-q")
    yield "Lint", plain, ("-m", "ruff", "check", "--quiet")
    yield "Format", plain, ("-m", "ruff", "format", "--check", "--quiet")
    yield "Migrations are complete", plain, ("manage.py", "makemigrations", "--check", "--dry-run")
    yield "Settings of production", production, ("manage.py", "check", "--deploy", "--fail-level", "WARNING")
    yield (
        "Static files of production",
        {**production, "DJANGO_SETTINGS_MODULE": "dashboard.settings"},
        (*("-c", COLLECT, f"{folder}/static"),),
    )
    yield "Tests on SQLite", plain, (*pytest, "-n", "2", "-m", "not browser")
    # A run of its own: to watch every test would take longer than to run these twice.
    yield (
        "Every line and branch of what spends money is tested",
        {**plain, "COVERAGE_FILE": f"{folder}/coverage"},
        (*pytest, "-n", "2", *COVERED, "--cov=purchasing.procurement", "--cov-branch", *ALL_OF_IT),
    )
    yield (
        "Tests of locks, constraints, triggers and queue on PostgreSQL",
        {**plain, "TEST_DATABASE": "postgresql"},
        (*pytest, "-n", "2", "-m", "database and not browser"),
    )
    if wants_browser():
        yield "A Chromium", plain, ("-m", "tests.browser.chromium")
        yield "Tests in Chromium", plain, (*pytest, "-m", "browser", "tests/browser")


def wants_browser():
    return os.environ.get("BROWSER", "1").strip().lower() not in ("0", "no", "off", "false")


def main():
    """Run every check, also after one failed; the exit status says whether all passed."""
    began, results = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="number-desk-checks-") as folder:
        for words, environment, arguments in steps(folder):
            print(f"\n== {words}", flush=True)
            start = time.monotonic()
            done = subprocess.run([sys.executable, *arguments], cwd=BASE_DIR, env=environment)
            results.append((words, done.returncode == 0, time.monotonic() - start))
    print(f"\n== All checks, {time.monotonic() - began:.0f} s")
    for words, passed, seconds in results:
        print(f"{'passed' if passed else 'FAILED'}  {seconds:5.1f} s  {words}")
    if not wants_browser():
        print("Left out: the tests in a browser (BROWSER=0).")
    return 0 if all(passed for _, passed, _ in results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
