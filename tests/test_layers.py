"""Who may know whom (docs/architecture.md): a module imports only from rooms below its own, and what is dangerous has
one place."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "purchasing"

# One line a floor, one word a room: a package, or a module of its own. Rooms of one floor do not know each other.
FLOORS = """
0   states problems clock countries redaction encryption guard jobs
1   models identitycall words
2   permissions pasting startup
3   audit
4   selectors workflow provider
5   teams
6   asking
7   approving
8   buying
9   mail
10  tasks worker middleware
11  views templatetags context_processors migrations
12  urls account_urls admin admin_site apps management
"""
FLOOR = {
    room: int(number)
    for number, *rooms in (line.split() for line in FLOORS.strip().splitlines())
    for room in rooms
}


def room_of(path):
    """'views/home.py' is of 'views'."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def module_of(path):
    """The dotted name of a file: 'purchasing.audit' for its __init__."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
MODULES = {module_of(path): path for path in FILES}


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path):
    """Every module that a file imports, wherever in it, as dotted names with what is taken from them."""
    found = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@cache
def our_imports_of(path):
    """The modules of the product that a file imports."""
    found = set()
    for name in imports_of(path):
        if name.startswith("purchasing."):
            found.add(name if name in MODULES else name.rpartition(".")[0])
    return found & set(MODULES) - {module_of(path)}


def test_every_module_is_in_a_room_of_the_plan():
    assert {room_of(path) for path in FILES} <= set(FLOOR)
    assert set(FLOOR) <= {room_of(path) for path in FILES}, "the plan names a room that is gone"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_come_from_rooms_below(path):
    mine = room_of(path)
    theirs = {room_of(MODULES[name]) for name in our_imports_of(path)} - {mine}
    wrong = sorted((room, FLOOR[room]) for room in theirs if FLOOR[room] >= FLOOR[mine])
    assert not wrong, f"{mine} (floor {FLOOR[mine]}) imports {wrong}"


def test_no_modules_import_each_other_in_a_circle():
    waiting = {name: our_imports_of(path) for name, path in MODULES.items()}
    while free := [name for name, needs in waiting.items() if not needs & set(waiting)]:
        for name in free:
            del waiting[name]
    assert waiting == {}


def name_of(path):
    """'buying/look', as the docs name a module."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


def importers(*names):
    """The modules that import any of these, or what lies below them."""
    return {
        name_of(path)
        for path in FILES
        if any(f"{found}.".startswith(tuple(f"{name}." for name in names)) for found in imports_of(path))
    }


@cache
def calls():
    """Every call in the product: the module it is in, the dotted text of what is called, and the node."""
    return [
        (name_of(path), ast.unparse(node.func), node)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
    ]


def callers(*models):
    """The modules that make or change rows of these models by the ORM."""
    return {
        module
        for module, called, _ in calls()
        if called in models or (called.split(".")[0] in models and called.split(".")[-1] in WRITES)
    }


def mentions(word):
    """The modules in whose code a name, an attribute or a text is exactly this word."""
    return {
        name_of(path)
        for path in FILES
        for node in ast.walk(tree_of(path))
        if word
        in (
            getattr(node, "attr", None),
            getattr(node, "id", None),
            getattr(node, "value", None),
            getattr(node, "name", None),
        )
    }


def rooms(modules):
    return {module.split("/")[0] for module in modules}


class TestOnePlaceEach:
    def test_only_identitycall_speaks_http(self):
        web = ("requests", "urllib3", "http.client", "urllib.request", "httpx", "aiohttp", "ssl")
        assert rooms(importers(*web)) == {"identitycall"}

    def test_others_use_sockets_for_the_name_of_the_machine_alone(self):
        used = {(module, called) for module, called, _ in calls() if called.split(".")[0] == "socket"}
        assert {call for module, call in used if not module.startswith("identitycall/")} == {
            "socket.gethostname"
        }

    def test_identitycall_and_pasting_know_no_django(self):
        assert not rooms(importers("django", "django_tasks", "dashboard")) & {"identitycall", "pasting"}

    def test_the_sandbox_knows_neither_django_nor_the_product(self):
        for path in (ROOT.parent / "sandbox").rglob("*.py"):
            assert not [name for name in imports_of(path) if name.split(".")[0] in ("django", "purchasing")]

    def test_only_procurement_spends_money(self):
        """Nobody else even names the call, not by `getattr` either."""
        assert mentions("purchase_number") == {"identitycall/client", "buying/procurement"}

    def test_only_procurement_makes_attempts_and_only_approvals_make_approvals(self):
        makers = {
            model: {module for module, called, _ in calls() if called in made_by}
            for model in ("Attempt", "Approval")
            if (made_by := {model, f"{model}.objects.create", f"{model}.objects.bulk_create"})
        }
        assert makers == {"Attempt": {"buying/procurement"}, "Approval": {"approving/approvals"}}

    def test_only_audit_writes_events(self):
        assert callers("AuditEvent") == {"audit/events"}

    def test_only_audit_writes_the_head_the_seals_and_what_events_are_found_by(self):
        """By the ORM, or by SQL that names the table."""
        assert rooms(
            callers(
                "AuditHead",
                "AuditSeal",
                "AuditSegment",
                "AuditStretch",
                "AuditEntry",
                "AuditWord",
                "AuditDigits",
            )
        ) == {"audit"}
        assert rooms(writers_by_sql()) == {"audit"}

    def test_only_workflow_writes_a_state(self):
        """By keyword or dict in a write, by attribute, as a column of a bulk update, or by SQL."""
        writers = set()
        for module, called, node in calls():
            if called.split(".")[-1] in WRITES or called == "Purchase":
                names = {word.arg for word in node.keywords}
                names |= {
                    getattr(part, "value", None) for word in node.keywords for part in ast.walk(word.value)
                }
                if called.endswith(("bulk_update", "save")):
                    names |= {getattr(part, "value", None) for part in ast.walk(node)}
                if "state" in names:
                    writers.add(module)
            if called == "setattr" and "state" in [getattr(part, "value", None) for part in ast.walk(node)]:
                writers.add(module)
        for path in FILES:
            for node in ast.walk(tree_of(path)):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                if any(isinstance(target, ast.Attribute) and target.attr == "state" for target in targets):
                    writers.add(name_of(path))
        assert writers == {"workflow"}
        assert "purchasing_purchase" not in "".join(
            path.read_text(encoding="utf-8") for path in FILES_BUT_MIGRATIONS
        )

    def test_whatever_writes_a_state_goes_through_move(self):
        functions = {
            function.name
            for function in ast.walk(tree_of(ROOT / "workflow.py"))
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.Call)
            and ast.unparse(node.func).split(".")[-1] in WRITES
            and any(word.arg == "state" for word in node.keywords)
        }
        assert functions == {"move"}

    def test_nothing_is_ever_deleted_but_what_only_served_the_moment(self):
        """No purchase, request, approval, attempt, key, team, person or event."""
        assert {module for module, called, _ in calls() if called.endswith(".delete")} == {
            "asking/drafts",  # what was sent, or emptied
            "migrations/0012_fill_credentials",  # a cache of a minute; what two rows of one secret showed
            "mail/sending",  # mails of long ago
            "teams/logins",  # failed log-ins of long ago
            "teams/members",  # roles, sessions
            "views/drafts",
            "views/find",
            "worker/processes",  # ended tasks, old pastes and drafts
        }

    def test_nothing_below_the_views_knows_requests_and_pages(self):
        pages = ("django.http", "django.shortcuts", "django.views", "django.contrib.messages")
        assert {room for room in rooms(importers(*pages)) if FLOOR[room] < FLOOR["middleware"]} == set()

    def test_only_the_settings_read_the_environment(self):
        assert not mentions("environ") | mentions("getenv")

    def test_time_is_told_by_one_clock(self):
        """Where purchases are concerned; the queue library, and pages that say 'ago', go by the machine's."""
        tellers = {module for module, called, _ in calls() if called in ("timezone.now", "datetime.now")}
        assert tellers == {"clock", "jobs", "worker/processes", "words", "identitycall/answers"}

    def test_a_module_past_400_lines_is_two(self):
        long = {
            name_of(path): lines
            for path in FILES_BUT_MIGRATIONS
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 420
        }
        assert long == {}


def writers_by_sql():
    """The modules that hold SQL which writes: none needs it but the record."""
    sql = re.compile(r"(?i)(INSERT INTO|UPDATE|DELETE FROM)\s+(purchasing_|\{)")
    return {name_of(path) for path in FILES_BUT_MIGRATIONS if sql.search(path.read_text(encoding="utf-8"))}


FILES_BUT_MIGRATIONS = [path for path in FILES if "migrations" not in path.parts]
WRITES = {
    "create",
    "bulk_create",
    "update",
    "bulk_update",
    "get_or_create",
    "update_or_create",
    "save",
    "delete",
}
