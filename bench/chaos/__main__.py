"""`python -m bench.chaos`: options, the folder, Django, the campaign, its table, and the end of all processes."""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time

import django

from bench.chaos.stage import Stage
from dashboard.run import CannotRun, Told


def main(arguments=None):
    """Run a campaign; the exit status is 0 if every check passed."""
    options = _options(arguments)
    signals_received = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: signals_received.append(number))
    sys.setswitchinterval(0.0005)  # seconds; the moment for a kill is short
    stage = Stage(
        kind=options.database,
        buyers=options.workers,
        numbers=options.purchases // 5 + 5,
        interrupted=lambda: bool(signals_received),
    )
    keep = options.keep
    try:
        is_good = _run(options, stage, lambda: bool(signals_received))
        keep = keep or not is_good
        return 0 if is_good else 1
    except Told:
        print("Ended by a signal.", file=sys.stderr)
    except CannotRun as problem:
        print(problem, file=sys.stderr)
    finally:
        stage.stop(keep=keep)
        if keep:
            print(f"Logs and database are kept in {stage.folder}")
        else:
            shutil.rmtree(stage.folder, ignore_errors=True)
    return 1


def _run(options, stage, interrupted):
    """Run the campaign and print its table; whether every check passed."""
    os.environ.clear()
    os.environ |= stage.environment | {"LOG_LEVEL": "ERROR"}  # the level applies only to this process
    django.setup()
    from bench.chaos import verdict
    from bench.chaos.campaign import Campaign, Stopped

    stage.migrate()
    stage.start_provider()
    campaign = Campaign(options, stage, interrupted=interrupted)
    with contextlib.ExitStack() as at_end:
        at_end.callback(campaign.end)
        try:
            campaign.set_the_stage()
            campaign.storm()
            campaign.calm()
        except Stopped as problem:
            if interrupted():
                raise Told from None
            campaign.problem(str(problem))
        campaign.end()
        campaign.took = time.monotonic() - campaign.began
        books = verdict.Books(campaign)
        found = verdict.judge(books)
        print(verdict.table(books, found), flush=True)
        return found.is_good


def _options(arguments):
    parser = argparse.ArgumentParser(
        prog="python -m bench.chaos",
        description="A hostile campaign against all of Number Desk on this machine. Nothing real is bought.",
    )
    parser.add_argument("--purchases", type=int, default=1000, help="phone numbers that staff ask for (1000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other chances (1)")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument(
        "--kills",
        type=int,
        help="processes to kill, at random and chosen points (an eighth of the purchases)",
    )
    parser.add_argument("--workers", type=int, default=4, help="processes that buy (4)")
    parser.add_argument("--keep", action="store_true", help="keep the folder also after a good end")
    parser.add_argument(
        "--limit-seconds", type=float, help="give up after this time (3 minutes and 2 s a purchase)"
    )
    options = parser.parse_args(arguments)
    if options.kills is None:
        options.kills = options.purchases // 8
    if options.limit_seconds is None:
        options.limit_seconds = 180 + 2 * options.purchases
    return options


if __name__ == "__main__":
    sys.exit(main())
