"""A running Number Desk with one team and the sandbox provider at a given rate and latency."""

import json
import shutil
import subprocess
import sys
import threading
from collections import Counter

from bench.chaos import stage as chaos
from bench.chaos.provider import Provider
from dashboard.run import BASE_DIR

LATENCY = 0.15  # seconds that the provider takes for a purchase call
KEY = "idc_" + "b" * 28 + "9876"
NAME = "bench"  # of the key at the provider
_ONE_SERVER = threading.Lock()  # the package that starts PostgreSQL does not like two threads at once


class Stage(chaos.Stage):
    """`buyers` processes buy with a key of `rate` calls a minute; the provider enforces it if `enforced`.

    `lost` counts from 1 which purchase call is carried out without an answer.
    """

    def __init__(self, *, kind, buyers, rate, numbers, enforced=False, lost=None):
        self.rate, self.enforced, self.lost = rate, enforced, lost
        super().__init__(kind=kind, buyers=buyers, numbers=numbers, interrupted=lambda: False)
        self.supervisors = {"work": buyers + 1}
        self.provider = Provider(self.provider_url)

    def _environment(self):
        shown = super()._environment()
        usual = {name: value for name, value in shown.items() if name not in chaos.TIMES}
        return {**usual, "RATE_LIMIT_PER_MINUTE": str(self.rate), "LOG_LEVEL": "ERROR"}

    def _database(self):
        with _ONE_SERVER:
            return super()._database()

    def __enter__(self):
        try:
            self.migrate()
            self.start_provider()
            if self.enforced:
                self.provider.set_rate_limit(self.rate)
            self.provider.add_key(NAME, KEY, None)
            if self.lost:  # before the latency: the first fault that matches acts
                self.provider.set_fault(kind="close_after", endpoint="purchase", skip=self.lost - 1, times=1)
            self.provider.set_fault(kind="slow_before", endpoint="purchase", seconds=LATENCY)
            self.order("people")
            self.start_workers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error):
        self.stop()

    def stop(self):
        """End all processes and remove the folder."""
        with _ONE_SERVER:
            super().stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def order(self, what, *arguments):
        """Run one order of `bench.pace.orders` in a process of its own; returns what it found."""
        done = subprocess.run(
            [sys.executable, "-m", "bench.pace.orders", what, *map(str, arguments)],
            cwd=BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"{what} on {self.kind}:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout)

    def calls(self, since):
        """The calls with the key since this time (ISO 8601) by endpoint, and how many were refused with 429."""
        rows = [row for row in self.provider.requests() if row["key"] == NAME and row["time"] >= since]
        return Counter(row["endpoint"] for row in rows), sum(row["outcome"] == 429 for row in rows)
