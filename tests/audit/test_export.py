"""Exports contain exactly the filtered events, row by row, and are recorded."""

import csv
import io
import json
import re
import subprocess
import sys
from datetime import UTC

import openpyxl
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from purchasing import audit, pasting, words
from purchasing.audit import export
from purchasing.audit.search import Filter, Reader
from purchasing.models import AuditEvent, AuditHead
from tests import factories
from tests.audit.test_events import KEY

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NASTY = [
    "=1+1",
    "+1 for all",
    "x;=cmd|'/C calc'!A0",
    'a "quoted", text',
    "two\nlines\ttab",
    "@me",
    "'already",
    "Zoë ☎",
]
NUMBERS = ["+12125550101", "+4930123456", "+442079460018"]


@pytest.fixture
def ida(db):
    return factories.auditor()


@pytest.fixture
def record(team, sam, ana):
    """A request, decisions, and reasons that a spreadsheet would run as formulas."""
    asked = factories.request(team, sam, NUMBERS)
    factories.approve(asked, ana)
    for note in NASTY:
        audit.record(
            "test.done", actor=factories.actor(ana), purchase=asked.purchases.first(), note=note, name=note
        )
    sales = factories.team("Sales", key=None)
    audit.record("test.done", actor=factories.SYSTEM, team=sales, note="of another team")
    return asked


def expected(events, *, with_ip=True):
    """The expected rows of an export of these events: dicts, made from the events alone.

    Without addresses there are no hashes either: a hash and the rest of an event reveal the address.
    """
    return [
        {
            "seq": event.seq,
            "at": event.at.astimezone(UTC).isoformat(timespec="microseconds"),
            "actor_name": event.actor_name,
            "actor_role": event.actor_role,
            "on_behalf_of": event.on_behalf_of,
            "what": words.action_in_words(event.action),
            "phone_number": event.phone_number,
            "was": event.was,
            "became": event.became,
            "note": event.note,
            "team_name": event.team.name if event.team else None,
            "request": event.request_id,
            "action": event.action,
            "data": event.data,
            "ip": event.ip if with_ip else "",
            "click": event.click,
            "actor": event.actor_id,
            "team": event.team_id,
            "purchase": event.purchase_id,
            "attempt": event.attempt_id,
            "previous_hash": event.previous_hash if with_ip else "",
            "hash": event.hash if with_ip else "",
        }
        for event in events
    ]


def as_texts(rows):
    """The same rows as a spreadsheet holds them."""
    return [
        [
            json.dumps(value) if isinstance(value, dict) else "" if value is None else str(value)
            for value in row.values()
        ]
        for row in rows
    ]


def got(response):
    """The bytes of a response."""
    return b"".join(response.streaming_content)


def bare(cell):
    """The original text of a cell of our CSV."""
    return re.sub(r"([;\t\r\n][\s\"]*)'([=+\-@])", r"\1\2", cell.removeprefix("'"))


def details(row):
    """Compare details by value: each database formats JSON in its own way."""
    place = export.NAMES.index("data")
    return [*row[:place], json.loads(row[place]), *row[place + 1 :]]


QUERIES = {
    "": lambda event: True,
    "person=ana": lambda event: event.actor_name == "ana",
    "action=purchase.pending": lambda event: event.action == "purchase.pending",
    "outcome=approved&team=support": lambda event: event.action == "purchase.approved",
    "number=0018": lambda event: "0018" in event.phone_number,
    "q=desks": lambda event: "desks" in event.note.lower(),
    "q=nosuchword": lambda event: False,
    "since=2000-01-01&until=2000-01-02": lambda event: False,
    "since=2000-01-01": lambda event: True,
}


class TestWhatIsExported:
    @pytest.mark.parametrize("query", QUERIES)
    def test_is_exactly_what_is_filtered_row_by_row_in_every_format(self, client, record, ida, query):
        client.force_login(ida)
        wanted = [event for event in AuditEvent.objects.order_by("-seq") if QUERIES[query](event)]
        rows = expected(wanted)

        [_, *lines] = got(client.get(f"/audit/export.jsonl?{query}")).decode().splitlines()
        new = len(AuditEvent.objects.filter(action="audit.exported"))
        assert [json.loads(line) for line in lines] == rows

        text = got(client.get(f"/audit/export.csv?{query}")).decode("utf-8-sig")
        _, titles, *cells = csv.reader(io.StringIO(text, newline=""))
        rows_but_exports = [row for row in cells if row[export.NAMES.index("action")] != "audit.exported"]
        assert titles == [title for title, _, _ in export.COLUMNS]
        assert [details([bare(cell) for cell in row]) for row in rows_but_exports] == [
            details(row) for row in as_texts(rows)
        ]

        book = openpyxl.load_workbook(io.BytesIO(got(client.get(f"/audit/export.xlsx?{query}"))))
        _, titles, *cells = [[cell.value or "" for cell in row] for row in book["Events"].iter_rows()]
        rows_but_exports = [row for row in cells if row[export.NAMES.index("action")] != "audit.exported"]
        assert titles == [title for title, _, _ in export.COLUMNS]
        assert [details(row) for row in rows_but_exports] == [details(row) for row in as_texts(rows)]
        assert new == 1

    def test_is_what_stands_on_the_pages(self, client, record, ida, monkeypatch):
        monkeypatch.setattr("purchasing.views.audit.PAGE", 4)
        client.force_login(ida)
        shown, address = [], "/audit/?person=ana"
        while address:
            page = client.get(address)
            shown += [event.seq for event in page.context["events"]]
            address = page.context["links"].get("older")
        lines = got(client.get("/audit/export.jsonl?person=ana")).decode().splitlines()[1:]
        assert [json.loads(line)["seq"] for line in lines] == shown and len(shown) > 8

    def test_is_in_pieces_however_much_it_is(self, record, monkeypatch):
        monkeypatch.setattr(export, "SIZE", 5)
        head = AuditHead.objects.get().seq
        pieces = list(begin("csv"))
        assert len(pieces) == 1 + -(-head // 5)
        assert "".join(pieces).count("test.done") == len(NASTY) + 1

    def test_the_head_leaves_before_an_event_is_read(self, record, django_assert_num_queries):
        pieces = begin("csv")
        with django_assert_num_queries(0):
            assert next(iter(pieces)).startswith("\ufeff")

    def test_has_nothing_that_comes_later(self, record):
        pieces = begin("jsonl")
        head = next(pieces)
        audit.record("test.late", actor=factories.SYSTEM)
        assert "test.late" not in "".join(pieces) and f"event {AuditHead.objects.get().seq - 2}," in head

    def test_holds_what_the_hash_of_an_event_is_made_of(self, record):
        for line in "".join(begin("jsonl")).splitlines()[1:]:
            event = json.loads(line)
            values = [event[name] for name in audit.chain.CONTENT]
            assert audit.chain.fingerprint_of(values, event["data"]) == event["hash"]


def begin(kind, **fields):
    return export.begin(
        kind, reader=Reader(Filter(**fields)), filtered="everything", actor=factories.SYSTEM, sees_all=True
    )


class TestTheFirstLine:
    def test_says_whose_it_is_of_what_and_where_the_chain_stands(self, client, record, ida):
        audit.seal(actor=factories.SYSTEM)
        head = AuditHead.objects.get()
        client.force_login(ida)
        text = got(client.get("/audit/export.csv?person=ana&team=support&until=2199-01-01")).decode(
            "utf-8-sig"
        )
        line = next(csv.reader(io.StringIO(text)))
        assert line[0] == "Number Desk: events of the audit record"
        assert re.fullmatch(r"Exported: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC by ida", line[1])
        assert line[2] == "Filter: who ana; team Support; to 1 January 2199"
        assert line[3] == f"Head of the chain: event {head.seq}, {head.hash}"
        assert line[4].startswith("Newest seal: seal 1 of ") and "signature" in line[4]

    def test_says_that_there_is_no_seal_yet(self, record):
        assert json.loads(next(begin("jsonl")))["Newest seal"] == "none yet"

    def test_is_harmless_itself(self, client, record, ida):
        client.force_login(ida)
        text = got(client.get("/audit/export.csv", {"q": "cost;=SUM"})).decode("utf-8-sig")
        assert "Filter: words “cost;'=SUM”" in text


class TestTheRecordSaysSo:
    def test_who_exported_what_and_as_what(self, client, record, ida):
        client.force_login(ida)
        got(client.get("/audit/export.xlsx?person=ana"))
        event = AuditEvent.objects.latest("seq")
        assert (event.action, event.actor_name, event.actor_role) == ("audit.exported", "ida", "auditor")
        assert event.data == {"format": "xlsx", "filter": "who ana", "head": event.seq - 1}

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Sec-Purpose": "prefetch"},
        ],
    )
    def test_nothing_is_exported_by_a_link_elsewhere_or_a_guess_of_the_browser(
        self, client, record, ida, headers
    ):
        client.force_login(ida)
        before = AuditHead.objects.get().seq
        response = client.get("/audit/export.csv?person=ana", headers=headers)
        assert (response.status_code, response["Location"]) == (302, "/audit/?person=ana")
        assert client.head("/audit/export.csv").status_code == 302
        assert AuditHead.objects.get().seq == before

    def test_a_filter_that_is_wrong_exports_nothing(self, client, record, ida):
        client.force_login(ida)
        response = client.get("/audit/export.csv?number=x", follow=True)
        assert "A phone number has no letters." in response.content.decode()
        assert not AuditEvent.objects.filter(action="audit.exported").exists()


class TestWhoMay:
    def test_the_page_of_an_event_shows_hashes_only_to_who_sees_addresses(self, client, record, sam):
        event = AuditEvent.objects.filter(team=record.team).latest("seq")
        for person, shown in ((sam, False), (factories.auditor(), True)):
            client.force_login(person)
            page = client.get(f"/audit/{event.seq}/").content.decode()
            assert ((event.hash in page), (event.previous_hash in page)) == (shown, shown)

    def test_who_is_no_auditor_gets_what_their_teams_did_and_no_addresses(self, client, record, sam):
        audit.record("test.done", actor=audit.Actor.person(sam, ip="10.1.2.3"), team=record.team)
        client.force_login(sam)
        lines = got(client.get("/audit/export.jsonl")).decode().splitlines()[1:]
        wanted = AuditEvent.objects.filter(team=record.team).order_by("-seq")
        assert [json.loads(line) for line in lines] == expected(wanted, with_ip=False)
        assert "10.1.2.3" not in "".join(lines)

    @pytest.mark.parametrize("kind", export.FORMATS)
    def test_somebody_in_no_team_gets_an_empty_file(self, client, record, django_user_model, kind):
        client.force_login(django_user_model.objects.create(username="new"))
        assert b"purchase" not in got(client.get(f"/audit/export.{kind}"))

    def test_another_team_cannot_be_asked_for(self, client, record, sam):
        client.force_login(sam)
        assert client.get("/audit/export.csv?team=sales").status_code == 302


class TestSecretsAndImport:
    def test_no_key_is_in_an_export(self, record, ana):
        audit.record("test.done", actor=factories.actor(ana), note=KEY, name=KEY)
        for kind in ("csv", "jsonl"):
            assert KEY[4:] not in "".join(begin(kind))

    def test_what_was_exported_can_be_pasted_again(self, record):
        text = "".join(begin("csv", action="purchase.pending"))
        pasted = pasting.read(text)
        assert {candidate.phone_number for candidate in pasted.candidates} == set(NUMBERS)


class TestTheCommand:
    @pytest.mark.parametrize("kind", export.FORMATS)
    def test_writes_a_new_file_of_the_kind_that_its_name_says(self, record, tmp_path, kind, capsys):
        file = tmp_path / f"events.{kind}"
        call_command("export_audit", str(file), person="ana")
        data = file.read_bytes()
        assert (b"PK" in data[:4]) == (kind == "xlsx")
        assert file.stat().st_mode & 0o777 == 0o600
        event = AuditEvent.objects.latest("seq")
        assert (event.actor_name, event.data["filter"], event.data["format"]) == (
            "command line",
            "who ana",
            kind,
        )
        assert f"Written to {file}: who ana." in capsys.readouterr().err

    def test_writes_exactly_what_the_page_exports(self, client, record, ida, tmp_path):
        client.force_login(ida)
        call_command("export_audit", str(tmp_path / "x.jsonl"), action="purchase.pending", number="555")
        page = got(client.get("/audit/export.jsonl?action=purchase.pending&number=555")).decode().splitlines()
        assert (tmp_path / "x.jsonl").read_text().splitlines()[1:] == page[1:] != []

    def test_overwrites_nothing(self, record, tmp_path):
        (tmp_path / "x.csv").write_text("precious")
        with pytest.raises(CommandError, match="An existing file is not overwritten"):
            call_command("export_audit", str(tmp_path / "x.csv"))
        assert (tmp_path / "x.csv").read_text() == "precious"

    def test_says_what_is_wrong_with_a_filter(self, record):
        with pytest.raises(CommandError) as wrong:
            call_command("export_audit", "-", number="x", since="yesterday", team="none")
        assert "--number: A phone number has no letters." in str(wrong.value)
        assert "--since: A day, such as 2026-05-31." in str(wrong.value)
        assert "--team: Choose one of the teams" in str(wrong.value)


@pytest.mark.django_db(transaction=True)
def test_the_command_as_a_process_into_a_pipe(team):
    import os

    from tests.audit.test_events import database_url

    done = subprocess.run(
        [sys.executable, "manage.py", "export_audit", "-", "--format", "jsonl"],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DATABASE_URL": database_url()},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["action"] for line in done.stdout.splitlines()[1:]] == [
        "key.stored",
        "team.created",
    ]
