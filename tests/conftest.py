"""What all tests share."""

import io
import logging
import os
import shutil
from pathlib import Path

import pytest
import responses as responses_library
from django.conf import settings
from django.db import connection, transaction
from django.db.backends.base.operations import BaseDatabaseOperations

from purchasing import guard
from purchasing.provider import owned_list
from purchasing.redaction import RedactingFilter
from tests import factories
from tests.healthy_provider import Provider

settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, for tests alone
settings.WHITENOISE_AUTOREFRESH = True  # else each new client looks all static files up first
# The modules of the tests marked `core`, wherever they stand: what `make quick` asks, without a server or a browser.
CORE = {
    "test_access",
    "test_approvals",
    "test_checks",
    "test_claim",
    "test_events",
    "test_evidence",
    "test_guard",
    "test_held_purchases",
    "test_layers",
    "test_letting_go",
    "test_procurement",
    "test_proof",
    "test_reading",
    "test_startup",
    "test_states",
    "test_words",
    "test_workflow",
}
_flush = BaseDatabaseOperations.execute_sql_flush


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses by the marks
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in CORE and not item.get_closest_marker("browser"):
            item.add_marker("core")


def pytest_ignore_collect(collection_path, config):
    """Do not read a module that holds nothing of what `-m` asks for: to collect all takes longer than `make quick`."""
    if collection_path.suffix != ".py":
        return None
    asked = config.option.markexpr
    if asked == "core":
        return collection_path.stem not in CORE or collection_path.parent.name == "browser" or None
    if asked.startswith("database"):
        return "mark.database" not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.fixture(scope="session")
def django_db_keepdb(django_db_modify_db_settings):
    """Begin with a copy of a database that was migrated before, where MIGRATED_DATABASE names one (SQLite)."""
    migrated = os.environ.get("MIGRATED_DATABASE")
    if not migrated or not os.path.exists(migrated) or connection.vendor != "sqlite":
        return False
    name = connection.settings_dict["TEST"]["NAME"]
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(migrated, name)
    return True


def _flush_behind_the_guard(self, sql_list):
    """Empty the tables after a transactional test: the audit triggers are off for just that, inside its transaction."""
    with transaction.atomic(using=self.connection.alias), self.connection.cursor() as cursor:
        for statement in guard.OFF[self.connection.vendor]:
            cursor.execute(statement)
        _flush(self, sql_list)
        for statement in guard.ON[self.connection.vendor]:
            cursor.execute(statement)


BaseDatabaseOperations.execute_sql_flush = _flush_behind_the_guard


@pytest.fixture(autouse=True)
def _a_worker_that_has_just_started():
    """No list that an earlier test read counts in this one."""
    owned_list.count_reads_of(None)
    owned_list.forget_reads()


@pytest.fixture
def http():
    """The wire: what IdentityCall answers, call by call. An unexpected call fails."""
    with responses_library.RequestsMock(
        assert_all_requests_are_fired=False, response_callback=_outside_of_transactions
    ) as mock:
        yield mock


def _outside_of_transactions(response):
    """No transaction is open while the network is used: checked at every call of every test."""
    blocks = [block for block in connection.atomic_blocks if not block._from_testcase]
    assert not blocks, "a provider call was made inside a database transaction"
    return response


@pytest.fixture
def provider_url():
    return settings.IDENTITYCALL_API_URL


@pytest.fixture
def team(db):
    return factories.team()


@pytest.fixture
def sam(team):
    return factories.member("sam", team, "requester")


@pytest.fixture
def ana(team):
    return factories.member("ana", team, "approver")


@pytest.fixture
def tom(team):
    return factories.member("tom", team, "admin")


@pytest.fixture
def pending(team, sam):
    """A request of sam for one number, not decided."""
    return factories.request(team, sam, ["+12125550101"])


@pytest.fixture
def approved(pending, ana):
    """One purchase that ana approved."""
    return factories.approve(pending, ana)[0]


@pytest.fixture
def provider(http):
    """A healthy IdentityCall whose answers a test can change."""
    return Provider(http)


@pytest.fixture
def console():
    """What the product's own log handler writes, at every level."""
    [handler] = [
        handler
        for handler in logging.getLogger().handlers
        if any(isinstance(filter_, RedactingFilter) for filter_ in handler.filters)
    ]
    written, root = io.StringIO(), logging.getLogger()
    before, level = handler.setStream(written), root.level
    root.setLevel(logging.DEBUG)
    yield written
    root.setLevel(level)
    handler.setStream(before)
