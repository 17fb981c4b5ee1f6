"""The turn to write: an exclusive `flock`, first come, first served, for which nobody waits longer than they said.

A blocking `flock` has no deadline, and asking again and again would lose the place in line. So whoever has to wait does
so through a thread that stands in line for them. When their time is over, the thread keeps its place: the next of this
process who has to wait takes it over, and if there is none, it gives the turn back as soon as it comes. A process thus
never has more such threads than it once had writers waiting at the same time.
"""

import fcntl
import os
import threading
from collections import defaultdict, deque

_lock = threading.Lock()
_left = defaultdict(deque)  # by path: threads in line for which nobody waits any more, oldest first


class TooLong(Exception):
    """The turn did not come in time."""


def take(path, seconds):
    """Take the turn of this file, which is made if need be, and return what `give_back` takes.

    Raises `TooLong` after `seconds`.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return _wait_in_line(path, file, seconds)
    except BaseException:
        os.close(file)
        raise
    return file


def give_back(file):
    """Give the turn to whoever is next."""
    os.close(file)  # closing the only descriptor of this open file releases the lock


def _wait_in_line(path, file, seconds):
    with _lock:
        place = _left[path].popleft() if _left[path] else None
    if place is None:
        place = _Place(path, file)
        place.start()
    else:
        os.close(file)
    try:
        place.came.wait(seconds)
    except BaseException:  # a signal ends the wait
        if (turn := place.take_or_leave()) is not None:
            give_back(turn)
        raise
    turn = place.take_or_leave()
    if turn is None:
        raise TooLong
    return turn


class _Place(threading.Thread):
    """Stands in line for the turn."""

    def __init__(self, path, file):
        super().__init__(name="turn", daemon=True)
        self.came = threading.Event()
        self._path, self._file, self._problem = path, file, None

    def run(self):
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as problem:  # such as a network file system that lost its server
            self._problem = problem
        with _lock:
            self.came.set()
            if self in _left[self._path]:
                _left[self._path].remove(self)
                os.close(self._file)

    def take_or_leave(self):
        """The turn if it has come; else None, and from now on nobody waits for it."""
        with _lock:
            if not self.came.is_set():
                _left[self._path].append(self)
                return None
        if self._problem:
            os.close(self._file)
            raise self._problem
        return self._file


def _begin_anew():
    global _lock
    _lock = threading.Lock()
    _left.clear()


os.register_at_fork(after_in_child=_begin_anew)  # the threads stay behind
