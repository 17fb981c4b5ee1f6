"""What runs around every view: oversized input, uploads, headers, and clicks from an outdated page."""

import re

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from purchasing.models import AuditEvent, Paste
from tests import factories
from tests.views.access import words

pytestmark = pytest.mark.django_db
KEY = "idc_" + "Zq9" * 10 + "Zq"


@pytest.fixture
def client(client, sam):
    client.force_login(sam)
    return client


class TestTooMuch:
    FORM = "application/x-www-form-urlencoded"

    def test_in_a_plain_form(self, client):
        response = client.post("/paste/", "text=" + "x" * 7_000_000, content_type=self.FORM)
        assert response.status_code == 400
        assert "What your browser sent is larger than 6 MB, so it was not read." in words(response)
        assert "Nothing was changed." in words(response)

    def test_in_a_form_with_parts(self, client):
        response = client.post("/paste/", {"text": "x" * 7_000_000})
        assert (response.status_code, "is larger than 6 MB" in words(response)) == (400, True)

    def test_too_many_fields(self, client):
        response = client.post("/paste/", {f"x{n}": "" for n in range(1001)})
        assert response.status_code == 400
        assert "What your browser sent has more than 1,000 fields, so it was not read." in words(response)

    def test_too_many_files(self, client):
        files = {f"x{n}": SimpleUploadedFile("x", b"") for n in range(101)}
        response = client.post("/paste/", files)
        assert (response.status_code, "holds more than 100 files" in words(response)) == (400, True)

    def test_the_sentence_is_marked_for_a_live_click(self, client):
        page = client.post(
            "/paste/", {f"x{n}": "" for n in range(1001)}, HTTP_HX_REQUEST="true"
        ).content.decode()
        assert "data-sentence>What your browser sent has more" in page

    def test_before_anybody_logged_in(self, db):
        response = Client().post("/accounts/login/", {f"x{n}": "" for n in range(1001)})
        assert (response.status_code, "1,000 fields" in words(response)) == (400, True)

    @pytest.mark.parametrize(
        "body, kind",
        [
            (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
            (b"x", "multipart/form-data"),
            (b"x", "multipart/form-data; boundary=" + "x" * 500),
            (b"text=x", "application/x-www-form-urlencoded; charset=utf-16"),
            (b"text=x", "application/x-www-form-urlencoded; charset=none-such"),
            (b"[" * 100_000, "application/json"),
            (b"text=x", "text/\xff"),
        ],
    )
    def test_what_is_no_form_is_no_500(self, client, body, kind):
        assert client.generic("POST", "/paste/", body, content_type=kind).status_code in (200, 400)


class TestUploads:
    def upload(self, client, name="numbers.csv", content=b"+12125550101", **fields):
        return client.post("/teams/new/", fields | {"name": SimpleUploadedFile(name, content)})

    def test_that_nobody_asked_for_are_not_read(self, client):
        client.force_login(factories.superuser())
        assert "Enter a name." in words(client.get(self.upload(client)["Location"]))

    @pytest.mark.parametrize("size", [100, 3_000_000], ids=["in memory", "in a file"])
    def test_leave_nothing_of_a_key(self, client, size):
        client.force_login(factories.superuser())
        response = self.upload(client, name=f"{KEY}.csv", content=KEY.encode() + b" " * size)
        assert KEY not in response.content.decode()

    def test_beside_a_field_do_not_hide_it(self, client):
        client.post("/paste/", {"text": "+12125550101", "other": SimpleUploadedFile("x.csv", b"+1")})
        assert Paste.objects.get().picked == ["+12125550101"]


class TestAClickFromAPageThatIsTooOld:
    def test_says_so_in_plain_words(self, sam):
        client = Client(enforce_csrf_checks=True)
        client.force_login(sam)
        response = client.post("/paste/", {"text": "+12125550101"})
        assert response.status_code == 403
        said = words(response)
        assert "This page expired" in said
        assert "you have logged in again since. Reload it and try again." in said
        assert "CSRF" not in said and "verification" not in said

    def test_with_its_token_is_carried_out(self, sam):
        client = Client(enforce_csrf_checks=True)
        client.force_login(sam)
        page = client.get("/paste/").content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        assert (
            client.post("/paste/", {"text": "+12125550101", "csrfmiddlewaretoken": token}).status_code == 302
        )

    def test_htmx_sends_it_as_a_header(self, sam):
        client = Client(enforce_csrf_checks=True)
        client.force_login(sam)
        token = re.search(r'"X-CSRFToken": "(\w+)"', client.get("/").content.decode())[1]
        response = client.post("/paste/", {"text": "+12125550101"}, headers={"X-CSRFToken": token})
        assert response.status_code == 302


class TestHeaders:
    def test_nothing_is_loaded_run_or_framed_from_elsewhere(self, client):
        for address in ("/", "/paste/", "/no/such/page/", "/requests/999999/", "/accounts/login/"):
            response = client.get(address)
            policy = response["Content-Security-Policy"]
            for directive in (
                "default-src 'self'",
                "base-uri 'none'",
                "frame-ancestors 'none'",
                "object-src 'none'",
            ):
                assert directive in policy, address
            assert "unsafe" not in policy
            assert response["X-Content-Type-Options"] == "nosniff"
            assert response["Referrer-Policy"] == "same-origin"
            assert response["X-Frame-Options"] == "DENY"

    def test_cookies_are_out_of_reach_of_scripts_and_other_sites(self, client):
        client.logout()
        client.post("/accounts/login/", {"username": "sam", "password": factories.PASSWORD})
        assert client.cookies["sessionid"]["httponly"]
        assert client.cookies["sessionid"]["samesite"] == "Lax"
        assert settings.SESSION_COOKIE_AGE == 8 * 60 * 60

    def test_another_host_name_is_refused(self, client):
        assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 400


class TestTheActor:
    def test_is_in_the_record_with_name_and_address(self, client, team):
        client.force_login(factories.member("sam", team, "admin"))
        client.post("/teams/support/stop/", {"reason": "Too dear"}, REMOTE_ADDR="192.0.2.7")
        event = AuditEvent.objects.order_by("-seq").first()
        assert (event.action, event.actor_name, event.ip) == ("team.stopped", "sam", "192.0.2.7")
        assert event.click
