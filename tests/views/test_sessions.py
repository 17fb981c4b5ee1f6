"""Sessions end when idle, after eight hours, and with the account; and nothing that was typed is lost."""

import re
import time
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import get_resolver

from purchasing import middleware
from purchasing.models import AuditEvent, PurchaseRequest, User
from tests import factories
from tests.views.access import words

pytestmark = pytest.mark.django_db
PASSWORD = factories.PASSWORD
HTMX = {"HTTP_HX_REQUEST": "true", "HTTP_HX_CURRENT_URL": "http://testserver/requests/1/"}


@pytest.fixture
def later(monkeypatch):
    """Let minutes pass on the clock of the web process."""
    passed, real = [0], time.time

    class Clock:
        time = staticmethod(lambda: real() + passed[0])

    monkeypatch.setattr(middleware, "time", Clock)
    return lambda minutes: passed.__setitem__(0, passed[0] + minutes * 60)


def log_in(client, username="sam", follow=False):
    return client.post("/accounts/login/", {"username": username, "password": PASSWORD}, follow=follow)


@pytest.fixture
def client(sam):
    client = Client()
    log_in(client)
    return client


def is_in(client):
    return client.get("/requests/").status_code == 200


class TestTheEnd:
    def test_comes_after_half_an_hour_without_a_click(self, client, later):
        later(29)
        assert is_in(client)
        later(29)
        assert is_in(client)
        later(31)
        assert not is_in(client)
        assert not is_in(client)

    def test_comes_after_eight_hours_whatever_is_done(self, client, later):
        for _ in range(19):
            later(25)
            assert is_in(client)
        later(10)
        assert not is_in(client)

    def test_is_not_put_off_by_what_a_page_asks_by_itself(self, client, later, pending):
        for _ in range(3):
            later(9)
            assert client.get(f"/requests/{pending.pk}/live/", **HTMX).status_code == 200
        later(4)
        assert not is_in(client)

    def test_is_put_off_by_a_click_of_any_kind(self, client, later, pending):
        for _ in range(3):
            later(20)
            client.post(f"/requests/{pending.pk}/cancel/", {"purchase": []}, **HTMX)
        later(20)
        assert is_in(client)

    def test_writes_the_session_once_a_minute_at_most(self, client, later, django_assert_num_queries):
        is_in(client)
        before = Session.objects.get().session_data
        is_in(client)
        assert Session.objects.get().session_data == before
        later(2)
        is_in(client)
        assert Session.objects.get().session_data != before

    def test_comes_with_the_account(self, client, sam):
        User.objects.filter(pk=sam.pk).update(is_active=False)
        assert not is_in(client)

    def test_of_a_session_from_before_these_rules_begins_now(self, sam, later):
        client = Client()
        client.force_login(sam)
        assert is_in(client)
        later(31)
        assert not is_in(client)

    @pytest.mark.parametrize("minutes", [-60, -60 * 24 * 400])
    def test_comes_when_the_clock_has_gone_far_back(self, client, later, minutes):
        later(minutes)
        assert not is_in(client)

    def test_does_not_come_for_clocks_that_differ_a_little(self, client, later):
        later(-2)
        assert is_in(client)

    def test_a_log_in_gets_a_new_session(self, client, sam):
        before = client.cookies["sessionid"].value
        log_in(client)
        assert client.cookies["sessionid"].value != before
        assert not Session.objects.filter(session_key=before).exists()

    def test_a_log_out_leaves_nothing(self, client):
        client.post("/accounts/logout/")
        assert not is_in(client)


class TestAnOpenPage:
    def test_is_told_and_not_taken_away(self, client, later, pending):
        later(31)
        response = client.get(f"/requests/{pending.pk}/live/", **HTMX)
        assert (response.status_code, response["HX-Reswap"]) == (286, "none")
        assert "Your session expired" in words(response) and "HX-Redirect" not in response
        assert client.get(f"/requests/{pending.pk}/live/", **HTMX).status_code == 286

    def test_every_address_that_is_polled_is_known_as_such(self):
        """By the end of its URL name, so that `SessionMiddleware` does not count it as a click."""
        polled = set()
        for path in (Path(settings.BASE_DIR) / "templates").rglob("*.html"):
            for tag in re.findall(r"<[a-z]+[^>]*hx-trigger=\"every[^>]*>", path.read_text()):
                polled |= set(re.findall(r"hx-get=\"{% url '([\w:-]+)'", tag))
        assert polled and all(name.endswith(("-live", "-news")) for name in polled)

    def test_no_other_address_is(self):
        names = {
            pattern.name
            for pattern in get_resolver().url_patterns[0].url_patterns
            if pattern.name.endswith(("-live", "-news"))
        }
        assert names == {"home-live", "request-live", "approvals-news", "audit-proof-live", "paste-live"}


class TestWhatWasTyped:
    REASON = "Two lines for the\nfair in Paris, “=1+1” <b>"

    def fields(self, team, sam):
        return {
            "draft": factories.draft(sam, ["+12125550142"]).pk,
            "team": team.pk,
            "reason": self.REASON,
            "do": "send",
            "n-TOTAL_FORMS": 1,
            "n-INITIAL_FORMS": 1,
            "n-0-phone_number": "+12125550142",
            "n-0-name": "Fair",
            "n-0-record_calls": "yes",
        }

    def test_is_shown_after_the_new_log_in_and_sent_by_a_click(self, client, team, sam, later):
        later(31)
        response = client.post("/requests/new/", self.fields(team, sam))
        assert response["Location"].startswith("/accounts/login/")
        assert not PurchaseRequest.objects.exists()

        page = log_in(client, follow=True)
        assert page.redirect_chain[-1][0] == "/accounts/unsent/"
        assert "Your session had expired when you pressed the button, so nothing was sent." in words(page)
        assert "Two lines for the fair in Paris, “=1+1” <b>" in words(page)
        sent = hidden(page)
        response = client.post("/accounts/unsent/", sent | {"send": "yes"})
        assert (response.status_code, response["Location"]) == (307, "/requests/new/")
        assert client.post(response["Location"], sent).status_code == 302  # as the browser does
        assert PurchaseRequest.objects.get().reason == self.REASON
        assert client.get("/accounts/unsent/").status_code == 302

    def test_also_when_it_was_sent_live(self, client, pending, later):
        later(31)
        fields = {"purchase": [pending.purchases.get().pk], "reason": "Not needed any more"}
        response = client.post(f"/requests/{pending.pk}/cancel/", fields, **HTMX)
        assert response["HX-Redirect"].startswith("/accounts/login/")
        assert "Not needed any more" in words(log_in(client, follow=True))

    def test_can_be_left(self, client, team, sam, later):
        later(31)
        client.post("/requests/new/", self.fields(team, sam))
        log_in(client)
        assert client.post("/accounts/unsent/", {})["Location"] == "/"
        assert client.get("/accounts/unsent/")["Location"] == "/"

    def test_is_shown_to_nobody_else(self, client, team, sam, ana, later):
        later(31)
        client.post("/requests/new/", self.fields(team, sam))
        page = log_in(client, "ana", follow=True)
        assert page.redirect_chain[-1][0] == "/"
        assert client.get("/accounts/unsent/").status_code == 302
        log_in(client)
        assert client.get("/accounts/unsent/").status_code == 302

    def test_of_passwords_and_keys_is_kept_nowhere(self, later, tom, team):
        client = Client()
        log_in(client, "tom")
        later(31)
        secret = "idc_" + "Zq9" * 10 + "Zq"
        client.post("/teams/support/key/", {"key": secret, "password": PASSWORD, "scope": "project"})
        assert "unsent" not in client.session
        log_in(client, "tom")
        later(31)
        client.post("/accounts/password/", {"old_password": PASSWORD, "new_password1": "x", "other": "kept"})
        assert client.session["unsent"]["fields"] == [["other", "kept"]]

    def test_that_is_very_long_says_so(self, client, later):
        later(31)
        client.post("/paste/", {"text": "x" * 2_000_001})
        assert "too long to keep" in words(log_in(client, follow=True))

    def test_of_the_log_in_form_itself_is_no_form_of_the_person(self, client, later):
        later(31)
        client.post("/accounts/login/", {"username": "sam", "password": "wrong"})
        assert "unsent" not in client.session
        event = AuditEvent.objects.latest("seq")
        assert (event.action, event.actor_name) == ("login.failed", "somebody")


def hidden(response):
    """The hidden fields of the one form on a page."""
    import html

    found = re.findall(
        r'<input type="hidden" name="([^"]+)" value="([^"]*)">', response.content.decode(), re.S
    )
    return {name: html.unescape(value) for name, value in found if name != "csrfmiddlewaretoken"}
