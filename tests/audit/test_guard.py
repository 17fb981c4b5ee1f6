"""Audit events are only ever added: both databases refuse everything else."""

import pytest
from django.db import DatabaseError, connection, models, transaction
from django.db.models.deletion import ProtectedError

from purchasing import audit, guard
from purchasing.audit import filing
from purchasing.models import AuditEvent, AuditHead, Team
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.database]
TABLE = AuditEvent._meta.db_table
COLUMNS = [field.column for field in AuditEvent._meta.concrete_fields]
LIST = ", ".join(COLUMNS)
OTHERS = ", ".join(column for column in COLUMNS if column != "seq")


@pytest.fixture(autouse=True)
def events(team):
    """Rows that must not change."""
    before = list(AuditEvent.objects.order_by("seq").values())
    assert len(before) == 2
    connection.check_constraints()  # pending constraint checks would block TRUNCATE even without the triggers
    yield before
    assert list(AuditEvent.objects.filter(seq__lte=2).order_by("seq").values()) == before


def refused(sql):
    """Whether the database refuses the statement."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(sql)
    except DatabaseError as error:
        return "only ever added" in str(error)
    return False


def copy(seq, *, into="INSERT", columns=LIST, values=None, after=""):
    return f"{into} INTO {TABLE} ({columns}) SELECT {values or f'{seq}, {OTHERS}'} FROM {TABLE} WHERE seq = 1 {after}"


EVERYWHERE = {
    "update": f"UPDATE {TABLE} SET note = 'changed' WHERE seq = 1",
    "update of every column": f"UPDATE {TABLE} SET {', '.join(f'{c} = {c}' for c in COLUMNS)}",
    "update of the number": f"UPDATE {TABLE} SET seq = 99 WHERE seq = 1",
    "delete": f"DELETE FROM {TABLE} WHERE seq = 1",
    "delete of all": f"DELETE FROM {TABLE}",
    "upsert": copy(
        1,
        columns=f"seq, {OTHERS}",
        after=("AND true ON CONFLICT (seq) DO UPDATE SET note = 'changed'"),
    ),
}
ONLY = {
    "sqlite": {
        "insert or replace": copy(1, into="INSERT OR REPLACE", columns=f"seq, {OTHERS}"),
        "replace": copy(1, into="REPLACE", columns=f"seq, {OTHERS}"),
        "replace by the hidden rowid": copy(
            99,
            into="INSERT OR REPLACE",
            columns=f"rowid, seq, {OTHERS}",
            values=f"rowid, 99, {OTHERS}",
        ),
        "update or replace": f"UPDATE OR REPLACE {TABLE} SET seq = 2 WHERE seq = 1",
    },
    "postgresql": {
        "truncate": f"TRUNCATE {TABLE}",
        "truncate of what it points to": "TRUNCATE purchasing_team CASCADE",
        "update of no row": f"UPDATE {TABLE} SET note = '' WHERE seq < 0",
        "delete of no row": f"DELETE FROM {TABLE} WHERE seq < 0",
        "merge": f"MERGE INTO {TABLE} a USING {TABLE} b ON a.seq = b.seq "
        "WHEN MATCHED THEN UPDATE SET note = 'changed'",
    },
}


@pytest.mark.parametrize("sql", EVERYWHERE.values(), ids=EVERYWHERE.keys())
def test_sql_that_changes_or_removes_is_refused(sql):
    assert refused(sql)


def test_the_ways_of_this_database_are_refused():
    ways = ONLY[connection.vendor]
    assert {name: refused(sql) for name, sql in ways.items()} == dict.fromkeys(ways, True)


def test_the_orm_is_refused_as_well():
    event = AuditEvent.objects.get(seq=1)
    with pytest.raises(TypeError):
        event.save()
    with pytest.raises(TypeError):
        event.delete()
    for change in (
        lambda: AuditEvent.objects.update(note="changed"),
        lambda: AuditEvent.objects.all().delete(),
        lambda: AuditEvent.objects.bulk_update([event], ["note"]),
        lambda: models.Model.save(event),
        lambda: AuditEvent.objects.bulk_create(
            [event], update_conflicts=True, update_fields=["note"], unique_fields=["seq"]
        ),
    ):
        with pytest.raises(DatabaseError, match="only ever added"), transaction.atomic():
            change()


def test_what_events_point_to_cannot_be_removed(team):
    with pytest.raises(ProtectedError):
        Team.objects.filter(pk=team.pk).delete()


@pytest.mark.parametrize("table", guard.TABLES)
def test_migrating_all_the_way_leaves_the_triggers_in_place(table):
    if connection.vendor == "sqlite":
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"
        wanted = {"no_update", "no_delete", "no_replace"}
    else:
        sql = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled = 'O' AND tgrelid = %s::regclass"
        wanted = {"no_change"}
    short, _ = guard.TABLES[table]
    with connection.cursor() as cursor:
        cursor.execute(sql, [table])
        assert {name for (name,) in cursor.fetchall()} == {f"{short}_{name}" for name in wanted}
    assert guard.missing(connection) == []


@pytest.mark.parametrize("table", [table for table in guard.TABLES if table != TABLE])
def test_what_belongs_to_the_record_is_only_ever_added_as_well(table, monkeypatch):
    monkeypatch.setattr(filing, "LOT", 1)
    audit.seal(actor=factories.SYSTEM)
    team = Team.objects.get()
    factories.request(team, factories.member("sam", team, "requester"), ["+12125550101"])
    _, number = guard.TABLES[table]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT MIN({number}) FROM {table}")
        assert cursor.fetchone()[0] is not None
    ways = [f"UPDATE {table} SET {number} = {number}", f"DELETE FROM {table}"]
    if connection.vendor == "sqlite":
        ways.append(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")
    else:
        connection.check_constraints()
        ways.append(f"TRUNCATE {table}")
    assert [refused(sql) for sql in ways] == [True] * 3


def test_the_lists_of_the_guard_switch_off_what_they_switch_on(events):
    run(guard.OFF)
    assert not refused(f"UPDATE {TABLE} SET note = note")
    run(guard.ON)
    run(guard.ON)  # safe to repeat, as every later migration does
    assert refused(f"UPDATE {TABLE} SET note = note")


def test_new_events_are_welcome():
    audit.record("test.done", actor=factories.SYSTEM)
    assert AuditHead.objects.get().seq == 3


def run(statements):
    with connection.cursor() as cursor:
        for statement in statements[connection.vendor]:
            cursor.execute(statement)
