"""Words and sentences for staff: events, money, phone numbers, countries and times."""

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import groupby

import phonenumbers
from django.conf import settings
from django.utils import timezone
from django.utils.timesince import timesince
from phonenumbers import PhoneNumberFormat

from purchasing.countries import country_name
from purchasing.states import NumberType, Outcome, State

EVENTS = {
    "request.submitted": "sent this request",
    "purchase.pending": "requested {number}",
    "request.edited": "changed this request; approvals of older versions no longer count",
    "request.reminded": "the approvers were reminded",
    "request.admins_reminded": "the team admins were reminded",
    "purchase.approved_first": "gave {number} its first approval; a second approver has to approve it too",
    "team.rules_changed": "changed the rules of {team}",
    "stand_in.named": "named {stand_in} to stand in for {approver} from {from_day} to {to_day}",
    "stand_in.ended": "ended the time of {stand_in} as stand-in for {approver}",
    "purchase.approved": "approved {number}",
    "purchase.rejected": "rejected {number}",
    "purchase.cancelled": "cancelled {number}",
    "purchase.expired": "nobody decided on {number} in time",
    "purchase.price_changed": "the price of {number} changed",
    "purchase.purchasing": "started to buy {number}",
    "purchase.purchased": "{number} was bought",
    "purchase.failed": "{number} could not be bought",
    "purchase.unconfirmed": "nobody knows yet whether {number} was bought; this is being checked",
    "purchase.held": "{number} needs a decision",
    "purchase.given_up": "gave up on {number}; it is still being watched",
    "purchase.waits_long": "{number} has been waiting for 20 minutes",
    "purchase.applied": "the name and recording of {number} are set as requested",
    "purchase.not_applied": "the name or recording of {number} is not set as requested yet",
    "purchase.cancel_asked": "cancelled {number}; IdentityCall's list is read first",
    "purchase.other_bought": "IdentityCall's answer to the order of {number} says that it bought {bought}",
    "purchase.released": "marked {number} as no longer rented",
    "provider.redirected": "IdentityCall redirected the order of {number}; the redirect was not followed",
    "attempt.given_up": "an order of {number} was settled by other means and never got an answer",
    "attempt.late_answer": "a late answer arrived for {number}; it was recorded and changed nothing",
    "team.created": "created the team {team}",
    "team.stopped": "stopped buying for {team}",
    "team.goes_on": "resumed buying for {team}",
    "desk.stopped": "stopped all buying",
    "desk.goes_on": "resumed all buying",
    "desk.alarm": "stopped all buying, as the database seems to have gone back in time or to be a copy",
    "desk.goes_on_after_alarm": "let buying go on after the alarm; what was approved needs a new approval",
    "key.stored": "stored the API key …{key} for {team}",
    "key.replaced": "replaced the API key of {team} with …{key}",
    "key.refused": "IdentityCall refused the API key …{key} of {team}",
    "key.blind": "the API key …{key} of {team} no longer shows its numbers; nothing is bought with it",
    "key.sees_again": "the API key …{key} of {team} is used to buy again",
    "number.kept": "kept {number} for {team}, which was rented but not in the record",
    "number.dismissed": "dismissed {number}, which is rented but not in the record of {team}",
    "number.gone": "confirmed that {number} is gone from the list of {team}",
    "provider.paused": "IdentityCall could not be reached; buying pauses",
    "provider.resumed": "IdentityCall is answering again; buying resumes",
    "member.added": "added {member} as {role}",
    "member.changed": "set the password and role of {member}: {role}",
    "key.tested": "tested the API key …{key} of {team}",
    "key.not_stored": "tried to store an API key for {team}, which was not accepted",
    "key.scope_said": "set the scope of the API key …{key} of {team}: {scope}",
    "key.rate_set": "set the API key …{key} of {team} to {rate} calls a minute (before: {before})",
    "key.removed": "removed the API key …{key} of {team}",
    "key.wiped": "erased the API key …{key} of {team}, which is no longer needed",
    "key.reencrypted": "re-encrypted all stored API keys with the newest encryption key: {count}",
    "team.renamed": "renamed the team {before} to {after}",
    "team.switched_off": "switched {team} off",
    "team.switched_on": "switched {team} on",
    "member.invited": "invited {member} to {team} as {role}",
    "member.link_sent": "sent {member} a link to choose a password",
    "member.password_chosen": "chose a password",
    "member.roles_changed": "changed the roles of {member} in {team} from {before} to {after}",
    "member.removed": "removed {member} from {team}",
    "member.deactivated": "switched off the account of {member}",
    "member.activated": "switched on the account of {member}",
    "papers.added": "added the papers “{papers}” for {what} to the register of {team}",
    "papers.changed": "changed the papers “{papers}” for {what} in the register of {team}",
    "papers.removed": "removed the papers “{papers}” for {what} from the register of {team}",
    "member.mail_changed": "changed the mail settings of {member}",
    "member.password_changed": "changed the password of {member}",
    "login.succeeded": "logged in",
    "login.failed": "tried to log in as {tried} and failed",
    "login.blocked": "tried to log in as {tried} too often and has to wait",
    "login.ended": "logged out",
    "audit.exported": "exported events as {format}: {filter}",
    "audit.verified": "checked the whole record: {result}",
    "audit.sealed": "sealed the record at event {event}",
}
# How the choice of actions is grouped: by the word before the dot.
GROUPS = {
    "Requests and numbers": ("request", "purchase", "attempt", "number"),
    "Teams and people": ("team", "stand_in", "papers", "member"),
    "API keys and IdentityCall": ("key", "provider", "desk"),
    "Log-ins and the record": ("login", "audit"),
}
_ANY = {
    "number": "a number",
    "team": "a team",
    "member": "somebody",
    "stand_in": "somebody",
    "approver": "an approver",
    "tried": "somebody",
    "bought": "another number",
}
# Details of a single event, which the name of its kind leaves out: ' as {role}', ' “{papers}”', ' …{key}'.
_DETAIL = re.compile(
    r"( (is )?(as|at event|by|for|from|to|of|with))? ?[“…]*\{(?!(" + "|".join(_ANY) + r")\})\w+\}”?"
)


@dataclass(frozen=True)
class Entry:
    """One line of a timeline: an event, or what one click did to several numbers at once."""

    event: object
    sentence: str


def grouped(events):
    """Events as timeline entries, in their order; neighbours from one click with the same sentence become one."""
    entries = []
    for _, group in groupby(events, key=_as_one):
        group = list(group)
        many = None if len(group) == 1 else numbers(len(group))
        entries.append(Entry(group[0], sentence(group[0], number=many)))
    return entries


def _as_one(event):
    return (event.click or event.seq, event.action, event.was, event.note, event.on_behalf_of)


def actions():
    """Every action as a choice of a form field, in groups: `[(group, [(action, words)])]`."""
    grouped_actions = [
        (group, [action for action in EVENTS if action.partition(".")[0] in kinds])
        for group, kinds in GROUPS.items()
    ]
    return [
        (group, [(action, action_in_words(action)) for action in some]) for group, some in grouped_actions
    ]


def action_in_words(action):
    """The name of a kind of event: 'Approved a number'."""
    words = EVENTS.get(action, action.replace(".", " ").replace("_", " "))
    words = _DETAIL.sub("", words).format_map(_ANY).replace("the team a team", "a team")
    words = words.partition(";")[0].rstrip(": ")
    return words[:1].upper() + words[1:]


def sentence(event, number=None):
    """An audit event as a sentence without its subject: 'approved +44 20 7946 0018'."""
    words = EVENTS.get(event.action, event.action.replace(".", " ").replace("_", " "))
    if event.action == "purchase.approved" and event.was != State.PENDING:
        words = {
            State.PURCHASING: "{number} was not bought; it is queued again",
            State.HELD: "approved {number} again",
        }.get(event.was, words)
    if event.data.get("over_budget"):
        done, *rest = words.partition(";")
        words = f"{done}, beyond the budget{''.join(rest)}"
    known = defaultdict(lambda: "?", {name: str(value) for name, value in event.data.items()})
    its_number = event.phone_number or event.data.get("phone_number", "")
    known |= {"number": number or phone(its_number), "team": event.team or "a team"}
    if "bought" in event.data:
        known["bought"] = phone(str(event.data["bought"]))
    return words.format_map(known)


def who(event):
    """The actor of an event: 'bob', or 'bob, standing in for ana'."""
    return in_place_of(event.actor_name, event.on_behalf_of)


def in_place_of(person, principal):
    """A person, and the one they stood in for, if any: 'bob, standing in for ana'."""
    return f"{person}, standing in for {principal}" if principal else str(person)


def listed(names):
    """Names as in a sentence: 'ana', 'ana and eve', 'ana, bob and eve'."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


@lru_cache(maxsize=10_000)
def phone(number):
    """A phone number in its international format: +44 20 7946 0018."""
    try:
        return phonenumbers.format_number(phonenumbers.parse(number), PhoneNumberFormat.INTERNATIONAL)
    except phonenumbers.NumberParseException:
        return number


def country(code):
    """The English name of a country, or 'an unknown country'."""
    return country_name(code) if code else "an unknown country"


def kind_of_numbers(country_code, number_type):
    """'local numbers of Germany', or 'numbers of Germany' if the type is unknown or does not matter."""
    kind = f"{NumberType(number_type).label.lower()} numbers" if number_type in NumberType else "numbers"
    return f"{kind} of {country(country_code)}"


def day(date):
    """A day in words: 3 May 2027."""
    return f"{date.day} {date:%B %Y}"


def moment(at):
    """A time to the second: 3 May 2027, 14:03:22."""
    return f"{at.day} {at:%b %Y, %H:%M:%S}"


def money(cost):
    """A cost with its currency, or 'not known': an unknown cost is never shown as 0."""
    return "not known" if cost is None else f"{plain(cost)} {settings.CURRENCY}"


def sums(figures):
    """What several numbers cost, in a few words: '3.00 USD once and 6.00 USD a month, 1 number of unknown price'."""
    if figures.unknown == figures.count:
        return "price not known"
    known = f"{money(figures.upfront)} once and {money(figures.monthly)} a month"
    return f"at least {known}; {numbers(figures.unknown)} of unknown price" if figures.unknown else known


def remaining(amount):
    """What is left of a budget, for a table: '3.00 USD', 'already 7.20 USD over'."""
    return money(amount) if amount >= 0 else f"already {money(-amount)} over"


def at_least(amount, unknown):
    """A sum that leaves out `unknown` costs: '3.00 USD', 'at least 3.00 USD', or 'not known' instead of 0."""
    if not unknown:
        return money(amount)
    return f"at least {money(amount)}" if amount else money(None)


def at_most(amount, unknown):
    """What is left of a budget before `unknown` costs: '3.00 USD', 'at most 3.00 USD', 'already 7.20 USD over'."""
    return f"at most {money(amount)}" if unknown and amount >= 0 else remaining(amount)


def left(amount):
    """What is left of a budget, in a sentence: '3.00 USD is left', or 'it is already 7.20 USD over'."""
    return f"{money(amount)} is left" if amount >= 0 else f"it is already {money(-amount)} over"


def plain(cost):
    """A decimal with at least two and at most four places: 1.50, 0.0075."""
    cost = Decimal(cost)
    places = max(2, -cost.normalize().as_tuple().exponent)
    return f"{cost:.{places}f}"


def ago(moment):
    """How long ago a moment was: 'just now', '4 minutes ago'."""
    if moment > timezone.now() - timedelta(minutes=1):
        return "just now"
    return f"{timesince(moment, depth=1)} ago"


def numbers(count):
    """'1 number', '3 numbers'."""
    return f"{count} number" if count == 1 else f"{count} numbers"


OUTCOMES = {
    Outcome.OPEN: "The call is in progress.",
    Outcome.PURCHASED: "IdentityCall confirmed the purchase.",
    Outcome.DECLINED: "IdentityCall declined the purchase.",
    Outcome.NOT_SENT: "The order did not reach IdentityCall, so nothing was bought.",
    Outcome.RATE_LIMITED: "IdentityCall answered that we have to wait.",
    Outcome.KEY_REFUSED: "IdentityCall refused the team's API key.",
    Outcome.UNCONFIRMED: "There was no clear answer, so it is not known whether the number was bought.",
}
