"""Mails to people about themselves: invitations, links for a new password, and notices that they stand in."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from purchasing import clock, problems
from purchasing.mail import content, notices, sending
from purchasing.models import AuditEvent, Mail, MailCursor, User
from purchasing.teams import members, stand_ins
from tests import factories
from tests.factories import actor
from tests.views.access import words

pytestmark = pytest.mark.django_db
LINK = re.compile(r"http://127\.0\.0\.1:8000(/accounts/welcome/[^\s\"]+)")


def invite(team, tom, username="bea"):
    """Invite a new person; returns the account."""
    user, made = members.invite(
        team, username=username, email=f"{username}@example.com", roles=["approver"], actor=actor(tom)
    )
    assert made
    return user


def send_mails():
    """Collect new events and send due mails; returns the mails that were sent now."""
    mail.outbox.clear()
    notices.collect()
    sending.send()
    return mail.outbox


def html_of(message):
    [(html, kind)] = message.alternatives
    assert kind == "text/html"
    return html


def link_in(message):
    [link] = set(LINK.findall(message.body))
    assert set(LINK.findall(html_of(message))) == {link}
    return link


class TestAnInvitation:
    def test_says_who_invites_to_what_and_brings_a_link_that_works(self, team, tom, client):
        bea = invite(team, tom)
        [sent] = send_mails()
        assert (sent.to, sent.subject) == (["bea@example.com"], "You are invited to Number Desk")
        for text in (sent.body, html_of(sent)):
            assert "tom invites you" in text and "bea" in text and "Support" in text
            assert "works once, and for 3 days" in text
        page = client.get(link_in(sent), follow=True)
        assert "Choose a password" in words(page)
        fields = {"new_password1": "a word of bea alone", "new_password2": "a word of bea alone"}
        client.post(page.redirect_chain[-1][0], fields)
        bea.refresh_from_db()
        assert bea.check_password("a word of bea alone")
        assert send_mails() == []

    def test_the_link_is_stored_nowhere(self, team, tom, client):
        bea = invite(team, tom)
        [sent] = send_mails()
        token = link_in(sent).split("/")[-2]
        row = Mail.objects.get()
        assert row.sent_at
        for kept in (
            row.text,
            row.html,
            row.subject,
            *(f"{e.note}{e.data}" for e in AuditEvent.objects.all()),
        ):
            assert token not in kept and "/accounts/welcome/" not in kept
        client.force_login(bea)
        pages = [client.get(f"/mails/{row.pk}/"), client.get(f"/mails/{row.pk}/html/")]
        for page in pages:
            assert page.status_code == 200
            assert token not in page.content.decode() and "/accounts/welcome/" not in page.content.decode()
        assert "is only in the mail itself" in words(pages[0])

    def test_in_the_sandbox_its_page_shows_a_link_that_works(self, team, tom, client, settings):
        settings.SANDBOX = True
        invite(team, tom)
        send_mails()
        client.force_login(factories.superuser())
        row = Mail.objects.get()
        shown = LINK.findall(client.get(f"/mails/{row.pk}/").content.decode())
        assert shown and LINK.findall(client.get(f"/mails/{row.pk}/html/").content.decode())
        client.logout()
        assert "Choose a password" in words(client.get(shown[0], follow=True))

    def test_in_the_sandbox_no_page_shows_a_link_to_an_account_in_use(self, team, tom, sam, client, settings):
        settings.SANDBOX = True
        User.objects.filter(pk=sam.pk).update(email="sam@example.com")
        members.send_link(team, User.objects.get(pk=sam.pk), actor=actor(tom))
        send_mails()
        client.force_login(factories.superuser())
        assert "/accounts/welcome/" not in client.get(f"/mails/{Mail.objects.get().pk}/").content.decode()

    def test_is_tried_again_like_every_mail(self, team, tom, monkeypatch):
        bea = invite(team, tom)
        with monkeypatch.context() as patch:
            patch.setattr(content, "compose", lambda mail: 1 / 0)
            assert send_mails() == []
        row = Mail.objects.get(user=bea)
        assert (row.tries, row.sent_at, row.problem) == (1, None, "division by zero")
        Mail.objects.update(due_at=clock.now())
        assert [message.to for message in send_mails()] == [["bea@example.com"]]

    def test_goes_also_to_people_who_switched_mails_off(self, team, tom):
        bea = invite(team, tom)
        User.objects.filter(pk=bea.pk).update(wants_mail=False)
        assert len(send_mails()) == 1

    @pytest.mark.parametrize("change", [{"is_active": False}, {"email": ""}])
    def test_goes_to_nobody_who_cannot_log_in(self, team, tom, change):
        bea = invite(team, tom)
        notices.collect()
        User.objects.filter(pk=bea.pk).update(**change)
        assert send_mails() == []

    def test_is_not_sent_once_a_password_was_chosen(self, team, tom):
        bea = invite(team, tom)
        notices.collect()
        bea.set_password("a word of bea alone")
        bea.save()
        assert send_mails() == []
        assert Mail.objects.get(user=bea).problem == "Not sent: it was settled in the meantime."

    def test_of_an_existing_account_sends_no_mail(self, team, tom, sam):
        User.objects.filter(pk=sam.pk).update(email="sam@example.com")
        members.invite(team, username="sam", email="", roles=["approver"], actor=actor(tom))
        assert send_mails() == []


class TestAnotherLink:
    def test_is_another_mail_and_both_links_work(self, team, tom, client, settings):
        bea = invite(team, tom)
        first = link_in(send_mails()[0])
        settings.TEST_CLOCK_OFFSET = 120  # seconds
        members.send_link(team, bea, actor=actor(tom))
        second = link_in(send_mails()[0])
        for link in (first, second):
            assert "Choose a password" in words(client.get(link, follow=True))

    def test_not_twice_in_a_minute(self, team, tom):
        bea = invite(team, tom)
        with pytest.raises(problems.Problem, match="less than a minute ago"):
            members.send_link(team, bea, actor=actor(tom))

    def test_at_once_after_a_mail_that_was_given_up(self, team, tom):
        bea = invite(team, tom)
        notices.collect()
        Mail.objects.update(given_up_at=clock.now())
        members.send_link(team, bea, actor=actor(tom))

    def test_helps_after_a_lost_password(self, team, tom, sam):
        User.objects.filter(pk=sam.pk).update(email="sam@example.com")
        members.send_link(team, User.objects.get(pk=sam.pk), actor=actor(tom))
        [sent] = send_mails()
        assert sent.subject == "Choose a new password for Number Desk"
        assert "your password does not change" in sent.body

    def test_goes_also_to_an_admin_who_asks_for_their_own(self, team, tom):
        User.objects.filter(pk=tom.pk).update(email="tom@example.com")
        members.send_link(team, User.objects.get(pk=tom.pk), actor=actor(tom))
        assert [message.to for message in send_mails()] == [["tom@example.com"]]

    @pytest.mark.parametrize(
        "change, reason", [({"email": ""}, "no address"), ({"is_active": False}, "switched off")]
    )
    def test_says_what_stands_in_the_way(self, team, tom, change, reason):
        bea = invite(team, tom)
        User.objects.filter(pk=bea.pk).update(**change)
        bea.refresh_from_db()
        with pytest.raises(problems.Problem, match=reason):
            members.send_link(team, bea, actor=actor(tom))


class TestStandingIn:
    @pytest.fixture
    def bob(self, team, tom):
        bob = factories.member("bob", team, "requester")
        User.objects.filter(pk=bob.pk).update(email="bob@example.com")
        return User.objects.get(pk=bob.pk)

    def name(self, team, by, ana, bob, first=0, last=7):
        today = timezone.localdate()
        return stand_ins.name_stand_in(
            team,
            actor=actor(by),
            approver=ana,
            stand_in=bob,
            from_day=today + timedelta(days=first),
            to_day=today + timedelta(days=last),
        )

    def test_the_stand_in_is_notified_of_it_and_of_what_is_waiting(self, team, sam, ana, tom, bob):
        waiting = factories.request(team, sam, ["+12125550101", "+12125550102"])
        factories.approve(factories.request(team, sam, ["+12125550103"]), ana)
        own = factories.request(team, bob, ["+12125550104"])
        MailCursor.objects.update(seq=AuditEvent.objects.order_by("-seq").first().seq)
        row = self.name(team, tom, ana, bob)
        [sent] = send_mails()
        assert (sent.to, sent.subject) == (["bob@example.com"], "You stand in for ana in Support")
        for text in (sent.body, html_of(sent)):
            assert "tom has named you" in text
            assert f"{row.to_day:%B}" in text and str(row.to_day.year) in text
            assert f"Request {waiting.pk} of sam" in text and "2 numbers" in text and "New desks" in text
            assert f"/requests/{waiting.pk}/" in text and f"/requests/{own.pk}/" not in text
        assert send_mails() == []

    def test_says_that_nothing_is_waiting(self, team, ana, tom, bob):
        self.name(team, tom, ana, bob, first=3)
        [sent] = send_mails()
        assert "Nothing is waiting for a decision now." in sent.body

    def test_that_ended_before_the_mail_was_sent_sends_none(self, team, ana, tom, bob):
        row = self.name(team, tom, ana, bob)
        notices.collect()
        stand_ins.end_stand_in(row, actor=actor(tom))
        assert send_mails() == []

    def test_that_ended_before_events_were_collected_queues_no_mail(self, team, ana, tom, bob):
        stand_ins.end_stand_in(self.name(team, tom, ana, bob), actor=actor(tom))
        assert send_mails() == []
        assert not Mail.objects.exists()

    def test_for_two_approvers_is_one_mail(self, team, ana, tom, bob):
        eve = factories.member("eve", team, "approver")
        for approver in (ana, eve):
            self.name(team, tom, approver, bob)
        [sent] = send_mails()
        assert sent.subject == "You stand in for ana and eve in Support"


class TestAsHtml:
    @pytest.fixture
    def row(self, team, tom):
        return Mail.objects.create(
            user=tom,
            team=team,
            kind="outcome",
            due_at=clock.now(),
            sent_at=clock.now(),
            subject="S",
            text="T",
            html="<!doctype html><html><head><title>S</title></head><body><p>Hello</p></body></html>",
        )

    def test_is_served_so_that_it_can_do_nothing(self, client, row, tom):
        client.force_login(tom)
        page = client.get(f"/mails/{row.pk}/html/")
        policy = dict(part.split(" ", 1) for part in page["Content-Security-Policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "style-src": "'unsafe-inline'",
            "form-action": "'none'",
            "frame-ancestors": "'self'",
            "sandbox": "allow-popups allow-popups-to-escape-sandbox",
        }
        assert page["X-Frame-Options"] == "SAMEORIGIN"
        assert '<base target="_blank">' in page.content.decode()
        assert "default-src 'self'" in client.get(f"/mails/{row.pk}/")["Content-Security-Policy"]

    def test_is_shown_in_a_frame_that_runs_nothing(self, client, row, tom):
        client.force_login(tom)
        page = client.get(f"/mails/{row.pk}/").content.decode()
        frame = re.search(r"<iframe[^>]*>", page)[0]
        assert f'src="/mails/{row.pk}/html/"' in frame
        assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in frame and "title=" in frame
