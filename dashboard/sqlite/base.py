"""SQLite with a fair queue for writers.

SQLite's own busy handler is unfair: under steady writing one or two processes take every turn, and the others wait
until they get 'database is locked'. Here each write transaction first takes an exclusive `flock` on a file beside the
database. The kernel grants it first come, first served, to threads and processes alike.
"""

import fcntl
import os
from pathlib import Path

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's wrapper, which waits for its turn before `BEGIN IMMEDIATE` and gives it back at the end."""

    _turn = None

    def get_new_connection(self, conn_params):
        """Connect; the first time the folder of the database may have to be made."""
        if not self.is_in_memory_db():
            Path(self.settings_dict["NAME"]).parent.mkdir(parents=True, exist_ok=True)
        return super().get_new_connection(conn_params)

    def _start_transaction_under_autocommit(self):
        self._take_turn()
        try:
            super()._start_transaction_under_autocommit()
        except BaseException:
            self._give_turn_back()
            raise

    def _commit(self):
        super()._commit()  # if this fails Django rolls back, and that gives the turn back
        self._give_turn_back()

    def _rollback(self):
        try:
            super()._rollback()
        finally:
            self._give_turn_back()

    def _close(self):
        try:
            super()._close()
        finally:
            self._give_turn_back()

    def _take_turn(self):
        if self._turn is not None or self.transaction_mode not in ("IMMEDIATE", "EXCLUSIVE"):
            return
        if self.is_in_memory_db():
            return
        turn = os.open(f"{self.settings_dict['NAME']}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
        except BaseException:
            os.close(turn)
            raise
        self._turn = turn

    def _give_turn_back(self):
        if self._turn is not None:
            os.close(self._turn)  # closing the only descriptor of this open file releases the lock
            self._turn = None
