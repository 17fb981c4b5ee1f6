"""What events are found by, made from the events: for those from before there was a search, and for benchmarks."""

import json
from datetime import UTC, datetime

from purchasing import terms
from purchasing.audit.recording import QUARTER, words_of
from purchasing.models.search import SEGMENT

BATCH = 5000  # events


class Index:
    """Rows of the search tables for events that are added in order: `rows`, by table."""

    def __init__(self):
        self.rows = {name: [] for name in TABLES}
        self.quarter = self.reached = 0
        self._segment, self._numbers = -1, set()

    def add(self, event):
        """Take in the next event."""
        segment, quarter = event.seq // SEGMENT, int(event.at.timestamp()) // QUARTER
        if segment != self._segment:
            self._segment, self._numbers = segment, set()
            self.rows["purchasing_auditsegment"].append((segment,))
        if quarter != self.quarter:
            self.quarter, self.reached = quarter, max(quarter, self.reached)
            self.rows["purchasing_auditstretch"].append((event.seq, quarter, self.reached))
        number = event.phone_number
        if number and number not in self._numbers:
            self._numbers.add(number)
            parts = dict.fromkeys(terms.digits(number))
            self.rows["purchasing_auditdigits"] += [(segment, part, number) for part in parts]
        self.rows["purchasing_auditword"] += [(segment, word, event.seq) for word in words_of(event)]


TABLES = {
    "purchasing_auditsegment": ("number",),
    "purchasing_auditstretch": ("first_seq", "quarter", "reached"),
    "purchasing_auditdigits": ("segment", "digits", "phone_number"),
    "purchasing_auditword": ("segment", "word", "seq"),
}


class _Event:
    """As much of an event as the index wants."""

    def __init__(self, seq, at, actor_name, actor_role, on_behalf_of, phone_number, note, data):
        self.seq, self.actor_name, self.actor_role, self.on_behalf_of = (
            seq,
            actor_name,
            actor_role,
            on_behalf_of,
        )
        self.phone_number, self.note, self.data = phone_number, note, json.loads(data)
        at = datetime.fromisoformat(at) if isinstance(at, str) else at
        self.at = at if at.tzinfo else at.replace(tzinfo=UTC)


def index_all(apps, schema_editor):
    """For `RunPython`: fill the empty search tables from the events that are there."""
    connection = schema_editor.connection
    index, seq = Index(), 0
    data = "data::text" if connection.vendor == "postgresql" else "data || ''"
    names = f"seq, at, actor_name, actor_role, on_behalf_of, phone_number, note, {data}"
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                f"SELECT {names} FROM purchasing_auditevent WHERE seq > %s ORDER BY seq LIMIT {BATCH}", [seq]
            )
            events = [_Event(*row) for row in cursor.fetchall()]
            if not events:
                break
            for event in events:
                index.add(event)
            seq = events[-1].seq
            for table, columns in TABLES.items():
                rows, index.rows[table] = index.rows[table], []
                marks = ", ".join(["%s"] * len(columns))
                cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
        cursor.execute(
            "UPDATE purchasing_audithead SET quarter = %s, reached = %s", [index.quarter, index.reached]
        )
