"""Compares the provider's ledger with Number Desk: every count that must be 0."""

import itertools
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from bench.chaos.cast import TWO_APPROVALS
from bench.chaos.leaks import Search, crawl
from bench.chaos.stage import FENCE
from purchasing import audit
from purchasing.buying import look
from purchasing.models import Approval, Attempt, AuditEvent, Purchase
from purchasing.states import NEXT, Cause, Outcome, State

MAY_BE_BOUGHT = (State.UNCONFIRMED, State.HELD, State.GIVEN_UP)
SETTLED = (State.PURCHASED, State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED, State.GIVEN_UP)
LOOK_AGE = timedelta(seconds=look.LOOK_AGE + FENCE)  # the greatest age of a price at the time of the call


@dataclass
class Verdict:
    """The findings, by the name of the check: lists of sentences, which must be empty."""

    sins: dict = field(default_factory=dict)
    others: dict = field(default_factory=dict)

    @property
    def is_good(self):
        return not any([*self.sins.values(), *self.others.values()])


class Books:
    """Both sides, read once at the end."""

    def __init__(self, campaign):
        self.campaign = campaign
        self.ledger = campaign.provider.ledger()
        self.counters = campaign.provider.counters()
        self.owned = {number["id"]: number for number in campaign.provider.owned()}
        campaign.provider.collect()
        self.calls = defaultdict(list)
        for _, row in sorted(campaign.provider.purchase_calls.items()):
            self.calls[row["phone_number"]].append(datetime.fromisoformat(row["time"]))
        purchases = Purchase.objects.select_related("request__requester", "request__team")
        self.purchases = {purchase.pk: purchase for purchase in purchases.order_by("pk")}
        self.by_number = _grouped(self.purchases.values(), lambda purchase: purchase.phone_number)
        attempts = Attempt.objects.select_related("key__team").order_by("pk")
        self.attempts = _grouped(attempts, lambda attempt: attempt.purchase_id)
        approvals = Approval.objects.select_related("approver").order_by("pk")
        self.approvals = _grouped(approvals, lambda approval: approval.purchase_id)
        events = AuditEvent.objects.exclude(purchase=None).order_by("seq")
        self.events = _grouped(events, lambda event: event.purchase_id)

    def attempts_of_number(self, phone_number):
        found = [a for purchase in self.by_number[phone_number] for a in self.attempts[purchase.pk]]
        return sorted(found, key=lambda attempt: attempt.claimed_at)

    def attempt_behind(self, phone_number, moment):
        """The attempt of a call at this moment: the last one claimed before it."""
        earlier = [a for a in self.attempts_of_number(phone_number) if a.claimed_at <= moment]
        return earlier[-1] if earlier else None


def _grouped(rows, key):
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return groups


def judge(books):
    """Run all checks."""
    verdict = Verdict()
    verdict.sins = {
        "bought twice": list(bought_twice(books)),
        "bought unapproved": list(bought_unapproved(books)),
        "bought without record": list(bought_without_record(books)),
        "recorded without purchase": list(recorded_without_purchase(books)),
    }
    verdict.others = {
        "still undecided, without an end or a person": list(undecided(books)),
        "calls without an attempt, or a second one for the same": list(stray_calls(books)),
        "sent again after a doubt without a person's order": list(sent_after_doubt(books)),
        "claims while buying was stopped": list(claimed_while_stopped(books)),
        "claims on the approval of somebody dismissed": list(claimed_for_dismissed(books)),
        "more approvals standing than were wanted": list(approved_twice(books)),
        "histories with a step that is not permitted": list(odd_histories(books)),
        "shown as applied, but not so at the provider": list(not_applied(books)),
        "audit chain broken": list(broken_chain()),
        "secrets found": list(secrets_found(books.campaign)),
        "error pages (5xx)": sorted(set(books.campaign.pages.errors)),
        "other problems": books.campaign.problems,
    }
    return verdict


# --- The four sins --------------------------------------------------------------------------------------------------


def bought_twice(books):
    """A number in the ledger more than once, or called for again after it was sold (only the provider refused)."""
    sold = {}
    for entry in books.ledger:
        if entry["phone_number"] in sold:
            yield f"{entry['phone_number']}: ledger entries {sold[entry['phone_number']][0]} and {entry['id']}"
        sold.setdefault(entry["phone_number"], (entry["id"], datetime.fromisoformat(entry["time"])))
    for phone_number, (_, moment) in sold.items():
        late = [c for c in books.calls[phone_number] if c > moment and not ordered(books, phone_number, c)]
        if late:
            yield f"{phone_number}: sold at {moment:%H:%M:%S.%f}, purchase call again at {late[0]:%H:%M:%S.%f}"


def ordered(books, phone_number, call):
    """Whether a person, warned of a second charge, ordered this call as another try of a held purchase."""
    attempt = books.attempt_behind(phone_number, call)
    return attempt is not None and any(
        doubtful.outcome == Outcome.UNCONFIRMED and ordered_between(books, doubtful, attempt)
        for doubtful in books.attempts[attempt.purchase_id]
        if doubtful.pk < attempt.pk
    )


def ordered_between(books, doubtful, later):
    """Whether a person approved the held purchase again between two of its attempts."""
    return any(
        event.became == State.APPROVED
        and event.was == State.HELD
        and event.actor_id is not None
        and doubtful.claimed_seq < event.seq <= later.claimed_seq
        for event in books.events[later.purchase_id]
    )


def bought_unapproved(books):
    """No approval of exactly this by another person, committed and clicked over HTTP before the call."""
    for entry in books.ledger:
        calls = [c for c in books.calls[entry["phone_number"]] if c <= datetime.fromisoformat(entry["time"])]
        called_at = calls[-1] if calls else datetime.fromisoformat(entry["time"])
        attempt = books.attempt_behind(entry["phone_number"], called_at)
        if attempt is None:
            yield f"{entry['phone_number']}: bought without any attempt"
            continue
        problem = _unapproved(books, entry, attempt, called_at)
        if problem:
            yield f"{entry['phone_number']}: {problem}"


def _unapproved(books, entry, attempt, called_at):
    purchase = books.purchases[attempt.purchase_id]
    requester = purchase.request.requester_id
    standing = standing_approvals(books, attempt)
    if not standing:
        return "no approval before the claim"
    approval = standing[-1]
    if requester in {a.approver_id for a in standing}:
        return "approved by the person who asked"
    if len({a.approver_id for a in standing}) < _approvals_needed(books, attempt):
        return "approved by one person where two have to"
    approvals = [
        e for e in books.events[purchase.pk] if e.became == State.APPROVED and e.actor_id is not None
    ]
    before = [event for event in approvals if event.seq <= attempt.claimed_seq]
    if not before or before[-1].actor_id != approval.approver_id:
        return "the approval is not in the audit record before the claim"
    clicks = [
        c for c in books.campaign.clicks if purchase.pk in c.purchases and c.sent_at <= called_at.timestamp()
    ]
    if not any(click.person != purchase.request.requester.username for click in clicks):
        return "nobody else had pressed 'Approve' for it"
    if attempt.key.team_id != purchase.request.team_id or attempt.key.last_four != entry["key"]:
        return f"bought with the key …{entry['key']}, claimed with {attempt.key} of {attempt.key.team}"
    return _otherwise_than_approved(books, entry, before[-1].data, approval, attempt, called_at)


def standing_approvals(books, attempt):
    """The approvals that counted when this attempt was claimed, oldest first."""
    return [
        approval
        for approval in books.approvals[attempt.purchase_id]
        if approval.created_at <= attempt.claimed_at
        and (approval.superseded_at is None or approval.superseded_at > attempt.claimed_at)
    ]


def _approvals_needed(books, attempt):
    """How many approvals are needed: 2 in the team with that rule, but 1 when a held purchase is approved again."""
    approved = [
        event
        for event in books.events[attempt.purchase_id]
        if event.became == State.APPROVED and event.actor_id and event.seq <= attempt.claimed_seq
    ]
    was_held = bool(approved) and approved[-1].was == State.HELD
    return (
        2 if books.purchases[attempt.purchase_id].request.team.name == TWO_APPROVALS and not was_held else 1
    )


def _otherwise_than_approved(books, entry, terms, approval, attempt, called_at):
    sent = entry["payload"]
    for name in ("country_code", "number_type", "name", "requirement_group_id"):
        if (sent.get(name) or None) != (terms.get(name) or None):
            return f"{name} was approved as {terms.get(name)!r} and sent as {sent.get(name)!r}"
    approved = {"upfront_cost": approval.upfront_cost, "monthly_cost": approval.monthly_cost}
    seen_from, seen_until = _price_seen(books, attempt, terms, approval, called_at)
    if seen_from is None and not approval.unconfirmed_cost_ok:
        return "no list had shown its price, and nobody had approved it so"
    for name, cost in approved.items():
        if cost is None and approval.unconfirmed_cost_ok:
            continue
        if cost is None or (name in sent and Decimal(sent[name]) != cost):
            return f"{name} was approved as {cost} and sent as {sent.get(name)!r}"
        if seen_from is None:
            continue
        lowest = lowest_price(books.campaign, entry["phone_number"], name, seen_from, seen_until)
        if lowest > cost:
            kind = "as one that nobody has confirmed" if approval.unconfirmed_cost_ok else "as confirmed"
            return (
                f"{name} was approved as {cost} {kind}, and never less than {lowest} "
                f"from {seen_from:%H:%M:%S.%f} until {seen_until:%H:%M:%S.%f}"
            )
    return None


def _price_seen(books, attempt, terms, approval, called_at):
    """When the list that the claim relies on was read: (from, until); (None, None) if none was.

    If the look just before the claim did not show the number, the last listed cost applies ('not seen in the list just
    now' does not prove that it is sold). For that cost only the time of the first list of its request is known; its own
    list was read between then and the claim, or the approval, that used the cost.
    """
    events = [event for event in books.events[attempt.purchase_id] if event.seq <= attempt.claimed_seq]
    if events and events[-1].attempt_id == attempt.pk and "cost_confirmed_at" in events[-1].data:
        return called_at - LOOK_AGE, called_at
    confirmations = [event for event in events if "cost_confirmed_at" in event.data]
    spans = [(datetime.fromisoformat(event.data["cost_confirmed_at"]), event.at) for event in confirmations]
    at_last = books.purchases[attempt.purchase_id].cost_confirmed_at
    if at_last and at_last <= approval.created_at:
        spans.append((at_last, approval.created_at))
    if spans:
        return max(spans)
    if terms["cost_confirmed"]:  # a later look overwrites the time: any time before the approval
        return datetime.min.replace(tzinfo=UTC), approval.created_at
    return None, None


def lowest_price(campaign, phone_number, name, begin, end):
    """The lowest price of a number at the provider at any moment from `begin` to `end`."""
    found = Decimal(campaign.offers[phone_number][name])
    for price in campaign.mischief.prices:
        if price.phone_number == phone_number and price.began_at <= end:
            # Until its call ended, the list may have shown the previous price.
            found = Decimal(price.cost) if price.ended_at <= begin else min(found, Decimal(price.cost))
    return found


def bought_without_record(books):
    """A ledger entry that is neither purchased here under its id, nor unconfirmed, held or given up in doubt."""
    for entry in books.ledger:
        found = books.by_number[entry["phone_number"]]
        if any(p.state == State.PURCHASED and p.provider_id == entry["id"] for p in found):
            continue
        if any(p.state in MAY_BE_BOUGHT and _in_doubt(books, p) for p in found):
            continue
        yield f"{entry['phone_number']}: id {entry['id']}, here {', '.join(p.state for p in found) or 'nothing'}"


def _in_doubt(books, purchase):
    return any(attempt.outcome == Outcome.UNCONFIRMED for attempt in books.attempts[purchase.pk])


def recorded_without_purchase(books):
    """Purchased here, but not in the ledger under this id."""
    sold = {(entry["phone_number"], entry["id"]) for entry in books.ledger}
    for purchase in books.purchases.values():
        if purchase.state == State.PURCHASED and (purchase.phone_number, purchase.provider_id) not in sold:
            yield f"{purchase.phone_number}: purchased under id {purchase.provider_id}"


# --- What else must not be ------------------------------------------------------------------------------------------


def undecided(books):
    """Neither settled nor held with a reason."""
    for purchase in books.purchases.values():
        if purchase.state in SETTLED:
            continue
        if purchase.state == State.HELD and purchase.held_words and purchase.held_cause:
            continue
        why = purchase.waiting_for or purchase.held_words or "no reason is shown"
        yield f"{purchase.phone_number}: {purchase.state} since {purchase.state_changed_at:%H:%M:%S}: {why}"


def stray_calls(books):
    """Each call belongs to an attempt committed before it, is the only call of it, and was sent before the fence."""
    for phone_number, calls in books.calls.items():
        of_attempt = Counter()
        for call in calls:
            attempt = books.attempt_behind(phone_number, call)
            if attempt is None:
                yield f"{phone_number}: a call at {call:%H:%M:%S.%f} before any claim"
                continue
            of_attempt[attempt.pk] += 1
            if of_attempt[attempt.pk] > 1:
                yield f"{phone_number}: attempt {attempt.pk} made {of_attempt[attempt.pk]} calls"
            if call - attempt.claimed_at > timedelta(seconds=FENCE + 1):
                yield f"{phone_number}: sent {(call - attempt.claimed_at).total_seconds():.1f} s after its claim"
    for phone_number, posts in books.counters["purchase_posts"].items():
        possible = [a for a in books.attempts_of_number(phone_number) if a.outcome != Outcome.NOT_SENT]
        if posts > len(possible):
            yield f"{phone_number}: {posts} calls at the provider, {len(possible)} attempts that may have sent one"


def sent_after_doubt(books):
    """Between an attempt in doubt and the next one, a person must order another try."""
    for pk, attempts in books.attempts.items():
        for doubtful, later in itertools.pairwise(attempts):
            if doubtful.outcome == Outcome.UNCONFIRMED and not ordered_between(books, doubtful, later):
                yield f"{books.purchases[pk]}: attempt {later.pk} after the doubt of attempt {doubtful.pk}"


def claimed_while_stopped(books):
    for span in books.campaign.mischief.stops:
        for attempt in _claimed_within(books, span):
            team = books.purchases[attempt.purchase_id].request.team.name
            if span.who in ("", team):
                yield f"attempt {attempt.pk} of {team} at {attempt.claimed_at:%H:%M:%S.%f}"


def claimed_for_dismissed(books):
    """Claims that the record has between the events that switched an approver's account off and on again.

    Times cannot decide it: a claim takes its own time before it waits for the accounts of its approvers.
    """
    attempts = [attempt for found in books.attempts.values() for attempt in found]
    for off in books.campaign.mischief.dismissals:
        for attempt in attempts:
            if off.began_seq < attempt.claimed_seq < off.ended_seq and off.who in {
                approval.approver.username for approval in standing_approvals(books, attempt)
            }:
                yield f"attempt {attempt.pk} on the approval of {off.who}"


def _claimed_within(books, span):
    return [
        attempt
        for attempts in books.attempts.values()
        for attempt in attempts
        if span.began_at < attempt.claimed_at < span.ended_at
    ]


def approved_twice(books):
    for pk, approvals in books.approvals.items():
        standing = [approval for approval in approvals if approval.superseded_at is None]
        wanted = 2 if books.purchases[pk].request.team.name == TWO_APPROVALS else 1
        if len(standing) > wanted or len({a.approver_id for a in standing}) < len(standing):
            yield f"{books.purchases[pk]}: by {', '.join(str(a.approver) for a in standing)}"


def odd_histories(books):
    """The events of each purchase follow the state table and end in its current state."""
    for pk, purchase in books.purchases.items():
        steps = [(event.was, event.became) for event in books.events[pk] if event.became]
        at = ""
        for was, became in steps:
            if was != at or (was and became not in NEXT.get(State(was), ())):
                yield f"{purchase}: from {at or 'nothing'}, the record says {was} to {became}"
            at = became
        if at != purchase.state:
            yield f"{purchase}: {purchase.state}, the record ends with {at}"


def not_applied(books):
    """A number whose name and recording are marked as applied has them at the provider."""
    for purchase in books.purchases.values():
        number = books.owned.get(purchase.provider_id)
        if purchase.applied_at and (
            number is None
            or number["recording"] != purchase.record_calls
            or (purchase.name and number["name"] != purchase.name)
        ):
            yield f"{purchase}: asked for recording {purchase.record_calls}, the provider has {number}"


def broken_chain():
    found = audit.verify()
    if not found.whole:
        yield f"at event {found.bad_seq}: {found.problem}"


def secrets_found(campaign):
    """Secrets in the database, the logs, and the pages: those fetched so far, and all that a superuser can open."""
    search = Search(campaign.desk.secrets)
    yield from (f"database: {where}" for where in search.in_database())
    yield from (f"log: {name}" for name in search.in_files(campaign.stage.log_files()))
    campaign.pages_opened = crawl(campaign.desk.window("root"), most=min(300, campaign.options.purchases))
    yield from (f"page: {where}" for where in sorted(set(campaign.pages.leaks)))


# --- The table ------------------------------------------------------------------------------------------------------


def table(books, verdict):
    """Everything in lines of text."""
    campaign = books.campaign
    options = campaign.options
    lines = [
        f"Campaign: {options.purchases} numbers, seed {options.seed}, {options.database}, "
        f"{options.workers} buying processes, {campaign.took:.0f} s"
    ]
    lines += section("Purchases, by final state", _by_state(books))
    lines += section("Held or given up, by reason", Counter(_reasons(books)))
    lines += section("Attempts, by outcome", Counter(_outcomes(books)))
    lines += section("Faults applied, by kind", books.counters["faults"])
    lines += section("Kills, by the point at which the process stood", campaign.kills)
    lines += section("What else was done", campaign.counts)
    lines += section("Pages fetched, by status", campaign.pages.statuses)
    lines += section("Carried out late, after the window was over", late_purchases(books))
    lines += ["", f"Longest time from a claim to an end or a person: {longest_doubt(books):.0f} s"]
    return "\n".join([*lines, *ending(verdict)])


def ending(verdict):
    """The counts that must be 0, and at the end, which logs keep, those that are not."""
    checks = {**verdict.sins, **verdict.others}
    lines = ["", "What must be 0", *(f"  {name:<62}{len(found):>6}" for name, found in checks.items())]
    lines.append("  audit chain: " + ("broken" if verdict.others.get("audit chain broken") else "whole"))
    lines += ["", "GOOD: none of this happened." if verdict.is_good else "BAD:"]
    return lines + [f"  {name}: {sentence}" for name, found in checks.items() for sentence in found[:12]]


def section(title, counts):
    """A title with its counts and their sum."""
    rows = [
        f"  {name!s:<62}{count:>6}" for name, count in sorted(counts.items(), key=lambda item: str(item[0]))
    ]
    return ["", f"{title}: {sum(counts.values())}", *rows]


def _by_state(books):
    found = Counter(purchase.state for purchase in books.purchases.values())
    return {State(state).label: found[state] for state in State if state in found}


def _reasons(books):
    for purchase in books.purchases.values():
        if purchase.state in (State.HELD, State.GIVEN_UP):
            cause = Cause(purchase.held_cause).label if purchase.held_cause else "no cause"
            yield f"{purchase.state}: {cause}"


def _outcomes(books):
    return (Outcome(a.outcome).label for attempts in books.attempts.values() for a in attempts)


def late_purchases(books):
    """The outcomes of second tries that a person ordered just before the first one was carried out."""
    found = Counter()
    for pk, attempts in books.attempts.items():
        if books.purchases[pk].phone_number in books.campaign.late.second_tries:
            outcome = Outcome(attempts[-1].outcome).label if len(attempts) > 1 else "not made"
            found[f"second try: {outcome}; now: {State(books.purchases[pk].state).label}"] += 1
    return found


def longest_doubt(books):
    """The longest time in seconds from a claim to a final state, a person's decision, or the queue."""
    longest = 0
    for events in books.events.values():
        claimed_at = None
        for event in events:
            if event.became == State.PURCHASING:
                claimed_at = event.at
            elif event.became not in ("", State.UNCONFIRMED) and claimed_at:
                longest, claimed_at = max(longest, (event.at - claimed_at).total_seconds()), None
    return longest
