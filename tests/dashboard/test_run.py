"""`make run` stays in the sandbox, keeps its data, and leaves no process behind."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dashboard.run import BASE_DIR, HOST, sandbox_environment, serve

PROGRAM = ("dashboard", "purchasing", "sandbox", "static", "templates", "manage.py")
PATIENCE = 60  # seconds


# --- The environment of the child processes ------------------------------------------------------------------------


def test_settings_of_the_real_provider_are_replaced(capsys):
    real = {
        "SANDBOX": "off",
        "IDENTITYCALL_API_URL": "https://api.identitycall.ai/api/v1/public",
        "DATABASE_URL": "postgres://desk@db.example.com/desk",
        "EMAIL_URL": "smtp://mail.example.com",
        "SITE_URL": "https://desk.example.com",
        "ALLOWED_HOSTS": "desk.example.com",
        "TIME_ZONE": "Europe/Berlin",
    }

    assert sandbox_environment(real, 8010, 8011) == {
        "SANDBOX": "on",
        "IDENTITYCALL_API_URL": "http://127.0.0.1:8011/api/v1/public",
        "DATABASE_URL": "sqlite:///var/sandbox.sqlite3",
        "EMAIL_URL": "consolemail://",
        "SITE_URL": "http://127.0.0.1:8010",
        "ALLOWED_HOSTS": "127.0.0.1,localhost,[::1],desk.example.com",
        "TIME_ZONE": "Europe/Berlin",
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
        "RESTORE_MARK": "var/restore-mark",
    }
    assert "Nothing real is bought." in capsys.readouterr().out


def test_a_database_of_the_sandbox_may_be_chosen(capsys):
    own = {"SANDBOX": "on", "DATABASE_URL": "postgres://desk@127.0.0.1/practice"}

    assert sandbox_environment(own, 8000, 8001)["DATABASE_URL"] == "postgres://desk@127.0.0.1/practice"
    assert capsys.readouterr().out == ""


def test_the_example_lists_every_setting():
    read = set(re.findall(r'env(?:\.\w+)?\(\s*"([A-Z_]+)"', (BASE_DIR / "dashboard/settings.py").read_text()))
    listed = re.findall(r"^(?:# )?([A-Z_]+)=", (BASE_DIR / ".env.example").read_text(), re.MULTILINE)

    assert sorted(listed) == sorted(read | {"PORT", "SANDBOX_PORT"})


def test_the_worker_ends_with_whoever_started_it():
    """Also when that is killed and can tell nobody; tests/test_work.py shows that `--parent` does it."""

    class Started(dict):
        def start(self, name, *arguments):
            self[name] = " ".join(arguments)

        finish = start

        def wait_for(self, *what):
            pass

        watch = wait_for

    started = Started()
    serve(started, 8000, 8001)

    assert started["worker"] == f"manage.py work --parent {os.getpid()}"


# --- The real thing -----------------------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path):
    """A copy of the program, so that the run leaves nothing in the folder of the tests."""
    for name in PROGRAM:
        copy = shutil.copytree if (BASE_DIR / name).is_dir() else shutil.copy
        copy(BASE_DIR / name, tmp_path / name)
    yield tmp_path
    for pid in processes_in(tmp_path):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def ports():
    """Two free ports, as PORT and SANDBOX_PORT."""
    with socket.socket() as one, socket.socket() as other:
        one.bind((HOST, 0))
        other.bind((HOST, 0))
        return {"PORT": str(one.getsockname()[1]), "SANDBOX_PORT": str(other.getsockname()[1])}


def run(program, ports, **settings):
    """Start the program; its output goes to the file `printed`."""
    ours = (
        "ENV_FILE",
        "SECRET_KEY",
        "API_KEY_ENCRYPTION_KEYS",
        "DATABASE_URL",
        "SANDBOX",
        "IDENTITYCALL_API_URL",
    )
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    with (program / "printed").open("w") as printed:
        return subprocess.Popen(
            [sys.executable, "-m", "dashboard.run"],
            cwd=program,
            env=inherited | ports | settings,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )


def wait_until(true):
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until
        time.sleep(0.1)


def printed(program):
    return (program / "printed").read_text()


def processes_in(folder):
    """The processes that run in this folder: `{pid: its arguments}`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "cwd").readlink() == folder:
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


@pytest.mark.parametrize("name", ["PORT", "SANDBOX_PORT"])
def test_a_busy_port_gives_one_sentence_and_nothing_is_started(program, ports, name):
    with socket.socket() as busy:
        busy.bind((HOST, int(ports[name])))
        busy.listen()
        ended = run(program, ports)
        assert ended.wait(PATIENCE) == 1

    [sentence] = printed(program).splitlines()
    assert sentence.startswith(f"Port {ports[name]} ")
    assert f"make run {name}=" in sentence
    assert not (program / "var").exists()
    assert not (program / ".env").exists()


@pytest.mark.timeout(300)
@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes in /proc")
def test_data_is_kept_and_no_process_is_left(program, ports):
    first = run(program, ports)
    wait_until(lambda: "Number Desk is ready" in printed(program))
    assert stat.S_IMODE((program / ".env").stat().st_mode) == 0o600
    secrets = (program / ".env").read_text()
    web = min(pid for pid, arguments in processes_in(program).items() if "gunicorn" in arguments)
    os.kill(web, signal.SIGKILL)

    assert first.wait(PATIENCE) == 1
    assert "The web process was ended by SIGKILL." in printed(program)
    assert processes_in(program) == {}
    kept = requests_in(program)
    assert kept == 4
    rename_a_team(program)

    second = run(program, ports)
    wait_until(lambda: "Number Desk is ready" in printed(program))
    second.send_signal(signal.SIGTERM)
    second.send_signal(signal.SIGTERM)  # the same Ctrl-C, received twice: it drains all the same

    assert second.wait(PATIENCE) == 0
    assert processes_in(program) == {}
    assert requests_in(program) == kept
    assert (program / ".env").read_text() == secrets


def rename_a_team(program):
    """As its page does."""
    database = sqlite3.connect(program / "var" / "sandbox.sqlite3")
    with database:
        database.execute("UPDATE purchasing_team SET name = 'Help desk' WHERE name = 'Support'")
    database.close()


def requests_in(program):
    database = sqlite3.connect(program / "var" / "sandbox.sqlite3")
    [[count]] = database.execute("SELECT count(*) FROM purchasing_purchaserequest")
    database.close()
    return count
