"""The restore mark: the newest event that this host has seen, kept in a folder outside the volume of the database.

A record that no longer holds that event went back in time. Each database has one small file, named by its first event
and overwritten in place. The processes of one host share it, and none ever writes an older event over a newer one.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

TRIES = 50  # reads of a file that another process may be overwriting at this moment
_LINE = re.compile(r"(\d{20}) (\d{20}) ([0-9a-f]{64}) ([0-9a-f]{16})\n")


@dataclass(frozen=True, order=True)
class Mark:
    """An event of the record: its number and its hash, in the epoch in which it was seen."""

    epoch: int
    seq: int
    hash: str


class Unusable(Exception):
    """This host cannot keep its mark, so it may buy nothing. The text is written for staff."""


def is_kept() -> bool:
    """Whether marks are kept at all: `RESTORE_MARK` is not `off`."""
    return settings.RESTORE_MARK is not None


def read(name: str) -> Mark | None:
    """The mark of the database `name`, None where this host has none yet. Raises `Unusable`, also where none could
    be written.
    """
    with _opened(name) as file:
        for _ in range(TRIES):
            text = os.pread(file, 200, 0).decode("ascii", "replace")
            if not text:
                return None
            if mark := _mark_in(text):
                return mark
    raise Unusable(
        f"The restore mark {_path(name)} cannot be read: it holds something else. Nothing is bought until a person who "
        "is sure that the database did not go back in time removes that file."
    )


def write(name: str, mark: Mark) -> None:
    """Note `mark` durably, unless this host has noted a newer one of the same epoch. Raises `Unusable`.

    It also raises where the host has seen a later epoch: what was read before that counts no more.
    """
    with _opened(name) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the file is closed right after, and that unlocks it
        before = _mark_in(os.pread(file, 200, 0).decode("ascii", "replace"))
        if before and before.epoch > mark.epoch:
            raise Unusable("Buying was allowed to go on after an alarm in the meantime.")
        if before and before.epoch == mark.epoch and before.seq >= mark.seq:
            return
        os.pwrite(file, _line(mark).encode("ascii"), 0)
        os.fdatasync(file)


def _line(mark: Mark) -> str:
    text = f"{mark.epoch:020d} {mark.seq:020d} {mark.hash}"
    return f"{text} {hashlib.sha256(text.encode()).hexdigest()[:16]}\n"


def _mark_in(text: str) -> Mark | None:
    found = _LINE.fullmatch(text)
    mark = found and Mark(int(found[1]), int(found[2]), found[3])
    return mark if mark and _line(mark) == text else None


def _path(name: str) -> Path:
    assert settings.RESTORE_MARK is not None
    return Path(settings.RESTORE_MARK) / f"{name}.mark"


@contextmanager
def _opened(name: str) -> Iterator[int]:
    """The file of the database `name`, open for reading and writing; made, with its folder, where it is not there."""
    path = _path(name)
    try:
        file = _open(path)
        try:
            yield file
        finally:
            os.close(file)
    except OSError as problem:
        raise Unusable(
            f"The folder {path.parent} (RESTORE_MARK) cannot be written on this machine: {problem.strerror}. Nothing "
            "is bought without it, since it shows whether the database went back in time."
        ) from None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # so that the name is as durable as what is written under it
    finally:
        os.close(folder)
    return file
