"""The SQL triggers that keep audit events as they were written: what the migration runs, and what puts them back.

A later migration that touches the table must end with `ON`: on SQLite every remake of a table drops its triggers
without a word (`tests/test_guard.py` notices).
"""

_TABLE = "purchasing_auditevent"
_WORDS = "audit events are only ever added"

ON = {
    "sqlite": [
        f"CREATE TRIGGER IF NOT EXISTS audit_no_update BEFORE UPDATE ON {_TABLE} "
        f"BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END",
        f"CREATE TRIGGER IF NOT EXISTS audit_no_delete BEFORE DELETE ON {_TABLE} "
        f"BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END",
        # INSERT OR REPLACE passes the two above. The row it replaces may be named by its hidden rowid as well.
        f"CREATE TRIGGER IF NOT EXISTS audit_no_replace BEFORE INSERT ON {_TABLE} "
        f"WHEN EXISTS (SELECT 1 FROM {_TABLE} WHERE seq = NEW.seq OR rowid = NEW.rowid) "
        f"BEGIN SELECT RAISE(ABORT, '{_WORDS}'); END",
    ],
    "postgresql": [
        f"CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{_WORDS}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        f"CREATE OR REPLACE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {_TABLE} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    ],
}
OFF = {
    "sqlite": [
        f"DROP TRIGGER IF EXISTS {name}"
        for name in ("audit_no_update", "audit_no_delete", "audit_no_replace")
    ],
    "postgresql": [f"DROP TRIGGER IF EXISTS audit_no_change ON {_TABLE}"],
}


def switch_on(apps, schema_editor):
    """For `RunPython`: put the triggers in place on the database that is being migrated."""
    for statement in ON[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def switch_off(apps, schema_editor):
    """For `RunPython`, backwards."""
    for statement in OFF[schema_editor.connection.vendor]:
        schema_editor.execute(statement)
