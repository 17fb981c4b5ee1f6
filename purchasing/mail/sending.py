"""Sending what is due: each mail is written as things stand then, and handed to the mail server. Runs in the queue."""

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
from purchasing.models import ApiKey, AuditEvent, Mail, Purchase
from purchasing.states import State
from purchasing.teams import invitations

log = logging.getLogger(__name__)

MOST, SECONDS = 200, 15  # mails sent in one run, and how long it goes on: the process that sends also sweeps
CLAIMED = timedelta(minutes=10)  # after which a mail whose sender died is sent by another
FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=4)  # before the next try
TRIES = 14  # then it is given up; that is after a day
KEPT = timedelta(days=90)  # the record is kept for ever, mails are not


def wake_if_due():
    """Let the queue tell what is new and send what is due, unless that is in line already."""
    if not (notices.is_behind() or _due().exists()):
        return
    in_line = DBTaskResult.objects.filter(
        status=TaskResultStatus.READY, task_path="purchasing.tasks.send_mails"
    )
    if not in_line.exists():
        jobs.enqueue("send_mails")


def _due():
    return Mail.objects.filter(sent_at=None, given_up_at=None, due_at__lte=clock.now())


def send():
    """Send what is due over one connection. Where the server itself fails, all that is due is put off at once.

    No transaction is open while the network is used. A mail is sent again when its sender dies before it has noted
    that the server took it: better twice than never.
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
    except (OSError, ValueError) as problem:  # what goes wrong with a single mail is dealt with below
        log.warning("The mail server does not take mails: %s", problem)
        _put_off(problem)
    finally:
        with contextlib.suppress(OSError):
            connection.close()


def _claimed(pk):
    """The mail, for this process alone for a while; None when another has it. From now on no event joins it."""
    with transaction.atomic():
        if not _due().filter(pk=pk).update(tries=F("tries") + 1, due_at=clock.now() + CLAIMED):
            return None
    return Mail.objects.select_related("user", "team", "request__team", "request__requester").get(pk=pk)


def _deliver(mail, connection):
    """Hand one mail to the server and note what came of it. Raises what concerns the server itself."""
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
    except Exception as problem:  # whatever is wrong with one mail, the others go out
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
    """The mail for the wire. Sent again, it carries the same id, so that a mailbox can tell.

    The link of an invitation opens an account: it is made here, and stands in nothing that is kept.
    """
    link = invitations.link_for(mail.user) if mail.kind == "invitation" else ""
    domain = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip(" >")
    headers = {
        "Message-ID": f"<mail-{mail.pk}.{mail.created_at:%Y%m%d%H%M%S%f}@{domain}>",
        "Auto-Submitted": "auto-generated",  # no 'I am on holiday' in return
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
    """Nothing can be sent now: everything that is due is tried again later, or given up after a day."""
    now, said = clock.now(), _in_words(problem)
    with transaction.atomic():
        due = Mail.objects.filter(sent_at=None, given_up_at=None, due_at__lte=now)
        due.filter(tries__gte=TRIES - 1).update(tries=F("tries") + 1, given_up_at=now, problem=said)
        for tries in list(due.order_by().values_list("tries", flat=True).distinct()):
            later = now + _delay(tries + 1)
            due.filter(tries=tries).update(tries=tries + 1, due_at=later, problem=said)


def forget_old():
    """Remove mails of long ago; nothing that still has to be sent gets that old."""
    old = Mail.objects.filter(created_at__lt=clock.now() - KEPT)
    if old.exists():
        with transaction.atomic():
            old.delete()


def _in_words(problem):
    """What went wrong, as the mail server or this machine put it."""
    if isinstance(problem, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(problem.recipients.values()), (0, b""))
        problem = smtplib.SMTPResponseException(code, said)
    if isinstance(problem, smtplib.SMTPResponseException):
        said = problem.smtp_error
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
        problem = f"The mail server said: {problem.smtp_code} {said}"
    return audit.clean(str(problem) or type(problem).__name__)[:500]


def _not_needed(mail):
    """Why a mail is no longer sent, '' where it is: switched off, not theirs to read any more, or settled."""
    if not notices.may_get_mail(mail.user, mail.kind):
        return "Not sent: this person gets no mails."
    if not permissions.teams_seen_by(mail.user).filter(pk=mail.team_id).exists():
        return "Not sent: this person has left the team."
    purchases = Purchase.objects.filter(events__in=mail.events)
    events = AuditEvent.objects.filter(seq__in=mail.events)
    still = {
        "waiting": lambda: notices.waits_for(mail.user, mail.request),
        "reminder": lambda: notices.waits_for(mail.user, mail.request),
        "overdue": lambda: mail.request.purchases.filter(state=State.PENDING).exists(),
        "held": lambda: purchases.filter(state=State.HELD).exists(),
        "waits_long": lambda: purchases.filter(state=State.APPROVED).exists(),
        "look_into": lambda: _is_to_look_into(events),
        "key_refused": lambda: ApiKey.objects.filter(
            team=mail.team_id, retired_at=None, refused_at__isnull=False
        ).exists(),
        "stand_in": lambda: content.stand_ins_of(events).exists(),
        "invitation": lambda: (
            not mail.user.has_usable_password() or any(event.action == "member.link_sent" for event in events)
        ),
    }.get(mail.kind)
    return "Not sent: it was settled meanwhile." if still and not still() else ""


def _is_to_look_into(events):
    """Whether a name or a recording of these is still not as asked; where an order was sent elsewhere, it always is."""
    unapplied = Purchase.objects.filter(events__in=events, applied_at=None, released_at=None)
    return events.filter(action="provider.redirected").exists() or unapplied.exists()
