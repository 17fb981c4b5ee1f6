"""`make run`: all of Number Desk on this machine, with the sandbox provider, until Ctrl-C.

Nothing real is bought here, whatever `.env` says: the children get the sandbox's settings, and its own database.
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
PATIENCE = 60  # seconds until a child has to answer
GRACE = 7  # seconds beyond the deadline of a call: `work` drains in 5
SAME_SIGNAL = 1  # seconds: a Ctrl-C of the terminal can arrive twice, from the terminal and from make

DOT_ENV = """\
# Written by `make run`, yours to change. .env.example explains every setting. Not for git.
# Keep it: without API_KEY_ENCRYPTION_KEYS the stored API keys cannot be read.
SECRET_KEY={secret_key}
API_KEY_ENCRYPTION_KEYS={encryption_key}

# The sandbox: nothing real is bought. For the real IdentityCall remove these two lines; Number Desk then uses a
# database of its own, and README.md says what else to set. `make run` stays in the sandbox.
SANDBOX=on
IDENTITYCALL_API_URL=http://127.0.0.1:{sandbox_port}/api/v1/public
"""

READY = """
Number Desk is ready at {url} (sandbox: nothing real is bought)

  log in as  who
  sam        asks for numbers: requester of Support
  ana        approves or rejects: approver of Support and Sales
  tom        looks after both teams: team admin
  ida        reads everything: auditor
  root       may do everything: superuser, also at {url}/admin/
             password of all five: numberdesk

Ctrl-C ends everything; what was done is kept for the next `make run`."""


class CannotRun(Exception):
    """It cannot be started, or cannot go on; the text is for people."""


class Told(Exception):
    """A signal asked to end."""


# --- Settings -----------------------------------------------------------------------------------------------------


def read_settings():
    """Read `.env`, written first where there is none. Returns `(environment of the children, port, sandbox port)`."""
    path = Path(os.environ.get("ENV_FILE") or BASE_DIR / ".env")
    if path.exists():
        environ.Env.read_env(str(path))  # what the environment has already wins
    port, sandbox_port = _port("PORT", 8000), _port("SANDBOX_PORT", 8001)
    if port == sandbox_port:
        raise CannotRun(
            f"PORT and SANDBOX_PORT are both {port}. Choose two: make run PORT=8000 SANDBOX_PORT=8001"
        )
    _refuse_busy(port, "PORT", "")
    _refuse_busy(sandbox_port, "SANDBOX_PORT", " (for the sandbox provider)")
    if not path.exists():
        _write(path, sandbox_port)
        environ.Env.read_env(str(path))
    for name in ("SECRET_KEY", "API_KEY_ENCRYPTION_KEYS"):
        if not os.environ.get(name):
            raise CannotRun(f"{path} has no {name}. .env.example says how to make one.")
    return sandbox_environment(dict(os.environ), port, sandbox_port), port, sandbox_port


def sandbox_environment(environment, port, sandbox_port):
    """`environment` as the children get it: the sandbox on these ports, no real database, no real mail."""
    here = "127.0.0.1,localhost,[::1]"
    changed = {
        "SANDBOX": "on",
        "IDENTITYCALL_API_URL": f"http://{HOST}:{sandbox_port}/api/v1/public",
        "SITE_URL": f"http://{HOST}:{port}",
        "ALLOWED_HOSTS": ",".join(filter(None, [here, environment.get("ALLOWED_HOSTS")])),
        "PYTHONUNBUFFERED": "1",
        "LOG_LEVEL": environment.get("LOG_LEVEL") or "WARNING",
    }
    if environment.get("SANDBOX", "").strip().lower() not in environ.Env.BOOLEAN_TRUE_STRINGS:
        say(
            "SANDBOX is not on in your settings. `make run` leaves them alone and runs the sandbox beside them, in a "
            "database of its own: var/sandbox.sqlite3. Nothing real is bought."
        )
        changed |= {"DATABASE_URL": "sqlite:///var/sandbox.sqlite3", "EMAIL_URL": "consolemail://"}
    return environment | changed


def _port(name, default):
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535):
        raise CannotRun(f"{name} has to be a number from 1 to 65535; it is {text!r}.")
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
        raise CannotRun(f"Port {port}{what} {why}. Choose another one: make run {name}={other}") from None


def free_port(port=0):
    """Which port is free: `port` itself (else OSError), or any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return probe.getsockname()[1]


def _write(path, sandbox_port):
    text = DOT_ENV.format(
        secret_key=secrets.token_urlsafe(50),
        encryption_key=base64.urlsafe_b64encode(os.urandom(32)).decode(),  # what Fernet.generate_key() does
        sandbox_port=sandbox_port,
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    say(f"Wrote {path} with new secrets.")


# --- Children -----------------------------------------------------------------------------------------------------


class Processes:
    """Python programs of ours, each in a session of its own: a Ctrl-C of the terminal reaches them through us alone.

    What they print goes to the terminal with their name before it, or to a file for each in the folder `logs`.
    Whatever waits raises `Told` as soon as `told()`.
    """

    def __init__(self, environment, *, logs=None, told=lambda: False):
        self.environment, self.logs, self.told = environment, logs, told
        self.children = {}
        self._relays = {}

    def start(self, name, *arguments):
        """Start `python ARGUMENTS` in the project's folder."""
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
        """Start it and wait for its end; `CannotRun` when that is not 0."""
        child = self.start(name, *arguments)
        self.watch(lambda: child.poll() is not None)
        del self.children[name]
        if child.returncode:
            raise CannotRun(f"`{' '.join(arguments)}` {_how(child.returncode)}.{self._last_words(name)}")

    def wait_for(self, name, url):
        """Return when `url` answers 200."""
        until = time.monotonic() + PATIENCE
        while not self.watch(lambda: answers(url), once=True):
            if time.monotonic() > until:
                raise CannotRun(f"The {name} process does not answer at {url}.{self._last_words(name)}")

    def watch(self, done=lambda: False, *, once=False):
        """Return True when `done()`; raise `CannotRun` when a child ends before. With `once`, look a single time."""
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
        """End these: SIGTERM, and SIGKILL after `patience` seconds or as soon as `hurried()`."""
        children = [self.children.pop(name) for name in names if name in self.children]
        _signal(children, signal.SIGTERM)
        until = time.monotonic() + patience
        while any(map(self._is_there, children)) and time.monotonic() < until and not hurried():
            time.sleep(0.05)
        if any(map(self._is_there, children)):
            _signal(children, signal.SIGTERM)  # a second one ends what the worker's processes are doing
            time.sleep(1)
            _signal(children, signal.SIGKILL)
            for child in children:
                child.wait()

    def _is_there(self, child):
        """Whether anything of it is left: its process group, or whoever else still holds its output open."""
        return _has_group(child) or (child in self._relays and self._relays[child].is_alive())

    def _last_words(self, name):
        if not self.logs:
            return ""
        lines = (self.logs / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n" + "\n".join(lines[-30:])


def answers(url):
    """Whether a GET of `url` answers 200 now; a proxy of the environment is not asked."""
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
    child.poll()  # else the group of an ended child is there until somebody has asked for its exit code
    try:
        os.killpg(child.pid, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _how(code):
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"


def _relay(name, stream):
    """Pass on what a child prints, line by line; a terminal that is gone must not stop the child."""
    for line in stream:
        say(f"{name:8} | {line.decode(errors='replace').rstrip()}")


def say(text):
    """Print, unless nobody is there any more to read it."""
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        pass


# --- The run ------------------------------------------------------------------------------------------------------


class Signals:
    """SIGINT, SIGTERM and SIGHUP: the first one asks to end, a later one to do so at once."""

    def __init__(self):
        self._heard = []
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
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
    """Run everything until told to end (exit status 0) or until something fails (1)."""
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
            f"\nEnding. A purchase under way is waited for, at most {patience:g} seconds; Ctrl-C again ends it at once."
        )
    except CannotRun as problem:
        say(f"{problem}\nEnding everything else.")
        status = 1
    finally:
        others = [name for name in processes.children if name != "sandbox"]
        processes.stop(*others, patience=patience, hurried=signals.hurried)
        processes.stop(
            "sandbox", patience=5, hurried=signals.hurried
        )  # last: a purchase still gets its answer
    return status


def serve(processes, port, sandbox_port):
    """Bring everything up, one after the other, and watch it."""
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
    """The arguments with which Python serves the web on `port`."""
    quiet = "-W", "ignore:No directory at:UserWarning"  # there is no collectstatic in the sandbox
    options = "--workers 2 --threads 4 --graceful-timeout 5 --no-control-socket --log-level warning"
    return [*quiet, "-m", "gunicorn", *options.split(), "--bind", f"{HOST}:{port}", "dashboard.wsgi"]


if __name__ == "__main__":
    sys.exit(main())
