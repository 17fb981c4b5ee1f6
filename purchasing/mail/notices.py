"""Who is notified of what by mail. Mails are made from the audit record, so none is lost.

`collect` reads the events since the last one it has handled and queues a mail for each person concerned. It runs in
the queue, so mail never delays anything else.
"""

from datetime import timedelta

from django.db import transaction

from purchasing import clock, permissions, selectors
from purchasing.mail import content
from purchasing.models import Approval, AuditEvent, AuditHead, Mail, MailCursor, Purchase, User
from purchasing.states import State
from purchasing.teams import invitations

ABOUT_A_REQUEST = frozenset({"waiting", "reminder", "overdue", "outcome"})  # other kinds are about a team
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
EVENTS_AT_ONCE = 500  # events handled in one transaction
JOIN_WITHIN = timedelta(minutes=3)  # how long a mail about some numbers waits for the rest of the request


def collect():
    """Queue the mails for all events that were not handled yet."""
    while is_behind():
        _collect()


def is_behind():
    """Whether there are events that were not handled yet."""
    return AuditHead.objects.filter(seq__gt=MailCursor.objects.get(pk=MailCursor.ONLY).seq).exists()


@transaction.atomic
def _collect():
    """Handle the next events: queue their mails and move the cursor, both or neither."""
    cursor = MailCursor.objects.select_for_update().get(pk=MailCursor.ONLY)
    # Events are numbered in the order of their commits, so no event can turn up later with a smaller number.
    events = AuditEvent.objects.filter(seq__gt=cursor.seq).order_by("seq")
    events = list(events.select_related("team", "request__team", "request__requester")[:EVENTS_AT_ONCE])
    mails = {}
    for event in events:
        for kind, recipients in _notices(event):
            request_id = event.request_id if kind in ABOUT_A_REQUEST else None
            for person in recipients:
                if may_get_mail(person, kind) and (person.pk != event.actor_id or kind == "invitation"):
                    mails.setdefault((person.pk, kind, event.team_id, request_id), []).append(event.seq)
    for (user_id, kind, team_id, request_id), seqs in mails.items():
        about = {"user_id": user_id, "kind": kind, "team_id": team_id, "request_id": request_id}
        _queue(about, seqs)
    if events:
        MailCursor.objects.filter(pk=MailCursor.ONLY).update(seq=events[-1].seq)


def _notices(event):
    """The kinds of mail that an event leads to, each with its recipients. The caller leaves the event's actor out."""
    if event.action in ("request.submitted", "request.edited") or _voids_approvals(event):
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
    elif event.action == "key.blind":
        yield "key_blind", selectors.admins_of(event.team)
    elif event.action == "purchase.other_bought":
        yield "other_bought", selectors.admins_of(event.team)
    elif event.action == "desk.alarm":
        yield "alarm", User.objects.filter(is_superuser=True)
    elif event.action == "stand_in.named":
        yield "stand_in", User.objects.filter(stands_in_for__in=content.stand_ins_of([event]))
    elif event.action in invitations.ACTIONS:
        yield "invitation", User.objects.filter(pk=event.data["member_id"])
    elif event.action in ENDS:
        yield "outcome", [event.request.requester]
        if (event.was, event.became) == (State.GIVEN_UP, State.PURCHASED):
            yield "after_all", _responsible(event.request)


def _voids_approvals(event):
    """Whether a changed price voided approvals, so that approvers have to decide again. True once for each version."""
    if event.action != "purchase.price_changed":
        return False
    version = event.data["version"]
    earlier = AuditEvent.objects.filter(request=event.request_id, action=event.action, seq__lt=event.seq)
    if earlier.filter(data__version=version).exists():
        return False
    void = Approval.objects.filter(version=version - 1, superseded_at__isnull=False)
    return void.filter(purchase__request=event.request_id, purchase__version__gte=version).exists()


def _deciders(request):
    """Who can decide some number of this request today; nobody once nothing of it is pending."""
    return [person for person in selectors.approvers_of(request) if waits_for(person, request)]


def waits_for(person, request):
    """Whether a request is waiting for this person's decision."""
    waiting = selectors.requests_to_decide(person).filter(pk=request.pk)
    return waiting.exists() and permissions.may_approve(person, request)


def _responsible(request):
    """Who deals with problems after the approval: approvers and team admins, never the requester."""
    approvers = [
        person for person in selectors.approvers_of(request) if permissions.may_approve(person, request)
    ]
    people = {person.pk: person for person in [*approvers, *selectors.admins_of(request.team)]}
    people.pop(request.requester_id, None)
    return people.values()


def may_get_mail(person, kind):
    """Whether a mail of this kind may be sent. People who switched mails off still get links to choose a password."""
    return person.is_active and bool(person.email) and (person.wants_mail or kind == "invitation")


def _queue(about, seqs):
    """Queue a mail about these events, or add them to a mail about the same that is not being sent yet."""
    now = clock.now()
    due_at = now + JOIN_WITHIN if about["kind"] == "outcome" and _more_comes(about["request_id"]) else now
    unsent = Mail.objects.filter(**about, tries=0, sent_at=None, given_up_at=None).first()
    if unsent:
        events = {"events": [*unsent.events, *seqs], "due_at": min(due_at, unsent.due_at)}
        # Guarded: the sender may have claimed the mail since it was read. Then the events get a mail of their own.
        if Mail.objects.filter(pk=unsent.pk, tries=0, given_up_at=None).update(**events):
            return
    Mail.objects.create(**about, events=seqs, created_at=now, due_at=due_at)


def _more_comes(request_id):
    """Whether other numbers of the request are queued or being bought, so that one mail can cover all of them."""
    purchases = Purchase.objects.filter(request=request_id)
    queued = purchases.filter(state=State.APPROVED, waiting_since=None)
    return queued.exists() or purchases.filter(state=State.PURCHASING).exists()
