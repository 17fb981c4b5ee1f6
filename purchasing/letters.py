"""What a mail says: templates filled with the events it tells of and with how things stand now."""

import re

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse

from purchasing import approving, audit, selectors, words
from purchasing.models import AuditEvent
from purchasing.redaction import redact
from purchasing.states import NEXT, State

TITLES = {  # every kind of mail, as it is called where it has no subject yet
    "waiting": "A request waits for approval",
    "reminder": "A request still waits for approval",
    "overdue": "Nobody has decided a request",
    "outcome": "What came of a request",
    "held": "Numbers need a decision",
    "after_all": "A number that was given up was bought",
    "waits_long": "Approved numbers wait",
    "key_refused": "IdentityCall refused an API key",
}
PAGES = {"held": ["purchasing:held"], "after_all": ["purchasing:numbers"]}  # else the request, or the team
SHOWN = 30  # numbers that a mail lists


def compose(mail):
    """Subject, text and HTML of a mail, as things stand now.

    The first line of the text template is the subject. Links only open pages; nothing is decided by opening one.
    """
    facts = _facts(mail)
    subject, _, text = render_to_string(f"mail/{mail.kind}.txt", facts).strip().partition("\n")
    facts["subject"] = subject = one_line(subject)[:200]
    html = render_to_string(f"mail/{mail.kind}.html", facts)
    return subject, redact(re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"), redact(html)


def one_line(text):
    """`text` on one line, without what no header may hold."""
    return " ".join(audit.clean(text).split())


def _facts(mail):
    events = AuditEvent.objects.filter(seq__in=mail.events).order_by("seq")
    events = list(events.select_related("team", "purchase__request__requester"))
    ends = _last_of_each_number(events) if mail.kind == "outcome" else []
    facts = {
        "team": one_line(mail.team),
        "lines": [_line(event) for event in _last_of_each_number(events)],
        "ends": [(state.label, n) for state in State if (n := sum(end.became == state for end in ends))],
        "results": _results(ends),
        "shown": SHOWN,
        "settings_url": _url("mail-settings"),
        "url": _url(*PAGES.get(mail.kind, ("purchasing:team", mail.team.slug))),
    }
    if mail.request:
        pending = list(mail.request.purchases.filter(state=State.PENDING).order_by("pk"))
        figures = selectors.figures(pending)
        facts |= {
            "asked": mail.request,
            "who": one_line(mail.request.requester),
            "reason": mail.request.reason.splitlines(),
            "pending": pending,
            "first_month": _sum(figures.first_month, figures),
            "monthly": _sum(figures.monthly, figures),
            "edited": events[0].action == "request.edited",
            "yeses": sorted(
                {approving.waits_for_second(purchase, mail.request) for purchase in pending} - {""}
            ),
            "goes_on": [pair for pair in selectors.summary(mail.request) if pair[0] in NEXT],
            "url": _url("purchasing:request", mail.request_id),
        }
    return facts


def _url(name, *arguments):
    return settings.SITE_URL + reverse(name, args=arguments)


def _sum(cost, figures):
    if not figures.unknown:
        return words.money(cost)
    return f"at least {words.money(cost)}" if cost else words.money(None)


def _line(event):
    """One event that a mail tells of: what happened, why, and where to see to it."""
    purchase = event.purchase
    return {
        "sentence": one_line(words.sentence(event)),
        "note": one_line((purchase and purchase.held_words) or event.note),
        "asked": one_line(f"{purchase.request} of {purchase.request.requester}") if purchase else "",
        "url": _url("purchasing:purchase", purchase.pk) if purchase else "",
    }


def _last_of_each_number(events):
    """The events without those that a later one about the same number has overtaken."""
    return {event.purchase_id or f"event {event.seq}": event for event in events}.values()


def _results(ends):
    """What came of the numbers of a request, those of the same end, words and person together."""
    results = {}
    for event in sorted(ends, key=lambda event: (list(State).index(event.became), event.seq)):
        who = words.who(event) if event.actor_id else ""
        # What IdentityCall says to a purchase that went well is no news.
        note = "" if event.became == State.PURCHASED and not who else event.note
        result = results.setdefault(
            (event.became, who, note),
            {"state": State(event.became).label, "who": one_line(who), "note": note, "purchases": []},
        )
        result["purchases"].append(event.purchase)
    return [result | {"note": result["note"].splitlines()} for result in results.values()]
