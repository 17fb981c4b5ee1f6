"""An API key that somebody types, pastes or links is removed before it is stored, shown or logged, with a notice."""

import json
import logging
from urllib.parse import quote

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import connection

from purchasing.models import Paste, PurchaseRequest
from tests import factories
from tests.views.access import Scene, words

pytestmark = pytest.mark.django_db
BODY = "Zq9" * 10 + "Zq"
KEY = f"idc_{BODY}"
FORMS = {
    "as it is": KEY,
    "in a curl command": f"curl -H 'Authorization: Bearer {KEY}' https://api.identitycall.ai/api/v1/public/projects",
    "in JSON": json.dumps({"key": KEY, "phone_number": "+12125550101"}),
    "in capitals": KEY.upper(),
    "as a part of an address": f"https://example.com/?key={quote(KEY, safe='')}",
    "with an escaped underscore": f"idc\\_{BODY}",
    "with a soft hyphen": f"idc_{BODY[:5]}\u00ad{BODY[5:]}",
    "with a byte order mark": f"\ufeffidc\ufeff_{BODY}",
    "cut short": f"idc_{BODY[:20]}",
    "stuck to other words": f"key={KEY};{KEY}",
}
TOLD = "What you sent contained an API key. It was removed and is not stored."


def stored():
    """The whole content of the database, with sessions decoded, as one text."""
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            texts += [str(value) for row in cursor.fetchall() for value in row]
    texts += [
        str(SessionStore().decode(data)) for data in Session.objects.values_list("session_data", flat=True)
    ]
    return "\n".join(texts)


def is_clean(text):
    """Whether the text contains no part of the key, in any case and however it is broken up."""
    plain = text.replace("\u00ad", "").replace("\ufeff", "").lower()
    return BODY[:16].lower() not in plain


@pytest.fixture
def client(client, sam):
    client.force_login(sam)
    return client


class TestAPaste:
    @pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
    def test_with_numbers_is_kept_without_the_key(self, client, console, caplog, text):
        caplog.set_level(logging.DEBUG)
        response = client.post("/paste/", {"text": f"+1 212 555 0142\n{text}"}, follow=True)
        assert TOLD in words(response)
        assert "revoke it in IdentityCall (Settings, API Keys) and tell your team admin" in words(response)
        assert "idc_[removed]" in Paste.objects.get().text
        for place in (response.content.decode(), stored(), caplog.text, console.getvalue()):
            assert is_clean(place)

    @pytest.mark.parametrize("text", FORMS.values(), ids=FORMS.keys())
    def test_without_a_number_is_shown_again_without_the_key(self, client, text):
        response = client.post("/paste/", {"text": text, "country_code": KEY})
        assert TOLD in words(response)
        assert is_clean(response.content.decode()) and is_clean(stored())

    def test_without_a_key_says_nothing_of_one(self, client):
        response = client.post("/paste/", {"text": "+1 212 555 0142\nidc_short\nidc"}, follow=True)
        assert "API key" not in words(response).partition("Paste numbers")[2]

    def test_says_it_once(self, client):
        client.post("/paste/", {"text": f"+1 212 555 0142\n{KEY}"}, follow=True)
        assert TOLD not in words(client.get("/paste/"))


class TestEveryForm:
    """The key in every field, in fields that a form does not have, and in the names of fields."""

    ADDRESSES = (
        "paste",
        "paste-verdicts",
        "request-new",
        "request-again",
        "find-pick",
        "papers",
        "papers-entry",
        "request-approve",
        "request-reject",
        "request-cancel",
        "purchase-bought",
        "purchase-again",
        "purchase-give-up",
        "purchase-approve-again",
        "held-give-up-several",
        "held-try-again-several",
        "request-edit",
        "team-rules",
        "team-stand-in",
        "team-stop",
        "team-go-on",
        "stop-all",
        "go-on-all",
    )

    @pytest.mark.parametrize("name", ADDRESSES)
    def test_keeps_shows_and_logs_nothing_of_it(self, provider, console, caplog, name):
        caplog.set_level(logging.DEBUG)
        scene = Scene(provider)
        address = f"purchasing:{name}"
        url, fields = scene.url(address), scene.fields(address)
        client = scene.client(
            "asker"
            if name.startswith(
                ("paste", "request-new", "request-again", "find", "request-cancel", "request-edit")
            )
            else "root"
        )
        everywhere = dict.fromkeys([*fields, "reason", "note", KEY], f"Because {KEY}")
        for sent in (everywhere, fields | {"reason": f"Because {KEY}", "n-0-name": KEY, "version": 1}):
            response = client.post(url, sent, follow=True)
            assert response.status_code in (200, 404)
            assert is_clean(response.content.decode())
        for place in (stored(), caplog.text, console.getvalue()):
            assert is_clean(place)

    def test_what_was_typed_beside_it_is_kept(self, client, team, sam):
        draft = factories.draft(sam, ["+12125550142"])
        fields = {"draft": draft.pk, "team": team.pk, "reason": f"New desks, see {KEY}", "n-TOTAL_FORMS": 1}
        fields |= {"n-INITIAL_FORMS": 1, "n-0-phone_number": "+12125550142", "n-0-record_calls": "yes"}
        fields |= {"do": "send"}
        response = client.post("/requests/new/", fields, follow=True)
        assert PurchaseRequest.objects.get().reason == "New desks, see idc_[removed]"
        assert TOLD in words(response)


class TestAddresses:
    @pytest.mark.parametrize(
        "address", ["/requests/", "/audit/", "/live/", "/approvals/news/", "/accounts/login/"]
    )
    def test_with_a_key_in_the_query_show_and_log_nothing_of_it(self, client, console, address):
        client.force_login(factories.superuser())
        for name in ("page", "before", "seen", "next", "paste", KEY):
            response = client.get(address, {name: KEY})
            assert is_clean(response.content.decode())
        assert is_clean(stored()) and is_clean(console.getvalue())

    @pytest.mark.parametrize("path", [f"/{KEY}", f"/teams/{KEY}/", f"/requests/{KEY}/", f"/paste/{KEY}/"])
    def test_with_a_key_in_the_path_show_and_log_nothing_of_it(self, client, console, path):
        assert is_clean(client.get(path, follow=True).content.decode())
        client.logout()
        assert is_clean(client.get(path, follow=True).content.decode())
        assert console.getvalue() == "" or is_clean(console.getvalue())


class TestLoggingIn:
    def test_with_a_key_as_the_name_does_not_show_it(self, client, console):
        client.logout()
        response = client.post("/accounts/login/", {"username": KEY, "password": "x"})
        assert response.status_code == 200
        assert 'value="idc_[removed]"' in response.content.decode()
        assert TOLD in words(response)
        for place in (response.content.decode(), stored(), console.getvalue()):
            assert is_clean(place)

    def test_with_a_key_as_the_password_keeps_and_shows_nothing_of_it(self, client, console):
        client.logout()
        response = client.post("/accounts/login/", {"username": "sam", "password": KEY})
        for place in (response.content.decode(), stored(), console.getvalue()):
            assert is_clean(place)

    def test_a_password_that_looks_like_a_key_still_opens(self, client, sam):
        sam.set_password(KEY)
        sam.save()
        client.logout()
        assert client.post("/accounts/login/", {"username": "sam", "password": KEY}).status_code == 302


class TestTheStoredKey:
    def test_stands_on_no_page_and_nowhere_in_plain(self, provider):
        scene = Scene(provider)
        client = scene.client("root")
        assert scene.bought
        secret = factories.KEY
        for address in ("/", "/teams/", "/teams/support/", "/audit/", "/numbers/", "/admin/purchasing/team/"):
            page = client.get(address).content.decode()
            assert secret[4:] not in page, address
        assert "…1234" in words(client.get("/teams/support/"))
        assert secret[4:] not in stored()
