"""Deciding in a real browser: part of a request, two approvers, an edit in between, a stand-in, a budget, a phone."""

import re
from decimal import Decimal

import pytest
from playwright.sync_api import expect

from purchasing.words import money, phone, plain
from tests.browser.desk import PASSWORD
from tests.browser.steps import ask_for, comes_to, tick

pytestmark = pytest.mark.browser
SOON = 40_000  # milliseconds: the page of a pending request polls every 5 seconds
# Teams for these tests only, so that their rules affect no others. pat requests in each, ana and eve approve.
TEAMS = """
import datetime
from purchasing import audit
from purchasing.teams import keys, members, teams
from purchasing.models import Membership, Team, User
system, by_name = audit.system("test"), {{user.username: user for user in User.objects.all()}}
for name, key, rules in [
    ("Open", "{open}", {{}}),
    ("Two approvals", "{two}", {{"second_approver_from": "0.01"}}),
    ("Tight", "{tight}", {{"monthly_budget": "5.00"}}),
]:
    team = teams.create_team(name, actor=system)
    keys.set_key(team, key, actor=system)
    Team.objects.filter(pk=team.pk).update(**rules)
    for person, role in [("ana", "approver"), ("tom", "admin")]:
        Membership.objects.create(user=by_name[person], team=team, role=role)
    for person, role in [("pat", "requester"), ("eve", "approver"), ("bob", "requester")]:
        members.set_member(person, role=role, password="{password}", team=team, actor=system)
"""


@pytest.fixture(scope="session")
def desk(desk):
    """The desk with three more teams, in which pat and bob ask, and eve approves as well."""
    keys = {name: desk.provider.add_key(name) for name in ("open", "two", "tight")}
    desk.seed(TEAMS.format(**keys, password=PASSWORD))
    return desk


def sums(offers):
    """What these offers cost: `(once, a month)`."""
    return [sum(Decimal(offer[name]) for offer in offers) for name in ("upfront_cost", "monthly_cost")]


def status(page):
    return page.locator("#request-live [role=status]").first


def in_view(locator):
    """Whether all of it is on the screen."""
    box, height = locator.bounding_box(), locator.page.viewport_size["height"]
    return box is not None and box["y"] >= 0 and box["y"] + box["height"] <= height


def test_some_are_approved_and_one_is_rejected(desk, new_page):
    offers = desk.provider.available("FR", "local", count=3)
    one, two, three = sorted(offers["data"], key=lambda offer: offer["phone_number"])
    pat, ana = desk.log_in(new_page(), "pat"), desk.log_in(new_page(), "ana")
    address = ask_for(pat, offers, team="Open")

    ana.goto(address)
    once, monthly = sums([one, two, three])
    approve = ana.get_by_role("button", name=re.compile("^Approve"))
    expect(approve).to_have_text(f"Approve 3 numbers, {money(monthly)} a month")
    tick(ana, [one["phone_number"], two["phone_number"]])
    once, monthly = sums([one, two])
    expect(approve).to_have_text(f"Approve 2 numbers, {money(monthly)} a month")
    expect(ana.locator(".actions")).to_contain_text(f"and {money(once)} once")
    approve.click()
    expect(ana.get_by_text("2 numbers approved.")).to_be_visible()

    ana.get_by_role("button", name="Reject 1 number").click()
    alert = ana.get_by_role("alert")
    expect(alert).to_have_text(re.compile("Reason: Enter why you reject. The requester reads this."))
    assert in_view(alert)
    assert ana.evaluate("document.activeElement.matches('article')")
    alert.get_by_role("link", name="Reason").click()
    ana.keyboard.type("Two are enough for a start.")
    ana.get_by_role("button", name="Reject 1 number").click()
    expect(ana.get_by_text("1 number rejected.")).to_be_visible()

    comes_to(pat, address, "2 Bought 1 Rejected")
    expect(pat.locator("#request-live tr", has_text=phone(three["phone_number"]))).to_contain_text(
        "Two are enough for a start."
    )
    posts = desk.provider.counters()["purchase_posts"]
    assert [posts.get(offer["phone_number"], 0) for offer in (one, two, three)] == [1, 1, 0]


def test_above_the_limit_a_second_approver_is_asked_for(desk, new_page):
    offers = desk.provider.available("BE", "local", count=1)
    pat, ana = desk.log_in(new_page(), "pat"), desk.log_in(new_page(), "ana")
    eve = desk.log_in(new_page(javascript=False), "eve")
    address = ask_for(pat, offers, team="Two approvals")

    ana.goto(address)
    expect(ana.get_by_text("Two approvals are needed")).to_be_visible()
    ana.get_by_role("button", name=re.compile("^Approve 1 number")).click()
    expect(
        ana.get_by_text("Your approval of 1 number is recorded. ana approved it; eve has to approve it too.")
    ).to_be_visible()
    expect(ana.get_by_role("heading", name="You approved 1 number")).to_be_visible()
    expect(ana.get_by_role("button", name=re.compile("^Approve"))).to_have_count(0)
    pat.goto(address)
    expect(pat.locator("#request-live")).to_contain_text("a colleague has to approve it: eve.")

    eve.goto("/approvals/")
    card = eve.locator("article", has_text=phone(offers["data"][0]["phone_number"]))
    expect(card).to_contain_text("ana approved it; eve has to approve it too.")
    card.get_by_role("button", name="Approve the ticked numbers").click()
    expect(eve.get_by_text("1 number approved.")).to_be_visible()
    comes_to(pat, address, "1 Bought")


def test_a_click_on_the_page_from_before_an_edit_decides_nothing(desk, new_page):
    offers = desk.provider.available("DK", "local", count=1)
    ledger = len(desk.provider.ledger())
    pat, wide, narrow = new_page(), new_page(), new_page(width=375, color_scheme="dark")
    for page, name in ((pat, "pat"), (wide, "ana"), (narrow, "ana")):
        desk.log_in(page, name)
    address = ask_for(pat, offers, team="Open")
    for page in (wide, narrow):
        page.goto(address)
        expect(page.get_by_role("button", name=re.compile("^Approve 1 number"))).to_be_visible()

    pat.goto(f"{address}edit/")
    pat.get_by_label(re.compile("^Name of")).fill("Another desk")
    pat.get_by_role("button", name="Save changes").click()
    expect(pat.get_by_text("Changed. Approvers see the new version")).to_be_visible()

    line = wide.locator("[id^=check-]")
    expect(line).to_contain_text("Since this page was drawn: The request was changed.", timeout=SOON)
    for page in (wide, narrow):
        page.get_by_role("button", name=re.compile("^Approve 1 number")).click()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("was changed since you opened this page. Look at it again")
        assert in_view(alert)
        expect(page.get_by_text("name was Help desk 1, is Another desk.")).to_be_visible()
    expect(status(pat)).to_have_text("1 Waiting for approval")

    narrow.get_by_role("button", name=re.compile("^Approve 1 number")).click()
    expect(narrow.get_by_text("1 number approved.")).to_be_visible()
    comes_to(pat, address, "1 Bought")
    assert len(desk.provider.ledger()) == ledger + 1


def test_a_stand_in_decides_under_both_names(desk, new_page):
    offers = desk.provider.available("NO", "local", count=1)
    number = phone(offers["data"][0]["phone_number"])
    pat, tom, bob = (desk.log_in(new_page(), name) for name in ("pat", "tom", "bob"))
    address = ask_for(pat, offers, team="Open")

    tom.goto("/teams/open/")
    today = tom.evaluate("new Date().toISOString().slice(0, 10)")
    tom.get_by_label("Approver who is away").select_option(label="ana")
    tom.get_by_label("Who decides instead").select_option(label="bob")
    for label in ("First day", "Last day"):
        tom.get_by_label(label).fill(today)
    tom.get_by_role("button", name="Name stand-in").click()
    expect(tom.get_by_text("bob decides for ana from")).to_be_visible()

    bob.goto(address)
    expect(bob.get_by_text("You stand in for ana: both names are recorded.")).to_be_visible()
    bob.get_by_role("button", name=re.compile("^Approve 1 number")).click()
    expect(bob.get_by_text("1 number approved.")).to_be_visible()

    comes_to(pat, address, "1 Bought")
    expect(pat.locator(".timeline")).to_contain_text(f"bob, standing in for ana: approved {number}")
    pat.get_by_role("link", name=number).click()
    expect(pat.locator("main")).to_contain_text("bob, standing in for ana,")


def test_more_than_the_budget_is_refused_with_the_figures(desk, new_page):
    offers = desk.provider.available("NL", "mobile", count=4)
    once, monthly = sums(offers["data"])
    too_much = once + monthly - 5
    assert too_much > 0, "these are too cheap for the test"
    pat, ana = desk.log_in(new_page(), "pat"), desk.log_in(new_page(), "ana")
    plain_ana = desk.log_in(new_page(width=375, javascript=False), "ana")
    address = ask_for(pat, offers, team="Tight")

    ana.goto(address)
    ana.locator(".verdict.ok").nth(3).wait_for()  # all prices are confirmed
    form = ana.locator("form[id^=decision]")
    expect(form).to_contain_text(f"Together, these numbers exceed the budget by {money(too_much)}.")
    expect(form).to_contain_text("Left now 5.00 USD Left after this 5.00 USD", use_inner_text=True)
    ana.get_by_label("Tick all").check()
    expect(form.locator("button").first).to_have_text(f"{plain(too_much)} USD over budget")
    expect(form.locator("button").first).to_be_disabled()
    expect(form).to_contain_text(f"already {money(too_much)} over")

    plain_ana.goto(address)
    for box in plain_ana.locator("form[id^=decision] input[name=purchase]").all():
        box.check()
    plain_ana.get_by_role("button", name="Approve the ticked numbers").click()
    alert = plain_ana.get_by_role("alert")
    expect(alert).to_contain_text(f"{money(too_much)} more than the budget of Tight allows")
    expect(alert).to_contain_text("5.00 USD a month")
    assert in_view(alert)
    expect(status(pat)).to_have_text("4 Waiting for approval")


def test_from_the_mail_to_the_decision_with_three_taps_on_a_phone(desk, new_page):
    offers = desk.provider.available("SE", "local", count=2)
    pat, root = desk.log_in(new_page(), "pat"), desk.log_in(new_page(), "root")
    address = ask_for(pat, offers, team="Open")
    desk.manage("reconcile")  # sends pending notices
    root.goto("/mails/")
    number = address.rstrip("/").rpartition("/")[2]
    mail = root.locator("tr", has_text="ana@example.com").filter(has_text=f"(request {number})")
    mail.get_by_role("link").click()
    [link] = set(re.findall(r"http://\S+/requests/\d+/", root.locator("main").inner_text()))
    assert link == address
    expect(root.frame_locator("iframe").get_by_role("link", name="Review and decide")).to_be_visible()

    ana, taps = new_page(width=375), []
    ana.goto(link)
    ana.locator("input[name=username]").fill("ana")
    ana.locator("input[name=password]").fill(PASSWORD)
    ana.get_by_role("button", name="Log in").click()
    expect(ana.get_by_role("heading", name=f"Request {number}", level=1)).to_be_visible()

    def tap(button):
        assert in_view(button)
        taps.append(button.inner_text())
        button.click()

    tap(ana.get_by_role("button", name=re.compile(r"^Approve 2 numbers, \d+\.\d\d USD a month$")))
    expect(ana.get_by_text("2 numbers approved.")).to_be_visible()
    assert len(taps) <= 3
    comes_to(pat, address, "2 Bought")
