"""Wrong input gets a sentence and stays in the form, in a real browser."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.steps import ask_for, paste, pick

pytestmark = pytest.mark.browser


@pytest.fixture(params=[True, False], ids=["javascript", "without"])
def sam(desk, new_page, request):
    """sam's page, logged in, with JavaScript and without."""
    return desk.log_in(new_page(javascript=request.param), "sam")


def test_an_empty_paste_says_what_to_do(sam):
    paste(sam, "")
    # Either the browser refuses to send an empty required field, or the server reports it.
    box = sam.get_by_label("Numbers you want")
    expect(box).to_be_visible()
    if not box.evaluate("box => box.validity.valueMissing"):
        expect(sam.get_by_text("Paste at least one number, or choose a file.").first).to_be_visible()
    paste(sam, "   \n  ")
    expect(sam.locator(".errorlist").first).to_be_visible()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Please call me tomorrow.", re.compile("There is no phone number in this")),
        ("12", re.compile("There is no phone number in this")),
    ],
)
def test_a_paste_without_a_number_keeps_what_was_typed(sam, text, says):
    paste(sam, text)

    expect(sam.locator(".errorlist")).to_contain_text(says)
    expect(sam.get_by_label("Numbers you want")).to_have_value(text)


def test_a_number_asked_for_already_cannot_be_picked(desk, sam):
    offered = desk.provider.available("CH", "local", count=1)
    number = offered["data"][0]["phone_number"]
    if number not in desk.manage("shell", "-v0", "-c", ASKED_FOR):
        ask_for(sam, offered)

    paste(sam, json.dumps(offered))

    expect(sam.locator("tbody")).to_contain_text("Already requested by sam")
    expect(sam.locator("input[name=pick]")).to_have_count(0)


ASKED_FOR = """
from purchasing.models import Purchase
print(*Purchase.objects.values_list("phone_number", flat=True))
"""


def test_a_request_that_is_wrong_keeps_what_was_typed(desk, sam):
    offered = desk.provider.available("PL", "local", count=1)
    paste(sam, json.dumps(offered))
    pick(sam, [offered["data"][0]["phone_number"]])
    long_name = "n" * 500
    sam.get_by_label(re.compile("^Name of")).fill(long_name)
    sam.get_by_label("Reason").fill("To try it")
    sam.get_by_role("button", name="Request purchase").click()

    expect(sam.get_by_text("At most 100 characters; this has 500.").first).to_be_visible()
    expect(sam.get_by_label(re.compile("^Name of"))).to_have_value(long_name)
    expect(sam.get_by_label("Reason")).to_have_value("To try it")
