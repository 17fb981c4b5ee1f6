"""What people do on the pages, step by step."""

import json
import re

from playwright.sync_api import expect

from purchasing.words import phone


def paste(page, text):
    """Paste a text and have it checked. Leaves the page with the verdicts, or with the errors, open."""
    page.goto("/paste/")
    page.get_by_label("Numbers you want").fill(text)
    page.get_by_role("button", name="Check these numbers").click()


def pick(page, phone_numbers):
    """Tick exactly these on the page with the verdicts, and go on to the form."""
    expect(page.get_by_role("button", name=re.compile("^Continue with"))).to_be_enabled()
    for box in page.locator("input[name=pick]").all():
        box.set_checked(box.get_attribute("value") in phone_numbers)
    page.get_by_role("button", name=re.compile("^Continue with")).click()


def fill_request(page, *, reason="For the new help desk", name="Help desk", team="Support"):
    """Fill in the form for the picked numbers and send it; returns the address of the request."""
    expect(page.get_by_role("heading", name="Request purchase", level=1)).to_be_visible()
    page.get_by_label("Team", exact=True).select_option(label=team)
    page.get_by_label("Reason").fill(reason)
    for row, field in enumerate(page.get_by_label(re.compile("^Name of")).all(), start=1):
        field.fill(f"{name} {row}")
    page.get_by_role("button", name="Request purchase").click()
    expect(page.get_by_text("Sent. Nothing is bought until somebody else approves it.")).to_be_visible()
    return page.url


def ask_for(page, body, **form):
    """All the way from the provider's JSON `body` to a request for its numbers; returns its address."""
    paste(page, json.dumps(body))
    pick(page, [offer["phone_number"] for offer in body["data"]])
    return fill_request(page, **form)


def comes_to(page, address, words):
    """Reload the page of a request until it shows this status, which is faster than waiting for the next poll."""
    for _ in range(200):
        page.goto(address)
        if page.locator("#request-live [role=status]").first.inner_text().split() == words.split():
            return
        page.wait_for_timeout(100)
    expect(page.locator("#request-live [role=status]").first).to_have_text(words)


def tick(page, phone_numbers):
    """Tick exactly these in the decision form of the page."""
    for row in page.locator("form[id^=decision] tbody tr").all():
        row.locator("input[name=purchase]").set_checked(
            any(phone(number) in row.inner_text() for number in phone_numbers)
        )


def approve(page, address):
    """Approve all numbers of the request at `address`."""
    page.goto(address)
    page.get_by_role("button", name=re.compile("^Approve")).click()
    expect(page.get_by_text(re.compile(r"^\d+ numbers? approved\.$"))).to_be_visible()
