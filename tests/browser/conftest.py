"""One running Number Desk and one Chromium, shared by all browser tests."""

import os

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser import chromium
from tests.browser.desk import Desk

PATIENCE = 20_000  # milliseconds
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="session")
def desk(tmp_path_factory):
    """Number Desk with its people and teams, and no requests yet."""
    desk = Desk(tmp_path_factory.mktemp("desk"))
    yield desk
    desk.stop()


@pytest.fixture(scope="session")
def browser():
    """One Chromium, without a window."""
    path = chromium.find()
    if path is None:
        pytest.fail(str(chromium.NoChromium()), pytrace=False)
    with sync_playwright() as playwright:
        browser = launch(playwright, path)
        yield browser
        browser.close()


def launch(playwright, path):
    """Chromium as all scripts here start it."""
    options = ["--disable-gpu", "--disable-background-networking", "--disable-site-isolation-trials"]
    if os.geteuid() == 0:
        options.append("--no-sandbox")  # required when running as root
    return playwright.chromium.launch(executable_path=path, args=options)


@pytest.fixture
def new_page(browser, desk):
    """Make a separate page for a person (no shared cookies). The test fails when its console shows an error.

    `expected` are parts of messages that are no failure: Chromium reports every answer of 400 and above.
    """
    contexts, problems = [], []

    def make(width=1280, color_scheme="light", javascript=True, expected=()):
        context = browser.new_context(
            base_url=desk.url,
            viewport={"width": width, "height": 900},
            color_scheme=color_scheme,
            java_script_enabled=javascript,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)

        def note(text):
            if not any(part in text for part in expected):
                problems.append(text)

        page = context.new_page()
        page.on(
            "console",
            lambda message: message.type in ("error", "warning") and note(f"{page.url}: {message.text}"),
        )
        page.on("pageerror", lambda error: note(f"{page.url}: {error}"))
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []
