"""Kills workers at random and at chosen points, from outside: the product has no hook for it.

A worker with an attempt under way is frozen (SIGSTOP) at the chosen moment. Then the campaign checks the facts: the
state of the attempt in the database, whether the provider has seen its call, whether it has answered. These facts, not
the aim, name the point, and the process is killed there.
"""

import contextlib
import signal
import time

import psutil
from django.db import connection, transaction
from django.db.models import F

from bench.chaos.stage import freeze, kill
from purchasing.models import Attempt, Team
from purchasing.states import Outcome

AFTER_CLAIM = "after the claim, before a byte was sent"
IN_CALL = "in the call"
AFTER_ANSWER = "after the answer"
BEFORE_SETTLING = "before settling (the worker was about to write the outcome)"
AFTER_SETTLING = "after settling, before the task ended"
ELSEWHERE = "at random, no call under way"
SUPERVISOR = "the supervisor"
FROZEN = "frozen after the claim for longer than the fence, then woken"

AIMS = {
    "after claim": 24,
    "in call": 18,
    "after answer": 16,
    "before settling": 16,
    "at random": 14,
    "supervisor": 6,
    "freeze": 6,
}
PATIENCE = 6  # seconds that a kill waits for its moment
ON_THE_WIRE = 0.05  # seconds until a sent call is visible at the provider
ASLEEP = 7.5  # seconds that a frozen worker stays frozen: longer than the fence


class Killing:
    """Kills until the requested number is reached, at the pace of purchase attempts."""

    def __init__(self, campaign):
        self.campaign, self.stage, self.provider = campaign, campaign.stage, campaign.provider
        self.chance = campaign.chance("killing")
        self.frozen = []  # (process, when to resume it)

    @property
    def done(self):
        return sum(self.campaign.kills.values())

    def run(self):
        while not self.campaign.storm_over.is_set():
            self._wake_the_frozen()
            if self._is_time():
                aim = self.chance.choices(list(AIMS), weights=list(AIMS.values()))[0]
                if self.campaign.is_idle():
                    aim = "at random"  # nothing is being bought, so there is no call to wait for
                getattr(self, f"_{aim.replace(' ', '_')}")()
            else:
                time.sleep(0.05)
        self._wake_the_frozen(all_of_them=True)

    def _is_time(self):
        """Spread the kills over the attempts of the storm."""
        share = min(1, self.campaign.attempts() / (0.4 * self.campaign.options.purchases))
        return self.done < self.campaign.options.kills * share

    # --- Aims -------------------------------------------------------------------------------------------------------

    def _after_claim(self):
        """Freeze the worker as soon as its claim is committed; a faster one continues, and the next is tried."""
        for last in (False, False, True):
            attempt = self._next_attempt()
            process = attempt and self._process(attempt)
            if process is None or not freeze(process):
                return
            time.sleep(ON_THE_WIRE)
            if last or self._where(attempt) == AFTER_CLAIM:
                self._finish(process, attempt)
                return
            _wake(process)

    def _in_call(self):
        """Slow down the provider's answer to the next call, and kill during that time."""
        with self._slow_call(self.chance.choice(("slow_before", "slow_after")), 1.5) as (attempt, _):
            if attempt is not None:
                time.sleep(self.chance.uniform(0, 1))
                self._strike(attempt)

    def _after_answer(self):
        """Kill as soon as the provider has answered."""
        with self._slow_call("slow_after", 0.4) as (attempt, row):
            if attempt is not None and self._answered(row):
                self._strike(attempt, pause=0)

    def _before_settling(self):
        """Lock a row that settling needs, so that the worker has read the answer and waits to store it."""
        with self._slow_call("slow_after", 0.6) as (attempt, row):
            if attempt is None:
                return
            with _held_back(attempt):
                if self._answered(row):
                    time.sleep(0.06)
                    self._strike(attempt, pause=0, held_back=True)

    def _at_random(self):
        workers = self.stage.workers()
        if workers:
            self._strike_process(self.chance.choice(workers))
        time.sleep(self.chance.uniform(0, 0.3))

    def _supervisor(self):
        """SIGKILL the supervisor (its processes notice), or SIGTERM it once or twice; it is restarted."""
        signals = self.chance.choice(
            ([signal.SIGKILL], [signal.SIGKILL], [signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM])
        )
        name = self.chance.choice(list(self.stage.supervisors))
        self.stage.end_supervisor(name, signals)
        words = " and ".join(number.name for number in signals)
        self._count(f"{SUPERVISOR} ({words})")

    def _freeze(self):
        """Freeze after the claim for longer than the fence allows: once resumed, the worker must not send."""
        attempt = self._next_attempt()
        if attempt is None:
            return
        process = self._process(attempt)
        if process is None or not freeze(process):
            return
        time.sleep(ON_THE_WIRE)
        if self._where(attempt) == AFTER_CLAIM:
            self.frozen.append((process, time.monotonic() + ASLEEP))
            self.campaign.count(FROZEN)
        else:
            self._finish(process, attempt)

    def _wake_the_frozen(self, *, all_of_them=False):
        due = [item for item in self.frozen if all_of_them or item[1] <= time.monotonic()]
        for item in due:
            self.frozen.remove(item)
            if all_of_them:
                time.sleep(max(0, item[1] - time.monotonic()))
            _wake(item[0])

    # --- Waiting for the moment -------------------------------------------------------------------------------------

    def _next_attempt(self):
        """Wait for the next claim of an attempt."""
        newest = Attempt.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        until = time.monotonic() + PATIENCE
        with connection.cursor() as cursor:  # plain SQL, because milliseconds matter
            while time.monotonic() < until and not self.campaign.storm_over.is_set():
                cursor.execute("SELECT MAX(id) FROM purchasing_attempt")
                if (cursor.fetchone()[0] or 0) > newest:
                    return _with_number(Attempt.objects.filter(pk__gt=newest)).last()
                time.sleep(0.0005)
        return None

    @contextlib.contextmanager
    def _slow_call(self, kind, seconds):
        """Slow down the next purchase call that no other fault takes; gives its attempt and its provider row."""
        after = self.provider.last_request()
        fault = self.provider.set_fault(kind=kind, seconds=seconds, times=1)
        try:
            row = self._wait_for_row(after, kind)
            attempt = (
                row
                and _with_number(
                    Attempt.objects.filter(purchase__phone_number=row["phone_number"], outcome=Outcome.OPEN)
                ).first()
            )
            yield attempt, row
        finally:
            self.provider.clear_fault(fault)

    def _wait_for_row(self, after, kind):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not self.campaign.storm_over.is_set():
            for row in self.provider.requests(after):
                if row["endpoint"] == "purchase" and row["fault"] == kind and row["outcome"] is None:
                    return row
            time.sleep(0.02)
        return None

    def _answered(self, row):
        """Wait until the provider has answered this call; returns as soon as it has."""
        until = time.monotonic() + 2
        while time.monotonic() < until:
            if self.provider.requests(row["number"] - 1)[0]["outcome"] is not None:
                return True
            time.sleep(0.002)
        return False

    # --- Killing ----------------------------------------------------------------------------------------------------

    def _process(self, attempt):
        return self.stage.worker(int(attempt.worker.rpartition(":")[2]))

    def _strike(self, attempt, *, pause=ON_THE_WIRE, held_back=False):
        """Freeze the worker of this attempt, find out where it is, and kill it."""
        process = self._process(attempt)
        if process is not None and freeze(process):
            time.sleep(pause)
            self._finish(process, attempt, held_back=held_back)

    def _strike_process(self, process):
        if not freeze(process):
            return
        time.sleep(ON_THE_WIRE)
        attempt = _with_number(
            Attempt.objects.filter(outcome=Outcome.OPEN, worker__endswith=f":{process.pid}")
        ).first()
        self._finish(process, attempt)

    def _finish(self, process, attempt, *, held_back=False):
        where = ELSEWHERE if attempt is None else self._where(attempt)
        if where == AFTER_ANSWER and held_back:
            where = BEFORE_SETTLING
        if kill(process):
            self._count(where)

    def _where(self, attempt):
        """The point that an attempt of a frozen worker has reached."""
        if Attempt.objects.get(pk=attempt.pk).outcome != Outcome.OPEN:
            return AFTER_SETTLING
        call = self.provider.call_for(attempt.number_asked_for, since=attempt.claimed_at.isoformat())
        if call is None:
            return AFTER_CLAIM
        return IN_CALL if call["outcome"] is None else AFTER_ANSWER

    def _count(self, point):
        self.campaign.kills[point] += 1


def _wake(process):
    with contextlib.suppress(psutil.Error):
        process.resume()


def _with_number(attempts):
    """Attempts with their phone numbers."""
    return attempts.annotate(number_asked_for=F("purchase__phone_number")).order_by("pk")


@contextlib.contextmanager
def _held_back(attempt):
    """Lock this team, so that none of its attempts can be settled."""
    with transaction.atomic():
        Team.objects.select_for_update().get(requests__purchases=attempt.purchase_id)
        yield
