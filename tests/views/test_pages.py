"""Pages without a form of their own, the stop button, logging in, and error pages."""

import pytest
from django.conf import settings as project
from django.db import IntegrityError
from django.template.loader import get_template

from purchasing import clock
from purchasing.audit import restores
from purchasing.buying import procurement
from purchasing.models import Credential, Desk, Purchase, Team
from purchasing.states import State
from purchasing.teams import restore_alarm, stop_buying
from purchasing.views.errors import server_error
from tests import factories
from tests.views.access import Scene, words

pytestmark = pytest.mark.django_db


class TestHome:
    def test_of_a_person_without_a_team_says_what_to_do(self, client, db):
        client.force_login(factories.User.objects.create_user("sam"))
        said = words(client.get("/"))
        assert "You are not in a team yet. Ask your team admin" in said
        assert "Paste numbers" not in said

    def test_shows_what_waits_for_whom(self, client, pending, sam, ana):
        client.force_login(ana)
        said = words(client.get("/"))
        assert f"Request {pending.pk}: approve or reject 1 number for Support" in said
        assert "New desks 1.00 USD once and 2.00 USD a month" in said
        client.force_login(sam)
        assert "Nothing is waiting for you." in words(client.get("/"))

    def test_says_that_no_worker_runs(self, client, sam):
        client.force_login(sam)
        assert "The worker is not running" in words(client.get("/"))
        Desk.objects.update(swept_at=clock.now())
        assert "The worker is not running" not in words(client.get("/"))

    def test_tells_the_team_admin_alone_about_a_refused_key(self, client, team, tom, sam):
        Credential.objects.update(refused_at=clock.now())
        client.force_login(tom)
        page = client.get("/")
        waits = words(page).partition("Waiting for you")[2].partition("My requests")[0]
        assert "Store a new API key for Support IdentityCall has refused …1234 since" in waits
        assert 'href="/teams/support/key/"' in page.content.decode()
        client.force_login(sam)
        assert "IdentityCall has refused" not in words(client.get("/"))


class TestNumbers:
    def test_lists_what_was_bought_with_its_settings(self, client, approved, provider, sam):
        provider.sells(approved.phone_number, 4711)
        procurement.buy(approved.pk)
        client.force_login(sam)
        said = words(client.get("/numbers/"))
        assert "+1 212-555-0101 IdentityCall id 4711" in said

    def test_is_empty_in_words(self, client, sam):
        client.force_login(sam)
        assert "No number has been bought here yet." in words(client.get("/numbers/"))


class TestAudit:
    @pytest.mark.parametrize("before", ["x", "0", "-1", "²", "9" * 18, "9" * 5000, "1 OR 1=1", "\x00"])
    def test_a_forged_place_is_no_500(self, client, pending, sam, before):
        client.force_login(sam)
        assert client.get("/audit/", {"before": before}).status_code == 200

    def test_pages_from_the_newest_to_the_oldest(self, client, team, sam):
        for start in (0, 60):
            factories.request(team, sam, [f"+1212555{n:04}" for n in range(start, start + 60)])
        client.force_login(sam)
        url, seen = "/audit/", []
        while url:
            page = client.get(url)
            seen += [event.seq for event in page.context["events"]]
            url = f"/audit/?before={page.context['older']}" if page.context["older"] else None
        assert len(seen) > 120 and seen == sorted(set(seen), reverse=True)


class TestStopping:
    def test_a_team_says_so_everywhere_and_goes_on_again(self, client, team, tom):
        client.force_login(tom)
        response = client.post("/teams/support/stop/", {"reason": "Too dear"}, follow=True)
        assert "Buying is stopped for Support." in words(response)
        assert "Stopped by tom" in words(response) and "Too dear" in words(response)
        response = client.post("/teams/support/go-on/", {"reason": "Fine again"}, follow=True)
        assert "Buying for Support is active again." in words(response)

    @pytest.mark.parametrize("step", ["stop", "go-on"])
    @pytest.mark.parametrize("where", ["/teams/support/", "/buying/"])
    @pytest.mark.parametrize(
        "reason", ["", "  ", "\u200b", "x" * 1001], ids=["none", "blanks", "invisible", "long"]
    )
    def test_without_a_fit_reason_is_a_sentence_at_its_place(self, client, team, step, where, reason):
        client.force_login(factories.superuser())
        response = client.post(f"{where}{step}/", {"reason": reason}, follow=True)
        assert 'id="id_reason_error"' in response.content.decode()
        expected = (
            "At most 1000 characters" if len(reason) > 1000 else "Enter a reason. It stays in the record."
        )
        assert expected in words(response)
        assert (Desk.objects.get().stopped_at, Team.objects.get().stopped_at) == (None, None)

    def test_twice_is_a_sentence(self, client, team, tom):
        stop_buying.stop(team, actor=factories.actor(tom), reason="Too dear")
        client.force_login(tom)
        response = client.post("/teams/support/stop/", {"reason": "Again"}, follow=True)
        assert "Buying is already stopped." in words(response)
        assert Team.objects.get().stop_reason == "Too dear"

    def test_all_is_said_on_every_page(self, client, team, sam):
        root = factories.superuser()
        client.force_login(root)
        client.post("/buying/stop/", {"reason": "<b>Audit</b>"})
        client.force_login(sam)
        for address in ("/", "/paste/", "/requests/", "/audit/", "/no/such/page/"):
            page = client.get(address)
            assert "All buying is stopped: <b>Audit</b>" in words_with_tags(page), address
            assert "<b>Audit" not in page.content.decode()


class TestAnAlarm:
    @pytest.fixture
    def alarm(self, team):
        restore_alarm.sound(restores.Alarm("The database seems to be a copy: it used to be here.", epoch=0))

    def test_is_said_on_every_page_without_the_names_of_machines(self, client, alarm, sam):
        client.force_login(sam)
        for address in ("/", "/paste/", "/requests/", "/no/such/page/"):
            page = words(client.get(address))
            assert "until a superuser says 'Go on'. The database seems to be a copy." in page, address
            assert "it used to be here" not in page, address
        assert "A superuser has to decide how to go on." in words(client.get("/"))

    def test_says_to_superusers_why_and_what_to_do_and_ends_with_go_on(self, client, alarm):
        client.force_login(factories.superuser())
        assert "See why, and what to do" in words(client.get("/"))
        page = words(client.get("/teams/"))
        assert "The database seems to be a copy: it used to be here." in page
        assert "put the right one in place" in page
        response = client.post("/buying/alarm/go-on/", {"reason": " "}, follow=True)
        assert 'id="alarm_reason_error"' in response.content.decode()
        response = client.post("/buying/alarm/go-on/", {"reason": "Checked"}, follow=True)
        assert "The alarm is over. Approved numbers that need a new decision: 0." in words(response)
        assert "seems to be a copy" not in words(client.get("/"))

    def test_that_cannot_come_as_no_mark_is_kept_is_said_to_admins(self, client, team, tom, sam, settings):
        settings.RESTORE_MARK = None
        for person, address, is_said in (
            (tom, "/teams/support/", True),
            (sam, "/teams/support/", False),
            (factories.superuser(), "/teams/", True),
        ):
            client.force_login(person)
            assert ("RESTORE_MARK is off" in words(client.get(address))) == is_said, address


def words_with_tags(response):
    """The text of a page, also where text looks like a tag."""
    return " ".join(response.content.decode().replace("&lt;", "<").replace("&gt;", ">").split())


class TestLoggingIn:
    def test_with_a_wrong_password_says_so_and_keeps_the_name(self, client, sam):
        response = client.post("/accounts/login/", {"username": "sam", "password": "mistyped"})
        assert "The user name or password is wrong." in words(response)
        assert 'value="sam"' in response.content.decode()
        assert "mistyped" not in response.content.decode()

    def test_of_a_person_who_is_switched_off_tells_no_more(self, client, sam):
        type(sam).objects.update(is_active=False)
        response = client.post("/accounts/login/", {"username": "sam", "password": factories.PASSWORD})
        assert "The user name or password is wrong." in words(response)

    @pytest.mark.parametrize(
        "target", ["https://elsewhere.example/", "//elsewhere.example/", "javascript:alert(1)"]
    )
    def test_leads_to_this_site_only(self, client, sam, target):
        fields = {"username": "sam", "password": factories.PASSWORD, "next": target}
        assert client.post("/accounts/login/", fields)["Location"] == "/"
        page = client.get("/accounts/login/", {"next": target}).content.decode()
        assert f'href="{target}' not in page

    def test_begins_a_new_session(self, client, sam):
        client.get("/accounts/login/")
        session = client.session
        session["x"] = 1
        session.save()
        client.cookies["sessionid"] = session.session_key
        client.post("/accounts/login/", {"username": "sam", "password": factories.PASSWORD})
        assert client.cookies["sessionid"].value != session.session_key

    @pytest.mark.parametrize(
        "name", ["x" * 5000, "<script>alert(1)</script>", "\x00", "' OR 1=1 --", "\u202e"]
    )
    def test_with_an_odd_name_is_a_sentence(self, client, sam, name):
        response = client.post("/accounts/login/", {"username": name, "password": "x"})
        assert response.status_code == 200
        assert response.context["form"].errors
        assert "<script>alert" not in response.content.decode()

    def test_a_new_password_that_is_too_simple_says_why(self, client, sam):
        client.force_login(sam)
        fields = {
            "old_password": factories.PASSWORD,
            "new_password1": "12345678",
            "new_password2": "12345678",
        }
        response = client.post("/accounts/password/", fields)
        assert 'id="id_new_password2_error"' in response.content.decode()
        assert "12345678" not in response.content.decode()


class TestPagesThatSayNo:
    def test_404_says_what_to_do(self, client, sam):
        client.force_login(sam)
        response = client.get("/requests/999999/")
        assert response.status_code == 404
        assert "belongs to a team that you are not a member of" in words(response)

    def test_404_shows_nothing_of_the_address(self, client, sam):
        client.force_login(sam)
        assert "alert(1)" not in client.get("/<script>alert(1)</script>").content.decode()

    def test_403_names_who_can(self, client, sam, ana, pending):
        client.force_login(sam)
        fields = {"version": 1, "purchase": [pending.purchases.get().pk]}
        response = client.post(f"/requests/{pending.pk}/approve/", fields)
        assert "You cannot decide this request. People who can: ana." in words(response)
        assert "Nothing was changed." in words(response)

    def test_500_is_a_page_of_its_own(self, rf):
        try:
            raise IntegrityError
        except IntegrityError:
            response = server_error(rf.get("/"))
        assert response.status_code == 500
        assert "No number is bought twice." in words(response)

    def test_each_holds_its_words_alone(self):
        """What stands around them is in one file for each of two frames."""
        pages = ("400", "403", "403_csrf", "404", "500", "503", "too_much")
        texts = {name: (project.BASE_DIR / f"templates/{name}.html").read_text() for name in pages}
        frames = {name: text.splitlines()[0] for name, text in texts.items()}
        bare, full = '{% extends "error_bare.html" %}', '{% extends "error.html" %}'
        assert frames == {name: bare if name in ("400", "500", "503") else full for name in pages}
        assert [name for name, text in texts.items() if "Go to the home page" in text] == []

    @pytest.mark.parametrize(
        "name, sentence",
        [("400", "Nothing was changed."), ("500", "could not finish"), ("503", "does not answer")],
    )
    def test_400_500_and_503_need_no_person_no_database_and_no_list_of_static_files(
        self, name, sentence, settings, tmp_path, rf, django_assert_num_queries
    ):
        manifest = {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"}
        settings.STATIC_ROOT = tmp_path
        settings.STORAGES = settings.STORAGES | {"staticfiles": manifest}
        with django_assert_num_queries(0):
            without_request, with_request = (
                get_template(f"{name}.html").render(request=request) for request in (None, rf.get("/"))
            )
        assert without_request == with_request
        assert sentence in with_request
        assert 'href="/static/css/desk.css"' in with_request


class TestAPurchaseInEveryState:
    @pytest.mark.parametrize("state", State)
    def test_is_shown_on_every_page(self, provider, state):
        """Also without the records that usually come with a state: no page may break."""
        scene = Scene(provider)
        request = scene.request
        now = clock.now()
        Purchase.objects.update(
            state=state, purchased_at=now, provider_id=7, waiting_since=now, waiting_for="x"
        )
        for role in ("asker", "approver", "root"):
            client = scene.client(role)
            for address in (
                "/",
                "/requests/",
                f"/requests/{request.pk}/",
                f"/requests/{request.pk}/live/",
                f"/purchases/{scene.purchase.pk}/",
                "/decisions/",
                "/numbers/",
                "/audit/",
            ):
                assert client.get(address).status_code == 200, address
