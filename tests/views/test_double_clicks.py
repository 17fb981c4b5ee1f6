"""Every button pressed twice at once, through the pages, on real threads: one click takes effect, the other is answered
with a sentence. On SQLite and on PostgreSQL.
"""

import sqlite3
from contextlib import closing, suppress
from datetime import timedelta

import psycopg
import pytest
import requests
from django.db import connection
from django.test import Client
from django.utils import timezone

from purchasing import audit, clock, problems
from purchasing.audit import restores
from purchasing.buying import evidence, price_guard, procurement
from purchasing.models import Attempt, AuditEvent, OfferLook, Purchase
from purchasing.provider import pauses
from purchasing.states import Cause, State
from purchasing.teams import keys, members, restore_alarm, stand_ins, stop_buying
from tests import factories
from tests.factories import actor
from tests.healthy_provider import OWNED, offer, owned
from tests.test_races import race
from tests.views.access import words

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 2
NEW = "idc_" + "n" * 28 + "9876"


@pytest.fixture(autouse=True)
def whole_chain(transactional_db):
    yield
    assert audit.verify().whole


def browser(person):
    """A browser in which that person is logged in."""
    client = Client()
    client.force_login(person)
    return client


def click(browsers, url, fields):
    """Send one form from all these browsers at once; returns the page text that each of them gets."""
    pages = race(*(lambda window=window: window.post(url, fields, follow=True) for window in browsers))
    assert [page.value.status_code for page in pages] == [200] * len(browsers)
    return [words(page.value) for page in pages]


class Desk:
    """The team, its people, and the records a button needs before it can be pressed."""

    def __init__(self, team, sam, ana, tom, provider):
        self.team, self.sam, self.ana, self.tom, self.provider = team, sam, ana, tom, provider
        self.root = factories.superuser()
        self.count = 0

    def number(self):
        self.count += 1
        return f"+121255501{self.count:02d}"

    def pending(self):
        return factories.request(self.team, self.sam, [self.number()]).purchases.get()

    def approved(self):
        purchase = self.pending()
        factories.approve(purchase.request, self.ana)
        return purchase

    def in_doubt(self):
        """One that is held because nobody knows whether it was bought, and may be tried again."""
        purchase = self.approved()
        self.provider.answer_purchase(requests.ReadTimeout())
        procurement.buy(purchase.pk)
        Purchase.objects.filter(pk=purchase.pk).update(window_ends_at=clock.now())
        for _ in range(evidence.CLEAN_READS):
            Purchase.objects.filter(pk=purchase.pk).update(due_at=clock.now())
            evidence.gather(self.team.keys.get().pk)
        assert factories.state_of(purchase) == State.HELD
        return purchase

    def dearer(self):
        """One that is held because it costs more now than was approved."""
        purchase = self.approved()
        OfferLook.objects.all().delete()
        self.provider.offers = [offer(purchase.phone_number, "1.50", "3.00")]
        procurement.buy(purchase.pk)
        assert factories.state_of(purchase) == State.HELD
        return purchase

    # --- The buttons: who presses, where, what is sent, and the text after the first and the second click -----------

    def approve(self):
        purchase = self.pending()
        return (
            self.ana,
            f"/requests/{purchase.request_id}/approve/",
            {"version": 1, "purchase": [purchase.pk]},
            "1 number approved.",
            f"ana approved {purchase} a moment ago.",
            purchase,
        )

    def reject(self):
        purchase = self.pending()
        return (
            self.ana,
            f"/requests/{purchase.request_id}/reject/",
            {"version": 1, "purchase": [purchase.pk], "reason": "Too many"},
            "1 number rejected.",
            f"ana rejected {purchase}.",
            purchase,
        )

    def cancel(self):
        purchase = self.approved()
        return (
            self.sam,
            f"/requests/{purchase.request_id}/cancel/",
            {},
            "1 number cancelled.",
            (f"sam cancelled {purchase}.", "There is nothing left to cancel."),
            purchase,
        )

    def edit(self):
        purchase = self.pending()
        fields = {
            "version": 1,
            "reason": "Other desks",
            "n-TOTAL_FORMS": 1,
            "n-INITIAL_FORMS": 1,
            "n-0-phone_number": purchase.phone_number,
            "n-0-name": "Door",
            "n-0-number_type": "local",
            "n-0-record_calls": "no",
        }
        return (
            self.sam,
            f"/requests/{purchase.request_id}/edit/",
            fields,
            "Changed. Approvers see the new version;",
            "The request has changed since you opened this page.",
            purchase,
        )

    def decide(self, purchase, step, done, told, **fields):
        return (
            self.ana,
            f"/purchases/{purchase.pk}/{step}/",
            {"reason": "I looked"} | fields,
            done,
            told,
            purchase,
        )

    def it_was_bought(self):
        purchase = self.in_doubt()
        provider_id = 4700 + self.count
        self.provider.owned_numbers.append(owned(purchase.phone_number, provider_id))
        told = f"{purchase} has already been bought."
        return self.decide(purchase, "it-was-bought", "Recorded as bought.", told, provider_id=provider_id)

    def try_again(self):
        purchase = self.in_doubt()
        told = f"ana approved {purchase} a moment ago."
        seen = {f"upfront-{purchase.pk}": "1.00", f"monthly-{purchase.pk}": "2.00"}
        return self.decide(purchase, "try-again", "Approved again and queued.", told, **seen)

    def approve_again(self):
        purchase = self.dearer()
        told = f"ana approved {purchase} a moment ago."
        seen = {f"upfront-{purchase.pk}": "1.50", f"monthly-{purchase.pk}": "3.00"}
        return self.decide(purchase, "approve-again", "Approved again and queued.", told, **seen)

    def give_up_in_doubt(self):
        purchase = self.in_doubt()
        return self.decide(purchase, "give-up", "Given up.", f"ana gave up {purchase}.")

    def give_up_too_dear(self):
        purchase = self.dearer()
        return self.decide(purchase, "give-up", "Given up.", f"{purchase} could not be bought.")

    def stop(self):
        self.go_on_again()
        done, told = "Buying is stopped for Support.", "Buying is already stopped."
        return self.tom, "/teams/support/stop/", {"reason": "Audit"}, done, told, "team.stopped"

    def go_on(self):
        stop_buying.stop(self.team, actor=actor(self.tom), reason="Audit")
        done, told = "Buying for Support is active again.", "Buying is not stopped."
        return self.tom, "/teams/support/go-on/", {"reason": "Done"}, done, told, "team.goes_on"

    def stop_all(self):
        self.go_on_again()
        done, told = "All buying is stopped.", "Buying is already stopped."
        return self.root, "/buying/stop/", {"reason": "Audit"}, done, told, "desk.stopped"

    def go_on_all(self):
        stop_buying.stop_all(actor=actor(self.root), reason="Audit")
        done, told = "Buying is active again.", "Buying is not stopped."
        return self.root, "/buying/go-on/", {"reason": "Done"}, done, told, "desk.goes_on"

    def alarm_go_on(self):
        restore_alarm.sound(restores.Alarm("It is a copy.", epoch=0))
        done, told = "The alarm is over.", "There is no alarm."
        return self.root, "/buying/alarm/go-on/", {"reason": "Done"}, done, told, "desk.goes_on_after_alarm"

    def go_on_again(self):
        for again in (
            lambda: stop_buying.go_on(self.team, actor=actor(self.tom), reason="Done"),
            lambda: stop_buying.go_on_all(actor=actor(self.root), reason="Done"),
        ):
            with suppress(problems.Problem):  # nothing was stopped
                again()

    def remove_key(self):
        key = keys.set_key(self.team, f"idc_{self.number()[1:]:0>32}", actor=factories.SYSTEM)
        fields = {"seen": key.pk, "reason": "Seen by others", "password": factories.PASSWORD}
        told = "The key was replaced or removed since you opened this page. Look at it again."
        return self.tom, "/teams/support/key/remove/", fields, "The key was removed.", told, "key.removed"

    def name_stand_in(self):
        day = timezone.localdate() + timedelta(days=self.count)
        self.count += 1
        fields = {"approver": self.ana.pk, "stand_in": self.sam.pk, "from_day": day, "to_day": day}
        told = "Somebody already stands in for ana on some of these days. End that first."
        done = "Stand-in named. Each of their decisions shows both names."
        return self.ana, "/teams/support/stand-ins/", fields, done, told, "stand_in.named"

    def end_stand_in(self):
        day = timezone.localdate()
        row = stand_ins.name_stand_in(
            self.team, actor=actor(self.ana), approver=self.ana, stand_in=self.sam, from_day=day, to_day=day
        )
        return (
            self.ana,
            f"/teams/support/stand-ins/{row.pk}/end/",
            {},
            "The stand-in has ended.",
            "This has ended already.",
            "stand_in.ended",
        )


MOVES = {
    "approve": "purchase.approved",
    "reject": "purchase.rejected",
    "cancel": "purchase.cancelled",
    "it_was_bought": "purchase.purchased",
    "give_up_in_doubt": "purchase.given_up",
    "give_up_too_dear": "purchase.failed",
}
TWICE_APPROVED = ("try_again", "approve_again")  # the first approval is the one from before it was held
EDITS = ("edit",)
OTHERS = (
    "stop",
    "go_on",
    "stop_all",
    "go_on_all",
    "alarm_go_on",
    "remove_key",
    "name_stand_in",
    "end_stand_in",
)
BUTTONS = (*MOVES, *TWICE_APPROVED, *EDITS, *OTHERS)


@pytest.fixture
def desk(team, sam, ana, tom, provider):
    return Desk(team, sam, ana, tom, provider)


def times(button, on):
    """How often the button took effect, according to the record."""
    if button in MOVES:
        return factories.actions(on).count(MOVES[button])
    if button in TWICE_APPROVED:
        return factories.actions(on).count("purchase.approved") - 1
    if button in EDITS:
        return AuditEvent.objects.filter(action="request.edited", request=on.request_id).count()
    return AuditEvent.objects.filter(action=on).count()


@pytest.mark.database
@pytest.mark.parametrize("button", BUTTONS)
def test_of_two_clicks_at_once_one_takes_effect_and_the_other_reads_why_not(desk, button):
    for _ in range(ROUNDS):
        person, url, fields, done, told, on = getattr(desk, button)()
        before = times(button, on)
        browsers = [browser(person), browser(person)]
        pages = click(browsers, url, fields)

        assert times(button, on) == before + 1
        told = (told,) if isinstance(told, str) else told
        assert sorted(done in page for page in pages) == [False, True], pages
        [other] = [page for page in pages if done not in page]
        assert any(sentence in other for sentence in told), other


@pytest.mark.parametrize("button", BUTTONS)
def test_a_double_click_in_one_browser_takes_effect_once(desk, button):
    """Both clicks share a session, so either page may show both messages; neither may fail."""
    person, url, fields, *_, on = getattr(desk, button)()
    before, window = times(button, on), browser(person)
    windows = [Client(), Client()]
    for other in windows:
        other.cookies = window.cookies.copy()
    click(windows, url, fields)
    assert times(button, on) == before + 1


@pytest.mark.database
class TestDifferentDecisionsAtOnce:
    def test_on_what_is_held_leave_one_and_a_sentence_for_the_others(self, desk, team):
        eve, bob = (factories.member(name, team, "approver") for name in ("eve", "bob"))
        for _ in range(ROUNDS):
            _, bought, fields, *_, purchase = desk.it_was_bought()
            url = f"/purchases/{purchase.pk}"
            again = {
                f"upfront-{purchase.pk}": "1.00",
                f"monthly-{purchase.pk}": "2.00",
                "reason": "Not there",
            }
            forms = [
                (browser(desk.ana), bought, fields, "Recorded as bought."),
                (browser(eve), f"{url}/give-up/", {"reason": "Enough"}, "Given up."),
                (
                    browser(bob),
                    f"{url}/try-again/",
                    again,
                    "Approved again and queued.",
                ),
            ]
            before = len(factories.actions(purchase))
            results = race(
                *(lambda form=form: words(form[0].post(form[1], form[2], follow=True)) for form in forms)
            )
            done = [form[3] for form, result in zip(forms, results, strict=True) if form[3] in result.value]
            assert len(done) == 1
            assert (
                factories.state_of(purchase)
                == {
                    "Recorded as bought.": State.PURCHASED,
                    "Given up.": State.GIVEN_UP,
                    "Approved again and queued.": State.APPROVED,
                }[done[0]]
            )
            assert len(factories.actions(purchase)) == before + 1

    def test_to_approve_and_to_reject_leave_one(self, desk, team):
        eve = factories.member("eve", team, "approver")
        for _ in range(ROUNDS):
            _, url, fields, *_, purchase = desk.approve()
            reject = url.replace("approve", "reject")
            results = race(
                lambda url=url, fields=fields: browser(desk.ana).post(url, fields, follow=True),
                lambda url=reject, fields=fields: browser(eve).post(
                    url, fields | {"reason": "No"}, follow=True
                ),
            )
            pages = [words(result.value) for result in results]
            assert ["1 number approved." in pages[0], "1 number rejected." in pages[1]].count(True) == 1
            assert len(factories.actions(purchase)) == 2
            who = {"approved": ("ana approved", 1), "rejected": ("eve rejected", 0)}[
                factories.state_of(purchase)
            ]
            assert f"{who[0]} {purchase}" in pages[who[1]]


class TestAKeyThatIsReplacedBetweenThePageAndTheClick:
    """The page showed one key, and by the time of the click there is another."""

    @pytest.fixture
    def tom_sees(self, desk, tom):
        window = browser(tom)
        page = window.get("/teams/support/key/")
        assert "…1234" in words(page)
        self.old = pauses.current_key(desk.team)
        self.new = keys.set_key(desk.team, NEW, actor=factories.SYSTEM)
        return window

    def test_is_not_removed(self, tom_sees, desk):
        fields = {"seen": self.old.pk, "reason": "Seen by others", "password": factories.PASSWORD}
        page = words(tom_sees.post("/teams/support/key/remove/", fields, follow=True))
        assert "The key was replaced or removed since you opened this page. Look at it again." in page
        assert pauses.current_key(desk.team) == self.new

    def test_is_tested_as_the_one_that_is_in_use(self, tom_sees, desk):
        desk.provider.tells_of_the_key()
        tom_sees.post("/teams/support/key/test/", follow=True)
        assert AuditEvent.objects.get(action="key.tested").data["key"] == NEW[-4:]
        assert {call.request.headers["Authorization"] for call in desk.provider.http.calls} == {
            f"Bearer {NEW}"
        }

    def test_is_told_when_it_happens_during_the_test(self, desk, tom):
        desk.provider.tells_of_the_key()

        def answered(request):
            keys.set_key(desk.team, NEW, actor=factories.SYSTEM)
            return 200, {}, '{"data": []}'

        desk.provider.http.remove("GET", OWNED)
        desk.provider.http.add_callback("GET", OWNED, answered)
        page = words(browser(tom).post("/teams/support/key/test/", follow=True))
        assert "The key was replaced or removed while it was tested." in page
        assert pauses.current_key(desk.team).tested_at is None

    def test_approving_goes_on_and_buys_with_the_one_in_use(self, desk):
        _, url, fields, done, _, purchase = desk.approve()
        window = browser(desk.ana)
        window.get(f"/requests/{purchase.request_id}/")
        new = keys.set_key(desk.team, NEW, actor=factories.SYSTEM)
        assert done in words(window.post(url, fields, follow=True))
        desk.provider.sells(purchase.phone_number)
        procurement.buy(purchase.pk)
        assert Attempt.objects.get().key == new


@pytest.mark.database
class TestAnApproverWhoIsLost:
    """Between approval and claim: whichever comes first, nothing is claimed on an approval that no longer counts."""

    LOSSES = {
        "the role": lambda team, who, root: members.change_roles(
            team, who, roles=["requester"], seen=["approver"], actor=actor(root)
        ),
        "the place in the team": lambda team, who, root: members.remove_member(team, who, actor=actor(root)),
        "the account": lambda team, who, root: members.switch_account(who, on=False, actor=actor(root)),
    }
    EVENTS = ("member.roles_changed", "member.removed", "member.deactivated")

    @pytest.mark.parametrize("what", LOSSES)
    def test_against_the_claim(self, desk, team, sam, what):
        for place in range(2 * ROUNDS):
            who = factories.member(f"eve{place}", team, "approver")
            [purchase] = factories.approve(factories.request(team, sam, [desk.number()]), who)
            desk.provider.sells(purchase.phone_number, 900 + place)
            posts = len(desk.provider.purchases)
            race(
                lambda pk=purchase.pk: procurement.buy(pk),
                lambda who=who: self.LOSSES[what](team, who, desk.root),
            )
            purchase.refresh_from_db()
            lost = AuditEvent.objects.filter(action__in=self.EVENTS).latest("seq").seq
            claimed = purchase.events.filter(action="purchase.purchasing").first()
            if claimed is None:
                assert (purchase.state, purchase.held_cause) == (State.HELD, Cause.APPROVER)
                assert len(desk.provider.purchases) == posts
            else:
                assert claimed.seq < lost
                assert purchase.state == State.PURCHASED

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM purchasing_membership WHERE user_id = {}",
            "UPDATE purchasing_membership SET role = 'requester' WHERE user_id = {}",
            "UPDATE purchasing_user SET is_active = false WHERE id = {}",
        ],
        ids=["membership", "role", "account"],
    )
    def test_waits_for_a_claim_that_has_looked_at_the_role(self, desk, ana, monkeypatch, statement):
        """Also when it is done directly in the database."""
        purchase = desk.approved()
        desk.provider.sells(purchase.phone_number)
        check_price, waited = price_guard.hold_if_dearer, []

        def meanwhile(*arguments):
            waited.append(has_to_wait(statement.format(ana.pk)))
            check_price(*arguments)

        monkeypatch.setattr(price_guard, "hold_if_dearer", meanwhile)
        procurement.buy(purchase.pk)
        assert (waited, factories.state_of(purchase)) == ([True], State.PURCHASED)
        assert not has_to_wait(statement.format(ana.pk))  # and goes through afterwards


def has_to_wait(statement):
    """Whether a statement on another connection is blocked by a lock."""
    if connection.vendor == "sqlite":
        line = sqlite3.connect(connection.settings_dict["NAME"], timeout=0, isolation_level=None)
        refused = sqlite3.OperationalError
    else:
        parameters = connection.get_connection_params()
        parameters = {
            name: parameters[name] for name in ("dbname", "user", "host", "port") if name in parameters
        }
        line = psycopg.connect(**parameters, autocommit=True)
        line.execute("SET lock_timeout = '200ms'")
        refused = psycopg.errors.LockNotAvailable
    with closing(line):
        try:
            line.execute(statement)
        except refused:
            return True
        return False
