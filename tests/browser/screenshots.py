"""`make screenshots`: pictures of the main pages of a running Number Desk, in docs/, for README."""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from dashboard.run import BASE_DIR
from tests.browser import chromium
from tests.browser.conftest import launch
from tests.browser.desk import Desk
from tests.browser.steps import approve, ask_for

DOCS = BASE_DIR / "docs"
SETTINGS = {"RATE_LIMIT_PER_MINUTE": "600"}
BUDGET = """
from purchasing.models import Team
Team.objects.filter(name="Support").update(monthly_budget=60)
"""
REASON = "The help desk in Vienna opens on Monday: one line for each desk, one for the night shift."


def main():
    """Start everything from scratch, act as the people do, and take the pictures."""
    try:
        path = chromium.get()
    except chromium.NoChromium as problem:
        return str(problem)
    (DOCS / "screenshots").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        desk = Desk(Path(folder), seed=(), settings=SETTINGS)
        browser = launch(playwright, path)
        try:
            take_all(desk, browser)
        finally:
            browser.close()
            desk.stop()
    return 0


def take_all(desk, browser):
    """Every picture, in an order where each step prepares the next."""

    def person(username, width=1280, height=800):
        viewport = {"width": width, "height": height}
        context = browser.new_context(base_url=desk.url, viewport=viewport, color_scheme="light")
        return desk.log_in(context.new_page(), username)

    desk.seed(BUDGET)
    sam, ana = person("sam", height=1040), person("ana", height=900)
    address = ask_for(sam, mixed(desk), reason=REASON, name="Vienna")
    ana.goto("/approvals/")
    ana.locator("article", has_text=REASON).locator(".verdict.ok").nth(
        5
    ).wait_for()  # all prices are confirmed
    take(ana, "screenshots/approvals.png")

    phone = person("ana", width=375)
    take(phone, "screenshots/decision-on-a-phone.png", address)
    approve(phone, address)
    for _ in range(200):  # until one is bought, one is in progress, and one is unconfirmed
        sam.goto(address)
        shown = sam.locator("#request-live [role=status]").inner_text()
        if all(words in shown for words in ("Buying now", "Bought", "Checking")):
            break
        sam.wait_for_timeout(100)
    take(sam, "screenshot.png")
    take(person("ida"), "screenshots/audit.png", "/audit/")


def mixed(desk):
    """Offers with every outcome: bought, refused, answer lost, slow, and one queued behind it."""
    offers = desk.provider.available("AT", "local", count=6)
    offers["data"].sort(key=lambda offer: offer["phone_number"])
    refused, lost, slow = (offers["data"][place]["phone_number"] for place in (2, 3, 4))
    desk.provider.set_fault("declined", phone_number=refused, text=f"{refused} is no longer available")
    desk.provider.set_fault("close_after", phone_number=lost)
    desk.provider.set_fault("slow_after", phone_number=slow, seconds=20)
    return offers


def take(page, name, address=None):
    """Write one picture of what is on the screen, or of the page at `address`."""
    if address:
        page.goto(address)
    page.screenshot(path=DOCS / name)
    print(f"docs/{name}")


if __name__ == "__main__":
    sys.exit(main())
