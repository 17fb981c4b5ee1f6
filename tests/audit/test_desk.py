"""The auditors' desk: filters in the address, paging both ways, going to a day, one event, the story of a number."""

from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from purchasing import audit, clock
from purchasing import words as texts
from purchasing.audit import filing, search, search_places
from purchasing.buying import procurement
from purchasing.models import AuditEvent, Purchase
from purchasing.views import audit as desk
from tests import factories
from tests.views.access import Scene, words

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(client, db):
    client.force_login(factories.auditor())
    return client


@pytest.fixture
def pages(monkeypatch):
    """Pages of three events."""
    monkeypatch.setattr(desk, "PAGE", 3)


@pytest.fixture
def ten(team, ana):
    """Ten events by ana, each with a different reason."""
    actor = factories.actor(ana)
    return [audit.record("test.done", actor=actor, team=team, note=f"Reason number{n:02}") for n in range(10)]


def seqs(response):
    return [event.seq for event in response.context["events"]]


class TestPages:
    def test_go_both_ways_and_meet_each_other(self, client, ten, pages):
        address, down = "/audit/?q=reason", []
        while address:
            page = client.get(address)
            down.append(seqs(page))
            last, address = address, page.context["links"].get("older")
        expected = [event.seq for event in reversed(ten)]
        assert [seq for page in down for seq in page] == expected
        assert [len(page) for page in down] == [3, 3, 3, 1]
        up, address = [], client.get(last).context["links"]["newer"]
        while address:
            page = client.get(address)
            up.append(seqs(page))
            address = page.context["links"].get("newer")
        assert [seq for page in reversed(up) for seq in page] == expected[:9]
        assert "newer" not in page.context["links"] and page.context["newest"] == "/audit/?q=reason"

    def test_keep_the_filter_in_every_address(self, client, ten, pages):
        query = {"q": "reason", "person": "ana", "team": "support", "since": "2020-01-01"}
        page = client.get("/audit/", query | {"before": ten[6].seq, "action": "", "outcome": ""})
        addresses = [*page.context["links"].values(), page.context["newest"]]
        addresses += [address for _, address in page.context["exports"]]
        for address in addresses:
            kept = dict(parse_qsl(urlsplit(address).query))
            kept.pop("before", kept.pop("after", None))
            assert kept == query
        content = page.content.decode()
        assert 'value="ana"' in content and '<option value="support" selected>' in content
        assert "words “reason”; who ana; team Support; from 1 January 2020" in words(page)

    @pytest.mark.parametrize(
        "query", ["after=x", "after=-1", "before=1&after=2", f"after={'9' * 30}", "before=%00"]
    )
    def test_a_forged_place_is_no_500(self, client, ten, query):
        assert client.get(f"/audit/?{query}").status_code == 200

    def test_beyond_both_ends_lead_back(self, client, ten, pages):
        assert "newer" in client.get("/audit/?before=1").context["links"]
        assert "older" in client.get("/audit/?after=99999").context["links"]
        assert "There is nothing here." in words(client.get("/audit/?before=1"))

    def test_of_a_narrow_search_that_found_nothing_yet_can_go_on(self, client, team, ana, tom, monkeypatch):
        for module in (search_places, filing):
            monkeypatch.setattr(module, "SEGMENT", 8)
        monkeypatch.setattr(filing, "LOT", 4)
        for name, value in (("NEAR", 5), ("NARROWED", 8)):
            monkeypatch.setattr(search, name, value)
        first = audit.record("test.done", actor=factories.actor(tom), team=team, note="flyer")
        for _ in range(40):
            audit.record("test.done", actor=factories.actor(ana), team=team, note="flyer")
            audit.record("test.done", actor=factories.actor(tom), team=team, note="poster")
        page, rounds = client.get("/audit/?q=flyer&person=tom"), 0
        assert "No match so far, down to event" in words(page)
        # The page continues the search by itself.
        assert f'hx-get="{escape(page.context["links"]["search_on"])}"' in page.content.decode()
        while "search_on" in page.context["links"]:
            page, rounds = client.get(page.context["links"]["search_on"]), rounds + 1
        assert (seqs(page), rounds > 1) == ([first.seq], True)
        assert "1 event found" in words(page) and "hx-get" not in page.content.decode()


class TestTheQueries:
    FILTERS = [
        "",
        "before=9",
        "after=2",
        "person=ana",
        "q=reason",
        "number=555",
        "action=test.done&team=support",
        "since=2020-01-01&until=2199-01-01",
        "number=555&q=reason&team=support",
        "after=2&number=555&q=reason&team=support",
        "q=reason&request=1&person=ana",
    ]

    @pytest.mark.parametrize("query", FILTERS)
    def test_of_a_page_are_four_at_most_besides_session_and_user(self, client, ten, query, monkeypatch):
        for module, name, value in ((filing, "LOT", 2), (search, "NEAR", 3)):
            monkeypatch.setattr(module, name, value)
        audit.record("test.done", actor=factories.SYSTEM)
        client.get("/audit/")  # the first request of a session writes it
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"/audit/?{query}").status_code == 200
        statements = [query["sql"] for query in queries]
        assert len(statements) <= 2 + 4, statements
        assert not [sql for sql in statements if "COUNT(" in sql.upper() or "OFFSET" in sql.upper()]


class TestADay:
    @pytest.fixture
    def days(self, team, monkeypatch):
        """Three events per day, for three days."""
        at = clock.now().replace(hour=10, minute=0) + timedelta(days=1)
        found = []
        for day in range(3):
            for hour in range(3):
                moment = at + timedelta(days=day, hours=hour)
                monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
                found.append(audit.record("test.done", actor=factories.SYSTEM, team=team, note="day"))
        monkeypatch.undo()
        return found

    def test_can_be_gone_to(self, client, days):
        second = days[4].at.date().isoformat()
        page = client.get("/audit/", {"q": "day", "day": second}, follow=True)
        assert seqs(page) == [event.seq for event in reversed(days[:6])]
        assert page.redirect_chain == [(f"/audit/?q=day&before={days[6].seq}", 302)]

    def test_that_is_before_or_after_all_others(self, client, days):
        assert seqs(client.get("/audit/?q=day&day=2001-01-01", follow=True)) == []
        assert len(seqs(client.get("/audit/?q=day&day=2199-01-01", follow=True))) == 9

    def test_from_and_to_are_both_included(self, client, days):
        second, third = days[4].at.date().isoformat(), days[8].at.date().isoformat()
        assert seqs(client.get(f"/audit/?q=day&since={second}&until={second}")) == [
            e.seq for e in days[5:2:-1]
        ]
        assert seqs(client.get(f"/audit/?q=day&since={third}")) == [e.seq for e in days[8:5:-1]]

    def test_begins_at_midnight_here(self, client, team, settings, monkeypatch):
        settings.TIME_ZONE = "Asia/Kolkata"
        # Midnight in India, which is five and a half hours ahead of UTC.
        midnight = clock.now().replace(hour=18, minute=30, second=0, microsecond=0)
        for seconds in (-1, 0, 86399, 86400):
            monkeypatch.setattr(clock, "now", lambda seconds=seconds: midnight + timedelta(seconds=seconds))
            audit.record("test.done", actor=factories.SYSTEM, team=team, note="midnight")
        there = (midnight + timedelta(hours=12)).date().isoformat()
        found = client.get(f"/audit/?q=midnight&since={there}&until={there}").context["events"]
        assert [event.at for event in found] == [midnight + timedelta(seconds=s) for s in (86399, 0)]


class TestWrongInput:
    WRONG = {
        "number=x": ("number", "A phone number has no letters. Names and reasons have a field of their own."),
        "number=12": ("number", "At least three digits, or a + and the beginning of the number."),
        "number=%2B": ("number", "At least three digits, or a + and the beginning of the number."),
        "q=a": ("q", "Words of two letters or more."),
        "q=%21%21": ("q", "Words of two letters or more."),
        "q=" + "+".join(f"word{n}" for n in range(9)): ("q", "At most 8 words."),
        "q=" + "x" * 201: ("q", "At most 200 characters; this has 201."),
        "action=no.such": ("action", "Select a valid choice."),
        "outcome=lost": ("outcome", "Select a valid choice."),
        "team=none": ("team", "Choose one of the teams that you may read."),
        "request=x": ("request", "A whole number, such as 17."),
        "request=0": ("request", "A whole number, such as 17."),
        "request=" + "9" * 30: ("request", "A whole number, such as 17."),
        "since=yesterday": ("since", "A day, such as 2026-05-31."),
        "until=2026-02-30": ("until", "A day, such as 2026-05-31."),
        "since=9999-12-31": ("since", "A day, such as 2026-05-31."),
        "since=2026-05-02&until=2026-05-01": ("until", "This day is before the first one."),
    }

    @pytest.mark.parametrize("query", WRONG)
    def test_gets_a_sentence_at_its_place_and_everything_is_kept(self, client, ten, query):
        field, sentence = self.WRONG[query]
        page = client.get(f"/audit/?{query}&person=ana")
        assert page.status_code == 200
        assert sentence in " ".join(page.context["form"].errors[field])
        content = page.content.decode()
        assert f'id="id_{field}_error"' in content and 'value="ana"' in content
        assert "rows" not in page.context and "export.csv" not in content
        typed = dict(parse_qsl(query))[field]
        if field not in ("action", "outcome", "team"):
            assert f'value="{typed}"' in content

    def test_for_the_day_to_go_to(self, client, ten):
        page = client.get("/audit/?day=soon&person=ana")
        assert "A day, such as 2026-05-31." in words(page) and 'value="soon"' in page.content.decode()

    @pytest.mark.parametrize(
        "query", ["number=%EF%BC%95%EF%BC%95%EF%BC%95", "number=%2B1+(212)+555", "number=555-01"]
    )
    def test_a_number_is_understood_however_it_is_written(self, client, pending, query):
        assert seqs(client.get(f"/audit/?{query}"))

    def test_two_filters_that_exclude_each_other_match_nothing(self, client, ten):
        page = client.get("/audit/?action=key.stored&outcome=approved")
        assert "No event matches all of this." in words(page)


class TestWhatIsShown:
    def test_sentences_with_role_stand_in_reason_and_badge(self, client, provider):
        scene = Scene(provider)
        person = scene.person("stand_in")
        audit_client = client
        client = scene.client("stand_in")
        fields = {"version": 1, "purchase": [scene.purchase.pk], "reason": "We have <b>one</b>."}
        client.post(f"/requests/{scene.request.pk}/reject/", fields)
        page = audit_client.get("/audit/?outcome=rejected")
        text = words(page)
        assert f"{person.username}, standing in for ana requester" in text
        assert "Rejected rejected +1 212-555-0101" in text
        assert "We have &lt;b&gt;one&lt;/b&gt;." in page.content.decode()

    @pytest.mark.parametrize(
        "text",
        ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7|add:7 }}", "%s %(x)s {0}"],
    )
    def test_everything_that_somebody_wrote_stays_text(self, client, team, text):
        actor = audit.Actor(name=text, on_behalf_of=text, role=text[:40])
        event = audit.record("test.done", actor=actor, team=team, note=text, name=text, **{text[:20]: text})
        for address in ("/audit/", f"/audit/{event.seq}/"):
            page = client.get(address).content.decode()
            assert "<script>alert" not in page and "<img src=x" not in page
            assert text in words(client.get(address))

    def test_what_is_kept_for_how_long(self, client):
        assert "Events cannot be changed or removed: purchases and their events are kept for good" in words(
            client.get("/audit/")
        )

    def test_the_newest_seal(self, client, ten):
        assert "Not sealed yet" in words(client.get("/audit/"))
        audit.seal(actor=factories.SYSTEM)
        assert f"Sealed up to event {ten[-1].seq} on" in words(client.get("/audit/"))

    def test_what_can_be_chosen_is_what_the_person_may_see(self, client, team, sam, django_user_model):
        factories.member("yvonne", factories.team("Sales", key=None), "requester")
        client.force_login(sam)
        page = client.get("/audit/").content.decode()
        assert (
            "yvonne" not in page
            and "Sales" not in page
            and '<option value="support">Support</option>' in page
        )
        client.force_login(factories.superuser())
        page = client.get("/audit/").content.decode()
        assert '<option value="yvonne"></option>' in page and '<option value="sales">Sales</option>' in page

    def test_every_action_can_be_chosen(self):
        offered = [action for _, some in texts.actions() for action, _ in some]
        assert sorted(offered) == sorted(texts.EVENTS)
        assert all("{" not in words and "…" not in words for _, some in texts.actions() for _, words in some)


class TestWhoIsNoAuditor:
    def test_sees_only_what_their_teams_did_by_no_filter(self, client, provider):
        scene = Scene(provider)
        factories.approve(scene.request, scene.ana)
        audit.record("test.done", actor=factories.actor(scene.sam), note="of no team")
        client = scene.client("other")
        own = set(AuditEvent.objects.filter(team=scene.sales).values_list("seq", flat=True))
        for query in (
            "",
            "q=new+desks",
            "number=555",
            "person=sam",
            "person=ana",
            "outcome=approved",
            f"request={scene.request.pk}",
            "since=2020-01-01",
        ):
            page = client.get(f"/audit/?{query}")
            assert set(seqs(page)) <= own, query
        click = scene.request.events.first().click
        assert seqs(client.get(f"/audit/?click={click}")) == []

    def test_opens_no_event_of_another_team_or_of_none(self, client, provider):
        scene = Scene(provider)
        theirs = scene.request.events.first()
        nobodys = audit.record("test.done", actor=factories.SYSTEM)
        client = scene.client("other")
        for event in (theirs, nobodys):
            assert client.get(f"/audit/{event.seq}/").status_code == 404
        assert client.get(f"/purchases/{scene.purchase.pk}/story/").status_code == 404

    def test_sees_no_address_that_somebody_came_from(self, client, team, sam):
        event = audit.record("test.done", actor=audit.Actor.person(sam, ip="10.1.2.3"), team=team)
        assert "10.1.2.3" in words(client.get(f"/audit/{event.seq}/"))
        client.force_login(sam)
        assert "10.1.2.3" not in words(client.get(f"/audit/{event.seq}/"))


class TestOneEvent:
    def test_has_the_raw_answer_one_click_away(self, client, provider):
        scene = Scene(provider)
        factories.approve(scene.request, scene.ana)
        provider.answer_purchase({"error": "Number <i>not</i> available"}, status=422)
        procurement.buy(scene.purchase.pk)
        event = AuditEvent.objects.get(action="purchase.failed")
        page = client.get("/audit/?outcome=failed").content.decode()
        assert f'<a href="/audit/{event.seq}/#answer">Call and raw answer</a>' in page
        shown = client.get(f"/audit/{event.seq}/").content.decode()
        assert 'id="answer"' in shown and "Number &lt;i&gt;not&lt;/i&gt; available" in shown
        assert "HTTP status 422" in shown

    def test_says_before_and_after_the_details_and_what_the_same_click_did(self, client, team, sam, ana):
        asked = factories.request(team, sam, ["+12125550101", "+12125550102"])
        factories.approve(asked, ana)
        first, second = AuditEvent.objects.filter(action="purchase.approved").order_by("seq")
        text = words(client.get(f"/audit/{first.seq}/"))
        assert "Waiting for approval then Approved, queued" in text
        assert (
            "monthly cost 2.0000" in text
            and "record calls yes" in text
            and "requirement group id none" in text
        )
        assert first.hash in text and first.at.isoformat(timespec="microseconds") in text
        assert f"Done by the same click {second.seq} approved +1 212-555-0102" in text
        assert "Sealed not yet" in text

    def test_that_is_not_there_is_404(self, client, ten):
        for seq in (0, 10**6, 2**63, 10**40):
            assert client.get(f"/audit/{seq}/").status_code == 404


class TestTheStory:
    def test_of_a_number_is_all_that_happened_from_the_request_on(self, client, provider):
        scene = Scene(provider)
        other = factories.request(scene.team, scene.sam, ["+12125550177"])
        factories.approve(scene.request, scene.ana)
        provider.answer_purchase(requests.ReadTimeout())
        procurement.buy(scene.purchase.pk)
        page = client.get(f"/purchases/{scene.purchase.pk}/story/")
        rows = [row.seq for row in page.context["rows"]]
        events = AuditEvent.objects.filter(request=scene.request).order_by("seq")
        assert rows == [event.seq for event in events] and len(rows) >= 5
        text = words(page)
        assert "sent this request" in text and "Orders sent to IdentityCall, and its answers" in text
        assert "kept for good" in text and other.purchases.get().phone_number not in page.content.decode()

    def test_leaves_out_the_other_numbers_of_the_request(self, client, team, sam):
        asked = factories.request(team, sam, ["+12125550101", "+12125550102"])
        first = asked.purchases.get(phone_number="+12125550101")
        page = client.get(f"/purchases/{first.pk}/story/")
        assert "+1 212-555-0102" not in words(page)
        assert [row.sentence for row in page.context["rows"]] == [
            "sent this request",
            "requested +1 212-555-0101",
        ]

    def test_shows_every_event_however_many_there_are(self, client, pending):
        purchase = Purchase.objects.get()
        for _ in range(350):
            audit.record("purchase.waits_long", actor=factories.SYSTEM, purchase=purchase)
        assert len(client.get(f"/purchases/{purchase.pk}/story/").context["rows"]) == 352
