"""Who may know whom (STYLE.md): modules import only from lower numbers, and what is dangerous has one place."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent / "purchasing"

# One line a layer. A package stands for all of its modules, which may import each other.
LAYERS = """
0  states clock naming recording terms spreadsheets redaction encryption guard draining wake countries
1  models identitycall words
2  candidates audit rules budgets papers price_guard startup
3  selectors workflow pauses inventory reminders invitations changes auditors exports logins
4  checks stops people agreements settlement approving versions verdicts drafts
5  register procurement aftercare costs briefing keys letters
6  evidence notifications finding
7  decisions tasks work forms
8  team_forms audit_forms views urls account_urls admin admin_site middleware
8  context_processors templatetags management apps migrations
"""
LAYER = {
    module: int(number)
    for number, *modules in (line.split() for line in LAYERS.strip().splitlines())
    for module in modules
}
VIEWS = 8  # and what else belongs to pages and commands: within this layer there is no order


def name_of(path):
    """'views/home.py' is of 'views'."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imports_of(path):
    """Every module that a file imports, wherever in it, as dotted names with what is taken from them."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_layer():
    assert {name_of(path) for path in FILES} - set(LAYER) == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_come_from_lower_layers(path):
    mine = name_of(path)
    if mine not in LAYER:
        pytest.skip("no layer yet")
    theirs = {name.split(".")[1] for name in imports_of(path) if name.startswith("purchasing.")} - {mine}
    wrong = {name for name in theirs if LAYER.get(name, 0) >= LAYER[mine] and LAYER[mine] != VIEWS}
    assert not wrong, f"{mine} ({LAYER[mine]}) imports {sorted((name, LAYER[name]) for name in wrong)}"


def importers(*names):
    """The modules that import any of these, or what lies below them."""
    return {
        name_of(path)
        for path in FILES
        if any(f"{found}.".startswith(tuple(f"{name}." for name in names)) for found in imports_of(path))
    }


def calls():
    """Every call in the product: the module it is in, and the node."""
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                yield name_of(path), node


def called(node):
    """The dotted text of what is called: 'Purchase.objects.create', with '()' where calls are chained."""
    return ast.unparse(node.func)


class TestOnePlaceEach:
    def test_only_identitycall_speaks_http(self):
        web = ("requests", "urllib3", "http.client", "urllib.request", "httpx", "aiohttp", "ssl")
        assert importers(*web) == {"identitycall"}

    def test_others_use_sockets_for_the_name_of_the_machine_alone(self):
        used = {(module, called(node)) for module, node in calls() if called(node).split(".")[0] == "socket"}
        assert {call for module, call in used if module != "identitycall"} == {"socket.gethostname"}

    def test_identitycall_and_candidates_know_no_django(self):
        for package in ("identitycall", "candidates"):
            assert package not in importers("django", "django_tasks", "dashboard")

    def test_the_sandbox_knows_neither_django_nor_the_product(self):
        for path in (ROOT.parent / "sandbox").rglob("*.py"):
            assert not [name for name in imports_of(path) if name.split(".")[0] in ("django", "purchasing")]

    def test_only_procurement_spends_money(self):
        assert {module for module, node in calls() if called(node).endswith(".purchase_number")} == {
            "procurement"
        }

    def test_only_procurement_makes_attempts_and_only_approving_approvals(self):
        makers = {"Attempt": set(), "Approval": set()}
        for module, node in calls():
            for model, where in makers.items():
                if called(node) in (model, f"{model}.objects.create", f"{model}.objects.bulk_create"):
                    where.add(module)
        assert makers == {"Attempt": {"procurement"}, "Approval": {"approving"}}

    def test_only_audit_writes_events(self):
        writers = {
            module
            for module, node in calls()
            if called(node) == "AuditEvent"
            or (called(node).startswith("AuditEvent.") and called(node).split(".")[-1] in WRITES)
        }
        assert writers == {"audit"}

    def test_only_audit_writes_the_head_the_seals_and_what_events_are_found_by(self):
        """By the ORM, or by SQL that names the table."""
        models = [
            "AuditHead",
            "AuditSeal",
            "AuditSegment",
            "AuditStretch",
            "AuditEntry",
            "AuditWord",
            "AuditDigits",
        ]
        writers = {
            module
            for module, node in calls()
            if called(node).split(".")[0] in models and called(node).split(".")[-1] in WRITES
        }
        assert writers == {"audit"}
        sql = re.compile(r"(?i)(INSERT INTO|UPDATE|DELETE FROM)\s+(purchasing_audit|\{)")
        assert {name_of(path) for path in FILES if sql.search(path.read_text(encoding="utf-8"))} == {"audit"}

    def test_only_workflow_writes_a_state(self):
        """By keyword in a write, by attribute, or as a column of a bulk update."""
        writers = {
            module
            for module, node in calls()
            if (called(node).split(".")[-1] in WRITES or called(node) == "Purchase")
            and any(word.arg == "state" for word in node.keywords)
        }
        for path in FILES:
            for node in ast.walk(tree_of(path)):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                if any(isinstance(target, ast.Attribute) and target.attr == "state" for target in targets):
                    writers.add(name_of(path))
                if isinstance(node, ast.Call) and called(node).endswith(("bulk_update", "save")):
                    assert "state" not in [getattr(value, "value", None) for value in ast.walk(node)]
        assert writers == {"workflow"}

    def test_whatever_writes_a_state_goes_through_move(self):
        tree = tree_of(ROOT / "workflow.py")
        functions = {
            function.name
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef)
            for node in ast.walk(function)
            if isinstance(node, ast.Call)
            and called(node).split(".")[-1] in WRITES
            and any(word.arg == "state" for word in node.keywords)
        }
        assert functions == {"move"}

    def test_nothing_is_ever_deleted_but_what_only_served_the_moment(self):
        """No purchase, request, approval, attempt, key, team, person or event."""
        deleters = {module for module, node in calls() if called(node).endswith(".delete")}
        assert deleters == {"work", "views", "people", "notifications", "drafts", "logins"}

    def test_nothing_below_the_views_knows_requests_and_pages(self):
        pages = (
            "django.http",
            "django.shortcuts",
            "django.views",
            "django.contrib.messages",
        )
        assert {module for module in importers(*pages) if LAYER.get(module, VIEWS) < VIEWS} == set()

    def test_only_the_settings_read_the_environment(self):
        assert {
            module for module, node in calls() if "environ" in called(node) or "getenv" in called(node)
        } == set()
        assert not [path for path in FILES if "os.environ" in path.read_text(encoding="utf-8")]

    def test_time_is_told_by_one_clock(self):
        """Where purchases are concerned; the queue library, and pages that say 'ago', go by the machine's."""
        tellers = {module for module, node in calls() if called(node) in ("timezone.now", "datetime.now")}
        assert tellers == {"clock", "wake", "work", "words", "identitycall"}

    def test_a_module_past_400_lines_is_two(self):
        long = {
            str(path.relative_to(ROOT)): lines
            for path in FILES
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 420
            and "migrations" not in path.parts
        }
        assert long == {}


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
