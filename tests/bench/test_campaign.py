"""A small campaign of bench/chaos, on the database of the tests. The full one is `make chaos`."""

import os
import signal
import subprocess
import sys

import pytest
from django.conf import settings

LIMIT = 360  # seconds; less than a minute on a machine with nothing else to do


@pytest.mark.timeout(LIMIT + 90)
def test_a_short_campaign_finds_nothing():
    database = "postgresql" if os.environ.get("TEST_DATABASE") == "postgresql" else "sqlite"
    options = f"--purchases 30 --kills 6 --seed 1 --database {database} --limit-seconds {LIMIT}"
    campaign = subprocess.Popen(
        [sys.executable, "-m", "bench.chaos", *options.split()],
        cwd=settings.BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = campaign.communicate(timeout=LIMIT + 60)
    finally:
        if campaign.poll() is None:
            campaign.send_signal(signal.SIGTERM)  # it has ended everything that it started
            campaign.wait(timeout=30)
    assert campaign.returncode == 0, output
    assert "GOOD: none of this happened." in output
