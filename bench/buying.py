"""How fast and with how many calls numbers are bought: `python -m bench.buying`.

Runs a real worker against the sandbox provider over HTTP, on SQLite and on a PostgreSQL server of its own, prints each
figure beside its limit, and exits with 1 if a limit is broken or nothing was bought. Takes about 7 minutes.
"""

import argparse
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bench.audit import Table
from bench.pace.stage import LATENCY, Stage

RATE = 60  # calls a minute: the provider's smallest plan
TOGETHER = 100  # numbers approved together
WITHIN = 130  # seconds for them
MOST_CALLS = {"recorded": 1.1, "unrecorded": 2.1}  # calls for each of them
OFF_WITHIN = 5  # seconds from a purchase until recording is off, median
EVIDENCE_WITHIN = 20  # seconds until a lost answer is settled: the first read is planned after 10
UNPACED = 60_000  # calls a minute: a rate that makes nothing wait
IDLE_WITHIN = {"sqlite": 20, "postgresql": 10}  # milliseconds from approval to claim, median
SHARE = 0.9  # of processes / latency, for 1 and 2 processes
PROCESSES = {1: 60, 2: 100, 4: 160}  # buying processes, numbers to buy


def main():
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--database", choices=["both", "sqlite", "postgresql"], default="both")
    parser.add_argument("--only", choices=["paced", "idle", "throughput"], help="one part alone")
    options = parser.parse_args()
    kinds = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    began, table = time.monotonic(), Table()
    for part in (paced, idle, throughput):
        if options.only in (None, part.__name__):
            part(kinds, table)
    print("\n".join(["", machine(), *table.lines]))
    print(
        f"\n{time.monotonic() - began:.0f} s in all. "
        + ("Beyond a limit: " + "; ".join(table.failed) if table.failed else "All within their limits.")
    )
    return 1 if table.failed else 0


def paced(kinds, table):
    """100 numbers at 60 calls a minute. All stages run at once: they wait for their turn nearly all the time."""
    table.head(f"{TOGETHER} numbers of one country and type at {RATE} calls a minute")
    cases = [(kind, recording) for recording in MOST_CALLS for kind in kinds]
    with ThreadPoolExecutor(len(cases)) as pool:
        results = list(pool.map(lambda case: _paced(*case), cases))
    for (kind, recording), (result, calls, refused) in zip(cases, results, strict=True):
        what = f"{kind}, {recording}"
        each = sum(calls.values()) / max(1, result["bought"])
        table.row(
            f"{what}: bought",
            result["bought"],
            f"{refused} calls refused with 429",
            bound=f"all {TOGETHER}, none refused",
            within=result["bought"] == result["applied"] == TOGETHER and not refused,
        )
        table.row(
            f"{what}: calls a purchase",
            f"{each:.2f}",
            ", ".join(f"{count} {endpoint}" for endpoint, count in sorted(calls.items())),
            bound=f"at most {MOST_CALLS[recording]}",
            within=bool(result["bought"]) and each <= MOST_CALLS[recording],
        )
        if recording == "recorded":
            table.row(
                f"{what}: until the last was bought",
                f"{result['seconds']:.0f} s",
                bound=f"at most {WITHIN} s",
                within=bool(result["bought"]) and result["seconds"] <= WITHIN,
            )
            table.row(
                f"{what}: a lost answer settled after",
                f"{max(result['evidence'], default=0):.1f} s",
                "first read planned after 10 s",
                bound=f"at most {EVIDENCE_WITHIN} s",
                within=0 < max(result["evidence"], default=0) <= EVIDENCE_WITHIN,
            )
        else:
            median = result["applied_median"]
            table.row(
                f"{what}: recording off after the purchase, median",
                "never" if median is None else f"{median:.1f} s",
                f"the last number after {result['seconds']:.0f} s",
                bound=f"at most {OFF_WITHIN} s",
                within=median is not None and median <= OFF_WITHIN,
            )


def _paced(kind, recording):
    lost = TOGETHER // 3 if recording == "recorded" else None
    with Stage(kind=kind, buyers=1, rate=RATE, numbers=20, enforced=True, lost=lost) as stage:
        result = stage.order("buy", TOGETHER, recording)
        return result, *stage.calls(result["began"])


def idle(kinds, table):
    """From approval to claim while the worker has nothing else to do."""
    table.head("from approval to claim, worker idle")
    for kind in kinds:
        with Stage(kind=kind, buyers=1, rate=UNPACED, numbers=20) as stage:
            result = stage.order("idle", 25)
        median = result["median"]
        table.row(
            f"{kind}: median of {result['claimed']}",
            "none" if median is None else f"{median:.0f} ms",
            f"longest {max(result['all'], default=0):.0f} ms",
            bound=f"at most {IDLE_WITHIN[kind]} ms",
            within=median is not None and result["claimed"] == 25 and median <= IDLE_WITHIN[kind],
        )


def throughput(kinds, table):
    """Purchases a second at a rate that makes nothing wait."""
    table.head(f"purchases a second, {LATENCY * 1000:.0f} ms latency of the provider")
    for kind in kinds:
        for processes, count in PROCESSES.items():
            with Stage(kind=kind, buyers=processes, rate=UNPACED, numbers=20) as stage:
                result = stage.order("buy", count, "recorded")
            pace = result["bought"] / result["span"] if result["span"] else 0
            most = processes / LATENCY
            bounded = processes <= 2
            table.row(
                f"{kind}: {processes} buying process{'es' if processes > 1 else ''}",
                f"{pace:.1f} ({pace / most:.2f})",
                f"{most:.1f} is processes / latency; {result['bought']} bought",
                bound=f"at least {SHARE} of it" if bounded else "",
                within=(pace >= SHARE * most and result["bought"] == count)
                if bounded
                else result["bought"] == count,
            )


def machine():
    """The machine, and a loop whose time says how fast it is just now."""
    began = time.perf_counter()
    for _ in range(10_000_000):
        pass
    loop = time.perf_counter() - began
    return (
        f"Python {platform.python_version()}, {platform.machine()}; an empty loop of ten million rounds takes "
        f"{loop:.2f} s (about 0.2 s on a desktop computer of 2024)."
    )


if __name__ == "__main__":
    sys.exit(main())
