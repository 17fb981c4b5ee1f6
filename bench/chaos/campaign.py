"""The campaign from the first request to the last decision."""

import io
import random
import sys
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from django.core.management import call_command
from django.db import connections
from django.db.models import Count

from bench.chaos import asking, cast, provider
from bench.chaos.browser import PageLog
from bench.chaos.deciding import Deciding
from bench.chaos.killing import Killing
from bench.chaos.late import Late
from bench.chaos.mischief import Mischief
from bench.chaos.weather import Weather, missing_kinds
from purchasing.models import Attempt, Purchase, Team
from purchasing.states import State

SHELVES = [(country, number_type) for country in ("US", "GB", "DE") for number_type in ("local", "mobile")]
MOVING = (State.PENDING, State.APPROVED, State.PURCHASING, State.UNCONFIRMED)
PACE = 0.25  # seconds of storm per purchase: the plan is spread over this time
LEAST = 0.6  # share of the numbers that must be requested, and half of those bought, or the campaign proves nothing
ENOUGH = 30  # seconds: the longest storm after everything was requested
FOR_KILLS = 0.5  # seconds per purchase: the longest it continues while kills are still due
RECONCILE_EVERY = 2  # seconds
TEAMS = {False: 3, True: 6}  # few or many purchases
STAFF = 6  # threads that carry out the plan


class Stopped(Exception):
    """The campaign could not run; the text gives the reason."""


class Campaign:
    """What the parts of a campaign share: people, counts, the state of the campaign."""

    def __init__(self, options, stage, *, interrupted):
        self.options, self.stage, self.interrupted = options, stage, interrupted
        self.provider = provider.Provider(stage.provider_url)
        self.pages = PageLog()
        self.clicks, self.problems = [], []
        self.counts, self.kills = Counter(), Counter()
        self.storm_over = threading.Event()
        self.stopped = threading.Event()  # no part runs any more
        self.keepers = []
        self.began = time.monotonic()
        self._lock = threading.Lock()

    def chance(self, name):
        """A random generator for each part, so that the same seed gives the same draws."""
        return random.Random(f"{self.options.seed}/{name}")

    def count(self, what, number=1):
        with self._lock:
            self.counts[what] += number

    def problem(self, words):
        """Note a problem; the campaign fails, but continues."""
        with self._lock:
            self.problems.append(words)
        print(f"PROBLEM: {words}", file=sys.stderr, flush=True)

    def note_click(self, person, purchases):
        """Note that somebody is about to press a button that allows these purchases."""
        self.clicks.append(asking.Click(person, tuple(purchases), time.time()))

    def attempts(self):
        return Attempt.objects.count()

    def left(self):
        """Seconds until the limit."""
        return self.options.limit_seconds - (time.monotonic() - self.began)

    # --- The parts --------------------------------------------------------------------------------------------------

    def set_the_stage(self):
        """Start everything, without faults."""
        unknown = missing_kinds(self.provider.kinds())
        if unknown:
            raise Stopped(
                f"The sandbox has kinds of fault that the campaign does not draw: {sorted(unknown)}"
            )
        many = self.options.purchases > 300
        self.desk = cast.assemble(self.chance("cast"), self.provider, teams=TEAMS[many])
        self.team_ids = dict(Team.objects.values_list("name", "pk"))
        self.stage.start_workers()
        self.stage.start_web()
        cast.log_in_all(self.desk, self.stage.web_url, self.pages)
        found = provider.offers(f"{self.stage.provider_url}/api/v1/public", self.desk.secrets[0], SHELVES)
        if len(found) < self.options.purchases:
            raise Stopped(f"Only {len(found)} numbers are on offer.")
        chosen = self.chance("offers").sample(found, self.options.purchases)
        self.offers = {offer["phone_number"]: offer for offer in chosen}
        self.asking = asking.Asking(self)
        self.plan = asking.draw(self.chance("plan"), self.desk, chosen)
        self.say(f"{len(self.plan)} requests are planned; the storm begins")

    def storm(self):
        """Staff request and decide while faults occur; ends when all requests and kills are done or nothing moves."""
        self.mischief, self.killing, self.deciding = Mischief(self), Killing(self), Deciding(self)
        late = min(len(self.offers), max(3, self.options.purchases // 40))
        self.late = Late(self, self.chance("late").sample(sorted(self.offers), late))
        self.staff_done = threading.Event()
        self.storm_began = time.monotonic()
        self.keepers = [self._part(self._keep), self._part(self._reconcile)]
        parts = [self._part(part.run) for part in (Weather(self), self.mischief, self.killing, self.deciding)]
        parts.append(self._part(self._staff))
        self._wait_until(self.staff_done.is_set)
        asked = time.monotonic()
        self._wait_until(lambda: self._is_spent(time.monotonic() - asked))
        self.storm_over.set()
        for part in parts:
            part.join()
        self.provider.clear_faults()

    def calm(self):
        """No more faults: every purchase must settle, or be held and decided by people over HTTP."""
        self.say("the storm is over")
        while self.left() > 0 and not self.interrupted():
            self.mischief.see_to_keys()
            if not self.deciding.round() and not self._moving():
                break
            self.say("calm")
            time.sleep(2)
        self._was_worth_it()
        self.stage.run_command("verify_audit")

    def _was_worth_it(self):
        """Fail if little was requested or bought: the forms no longer fit the pages, and nothing is proved."""
        asked = Purchase.objects.values("phone_number").distinct().count()
        bought = Purchase.objects.filter(state=State.PURCHASED).count()
        least = self.options.purchases * LEAST
        if asked < least or bought < least / 2:
            self.problem(
                f"of {self.options.purchases} numbers only {asked} were asked for and {bought} bought"
            )

    def end(self):
        """Stop everything."""
        self.storm_over.set()
        self.stopped.set()
        for keeper in self.keepers:
            keeper.join(timeout=10)

    def is_idle(self):
        """Whether everything was requested and no purchase is under way."""
        moving = Purchase.objects.filter(state__in=(State.APPROVED, State.PURCHASING))
        return self.staff_done.is_set() and not moving.exists()

    def _is_spent(self, since):
        """Whether the storm is over, so many seconds after everything was requested."""
        if self.killing.done < self.options.kills:
            return since > max(ENOUGH, FOR_KILLS * self.options.purchases)
        return self.is_idle() or since > ENOUGH

    def _moving(self):
        waits = Purchase.objects.filter(state__in=MOVING).exists()
        late = any(self.late.is_too_early(number) for number in self.late.numbers)
        # Numbers bought with a key that was since revoked, in a project that no other key sees, stay as they are.
        unfinished = Purchase.objects.filter(state=State.PURCHASED, applied_at=None)
        return waits or late or unfinished.filter(bought_with__credential__refused_at=None).exists()

    def _keep(self):
        """Restart killed processes, and keep the calls that the provider received."""
        while not self.stopped.is_set():
            self.stage.look_after()
            if self.stopped.wait(0.2):
                break
            self.provider.collect()

    def _reconcile(self):
        """What an impatient operator does: sweep and read evidence more often than the workers do."""
        while not self.stopped.wait(RECONCILE_EVERY):
            call_command("reconcile", stdout=io.StringIO())

    def _staff(self):
        try:
            with ThreadPoolExecutor(STAFF) as pool:
                list(pool.map(lambda task: self._guarded(lambda: self._carry_out(task)), self.plan))
        finally:
            self.staff_done.set()

    def _carry_out(self, task):
        """Run one request of the plan at its time."""
        due = self.storm_began + PACE * self.options.purchases * task.place / len(self.plan)
        self.storm_over.wait(max(0, due - time.monotonic()))
        self.asking.run(task)

    def _part(self, run):
        thread = threading.Thread(target=self._guarded, args=(run,), daemon=True)
        thread.start()
        return thread

    def _guarded(self, run):
        """Run a part of the campaign; an exception in it becomes a problem of the campaign."""
        try:
            if not self.interrupted() and self.left() > 0:
                run()
        except Exception as error:
            self.problem(f"the campaign itself: {type(error).__name__}: {error}")
            if self.options.keep:
                traceback.print_exc()
        finally:
            connections.close_all()

    def say(self, words):
        """Progress, to stderr."""
        states = ", ".join(f"{count} {state}" for state, count in self.states().items())
        print(
            f"{time.monotonic() - self.began:5.0f} s  {words}; {sum(self.kills.values())} kills; {states}",
            file=sys.stderr,
            flush=True,
        )

    def _wait_until(self, done):
        reported_at = time.monotonic()
        while not done():
            if time.monotonic() - reported_at > 15:
                self.say("storm")
                reported_at = time.monotonic()
            if self.interrupted():
                raise Stopped("Ended by a signal.")
            if self.left() <= 0:
                raise Stopped(f"Not finished within {self.options.limit_seconds:g} seconds.")
            time.sleep(0.2)

    def states(self):
        """How many purchases there are in each state."""
        rows = Purchase.objects.order_by().values_list("state").annotate(count=Count("pk"))
        found = dict(rows.values_list("state", "count"))
        return {state: found[state] for state in State if state in found}
