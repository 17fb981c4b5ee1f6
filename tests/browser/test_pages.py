"""Every page in a real browser: an empty console in light and dark, and no sideways scrolling on a phone."""

import json
import re

import pytest
from playwright.sync_api import expect

from tests.browser.steps import approve, ask_for, paste, pick

pytestmark = pytest.mark.browser
PASTED = """\
Name;Number;Monthly cost
A name that goes on and on without ending because somebody had a lot to say about this number;{number};1.50
thiswordhasnospacesinitandislongerthananytelephoneiswideandstillitisnophonenumberatall
{number}
+1 212 555
"""


@pytest.fixture(scope="session")
def furnished(desk, browser):
    """The desk with purchases that wait, are bought, failed and held, one for a lost answer and one for its price."""
    sam, ana = (
        browser.new_context(base_url=desk.url).new_page(),
        browser.new_context(base_url=desk.url).new_page(),
    )
    desk.log_in(sam, "sam")
    desk.log_in(ana, "ana")
    doubted = desk.provider.available("IT", "local", count=1)
    desk.provider.set_fault("close_before", phone_number=doubted["data"][0]["phone_number"])
    for body in (
        doubted,
        {"data": [{"phone_number": "+12125550123"}]},  # held: not on offer, so nobody confirms a price
        desk.provider.available("ES", "local", ends="994"),  # failed: papers are missing
        desk.provider.available("PT", "local", count=1),  # bought
    ):
        approve(ana, ask_for(sam, body, name="A long name for a number that somebody needs soon"))
    ask_for(sam, desk.provider.available("ES", "local", count=2))  # waiting
    for _ in range(30):  # an unconfirmed purchase is held once its window ends
        desk.manage("reconcile")
        ana.goto("/decisions/")
        if ana.locator("input[name=purchase]").count() == 2:
            break
    expect(ana.locator("input[name=purchase]")).to_have_count(2)
    sam.context.close()
    ana.context.close()
    return desk


def sams_pages(page, desk):
    """Every page of a requester, visited one after the other."""
    yield "/"
    yield "/paste/"
    number = desk.provider.available("IE", "local", count=1)["data"][0]["phone_number"]
    paste(page, PASTED.format(number=number))
    expect(page.get_by_role("button", name=re.compile("^Continue with"))).to_be_enabled()
    yield None
    pick(page, [number])
    send = page.get_by_role("button", name="Request purchase")
    expect(send).to_be_visible()
    yield None
    send.evaluate("button => button.form.noValidate = true")
    send.click()  # a reason is missing
    expect(page.locator(".errorlist").first).to_be_visible()
    yield None
    yield from ("/numbers/", "/audit/", "/teams/", "/teams/support/", "/accounts/password/", "/requests/")
    yield from links(page, r"/requests/\d+/$")
    yield page.url  # the last request
    page.goto("/requests/")
    page.locator("tr", has_text="Waiting for approval").first.locator("th a").click()
    page.get_by_role("link", name="Change this request").click()
    expect(page.get_by_role("button", name="Save changes")).to_be_visible()
    yield None
    page.get_by_label(re.compile("^Name of")).first.fill("n" * 500)
    page.get_by_role("button", name="Save changes").click()  # the name is too long
    expect(page.locator(".errorlist").first).to_be_visible()
    yield None
    yield from ("/mails/", "/accounts/mail/", "/requests/")
    yield page.url
    yield from links(page, r"/purchases/\d+/$")
    yield "/requests/999999/"  # not found
    yield "/approvals/"  # not allowed


def anas_pages(page, desk):
    """Pages that only an approver sees."""
    yield from ("/", "/approvals/", "/decisions/")
    yield from links(page, r"/purchases/\d+/$")
    yield "/approvals/"
    yield links(page, r"/requests/\d+/$")[0]


def toms_pages(page, desk):
    """Every page of a team admin, with something wrong in the forms of two."""
    yield from ("/", "/teams/", "/teams/support/", "/teams/support/key/", "/decisions/")
    yield from links(page, r"/purchases/\d+/$")
    page.goto("/teams/support/key/")
    page.get_by_role("button", name="Test the key").click()
    expect(page.locator("#messages")).to_contain_text("It can read.")
    yield None
    page.get_by_role("button", name="Remove the key").evaluate("button => button.form.noValidate = true")
    page.get_by_role("button", name="Remove the key").click()  # reason and password are missing
    expect(page.locator(".errorlist").first).to_be_visible()
    yield None
    yield "/teams/support/"
    members = links(page, r"/members/\d+/$")
    page.get_by_label("Monthly budget").fill("1.000,50")
    page.get_by_role("button", name="Save rules").click()
    expect(page.locator(".errorlist").first).to_be_visible()
    yield None
    page.get_by_text("If buying for Support has to stop").click()
    yield None
    yield members[0]
    for summary in page.locator("details summary").all():
        summary.click()
    yield None
    yield "/mails/"
    yield from links(page, r"/mails/\d+/$")[:2]
    yield "/accounts/mail/"


def idas_pages(page, desk):
    """Pages that an auditor reads."""
    yield from (
        "/audit/?number=x&since=soon&person=somebody",
        "/audit/proof/",
        "/audit/?outcome=held",
        "/audit/",
    )
    yield links(page, r"/audit/\d+/$")[-1]
    page.goto("/audit/?outcome=purchased")
    yield links(page, r"/audit/\d+/#answer$")[0]
    page.goto("/audit/?outcome=purchased")
    yield links(page, r"/purchases/\d+/story/$")[0]


def others_pages(page, desk):
    """Pages that only a superuser sees."""
    yield from (
        "/",
        "/teams/",
        "/teams/sales/",
        "/teams/new/",
        "/audit/",
        "/approvals/",
        "/admin/",
        "/mails/",
    )


def links(page, pattern):
    """The addresses of the matching links of the page, each once."""
    hrefs = page.locator("main a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    return sorted({href for href in hrefs if href and re.search(pattern, href)})


EXPECTED = ("status of 404", "status of 403")
PEOPLE = [
    ("sam", sams_pages),
    ("ana", anas_pages),
    ("tom", toms_pages),
    ("ida", idas_pages),
    ("root", others_pages),
]
LOOKS = [(375, "light"), (1280, "dark")]


@pytest.mark.parametrize(("username", "pages"), PEOPLE, ids=[name for name, _ in PEOPLE])
def test_pages_fit_and_their_console_is_empty(furnished, new_page, username, pages):
    page = new_page(expected=EXPECTED)
    furnished.log_in(page, username)
    too_wide = []
    for address in pages(page, furnished):
        if address is not None:
            page.goto(address)
        for width, color_scheme in LOOKS:
            page.emulate_media(color_scheme=color_scheme)
            page.set_viewport_size({"width": width, "height": 900})
            if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
                too_wide.append((page.url, width))
    assert too_wide == []


@pytest.mark.parametrize(("width", "color_scheme"), LOOKS)
def test_the_way_in_fits_and_its_console_is_empty(desk, new_page, width, color_scheme):
    page = new_page(width=width, color_scheme=color_scheme)
    page.goto("/requests/")
    page.locator("input[name=username]").fill("sam")
    page.locator("input[name=password]").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("The user name or password is wrong.").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("width", [375, 1280])
def test_the_menus_open_without_javascript(desk, new_page, width):
    page = desk.log_in(new_page(width=width, javascript=False), "sam")
    if width == 375:
        page.get_by_role("button", name="Menu", exact=True).click()
    page.locator("#site-nav").get_by_role("link", name="Audit").click()
    expect(page.get_by_role("heading", name="Audit", level=1)).to_be_visible()
    page.locator("button[popovertarget=user-menu]").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


def test_the_whole_answer_of_the_search_can_be_pasted(desk, new_page):
    page = desk.log_in(new_page(), "sam")
    offered = desk.provider.available("PL", "mobile")
    paste(page, json.dumps(offered, indent=2))
    expect(page.locator("input[name=pick]")).to_have_count(len(offered["data"]))
