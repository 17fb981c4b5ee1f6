"""Every address, method and role: each row of the table in `tests/views/access.py` is a test."""

from urllib.parse import quote

import pytest
import responses
from django.db import transaction
from django.urls import URLResolver, get_resolver, reverse

from purchasing.models import AuditEvent, Membership, PurchaseRequest, User
from tests import factories
from tests.healthy_provider import Provider
from tests.views.access import ADDRESSES, METHODS, ROLES, ROWS, Scene, snapshot

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/login/?next="
# Tables that grow when something is only recorded.
RECORD = {
    "AuditHead",
    "AuditEvent",
    "AuditEntry",
    "AuditStretch",
    "AuditSegment",
    "AuditWord",
    "AuditDigits",
    "FailedLogins",
}
POSTS = [(address, method) for address, method in ROWS if method in ("POST", "PUT") and address != "favicon"]


def addresses(resolver, prefix=""):
    """The name of every URL below `resolver`, with Django's admin as one."""
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            space = pattern.namespace
            yield from ["admin"] if space == "admin" else addresses(pattern, f"{space}:" if space else prefix)
        else:
            yield f"{prefix}{pattern.name}"


def send(client, method, url, fields=None, **headers):
    """What a browser's form, or a link, sends."""
    return client.post(url, fields, **headers) if method == "POST" else client.generic(method, url, **headers)


def sentence(response):
    """The sentence of an error page."""
    return response.content.decode().partition("data-sentence>")[2].partition("</p>")[0]


def names_who_can(response):
    """Whether a 403 is a page with a sentence about who can do this."""
    words = ("ana", "who asked", "may approve", "approver", "admin", "requester", "superuser", "colleague")
    said = sentence(response)
    return (
        any(word in said for word in words)
        and "Your account does not have permission for this page" not in said
    )


def cell(client, method, url, fields, *, started):
    """What this person gets there, as a cell of the table; `started` is what was there before. All is undone again."""
    savepoint = transaction.savepoint()
    response = send(client, method, url, fields)
    ended = snapshot()
    changed = {model.__name__ for model in ended if ended[model] != started[model]}
    transaction.savepoint_rollback(savepoint)
    status = str(response.status_code)
    if status == "302" and response["Location"] == LOGIN + quote(url):
        status = "login"
    if status == "403" and not names_who_can(response):
        status = "403 without saying who can"
    if not changed:
        return status
    if status == "200" and changed <= RECORD:
        return "file" if response.has_header("Content-Disposition") else "noted"
    return "done" if status == "302" else f"{status}, and something was changed"


@pytest.fixture(autouse=True)
def _no_mark(settings):
    """What a row does is rolled back after it, which looks like a restored backup."""
    settings.RESTORE_MARK = None


@pytest.fixture(scope="class")
def stage(django_db_setup, django_db_blocker):
    """The teams and people of the table, logged in once for all of its rows."""
    around = transaction.atomic()
    around._from_testcase = True  # as Django's TestCase does: `durable` blocks are allowed inside
    with django_db_blocker.unblock(), around:
        with responses.RequestsMock(assert_all_requests_are_fired=False) as http:
            scene = Scene(Provider(http))
            scene.log_everybody_in()
        yield scene
        transaction.set_rollback(True)


class TestTheTable:
    def test_holds_every_address(self):
        assert sorted(addresses(get_resolver())) == sorted(["admin", *ADDRESSES])

    @pytest.mark.parametrize("address, method", ROWS)
    def test_row(self, stage, provider, address, method):
        found = {}
        for own in (True, False):
            savepoint = transaction.savepoint()
            scene = stage.on(provider, own=own)
            url = scene.url(address)
            fields = scene.fields(address) if method == "POST" else None
            started = snapshot()
            for role in ROLES:
                if (role == "own") == own:
                    found[role] = cell(scene.browser(role), method, url, fields, started=started)
            assert snapshot() == started
            transaction.savepoint_rollback(savepoint)
        assert found == ROWS[address, method]

    def test_any_other_method_is_405_and_changes_nothing(self, stage, provider):
        """Whoever asks: the superuser, who may do most, and one of the others in turn."""
        urls, savepoint = {}, transaction.savepoint()
        for (
            address
        ) in ADDRESSES:  # each in a scene of its own, and whoever asks the wrong way is told before a look
            with responses.RequestsMock(assert_all_requests_are_fired=False) as http:
                urls[address] = stage.on(Provider(http)).url(address)
            transaction.savepoint_rollback(savepoint)
            savepoint = transaction.savepoint()
        people = [role for role in ROLES if role not in ("nobody", "gone", "root")]
        clients = {role: stage.browser(role) for role in (*people, "root")}
        for client in clients.values():
            client.get("/")  # starts the time limits of the session
        before = snapshot()
        calls = [(address, method) for address in urls for method in METHODS if (address, method) not in ROWS]
        other = {
            (address, method, role): send(clients[role], method, urls[address]).status_code
            for place, (address, method) in enumerate(calls)
            for role in ("root", people[place % len(people)])
        }
        assert {cell: status for cell, status in other.items() if status != 405} == {}
        assert snapshot() == before

    @pytest.mark.parametrize("address, method", POSTS)
    def test_what_changes_something_wants_a_csrf_token(self, stage, provider, address, method):
        scene = stage.on(provider)
        url, fields = scene.url(address), scene.fields(address)
        clients = [scene.browser(role, enforce_csrf_checks=True) for role in ("root", "nobody")]
        before = snapshot()
        for client in clients:
            response = send(client, method, url, fields)
            assert (response.status_code, snapshot() == before) == (403, True)
            assert "was not carried out" in sentence(response)


HTMX = {"HTTP_HX_REQUEST": "true", "HTTP_HX_CURRENT_URL": "http://testserver/approvals/?page=2"}


class TestAnExpiredLogIn:
    @pytest.mark.parametrize("address", ["request-live", "home-live", "approvals-news"])
    def test_sends_the_whole_page_of_a_fragment_to_the_log_in_and_back(self, provider, address):
        scene = Scene(provider)
        response = scene.client("gone").get(scene.url(f"purchasing:{address}"), **HTMX)
        assert response["HX-Redirect"] == LOGIN + "/approvals/%3Fpage%3D2"
        assert response.content == b""

    def test_leads_to_this_site_only(self, client, db):
        elsewhere = {**HTMX, "HTTP_HX_CURRENT_URL": "http://elsewhere.example/"}
        assert client.get("/live/", **elsewhere)["HX-Redirect"] == LOGIN + "/"

    def test_of_a_click_changes_nothing(self, provider):
        scene = Scene(provider)
        url, fields = scene.url("purchasing:request-approve"), scene.fields("purchasing:request-approve")
        client = scene.client("gone")
        before = snapshot()
        assert client.post(url, fields, **HTMX)["HX-Redirect"].startswith(LOGIN)
        assert snapshot() == before


class TestNobodyApprovesTheirOwn:
    @pytest.mark.parametrize("step", ["approve", "reject"])
    def test_not_as_a_superuser(self, client, team, step):
        root = factories.superuser()
        asked = factories.request(team, root, ["+12125550101"])
        client.force_login(root)
        fields = {"version": 1, "purchase": [asked.purchases.get().pk], "reason": "Fine"}
        response = client.post(reverse(f"purchasing:request-{step}", args=[asked.pk]), fields)
        assert response.status_code == 403
        assert asked.purchases.get().state == "pending"

    def test_not_through_a_role_in_a_second_team(self, client, team, sam, pending):
        sales = factories.team("Sales", key="idc_" + "s" * 32)
        client.force_login(factories.member("sam", sales, "approver"))
        fields = {"version": 1, "purchase": [pending.purchases.get().pk]}
        url = reverse("purchasing:request-approve", args=[pending.pk])
        assert client.post(url, fields).status_code == 403

    def test_their_own_is_not_in_their_queue(self, client, team):
        root = factories.superuser()
        factories.request(team, root, ["+12125550101"])
        client.force_login(root)
        assert "Nothing is waiting for your approval" in client.get("/approvals/").content.decode()


class TestARoleThatIsLost:
    def test_counts_from_the_next_request(self, client, ana, pending):
        client.force_login(ana)
        assert client.get("/approvals/").status_code == 200
        Membership.objects.filter(user=ana).delete()
        assert client.get("/approvals/").status_code == 403
        assert client.get(f"/requests/{pending.pk}/").status_code == 404
        assert client.get(f"/requests/{pending.pk}/live/").status_code == 404

    def test_a_person_who_is_switched_off_is_out_at_once(self, client, ana):
        client.force_login(ana)
        User.objects.filter(pk=ana.pk).update(is_active=False)
        assert client.get("/")["Location"] == LOGIN + "/"


class TestAnotherTeam:
    def test_its_numbers_of_a_forged_form_are_not_decided(self, client, team, ana, pending):
        sales = factories.team("Sales", key="idc_" + "s" * 32)
        theirs = factories.request(sales, factories.member("tom", sales, "requester"), ["+12125550109"])
        client.force_login(ana)
        fields = {"version": 1, "purchase": [theirs.purchases.get().pk], "reason": "No"}
        for step in ("approve", "reject"):
            page = client.post(f"/requests/{pending.pk}/{step}/", fields, follow=True)
            assert "Choose numbers of this request only." in page.content.decode()
        assert theirs.purchases.get().state == "pending"

    def test_its_records_are_on_no_page(self, provider):
        scene = Scene(provider)
        client = scene.client("other")
        factories.approve(scene.request, scene.ana)
        for address in ("home", "requests", "numbers", "audit", "teams", "approvals", "held"):
            page = client.get(reverse(f"purchasing:{address}")).content.decode()
            for word in ("Support", "555-0101", "5550101", "sam", "New desks"):
                assert word not in page, (address, word)

    @pytest.mark.parametrize("url", ["/requests/%s/", "/purchases/%s/", "/requests/%s/live/"])
    def test_an_id_that_no_record_can_have_is_404(self, client, ana, url):
        client.force_login(ana)
        for number in (0, 2**31, 2**63, 10**40):
            assert client.get(url % number).status_code == 404


class TestTheAdminSite:
    """Every address below it is for superusers only, and no record of ours can be changed there."""

    URLS = (
        "",
        "auth/group/",
        "purchasing/auditevent/",
        "purchasing/user/",
        "purchasing/user/1/change/",
        "no/such/",
    )

    @pytest.mark.parametrize("role", [role for role in ROLES if role != "root"])
    def test_lets_nobody_else_in(self, provider, role):
        client = Scene(provider).client(role)
        for url in self.URLS:
            for method in ("GET", "POST"):
                response = client.generic(method, f"/admin/{url}")
                assert response.status_code == 302
                assert response["Location"].partition("?")[0] in ("/accounts/login/", "/admin/login/")

    def test_is_a_window_on_the_records(self, client, pending):
        client.force_login(factories.superuser())
        event = AuditEvent.objects.order_by("-seq").first()
        windows = {"auditevent": event.pk, "purchase": pending.purchases.get().pk, "team": pending.team_id}
        windows |= {"user": pending.requester_id, "membership": Membership.objects.first().pk}
        before = snapshot()
        for model, pk in windows.items():
            url = f"/admin/purchasing/{model}/"
            assert client.get(url).status_code == client.get(f"{url}{pk}/change/").status_code == 200
            for step in ("add/", f"{pk}/change/", f"{pk}/delete/"):
                assert client.post(url + step, {"username": "x", "post": "yes"}).status_code == 403
            client.post(url, {"action": "delete_selected", "_selected_action": [pk], "post": "yes"})
        assert client.post(f"/admin/purchasing/user/{pending.requester_id}/password/").status_code == 403
        assert snapshot() == before

    def test_shows_no_key(self, client, team):
        client.force_login(factories.superuser())
        page = client.get("/admin/").content.decode()
        assert "API key" not in page and "apikey" not in page


class TestAskingForATeam:
    @pytest.mark.parametrize("held", [["approver"], ["admin"], []], ids=["approver", "admin", "no role"])
    def test_that_one_may_not_ask_for_is_a_sentence_at_its_place(self, provider, held):
        scene = Scene(provider)
        for role in held:
            factories.member("sam", scene.sales, role)
        fields = scene.request_fields | {"team": scene.sales.pk}
        response = scene.client("asker").post("/requests/new/", fields)
        assert response.context["form"].errors == {"team": ["Choose one of your teams."]}
        assert not PurchaseRequest.objects.exists()
