"""Whether this process has been told to end: then it finishes what is under way and claims nothing more."""

import threading

_told = threading.Event()


def begin():
    """Claim nothing more in this process."""
    _told.set()


def has_begun():
    """Whether this process is about to end."""
    return _told.is_set()
