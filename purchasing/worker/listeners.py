"""What an idle worker waits on: a wake-up from the database, for a few seconds at most."""

import sqlite3
import time

import psycopg

from purchasing import jobs

LOOK_EVERY = 0.005  # seconds between two looks at an SQLite file, which take some microseconds


class SqliteListener:
    """Notices when another connection commits to the file."""

    def __init__(self, name):
        self._file = sqlite3.connect(f"file:{name}?mode=ro", uri=True, timeout=1)
        self._version = self._read()

    def _read(self):
        return self._file.execute("PRAGMA data_version").fetchone()[0]

    def wait(self, seconds):
        """Return when the file has changed, or after `seconds`."""
        until = time.monotonic() + seconds
        while (now := self._read()) == self._version and time.monotonic() < until:
            time.sleep(LOOK_EVERY)
        self._version = now

    def close(self):
        self._file.close()


class PostgresListener:
    """Receives NOTIFY on a connection of its own."""

    def __init__(self, database):
        self._connection = database.Database.connect(**database.get_connection_params(), autocommit=True)
        self._connection.execute(f"LISTEN {jobs.CHANNEL}")

    def wait(self, seconds):
        """Return when a task was enqueued, or after `seconds`."""
        for _ in self._connection.notifies(timeout=seconds, stop_after=1):
            pass

    def close(self):
        self._connection.close()


class PollingListener:
    """Stands in while the database cannot be listened to."""

    def wait(self, seconds):
        """Sleep for a second at most, so that the loop checks again."""
        time.sleep(min(1, seconds))

    def close(self):
        pass


def listener_for(database):
    """The listener for this kind of database; a `PollingListener` while it does not answer."""
    try:
        if database.vendor == "postgresql":
            return PostgresListener(database)
        return SqliteListener(database.settings_dict["NAME"])
    except (sqlite3.Error, psycopg.Error):
        return PollingListener()
