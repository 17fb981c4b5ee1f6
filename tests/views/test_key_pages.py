"""The page of a team's key: no secret is shown again, every mistake gets a sentence, a new key needs the password."""

import logging
import sys

import pytest
import requests
from cryptography.fernet import Fernet
from django.contrib.sessions.models import Session
from django.core.signals import got_request_exception
from django.views.debug import ExceptionReporter
from django_tasks_db.models import DBTaskResult

from purchasing.buying import procurement
from purchasing.models import ApiKey, AuditEvent, Credential
from purchasing.teams import keys
from tests import factories
from tests.teams.test_keys import NEW, REFUSED, last_event, refuse
from tests.views.access import snapshot, words

pytestmark = pytest.mark.django_db
PAGE = "/teams/support/key/"
TEST, SCOPE, RATE, REMOVE = f"{PAGE}test/", f"{PAGE}scope/", f"{PAGE}rate/", f"{PAGE}remove/"
FIELDS = {"key": NEW, "scope": "project", "password": factories.PASSWORD}


@pytest.fixture
def browser(client, tom):
    client.force_login(tom)
    return client


def send(browser, url=PAGE, **fields):
    """Send a form and follow to the page after it."""
    return browser.post(url, fields, follow=True)


def store(browser, **changes):
    return send(browser, **{**FIELDS, **changes})


class TestThePage:
    def test_says_where_to_get_a_key_and_what_it_may(self, browser, team):
        page = browser.get(PAGE)
        text = words(page)
        for part in ("Settings, API Keys", "read", "write", "Never give it delete", "one project"):
            assert part in text
        assert 'href="https://app.identitycall.ai"' in page.content.decode()

    def test_shows_what_is_known_and_nothing_of_the_key(self, browser, team, provider):
        provider.tells_of_the_key()
        text = words(store(browser))
        for part in ("…9876", "Probably", "1 project: Support", "One project, according to tom on"):
            assert part in text
        assert NEW[:-4] not in text

    def test_of_a_team_without_a_key(self, client):
        team = factories.team(key=None)
        client.force_login(factories.member("tom", team, "admin"))
        text = words(client.get(PAGE))
        assert "Nothing can be bought for Support until a key is stored." in text
        assert "Remove the key" not in text

    def test_says_that_the_encryption_key_is_missing(self, browser, team, settings):
        settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        assert "The encryption key that it was stored with is missing" in words(browser.get(PAGE))

    def test_tells_of_keys_that_are_kept_for_reads(self, browser, team):
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        assert "Used before …1234 , until" in words(browser.get(PAGE))
        keys.wipe_unneeded()
        assert "Used before" not in words(browser.get(PAGE))


class TestStoring:
    def test_stores_and_says_what_the_test_showed(self, browser, team, provider):
        provider.tells_of_the_key()
        page = store(browser)
        assert page.redirect_chain == [(PAGE, 302)]
        assert (
            "The key …9876 is stored. It can read. It sees 1 project: Support. It probably may buy."
            in words(page)
        )

    @pytest.mark.parametrize("wrong", ["", "not my password", NEW])
    def test_asks_for_the_persons_own_password(self, browser, team, provider, wrong):
        page = store(browser, password=wrong)
        [error] = page.context["store_form"].errors["password"]
        assert "log in with" in error
        assert page.context["store_form"]["scope"].value() == "project"
        assert (provider.calls, ApiKey.objects.count()) == ([], 1)

    @pytest.mark.parametrize(
        "key, part",
        [
            ("", "Paste the API key."),
            ("idc_" + "k" * 30, "32 letters or digits; this one has 30."),
            ("idc_" + "k" * 31 + "!", "32 letters or digits; this one has other characters."),
            ("k" * 36, "begins with idc_"),
        ],
    )
    def test_what_is_no_key_is_a_sentence_at_the_field(self, browser, team, provider, key, part):
        page = store(browser, key=key)
        assert part in page.context["store_form"].errors["key"][0]
        assert "is-invalid" in page.content.decode() or 'aria-invalid="true"' in page.content.decode()
        assert provider.calls == []

    def test_blanks_and_invisible_characters_around_it_are_left_out(self, browser, team, provider):
        provider.tells_of_the_key()
        store(browser, key=f" \u200b{NEW[:10]}\u00ad{NEW[10:]}\r\n\0")
        assert str(team.keys.get(retired_at=None)) == "…9876"

    @pytest.mark.parametrize("scope", ["", "everything"])
    def test_wants_to_know_what_it_is_for(self, browser, team, provider, scope):
        assert "scope" in store(browser, scope=scope).context["store_form"].errors
        assert provider.calls == []

    def test_a_key_that_may_not_write_is_said_at_the_field(self, browser, team, provider):
        provider.tells_of_the_key(write=403)
        page = store(browser)
        assert "may not write" in page.context["store_form"].errors["key"][0]
        assert ApiKey.objects.count() == 1

    @pytest.mark.parametrize(
        "answer, part",
        [
            (REFUSED, "does not accept this key"),
            (requests.ConnectionError(), "could not be tested and is not stored"),
        ],
        ids=["refused", "not reached"],
    )
    def test_a_key_that_is_not_taken_is_said_at_the_field(self, browser, team, provider, answer, part):
        provider.owned_answer = answer
        page = store(browser)
        assert part in page.context["store_form"].errors["key"][0]
        assert page.context["store_form"]["scope"].value() == "project"
        assert ApiKey.objects.count() == 1

    @pytest.mark.parametrize(
        "fields",
        [{}, {"password": "wrong"}, {"scope": ""}, {"key": NEW + NEW}],
        ids=["good", "password", "scope", "two"],
    )
    @pytest.mark.parametrize("answer", [None, REFUSED], ids=["taken", "refused"])
    def test_the_key_and_the_password_are_kept_nowhere(self, browser, team, provider, caplog, fields, answer):
        caplog.set_level(logging.DEBUG)
        provider.tells_of_the_key()
        provider.owned_answer = answer
        page = store(browser, **fields)
        kept = [
            page.content.decode(),
            browser.get(PAGE).content.decode(),
            caplog.text,
            *(str(session.get_decoded()) for session in Session.objects.all()),
            *(f"{row.args_kwargs}{row.traceback}" for row in DBTaskResult.objects.all()),
            *(f"{event.note}{event.data}" for event in AuditEvent.objects.all()),
        ]
        for text in kept:
            assert NEW[4:28] not in text
            assert factories.PASSWORD not in text

    def test_an_accident_on_the_way_shows_no_key(self, client, tom, team, provider, caplog, monkeypatch):
        """Neither in the page, nor the log, nor an error report with every local variable."""
        reports = []

        def report(request, **kwargs):
            reporter = ExceptionReporter(request, *sys.exc_info())
            reports.extend([reporter.get_traceback_text(), reporter.get_traceback_html()])

        def break_down(*args, **kwargs):
            raise RuntimeError("the disk is full")

        provider.tells_of_the_key()
        monkeypatch.setattr("purchasing.provider.pauses.plan", break_down)
        client.raise_request_exception = False
        client.force_login(tom)
        got_request_exception.connect(report)
        page = client.post(PAGE, FIELDS)
        got_request_exception.disconnect(report)

        assert page.status_code == 500
        assert "the disk is full" in reports[0]
        for text in (page.content.decode(), caplog.text, *reports):
            assert NEW[4:28] not in text
            assert factories.PASSWORD not in text
        assert str(team.keys.get()) == "…1234"


class TestTesting:
    def test_says_what_it_showed(self, browser, team, provider):
        provider.tells_of_the_key(projects=["Sales", "Support"])
        text = words(send(browser, TEST))
        assert "It can read. It sees 2 projects: Sales, Support. It probably may buy." in text
        assert "The whole account: it sees more than one project" in text
        assert "Save what it is made for" not in text

    def test_a_refused_key_buys_again(self, browser, team, provider, approved):
        refuse(team)
        provider.tells_of_the_key()
        provider.sells("+12125550101")
        assert "Refused by IdentityCall" in words(browser.get(PAGE))
        assert "Purchases that waited for the key are bought now." in words(send(browser, TEST))
        procurement.buy(approved.pk)
        assert factories.state_of(approved) == "purchased"

    def test_one_that_cannot_write_says_that_it_cannot_buy(self, browser, client, team, provider, sam):
        provider.tells_of_the_key(write=403)
        page = send(browser, TEST)
        assert "It cannot buy: IdentityCall says that it has no write permission." in words(page)
        assert "Cannot buy" in words(page) and "Probably" not in words(page)
        client.force_login(sam)
        assert "API key Cannot buy" in words(client.get("/teams/support/"))

    def test_a_refused_one_is_not_said_to_buy_probably(self, browser, team, provider):
        provider.tells_of_the_key()
        assert "Probably" in words(send(browser, TEST))
        refuse(team)
        said = words(browser.get(PAGE))
        assert "Refused by IdentityCall" in said and "No, while IdentityCall refuses it" in said
        assert "Probably" not in said

    @pytest.mark.parametrize("answer", [REFUSED, requests.ReadTimeout(), (429, {}, "")])
    def test_one_that_does_not_pass_is_a_warning(self, browser, team, provider, answer):
        provider.owned_answer = answer
        page = send(browser, TEST)
        assert 'class="notice warning"' in page.content.decode()


class TestWhatItIsFor:
    def test_is_shown_with_the_name_of_who_said_it(self, browser, team):
        assert "Not stated yet" in words(browser.get(PAGE))
        assert "The whole account, according to tom on" in words(send(browser, SCOPE, scope="account"))

    def test_nothing_chosen_is_a_sentence_at_the_field(self, browser, team):
        page = send(browser, SCOPE)
        assert page.context["scope_form"].errors["scope"] == [
            "Choose one. IdentityCall does not say which it is."
        ]


class TestRemoving:
    def fields(self, team, **changes):
        key = team.keys.get(retired_at=None)
        return {"seen": key.pk, "reason": "Seen by others", "password": factories.PASSWORD, **changes}

    def test_takes_it_out_of_use(self, browser, team):
        assert "Nothing is bought for Support until" in words(send(browser, REMOVE, **self.fields(team)))
        assert not team.keys.filter(retired_at=None).exists()
        assert last_event("key.removed").note == "Seen by others"

    def test_wants_password_and_reason_and_keeps_what_was_typed(self, browser, team):
        page = send(browser, REMOVE, **self.fields(team, password="wrong"))
        form = page.context["remove_form"]
        assert form.errors == {"password": ["This is not the password you log in with."]}
        assert form["reason"].value() == "Seen by others"
        assert "wrong" not in form.as_p()
        page = send(browser, REMOVE, **self.fields(team, reason=""))
        assert set(page.context["remove_form"].errors) == {"reason"}
        assert team.keys.filter(retired_at=None).exists()

    def test_a_key_pasted_as_the_reason_is_cut_out(self, browser, team):
        send(browser, REMOVE, **self.fields(team, reason=f"Here it is: {NEW}"))
        assert last_event("key.removed").note == "Here it is: idc_[removed]"


@pytest.mark.parametrize("url", [PAGE, TEST, SCOPE, REMOVE])
@pytest.mark.parametrize("role", ["requester", "approver"])
def test_others_of_the_team_read_who_can(client, team, provider, url, role):
    client.force_login(factories.member("eve", team, role))
    before = snapshot()
    page = client.post(url, FIELDS)
    assert page.status_code == 403
    assert "Only the admin of Support or a superuser can do this." in words(page)
    assert snapshot() == before


class TestTheRate:
    def test_is_set_by_the_team_admin_and_shown(self, browser, team):
        text = words(send(browser, RATE, rate="300"))
        assert "Saved: 300 calls a minute." in text
        assert "At most 300 calls a minute" in text
        event = last_event("key.rate_set")
        assert (event.actor_name, event.data["rate"], event.data["before"]) == ("tom", 300, 6000)
        assert ApiKey.objects.get().credential.rate == 300

    def test_empty_is_the_usual_rate(self, browser, team, settings):
        settings.RATE_LIMIT_PER_MINUTE = 60
        send(browser, RATE, rate="300")
        assert "Saved: 60 calls a minute." in words(send(browser, RATE, rate=""))
        assert Credential.objects.get().rate_per_minute is None

    def test_the_same_again_is_no_event(self, browser, team):
        for _ in range(2):
            send(browser, RATE, rate="300")
        assert AuditEvent.objects.filter(action="key.rate_set").count() == 1

    @pytest.mark.parametrize(
        "rate, words_",
        [
            ("11", "Enter at least 12 calls a minute."),
            ("0", "Enter at least 12 calls a minute."),
            ("-60", "Enter at least 12 calls a minute."),
            ("6001", "Enter at most 6,000 calls a minute."),
            ("many", "Enter a whole number, such as 300."),
            ("60.5", "Enter a whole number, such as 300."),
        ],
    )
    def test_what_no_plan_has_is_a_sentence_at_the_field(self, browser, team, rate, words_):
        page = send(browser, RATE, rate=rate)
        assert page.context["rate_form"].errors["rate"] == [words_]
        assert page.context["rate_form"]["rate"].value() == rate
        assert Credential.objects.get().rate_per_minute is None

    def test_goes_on_with_the_next_key(self, browser, team):
        send(browser, RATE, rate="300")
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        assert ApiKey.objects.get(retired_at=None).credential.rate == 300

    def test_without_a_key_there_is_none(self, client):
        team = factories.team(key=None)
        client.force_login(factories.member("tom", team, "admin"))
        assert "Calls a minute" not in words(client.get(PAGE))
        assert "has no API key" in words(send(client, RATE, rate="300"))
