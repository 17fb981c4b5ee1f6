"""SQLite with a fair queue for writers.

SQLite's own busy handler is unfair: under steady writing one or two processes take every turn, and the others wait
until they get 'database is locked'. Here each write transaction first takes an exclusive `flock` on a file beside the
database (`turns.py`). The kernel grants it first come, first served, to threads and processes alike. Who does not get
it within the busy timeout gets 'database is locked' as well: the one who has it may be frozen.
"""

from pathlib import Path

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from dashboard.sqlite import turns


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
        try:
            self._turn = turns.take(
                f"{self.settings_dict['NAME']}.turn", self.settings_dict["OPTIONS"]["timeout"]
            )
        except turns.TooLong:
            raise OperationalError("database is locked") from None

    def _give_turn_back(self):
        if self._turn is not None:
            turns.give_back(self._turn)
            self._turn = None
