"""What auditors do: filter, follow a number's story, export and open the files, have the record checked."""

import csv
import io
import json
import re

import openpyxl
import pytest
from playwright.sync_api import expect

from purchasing.audit.export import COLUMNS, NAMES
from tests.browser.steps import approve, ask_for

pytestmark = pytest.mark.browser
# Expires everybody's session, as if they had been away.
AWAY = """
import time
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
for row in Session.objects.all():
    store = SessionStore(row.session_key)
    if store.get("seen_at"):
        store["seen_at"] = int(time.time()) - 1900
        store.save()
"""


@pytest.fixture(scope="module")
def bought(desk, browser):
    """A request for two numbers of which one is bought; its reasons look like spreadsheet formulas."""
    context = browser.new_context(base_url=desk.url)
    sam, ana = context.new_page(), browser.new_context(base_url=desk.url).new_page()
    desk.log_in(sam, "sam")
    desk.log_in(ana, "ana")
    body = desk.provider.available("NL", "local", count=2)
    address = ask_for(
        sam, body, reason='=HYPERLINK("https://x.example"); +1 desk for "Den Haag"', name="=1+1"
    )
    approve(ana, address)
    ana.goto(address)
    expect(ana.locator("#request-live [role=status]")).to_contain_text("2 Bought")
    sam.context.close()
    ana.context.close()
    return [offer["phone_number"] for offer in body["data"]]


def shown_rows(page):
    """The rows of all pages of the table: `[(number of the event, who, team)]`."""
    found = []
    while True:
        for row in page.locator("table tbody tr").all():
            cells = row.locator("th, td").all_inner_texts()
            found.append((cells[0], cells[2].split(" ")[0], cells[6]))
        older = page.get_by_role("link", name="Older")
        if not older.count():
            return found
        older.click()


def downloaded(page, name):
    """The bytes of the file behind a link of the page."""
    with page.expect_download() as download:
        page.get_by_role("link", name=name, exact=True).click()
    return download.value.path().read_bytes()


@pytest.mark.parametrize("javascript", [True, False], ids=["", "without JavaScript"])
def test_filter_follow_export_and_open_the_files(desk, new_page, bought, javascript):
    page = desk.log_in(new_page(javascript=javascript), "ida")
    page.goto("/audit/")
    page.get_by_label("Phone number").fill(bought[0][-6:])
    page.get_by_text("Who, what, team, request, dates").click()
    page.get_by_label("Team").select_option(label="Support")
    page.get_by_label("From").fill("2020-01-01")
    page.get_by_role("button", name="Show").click()
    assert f"number={bought[0][-6:]}" in page.url and "team=support" in page.url
    expect(page.get_by_text("Filter: number")).to_be_visible()

    there = page.url
    page.locator("table a.phone-number").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("The story of")
    expect(page.get_by_text("=HYPERLINK").first).to_be_visible()
    assert page.locator("table tbody tr").count() >= 6
    page.locator("table tbody tr", has_text="Bought").get_by_role("link").click()
    expect(page.get_by_role("heading", name="What IdentityCall answered")).to_be_visible()

    page.goto(there)
    shown = shown_rows(page)
    assert len(shown) >= 5
    page.goto(there)
    lines = downloaded(page, "JSON Lines").decode().splitlines()
    events = [json.loads(line) for line in lines[1:]]
    assert [(str(e["seq"]), e["actor_name"], e["team_name"]) for e in events] == shown
    wanted = [[as_text(event[name]) for name in NAMES] for event in events]

    about, titles, *rows = csv.reader(io.StringIO(downloaded(page, "CSV").decode("utf-8-sig"), newline=""))
    assert about[2].startswith("Filter: number") and titles == [title for title, _, _ in COLUMNS]
    assert [[without_apostrophe(cell) for cell in row] for row in rows] == wanted
    runs = [cell for row in rows for cell in row if cell[:1] in ("=", "+", "-", "@")]
    assert runs == []

    book = openpyxl.load_workbook(io.BytesIO(downloaded(page, "Excel (XLSX)")))
    sheet = [[cell.value or "" for cell in row] for row in book["Events"].iter_rows()]
    assert {cell.data_type for row in book["Events"].iter_rows(min_row=3) for cell in row if cell.value} == {
        "s"
    }
    assert (sheet[1], sheet[2:]) == (titles, wanted)


def as_text(value):
    """A JSON value as a spreadsheet shows it."""
    return "" if value is None else json.dumps(value) if isinstance(value, dict) else str(value)


def without_apostrophe(cell):
    return re.sub(r"([;\t\r\n][\s\"]*)'([=+\-@])", r"\1\2", cell.removeprefix("'"))


def test_the_whole_record_is_checked_while_somebody_watches(desk, new_page, bought):
    page = desk.log_in(new_page(), "ida")
    page.goto("/audit/proof/")
    page.get_by_role("button", name="Check the whole record").click()
    expect(page.locator("#checks .badge.ok").first).to_have_text("Whole")
    assert not page.locator("#checks progress").count()


def test_a_page_whose_session_has_expired_keeps_what_is_typed_and_sends_it(desk, new_page):
    page = desk.log_in(new_page(), "sam")
    address = ask_for(page, desk.provider.available("BE", "local", count=1))
    page.goto(address)
    reason = page.locator("#cancel-request textarea")
    reason.fill("Two of them\nare too many")
    desk.manage("shell", "-c", AWAY)
    desk._cookies.clear()  # nobody else is logged in any more
    expect(page.get_by_text("Your session expired, so this page is no longer updated.")).to_be_visible()
    expect(reason).to_have_value("Two of them\nare too many")

    page.locator("#cancel-request button[type=submit]").click()
    page.locator("input[name=username]").fill("sam")
    page.locator("input[name=password]").fill("numberdesk")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Not sent yet")).to_be_visible()
    expect(page.get_by_text("are too many")).to_be_visible()
    page.get_by_role("button", name="Send it now").click()
    expect(page.get_by_text(re.compile("Cancelled|cancelled")).first).to_be_visible()
