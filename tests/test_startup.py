"""What is refused or said before anything is served or bought."""

import os
import runpy
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection

from purchasing import startup
from purchasing.models import Desk


@pytest.mark.django_db
class TestDatabase:
    def test_an_ordinary_one_is_used(self):
        startup.refuse_wrong_database()

    def test_one_that_ever_held_demo_people_is_refused(self, settings):
        Desk.objects.update(held_demo_people=True)
        with pytest.raises(ImproperlyConfigured, match="sandbox"):
            startup.refuse_wrong_database()
        settings.SANDBOX = True
        startup.refuse_wrong_database()

    @pytest.mark.parametrize("command", [["work"], ["work", "--one", "purchases"], ["reconcile"]])
    def test_nothing_is_bought_from_it(self, command):
        Desk.objects.update(held_demo_people=True)
        with pytest.raises(ImproperlyConfigured):
            call_command(*command)

    def test_one_that_does_not_answer_is_for_others_to_report(self, monkeypatch):
        def gone(*args, **kwargs):
            raise DatabaseError("no such table")

        monkeypatch.setattr(connection, "cursor", gone)
        startup.refuse_wrong_database()
        startup.log_unreadable_keys()

    def test_a_lost_encryption_key_is_named_by_team(self, team, settings, caplog):
        startup.log_unreadable_keys()
        assert caplog.records == []
        settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        startup.log_unreadable_keys()
        assert ["Support" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.database
@pytest.mark.django_db
@pytest.mark.parametrize("program", ["web", "worker", "another command"])
def test_web_and_worker_do_not_wait_for_ever_and_other_commands_may(program, monkeypatch):
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {**connection.settings_dict["OPTIONS"]})
    if program == "web":
        runpy.run_module("dashboard.wsgi")
    else:
        with suppress(CommandError):  # of a worker with too few processes
            call_command(*{"worker": ["work", "--processes", "1"]}.get(program, ["check"]))
    limited = connection.vendor == "postgresql" and program != "another command"
    assert connection.settings_dict["OPTIONS"].get("answer_timeout") == (60 if limited else None)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about the folder of a file")
class TestWhereTheMarkIsKept:
    @pytest.fixture
    def beside(self):
        return Path(connection.settings_dict["NAME"]).parent / "marks"

    def test_beside_the_file_is_warned_of(self, settings, beside, tmp_path):
        settings.RESTORE_MARK = str(beside)
        [warning] = startup.check_restore_mark(None)
        assert str(beside) in warning.msg
        settings.RESTORE_MARK = str(tmp_path)
        assert startup.check_restore_mark(None) == []

    @pytest.mark.parametrize(("name", "value"), [("SANDBOX", True), ("RESTORE_MARK", None)])
    def test_in_the_sandbox_or_off_is_not(self, settings, beside, name, value):
        settings.RESTORE_MARK = str(beside)
        setattr(settings, name, value)
        assert startup.check_restore_mark(None) == []


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_STATE_HOME": "/srv/state"}, "/srv/state/number-desk"),
        ({"XDG_STATE_HOME": "", "HOME": "/home/desk"}, "/home/desk/.local/state/number-desk"),
        ({"RESTORE_MARK": "/srv/mark"}, "/srv/mark"),
        ({"RESTORE_MARK": "var/mark"}, str(project.BASE_DIR / "var" / "mark")),
        ({"RESTORE_MARK": "Off"}, "None"),
    ],
)
def test_the_folder_of_the_mark(environment, folder):
    done = subprocess.run(
        [sys.executable, "-c", "import dashboard.settings as s; print(s.RESTORE_MARK)"],
        cwd=project.BASE_DIR,
        env={**{k: v for k, v in os.environ.items() if k != "RESTORE_MARK"}, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == folder


def settings_with(**environment):
    """Load the settings in a process of its own; its last line of errors, '' when they are accepted."""
    done = subprocess.run(
        [sys.executable, "-c", "import dashboard.settings"],
        cwd=project.BASE_DIR,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


REFUSED = {
    "the sandbox at a real address": (
        {"SANDBOX": "on", "IDENTITYCALL_API_URL": "https://api.identitycall.ai/api/v1/public"},
        "SANDBOX",
    ),
    "a key over plain http": ({"IDENTITYCALL_API_URL": "http://api.identitycall.ai/api"}, "https"),
    "a host that only begins like this machine": (
        {"SANDBOX": "on", "IDENTITYCALL_API_URL": "https://127.0.0.1.example.com/"},
        "SANDBOX",
    ),
    "no encryption key": ({"API_KEY_ENCRYPTION_KEYS": ""}, "API_KEY_ENCRYPTION_KEYS"),
    "no Fernet key": ({"API_KEY_ENCRYPTION_KEYS": "secret"}, "Fernet"),
    "a deadline of nothing": ({"IDENTITYCALL_DEADLINE": "0"}, "above 0"),
    "no delay between reads": ({"EVIDENCE_CHECK_DELAYS": "10,0"}, "above 0"),
    "no number of seconds for an answer": (
        {"DATABASE_URL": "postgres://desk@localhost/desk?answer_timeout=soon"},
        "answer_timeout (PostgreSQL)",
    ),
    "no time for a turn": ({"DATABASE_URL": "sqlite:///desk.sqlite3?timeout=0"}, "timeout (SQLite)"),
    "no rate": ({"RATE_LIMIT_PER_MINUTE": "0"}, "above 0"),
}


@pytest.mark.parametrize(("environment", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_wrong_settings_are_refused_with_a_sentence(environment, words):
    assert words in settings_with(**environment)


def test_right_settings_are_accepted():
    assert settings_with(SANDBOX="on", IDENTITYCALL_API_URL="http://127.0.0.1:8001/api/v1/public") == ""


class TestAFolderThatCanOnlyBeRead:
    """The program needs to write where its database is and nowhere else. root may write anywhere, so what is compared
    is what the folder holds."""

    @pytest.fixture
    def program(self, tmp_path):
        for name in ("dashboard", "purchasing", "static", "templates"):
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(project.BASE_DIR / name, tmp_path / "program" / name, ignore=unwanted)
        return tmp_path / "program"

    def run(self, program, code, **environment):
        """Run `code` there; what was made in the folder."""
        before = set(program.rglob("*"))
        inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "DJANGO_SETTINGS_MODULE": "dashboard.settings"}
        command = [sys.executable, "-c", code]
        subprocess.run(command, cwd=program, env=inherited | environment, timeout=60, check=True)
        return sorted(str(path.relative_to(program)) for path in set(program.rglob("*")) - before)

    def test_settings_make_nothing(self, program):
        assert self.run(program, "import dashboard.settings") == []

    def test_the_web_serves_with_a_database_elsewhere_in_a_folder_that_is_not_there_yet(
        self, program, tmp_path
    ):
        database = tmp_path / "data" / "of" / "desk.sqlite3"
        serve = """
from dashboard.wsgi import application
from django.test import Client
client = Client(headers={"Host": "localhost"})
assert client.get("/healthz").status_code == 200
assert client.get("/static/css/desk.css").status_code == 200
"""
        assert self.run(program, serve, DATABASE_URL=f"sqlite:///{database}") == []
        assert database.exists()
