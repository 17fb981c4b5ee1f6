"""Who is notified of what by mail: once for each event, in one mail for what belongs together."""

import email
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal

import pytest
import requests
from django.conf import settings
from django.core import mail
from django.core.management import CommandError, call_command
from django.db.models import F
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import reverse
from django.utils import timezone
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock, workflow
from purchasing.approving import approvals
from purchasing.asking import submission, versions
from purchasing.audit import restores
from purchasing.buying import evidence, held_purchases, procurement
from purchasing.identitycall.resources import Offer
from purchasing.mail import content, notices, reminders, sending
from purchasing.models import (
    AuditEvent,
    AuditHead,
    Mail,
    MailCursor,
    Membership,
    Purchase,
    PurchaseRequest,
    RequestVersion,
    StandIn,
    Team,
    User,
    make_single_rows,
)
from purchasing.provider import owned_list
from purchasing.teams import restore_alarm
from purchasing.worker import sweep
from tests import factories
from tests.factories import actor
from tests.healthy_provider import offer, owned

pytestmark = pytest.mark.django_db
NUMBERS = [f"+121255501{n:02d}" for n in range(1, 9)]
NUMBER = NUMBERS[0]


def test_an_alarm_is_told_to_superusers_once(team, tom):
    for name in ("root", "boss"):
        factories.superuser(name)
        User.objects.filter(username=name).update(email=f"{name}@example.com")
    for _ in range(2):
        restore_alarm.sound(restores.Alarm("The database is a copy: elsewhere.", epoch=0))
        notices.collect()
        sending.send()
    assert sorted(sent.to[0] for sent in mail.outbox) == ["boss@example.com", "root@example.com"]
    assert "The database is a copy: elsewhere." in mail.outbox[0].body
    assert f"{settings.SITE_URL}/teams/" in mail.outbox[0].body


def test_an_alarm_that_is_over_is_told_to_nobody(team):
    root = factories.superuser()
    User.objects.update(email="root@example.com")
    restore_alarm.sound(restores.Alarm("The database is a copy: elsewhere.", epoch=0))
    restore_alarm.go_on(actor=actor(root), reason="Checked")
    notices.collect()
    sending.send()
    assert mail.outbox == []


def member(username, team, role):
    """A person with a role and an address."""
    user = factories.member(username, team, role)
    User.objects.filter(pk=user.pk).update(email=f"{username}@example.com")
    return User.objects.get(pk=user.pk)


@pytest.fixture
def sam(team):
    return member("sam", team, "requester")


@pytest.fixture
def ana(team):
    return member("ana", team, "approver")


@pytest.fixture(autouse=True)
def tom(team):
    return member("tom", team, "admin")


@pytest.fixture
def asked(team, sam, ana):
    """A request for eight numbers that ana was notified of."""
    request = factories.request(team, sam, NUMBERS)
    send_mails()
    return request


def send_mails():
    """Collect new events and send due mails: the mails that were sent now, as `(name, subject)`."""
    mail.outbox.clear()
    notices.collect()
    sending.send()
    return sorted((message.to[0].removesuffix("@example.com"), message.subject) for message in mail.outbox)


def send_all_mails():
    """The same, including mails that were waiting for the rest of their request."""
    notices.collect()
    Mail.objects.update(due_at=clock.now() - timedelta(seconds=1))
    return send_mails()


def html_of(message):
    [(html, kind)] = message.alternatives
    assert kind == "text/html"
    return html


def ids(request):
    return list(request.purchases.order_by("pk").values_list("pk", flat=True))


def reject(request, approver, purchase_ids, reason="Too dear"):
    request.refresh_from_db()
    return approvals.reject(
        request.pk, purchase_ids, approver=actor(approver), version=request.version, reason=reason
    )


class TestSomethingWaits:
    def test_only_the_approvers_of_a_request_are_notified(self, team, sam, ana):
        sales = factories.team("Sales", key="idc_" + "s" * 32)
        member("ida", sales, "approver")
        request = factories.request(team, sam, NUMBERS[:3])
        assert send_mails() == [("ana", f"sam requests 3 numbers for Support (request {request.pk})")]
        assert send_mails() == []

    def test_it_says_who_why_what_and_how_much(self, team, sam, ana):
        request = factories.request(team, sam, NUMBERS[:2])
        send_mails()
        [message] = mail.outbox
        for part in (message.body, html_of(message)):
            for said in (
                "sam",
                "New desks",
                "+1 212-555-0101",
                "1.00 USD",
                "2.00 USD",
                "6.00 USD",
                "4.00 USD",
            ):
                assert said in part
            assert f"{settings.SITE_URL}/requests/{request.pk}/" in part
        assert message.from_email == settings.DEFAULT_FROM_EMAIL

    def test_costs_that_nobody_knows_are_not_zero(self, team, sam, ana):
        factories.request(team, sam, [NUMBER], upfront_cost=None, monthly_cost=None)
        send_mails()
        [message] = mail.outbox
        assert "First month: not known\n" in message.body
        assert "0.00" not in message.body

    def test_an_approver_is_not_notified_of_their_own_request(self, team, ana):
        member("ana", team, "requester")
        member("ida", team, "approver")
        factories.request(team, ana, [NUMBER])
        assert [name for name, _ in send_mails()] == ["ida"]

    def test_nobody_is_notified_of_what_was_decided_before(self, team, sam, ana, pending):
        workflow.cancel(pending.pk, ids(pending), actor=actor(sam))
        assert send_mails() == []

    def test_approvers_are_notified_of_an_edit(self, asked, sam, ana):
        versions.edit(
            asked.pk, actor=actor(sam), version=1, reason="For London", changes={}, taken_out=ids(asked)[:3]
        )
        assert send_mails() == [("ana", f"sam changed request {asked.pk}: 5 numbers for Support")]
        [message] = mail.outbox
        assert "> For London\n" in message.body
        for part in (message.body, html_of(message)):
            assert "The reason was: New desks" in part
            assert "+1 212-555-0101 is now: Cancelled." in part

    def test_two_edits_are_one_mail_that_says_what_both_changed(self, asked, sam, ana):
        first, second, *_ = asked.purchases.order_by("pk")
        for version, purchase in enumerate((first, second), 1):
            change = versions.Change(
                name=f"Door {version}", number_type="local", requirement_group_id=None, record_calls=True
            )
            versions.edit(
                asked.pk, actor=actor(sam), version=version, reason="New desks", changes={purchase.pk: change}
            )
        assert len(send_mails()) == 1
        assert "- +1 212-555-0101: name was Desk, is Door 1.\n" in mail.outbox[0].body
        assert "- +1 212-555-0102: name was Desk, is Door 2.\n" in mail.outbox[0].body

    def test_approvers_are_notified_of_a_price_that_voids_an_approval(self, team, sam, ana):
        Team.objects.update(second_approver_from=Decimal("1"))
        member("ida", team, "approver")
        request = factories.request(team, sam, NUMBERS)
        send_mails()
        self.cost_more(request, NUMBERS[:2])
        assert send_mails() == []  # nobody has approved it yet
        approvals.approve(request.pk, ids(request)[:1], approver=actor(ana), version=2)
        self.cost_more(request, NUMBERS[1:4], "4.00")
        subject = f"Another price in request {request.pk}: 8 numbers for Support"
        assert send_mails() == [("ana", subject), ("ida", subject)]
        for part in (mail.outbox[0].body, html_of(mail.outbox[0])):
            assert "+1 212-555-0102: cost a month was 3.00 USD, is 4.00 USD." in part
            assert "0101: cost" not in part
        assert send_mails() == []

    def cost_more(self, request, numbers, monthly="3.00"):
        """IdentityCall shows other prices for these numbers of a request."""
        costs = {"upfront_cost": Decimal("1.00"), "monthly_cost": Decimal(monthly), "number_type": "local"}
        shown = {
            purchase.pk: Offer(phone_number=purchase.phone_number, country_code="US", **costs)
            for purchase in request.purchases.filter(phone_number__in=numbers)
        }
        versions.note_offers(request.pk, shown, seen_at=clock.now(), actor=audit.WORKER)

    def test_an_edit_right_after_the_request_is_one_mail(self, team, sam, ana):
        request = factories.request(team, sam, NUMBERS)
        notices.collect()
        versions.edit(
            request.pk,
            actor=actor(sam),
            version=1,
            reason="For London",
            changes={},
            taken_out=ids(request)[:7],
        )
        assert send_mails() == [("ana", f"sam requests 1 number for Support (request {request.pk})")]

    def test_the_first_approver_is_not_reminded(self, team, sam, ana):
        Team.objects.update(second_approver_from=Decimal("1"))
        member("ida", team, "approver")
        request = factories.request(team, sam, [NUMBER])
        assert [name for name, _ in send_mails()] == ["ana", "ida"]
        factories.approve(request, ana)
        audit.record("request.reminded", actor=reminders.SYSTEM, request=request)
        assert [name for name, _ in send_mails()] == ["ida"]
        assert "ana approved it; ida has to approve it too." in mail.outbox[0].body

    def test_reminders_go_to_the_approvers_and_then_to_the_team_admins(self, asked, settings):
        settings.REMIND_APPROVERS_AFTER_HOURS = 24
        settings.REMIND_ADMINS_AFTER_HOURS = 72
        for hours, expected in [
            (25, ("ana", f"Still waiting for you: 8 numbers for Support (request {asked.pk})")),
            (73, ("tom", f"Nobody has decided request {asked.pk} for Support")),
        ]:
            Purchase.objects.update(state_changed_at=clock.now() - timedelta(hours=hours))
            reminders.remind()
            assert send_mails() == [expected]
            reminders.remind()
            assert send_mails() == []

    def test_reminders_start_again_with_a_new_version(self, asked, sam, settings):
        settings.REMIND_APPROVERS_AFTER_HOURS = 24
        still = [("ana", f"Still waiting for you: 8 numbers for Support (request {asked.pk})")]
        self.go_on(hours=25)
        reminders.remind()
        assert send_mails() == still
        self.cost_more(asked, NUMBERS[:1])
        self.go_on(hours=23)
        reminders.remind()
        assert send_mails() == []  # although its numbers are 48 hours old
        self.go_on(hours=2)
        reminders.remind()
        reminders.remind()
        assert send_mails() == still

    def test_an_edit_brings_no_reminder_at_once(self, asked, sam):
        self.go_on(hours=30)
        versions.edit(asked.pk, actor=actor(sam), version=1, reason="For London", changes={})
        send_mails()
        reminders.remind()
        assert send_mails() == []

    def go_on(self, *, hours):
        """Let time pass for all requests."""
        past = timedelta(hours=hours)
        Purchase.objects.update(state_changed_at=F("state_changed_at") - past)
        RequestVersion.objects.update(replaced_at=F("replaced_at") - past)
        PurchaseRequest.objects.update(reminded_at=F("reminded_at") - past)


class TestStandIns:
    def named(self, team, approver, stand_in, first=0, last=0, **fields):
        today = timezone.localdate()
        StandIn.objects.create(
            team=team,
            approver=approver,
            stand_in=stand_in,
            from_day=today + timedelta(days=first),
            to_day=today + timedelta(days=last),
            **fields,
        )

    def test_todays_stand_in_is_notified_too(self, team, sam, ana):
        self.named(team, ana, member("ida", team, "requester"))
        factories.request(team, sam, [NUMBER])
        assert [name for name, _ in send_mails()] == ["ana", "ida"]

    @pytest.mark.parametrize(
        "first, last, fields", [(1, 2, {}), (-2, -1, {}), (0, 0, {"ended_at": timezone.now()})]
    )
    def test_nobody_else_is_notified_on_other_days_or_after_its_end(
        self, team, sam, ana, first, last, fields
    ):
        self.named(team, ana, member("ida", team, "requester"), first, last, **fields)
        factories.request(team, sam, [NUMBER])
        assert [name for name, _ in send_mails()] == ["ana"]

    def test_never_about_ones_own_request_nor_that_of_the_person_one_stands_in_for(self, team, sam, ana):
        member("ana", team, "requester")
        self.named(team, ana, sam)
        factories.request(team, sam, [NUMBER])
        assert [name for name, _ in send_mails()] == ["ana"]
        factories.request(team, ana, [NUMBERS[1]])
        assert send_mails() == []


class TestTheEnd:
    def test_eight_numbers_approved_by_one_click_and_bought_one_by_one_are_one_mail(
        self, asked, sam, ana, provider
    ):
        factories.approve(asked, ana)
        assert send_mails() == []
        for count, purchase in enumerate(asked.purchases.order_by("pk"), 1):
            provider.sells(purchase.phone_number, 500 + count)
            procurement.buy(purchase.pk)
            assert send_mails() == (
                [] if count < 8 else [("sam", f"Request {asked.pk} for Support: 8 bought")]
            )
        assert all(number[-4:] in mail.outbox[0].body for number in NUMBERS)

    def test_it_does_not_wait_for_a_number_that_hangs(self, asked, sam, ana, provider):
        purchases = factories.approve(asked, ana)
        provider.sells(purchases[0].phone_number)
        procurement.buy(purchases[0].pk)
        assert send_mails() == []
        [waiting] = Mail.objects.filter(sent_at=None)
        assert timedelta() < waiting.due_at - clock.now() <= notices.JOIN_WITHIN
        assert send_all_mails() == [("sam", f"Request {asked.pk} for Support: 1 bought")]
        assert "Not finished yet: 7 approved, queued." in mail.outbox[0].body

    def test_a_number_that_waits_for_a_key_does_not_hold_up_the_mail(self, asked, sam, ana):
        factories.approve(asked, ana)
        Purchase.objects.filter(request=asked).update(waiting_since=clock.now())
        workflow.cancel(asked.pk, ids(asked)[:1], actor=actor(ana), reason="Not now")
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 1 cancelled")]

    def test_a_rejection_brings_the_reason_and_the_name(self, asked, sam, ana):
        reject(asked, ana, ids(asked)[:2], "We have such numbers.\nAsk tom.")
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 2 rejected")]
        [message] = mail.outbox
        assert "Rejected (ana):\n" in message.body
        assert "> We have such numbers.\n> Ask tom.\n" in message.body
        assert "Not finished yet: 6 waiting for approval." in message.body

    def test_two_clicks_before_the_mail_went_out_are_one_mail(self, asked, sam, ana):
        reject(asked, ana, ids(asked)[:2], "Too dear")
        notices.collect()
        reject(asked, ana, ids(asked)[2:3], "Too long")
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 3 rejected")]
        assert "> Too dear\n" in mail.outbox[0].body and "> Too long\n" in mail.outbox[0].body

    def test_a_click_after_the_mail_went_out_is_another_mail_that_does_not_repeat(self, asked, sam, ana):
        reject(asked, ana, ids(asked)[:2])
        send_mails()
        reject(asked, ana, ids(asked)[2:3], "Too long")
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 1 rejected")]
        assert "Too dear" not in mail.outbox[0].body

    def test_nobody_is_notified_of_what_they_did_themselves(self, asked, sam):
        workflow.cancel(asked.pk, ids(asked)[:2], actor=actor(sam))
        assert send_mails() == []

    def test_what_somebody_else_cancels_is(self, asked, sam, tom):
        workflow.cancel(asked.pk, ids(asked)[:2], actor=actor(tom), reason="Not this year")
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 2 cancelled")]

    def test_the_requester_is_notified_of_an_expiry(self, asked):
        for purchase in asked.purchases.all():
            workflow.expire(purchase, actor=audit.SWEEP)
            Purchase.objects.filter(pk=purchase.pk).update(expires_at=clock.now())
        Purchase.objects.update(expires_at=clock.now() - timedelta(seconds=1))
        sweep.run()
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 8 expired")]

    def test_a_failure_brings_the_words_of_the_provider(self, asked, sam, ana, provider):
        reject(asked, ana, ids(asked)[1:])
        send_mails()
        [purchase] = factories.approve(asked, ana)
        provider.answer_purchase({"error": "Number <gone> & sold"}, status=422)
        procurement.buy(purchase.pk)
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 1 could not be bought")]
        [message] = mail.outbox
        assert "Number <gone> & sold" in message.body
        assert "Number &lt;gone&gt; &amp; sold" in html_of(message)
        assert "<gone>" not in html_of(message)


class TestWhatWentWrong:
    def held(self, request, ana, provider):
        """Hold all numbers of a request by a higher price."""
        provider.offers = [offer(number, monthly="9.00") for number in NUMBERS]
        for purchase in factories.approve(request, ana):
            procurement.buy(purchase.pk)

    def test_admins_and_approvers_are_notified_of_held_purchases_in_one_mail(self, asked, sam, ana, provider):
        self.held(asked, ana, provider)
        assert send_mails() == [(name, "8 numbers of Support need a decision") for name in ("ana", "tom")]
        for purchase in asked.purchases.all():
            url = f"{settings.SITE_URL}/purchases/{purchase.pk}/"
            assert all(url in message.body and url in html_of(message) for message in mail.outbox)

    def test_not_to_the_admin_who_asked(self, team, tom, ana, provider):
        member("tom", team, "requester")
        self.held(factories.request(team, tom, [NUMBER]), ana, provider)
        send_mails()
        assert [message.to for message in mail.outbox if "decision" in message.subject] == [
            ["ana@example.com"]
        ]

    def test_nobody_is_notified_of_what_was_settled_before_the_mail_was_sent(self, asked, sam, ana, provider):
        self.held(asked, ana, provider)
        notices.collect()
        for purchase in asked.purchases.all():
            held_purchases.give_up(purchase, reason="Too dear", actor=actor(ana))
        notices.collect()
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 8 could not be bought")]
        dropped = Mail.objects.exclude(given_up_at=None)
        assert {row.problem for row in dropped} == {"Not sent: it was settled in the meantime."}

    def test_the_team_admins_are_notified_of_a_refused_key_once(self, asked, sam, ana, provider):
        provider.answer_purchase({"error": "Unauthorized"}, status=401)
        for purchase in factories.approve(asked, ana):
            procurement.buy(purchase.pk)
        assert send_mails() == [("tom", "IdentityCall refuses the API key of Support")]
        [message] = mail.outbox
        assert "…1234" in message.body and factories.KEY not in message.body
        assert f"{settings.SITE_URL}/teams/support/" in message.body
        assert send_mails() == []

    def test_the_team_admins_are_notified_once_of_a_key_that_no_longer_shows_its_numbers(
        self, team, tom, provider
    ):
        provider.owned_numbers = [owned("+12125550188", 1)]
        owned_list.read(team.keys.get())
        provider.owned_numbers.clear()
        owned_list.read(team.keys.get()), owned_list.read(team.keys.get())
        assert send_mails() == [("tom", "The API key of Support no longer shows its numbers")]
        [message] = mail.outbox
        assert "> IdentityCall's list shows no number that this key has shown before" in message.body
        assert f"{settings.SITE_URL}/teams/support/key/" in message.body
        assert send_mails() == []

    def test_the_team_admins_are_notified_of_another_number_that_was_bought(
        self, asked, sam, ana, tom, provider
    ):
        [purchase, *_] = factories.approve(asked, ana)
        send_all_mails()
        provider.answer_purchase({"data": {"id": 66, "phone_number": "+12125550166"}})
        procurement.buy(purchase.pk)
        assert ("tom", "IdentityCall bought another number for Support") in send_mails()
        message = next(one for one in mail.outbox if "bought another number" in one.subject)
        assert "says that it bought +1 212-555-0166" in message.body
        assert f"{settings.SITE_URL}/teams/support/rented/" in message.body

    def test_long_waits_of_a_team_are_one_mail_to_its_admins(self, asked, ana):
        factories.approve(asked, ana)
        long_ago = clock.now() - timedelta(minutes=21)
        Purchase.objects.update(waiting_since=long_ago, waiting_for="IdentityCall cannot be reached.")
        sweep.run()
        assert send_mails() == [("tom", "8 numbers of Support are waiting to be bought")]
        assert "> IdentityCall cannot be reached.\n" in mail.outbox[0].body

    def bought(self, request, ana, provider):
        """One number of a request, bought; its name and recording are not applied yet."""
        reject(request, ana, ids(request)[1:])
        [purchase] = factories.approve(request, ana)
        provider.sells(purchase.phone_number)
        procurement.buy(purchase.pk)
        send_all_mails()
        Purchase.objects.filter(pk=purchase.pk).update(
            applied_at=None,
            applied_words="IdentityCall did not take over the name yet.",
            purchased_at=clock.now() - timedelta(minutes=21),
        )
        sweep.run()
        assert "purchase.not_applied" in factories.actions(purchase)
        return purchase

    def test_the_team_admins_are_notified_once_of_settings_that_were_not_applied(self, asked, ana, provider):
        self.bought(asked, ana, provider)
        assert send_mails() == [("tom", "1 number of Support to look into")]
        assert "IdentityCall did not take over the name yet." in mail.outbox[0].body
        sweep.run()
        assert send_mails() == []

    def test_but_not_once_they_are_applied(self, asked, ana, provider):
        purchase = self.bought(asked, ana, provider)
        Purchase.objects.filter(pk=purchase.pk).update(applied_at=clock.now())
        assert send_mails() == []

    def test_the_team_admins_are_notified_of_a_redirected_order(self, asked, ana, provider):
        reject(asked, ana, ids(asked)[1:])
        [purchase] = factories.approve(asked, ana)
        provider.answer_purchase({}, status=307, headers={"Location": "https://elsewhere.example/"})
        procurement.buy(purchase.pk)
        assert ("tom", "1 number of Support to look into") in send_all_mails()

    def test_everybody_is_notified_of_what_was_given_up_and_bought_after_all(
        self, asked, sam, ana, team, provider
    ):
        reject(asked, ana, ids(asked)[1:])
        [purchase] = factories.approve(asked, ana)
        provider.answer_purchase(requests.ReadTimeout())
        procurement.buy(purchase.pk)
        Purchase.objects.update(window_ends_at=clock.now() - timedelta(seconds=1))
        sweep.run()
        assert send_all_mails() == [
            ("ana", "1 number of Support needs a decision"),
            ("sam", f"Request {asked.pk} for Support: 7 rejected"),
            ("tom", "1 number of Support needs a decision"),
        ]
        held_purchases.give_up(asked.purchases.get(pk=purchase.pk), reason="Nobody knows", actor=actor(ana))
        assert send_mails() == [("sam", f"Request {asked.pk} for Support: 1 given up, still watched")]
        provider.owned_numbers.append(owned(NUMBER))
        Purchase.objects.update(due_at=clock.now())
        evidence.gather(team.keys.get().pk)
        assert send_mails() == [
            ("ana", "Bought after all: 1 number of Support that was given up"),
            ("sam", f"Request {asked.pk} for Support: 1 bought"),
            ("tom", "Bought after all: 1 number of Support that was given up"),
        ]

    def test_a_pause_of_the_provider_is_no_mail(self, asked):
        audit.record("provider.paused", actor=audit.WORKER, note="No answer")
        assert send_mails() == []


class TestWhoGetsNone:
    @pytest.mark.parametrize("change", [{"is_active": False}, {"wants_mail": False}, {"email": ""}])
    def test_switched_off_or_without_an_address(self, team, sam, ana, change):
        User.objects.filter(pk=ana.pk).update(**change)
        factories.request(team, sam, [NUMBER])
        assert send_mails() == []
        assert not Mail.objects.exists()

    @pytest.mark.parametrize("change", [{"is_active": False}, {"wants_mail": False}, {"email": ""}])
    def test_switched_off_while_the_mail_waits(self, team, sam, ana, change):
        factories.request(team, sam, [NUMBER])
        notices.collect()
        User.objects.filter(pk=ana.pk).update(**change)
        assert send_mails() == []
        assert Mail.objects.get().problem == "Not sent: this person gets no mails."

    def test_who_has_left_the_team_while_the_mail_waits(self, asked, sam, ana):
        reject(asked, ana, ids(asked))
        notices.collect()
        Membership.objects.filter(user=sam).delete()
        assert send_mails() == []
        assert Mail.objects.get(user=sam).problem == "Not sent: this person has left the team."

    def test_who_is_no_approver_any_more(self, team, sam, ana):
        factories.request(team, sam, [NUMBER])
        member("ana", team, "requester")
        notices.collect()
        Membership.objects.filter(user=ana, role="approver").delete()
        assert send_mails() == []

    def test_a_new_address_gets_what_waits(self, team, sam, ana):
        factories.request(team, sam, [NUMBER])
        notices.collect()
        User.objects.filter(pk=ana.pk).update(email="ana.new@example.com")
        send_mails()
        assert [message.to for message in mail.outbox] == [["ana.new@example.com"]]


class TestEachEventIsMailedOnce:
    def test_a_crash_half_way_through_leaves_nothing_and_loses_nothing(self, team, sam, ana, monkeypatch):
        member("ida", team, "approver")
        factories.request(team, sam, [NUMBER])
        before = MailCursor.objects.get().seq
        real, made = Mail.objects.create, []

        def create(**fields):
            made.append(fields)
            if len(made) == 2:
                raise SystemExit("killed")
            return real(**fields)

        monkeypatch.setattr(Mail.objects, "create", create)
        with pytest.raises(SystemExit):
            notices.collect()
        assert (Mail.objects.count(), MailCursor.objects.get().seq) == (0, before)
        monkeypatch.undo()
        assert [name for name, _ in send_mails()] == ["ana", "ida"]
        assert MailCursor.objects.get().seq == AuditHead.objects.get().seq

    def test_a_crash_between_collect_and_send_loses_nothing(self, team, sam, ana):
        factories.request(team, sam, [NUMBER])
        notices.collect()
        notices.collect()
        assert [name for name, _ in send_mails()] == ["ana"]

    def test_a_sender_that_died_with_a_mail_leaves_it_to_another(self, team, sam, ana, monkeypatch):
        factories.request(team, sam, [NUMBER])
        with monkeypatch.context() as patch:
            patch.setattr(content, "compose", lambda mail: (_ for _ in ()).throw(SystemExit("killed")))
            with pytest.raises(SystemExit):
                send_mails()
        assert send_mails() == []  # the first sender may still be sending it
        Mail.objects.update(due_at=clock.now())
        assert [name for name, _ in send_mails()] == ["ana"]
        assert Mail.objects.get().tries == 2

    def test_an_event_that_comes_after_the_sender_began_is_a_mail_of_its_own(
        self, asked, sam, ana, monkeypatch
    ):
        reject(asked, ana, ids(asked)[:1])
        notices.collect()
        claimed = sending._claimed(Mail.objects.filter(user=sam).get().pk)
        reject(asked, ana, ids(asked)[1:2])
        notices.collect()
        first, second = Mail.objects.filter(user=sam).order_by("pk")
        assert first.events == claimed.events
        assert not set(first.events) & set(second.events)

    def test_every_event_is_mailed_however_many_there_are(self, team, sam, ana, monkeypatch):
        monkeypatch.setattr(notices, "EVENTS_AT_ONCE", 3)
        first = factories.request(team, sam, NUMBERS[:4])
        second = factories.request(team, sam, NUMBERS[4:])
        assert [subject.rpartition("request")[2] for _, subject in send_mails()] == [
            f" {first.pk})",
            f" {second.pk})",
        ]

    def test_nobody_is_notified_of_what_happened_before_there_were_mails(self, team, sam, ana):
        factories.request(team, sam, [NUMBER])
        MailCursor.objects.all().delete()
        make_single_rows()
        assert send_mails() == []
        factories.request(team, sam, [NUMBERS[1]])
        assert len(send_mails()) == 1

    def test_the_record_is_not_changed_by_it(self, asked, ana):
        before = AuditEvent.objects.count()
        send_mails()
        assert AuditEvent.objects.count() == before

    def test_old_mails_are_forgotten(self, asked):
        sending.forget_old()
        assert Mail.objects.count() == 1
        Mail.objects.update(created_at=clock.now() - timedelta(days=91))
        sending.forget_old()
        assert not Mail.objects.exists()


class TestOneBadMail:
    def test_does_not_hold_up_the_others(self, team, sam, ana, monkeypatch):
        member("ida", team, "approver")
        factories.request(team, sam, [NUMBER])
        real = content.compose

        def compose(mail):
            if mail.user.username == "ana":
                raise TemplateDoesNotExist("mail/none.txt")
            return real(mail)

        monkeypatch.setattr(content, "compose", compose)
        assert [name for name, _ in send_mails()] == ["ida"]
        kept = Mail.objects.get(user__username="ana")
        assert (kept.sent_at, kept.given_up_at, kept.problem) == (None, None, "mail/none.txt")
        monkeypatch.undo()
        Mail.objects.update(due_at=clock.now())
        assert [name for name, _ in send_mails()] == ["ana"]

    def test_is_tried_with_growing_gaps_for_a_day_and_then_given_up(self, team, sam, ana, monkeypatch):
        factories.request(team, sam, [NUMBER])
        monkeypatch.setattr(content, "compose", lambda mail: 1 / 0)
        gaps = []
        while True:
            assert send_mails() == []
            row = Mail.objects.get()
            if row.given_up_at:
                break
            gaps.append(round((row.due_at - clock.now()).total_seconds() / 60))
            Mail.objects.update(due_at=clock.now())
        assert gaps == [1, 2, 4, 8, 16, 32, 64, 128, 240, 240, 240, 240, 240]
        assert 24 * 60 <= sum(gaps) < 25 * 60
        assert row.problem == "division by zero"

    def test_keeps_no_key_that_the_server_put_into_its_words(self, team, sam, ana, monkeypatch):
        factories.request(team, sam, [NUMBER])

        def compose(mail):
            raise RuntimeError(f"refused {factories.KEY}")

        monkeypatch.setattr(content, "compose", compose)
        send_mails()
        assert Mail.objects.get().problem == "refused idc_[removed]"


class TestWhatAMailHolds:
    @pytest.mark.parametrize(
        "name", ["Sup\r\nBcc: ida@example.com", "Sup\nBcc: ida@example.com", "Sup\u2028\x85\x0bport"]
    )
    def test_a_name_cannot_add_a_header(self, team, sam, ana, name):
        Team.objects.filter(pk=team.pk).update(name=name)
        User.objects.filter(pk=sam.pk).update(first_name="Sam\r\nBcc: ida@example.com\r\n\r\n<b>")
        factories.request(Team.objects.get(), sam, [NUMBER])
        send_mails()
        [message] = mail.outbox
        assert message.recipients() == ["ana@example.com"]
        assert len(message.subject.splitlines()) == 1
        arrived = email.message_from_bytes(message.message().as_bytes())
        assert sorted(arrived.keys()) == sorted(
            ["Auto-Submitted", "Content-Type", "Date", "From", "MIME-Version", "Message-ID", "Subject", "To"]
        )
        assert arrived["To"] == "ana@example.com"

    @pytest.mark.parametrize("address", ["ana@example.com\nBcc: ida@example.com", "ana", "a@b@c"])
    def test_an_address_that_is_none_is_the_problem_of_that_mail_alone(self, team, sam, ana, address):
        member("ida", team, "approver")
        User.objects.filter(pk=ana.pk).update(email=address)
        factories.request(team, sam, [NUMBER])
        notices.collect()
        sending.send()
        for message in mail.outbox:
            assert "\n" not in message.to[0] and len(message.recipients()) == 1
        assert "ida@example.com" in [message.to[0] for message in mail.outbox]

    def test_html_escapes_what_people_wrote_and_text_shows_it_as_it_is(self, team, sam, ana):
        written = "<script>alert('1')</script> & <img src=x>"
        Team.objects.filter(pk=team.pk).update(name="R&D <x>")
        User.objects.filter(pk=sam.pk).update(first_name="Sam <b>")
        request = submission.submit(
            team=Team.objects.get(),
            requester=actor(User.objects.get(pk=sam.pk)),
            reason=written,
            lines=[factories.line(NUMBER, name="Desk <i> & 'co'")],
        )
        send_mails()
        reject(request, ana, ids(request), written)
        notices.collect()
        sending.send()
        waiting, outcome = mail.outbox
        for message in (waiting, outcome):
            assert f"> {written}\n" in message.body
            assert "&lt;" not in message.body and "&#x27;" not in message.body and "&amp;" not in message.body
            html = html_of(message)
            assert "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt; &amp; &lt;img src=x&gt;" in html
            assert not re.search(r"<(script|img|i|b|x)\b", html)
            assert "Desk &lt;i&gt;" in html and "Desk <i> & 'co'" in message.body
        assert waiting.subject == f"Sam <b> requests 1 number for R&D <x> (request {request.pk})"

    def test_a_reason_of_several_lines_cannot_pass_for_words_of_number_desk(self, team, sam, ana):
        submission.submit(
            team=team,
            requester=actor(sam),
            reason="Please\n\nReview and decide:\n\nhttp://elsewhere.example/",
            lines=[factories.line(NUMBER)],
        )
        send_mails()
        assert re.findall("(?m)^(.*)Review and decide:$", mail.outbox[0].body) == ["> ", ""]
        assert "> http://elsewhere.example/" in mail.outbox[0].body

    def test_no_key_is_in_a_mail(self, team, sam, ana):
        User.objects.filter(pk=sam.pk).update(first_name=factories.KEY)
        request = submission.submit(
            team=team, requester=actor(sam), reason=f"curl -H {factories.KEY}", lines=[factories.line(NUMBER)]
        )
        send_mails()
        [message] = mail.outbox
        assert factories.KEY not in message.message().as_string()
        assert "curl -H idc_[removed]" in message.body
        row = Mail.objects.get()
        assert not any(factories.KEY in text for text in (row.subject, row.text, row.html))
        assert message.subject == f"idc_[removed] requests 1 number for Support (request {request.pk})"

    def test_a_hundred_numbers_are_a_mail_that_can_be_read(self, team, sam, ana):
        request = factories.request(team, sam, [f"+12125551{n:03d}" for n in range(100)])
        send_mails()
        [message] = mail.outbox
        assert message.body.count("+1 212-555-1") == content.SHOWN
        assert "the page shows all 100" in message.body and "the page shows all 100" in html_of(message)
        assert "300.00 USD" in message.body
        assert len(ids(request)) == 100

    def test_it_suppresses_automatic_replies_and_has_an_id_of_its_own(self, team, sam, ana):
        factories.request(team, sam, [NUMBER])
        send_mails()
        parsed = mail.outbox[0].message()
        assert parsed["Auto-Submitted"] == "auto-generated"
        assert parsed["Message-ID"].startswith(f"<mail-{Mail.objects.get().pk}.")
        assert parsed["Message-ID"].endswith("@localhost>")

    @pytest.mark.parametrize("kind", content.TITLES)
    def test_every_kind_is_readable_in_the_dark_and_loads_nothing(self, kind):
        html = get_template(f"mail/{kind}.html").render({"subject": "S", "url": "/", "shown": 1})
        assert '<meta name="color-scheme" content="light dark">' in html
        assert not re.search(r"<img|<link|<script|<style|url\(|src=|<form|<input|<button", html)
        # Colours stand in pairs or not at all: text that is left to the mail program fits its background.
        assert re.findall(r"[ ;](color|background): (#\w+)", html) == [
            ("background", "#2449a4"),
            ("color", "#ffffff"),
        ]


class TestTheLinks:
    def links(self, message):
        in_text = re.findall(r"https?://\S+", message.body)
        assert sorted(set(in_text)) == sorted(set(re.findall('href="([^"]*)"', html_of(message))))
        return {link.removeprefix(settings.SITE_URL) for link in in_text}

    def test_lead_here_and_decide_nothing(self, client, asked, team, sam, ana, tom, provider):
        factories.approve(asked, ana)
        provider.answer_purchase({"error": "Unauthorized"}, status=401)
        procurement.buy(ids(asked)[0])
        Purchase.objects.filter(request=asked).update(waiting_since=clock.now() - timedelta(hours=1))
        sweep.run()
        workflow.cancel(asked.pk, ids(asked)[1:3], actor=actor(tom), reason="Not now")
        factories.request(team, sam, ["+12125550142"])
        send_all_mails()
        assert len(mail.outbox) == 4
        for message in mail.outbox:
            client.force_login(User.objects.get(email=message.to[0]))
            links = self.links(message)
            assert len(links) >= 2
            for link in links:
                before = list(Purchase.objects.order_by("pk").values())
                last = AuditHead.objects.get().seq
                assert client.get(link).status_code == 200, link
                assert list(Purchase.objects.order_by("pk").values()) == before
                assert AuditHead.objects.get().seq == last

    def test_an_approver_lands_on_the_decision_after_the_log_in(self, client, team, sam, ana, provider):
        request = factories.request(team, sam, [NUMBER])
        send_mails()
        [link] = [link for link in self.links(mail.outbox[0]) if "/requests/" in link]
        sent_to = client.get(link)
        assert sent_to.status_code == 302
        fields = {"username": "ana", "password": factories.PASSWORD}
        page = client.post(sent_to["Location"], fields, follow=True)
        assert page.redirect_chain[-1][0] == link
        form = reverse("purchasing:request-approve", args=[request.pk])
        assert f'action="{form}"' in page.content.decode()


class TestTheQueue:
    def waiting(self):
        return DBTaskResult.objects.filter(task_path="purchasing.tasks.send_mails", status="READY").count()

    def test_is_woken_once_when_there_is_something_to_collect_or_send(self, team, sam, ana):
        send_mails()
        sending.wake_if_due()
        assert self.waiting() == 0
        factories.request(team, sam, [NUMBER])
        sending.wake_if_due()
        sending.wake_if_due()
        assert self.waiting() == 1
        DBTaskResult.objects.all().delete()
        notices.collect()
        sending.wake_if_due()
        assert self.waiting() == 1

    def test_a_task_that_died_is_no_reason_to_wait(self, team, sam, ana):
        factories.request(team, sam, [NUMBER])
        sending.wake_if_due()
        DBTaskResult.objects.update(status="RUNNING")
        sending.wake_if_due()
        assert self.waiting() == 1

    def test_purchases_go_first(self):
        from purchasing import tasks

        assert tasks.send_mails.priority < min(
            task.priority for task in (tasks.buy, tasks.check, tasks.apply, tasks.confirm_costs)
        )

    def test_reconcile_collects_and_sends(self, team, sam, ana, provider, capsys):
        factories.request(team, sam, [NUMBER])
        mail.outbox.clear()
        call_command("reconcile")
        assert [message.to for message in mail.outbox] == [["ana@example.com"]]


class TestTheSettingsOfAPerson:
    URL = "/accounts/mail/"

    def test_a_person_switches_mails_off_and_sets_the_address(self, client, team, sam, ana):
        client.force_login(ana)
        assert b'value="ana@example.com"' in client.get(self.URL).content
        page = client.post(self.URL, {"address": "ana.new@example.com"}, follow=True)
        assert b"You will get no more mails." in page.content
        ana.refresh_from_db()
        assert (ana.email, ana.wants_mail) == ("ana.new@example.com", False)
        factories.request(team, sam, [NUMBER])
        assert send_mails() == []
        client.post(self.URL, {"address": "ana.new@example.com", "wants_mail": "on"})
        factories.request(team, sam, [NUMBERS[1]])
        assert len(send_mails()) == 1

    def test_it_is_recorded_without_the_address(self, client, ana):
        client.force_login(ana)
        client.post(self.URL, {"address": "ana.new@example.com", "wants_mail": "on"})
        event = AuditEvent.objects.order_by("-seq").first()
        assert (event.action, event.actor) == ("member.mail_changed", ana)
        assert event.data == {"member": "ana", "wants_mail": True, "address_changed": True}
        assert "example.com" not in f"{event.note} {event.data}"

    def test_what_changes_nothing_is_no_event(self, client, ana):
        client.force_login(ana)
        before = AuditHead.objects.get().seq
        client.post(self.URL, {"address": "ana@example.com", "wants_mail": "on"})
        assert AuditHead.objects.get().seq == before

    @pytest.mark.parametrize(
        "address", ["ana", "ana@example.com\nBcc: ida@example.com", "a@b", "x" * 250 + "@example.com"]
    )
    def test_what_is_no_address_is_refused_and_shown_again(self, client, ana, address):
        client.force_login(ana)
        page = client.post(self.URL, {"address": address, "wants_mail": "on"})
        assert page.status_code == 200
        assert 'role="alert"' in page.content.decode()
        ana.refresh_from_db()
        assert ana.email == "ana@example.com"

    def test_the_address_of_a_colleague_is_not_taken(self, client, ana, sam):
        client.force_login(ana)
        page = client.post(self.URL, {"address": "SAM@example.com", "wants_mail": "on"})
        assert b"This address belongs to another account." in page.content
        ana.refresh_from_db()
        assert ana.email == "ana@example.com"

    def test_without_an_address_it_says_that_none_are_sent(self, client, ana):
        client.force_login(ana)
        page = client.post(self.URL, {"address": "", "wants_mail": "on"}, follow=True)
        assert b"There is no address, so no mails are sent to you." in page.content

    def test_the_menu_leads_there(self, client, ana):
        client.force_login(ana)
        page = client.get("/").content.decode()
        assert 'href="/accounts/mail/"' in page and 'href="/mails/"' in page

    def test_create_member_takes_an_address(self, team, tmp_path):
        file = tmp_path / "password"
        file.write_text(factories.PASSWORD)
        options = {"team": "Support", "role": "approver", "password_file": str(file)}
        call_command("create_member", "ida", email="ida@example.com", **options)
        assert User.objects.get(username="ida").email == "ida@example.com"
        call_command("create_member", "ida", **options)
        assert User.objects.get(username="ida").email == "ida@example.com"
        call_command("create_member", "ida", email="ida.new@example.com", **options)
        assert User.objects.get(username="ida").email == "ida.new@example.com"
        with pytest.raises(CommandError, match="not an email address"):
            call_command("create_member", "ida", email="ida", **options)


class TestThePages:
    @pytest.fixture
    def sent(self, asked, sam, ana):
        """One mail to ana and one to sam."""
        reject(asked, ana, ids(asked), "Too <dear>")
        send_mails()
        return Mail.objects.get(user=ana), Mail.objects.get(user=sam)

    def seen(self, client, user, mails):
        client.force_login(user)
        listed = client.get("/mails/").content.decode()
        for row in mails:
            found = f'href="/mails/{row.pk}/"' in listed
            assert client.get(f"/mails/{row.pk}/").status_code == (200 if found else 404)
            yield found

    def test_each_sees_their_own_and_a_superuser_no_others_outside_of_the_sandbox(
        self, client, sent, sam, ana, tom
    ):
        assert list(self.seen(client, ana, sent)) == [True, False]
        assert list(self.seen(client, sam, sent)) == [False, True]
        assert list(self.seen(client, tom, sent)) == [False, False]
        assert list(self.seen(client, factories.superuser(), sent)) == [False, False]

    def test_in_the_sandbox_a_superuser_sees_all(self, client, sent, sam, settings):
        settings.SANDBOX = True
        assert list(self.seen(client, factories.superuser(), sent)) == [True, True]
        assert list(self.seen(client, sam, sent)) == [False, True]

    def test_a_mail_is_shown_as_text(self, client, sent, sam):
        client.force_login(sam)
        page = client.get(f"/mails/{sent[1].pk}/").content.decode()
        assert "Too &lt;dear&gt;" in page and "sam@example.com" in page
        assert f'href="{settings.SITE_URL}/requests/' in page

    def test_what_waits_and_what_was_not_sent_is_shown_with_the_reason(
        self, client, team, sam, ana, monkeypatch
    ):
        factories.request(team, sam, [NUMBER])
        notices.collect()
        client.force_login(ana)
        assert "queued" in client.get("/mails/").content.decode()
        monkeypatch.setattr(content, "compose", lambda mail: 1 / 0)
        send_mails()
        page = client.get("/mails/").content.decode()
        assert "A request is waiting for approval" in page and "division by zero" in page
        assert "division by zero" in client.get(f"/mails/{Mail.objects.get().pk}/").content.decode()


def settings_with(**environment):
    """The mail settings of a process that was started with this environment."""
    names = [
        *(
            "EMAIL_BACKEND",
            "EMAIL_HOST",
            "EMAIL_PORT",
            "EMAIL_HOST_USER",
            "EMAIL_HOST_PASSWORD",
            "EMAIL_TIMEOUT",
        ),
        *("EMAIL_USE_TLS", "EMAIL_USE_SSL", "DEFAULT_FROM_EMAIL"),
    ]
    code = (
        "import json; from django.conf import settings; "
        f"print(json.dumps({{name: getattr(settings, name) for name in {names}}}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "dashboard.settings", **environment},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
    )
    return json.loads(run.stdout) if run.returncode == 0 else run.stderr


class TestTheSettings:
    def test_mails_are_written_to_the_log_by_default(self):
        found = settings_with()
        assert found["EMAIL_BACKEND"] == "django.core.mail.backends.console.EmailBackend"
        assert (found["EMAIL_TIMEOUT"], found["DEFAULT_FROM_EMAIL"]) == (
            10,
            "Number Desk <number-desk@localhost>",
        )

    @pytest.mark.parametrize(
        "url, host, port, user, password, tls, ssl",
        [
            ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, None, None, False, False),
            (
                "smtp+tls://desk:s%40crt%2F1@mail.example.com:587",
                "mail.example.com",
                587,
                "desk",
                "s@crt/1",
                True,
                False,
            ),
            ("smtp+ssl://desk:x@mail.example.com:465", "mail.example.com", 465, "desk", "x", False, True),
        ],
    )
    def test_email_url(self, url, host, port, user, password, tls, ssl):
        found = settings_with(EMAIL_URL=url)
        assert found == {
            "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
            "EMAIL_HOST": host,
            "EMAIL_PORT": port,
            "EMAIL_HOST_USER": user,
            "EMAIL_HOST_PASSWORD": password,
            "EMAIL_USE_TLS": tls,
            "EMAIL_USE_SSL": ssl,
            "EMAIL_TIMEOUT": 10,
            "DEFAULT_FROM_EMAIL": "Number Desk <number-desk@localhost>",
        }

    def test_mails_are_from_the_host_of_the_site_or_whom_one_says(self):
        site = {"SITE_URL": "https://desk.example.com"}
        assert settings_with(**site)["DEFAULT_FROM_EMAIL"] == "Number Desk <number-desk@desk.example.com>"
        said = settings_with(**site, MAIL_FROM="Desk <desk@example.com>")
        assert said["DEFAULT_FROM_EMAIL"] == "Desk <desk@example.com>"
        assert "MAIL_FROM must be an address" in settings_with(MAIL_FROM="desk")
