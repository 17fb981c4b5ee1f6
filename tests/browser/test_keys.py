"""A team's API key in a real browser: stored, tested, refused by IdentityCall and replaced."""

import re

import pytest
from playwright.sync_api import expect

from purchasing.words import phone
from tests.browser.desk import PASSWORD
from tests.browser.steps import approve, ask_for, comes_to

pytestmark = pytest.mark.browser
TEAM = """
from purchasing import audit
from purchasing.models import Membership, User
from purchasing.teams import members, teams
team = teams.create_team("Keys", actor=audit.system("test"))
for person, role in [("ana", "approver"), ("tom", "admin")]:
    Membership.objects.create(user=User.objects.get(username=person), team=team, role=role)
members.set_member("kim", role="requester", password="{password}", team=team, actor=audit.system("test"))
"""
PAGE = "/teams/keys/key/"


def store(tom, key, button):
    """Type a key into the form that stores it, and send it."""
    new = tom.get_by_role("region", name=re.compile("(Store a|Replace the) key"))
    new.get_by_label("New API key").fill(key)
    new.get_by_label("One project").check()
    new.get_by_label("Your own password").fill(PASSWORD)
    new.get_by_role("button", name=button).click()


def test_a_key_is_stored_tested_refused_replaced_and_buying_goes_on(desk, new_page):
    desk.seed(TEAM.format(password=PASSWORD))
    first = desk.provider.add_key("keys-1")
    reads_only = desk.provider.add_key("keys-reads-only", permissions=["read"])
    offers = desk.provider.available("DK", "mobile", count=2)
    tom, kim = desk.log_in(new_page(), "tom"), desk.log_in(new_page(), "kim")
    ana = desk.log_in(new_page(javascript=False), "ana")

    # Stored: a key that cannot buy is not accepted.
    tom.goto(PAGE)
    expect(tom.get_by_text("Nothing can be bought for Keys until a key is stored.")).to_be_visible()
    store(tom, reads_only, "Test and store")
    expect(tom.locator("#new_key_error")).to_contain_text("This key may not write")
    expect(tom.get_by_label("New API key")).to_have_value("")
    store(tom, first, "Test and store")
    expect(tom.locator("#messages")).to_contain_text(f"The key …{first[-4:]} is stored. It can read.")
    expect(tom.locator("main")).not_to_contain_text(first)

    # Tested.
    tom.get_by_role("button", name="Test the key").click()
    expect(tom.locator("#messages")).to_contain_text("It probably may buy.")
    expect(tom.locator(".badge", has_text="Stored")).to_be_visible()

    # Refused by IdentityCall: approved numbers stay queued, and the team admin sees what to do.
    desk.provider.revoke_key("keys-1")
    address = ask_for(kim, offers, team="Keys")
    approve(ana, address)
    comes_to(kim, address, "2 Approved, queued")
    for _ in range(100):
        tom.goto("/")
        if tom.get_by_text("Store a new API key for Keys").count():
            break
        tom.wait_for_timeout(100)
    tom.get_by_role("link", name=re.compile("Store a new API key for Keys")).click()
    expect(tom.locator(".badge", has_text="Refused by IdentityCall")).to_be_visible()
    expect(tom.get_by_text("2 numbers approved and waiting for a key that works.")).to_be_visible()
    expect(tom.locator("main")).not_to_contain_text("Probably")
    kim.goto(address)
    expect(kim.locator("#request-live table")).to_contain_text("Waiting since")
    assert not {line["phone_number"] for line in desk.provider.ledger()} & {
        offer["phone_number"] for offer in offers["data"]
    }

    # Replaced: the queued numbers are bought.
    store(tom, desk.provider.add_key("keys-2"), "Test and replace")
    expect(tom.locator("#messages")).to_contain_text("is stored. It can read.")
    comes_to(kim, address, "2 Bought")
    posts = desk.provider.counters()["purchase_posts"]
    assert [posts[offer["phone_number"]] for offer in offers["data"]] == [1, 1]
    tom.goto("/numbers/")
    expect(tom.locator("tr", has_text=phone(offers["data"][0]["phone_number"]))).to_contain_text("Keys")
