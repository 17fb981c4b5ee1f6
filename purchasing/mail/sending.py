"""Sending due mails: each is written when it is sent and handed to the mail server. Runs in the queue."""

import contextlib
import logging
import smtplib
import time
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db import DatabaseError, transaction
from django.db.models import F
from django_tasks import TaskResultStatus
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock, jobs, permissions
from purchasing.mail import content, notices
from purchasing.models import ApiKey, AuditEvent, Desk, Mail, Purchase
from purchasing.states import State
from purchasing.teams import invitations

log = logging.getLogger(__name__)

# Mails sent in one run, and how long a run lasts at most: the process that sends also sweeps.
MOST, SECONDS = 200, 15
CLAIMED = timedelta(minutes=10)  # after which another process sends a mail whose sender died
FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=4)  # before the next try
TRIES = 14  # after which a mail is given up: about a day
KEPT = timedelta(days=90)  # unlike the audit record, which is kept for ever


def wake_if_due():
    """Queue the task that collects and sends mails, if there is something to do and it is not queued already."""
    if not (notices.is_behind() or _due().exists()):
        return
    queued = DBTaskResult.objects.filter(
        status=TaskResultStatus.READY, task_path="purchasing.tasks.send_mails"
    )
    if not queued.exists():
        jobs.enqueue("send_mails")


def _due():
    return Mail.objects.filter(sent_at=None, given_up_at=None, due_at__lte=clock.now())


def send():
    """Send due mails over one connection. Where the server itself fails, all of them are put off at once.

    No transaction is open while the network is used. A mail is sent twice where its sender dies between the server's
    acceptance and recording it: better twice than never.
    """
    due = list(_due().order_by("due_at", "pk").values_list("pk", flat=True)[:MOST])
    if not due:
        return
    until, connection = time.monotonic() + SECONDS, get_connection()
    try:
        connection.open()
        for pk in due:
            if time.monotonic() > until:
                break
            mail = _claimed(pk)
            if mail:
                _deliver(mail, connection)
    except (OSError, ValueError) as problem:  # of the server: `_deliver` handles what concerns a single mail
        log.warning("The mail server does not accept mails: %s", problem)
        _put_off(problem)
    finally:
        with contextlib.suppress(OSError):
            connection.close()


def _claimed(pk):
    """The mail, claimed by this process for a while; None where another has it. No further events are added to it."""
    with transaction.atomic():
        if not _due().filter(pk=pk).update(tries=F("tries") + 1, due_at=clock.now() + CLAIMED):
            return None
    return Mail.objects.select_related("user", "team", "request__team", "request__requester").get(pk=pk)


def _deliver(mail, connection):
    """Hand one mail to the server and record the outcome. Raises errors that concern the server itself."""
    reason = _not_needed(mail)
    if reason:
        _note(mail, given_up_at=clock.now(), problem=reason)
        return
    try:
        mail.address = mail.user.email
        mail.subject, mail.text, mail.html = content.compose(mail)
        connection.send_messages([_message(mail)])
    except DatabaseError:
        raise
    except Exception as problem:  # one bad mail must not stop the others
        log.warning("Mail %s could not be sent: %s", mail.pk, problem)
        now = clock.now()
        over = mail.tries >= TRIES
        planned = {"given_up_at": now} if over else {"due_at": now + _delay(mail.tries)}
        _note(mail, problem=_in_words(problem), **planned)
        of_this_mail = smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused
        if isinstance(problem, OSError) and not isinstance(problem, of_this_mail):
            raise
    else:
        _note(mail, sent_at=clock.now(), problem="")


def _message(mail):
    """The message to send. Sent again it has the same id, so that mailboxes can recognise it.

    The link of an invitation gives access to an account, so it is made here and stored nowhere.
    """
    link = invitations.link_for(mail.user) if mail.kind == "invitation" else ""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip(" >")
    headers = {
        "Message-ID": f"<mail-{mail.pk}.{mail.created_at:%Y%m%d%H%M%S%f}@{domain}>",
        "Auto-Submitted": "auto-generated",  # no automatic replies
    }
    text, html = (content.with_link(part, link) for part in (mail.text, mail.html))
    message = EmailMultiAlternatives(mail.subject, text, to=[mail.address], headers=headers)
    message.attach_alternative(html, "text/html")
    return message


def _note(mail, **fields):
    fields |= {name: getattr(mail, name) for name in ("address", "subject", "text", "html")}
    with transaction.atomic():
        Mail.objects.filter(pk=mail.pk).update(**fields)


def _delay(tries):
    return min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(tries - 1, 20))


def _put_off(problem):
    """Try everything that is due again later, because nothing can be sent now; give it up after about a day."""
    now, reason = clock.now(), _in_words(problem)
    with transaction.atomic():
        due = Mail.objects.filter(sent_at=None, given_up_at=None, due_at__lte=now)
        due.filter(tries__gte=TRIES - 1).update(tries=F("tries") + 1, given_up_at=now, problem=reason)
        for tries in list(due.order_by().values_list("tries", flat=True).distinct()):
            later = now + _delay(tries + 1)
            due.filter(tries=tries).update(tries=tries + 1, due_at=later, problem=reason)


def forget_old():
    """Delete old mails. Mails that still have to be sent never get that old."""
    old = Mail.objects.filter(created_at__lt=clock.now() - KEPT)
    if old.exists():
        with transaction.atomic():
            old.delete()


def _in_words(problem):
    """What went wrong, in the words of the mail server or of this machine."""
    if isinstance(problem, smtplib.SMTPRecipientsRefused):
        code, answer_text = next(iter(problem.recipients.values()), (0, b""))
        problem = smtplib.SMTPResponseException(code, answer_text)
    if isinstance(problem, smtplib.SMTPResponseException):
        answer_text = problem.smtp_error
        if isinstance(answer_text, bytes):
            answer_text = answer_text.decode("utf-8", "replace")
        problem = f"The mail server answered: {problem.smtp_code} {answer_text}"
    return audit.clean(str(problem) or type(problem).__name__)[:500]


def _not_needed(mail):
    """Why a mail is not sent any more, '' where it is: mails switched off, the team left, or the matter settled."""
    if not notices.may_get_mail(mail.user, mail.kind):
        return "Not sent: this person gets no mails."
    if mail.team_id and not permissions.teams_seen_by(mail.user).filter(pk=mail.team_id).exists():
        return "Not sent: this person has left the team."
    purchases = Purchase.objects.filter(events__in=mail.events)
    events = AuditEvent.objects.filter(seq__in=mail.events)
    still = {
        "waiting": lambda: notices.waits_for(mail.user, mail.request),
        "reminder": lambda: notices.waits_for(mail.user, mail.request),
        "overdue": lambda: mail.request.purchases.filter(state=State.PENDING).exists(),
        "held": lambda: purchases.filter(state=State.HELD).exists(),
        "waits_long": lambda: purchases.filter(state=State.APPROVED).exists(),
        "look_into": lambda: _needs_attention(events),
        "key_refused": lambda: ApiKey.objects.filter(
            team=mail.team_id, retired_at=None, credential__refused_at__isnull=False
        ).exists(),
        "alarm": lambda: mail.user.is_superuser and Desk.objects.filter(alarm_at__isnull=False).exists(),
        "stand_in": lambda: content.stand_ins_of(events).exists(),
        "invitation": lambda: (
            not mail.user.has_usable_password() or any(event.action == "member.link_sent" for event in events)
        ),
    }.get(mail.kind)
    return "Not sent: it was settled in the meantime." if still and not still() else ""


def _needs_attention(events):
    """Whether some name or recording is still not as requested, or an order was redirected."""
    unapplied = Purchase.objects.filter(events__in=events, applied_at=None, released_at=None)
    return events.filter(action="provider.redirected").exists() or unapplied.exists()
