"""The verdict on each row of a paste, before anything is requested.

Verdicts use the stored lists of IdentityCall's offers. Only the task `look_up` calls IdentityCall.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from purchasing import clock, jobs, pasting, permissions, selectors, words
from purchasing.asking import price_lookup
from purchasing.encryption import Undecryptable
from purchasing.models import Paste, VirtualNumber
from purchasing.provider import offers, pauses, turns
from purchasing.teams import papers

MOST_LISTS = 20  # lists read for one paste, those with the most numbers first


@dataclass(frozen=True)
class Offered:
    """What IdentityCall's list says about a pasted number, in words; `tone` is ok, warn or still."""

    tone: str
    words: str
    seen_at: datetime | None = None


NOT_LOOKED_UP = Offered("still", "Not looked up yet")
NOTHING_KNOWN = Offered("still", "")


@dataclass(frozen=True)
class Row:
    """One row of the verdicts: a candidate, or a record without a number to request, and the verdict on it."""

    line: int
    written: str
    tone: str
    verdict: str
    details: tuple[str, ...] = ()
    candidate: pasting.Candidate | None = None
    may_pick: bool = False
    request_id: int | None = None  # a request of the user's own teams, to link to
    offered: Offered = field(default=NOTHING_KNOWN)


def rows(user, pasted, *, team=None, since=None):
    """A `Row` for each record of a text, by line. The lists and requirement groups of `team` count."""
    numbers = [candidate.phone_number for candidate in pasted.candidates]
    records, owned = {}, {}
    for start in range(0, len(numbers), 500):
        part = numbers[start : start + 500]
        records.update(selectors.records_of(part))
        listed = VirtualNumber.objects.filter(phone_number__in=part, gone_at=None)
        for phone_number, owner in listed.values_list("phone_number", "credential__keys__team"):
            owned.setdefault(phone_number, set()).add(owner)
    seen = set(permissions.teams_seen_by(user).values_list("pk", flat=True))
    register, sightings = papers.Register(team), sightings_of(team, pasted, since=since)
    result = [
        _verdict(
            candidate,
            records.get(candidate.phone_number),
            owned.get(candidate.phone_number),
            seen,
            register,
            sightings,
        )
        for candidate in pasted.candidates
    ]
    result += [
        Row(r.line, r.written, "still", "Repeated", (f"Already on line {r.first_line}.",))
        for r in pasted.repeats
    ]
    result += [Row(n.line, n.written, "bad", "Not understood", (n.reason,)) for n in pasted.not_understood]
    result += [Row(s.line, s.written, "still", "Skipped", (s.reason,)) for s in pasted.skipped]
    return sorted(result, key=lambda row: row.line)


def _verdict(candidate, record, owners, seen, register, sightings):
    row = {"line": candidate.line, "written": candidate.written, "candidate": candidate}
    if record and record.request.team_id in seen:
        when = record.request.created_at
        if record.provider_id:
            verdict = f"Already bought for {record.request.team}"
        else:
            verdict = f"Already requested by {record.request.requester} on {when:%d %b %Y}"
        return Row(tone="bad", verdict=verdict, request_id=record.request_id, **row)
    if record:
        verdict = "Another team has it" if record.provider_id else "Another team has requested it"
        return Row(tone="bad", verdict=verdict, **row)
    if owners:
        verdict = "Already in your IdentityCall account" if owners & seen else "Another team has it"
        return Row(tone="bad", verdict=verdict, **row)
    advice = register.advice(candidate.country_code, candidate.number_type, candidate.requirement_group_id)
    refusal = register.refusal(candidate.country_code, candidate.number_type, candidate.requirement_group_id)
    details = (*candidate.warnings, *filter(None, (advice, refusal)))
    offered = _offered(candidate, sightings)
    warned = details or offered.tone == "warn"
    return Row(
        tone="warn" if warned else "ok",
        verdict="Can be requested",
        details=details,
        may_pick=True,
        offered=offered,
        **row,
    )


def _offered(candidate, sightings):
    """What the stored lists say about a number, compared with what was pasted."""
    if sightings is None or not candidate.country_code:
        return NOTHING_KNOWN
    offer, seen_at = sightings.of(candidate)
    if seen_at is None:
        return NOT_LOOKED_UP
    if offer is None:
        return Offered("warn", "Not seen in IdentityCall's list", seen_at)
    now = f"{words.money(offer.upfront_cost)} once, {words.money(offer.monthly_cost)} a month"
    pasted, current = (
        (candidate.upfront_cost, candidate.monthly_cost),
        (offer.upfront_cost, offer.monthly_cost),
    )
    if None in current:
        return Offered("warn", f"Offered, but IdentityCall does not state the full price: {now}", seen_at)
    if None not in pasted and pasted != current:
        before = f"{words.money(pasted[0])} once, {words.money(pasted[1])} a month"
        return Offered("warn", f"Offered at a different price: {now}; the pasted price was {before}", seen_at)
    return Offered("ok", f"Offered now: {now}", seen_at)


def lists_for(pasted):
    """The lists of IdentityCall that may contain the numbers of a text, those for the most numbers first."""
    known = [candidate for candidate in pasted.candidates if candidate.country_code]
    counts = Counter(place for candidate in known for place in offers.places_of(candidate))
    return [place for place, _ in counts.most_common(MOST_LISTS)]


def sightings_of(team, pasted, *, since=None):
    """The stored lists for the numbers of a text, none older than `since`; None if the team has no key."""
    key = pauses.current_key(team) if team else None
    return offers.Sightings(key, lists_for(pasted), since=since) if key else None


# --- Looking up what was pasted -------------------------------------------------------------------------------------


def look_up(paste_id):
    """Read the lists that may contain the numbers of a paste, one per task; after the last one set `looked_at`."""
    paste = Paste.objects.select_related("team").filter(pk=paste_id, looked_at=None).first()
    if paste is None:
        return
    pasted = pasting.load(paste.records)
    key = price_lookup.usable_key(paste.team) if paste.team else None
    since = clock.now() - timedelta(seconds=offers.OFFERS_SERVE)
    sightings = sightings_of(paste.team, pasted, since=since) if key else None
    missing = [
        place
        for place in (lists_for(pasted) if sightings else [])
        if place not in sightings.seen and place not in sightings.failed
    ]
    if missing:
        try:
            price_lookup.search(key, missing[0])
        except turns.Busy as busy:
            if price_lookup.try_again_soon(busy, "look_up", str(paste_id)):
                return
            missing = []
        except Undecryptable:
            missing = []
    if missing[1:]:
        jobs.enqueue("look_up", str(paste_id))
    else:
        Paste.objects.filter(pk=paste_id).update(looked_at=clock.now())


def look_up_again(paste):
    """Have the worker look everything up again."""
    Paste.objects.filter(pk=paste.pk).update(looked_at=None)
    jobs.enqueue("look_up", str(paste.pk))
