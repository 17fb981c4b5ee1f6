"""Logging in and out, and changing one's password, in a real browser."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
OLD, NEW = "an old word of pia", "a new word of pia"


@pytest.fixture
def pia(desk, tmp_path):
    """A separate requester, whose password may change."""
    secret = tmp_path / "password"
    secret.write_text(OLD)
    desk.manage(
        "create_member", "pia", "--team", "Support", "--role", "requester", "--password-file", str(secret)
    )
    return "pia"


@pytest.mark.parametrize("javascript", [True, False])
def test_log_in_change_the_password_and_log_out(desk, new_page, pia, javascript):
    page = new_page(javascript=javascript)
    page.goto("/requests/")
    expect(page.get_by_role("heading", name="Log in", level=1)).to_be_visible()
    page.locator("input[name=username]").fill(pia)
    page.locator("input[name=password]").fill(OLD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Requests", level=1)).to_be_visible()

    account(page).get_by_role("link", name="Change password").click()
    page.get_by_label("Old password").fill(OLD)
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_label("New password confirmation").fill(NEW)
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_role("heading", name="Password changed", level=1)).to_be_visible()

    account(page).get_by_role("button", name="Log out").click()
    page.goto("/")
    expect(page.get_by_role("heading", name="Log in", level=1)).to_be_visible()
    page.locator("input[name=username]").fill(pia)
    page.locator("input[name=password]").fill(OLD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("The user name or password is wrong.").first).to_be_visible()
    expect(page.locator("input[name=username]")).to_have_value(pia)
    desk.log_in(page, pia, NEW)


def account(page):
    """The opened user menu."""
    page.locator("button[popovertarget=user-menu]").click()
    return page.locator("#user-menu")
