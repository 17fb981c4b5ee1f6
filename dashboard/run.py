"""`make run`: all of Number Desk on this machine, with the sandbox provider, until Ctrl-C.

Nothing real is bought here, whatever `.env` says: the child processes get sandbox settings and a sandbox database.
"""

import base64
import errno
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
PATIENCE = 60  # seconds in which a child process must answer
GRACE = 7  # seconds on top of the deadline of a call; `work` needs 5 to drain
# Seconds in which a second signal is the same Ctrl-C: it can arrive twice, from the terminal and from make.
SAME_SIGNAL = 1

DOT_ENV = """\
# Written by `make run`. Change it as you like; .env.example explains every setting. Do not commit it.
# Do not lose it: without API_KEY_ENCRYPTION_KEYS the stored API keys cannot be read.
SECRET_KEY={secret_key}
API_KEY_ENCRYPTION_KEYS={encryption_key}

# The sandbox: nothing real is bought. To use the real IdentityCall, remove these two lines. Number Desk then uses
# another database, and README.md says what else to set. `make run` always uses the sandbox.
SANDBOX=on
IDENTITYCALL_API_URL=http://127.0.0.1:{sandbox_port}/api/v1/public
"""

READY = """
Number Desk is ready at {url} (sandbox: nothing real is bought)

  log in as
  sam        requester of Support: requests numbers
  ana        approver of Support and Sales: approves or rejects
  tom        admin of both teams
  ida        auditor: reads everything
  root       superuser: can do everything, also at {url}/admin/
             The password of all five is numberdesk.

Ctrl-C stops everything. Your data is kept for the next `make run`."""


class CannotRun(Exception):
    """Number Desk cannot start or continue. The text of the error is written for people."""


class Told(Exception):
    """A signal asked the run to end."""


# --- Settings -----------------------------------------------------------------------------------------------------


def read_settings():
    """Read `.env`, creating it if missing. Returns `(environment of the child processes, port, sandbox port)`."""
    path = Path(os.environ.get("ENV_FILE") or BASE_DIR / ".env")
    if path.exists():
        environ.Env.read_env(str(path))  # the environment itself wins
    port, sandbox_port = _port("PORT", 8000), _port("SANDBOX_PORT", 8001)
    if port == sandbox_port:
        raise CannotRun(
            f"PORT and SANDBOX_PORT are both {port}. Choose two ports: make run PORT=8000 SANDBOX_PORT=8001"
        )
    _refuse_busy(port, "PORT", "")
    _refuse_busy(sandbox_port, "SANDBOX_PORT", " (for the sandbox provider)")
    if not path.exists():
        _write(path, sandbox_port)
        environ.Env.read_env(str(path))
    for name in ("SECRET_KEY", "API_KEY_ENCRYPTION_KEYS"):
        if not os.environ.get(name):
            raise CannotRun(f"{path} has no {name}. .env.example explains how to create one.")
    return sandbox_environment(dict(os.environ), port, sandbox_port), port, sandbox_port


def sandbox_environment(environment, port, sandbox_port):
    """The environment of the child processes: the sandbox on these ports, no real database, no real mail."""
    here = "127.0.0.1,localhost,[::1]"
    changed = {
        "SANDBOX": "on",
        "IDENTITYCALL_API_URL": f"http://{HOST}:{sandbox_port}/api/v1/public",
        "SITE_URL": f"http://{HOST}:{port}",
        "ALLOWED_HOSTS": ",".join(filter(None, [here, environment.get("ALLOWED_HOSTS")])),
        "PYTHONUNBUFFERED": "1",
        "LOG_LEVEL": environment.get("LOG_LEVEL") or "WARNING",
        "RESTORE_MARK": "var/restore-mark",  # not in the home of whoever runs it
    }
    if environment.get("SANDBOX", "").strip().lower() not in environ.Env.BOOLEAN_TRUE_STRINGS:
        say(
            "SANDBOX is off in your settings. `make run` does not change them: it runs the sandbox with its own "
            "database, var/sandbox.sqlite3. Nothing real is bought."
        )
        changed |= {"DATABASE_URL": "sqlite:///var/sandbox.sqlite3", "EMAIL_URL": "consolemail://"}
    return environment | changed


def _port(name, default):
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise CannotRun(f"{name} must be a number from 1 to 65535, not {text!r}.")
    return int(text)


def _refuse_busy(port, name, what):
    try:
        free_port(port)
    except OSError as error:
        why = (
            "is in use by another program"
            if error.errno == errno.EADDRINUSE
            else f"cannot be used: {error.strerror}"
        )
        other = port + 10 if 1024 <= port < 65000 else 8010
        raise CannotRun(f"Port {port}{what} {why}. Choose another: make run {name}={other}") from None


def free_port(port=0):
    """Return `port` if it is free (else raise OSError), or any free port for 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return probe.getsockname()[1]


def _write(path, sandbox_port):
    text = DOT_ENV.format(
        secret_key=secrets.token_urlsafe(50),
        encryption_key=base64.urlsafe_b64encode(os.urandom(32)).decode(),  # as Fernet.generate_key() does
        sandbox_port=sandbox_port,
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    say(f"Wrote {path} with new secrets.")


# --- Children -----------------------------------------------------------------------------------------------------


class Processes:
    """Child processes, each in its own session, so that a Ctrl-C in the terminal reaches them only through us.

    Their output goes to the terminal, with their name before each line, or to one file each in the folder `logs`.
    Methods that wait raise `Told` as soon as `told()` is true.
    """

    def __init__(self, environment, *, logs=None, told=lambda: False):
        self.environment, self.logs, self.told = environment, logs, told
        self.children = {}
        self._relays = {}

    def start(self, name, *arguments):
        """Start `python ARGUMENTS` in the project folder."""
        options = {
            "cwd": BASE_DIR,
            "env": self.environment,
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,
        }
        command = [sys.executable, *arguments]
        if self.logs:
            with open(self.logs / f"{name}.log", "ab") as log:
                child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options)
        else:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
            self._relays[child] = threading.Thread(target=_relay, args=(name, child.stdout), daemon=True)
            self._relays[child].start()
        self.children[name] = child
        return child

    def finish(self, name, *arguments):
        """Start a process and wait for it to end; raise `CannotRun` if its exit code is not 0."""
        child = self.start(name, *arguments)
        self.watch(lambda: child.poll() is not None)
        del self.children[name]
        if child.returncode:
            raise CannotRun(f"`{' '.join(arguments)}` {_how(child.returncode)}.{self._last_words(name)}")

    def wait_for(self, name, url):
        """Wait until `url` answers 200; raise `CannotRun` after PATIENCE seconds."""
        until = time.monotonic() + PATIENCE
        while not self.watch(lambda: answers(url), once=True):
            if time.monotonic() > until:
                raise CannotRun(f"The {name} process does not answer at {url}.{self._last_words(name)}")

    def watch(self, done=lambda: False, *, once=False):
        """Wait until `done()`, return True; raise `CannotRun` if a child ends first. With `once`, check only once."""
        while True:
            if self.told():
                raise Told
            ended = [name for name, child in self.children.items() if child.poll() is not None]
            if done():
                return True
            for name in ended:
                code = self.children[name].returncode
                raise CannotRun(f"The {name} process {_how(code)}.{self._last_words(name)}")
            time.sleep(0.1)
            if once:
                return False

    def stop(self, *names, patience, hurried=lambda: False):
        """Stop these processes: SIGTERM, then SIGKILL after `patience` seconds or as soon as `hurried()`."""
        children = [self.children.pop(name) for name in names if name in self.children]
        _signal(children, signal.SIGTERM)
        until = time.monotonic() + patience
        while any(map(self._is_there, children)) and time.monotonic() < until and not hurried():
            time.sleep(0.05)
        if any(map(self._is_there, children)):
            _signal(children, signal.SIGTERM)  # a second SIGTERM makes the worker drop what it is doing
            time.sleep(1)
            _signal(children, signal.SIGKILL)
            for child in children:
                child.wait()

    def _is_there(self, child):
        """Whether its process group still exists, or any other process still has its output open."""
        return _has_group(child) or (child in self._relays and self._relays[child].is_alive())

    def _last_words(self, name):
        if not self.logs:
            return ""
        lines = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n" + "\n".join(lines[-30:])


def answers(url):
    """Whether a GET of `url` answers 200 now, without any proxy of the environment."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _signal(children, number):
    for child in children:
        if _has_group(child):
            os.killpg(child.pid, number)


def _has_group(child):
    # An ended child stays in its group as a zombie until its exit code is read.
    child.poll()
    try:
        os.killpg(child.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _how(code):
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"


def _relay(name, stream):
    """Print the output of a child line by line; a closed terminal must not stop the child."""
    for line in stream:
        say(f"{name:8} | {line.decode(errors='replace').rstrip()}")


def say(text):
    """Print, and ignore a terminal that was closed."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        pass


# --- The run ------------------------------------------------------------------------------------------------------


class Signals:
    """SIGINT, SIGTERM and SIGHUP: the first asks the run to end, a later one to end at once."""

    def __init__(self):
        self._heard = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup SIGHUP stays ignored.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._hear)

    def _hear(self, number, frame):
        now = time.monotonic()
        if not self._heard or now - self._heard[-1] > SAME_SIGNAL:
            self._heard.append(now)

    def told(self):
        return len(self._heard) > 0

    def hurried(self):
        return len(self._heard) > 1


def main():
    """Run everything until a signal (exit status 0) or a failure (1)."""
    signals = Signals()
    try:
        environment, port, sandbox_port = read_settings()
    except CannotRun as problem:
        say(str(problem))
        return 1
    processes, status = Processes(environment, told=signals.told), 0
    patience = float(environment.get("IDENTITYCALL_DEADLINE") or 30) + GRACE
    try:
        serve(processes, port, sandbox_port)
    except Told:
        say(
            f"\nStopping. A purchase in progress gets up to {patience:g} seconds; press Ctrl-C again to stop now."
        )
    except CannotRun as problem:
        say(f"{problem}\nStopping everything else.")
        status = 1
    finally:
        others = [name for name in processes.children if name != "sandbox"]
        processes.stop(*others, patience=patience, hurried=signals.hurried)
        # The sandbox stops last, so that a purchase in progress still gets its answer.
        processes.stop("sandbox", patience=5, hurried=signals.hurried)
    return status


def serve(processes, port, sandbox_port):
    """Start everything in order, then watch it."""
    url = f"http://{HOST}:{port}"
    processes.finish("set-up", "manage.py", "migrate", "--verbosity", "0")
    processes.start("sandbox", "manage.py", "sandbox", "--port", str(sandbox_port))
    processes.wait_for("sandbox", f"http://{HOST}:{sandbox_port}/healthz")
    processes.finish("set-up", "manage.py", "seed_demo")
    processes.start("worker", *worker())
    processes.start("web", *gunicorn(port))
    processes.wait_for("web", f"{url}/healthz")
    say(READY.format(url=url))
    processes.watch()


def worker(*options):
    """The arguments with which Python runs the worker; should this process be killed, the worker ends by itself."""
    return ["manage.py", "work", "--parent", str(os.getpid()), *options]


def gunicorn(port):
    """The arguments for Python to serve the web on `port`."""
    quiet = "-W", "ignore:No directory at:UserWarning"  # the sandbox does not run collectstatic
    options = "--workers 2 --threads 4 --graceful-timeout 5 --no-control-socket --log-level warning"
    return [*quiet, "-m", "gunicorn", *options.split(), "--bind", f"{HOST}:{port}", "dashboard.wsgi"]


if __name__ == "__main__":
    sys.exit(main())
