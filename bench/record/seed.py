"""Fill a migrated database with a record of any size, with a whole chain as if written event by event.

    DATABASE_URL=sqlite:///record.sqlite3 python -m bench.record.seed --events 1000000

A million events over a hundred thousand purchases take a minute or two. Nothing is written through the ORM; the
indexes are dropped first and rebuilt at the end.
"""

import argparse
import json
import os
import sys
import time
import uuid
from itertools import islice
from types import SimpleNamespace

from bench.record.story import Company, Story

BATCH = 20_000  # events


def seed(events, *, seed=1, say=lambda text: None):
    """Write `events` events and everything they refer to into the database of the settings; returns the story."""
    from django.db import connection

    story = Story(Company.of(), seed=seed)
    ids = people_and_teams(story.company)
    writer = Writer(connection)
    indexes = take_down_indexes(connection)
    chain = Chain(ids, events)
    stream = story.events()
    done = 0
    while done < events:
        for event in islice(stream, min(BATCH, events - done)):
            chain.add(event)
        write_records(writer, story, ids)
        for table, (columns, rows) in chain.take().items():
            writer.write(table, columns, rows)
        done = chain.seq
        say(f"\r{done:,} events")
    say("\rbuilding the indexes …        ")
    build_indexes(connection, indexes)
    writer.finish(chain)
    say("\r")
    return story


class Chain:
    """Turns events into rows: hashes, references and search rows, except for the last half lot, which stays unfiled."""

    def __init__(self, ids, events):
        from purchasing.audit import filing
        from purchasing.audit.chain import CONTENT, FIRST_HASH, fingerprint_of

        self._ids, self._filing, self._fingerprint_of = ids, filing, fingerprint_of
        self.lot, self.stretches = filing.Lot(), filing.Stretches()
        self.filed = max(0, events - filing.LOT // 2)
        self.seq, self.hash = 0, FIRST_HASH
        self.columns = (*CONTENT.values(), "hash", "words")
        self.rows = []

    def add(self, event):
        """Append one event."""
        self.seq += 1
        purchase, request = event["purchase"], event["request"]
        number = purchase.phone_number if purchase else ""
        at, data = event["at"], event["data"]
        row = [
            event["action"],
            self._ids.user.get(event["actor"]),
            event["actor_name"],
            event["actor_role"],
            at.isoformat(timespec="microseconds"),
            event["attempt"],
            event["became"],
            event["click"],
            None,
            event["ip"],
            event["note"],
            "",
            number,
            self.hash,
            purchase and purchase.number,
            request and request.number,
            self.seq,
            request and self._ids.team[request.team],
            event["was"],
        ]
        self.hash = self._fingerprint_of(row, data)
        row[8] = json.dumps(data)
        content = SimpleNamespace(
            **{name: event[name] for name in ("actor_name", "actor_role", "note", "data")}
        )
        content.on_behalf_of = ""
        words = self._filing.joined(self._filing.words_of(content))
        row += [self.hash, words]
        self.rows.append(row)
        self.stretches.add(self.seq, at)
        if self.seq <= self.filed:
            found_by = dict(zip(self.columns, row, strict=True))
            self.lot.add([found_by[column] for column in self._filing.COLUMNS])

    def take(self):
        """The rows so far, by table, with their columns."""
        taken = {"purchasing_auditevent": (self.columns, self.rows)}
        self.rows = []
        for table, columns in self._filing.TABLES.items():
            taken[table] = (columns, self.lot.rows[table])
            self.lot.rows[table] = []
        table, *columns = self._filing.STRETCHES
        taken[table] = (columns, self.stretches.rows)
        self.stretches.rows = []
        return taken


# --- What events speak of -------------------------------------------------------------------------------------------


def people_and_teams(company):
    """Teams with keys, and their people; the ids of both by name."""
    from purchasing.models import ApiKey, Membership, Team, User

    teams, users, roles = {}, {}, []
    for name in company.teams:
        teams[name] = Team.objects.create(name=name, slug=name.lower().replace(" ", "-"))
        held = [(person, "requester") for person in company.requesters[name]]
        held += [(person, "approver") for person in company.approvers[name]]
        held.append((company.admins[name], "admin"))
        for person, role in held:
            users[person] = User.objects.create(username=person)
            roles.append(Membership(user=users[person], team=teams[name], role=role))
    Membership.objects.bulk_create(roles)
    users["ida"] = User.objects.create(username="ida", is_auditor=True)
    users["root"] = User.objects.create(username="root", is_superuser=True, is_staff=True)
    keys = {
        name: ApiKey.objects.create(team=team, secret=f"idc_{'b' * 28}1234", last_four="1234").pk
        for name, team in teams.items()
    }
    return SimpleNamespace(
        user={name: user.pk for name, user in users.items()},
        team={name: team.pk for name, team in teams.items()},
        key=keys,
        written=SimpleNamespace(requests=0, purchases=0, attempts=0),
    )


def write_records(writer, story, ids):
    """The requests, purchases and attempts since the last call, in their current states."""
    done = ids.written
    writer.write_all(
        "purchasing_purchaserequest",
        (
            {
                "id": r.number,
                "team_id": ids.team[r.team],
                "requester_id": ids.user[r.requester],
                "reason": r.reason,
                "purpose": "",
                "version": 1,
                "form_token": uuid.UUID(int=r.number).hex,
                "created_at": writer.moment(r.created_at),
            }
            for r in story.requests[done.requests :]
        ),
    )
    empty = dict.fromkeys(("features", "region", "warning", "waiting_for", "held_cause", "held_words"), "")
    writer.write_all(
        "purchasing_purchase",
        (
            {
                "id": p.number,
                "request_id": p.request.number,
                "phone_number": p.phone_number,
                "country_code": p.country_code,
                "number_type": "local",
                "name": p.name,
                "record_calls": writer.true,
                "upfront_cost": "1.0000",
                "monthly_cost": "2.0000",
                "state": "purchased",
                "version": 1,
                "state_changed_at": writer.moment(p.request.created_at),
                "checks": 0,
                "applied_words": "",
                **empty,
            }
            for p in story.purchases[done.purchases :]
        ),
    )
    writer.write_all(
        "purchasing_attempt",
        (
            {
                "id": number,
                "purchase_id": p.number,
                "key_id": ids.key[p.request.team],
                "base_url": "https://api.identitycall.ai/api/v1/public",
                "payload": "{}",
                "payload_hash": "0" * 64,
                "worker": "bench:1",
                "claimed_at": writer.moment(at),
                "claimed_seq": 0,
                "deadline_at": writer.moment(at),
                "outcome": "purchased",
                "http_status": 201,
                "answer": json.dumps({"data": {"id": 1000 + p.number, "phone_number": p.phone_number}}),
                "words": "",
            }
            for number, p, at in story.attempts[done.attempts :]
        ),
    )
    done.requests, done.purchases = len(story.requests), len(story.purchases)
    done.attempts = len(story.attempts)


# --- Into the database ----------------------------------------------------------------------------------------------


class Writer:
    """Writes rows as fast as the database accepts them."""

    def __init__(self, connection):
        self._connection = connection
        self.vendor = connection.vendor
        self.true = 1 if self.vendor == "sqlite" else True
        connection.ensure_connection()
        if self.vendor == "sqlite":
            connection.connection.executescript("PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF;")

    def moment(self, at):
        return at.replace(tzinfo=None).isoformat(" ", "microseconds") if self.vendor == "sqlite" else at

    def write_all(self, table, records):
        """Insert records that are dicts of the same columns."""
        records = list(records)
        if records:
            self.write(table, tuple(records[0]), [tuple(record.values()) for record in records])

    def write(self, table, columns, rows):
        """Insert the rows; the column `at` holds ISO text."""
        names = ", ".join(columns)
        if self.vendor == "postgresql":
            with (
                self._connection.cursor() as cursor,
                cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy,
            ):
                for row in rows:
                    copy.write_row(row)
            return
        if "at" in columns:
            place = columns.index("at")
            rows = [(*row[:place], row[place][:26].replace("T", " "), *row[place + 1 :]) for row in rows]
        marks = ", ".join("?" * len(columns))
        database = self._connection.connection
        database.execute("BEGIN IMMEDIATE")
        database.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
        database.commit()

    def finish(self, chain):
        """Move the head, and update the statistics of the database."""
        with self._connection.cursor() as cursor:
            cursor.execute(
                "UPDATE purchasing_audithead SET seq = %s, hash = %s, quarter = %s, reached = %s, filed = %s",
                [chain.seq, chain.hash, chain.stretches.quarter, chain.stretches.reached, chain.filed],
            )
            cursor.execute("UPDATE purchasing_mailcursor SET seq = %s", [chain.seq])
            if self.vendor == "postgresql":
                for table in ("purchaserequest", "purchase", "attempt"):
                    cursor.execute(
                        f"SELECT setval(pg_get_serial_sequence('purchasing_{table}', 'id'), "
                        f"(SELECT MAX(id) FROM purchasing_{table}))"
                    )
                cursor.execute("VACUUM ANALYZE")
        if self.vendor == "sqlite":
            self._connection.close()


def take_down_indexes(connection):
    """Drop the indexes of the large tables that are not constraints; returns the statements that recreate them."""
    tables = [
        "auditevent",
        "auditentry",
        "auditword",
        "auditdigits",
        "purchase",
        "attempt",
        "purchaserequest",
    ]
    tables = [f"purchasing_{table}" for table in tables]
    marks = ", ".join(["%s"] * len(tables))
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                "SELECT name, sql FROM sqlite_master "
                f"WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({marks})",
                tables,
            )
        else:
            cursor.execute(
                f"SELECT i.indexname, i.indexdef FROM pg_indexes i WHERE i.tablename IN ({marks}) "
                "AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conname = i.indexname)",
                tables,
            )
        found = cursor.fetchall()
        for name, _ in found:
            cursor.execute(f'DROP INDEX "{name}"')
    return [sql for _, sql in found]


def build_indexes(connection, statements):
    """Recreate the indexes."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET maintenance_work_mem = '512MB'")
        for statement in statements:
            cursor.execute(statement)


def main():
    """Migrate and fill the database of DATABASE_URL, which must be new."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    import django

    django.setup()
    from django.core.management import call_command

    from purchasing.models import AuditEvent

    call_command("migrate", verbosity=0)
    if AuditEvent.objects.exists():
        sys.exit("This database has a record already. Name a new one in DATABASE_URL.")
    began = time.monotonic()
    story = seed(
        options.events, seed=options.seed, say=lambda text: print(text, end="", file=sys.stderr, flush=True)
    )
    print(
        f"{options.events:,} events over {len(story.purchases):,} purchases in {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
