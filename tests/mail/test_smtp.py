"""Mails through a real mail server on this machine: up, down, silent, selective, and with two senders at once."""

import email
import socket
import threading
import time
from datetime import timedelta
from email.policy import default as modern

import pytest
from aiosmtpd.controller import Controller
from django.db import connections

from purchasing import clock, tasks
from purchasing.approving import approvals
from purchasing.buying import procurement
from purchasing.mail import sending
from purchasing.models import Desk, Mail, Purchase, User
from purchasing.worker import sweep
from tests import factories
from tests.healthy_provider import Provider

pytestmark = pytest.mark.django_db(transaction=True)
NUMBERS = [f"+121255501{n:02d}" for n in range(1, 9)]


class Mailbox:
    """What the server accepted, and what it does with the next mails."""

    def __init__(self):
        self.mails = []
        self.refuses = {}  # address: its answer
        self.before_taking = lambda: None

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.before_taking()
        self.mails.append(
            (envelope.mail_from, envelope.rcpt_tos, email.message_from_bytes(envelope.content, policy=modern))
        )
        return "250 OK"

    @property
    def names(self):
        """The recipients, in the order of arrival."""
        return [to[0].removesuffix("@example.com") for _, to, _ in self.mails]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def port(settings):
    """The port of the mail server. Nothing listens there until a test starts something."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    settings.EMAIL_TIMEOUT = 5
    return settings.EMAIL_PORT


@pytest.fixture
def start(port):
    """Start the mail server."""
    running = []

    def begin():
        controller = Controller(Mailbox(), hostname="127.0.0.1", port=port)
        controller.start()
        running.append(controller)
        return controller.handler

    yield begin
    for controller in running:
        controller.stop()


@pytest.fixture
def people(team, sam, ana):
    """sam requests, ana and ida approve, tom is the team admin; all have an address."""
    factories.member("ida", team, "approver")
    factories.member("tom", team, "admin")
    for user in User.objects.all():
        User.objects.filter(pk=user.pk).update(email=f"{user.username}@example.com")


def tell():
    """What the queue's task does."""
    tasks.send_mails.func()


def send_all_again():
    Mail.objects.update(due_at=clock.now())
    tell()


class TestUp:
    def test_a_mail_arrives_as_text_and_html_under_one_id(self, start, people, team, sam):
        mailbox = start()
        User.objects.filter(pk=sam.pk).update(first_name="Säm")
        request = factories.request(team, User.objects.get(pk=sam.pk), NUMBERS)
        tell()
        assert sorted(mailbox.names) == ["ana", "ida"]
        sender, _, message = mailbox.mails[0]
        assert sender == "number-desk@localhost"
        assert message["Subject"] == f"Säm requests 8 numbers for Support (request {request.pk})"
        assert message["From"] == "Number Desk <number-desk@localhost>"
        assert message.get_content_type() == "multipart/alternative"
        text, html = message.iter_parts()
        assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
        assert "Säm requests 8 numbers" in text.get_content() and "Säm requests" in html.get_content()
        assert len({message["Message-ID"] for _, _, message in mailbox.mails}) == 2
        row = Mail.objects.get(user__username=mailbox.names[0])
        assert row.sent_at is not None and row.subject == message["Subject"]
        assert row.text.split() == text.get_content().split()

    def test_a_name_with_line_ends_adds_no_header_and_no_recipient(self, start, people, team, sam):
        mailbox = start()
        team.name = "Sup\r\nBcc: ida@example.com\r\nport"
        team.save()
        User.objects.filter(username="ida").update(wants_mail=False)
        factories.request(team, sam, NUMBERS)
        tell()
        [(_, recipients, message)] = mailbox.mails
        assert recipients == ["ana@example.com"]
        assert message["Bcc"] is None
        assert "for Sup Bcc: ida@example.com port" in message["Subject"]

    def test_no_transaction_is_open_while_the_server_is_spoken_to(self, start, people, team, sam):
        mailbox, waited = start(), []

        def write_something():
            began = time.monotonic()
            Desk.objects.update(swept_at=clock.now())
            connections.close_all()
            waited.append(time.monotonic() - began)

        def before_taking():
            writer = threading.Thread(target=write_something)
            writer.start()
            writer.join(10)
            assert not writer.is_alive()

        mailbox.before_taking = before_taking
        factories.request(team, sam, NUMBERS)
        tell()
        assert len(waited) == 2 and max(waited) < 5

    def test_one_refused_address_does_not_hold_up_the_others(self, start, people, team, sam):
        mailbox = start()
        mailbox.refuses["ana@example.com"] = "550 No such person"
        factories.request(team, sam, NUMBERS)
        tell()
        assert mailbox.names == ["ida"]
        kept = Mail.objects.get(user__username="ana")
        assert kept.problem == "The mail server answered: 550 No such person"
        mailbox.refuses.clear()
        send_all_again()
        assert mailbox.names == ["ida", "ana"]

    def test_a_server_that_goes_away_in_the_middle_gets_the_rest_later_and_nothing_twice(
        self, start, people, team, sam
    ):
        mailbox = start()
        mailbox.refuses["ida@example.com"] = "421 Going down"
        factories.request(team, sam, NUMBERS)
        tell()
        assert mailbox.names == ["ana"]
        assert "421" in Mail.objects.get(user__username="ida").problem
        mailbox.refuses.clear()
        send_all_again()
        send_all_again()
        assert mailbox.names == ["ana", "ida"]


class TestDown:
    def test_purchases_go_on_nothing_is_lost_and_all_is_sent_later(self, start, people, team, sam, ana, http):
        provider = Provider(http)
        request = factories.request(team, sam, NUMBERS[:2])
        tell()
        for count, purchase in enumerate(factories.approve(request, ana)):
            provider.sells(purchase.phone_number, 501 + count)
            procurement.buy(purchase.pk)
            sweep.run()
            tell()
        assert set(request.purchases.values_list("state", flat=True)) == {"purchased"}
        unsent = Mail.objects.order_by("pk")
        assert [(row.user.username, row.kind) for row in unsent] == [
            ("ana", "waiting"),
            ("ida", "waiting"),
            ("sam", "outcome"),
        ]
        assert all(row.problem and row.sent_at is None and row.given_up_at is None for row in unsent)
        mailbox = start()
        tell()
        assert mailbox.names == []  # not yet: a broken server is not asked all the time
        send_all_again()
        # Nobody is notified of what no longer waits; the requester is notified of the outcome.
        assert mailbox.names == ["sam"]
        assert mailbox.mails[0][2]["Subject"] == f"Request {request.pk} for Support: 2 bought"
        assert set(Mail.objects.exclude(user=sam).values_list("problem", flat=True)) == {
            "Not sent: it was settled in the meantime."
        }
        send_all_again()
        assert mailbox.names == ["sam"]

    def test_a_broken_server_costs_one_try_a_run_and_growing_gaps(self, port, people, team, sam):
        tries = []
        with socket.create_server(("127.0.0.1", port)) as server:

            def hang_up():
                while True:
                    try:
                        caller, _ = server.accept()
                    except OSError:
                        return
                    tries.append(1)
                    caller.close()

            threading.Thread(target=hang_up, daemon=True).start()
            for number in NUMBERS:
                factories.request(team, sam, [number])
            tell()
            assert len(tries) == 1
            assert Mail.objects.count() == 16
            assert {row.tries for row in Mail.objects.all()} == {1}
            tell()
            assert len(tries) == 1
            send_all_again()
            assert len(tries) == 2
            gaps = {round((row.due_at - clock.now()).total_seconds() / 60) for row in Mail.objects.all()}
            assert gaps == {2}
            server.shutdown(socket.SHUT_RDWR)

    def test_after_a_day_a_mail_is_given_up_and_the_problem_is_kept(self, port, people, team, sam):
        User.objects.filter(username="ida").update(wants_mail=False)
        factories.request(team, sam, NUMBERS)
        waited = timedelta()
        while not Mail.objects.filter(given_up_at__isnull=False).exists():
            send_all_again() if Mail.objects.exists() else tell()
            waited += max(timedelta(), Mail.objects.get().due_at - clock.now())
        assert timedelta(days=1) < waited < timedelta(hours=25)
        assert "refused" in Mail.objects.get().problem

    def test_a_silent_server_is_not_waited_for(self, port, people, team, sam, settings):
        settings.EMAIL_TIMEOUT = 0.5
        with socket.create_server(("127.0.0.1", port)):
            factories.request(team, sam, NUMBERS)
            began = time.monotonic()
            tell()
            assert time.monotonic() - began < 5
        assert {row.problem for row in Mail.objects.all()} == {"Connection unexpectedly closed: timed out"}

    def test_an_unknown_host_is_a_problem_like_any_other(self, people, team, sam, settings):
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST = "x" * 70 + ".invalid"  # a label too long to be looked up at all
        factories.request(team, sam, NUMBERS)
        tell()
        assert all(row.problem for row in Mail.objects.all())


@pytest.mark.database
class TestTwoSenders:
    def test_send_each_mail_once(self, start, people, team, sam):
        mailbox = start()
        mailbox.before_taking = lambda: time.sleep(0.02)
        for number in NUMBERS:
            factories.request(team, sam, [number])
        barrier, problems = threading.Barrier(3), []

        def run():
            try:
                barrier.wait(20)
                tell()
            except Exception as problem:
                problems.append(problem)
            finally:
                connections.close_all()

        senders = [threading.Thread(target=run, daemon=True) for _ in range(3)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(60)
            assert not sender.is_alive()
        assert problems == []
        assert sorted(mailbox.names) == ["ana"] * 8 + ["ida"] * 8
        assert len({message["Message-ID"] for _, _, message in mailbox.mails}) == 16
        assert {row.tries for row in Mail.objects.all()} == {1}

    def test_events_during_the_sending_are_each_mailed_once(self, start, people, team, sam, ana):
        mailbox = start()
        request = factories.request(team, sam, NUMBERS)
        tell()
        mailbox.mails.clear()
        ids = list(request.purchases.order_by("pk").values_list("pk", flat=True))
        stop, problems = threading.Event(), []

        def keep_telling():
            try:
                while not stop.is_set():
                    tell()
            except Exception as problem:
                problems.append(problem)
            finally:
                connections.close_all()

        senders = [threading.Thread(target=keep_telling, daemon=True) for _ in range(2)]
        for sender in senders:
            sender.start()
        for pk in ids:
            approvals.reject(
                request.pk, [pk], approver=factories.actor(ana), version=1, reason=f"Too dear {pk}"
            )
        stop.set()
        for sender in senders:
            sender.join(60)
            assert not sender.is_alive()
        tell()
        assert problems == []
        texts = [message.get_body(("plain",)).get_content() for _, _, message in mailbox.mails]
        notes = [line for text in texts for line in text.splitlines() if line.startswith("> ")]
        assert sorted(notes) == sorted(f"> Too dear {pk}" for pk in ids)
        assert set(mailbox.names) == {"sam"}

    def test_a_sender_that_dies_after_the_server_took_it_sends_it_again_under_the_same_id(
        self, start, people, team, sam, monkeypatch
    ):
        User.objects.filter(username="ida").update(wants_mail=False)
        mailbox = start()
        factories.request(team, sam, NUMBERS)

        def die(*arguments, **fields):
            raise SystemExit("killed")

        with monkeypatch.context() as patch:
            patch.setattr(sending, "_note", die)
            with pytest.raises(SystemExit):
                tell()
        tell()
        assert mailbox.names == ["ana"]
        send_all_again()
        send_all_again()
        assert mailbox.names == ["ana", "ana"]
        assert len({message["Message-ID"] for _, _, message in mailbox.mails}) == 1
        assert Purchase.objects.filter(state="pending").count() == 8
