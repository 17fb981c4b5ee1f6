"""One measurement in a process of its own; prints JSON: `python -m bench.record.measure pages SMALL LARGE`.

Measures the database of the settings. For pages and appending, one process alternates between the small and the large
database, so that other load on the machine affects both.
"""

import json
import random
import re
import statistics
import sys
import time
from functools import partial

import django

django.setup()

import psutil  # noqa: E402 (Django first)
from django.conf import settings  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.db.models import Count  # noqa: E402
from django.test import Client, RequestFactory  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from bench.record import anchors  # noqa: E402
from purchasing import audit  # noqa: E402
from purchasing.audit import export as export_format  # noqa: E402
from purchasing.audit.filing import LOT  # noqa: E402
from purchasing.audit.search import Filter, Reader  # noqa: E402
from purchasing.models import AuditEvent, AuditHead, Purchase, User  # noqa: E402

settings.ALLOWED_HOSTS = ["*"]
ROUNDS, TIMES = 5, 8  # rounds, and requests in each
NUMBERS, EACH = 4, 8  # numbers in one round, events added for each


def turn_to(name):
    """Switch to another database: a file, or a name on the same server."""
    connection.close()
    connection.settings_dict["NAME"] = name


def seconds(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


# --- Pages ----------------------------------------------------------------------------------------------------------


def cases():
    """The addresses of pages of this record, by name; each has 50 rows if there are that many."""
    head = AuditHead.objects.get().seq
    events = AuditEvent.objects.filter(seq__gt=head - 2000, team__isnull=False)

    def most(*columns):
        return events.values(*columns).annotate(n=Count("seq")).order_by("-n").first()

    both, all_three = most("actor_name", "team__slug"), most("actor_name", "action", "team__slug")
    found = {
        "first page": "",
        "page in the middle": f"before={head // 2}",
        "deepest page": "before=52",
        "newer, from the middle": f"after={head // 2}",
        "person": "person=worker",
        "action": "action=purchase.purchasing",
        "team": f"team={most('team__slug')['team__slug']}",
        "person and action": "person=worker&action=purchase.purchasing",
        "person and team": f"person={both['actor_name']}&team={both['team__slug']}",
        "person, action and team": f"person={all_three['actor_name']}&action={all_three['action']}"
        f"&team={all_three['team__slug']}",
        "request": f"request={most('request')['request']}",
        "dates": dates(head),
        "word": "q=berlin",
        "beginning of a number": "number=%2B49",
    }
    for length, name in ((3, "three digits of a number"), (4, "four digits of a number")):
        found[name] = f"number={digits(length)}"
    number = AuditEvent.objects.filter(seq__lte=head // 3, purchase__isnull=False).latest("seq").phone_number
    found["a whole number"] = f"number=%2B{number[1:]}"
    found["digits that no number has"] = "number=000000000"
    found["a number, a word and a team"] = f"number={digits(3)}&q=berlin&team={both['team__slug']}"
    return found


def dates(head):
    """Days in the middle of the record with more than a page of events."""
    first, last = (AuditEvent.objects.get(seq=n).at.date() for n in (head // 2, min(head, head // 2 + 120)))
    return f"since={first}&until={last}"


def digits(length):
    """Digits that only a few numbers contain, but with 50 events if possible."""
    numbers = list(Purchase.objects.values_list("phone_number", flat=True)[:5000])
    counts = {}
    for number in numbers:
        for part in {number[place : place + length] for place in range(4, len(number) - length + 1)}:
            counts[part] = counts.get(part, 0) + 1
    enough = {part: n for part, n in counts.items() if n >= 8}
    return min(enough, key=enough.get) if enough else max(counts, key=counts.get)


def pages(small, large):
    """Times of each page on both records, alternating; queries and plans on the large one."""
    names, addresses, results = {"small": small, "large": large}, {}, {}
    for size, name in names.items():
        turn_to(name)
        addresses[size] = cases()
    for _ in range(ROUNDS):
        for size, name in names.items():
            turn_to(name)
            client = Client()
            client.force_login(User.objects.get(username="ida"))
            client.get("/audit/")
            for case, query in addresses[size].items():
                result = results.setdefault(case, {"small": [], "large": []})
                for _ in range(TIMES):
                    began = time.perf_counter()
                    response = client.get(f"/audit/?{query}")
                    result[size].append(time.perf_counter() - began)
                    assert response.status_code == 200
                result[f"{size} rows"] = response.content.count(b'<tr id="event-')
    for case, result in results.items():
        with CaptureQueriesContext(connection) as queries:
            client.get(f"/audit/?{addresses['large'][case]}")
        statements = [
            query["sql"]
            for query in queries
            if not re.search(r'FROM "(django_session|purchasing_user)"', query["sql"])
        ]
        statements = [sql for sql in statements if sql.lstrip().upper().startswith(("SELECT", "WITH"))]
        result["queries"] = len(statements)
        result["bad"] = [problem for sql in statements for problem in bad_in(sql)]
        result["address"] = addresses["large"][case]
    return results


def bad_in(sql):
    """Queries that no page may need: counts, OFFSET, full scans of a large table."""
    if match := re.search(r"(?i)\bcount\s*\(|\boffset\b", sql):
        yield match[0]
    with connection.cursor() as cursor:
        plain = connection.vendor == "sqlite"
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if plain else ''}{sql}")
        plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
    large = "purchasing_audit(event|entry|word|digits)"
    if match := re.search(
        rf"SCAN (e|m|{large})\b(?! LEFT-JOIN).*" if plain else rf"Seq Scan on {large}\b.*", plan
    ):
        yield match[0]


def admin():
    """Django's admin over the same rows."""
    settings.ROOT_URLCONF = "bench.record.anchors"
    client = Client()
    client.force_login(User.objects.get(username="root"))
    base = "/plain/purchasing/auditevent/"
    head = AuditHead.objects.get().seq
    part = digits(4)
    found = {}
    for case, query, times in (
        ("first page", "", 7),
        ("deepest page", f"p={-(-head // 50)}", 3),
        ("filter by action", "action__exact=purchase.failed", 3),
        ("search by digits", f"q={part}", 3),
    ):
        client.get(f"{base}?{query}") if times > 3 else None
        taken = [seconds(lambda query=query: client.get(f"{base}?{query}")) for _ in range(times)]
        found[case] = statistics.median(taken)
    found["raw keyset query"] = statistics.median([seconds(anchors.bare_page) for _ in range(50)])
    return found


# --- Files ----------------------------------------------------------------------------------------------------------


def streamed(pieces):
    """`{first, all, memory}` of a stream: seconds, and bytes above the memory use before."""
    process = psutil.Process()
    before = process.memory_info().rss
    began, first, peak, size = time.perf_counter(), None, before, 0
    for count, piece in enumerate(pieces()):
        first = first or time.perf_counter() - began
        size += len(piece)
        if count % 20 == 0:
            peak = max(peak, process.memory_info().rss)
    return {"first": first, "all": time.perf_counter() - began, "memory": peak - before, "bytes": size}


def export(kind):
    """All events as a file of one kind, as the view streams it."""

    def pieces():
        actor = audit.system("bench")
        yield from export_format.begin(
            kind, reader=Reader(Filter()), filtered="everything", actor=actor, sees_all=True
        )

    list(
        export_format.begin(
            kind,
            reader=Reader(Filter(number="000000000")),
            filtered="-",
            actor=audit.system("bench"),
            sees_all=True,
        )
    )
    return streamed(pieces)


def bare_csv():
    first, everything = anchors.bare_csv()
    return {"first": first, "all": everything}


def copy():
    return {"all": anchors.copied()}


def streaming_admin():
    request = RequestFactory().get("/")
    return streamed(lambda: anchors.streaming_csv(request))


def naive_admin():
    request = RequestFactory().get("/")
    return streamed(lambda: [anchors.naive_csv(request).content])


# --- Proof and appending --------------------------------------------------------------------------------------------


def verify():
    """The whole walk, its memory use, and the bare loop before and after it."""
    bare = [anchors.bare_hashing()]
    process = psutil.Process()
    before = process.memory_info().rss
    peak = [before]
    began = time.perf_counter()
    verdict = audit.verify(progress=lambda done, of: peak.append(process.memory_info().rss))
    taken = time.perf_counter() - began
    bare.append(anchors.bare_hashing())
    return {"all": taken, "bare": min(bare), "memory": max(peak) - before, "whole": verdict.whole}


def append(small, large):
    """One event in a transaction of its own, on both records by turns, beside a bare insert by the ORM.

    Each number gets several events in a row, as a purchase does: half by a person with one click, half by the worker.
    Each record files two lots, whose time is included in the mean: `{name: {mean, median, longest}}`. One lot is filed
    before the measurement: it splits the index pages, which are full because the indexes were built in one go.
    """
    times = {"small": [], "large": [], "bare": []}
    for name in (small, large):
        turn_to(name)
        anchors.make_bare_table()
        purchase = Purchase.objects.select_related("request__team").latest("pk")
        for place in range(LOT):
            _record_one({}, audit.WORKER, place, purchase)
    chance = random.Random(1)
    for _ in range(2 * LOT // (NUMBERS * EACH)):
        for size, name in (("small", small), ("large", large)):
            turn_to(name)
            person = User.objects.get(username="req01a")
            newest = Purchase.objects.latest("pk").pk
            for _ in range(NUMBERS):
                purchase = Purchase.objects.select_related("request__team").get(pk=chance.randint(1, newest))
                actors = audit.WORKER, audit.Actor.person(person, ip="10.0.0.1")
                for place in range(EACH):
                    made = {}
                    times[size].append(
                        seconds(partial(_record_one, made, actors[place % 2], place, purchase))
                    )
                    taken = seconds(partial(bare_insert, len(times[size]), made["event"]))
                    if size == "large":
                        times["bare"].append(taken)
    return {
        name: {"mean": statistics.mean(taken), "median": statistics.median(taken), "longest": max(taken)}
        for name, taken in times.items()
    }


def _record_one(made, actor, place, purchase):
    notes = "IdentityCall confirmed the purchase.", "We need it for the desk in Berlin."
    with transaction.atomic():
        made["event"] = audit.record(
            "purchase.purchased",
            actor=actor,
            purchase=purchase,
            was="purchasing",
            became="purchased",
            note=notes[place % 2],
            provider_id=4711,
        )


def bare_insert(seq, event):
    values = {name: getattr(event, name) for name in anchors.COLUMNS} | {"seq": seq}
    with transaction.atomic():
        anchors.BareEvent.objects.create(**values)


def write(events, start):
    """One of several writers: adds events one by one from `start` (seconds since 1970) on."""
    purchase = Purchase.objects.select_related("request__team").order_by("?").first()
    time.sleep(max(0, float(start) - time.time()))
    began = time.time()
    for _ in range(int(events)):
        audit.record(
            "purchase.waits_long", actor=audit.WORKER, purchase=purchase, note="Several write at once."
        )
    return {"began": began, "ended": time.time()}


def whole(events):
    """Whether the chain is whole and has the expected length."""
    verdict = audit.verify()
    return {"whole": verdict.whole and verdict.events == int(events), "events": verdict.events}


def count():
    return {"events": AuditHead.objects.get().seq}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
