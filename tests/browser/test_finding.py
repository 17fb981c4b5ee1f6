"""Finding, pasting and dropping files in a real browser, up to the request."""

import base64
import io
import re

import pytest
from openpyxl import Workbook
from playwright.sync_api import expect

from purchasing.words import phone
from tests.browser.steps import paste

pytestmark = pytest.mark.browser


class Interactions:
    """A person who counts every click, and every field that they fill in."""

    def __init__(self, page):
        self.page, self.count = page, 0

    def click(self, role, name):
        self.page.get_by_role(role, name=name).first.click()
        self.count += 1

    def fill(self, label, text):
        self.page.get_by_label(label).first.fill(text)
        self.count += 1


def numbers(desk, *shelf, count):
    return [offer["phone_number"] for offer in desk.provider.available(*shelf, count=count)["data"]]


def test_three_pasted_numbers_are_asked_for_in_at_most_eight_interactions(desk, new_page):
    page = desk.log_in(new_page(), "sam")
    sam = Interactions(page)
    sam.click("link", "Paste numbers")
    sam.fill("Numbers you want", "\n".join(numbers(desk, "BE", "local", count=3)))
    sam.click("button", "Check these numbers")
    sam.click("button", re.compile("^Continue with"))
    sam.fill("Reason", "Three colleagues start in Brussels")
    sam.click("button", "Request purchase")
    expect(page.get_by_text("Sent. Nothing is bought until somebody else approves it.")).to_be_visible()
    assert sam.count <= 8


def test_cells_of_a_spreadsheet_are_pasted_from_the_clipboard(desk, new_page):
    wanted = numbers(desk, "CH", "local", count=2)
    page = desk.log_in(new_page(), "sam")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=desk.url)
    page.goto("/paste/")
    cells = f"Rufnummer\tLand\tBezeichnung\r\n{phone(wanted[0])}\tSchweiz\tEmpfang\r\n{wanted[1][1:]}\tCH\tLager\r\n"
    page.evaluate("text => navigator.clipboard.writeText(text)", cells)
    page.get_by_label("Numbers you want").focus()
    page.keyboard.press("Control+V")
    page.get_by_role("button", name="Check these numbers").click()
    expect(page.get_by_role("heading", name=re.compile("2 numbers can be requested"))).to_be_visible()
    for number, name in zip(wanted, ("Empfang", "Lager"), strict=True):
        expect(page.get_by_role("row").filter(has_text=phone(number))).to_contain_text(name)
    # Offers appear on the open page without changing the ticks.
    row = page.get_by_role("row").filter(has_text=phone(wanted[0]))
    row.get_by_role("checkbox").uncheck()
    expect(row).to_contain_text(re.compile(r"Offered now: \d+\.\d\d USD once"))
    expect(row.get_by_role("checkbox")).not_to_be_checked()


def test_a_workbook_is_dropped(desk, new_page):
    wanted = numbers(desk, "NO", "local", count=2)
    book = Workbook()
    for row in (["Phone", "Country"], [wanted[0], "Norway"], [int(wanted[1][1:]), "NO"], ["total", 2]):
        book.active.append(row)
    held = io.BytesIO()
    book.save(held)
    page = desk.log_in(new_page(), "sam")
    page.goto("/paste/")
    dropped = page.evaluate_handle(
        """content => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const files = new DataTransfer();
            files.items.add(new File([bytes], "new numbers.xlsx"));
            return files;
        }""",
        base64.b64encode(held.getvalue()).decode(),
    )
    page.get_by_label("Numbers you want").dispatch_event("drop", {"dataTransfer": dropped})
    page.get_by_role("button", name="Check these numbers").click()
    expect(
        page.get_by_role("heading", name=re.compile("new numbers.xlsx: .*2 numbers can be"))
    ).to_be_visible()
    for number in wanted:
        expect(page.get_by_role("row").filter(has_text=phone(number))).to_contain_text("Can be requested")


def test_500_offers_are_searched_narrowed_down_and_picked_with_the_keyboard_alone(desk, new_page):
    page = desk.log_in(new_page(), "sam")
    page.keyboard.press("Tab")  # to the link that skips the menu
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    tab_to(page, "link", "Find numbers")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Find numbers", level=1)).to_be_visible()
    tab_to(page, "combobox", "Country")
    page.keyboard.type("United States")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("^50[0-9] of 50[0-9] local numbers"))).to_be_visible()
    tab_to(page, "textbox", "Digits")
    page.keyboard.type("+1212*")
    found = page.get_by_role("heading", name=re.compile(r"^\d{1,3} of 50[0-9] local numbers"))
    expect(page.locator("#offers tbody tr").first).to_contain_text("+1 212-")
    expect(page.locator("#offers tbody tr", has_not_text="+1 212-")).to_have_count(0)
    expect(found).to_be_visible()
    number = page.locator("#offers input[name=pick]").first.get_attribute("value")
    tab_to(page, "checkbox", re.compile(f"^Pick {re.escape(phone(number))}"))
    page.keyboard.press("Space")
    expect(page.locator("#basket")).to_contain_text("1 number in the basket")
    page.reload()  # the basket survives a reload
    expect(page.locator("#basket")).to_contain_text("1 number in the basket")
    expect(page.locator(f"input[value='{number}'][name=pick]")).to_be_checked()
    page.get_by_role("button", name="Empty the basket").click()


def test_20_numbers_are_picked_named_by_a_pattern_and_asked_for(desk, new_page):
    page = desk.log_in(new_page(), "sam")
    page.goto("/find/?country=FI&number_type=mobile")
    plain = page.locator("#offers tbody tr").filter(has_text="Finland")
    for row in range(20):
        plain.nth(row).get_by_role("checkbox").check()
    expect(page.locator("#basket")).to_contain_text("20 numbers in the basket")
    page.locator("#basket").get_by_role("link", name="Request purchase").click()
    page.get_by_label("Name them with a pattern").press_sequentially("{country} {type} {n}")
    expect(page.locator("#names")).to_contain_text("Finland mobile 1, Finland mobile 2")
    expect(page.locator("#names")).to_contain_text("and 15 more")
    page.get_by_label("Reason").fill("The new office in Helsinki")
    page.get_by_role("button", name="Name all 20").click()
    fields = page.get_by_label(re.compile("^Name of"))
    expect(fields.nth(19)).to_have_value("Finland mobile 20")
    expect(page.get_by_label("Reason")).to_have_value("The new office in Helsinki")
    page.get_by_role("button", name="Request purchase").click()
    expect(page.get_by_text("Sent. Nothing is bought until somebody else approves it.")).to_be_visible()
    expect(page.locator("#request-live tbody tr")).to_have_count(20)


def test_what_was_typed_is_there_after_going_away(desk, new_page):
    page = desk.log_in(new_page(javascript=False), "sam")
    paste(page, numbers(desk, "DK", "mobile", count=1)[0])
    page.get_by_role("button", name=re.compile("^Continue with")).last.click()
    page.get_by_label("Reason").fill("Not sure yet")
    page.get_by_role("button", name="Keep for later").click()
    page.get_by_role("link", name=re.compile("Not sure yet")).click()
    expect(page.get_by_label("Reason")).to_have_value("Not sure yet")
    page.goto("/requests/")
    page.get_by_role("button", name=re.compile("^Discard")).first.click()
    expect(page.get_by_text("Draft discarded.")).to_be_visible()


def tab_to(page, role, name):
    """Press Tab until the element of this role and name has the focus."""
    wanted = page.get_by_role(role, name=name).first
    wanted.wait_for()
    for _ in range(150):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to {role} {name}")
