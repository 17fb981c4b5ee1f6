"""The SQL triggers that protect the record from changes, as the migrations create and remove them.

A later migration that touches one of these tables must end with `switch_on`: on SQLite, remaking a table silently drops
its triggers (`tests/audit/test_guard.py` checks this). A migration that changes the text of a trigger must run
`switch_off` and then `switch_on`: the proof compares the text in the database with the text here.
"""

_EVENTS = "purchasing_auditevent"
_WORDS = "audit events are only ever added"
_REFUSE = f" BEGIN RAISE EXCEPTION '{_WORDS}' USING ERRCODE = 'integrity_constraint_violation'; END "
# pg_trigger.tgtype: before a statement that deletes, updates or truncates.
_BEFORE_EACH_CHANGE = 2 + 8 + 16 + 32
# Each table with the prefix of its trigger names and the column that numbers its rows.
TABLES = {
    _EVENTS: ("audit", "seq"),
    "purchasing_auditseal": ("audit_seal", "number"),
    "purchasing_auditentry": ("audit_entry", "seq"),
    "purchasing_auditsegment": ("audit_segment", "number"),
    "purchasing_auditstretch": ("audit_stretch", "first_seq"),
    "purchasing_auditword": ("audit_word", "id"),
    "purchasing_auditdigits": ("audit_digits", "id"),
}


def _on_sqlite(table, name, number):
    refuse = f"BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END"
    return [
        f"CREATE TRIGGER IF NOT EXISTS {name}_no_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER IF NOT EXISTS {name}_no_delete BEFORE DELETE ON {table} {refuse}",
        # INSERT OR REPLACE fires neither of the two above. It can also name the row to replace by its hidden rowid.
        f"CREATE TRIGGER IF NOT EXISTS {name}_no_replace BEFORE INSERT ON {table} "
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {number} = NEW.{number} OR rowid = NEW.rowid) {refuse}",
    ]


def _on_postgresql(table, name, number):
    return [
        f"CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $${_REFUSE}$$",
        f"CREATE OR REPLACE TRIGGER {name}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    ]


def _off_sqlite(table, name, number):
    return [f"DROP TRIGGER IF EXISTS {trigger}" for trigger in names("sqlite", table)]


def _off_postgresql(table, name, number):
    return [f"DROP TRIGGER IF EXISTS {trigger} ON {table}" for trigger in names("postgresql", table)]


def names(vendor, table):
    """The names of the triggers on `table`."""
    name, _ = TABLES[table]
    endings = ("no_update", "no_delete", "no_replace") if vendor == "sqlite" else ("no_change",)
    return [f"{name}_{ending}" for ending in endings]


_MAKE = {"sqlite": (_on_sqlite, _off_sqlite), "postgresql": (_on_postgresql, _off_postgresql)}


def _statements(which, vendor, tables):
    return [sql for table in tables for sql in _MAKE[vendor][which](table, *TABLES[table])]


ON = {vendor: _statements(0, vendor, TABLES) for vendor in _MAKE}
OFF = {vendor: _statements(1, vendor, TABLES) for vendor in _MAKE}


def switch_on(apps, schema_editor):
    """For `RunPython`: create the triggers on those tables that exist at this point of the migrations."""
    _run(schema_editor, 0)


def switch_off(apps, schema_editor):
    """For `RunPython`: remove the triggers."""
    _run(schema_editor, 1)


def _run(schema_editor, which):
    connection = schema_editor.connection
    there = set(connection.introspection.table_names())
    for statement in _statements(which, connection.vendor, [table for table in TABLES if table in there]):
        schema_editor.execute(statement)


def missing(connection):
    """The names of the triggers that are missing from the database, changed or disabled."""
    there = {name: rest for name, *rest in _there(connection)}
    return [name for name, *rest in _expected(connection.vendor) if there.get(name) != rest]


def _there(connection):
    """Each trigger in the database: its name and its definition."""
    if connection.vendor == "sqlite":
        sql = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    else:
        sql = (
            "SELECT tgname, relname, tgtype, proname, prosrc FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid "
            "JOIN pg_proc p ON p.oid = tgfoid WHERE NOT tgisinternal AND tgenabled IN ('O', 'A') "
            "AND tgqual IS NULL AND cardinality(tgattr) = 0"
        )
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def _expected(vendor):
    for table, (name, number) in TABLES.items():
        if vendor == "sqlite":
            made = [sql.replace("IF NOT EXISTS ", "") for sql in _on_sqlite(table, name, number)]
            yield from zip(names(vendor, table), made, strict=True)
        else:
            yield f"{name}_no_change", table, _BEFORE_EACH_CHANGE, "audit_refuse", _REFUSE
