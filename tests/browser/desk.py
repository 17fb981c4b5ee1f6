"""A complete Number Desk, started from scratch: sandbox provider, database, people, worker and web."""

import os
import secrets
import shutil
import socket
import subprocess
import sys

import requests
from cryptography.fernet import Fernet

from dashboard.run import BASE_DIR, HOST, Processes, gunicorn, worker
from sandbox.keys import SUPPORT_KEY

PASSWORD = "numberdesk"
FAST = {  # seconds, so that tests need not wait minutes
    "IDENTITYCALL_CONNECT_TIMEOUT": "2",
    "IDENTITYCALL_READ_TIMEOUT": "4",
    "IDENTITYCALL_DEADLINE": "5",
    "EVIDENCE_CHECK_DELAYS": "1,1,2",
    "SETTLE_WINDOW": "6",
    "RATE_LIMIT_PER_MINUTE": "600",
}


class Desk:
    """A running Number Desk at `url`, with the sandbox as `provider`. `stop()` ends all its processes."""

    def __init__(self, folder, *, seed=("--people-only",), settings=FAST):
        web, api = two_free_ports()
        self.url = f"http://{HOST}:{web}"
        self.provider = Provider(f"http://{HOST}:{api}")
        self.folder = folder
        (folder / "logs").mkdir()
        self.environment = os.environ | {
            "ENV_FILE": os.devnull,
            "SECRET_KEY": secrets.token_urlsafe(50),
            "API_KEY_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "DATABASE_URL": f"sqlite:///{folder / 'desk.sqlite3'}",
            "SANDBOX": "on",
            "IDENTITYCALL_API_URL": self.provider.api_url,
            "SITE_URL": self.url,
            "DEBUG": "off",
            "LOG_LEVEL": "WARNING",
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        self.processes = Processes(self.environment, logs=folder / "logs")
        self._cookies = {}
        try:
            self._start(web, api, seed)
        except BaseException:
            self.stop()
            raise

    def _start(self, web, api, seed):
        start, finish, wait_for = self.processes.start, self.processes.finish, self.processes.wait_for
        migrated = os.environ.get("MIGRATED_DATABASE", "")
        if os.path.exists(migrated):
            shutil.copy(migrated, self.folder / "desk.sqlite3")
        finish("migrate", "manage.py", "migrate", "--verbosity", "0")
        options = f"--port {api} --rate-limit 0 --slow-seconds 2 --state".split()
        start("sandbox", "-m", "sandbox", *options, str(self.folder / "sandbox"))
        wait_for("sandbox", f"{self.provider.url}/healthz")
        finish("seed", "manage.py", "seed_demo", *seed)
        start("worker", *worker("--processes", "2"))
        start("web", *gunicorn(web))
        wait_for("web", f"{self.url}/healthz")

    def stop(self):
        """End everything that was started; the provider last."""
        self.processes.stop("web", "worker", patience=15)
        self.processes.stop(*list(self.processes.children), patience=5)

    def manage(self, *arguments):
        """Run `manage.py ARGUMENTS`, which has to succeed; returns its output."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def seed(self, code):
        """Run Python in the shell of `manage.py`; returns its output."""
        return self.manage("shell", "-v0", "-c", code)

    def log_in(self, page, username, password=PASSWORD):
        """Log a person in on `page`: by the form, or (demo people) with the cookies of an earlier log-in."""
        if (username, password) in self._cookies:
            page.context.add_cookies(self._cookies[username, password])
            page.goto(self.url)
        else:
            page.goto(f"{self.url}/accounts/login/")
            page.locator("input[name=username]").fill(username)
            page.locator("input[name=password]").fill(password)
            page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Home", level=1).wait_for()
        if password == PASSWORD:
            self._cookies[username, password] = page.context.cookies()
        return page


class Provider:
    """The sandbox over HTTP: its control endpoint, and its API with the Support team's key."""

    def __init__(self, url):
        self.url, self.api_url = url, f"{url}/api/v1/public"
        self._session = requests.Session()
        self._session.trust_env = False

    def _control(self, method, path, **fields):
        answer = self._session.request(method, f"{self.url}/_control/{path}", json=fields or None, timeout=10)
        answer.raise_for_status()
        return answer.json()["data"]

    def ledger(self):
        """Every purchase ever accepted."""
        return self._control("GET", "ledger")

    def counters(self):
        """The number of calls by kind, including purchase POSTs by phone number."""
        return self._control("GET", "counters")

    def set_fault(self, kind, **options):
        """Make the sandbox misbehave (sandbox/README.md)."""
        return self._control("POST", "faults", kind=kind, **options)

    def clear_faults(self):
        """Make it behave again."""
        return self._control("DELETE", "faults")

    def set_cost(self, phone_number, **costs):
        """Change what an offer costs."""
        return self._control("POST", "costs", phone_number=phone_number, **costs)

    def add_key(self, name, **fields):
        """Create an IdentityCall API key, with read and write unless `permissions` differ, and return it."""
        return self._control("POST", "keys", name=name, **fields)["secret"]

    def revoke_key(self, name):
        """Revoke a key for good."""
        return self._control("DELETE", f"keys/{name}")

    def available(self, country="US", number_type="local", *, ends=None, count=None):
        """The answer of the inventory search, as it is: all of it, or `count` of the numbers with this ending.

        Without `ends` practice numbers are left out when they are counted.
        """
        answer = self._session.get(
            f"{self.api_url}/virtual_numbers/available",
            params={"country": country, "number_type": number_type},
            headers={"Authorization": f"Bearer {SUPPORT_KEY}"},
            timeout=10,
        )
        answer.raise_for_status()
        body = answer.json()
        if ends:
            body["data"] = [offer for offer in body["data"] if offer["phone_number"].endswith(ends)]
        elif count:
            body["data"] = [offer for offer in body["data"] if offer["phone_number"][-3:-1] != "99"]
        body["data"] = body["data"][:count]
        return body


def two_free_ports():
    """Two free ports."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind((HOST, 0))
        return one.getsockname()[1], other.getsockname()[1]
