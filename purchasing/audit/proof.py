"""The proof that the record is unchanged: a walk along the whole chain and its seals.

Memory use stays constant. A walk can be paused and resumed, so the queue can do it in slices.
"""

import enum
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from django.db import DatabaseError, connection
from django.db.backends.utils import CursorWrapper
from django.db.models import Max

from purchasing import guard
from purchasing.audit import filing, seals
from purchasing.audit.chain import CONTENT, FIRST_HASH, columns, fingerprint_of
from purchasing.models import Attempt, AuditEntry, AuditEvent, AuditHead, AuditSeal, MailCursor

BATCH = 1000  # events read at once
_PLACE = {name: place for place, name in enumerate(CONTENT)}


@dataclass(frozen=True)
class Verdict:
    """The result of a walk: how many events and seals are sound, the first event that is not, and what is wrong."""

    events: int
    bad_seq: int | None = None
    problem: str = ""
    seals: int = 0

    @property
    def whole(self) -> bool:
        """Whether everything is unchanged."""
        return not self.problem


def verify(*, progress: Callable[[int, int], object] | None = None) -> Verdict:
    """Walk the whole chain and report where it first breaks, if it does.

    `progress(done, of)` is called after each batch of events.
    """
    walk = Walk.begin()
    while (verdict := walk.step()) is None:
        if progress:
            progress(walk.expected - 1, walk.until)
    return verdict


@dataclass
class Walk:
    """A walk from the first event to the head as it was at the start. It ignores events added after that."""

    until: int
    last_hash: str
    expected: int = 1
    previous: str = FIRST_HASH
    seals: int = 0  # sound ones so far
    verdict: Verdict | None = None

    @classmethod
    def begin(cls) -> Self:
        head = AuditHead.objects.get(pk=AuditHead.ONLY)
        return cls(until=head.seq, last_hash=head.hash)

    @classmethod
    def again(cls, place: Mapping[str, Any]) -> Self:
        """Resume the walk that was paused at `place`; it has no verdict yet."""
        return cls(**place)

    @property
    def place(self) -> dict[str, int | str]:
        """The current position, for JSON."""
        return {
            "until": self.until,
            "last_hash": self.last_hash,
            "expected": self.expected,
            "previous": self.previous,
            "seals": self.seals,
        }

    def step(self) -> Verdict | None:
        """Check the next batch of events; the `Verdict` once there is one."""
        rows = _read(self.expected, self.until)
        ahead = list(AuditSeal.objects.filter(number__gte=self.seals).order_by("number")[: BATCH + 1])
        before = ahead.pop(0) if self.seals and ahead else None
        if self.seals and (before is None or before.number != self.seals):
            return self._broken(self.expected, f"seal {self.seals} is missing")
        for row in rows:
            broken = self._problem_of(row)
            if broken:
                return self._broken(*broken)
            seq = row[_PLACE["seq"]]
            while ahead and ahead[0].seq <= seq:
                problem = self._problem_of_seal(ahead[0], before, seq, row[-1])
                if problem:
                    return self._broken(ahead[0].seq, problem)
                before, self.seals = ahead.pop(0), self.seals + 1
            if row[_PLACE["action"]] == seals.ACTION and (problem := _problem_of_seal_event(row, before)):
                return self._broken(seq, problem)
            self.expected, self.previous = seq + 1, row[-1]
        if len(rows) < BATCH:
            self.verdict = self._end(ahead, before)
        return self.verdict

    def _problem_of(self, row: tuple[Any, ...]) -> tuple[int, str] | None:
        seq = row[_PLACE["seq"]]
        if seq != self.expected:
            return self.expected, f"event {self.expected} is missing"
        if row[_PLACE["previous_hash"]] != self.previous:
            return seq, "it does not follow the event before it"
        try:
            data = json.loads(row[_PLACE["data"]])
        except ValueError:
            data = None
        if fingerprint_of(row[:-1], data) != row[-1]:
            return seq, "its content was changed"
        return None

    def _problem_of_seal(self, seal: AuditSeal, before: AuditSeal | None, seq: int, hash_: str) -> str:
        problem = seals.problem_of(seal, before)
        if not problem and (seal.seq, seal.hash) != (seq, hash_):
            problem = (
                f"it is not the event that seal {seal.number} was made for on {seal.at:%d %B %Y}: the record was "
                f"rewritten somewhere after event {before.seq if before else 0}"
            )
        return problem

    def _end(self, ahead: list[AuditSeal], before: AuditSeal | None) -> Verdict:
        sound = self.expected - 1
        if sound != self.until:
            return self._broken(self.expected, f"event {self.expected} is missing")
        if self.previous != self.last_hash:
            return self._broken(self.until, "the head of the chain does not match it")
        for broken in (self._cut_off(ahead, before), self._behind_the_head()):
            if broken:
                return self._broken(*broken)
        if gone := guard.missing(connection):
            return self._broken(
                None,
                f"the events are whole, but their protection against changes is gone: trigger {gone[0]}",
            )
        if problem := _unfindable():
            return self._broken(None, problem)
        return Verdict(sound, seals=self.seals)

    def _cut_off(self, ahead: list[AuditSeal], before: AuditSeal | None) -> tuple[int, str] | None:
        """The problem if another record refers to an event after the last one."""
        if ahead and (problem := seals.problem_of(ahead[0], before)):
            return ahead[0].seq, problem
        known = [
            ahead[0].seq if ahead else 0,
            MailCursor.objects.get(pk=MailCursor.ONLY).seq,
            *Attempt.objects.aggregate(Max("claimed_seq"), Max("ended_seq")).values(),
        ]
        if max(seq or 0 for seq in known) > AuditHead.objects.get(pk=AuditHead.ONLY).seq:
            return self.expected, "the record was cut off here: other records refer to later events"
        return None

    def _behind_the_head(self) -> tuple[int, str] | None:
        """The problem if there are events after the head."""
        beyond = AuditEvent.objects.filter(seq__gt=self.until).order_by("seq").first()
        if beyond and AuditHead.objects.get(pk=AuditHead.ONLY).seq < beyond.seq:
            return beyond.seq, "it was added without the head of the chain"
        return None

    def _broken(self, seq: int | None, problem: str) -> Verdict:
        self.verdict = Verdict(self.expected - 1, seq, problem, self.seals)
        return self.verdict


def _unfindable() -> str:
    """What is wrong if a search would miss events; '' if nothing is."""
    head = AuditHead.objects.get(pk=AuditHead.ONLY)
    filed = AuditEntry.objects.filter(seq__lte=head.filed).count()
    if filed == head.filed and head.seq - head.filed < filing.LOT:
        return ""
    return f"the events are whole, but a search does not find all of them: {filed} of {head.filed} are filed"


def _problem_of_seal_event(row: tuple[Any, ...], seal: AuditSeal | None) -> str:
    """What is wrong with an event that records a seal; `seal` is the last one before it. '' if nothing is."""
    data = json.loads(row[_PLACE["data"]])
    number = data.get("seal") if isinstance(data, dict) else None
    if not isinstance(number, int):
        return "it records a seal, but not its number"
    if seal is None or seal.number < number:
        return f"it records seal {number}, which is missing"
    if seal.signature != data.get("signature"):
        return f"it records seal {number}, which was replaced"
    return ""


def _read(first: int, last: int) -> list[tuple[Any, ...]]:
    """The next events as tuples in the order of `CONTENT`, followed by the hash."""
    sql = f"SELECT {', '.join(columns(connection.vendor))}, hash FROM {AuditEvent._meta.db_table} "
    sql += f"WHERE seq >= %s AND seq <= %s ORDER BY seq LIMIT {BATCH}"
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql, [first, last])
            return list(cursor.fetchall())
        except DatabaseError:
            if connection.vendor != "sqlite":
                raise
            return _read_bytes(cursor, sql, [first, last])


def _read_bytes(cursor: CursorWrapper, sql: str, parameters: list[int]) -> list[tuple[Any, ...]]:
    """As `_read`, where SQLite holds text that is not UTF-8. Such text matches no hash."""
    text_factory = connection.connection.text_factory
    connection.connection.text_factory = lambda text: text.decode(errors="backslashreplace")
    try:
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())
    finally:
        connection.connection.text_factory = text_factory


# --- Exports that somebody kept -------------------------------------------------------------------------------------

_KEPT = re.compile(r"event (\d{1,18}), ([0-9a-f]{64})")


class Kept(enum.Enum):
    """What became of an event that an export names."""

    UNCHANGED = "unchanged"
    REWRITTEN = "rewritten"  # the event is another one now
    LOST = "lost"  # the record ends before it: an older copy of the database was restored


def compare(text: str) -> dict[int, Kept]:
    """What became of the events that an export's first line names, by number.

    Removing every seal and rewriting the whole chain leaves a record that is consistent in itself, and so does a
    restored backup. The first line of an export that is kept elsewhere still reveals it.
    """
    kept = {int(seq): hash_ for seq, hash_ in _KEPT.findall(text)}
    now = dict(AuditEvent.objects.filter(seq__in=kept).values_list("seq", "hash"))
    end = AuditHead.objects.get(pk=AuditHead.ONLY).seq
    return {seq: _became(seq, hash_, now.get(seq), end) for seq, hash_ in sorted(kept.items())}


def _became(seq: int, kept: str, now: str | None, end: int) -> Kept:
    if now == kept:
        return Kept.UNCHANGED
    return Kept.LOST if now is None and seq > end else Kept.REWRITTEN
