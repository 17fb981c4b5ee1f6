"""PostgreSQL with an end to waiting on the client's side.

A server that is frozen, or behind a network that swallows everything, enforces no timeout of its own, and a connection
to it never ends by itself. So each wait for an answer has a limit here, where the option `answer_timeout` sets one.
"""

import psycopg
from django.db.backends.postgresql import base
from psycopg.errors import _WaitTimeout


class Connection(psycopg.Connection):
    """psycopg's connection, which is closed when one statement has had no answer for `answer_timeout` seconds.

    Whoever waits gets an `OperationalError`. What became of the statement is then unknown, a COMMIT included.
    """

    answer_timeout = None

    @classmethod
    def connect(cls, conninfo="", *, answer_timeout=None, **parameters):
        """Connect as psycopg does, within `connect_timeout` seconds."""
        connection = super().connect(conninfo, **parameters)
        connection.answer_timeout = answer_timeout
        return connection

    def wait(self, gen, interval=0.1, timeout=None):
        """Wait for what psycopg does on this connection: all that it sends and reads passes through here.

        A `timeout` of psycopg's own, such as that of waiting for NOTIFY, leaves the connection open.
        """
        if timeout is not None or not self.answer_timeout:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.answer_timeout)
        except _WaitTimeout:
            self.pgconn.finish()  # sends nothing that it would have to wait for
            raise psycopg.OperationalError(
                f"the database has not answered for {self.answer_timeout:g} seconds"
            ) from None


class Driver:
    """psycopg as Django uses it, with the connections above."""

    connect = Connection.connect

    def __getattr__(self, name):
        return getattr(psycopg, name)


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's wrapper over these connections."""

    Database = Driver()
