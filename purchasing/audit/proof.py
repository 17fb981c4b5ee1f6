"""The proof that the record is as it was written: a walk along the whole chain and its seals.

Memory stays flat. A walk can be put down and taken up again, so that the queue can make one in slices.
"""

import json
import re
from dataclasses import dataclass

from django.db import DatabaseError, connection
from django.db.models import Max

from purchasing import guard
from purchasing.audit import filing, seals
from purchasing.audit.chain import CONTENT, FIRST_HASH, columns, fingerprint_of
from purchasing.models import Attempt, AuditEntry, AuditEvent, AuditHead, AuditSeal, MailCursor

BATCH = 1000  # events read at once
_PLACE = {name: place for place, name in enumerate(CONTENT)}


@dataclass(frozen=True)
class Verdict:
    """What a walk found: how many events and seals are sound, and the first event that is not, with what is wrong."""

    events: int
    bad_seq: int | None = None
    problem: str = ""
    seals: int = 0

    @property
    def whole(self):
        """Whether everything is as it was written."""
        return not self.problem


def verify(*, progress=None):
    """Walk the whole chain and say where it first breaks, if it does.

    `progress(done, of)` is called after each batch of events.
    """
    walk = Walk.begin()
    while not walk.step():
        if progress:
            progress(walk.expected - 1, walk.until)
    return walk.verdict


@dataclass
class Walk:
    """A walk from the first event to the head as it stood at the beginning: events added meanwhile lie behind it."""

    until: int
    last_hash: str
    expected: int = 1
    previous: str = FIRST_HASH
    seals: int = 0  # sound ones so far
    verdict: Verdict | None = None

    @classmethod
    def begin(cls):
        head = AuditHead.objects.get(pk=AuditHead.ONLY)
        return cls(until=head.seq, last_hash=head.hash)

    @classmethod
    def again(cls, place):
        """Take up the walk that was put down at this `place`; its verdict is still to come."""
        return cls(**place)

    @property
    def place(self):
        """Where it is, for JSON."""
        return {
            "until": self.until,
            "last_hash": self.last_hash,
            "expected": self.expected,
            "previous": self.previous,
            "seals": self.seals,
        }

    def step(self):
        """Check the next events; the `Verdict` when there is one."""
        rows = _read(self.expected, self.until)
        ahead = list(AuditSeal.objects.filter(number__gte=self.seals).order_by("number")[: BATCH + 1])
        before = ahead.pop(0) if self.seals and ahead else None
        if self.seals and (before is None or before.number != self.seals):
            return self._broken(self.expected, f"seal {self.seals} is missing")
        for row in rows:
            problem = self._problem_of(row)
            if problem:
                return self._broken(*problem)
            seq = row[_PLACE["seq"]]
            while ahead and ahead[0].seq <= seq:
                problem = self._problem_of_seal(ahead[0], before, seq, row[-1])
                if problem:
                    return self._broken(ahead[0].seq, problem)
                before, self.seals = ahead.pop(0), self.seals + 1
            if row[_PLACE["action"]] == seals.ACTION and (problem := _untold(row, before)):
                return self._broken(seq, problem)
            self.expected, self.previous = seq + 1, row[-1]
        if len(rows) < BATCH:
            self.verdict = self._end(ahead, before)
        return self.verdict

    def _problem_of(self, row):
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

    def _problem_of_seal(self, seal, before, seq, hash_):
        problem = seals.problem_of(seal, before)
        if not problem and (seal.seq, seal.hash) != (seq, hash_):
            problem = (
                f"it is not the event that seal {seal.number} was made for on {seal.at:%d %B %Y}: the record was "
                f"rewritten somewhere after event {before.seq if before else 0}"
            )
        return problem

    def _end(self, ahead, before):
        sound = self.expected - 1
        if sound != self.until:
            return self._broken(self.expected, f"event {self.expected} is missing")
        if self.previous != self.last_hash:
            return self._broken(self.until, "the head of the chain does not match it")
        for problem in (self._cut_off(ahead, before), self._behind_the_head()):
            if problem:
                return self._broken(*problem)
        if gone := guard.missing(connection):
            return self._broken(
                None,
                f"the events are whole, but what keeps them from being changed is gone: trigger {gone[0]}",
            )
        if problem := _unfindable():
            return self._broken(None, problem)
        return Verdict(sound, seals=self.seals)

    def _cut_off(self, ahead, before):
        """Whether something knows of an event that should stand behind the last one."""
        if ahead and (problem := seals.problem_of(ahead[0], before)):
            return ahead[0].seq, problem
        known = [
            ahead[0].seq if ahead else 0,
            MailCursor.objects.get(pk=MailCursor.ONLY).seq,
            *Attempt.objects.aggregate(Max("claimed_seq"), Max("ended_seq")).values(),
        ]
        if max(seq or 0 for seq in known) > AuditHead.objects.get(pk=AuditHead.ONLY).seq:
            return self.expected, "the record was cut off here: other records tell of later events"
        return None

    def _behind_the_head(self):
        beyond = AuditEvent.objects.filter(seq__gt=self.until).order_by("seq").first()
        if beyond and AuditHead.objects.get(pk=AuditHead.ONLY).seq < beyond.seq:
            return beyond.seq, "it was added without the head of the chain"
        return None

    def _broken(self, seq, problem):
        self.verdict = Verdict(self.expected - 1, seq, problem, self.seals)
        return self.verdict


def _unfindable():
    """What is wrong when a search would not find every event; '' when nothing is."""
    head = AuditHead.objects.get(pk=AuditHead.ONLY)
    filed = AuditEntry.objects.filter(seq__lte=head.filed).count()
    if filed == head.filed and head.seq - head.filed < filing.LOT:
        return ""
    return f"the events are whole, but a search does not find all of them: {filed} of {head.filed} are filed"


def _untold(row, seal):
    """What is wrong with an event that tells of a seal, `seal` being the last one up to here; '' when nothing is."""
    told = json.loads(row[_PLACE["data"]])
    number = told.get("seal") if isinstance(told, dict) else None
    if not isinstance(number, int):
        return "it tells of a seal, but not of which"
    if seal is None or seal.number < number:
        return f"it tells of seal {number}, which is missing"
    if seal.signature != told.get("signature"):
        return f"it tells of seal {number}, which was replaced"
    return ""


def _read(first, last):
    """The next events as tuples in the order of `CONTENT`, and the hash."""
    sql = f"SELECT {', '.join(columns(connection.vendor))}, hash FROM {AuditEvent._meta.db_table} "
    sql += f"WHERE seq >= %s AND seq <= %s ORDER BY seq LIMIT {BATCH}"
    with connection.cursor() as cursor:
        try:
            cursor.execute(sql, [first, last])
            return cursor.fetchall()
        except DatabaseError:
            if connection.vendor != "sqlite":
                raise
            return _read_bytes(cursor, sql, [first, last])


def _read_bytes(cursor, sql, parameters):
    """The same where SQLite holds a text that is none: what cannot be read as UTF-8 fits no hash."""
    whole = connection.connection.text_factory
    connection.connection.text_factory = lambda text: text.decode(errors="backslashreplace")
    try:
        cursor.execute(sql, parameters)
        return cursor.fetchall()
    finally:
        connection.connection.text_factory = whole


# --- What somebody kept ---------------------------------------------------------------------------------------------

_KEPT = re.compile(r"event (\d{1,18}), ([0-9a-f]{64})")


def compare(text):
    """Whether events are still as they were when a text was exported: `{number: bool}` for each that it names.

    Whoever removes every seal and rewrites the whole chain leaves a record that is whole in itself. The first line of
    an export, kept elsewhere, tells of it all the same.
    """
    kept = {int(seq): hash_ for seq, hash_ in _KEPT.findall(text)}
    now = dict(AuditEvent.objects.filter(seq__in=kept).values_list("seq", "hash"))
    return {seq: now.get(seq) == hash_ for seq, hash_ in sorted(kept.items())}
