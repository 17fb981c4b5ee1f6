"""Who is told what by mail. The audit record says what there is to tell, so no mail is lost and none holds anything up.

`collect` reads the events after the last one that was told and queues a mail for each person that they concern;
`send` writes what is due, as things stand then, and hands it to the mail server. Both run in the queue.
"""

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

from purchasing import audit, clock, jobs, letters, permissions, selectors
from purchasing.models import ApiKey, Approval, AuditEvent, AuditHead, Mail, MailCursor, Purchase, User
from purchasing.problems import Problem
from purchasing.states import State
from purchasing.teams import invitations

log = logging.getLogger(__name__)

ABOUT_A_REQUEST = frozenset({"waiting", "reminder", "overdue", "outcome"})  # the others are about a team
ENDS = frozenset(
    f"purchase.{state}"
    for state in (
        State.PURCHASED,
        State.FAILED,
        State.REJECTED,
        State.CANCELLED,
        State.EXPIRED,
        State.GIVEN_UP,
    )
)
BATCH = 500  # events told in one transaction
PATIENCE = timedelta(minutes=3)  # that a mail about some numbers waits for the others of their request
MOST, SECONDS = 200, 15  # mails sent in one run, and how long it goes on: the process that sends also sweeps
CLAIMED = timedelta(minutes=10)  # after which a mail whose sender died is sent by another
FIRST_DELAY, LONGEST_DELAY = timedelta(minutes=1), timedelta(hours=4)  # before the next try
TRIES = 14  # then it is given up; that is after a day
KEPT = timedelta(days=90)  # the record is kept for ever, mails are not


# --- Who is told --------------------------------------------------------------------------------------------------


def collect():
    """Queue mails for every event that was not told yet."""
    while _is_behind():
        _collect()


def _is_behind():
    return AuditHead.objects.filter(seq__gt=MailCursor.objects.get(pk=MailCursor.ONLY).seq).exists()


@transaction.atomic
def _collect():
    """Tell the next events: the mails are queued and the cursor moves, both or neither."""
    cursor = MailCursor.objects.select_for_update().get(pk=MailCursor.ONLY)
    # Numbers are given in the order of commits: what is read here has no gap that could be filled later.
    events = AuditEvent.objects.filter(seq__gt=cursor.seq).order_by("seq")
    events = list(events.select_related("team", "request__team", "request__requester")[:BATCH])
    mails = {}
    for event in events:
        for kind, people in _told(event):
            request_id = event.request_id if kind in ABOUT_A_REQUEST else None
            for person in people:
                if _may_get_mail(person, kind) and (person.pk != event.actor_id or kind == "invitation"):
                    mails.setdefault((person.pk, kind, event.team_id, request_id), []).append(event.seq)
    for (user_id, kind, team_id, request_id), numbers in mails.items():
        about = {"user_id": user_id, "kind": kind, "team_id": team_id, "request_id": request_id}
        _queue(about, numbers)
    if events:
        MailCursor.objects.filter(pk=MailCursor.ONLY).update(seq=events[-1].seq)


def _told(event):
    """As which kinds of mail an event is told, and to whom: `(kind, people)`. An actor hears nothing of themselves."""
    if event.action in ("request.submitted", "request.edited") or _voids_a_yes(event):
        yield "waiting", _deciders(event.request)
    elif event.action == "request.reminded":
        yield "reminder", _deciders(event.request)
    elif event.action == "request.admins_reminded":
        yield "overdue", selectors.admins_of(event.team)
    elif event.action == "purchase.held":
        yield "held", _responsible(event.request)
    elif event.action == "purchase.waits_long":
        yield "waits_long", selectors.admins_of(event.team)
    elif event.action in ("purchase.not_applied", "provider.redirected"):
        yield "look_into", selectors.admins_of(event.team)
    elif event.action == "key.refused":
        yield "key_refused", selectors.admins_of(event.team)
    elif event.action == "stand_in.named":
        yield "stand_in", User.objects.filter(stands_in_for__in=letters.stand_ins_of([event]))
    elif event.action in invitations.ACTIONS:
        yield "invitation", User.objects.filter(pk=event.data["member_id"])
    elif event.action in ENDS:
        yield "outcome", [event.request.requester]
        if (event.was, event.became) == (State.GIVEN_UP, State.PURCHASED):
            yield "after_all", _responsible(event.request)


def _voids_a_yes(event):
    """Whether another price made a new version to which a yes has to be said again; told once for each version."""
    if event.action != "purchase.price_changed":
        return False
    version = event.data["version"]
    earlier = AuditEvent.objects.filter(request=event.request_id, action=event.action, seq__lt=event.seq)
    if earlier.filter(data__version=version).exists():
        return False
    void = Approval.objects.filter(version=version - 1, superseded_at__isnull=False)
    return void.filter(purchase__request=event.request_id, purchase__version__gte=version).exists()


def _deciders(request):
    """Who can decide about something of this request today; nobody when nothing of it is pending any more."""
    return [person for person in selectors.approvers_of(request) if _waits_for(person, request)]


def _waits_for(person, request):
    waiting = selectors.requests_to_decide(person).filter(pk=request.pk)
    return waiting.exists() and permissions.may_approve(person, request)


def _responsible(request):
    """Who sees to what went wrong after the approval: approvers and team admins, never the person who asked."""
    approvers = [
        person for person in selectors.approvers_of(request) if permissions.may_approve(person, request)
    ]
    people = {person.pk: person for person in [*approvers, *selectors.admins_of(request.team)]}
    people.pop(request.requester_id, None)
    return people.values()


def _may_get_mail(person, kind):
    """Who does not want mails gets those alone with which they come in."""
    return person.is_active and bool(person.email) and (person.wants_mail or kind == "invitation")


def _queue(about, numbers):
    """Queue a mail about these events, or let them join the one about the same that nobody has begun to send."""
    now = clock.now()
    due_at = now + PATIENCE if about["kind"] == "outcome" and _more_comes(about["request_id"]) else now
    unsent = Mail.objects.filter(**about, tries=0, sent_at=None, given_up_at=None).first()
    if unsent:
        events = {"events": [*unsent.events, *numbers], "due_at": min(due_at, unsent.due_at)}
        if Mail.objects.filter(pk=unsent.pk, tries=0, given_up_at=None).update(**events):
            return
    Mail.objects.create(**about, events=numbers, created_at=now, due_at=due_at)


def _more_comes(request_id):
    """Whether other numbers of the request are being bought right now, so that one mail can tell of all."""
    purchases = Purchase.objects.filter(request=request_id)
    in_line = purchases.filter(state=State.APPROVED, waiting_since=None)
    return in_line.exists() or purchases.filter(state=State.PURCHASING).exists()


# --- Sending ------------------------------------------------------------------------------------------------------


def wake_if_due():
    """Let the queue tell what is new and send what is due, unless that is in line already."""
    if not (_is_behind() or _due().exists()):
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
        mail.subject, mail.text, mail.html = letters.compose(mail)
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
    text, html = (letters.with_link(part, link) for part in (mail.text, mail.html))
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
    if not _may_get_mail(mail.user, mail.kind):
        return "Not sent: this person gets no mails."
    if not permissions.teams_seen_by(mail.user).filter(pk=mail.team_id).exists():
        return "Not sent: this person has left the team."
    purchases = Purchase.objects.filter(events__in=mail.events)
    events = AuditEvent.objects.filter(seq__in=mail.events)
    still = {
        "waiting": lambda: _waits_for(mail.user, mail.request),
        "reminder": lambda: _waits_for(mail.user, mail.request),
        "overdue": lambda: mail.request.purchases.filter(state=State.PENDING).exists(),
        "held": lambda: purchases.filter(state=State.HELD).exists(),
        "waits_long": lambda: purchases.filter(state=State.APPROVED).exists(),
        "look_into": lambda: _is_to_look_into(events),
        "key_refused": lambda: ApiKey.objects.filter(
            team=mail.team_id, retired_at=None, refused_at__isnull=False
        ).exists(),
        "stand_in": lambda: letters.stand_ins_of(events).exists(),
        "invitation": lambda: (
            not mail.user.has_usable_password() or any(event.action == "member.link_sent" for event in events)
        ),
    }.get(mail.kind)
    return "Not sent: it was settled meanwhile." if still and not still() else ""


def _is_to_look_into(events):
    """Whether a name or a recording of these is still not as asked; where an order was sent elsewhere, it always is."""
    unapplied = Purchase.objects.filter(events__in=events, applied_at=None, released_at=None)
    return events.filter(action="provider.redirected").exists() or unapplied.exists()


# --- What a person chooses ----------------------------------------------------------------------------------------


@transaction.atomic
def choose(user, *, address, wants_mail, actor):
    """Set where a person's mails go and whether any are sent; whether that changed anything.

    Raises `Problem` for the address of somebody else, who may be looked for by it.
    """
    user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    if (user.email, user.wants_mail) == (address, wants_mail):
        return False
    if address and User.objects.filter(email__iexact=address).exclude(pk=user.pk).exists():
        raise Problem("This address belongs to another account.")
    User.objects.filter(pk=user.pk).update(email=address, wants_mail=wants_mail)
    audit.record(
        "member.mail_changed",
        actor=actor,
        member=user.get_username(),
        wants_mail=wants_mail,
        address_changed=user.email != address,
    )
    return True
