"""The main job in a real browser: from a pasted number to a purchased one."""

import json
import re

import pytest
from playwright.sync_api import expect

from purchasing.words import phone
from tests.browser.steps import approve, ask_for, fill_request, paste, pick

pytestmark = pytest.mark.browser
SOON = 40_000  # milliseconds: the page of a pending request polls every 5 seconds
STEPS = ["Waiting for approval", "Approved, queued", "Buying now", "Bought"]


def bought(desk, before):
    """The phone numbers of the ledger's lines after the first `before`."""
    return sorted(line["phone_number"] for line in desk.provider.ledger()[before:])


def test_from_the_pasted_answer_of_the_search_to_bought_numbers(desk, new_page):
    ledger = len(desk.provider.ledger())
    offered = desk.provider.available("DE", "local")
    wanted = sorted(offer["phone_number"] for offer in offered["data"][3:5])
    sam, ana, ida = new_page(), new_page(), new_page()
    desk.log_in(sam, "sam")
    desk.log_in(ana, "ana")
    desk.log_in(ida, "ida")

    paste(sam, json.dumps(offered))
    expect(sam.get_by_text(f"{len(offered['data'])} numbers can be requested")).to_be_visible()
    pick(sam, wanted)
    address = fill_request(sam)
    sam.evaluate("document.body.dataset.sameDocument = 'yes'")
    loads = []
    sam.on("framenavigated", lambda frame: loads.append(frame.url))

    ana.goto("/approvals/")
    one = ana.locator("article", has_text=phone(wanted[0]))
    expect(one).to_contain_text(phone(wanted[1]))
    one.get_by_role("button", name=re.compile(r"^Approve 2 numbers, \d+\.\d\d USD a month$")).click()
    expect(ana.get_by_text("2 numbers approved.")).to_be_visible()

    expect(sam.locator("#request-live [role=status]")).to_have_text("2 Bought", timeout=SOON)
    for number in wanted:
        expect(sam.locator("#request-live tr", has_text=phone(number)).locator(".badge")).to_have_text(
            "Bought"
        )
    assert loads == []
    assert sam.evaluate("document.body.dataset.sameDocument") == "yes"

    assert bought(desk, ledger) == wanted
    posts = desk.provider.counters()["purchase_posts"]
    assert [posts[number] for number in wanted] == [1, 1]

    ida.goto("/audit/")
    for number in wanted:
        rows = ida.locator("tbody tr", has_text=phone(number))
        told = rows.locator(".badge").all_inner_texts()
        assert told[::-1] == STEPS
        assert rows.locator("[data-label=Who]").all_inner_texts()[::-1][:4] == [
            "sam requester",
            "ana approver",
            "worker system",
            "worker system",
        ]
    title = sam.get_by_role("heading", level=1).inner_text()
    asked = ida.locator("tbody tr", has_text="sent this request")
    expect(asked.filter(has_text=title)).to_contain_text("For the new help desk")
    assert "whole" in desk.manage("verify_audit")
    assert sam.url == address


def test_the_same_way_without_javascript(desk, new_page):
    ledger = len(desk.provider.ledger())
    offered = desk.provider.available("GB", "mobile", count=3)
    wanted = sorted(offer["phone_number"] for offer in offered["data"][:2])
    sam, ana = new_page(javascript=False), new_page(javascript=False)
    desk.log_in(sam, "sam")
    desk.log_in(ana, "ana")

    paste(sam, json.dumps(offered))
    pick(sam, wanted)
    address = fill_request(sam, reason="Without scripts")
    approve(ana, address)

    for _ in range(40):
        sam.reload()
        status = sam.locator("#request-live [role=status]").inner_text().strip()
        if status == "2 Bought":
            break
        sam.wait_for_timeout(250)
    assert status == "2 Bought"
    assert bought(desk, ledger) == wanted


def test_a_rejection_and_its_reason_reach_the_page_that_is_open(desk, new_page):
    ledger = len(desk.provider.ledger())
    sam, ana = new_page(), new_page()
    desk.log_in(sam, "sam")
    desk.log_in(ana, "ana")
    address = ask_for(sam, desk.provider.available("NL", "local", count=1))

    ana.goto(address)
    ana.get_by_role("button", name="Reject 1 number").click()
    expect(ana.get_by_text("Enter why you reject. The requester reads this.").first).to_be_visible()
    ana.get_by_label("Reason (needed to reject)").fill("We have enough lines there.")
    ana.get_by_role("button", name="Reject 1 number").click()

    expect(sam.locator("#request-live [role=status]")).to_have_text("1 Rejected", timeout=SOON)
    expect(sam.locator("#request-live table")).to_contain_text("We have enough lines there.")
    assert bought(desk, ledger) == []


def test_an_answer_that_is_lost_ends_as_bought_once(desk, new_page):
    ledger = len(desk.provider.ledger())
    offered = desk.provider.available("SE", "mobile", ends="993")
    sam, ana = new_page(), new_page()
    desk.log_in(sam, "sam")
    desk.log_in(ana, "ana")
    approve(ana, ask_for(sam, offered))

    expect(sam.locator("#request-live [role=status]")).to_have_text("1 Bought", timeout=SOON)
    expect(sam.locator(".timeline")).to_contain_text("nobody knows yet whether")
    assert bought(desk, ledger) == [offered["data"][0]["phone_number"]]


def test_approving_with_the_keyboard_alone(desk, new_page):
    sam, ana = new_page(), new_page()
    desk.log_in(sam, "sam")
    address = ask_for(sam, desk.provider.available("AT", "local", count=1))

    ana.goto("/accounts/login/?next=" + address.removeprefix(desk.url))
    to(ana, "input[name=username]")
    ana.keyboard.type("ana")
    ana.keyboard.press("Tab")
    ana.keyboard.type("numberdesk")
    ana.keyboard.press("Enter")
    expect(ana.get_by_role("heading", name=re.compile("^Request"), level=1)).to_be_visible()
    to(ana, "button[data-tally^=Approve]")
    assert ana.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    ana.keyboard.press("Enter")

    expect(ana.get_by_text("1 number approved.")).to_be_visible()
    expect(sam.locator("#request-live [role=status]")).to_have_text("1 Bought", timeout=SOON)


def to(page, selector):
    """Press Tab until the element has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab never came to {selector}")
