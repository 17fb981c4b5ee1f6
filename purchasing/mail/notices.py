"""Who is notified of what by mail. The audit record says what there is to tell, so no mail is lost.

`collect` reads the events after the last one that was told and queues a mail for each person that they concern. It
runs in the queue, so no mail holds anything up.
"""

from datetime import timedelta

from django.db import transaction

from purchasing import clock, permissions, selectors
from purchasing.mail import content
from purchasing.models import Approval, AuditEvent, AuditHead, Mail, MailCursor, Purchase, User
from purchasing.states import State
from purchasing.teams import invitations

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
EVENTS_AT_ONCE = 500  # events told in one transaction
JOIN_WITHIN = timedelta(minutes=3)  # that a mail about some numbers waits for the others of their request


def collect():
    """Queue mails for every event that was not told yet."""
    while is_behind():
        _collect()


def is_behind():
    return AuditHead.objects.filter(seq__gt=MailCursor.objects.get(pk=MailCursor.ONLY).seq).exists()


@transaction.atomic
def _collect():
    """Tell the next events: the mails are queued and the cursor moves, both or neither."""
    cursor = MailCursor.objects.select_for_update().get(pk=MailCursor.ONLY)
    # Numbers are given in the order of commits: what is read here has no gap that could be filled later.
    events = AuditEvent.objects.filter(seq__gt=cursor.seq).order_by("seq")
    events = list(events.select_related("team", "request__team", "request__requester")[:EVENTS_AT_ONCE])
    mails = {}
    for event in events:
        for kind, people in _told(event):
            request_id = event.request_id if kind in ABOUT_A_REQUEST else None
            for person in people:
                if may_get_mail(person, kind) and (person.pk != event.actor_id or kind == "invitation"):
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
        yield "stand_in", User.objects.filter(stands_in_for__in=content.stand_ins_of([event]))
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
    return [person for person in selectors.approvers_of(request) if waits_for(person, request)]


def waits_for(person, request):
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


def may_get_mail(person, kind):
    """Who does not want mails gets those alone with which they come in."""
    return person.is_active and bool(person.email) and (person.wants_mail or kind == "invitation")


def _queue(about, numbers):
    """Queue a mail about these events, or let them join the one about the same that nobody has begun to send."""
    now = clock.now()
    due_at = now + JOIN_WITHIN if about["kind"] == "outcome" and _more_comes(about["request_id"]) else now
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
