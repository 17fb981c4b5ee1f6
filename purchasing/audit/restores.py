"""Whether the database went back in time, or is a copy of the one that was used until now.

The check is made in the transaction of every claim and at every sweep. What it finds is an `Alarm`: nothing is claimed
until a superuser says 'go on' (teams/restore_alarm.py), and that begins a new epoch, in which each host begins its mark
anew.
"""

import socket
from dataclasses import dataclass

from purchasing.audit import identity, marks
from purchasing.models import AuditEvent, AuditHead, Desk


class Alarm(Exception):
    """The database is not what it was. The text says why; `epoch` is the latest epoch that is known of."""

    def __init__(self, words: str, *, epoch: int) -> None:
        super().__init__(words)
        self.epoch = epoch


@dataclass(frozen=True)
class Place:
    """Where this host keeps its mark of the database (`name`, '' where it keeps none), and the epoch of now."""

    name: str
    epoch: int

    def keep(self, seq: int, hash_: str) -> None:
        """Note an event as the newest one seen, durably. Raises `marks.Unusable`."""
        if self.name:
            marks.write(self.name, marks.Mark(self.epoch, seq, hash_))


def check(desk: Desk) -> Place:
    """Raise `Alarm` if the database went back in time or is another one; else, where to keep the mark.

    The desk is locked, or was just read. Raises `marks.Unusable` where this host cannot keep a mark. A host without a
    mark, or with one of an earlier epoch, begins one.
    """
    epoch = desk.epoch or 0
    here = identity.of_database()
    if desk.identity is None:
        Desk.objects.filter(pk=Desk.ONLY, identity=None).update(identity=here)
    elif not identity.is_same(desk.identity, here):
        raise Alarm(
            "The database seems to be a copy or a restored one: it used to be "
            f"{identity.in_words(desk.identity)}, and is {identity.in_words(here)}.",
            epoch=epoch,
        )
    first = AuditEvent.objects.filter(seq=1).values_list("hash", flat=True).first()
    if first is None or not marks.is_kept():
        return Place("", epoch)
    place = Place(first[:32], epoch)
    mark = marks.read(place.name)
    if mark is None or mark.epoch < epoch:
        return place
    host = f"the machine {socket.gethostname()}"
    if mark.epoch > epoch:
        raise Alarm(
            f"The database seems to have gone back in time: {host} knows of an earlier alarm, after which buying was "
            "allowed to go on, and the record does not.",
            epoch=mark.epoch,
        )
    held = AuditEvent.objects.filter(seq=mark.seq).values_list("hash", flat=True).first()
    if held is None:
        raise Alarm(
            f"The database seems to have gone back in time: {host} has seen event {mark.seq} of the record, which ends "
            "before it.",
            epoch=epoch,
        )
    if held != mark.hash:
        raise Alarm(
            f"The database seems to have gone back in time: event {mark.seq} of the record is not the one that {host} "
            "has seen.",
            epoch=epoch,
        )
    return place


def keep_newest(place: Place) -> None:
    """Note the newest event of the record. Raises `marks.Unusable`."""
    head = AuditHead.objects.get(pk=AuditHead.ONLY)
    place.keep(head.seq, head.hash)
