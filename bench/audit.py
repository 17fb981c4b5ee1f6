"""How fast the record is at a million events, beside Django's admin and bare loops: `python -m bench.audit`.

Makes four databases (a small and a large record, in SQLite and on a PostgreSQL server of its own), measures, prints a
table, and exits with 1 if a bound is exceeded. Takes about 15 minutes on two idle cores.
"""

import argparse
import json
import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bench.record.stage import Stage

WRITERS, EACH = 8, 200  # concurrent writers, events of each
MB = 1_000_000


class Table:
    """The measurements, with their anchors and bounds."""

    def __init__(self):
        self.lines, self.failed = [], []

    def head(self, text):
        self.lines += [
            "",
            f"### {text}",
            "",
            "| what | ours | beside it | bound | |",
            "|---|---|---|---|---|",
        ]

    def row(self, what, ours, beside="", *, bound="", within=None):
        verdict = "" if within is None else "ok" if within else "**BEYOND**"
        if within is False:
            self.failed.append(what)
        self.lines.append(f"| {what} | {ours} | {beside} | {bound} | {verdict} |")
        print(self.lines[-1], flush=True)


def ms(seconds):
    return f"{seconds * 1000:.2f} ms"


def s(seconds):
    return f"{seconds:.1f} s"


def main():
    """Run all measurements."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--database", choices=["both", "sqlite", "postgresql"], default="both")
    parser.add_argument("--folder", help="keep the databases here, and use them again next time")
    parser.add_argument("--only", choices=["pages", "files", "verify", "append"], help="one part alone")
    options = parser.parse_args()
    kinds = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    began, table = time.monotonic(), Table()
    stage = Stage(kinds=kinds, large=options.events, folder=options.folder)
    try:
        stage.fill()
        print(f"Databases are there after {time.monotonic() - began:.0f} s", file=sys.stderr)
        for kind in kinds:
            for part in (pages, files, verify, append):
                if options.only in (None, part.__name__):
                    part(stage, kind, table)
    finally:
        stage.stop()
    print("\n".join(["", machine(options), *table.lines]))
    print(
        f"\n{time.monotonic() - began:.0f} s in all. "
        + ("Beyond a bound: " + "; ".join(table.failed) if table.failed else "All within their bounds.")
    )
    return 1 if table.failed else 0


def measured(stage, kind, what, *arguments):
    return json.loads(stage.run(kind, "large", "bench.record.measure", what, *arguments))


def pages(stage, kind, table):
    """Every page, filter and search, compared with the admin."""
    small, large = stage.name(kind, "small"), stage.name(kind, "large")
    found, admin = measured(stage, kind, "pages", small, large), measured(stage, kind, "admin")
    table.head(f"{kind}: pages of 50 events, median of {len(found['first page']['large'])}")
    plain = median(found["first page"]["small"])
    for case, result in found.items():
        ours = median(result["large"])
        equal = result["small rows"] == result["large rows"]
        other = median(result["small"]) if equal else plain
        words = f"{ms(other)} at 1,000{'' if equal else ' (its first page)'}"
        words += f"; {result['large rows']} rows, {result['queries']} queries"
        bound = "at most 1.1 times" if equal else ""
        within = (not equal or ours <= 1.1 * other) and result["queries"] <= 4 and not result["bad"]
        table.row(
            case,
            f"{ms(ours)} ({ours / other:.2f})",
            words + "".join(f"; {bad}" for bad in result["bad"]),
            bound=bound,
            within=within,
        )
    for case, ours in (
        ("first page", "first page"),
        ("deepest page", "deepest page"),
        ("filter by action", "action"),
        ("search by digits", "four digits of a number"),
    ):
        table.row(f"Django's admin, {case}", ms(median(found[ours]["large"])), ms(admin[case]))
    table.row("the raw keyset query", "", ms(admin["raw keyset query"]))


def files(stage, kind, table):
    """Exports of everything."""
    table.head(f"{kind}: everything as a file")
    ours, bare = (measured(stage, kind, *what) for what in (("export", "csv"), ("bare_csv",)))
    again, bare_again = (measured(stage, kind, *what) for what in (("export", "csv"), ("bare_csv",)))
    everything, limit = min(ours["all"], again["all"]), min(bare["all"], bare_again["all"])
    table.row(
        "CSV",
        f"{s(everything)} ({everything / limit:.2f})",
        f"{s(limit)} a bare view",
        bound="at most 1.2 times",
        within=everything <= 1.2 * limit,
    )
    table.row("its first byte", ms(ours["first"]), "", bound="within 100 ms", within=ours["first"] <= 0.1)
    table.row(
        "its memory above idle",
        f"{ours['memory'] / MB:.1f} MB",
        f"{ours['bytes'] / MB:.0f} MB of CSV",
        bound="at most 10 MB",
        within=ours["memory"] <= 10 * MB,
    )
    for name in ("jsonl", "xlsx"):
        found = measured(stage, kind, "export", name)
        table.row(
            name,
            f"{s(found['all'])}, first byte {ms(found['first'])}",
            f"{found['memory'] / MB:.1f} MB above idle, {found['bytes'] / MB:.0f} MB",
            bound="at most 10 MB",
            within=found["memory"] <= 10 * MB,
        )
    copied = measured(stage, kind, "copy")["all"]
    if copied:
        table.row("COPY through psycopg", "", s(copied))
    streaming, naive = measured(stage, kind, "streaming_admin"), measured(stage, kind, "naive_admin")
    table.row(
        "the admin's streaming export",
        "",
        f"{s(streaming['all'])}, {streaming['memory'] / MB:.0f} MB above idle",
    )
    table.row("the admin's naive export", "", f"{s(naive['all'])}, {naive['memory'] / MB:.0f} MB above idle")


def verify(stage, kind, table):
    """The proof."""
    table.head(f"{kind}: verify_audit of everything")
    found = measured(stage, kind, "verify")
    table.row(
        "verify",
        f"{s(found['all'])} ({found['all'] / found['bare']:.2f})",
        f"{s(found['bare'])} reading and hashing in a bare loop",
        bound="at most 3 times",
        within=found["whole"] and found["all"] <= 3 * found["bare"],
    )
    table.row(
        "its memory above idle",
        f"{found['memory'] / MB:.1f} MB",
        "",
        bound="flat (10 MB)",
        within=found["memory"] <= 10 * MB,
    )


def append(stage, kind, table):
    """Adding events: one writer, then several."""
    table.head(f"{kind}: adding an event in a transaction of its own")
    found = measured(stage, kind, "append", stage.name(kind, "small"), stage.name(kind, "large"))
    large, small, bare = (found[size]["mean"] for size in ("large", "small", "bare"))
    table.row(
        "at 1,000,000 events, mean with the filing of lots",
        f"{ms(large)} ({large / small:.2f})",
        f"{ms(small)} at 1,000",
        bound="at most 1.1 times",
        within=large <= 1.1 * small,
    )
    table.row(
        "beside a bare ORM insert",
        f"{ms(large)} ({large / bare:.2f})",
        f"{ms(bare)} into a table without indexes",
        bound="at most 2 times",
        within=large <= 2 * bare,
    )
    for what in ("median", "longest"):
        large, small, bare = (found[size][what] for size in ("large", "small", "bare"))
        table.row(f"its {what}", ms(large), f"{ms(small)} at 1,000; {ms(bare)} a bare insert")
    before = measured(stage, kind, "count")["events"]
    start = time.time() + 6  # all processes have loaded Django by then
    with ThreadPoolExecutor(WRITERS) as pool:
        results = list(
            pool.map(lambda _: measured(stage, kind, "write", str(EACH), str(start)), range(WRITERS))
        )
    chain = measured(stage, kind, "whole", str(before + WRITERS * EACH))
    taken = max(one["ended"] for one in results) - min(one["began"] for one in results)
    rate = WRITERS * EACH / taken
    table.row(
        f"{WRITERS} writers at once",
        f"{rate:.0f} events a second",
        "the chain is whole" if chain["whole"] else "THE CHAIN IS BROKEN",
        bound="at least 200",
        within=rate >= 200 and chain["whole"],
    )


def median(values):
    return sorted(values)[len(values) // 2]


def machine(options):
    """The machine and the command of the measurement."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"`python -m bench.audit --events {options.events}` on {os.cpu_count()} cores ({cpu()}), {memory:.0f} GB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


def cpu():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
