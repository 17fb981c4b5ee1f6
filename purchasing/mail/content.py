"""The text of mails: templates filled with the events that a mail is about and with the current state of things."""

import re

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone

from purchasing import audit, selectors, words
from purchasing.approving import approvals, decision_card
from purchasing.asking import versions
from purchasing.models import AuditEvent, StandIn, Team
from purchasing.redaction import redact
from purchasing.states import NEXT, State
from purchasing.teams import invitations

# Every kind of mail, with a title for where it has no subject yet.
TITLES = {
    "waiting": "A request is waiting for approval",
    "reminder": "A request is still waiting for approval",
    "overdue": "Nobody has decided a request",
    "outcome": "The outcome of a request",
    "held": "Numbers need a decision",
    "after_all": "A number that was given up was bought",
    "waits_long": "Approved numbers are waiting",
    "look_into": "Something to look into",
    "key_refused": "IdentityCall refused an API key",
    "key_blind": "An API key no longer shows its numbers",
    "other_bought": "IdentityCall bought another number",
    "alarm": "Buying is stopped by an alarm",
    "stand_in": "You stand in for an approver",
    "invitation": "A link to choose a password",
}
# The page that a kind of mail links to; by default the request, else the team.
PAGES = {
    "held": ["purchasing:held"],
    "after_all": ["purchasing:numbers"],
    "stand_in": ["purchasing:approvals"],
    "alarm": ["purchasing:teams"],
}
# The same for pages of the team.
TEAM_PAGES = {"key_blind": "purchasing:team-key", "other_bought": "purchasing:team-rented"}
# Events that made a new version of a request; their data names it.
NEW_VERSION = ("request.edited", "purchase.price_changed")
SHOWN = 30  # how many numbers, changes or requests a mail lists


def compose(mail):
    """Subject, text and HTML of a mail, written from the current state of things.

    The first line of the text template is the subject. Links only open pages; opening one decides nothing.
    """
    facts = _facts(mail)
    subject, _, text = render_to_string(f"mail/{mail.kind}.txt", facts).strip().partition("\n")
    facts["subject"] = subject = one_line(subject)[:200]
    html = render_to_string(f"mail/{mail.kind}.html", facts)
    return subject, redact(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"), redact(html)


def with_link(text, link):
    """The text of an invitation with its link in place of the placeholder; unchanged without a link."""
    return text.replace(_place_of_link(), link) if link else text


def _place_of_link():
    """The placeholder for the link in everything that is stored. It opens the log-in page, nothing else."""
    return _url("login") + "#the-link-stands-only-in-the-mail"


def stand_ins_of(events):
    """The stand-ins that these events are about and that have not ended."""
    rows = StandIn.objects.filter(pk__in=[event.data.get("entry") for event in events], ended_at=None)
    return rows.filter(to_day__gte=timezone.localdate()).select_related("approver", "stand_in", "team")


def one_line(text):
    """`text` on one line, without characters that a mail header must not contain."""
    return " ".join(audit.clean(text).split())


def _facts(mail):
    events = AuditEvent.objects.filter(seq__in=mail.events).order_by("seq")
    events = list(events.select_related("team", "purchase__request__requester"))
    ends = _last_of_each_number(events) if mail.kind == "outcome" else []
    facts = {
        "team": one_line(mail.team or ""),
        "lines": [_line(event) for event in _last_of_each_number(events)],
        "ends": [(state.label, n) for state in State if (n := sum(end.became == state for end in ends))],
        "results": _results(ends),
        "shown": SHOWN,
        "settings_url": _url("mail-settings"),
        "url": _url(
            *(PAGES.get(mail.kind) or (TEAM_PAGES.get(mail.kind, "purchasing:team"), mail.team.slug))
        ),
    }
    if mail.kind == "invitation":
        facts |= _invitation(mail.user, events)
    elif mail.kind == "stand_in":
        facts |= _standing_in(events)
    elif mail.request:
        facts |= _request(mail.request, events)
    return facts


def _request(asked, events):
    """What a mail says about a request: its current state, and the changes where the mail is about a new version."""
    pending = list(asked.purchases.filter(state=State.PENDING).order_by("pk"))
    figures = selectors.figures(pending)
    first = events[0].action
    return {
        "asked": asked,
        "who": one_line(asked.requester),
        "reason": asked.reason.splitlines(),
        "purpose": one_line(asked.purpose),
        "pending": pending,
        "first_month": _sum(figures.first_month, figures),
        "monthly": _sum(figures.monthly, figures),
        "edited": first == "request.edited",
        "repriced": first == "purchase.price_changed",
        "changes": [one_line(change) for change in versions.changes_since(asked, _version_before(events))]
        if first in NEW_VERSION
        else [],
        "approvals": sorted(
            {approvals.waits_for_another_approver(purchase, asked) for purchase in pending} - {""}
        ),
        "unfinished": [pair for pair in selectors.state_counts(asked.purchases.all()) if pair[0] in NEXT],
        "url": _url("purchasing:request", asked.pk),
    }


def _version_before(events):
    return min(event.data["version"] for event in events if event.action in NEW_VERSION) - 1


def _invitation(user, events):
    return {
        "user": one_line(user),
        "username": user.get_username(),
        "is_new": not user.has_usable_password(),
        "invited_by": one_line(events[-1].actor_name),
        "teams": [one_line(team) for team in Team.objects.filter(memberships__user=user).distinct()],
        "life": invitations.life_of_a_link(),
        "site": settings.SITE_URL,
        "url": _place_of_link(),
    }


def _standing_in(events):
    """For whom and when the person stands in, and which requests are waiting for these approvers already."""
    rows = list(stand_ins_of(events))
    waiting = {
        asked.pk: asked
        for row in rows
        for asked in selectors.requests_to_decide(row.approver).filter(team=row.team)
        if asked.requester_id != row.stand_in_id
    }
    return {
        "rows": [
            {"approver": one_line(row.approver), "from": row.from_day, "to": row.to_day} for row in rows
        ],
        "named_by": one_line(events[-1].actor_name),
        "waiting": [
            {
                "asked": one_line(f"{asked} of {asked.requester}"),
                "reason": one_line(asked.reason),
                "numbers": pending.count,
                "url": _url("purchasing:request", asked.pk),
            }
            for asked, pending in decision_card.with_pending_figures(waiting.values())
        ],
    }


def _url(name, *arguments):
    return settings.SITE_URL + reverse(name, args=arguments)


def _sum(cost, figures):
    if not figures.unknown:
        return words.money(cost)
    return f"at least {words.money(cost)}" if cost else words.money(None)


def _line(event):
    """One event that a mail is about: what happened, why, and the link to deal with it."""
    purchase = event.purchase
    return {
        "sentence": one_line(words.sentence(event)),
        "note": one_line((purchase and purchase.held_words) or event.note),
        "asked": one_line(f"{purchase.request} of {purchase.request.requester}") if purchase else "",
        "url": _url("purchasing:purchase", purchase.pk) if purchase else "",
    }


def _last_of_each_number(events):
    """The last event of each number, and every event that is not about a number."""
    return {event.purchase_id or f"event {event.seq}": event for event in events}.values()


def _results(ends):
    """The outcomes of a request's numbers, grouped where state, person and note are the same."""
    results = {}
    for event in sorted(ends, key=lambda event: (list(State).index(event.became), event.seq)):
        who = words.who(event) if event.actor_id else ""
        # The provider's words about a purchase that went well are not worth a line.
        note = "" if event.became == State.PURCHASED and not who else event.note
        result = results.setdefault(
            (event.became, who, note),
            {"state": State(event.became).label, "who": one_line(who), "note": note, "purchases": []},
        )
        result["purchases"].append(event.purchase)
    return [result | {"note": result["note"].splitlines()} for result in results.values()]
