"""Filters, search and pages give exactly what reading every event would give, and no query reads them all."""

import random
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from purchasing import audit, clock, guard
from purchasing.audit import filing, search, search_places, search_terms
from purchasing.audit.filing import words_of
from purchasing.audit.search import Filter, Reader
from purchasing.audit.search_places import LAST, limits_of
from purchasing.models import AuditEvent, AuditHead, AuditSegment, AuditStretch
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NUMBERS = ["+12125550101", "+12125550102", "+4930123456", "+4930125550", "+33142685300", "+15551234567"]
NOTES = [
    "",
    "",
    "The help desk in Berlin opens",
    "Berlin: a line for the pilot",
    "Zoë asked, ticket 4711",
    "No answer came.",
    "Pilot ended; see ticket 47110",
]
ACTIONS = ["purchase.approved", "purchase.rejected", "purchase.purchased", "key.tested", "login.succeeded"]
BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def small(monkeypatch):
    """Segments, lots, pages and reads so small that a hundred events need many of them."""
    make_small(monkeypatch)


def make_small(monkeypatch):
    for module in (search_places, filing):
        monkeypatch.setattr(module, "SEGMENT", 8)
    monkeypatch.setattr(filing, "LOT", 9)
    for name, value in (("NEAR", 10), ("NARROWED", 24)):
        monkeypatch.setattr(search, name, value)


@pytest.fixture
def record(small, monkeypatch):
    """160 events of two teams and some of no team, by several people, with times that sometimes go back."""
    rnd = random.Random(6)
    teams = [factories.team(), factories.team("Sales", key=None)]
    people = [factories.actor(factories.member(name, teams[0], "approver")) for name in ("ana", "tom", "sam")]
    asked = [
        factories.request(team, factories.member("zoe", team, "requester"), NUMBERS[n::2])
        for n, team in enumerate(teams)
    ]
    purchases = [purchase for request in asked for purchase in request.purchases.all()]
    at = BEGIN
    for _ in range(130):
        at += timedelta(minutes=rnd.choice([0, 1, 7, 40, 300]))
        if rnd.random() < 0.05:
            at -= timedelta(hours=rnd.choice([2, 30]))
        monkeypatch.setattr(clock, "now", lambda at=at: at)
        kind, actor = rnd.random(), rnd.choice([*people, audit.WORKER])
        about = {"team": rnd.choice(teams)} if kind < 0.2 else {}
        if kind >= 0.4:
            about = {"purchase": rnd.choice(purchases)}
        data = {"name": rnd.choice(["Desk", "Fair Paris"])} if rnd.random() < 0.3 else {}
        audit.record(rnd.choice(ACTIONS), actor=actor, note=rnd.choice(NOTES), **about, **data)
    monkeypatch.undo()
    make_small(monkeypatch)
    return teams


def matches(event, wanted, teams=None):
    """Whether an event matches the filter, decided from the event alone."""
    number = event.phone_number
    return (
        all(any(w.startswith(word) for w in words_of(event)) for word in wanted.words)
        and (number.startswith(wanted.number) if wanted.number.startswith("+") else wanted.number in number)
        and wanted.person in ("", event.actor_name)
        and wanted.action in ("", event.action)
        and wanted.team in (None, event.team_id)
        and wanted.request in (None, event.request_id)
        and wanted.click in ("", event.click)
        and (wanted.since is None or event.at >= wanted.since)
        and (wanted.until is None or event.at < wanted.until)
        and (teams is None or event.team_id in teams)
    )


def by_reading_all(wanted, teams=None):
    """The numbers of the matching events, newest first."""
    return [event.seq for event in AuditEvent.objects.order_by("-seq") if matches(event, wanted, teams)]


def walked(read, start, most):
    """The numbers of all pages, one after the other, in one direction."""
    found, bound = [], start
    while True:
        page = read(bound, most)
        seqs = [event.seq for event in page.events]
        found += seqs
        if page.reached is not None:
            bound = page.reached
        elif len(seqs) == most:
            bound = seqs[-1]
        else:
            return found


def every_way(wanted, teams=None, most=7):
    """The matches page by page from the newest, from the oldest, and all at once: `(list, list, list)`."""
    reader = Reader(wanted, teams=teams, limits=limits_of(wanted))
    down = walked(reader.older, LAST, most)
    up = walked(reader.newer, 0, most)
    rows = [row[0] for rows in reader.batches("e.seq, e.note", most) for row in rows]
    return down, up[::-1], rows


CHOICES = {
    "words": [
        (),
        ("berlin",),
        ("ber",),
        ("pilot", "berlin"),
        ("ana",),
        ("4711",),
        ("zoe",),
        ("no", "ans"),
        ("nosuch",),
    ],
    "number": ["", "", "555", "5550", "+49", "+1", "+4930123456", "268", "000"],
    "person": ["", "", "ana", "worker", "zoe", "nobody"],
    "action": ["", "", *ACTIONS, "purchase.pending"],
    "team": [None, None, 0, 1],
    "request": [None, None, None, 0, 1],
    "since": [None, None, BEGIN + timedelta(days=3), BEGIN + timedelta(days=9, hours=5)],
    "until": [None, None, BEGIN + timedelta(days=5), BEGIN + timedelta(days=11, hours=1)],
}


class TestEveryFilter:
    def test_alone(self, record):
        for name, values in CHOICES.items():
            for value in values:
                check(record, **{name: value})

    @pytest.mark.parametrize("seed", range(4))
    def test_together_with_others(self, record, seed):
        rnd = random.Random(seed)
        for _ in range(40):
            check(record, rnd, **{name: rnd.choice(values) for name, values in CHOICES.items()})

    def test_of_one_click(self, record):
        click = AuditEvent.objects.filter(action="purchase.pending").first().click
        check(record, click=click)
        check(record, click=click, action="purchase.pending", number="555")

    def test_that_exclude_each_other(self, record):
        assert every_way(Filter(nothing=True)) == ([], [], [])

    def test_in_an_empty_record(self, db):
        for wanted in (
            Filter(),
            Filter(number="555"),
            Filter(words=("x",)),
            Filter(since=BEGIN),
            Filter(request=1),
        ):
            assert every_way(wanted) == ([], [], [])


def check(teams, rnd=None, **fields):
    ids = [team.pk for team in teams]
    if fields.get("team") is not None:
        fields["team"] = ids[fields["team"]]
    if fields.get("request") is not None:
        fields["request"] = teams[fields["request"]].requests.get().pk
    wanted = Filter(**fields)
    seen_by = [None, (ids[0],), tuple(ids), ()]
    for seen in seen_by if rnd is None else [rnd.choice(seen_by)]:
        if wanted.team and seen is not None and wanted.team not in seen:
            continue  # the form refuses a team that the person may not read
        most = 7 if rnd is None else rnd.choice([1, 7, 50])
        expected = by_reading_all(wanted, seen)
        assert every_way(wanted, seen, most) == (expected, expected, expected), (wanted, seen, most)


class TestATeamThatMayNotBeRead:
    def test_gives_nothing_even_when_it_is_asked_for(self, record):
        mine, theirs = record
        assert every_way(Filter(team=theirs.pk), (mine.pk,)) == ([], [], [])


class TestDates:
    def test_are_exact_whatever_clocks_did(self, small, monkeypatch):
        times = [0, 10, 400 * 24 * 60, 20, 30, 31, 32, -120, 40, 50, 5000, 60, 70]
        for minutes in times:
            monkeypatch.setattr(clock, "now", lambda minutes=minutes: BEGIN + timedelta(minutes=minutes))
            audit.record("test.done", actor=factories.SYSTEM)
        monkeypatch.setattr(search_places, "SEGMENT", 8)
        for since in (-500, -120, 0, 15, 30, 45, 75, 6000, 10**6):
            for until in (-500, 0, 15, 30, 45, 75, 6000, 10**6):
                wanted = Filter(
                    since=BEGIN + timedelta(minutes=since), until=BEGIN + timedelta(minutes=until)
                )
                expected = by_reading_all(wanted)
                assert every_way(wanted) == (expected, expected, expected), (since, until)

    def test_find_what_a_clock_that_had_gone_back_far_wrote_after_many_days(self, small, monkeypatch):
        at = BEGIN

        def record(moment):
            monkeypatch.setattr(clock, "now", lambda: moment)
            audit.record("test.done", actor=factories.SYSTEM)

        for _ in range(1100):  # as many quarters of an hour
            record(at := at + timedelta(minutes=15))
        record(BEGIN - timedelta(days=1))
        assert [event.seq for event in self.until(at + timedelta(days=1), 2)] == [1101, 1100]
        assert [event.seq for event in self.until(BEGIN, 2)] == [1101]

    def until(self, moment, most):
        wanted = Filter(until=moment)
        return Reader(wanted, limits=limits_of(wanted)).older(LAST, most).events

    def test_are_kept_in_stretches_of_a_quarter_of_an_hour(self, db, monkeypatch):
        for minutes in (0, 1, 14, 15, 16, 2, 45):
            monkeypatch.setattr(clock, "now", lambda minutes=minutes: BEGIN + timedelta(minutes=minutes))
            audit.record("test.done", actor=factories.SYSTEM)
        first = int(BEGIN.timestamp()) // 900
        assert list(AuditStretch.objects.order_by("first_seq").values_list()) == [
            (1, first, first),
            (4, first + 1, first + 1),
            (6, first, first + 1),
            (7, first + 3, first + 3),
        ]


def test_every_word_of_the_longest_reason_is_found_and_who_gave_it(db):
    reason = " ".join(str(n) for n in range(100, 350))[:1000]
    event = audit.record("test.done", actor=factories.actor(factories.auditor("zoe")), note=reason)
    for word in (*reason.split(), "zoe"):
        assert [found.seq for found in Reader(Filter(words=(word,))).older(LAST, 1).events] == [event.seq], (
            word
        )


class TestFiling:
    def everything(self):
        """All rows of the search tables, the columns of the head about them, and the words of events."""
        with connection.cursor() as cursor:
            kept = {table: rows(cursor, table, columns) for table, columns in filing.TABLES.items()}
            kept["stretches"] = rows(cursor, filing.STRETCHES[0], filing.STRETCHES[1:])
        head = AuditHead.objects.get()
        return kept | {"times": (head.quarter, head.reached)}, dict(
            AuditEvent.objects.values_list("seq", "words")
        )

    def test_of_a_lot_ends_before_what_a_search_looks_at_one_by_one(self):
        assert filing.LOT < search.NEAR

    def test_leaves_less_than_a_lot_to_be_looked_at_one_by_one(self, record):
        head = AuditHead.objects.get()
        assert 0 < head.seq - head.filed < filing.LOT

    def test_made_anew_from_the_events_is_what_was_written_with_them(self, record):
        while (head := AuditHead.objects.get()).filed < head.seq:
            audit.record("test.done", actor=factories.SYSTEM, note="Berlin")
        before = self.everything()
        with connection.cursor() as cursor:
            for statement in guard.OFF[connection.vendor]:
                cursor.execute(statement)
            cursor.execute(f"UPDATE {AuditEvent._meta.db_table} SET words = ''")
            filing.file_all(None, type("Editor", (), {"connection": connection}))
            for statement in guard.ON[connection.vendor]:
                cursor.execute(statement)
        assert self.everything() == before
        assert list(AuditSegment.objects.order_by("number").values_list("number", flat=True)) == [
            *range(head.seq // 8 + 1)
        ]

    def test_finds_the_same_when_everything_was_filed(self, record):
        """Events from before the search existed are all filed; none is left to be read one by one."""
        with connection.cursor() as cursor:
            for statement in guard.OFF[connection.vendor]:
                cursor.execute(statement)
            filing.file_all(None, type("Editor", (), {"connection": connection}))
            for statement in guard.ON[connection.vendor]:
                cursor.execute(statement)
        head = AuditHead.objects.get()
        assert head.filed == head.seq
        for fields in (
            {"words": ("berlin",)},
            {"number": "555"},
            {"person": "ana"},
            {"team": 0, "action": ACTIONS[0]},
        ):
            check(record, **fields)

    def test_is_undone_with_the_event_that_filled_the_lot(self, record):
        before = self.everything(), AuditHead.objects.values()[0]
        with transaction.atomic():
            for _ in range(filing.LOT):
                audit.record("test.done", actor=factories.SYSTEM, note="Berlin")
            transaction.set_rollback(True)
        assert (self.everything(), AuditHead.objects.values()[0]) == before


def rows(cursor, table, columns):
    cursor.execute(f"SELECT {', '.join(columns)} FROM {table}")
    return sorted(cursor.fetchall(), key=str)


class TestTerms:
    @pytest.mark.parametrize(
        "text, found",
        [
            ("Zoë & ZOË", ["zoe"]),
            ("Straße, STRASSE", ["strasse"]),
            ("a_b c-d e.f", ["a", "b", "c", "d", "e", "f"]),
            ("４７１１ ① ﬁne", ["1", "4711", "fine"]),
            ("", []),
            ("… — !", []),
            ("x" * 50, ["x" * 40]),
            ("Ελλάδα Москва 東京", ["ελλαδα", "москва", "東京"]),
        ],
    )
    def test_words(self, text, found):
        assert search_terms.words(text) == found

    def test_digits_of_a_number(self):
        assert search_terms.digits("+155512") == ["+155512", "155512", "55512", "5512", "512"]

    @pytest.mark.parametrize("prefix", ["a", "z", "9", "+4", "東", "straß"])
    def test_what_comes_after_a_prefix(self, prefix):
        assert prefix < f"{prefix}\U0010fffe" < search_terms.after(prefix)

    def test_no_event_has_too_many(self):
        assert len(search_terms.words(" ".join(str(n) for n in range(5000)))) == search_terms.MOST_WORDS


class TestQueries:
    """True at any size: no query counts, skips or reads all events."""

    WANTED = {
        "everything": {},
        "a person": {"person": "ana"},
        "an action": {"action": "key.tested"},
        "a team": {"team": 1},
        "a person and an action": {"person": "ana", "action": "key.tested"},
        "a team and a person": {"person": "ana", "team": 1},
        "a team and an action": {"action": "key.tested", "team": 1},
        "all three": {"person": "ana", "action": "key.tested", "team": 1},
        "all three and dates": {
            "person": "ana",
            "action": "key.tested",
            "team": 1,
            "since": BEGIN,
            "until": BEGIN + timedelta(days=9),
        },
        "a request": {"request": 1},
        "a request and a person": {"request": 1, "person": "ana"},
        "a click": {"click": "x"},
        "a part of a number": {"number": "555"},
        "the beginning of a number": {"number": "+49"},
        "a part of a number and a person": {"number": "555", "person": "ana"},
        "a word": {"words": ("berlin",)},
        "two words": {"words": ("berlin", "pilot")},
        "a word, a number and a team": {"words": ("berlin",), "number": "555", "team": 1},
        "a word in a request": {"words": ("berlin",), "request": 1},
    }

    @pytest.mark.parametrize("teams", [None, (1,), (1, 2, 3)], ids=["all teams", "one team", "three teams"])
    def test_stand_on_an_index(self, record, teams):
        for name, fields in self.WANTED.items():
            reader = Reader(Filter(**fields), teams=teams)
            with CaptureQueriesContext(connection) as queries:
                reader.older(100, 51)
                reader.newer(10, 51)
                list(reader.batches("e.seq", 50))
            if connection.vendor == "sqlite" and set(fields) > {"number"}:
                # Not the index of a team or a person, which may have most of the events.
                plans = [
                    plan_of(query["sql"]) for query in queries if "purchasing_auditdigits" in query["sql"]
                ]
                assert plans and all("INDEX entry_by_number (segment" in plan for plan in plans), name
            for query in queries:
                sql = query["sql"]
                assert not re.search(r"(?i)\bcount\s*\(|\boffset\b", sql), name
                if connection.vendor == "sqlite":  # its plan does not depend on the number of events
                    plan = plan_of(sql)
                    # The page found, joined to `progress`, is not a table.
                    assert not re.search(
                        r"SCAN (e(?! LEFT-JOIN)|m|purchasing_audit(event|entry|word|digits))\b", plan
                    ), (
                        name,
                        plan,
                    )


def plan_of(sql):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return "\n".join(row[3] for row in cursor.fetchall())
