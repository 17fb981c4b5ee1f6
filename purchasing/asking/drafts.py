"""Drafts of requests: what staff picked and typed, kept until they send or discard it.

Numbers and costs come from what was pasted or found, never from the form. What is typed is kept unchanged, even where
it could not be sent like this. A draft is read, changed and written under its lock, so that two tabs lose nothing of
each other.
"""

import uuid
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from decimal import Decimal

from django.db import IntegrityError, transaction

from purchasing import clock, pasting, problems, words
from purchasing.asking import name_patterns, submission
from purchasing.identitycall.resources import Offer, parse_cost
from purchasing.models import Draft, Paste, Purchase, PurchaseRequest
from purchasing.provider import offers, pauses
from purchasing.states import FINAL, NumberType, State

OTHER_NUMBERS = (
    "The numbers of this request changed after the form was opened. The current ones are shown here."
)
MOST_TYPED = 5_000  # characters kept of a field: more than can be sent, so that nothing typed is lost


@dataclass(frozen=True)
class DraftNumber:
    """One number of a draft. `seen_at`: when IdentityCall's list showed these costs; None: as pasted."""

    phone_number: str
    country_code: str = ""
    number_type: str = ""
    name: str = ""
    requirement_group_id: str = ""
    record_calls: str = "yes"
    upfront_cost: Decimal | None = None
    monthly_cost: Decimal | None = None
    features: tuple[str, ...] = ()
    region: str = ""
    warnings: tuple[str, ...] = ()
    seen_at: datetime | None = None
    # What IdentityCall shows now: filled in when the draft is shown, never stored.
    gone_at: datetime | None = field(default=None, compare=False)
    pasted: tuple = field(default=(), compare=False)

    @property
    def differs(self):
        """Whether IdentityCall shows other costs than the pasted ones."""
        return bool(self.pasted) and self.pasted != (self.upfront_cost, self.monthly_cost)


_KEPT = [each.name for each in fields(DraftNumber) if each.compare]
TYPED = ("name", "number_type", "requirement_group_id", "record_calls")


def lines_of(draft):
    """The numbers of a draft, in their order."""
    return [_unpacked(kept) for kept in draft.lines]


def _packed(line):
    kept = {name: value for name, value in asdict(line).items() if name in _KEPT}
    for name in ("upfront_cost", "monthly_cost"):
        kept[name] = None if kept[name] is None else f"{kept[name]:f}"
    kept["seen_at"] = line.seen_at.isoformat() if line.seen_at else None
    return kept


def _unpacked(kept):
    kept = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
    for name in ("upfront_cost", "monthly_cost"):
        kept[name] = parse_cost(kept[name])
    kept["seen_at"] = datetime.fromisoformat(kept["seen_at"]) if kept["seen_at"] else None
    return DraftNumber(**kept)


class Gone(problems.AlreadyMoved):
    """The draft was sent or discarded in another tab."""

    def __init__(self):
        super().__init__("This request was sent or discarded in another tab. Nothing was changed.")


def _locked(draft):
    """The draft as it is stored now, locked. Raises `Gone`."""
    stored = Draft.objects.select_for_update(no_key=True, of=("self",)).select_related("team")
    stored = stored.filter(pk=draft.pk).first()
    if stored is None:
        raise Gone
    return stored


def save(draft, lines=None, **changes):
    """Store changes of a draft and when it was changed, by which drafts are sorted."""
    if lines is not None:
        changes["lines"] = [_packed(line) for line in lines]
    changes["updated_at"] = clock.now()
    for name, value in changes.items():
        setattr(draft, name, value)
    Draft.objects.filter(pk=draft.pk).update(**changes)
    return draft


# --- Creating drafts ----------------------------------------------------------------------------------------------


@transaction.atomic
def tick(paste, *, may_pick, shown, ticked):
    """Update the ticks of a paste to a page: `shown` are its numbers, `ticked` the ticked ones; returns all ticked.

    Ticks on other pages stay. `may_pick` are all numbers of the paste that can be requested, in their order.
    """
    kept = set(Paste.objects.select_for_update(no_key=True).get(pk=paste.pk).picked)
    now = kept - set(shown) | set(ticked) & set(shown)
    paste.picked = [number for number in may_pick if number in now]
    paste.save(update_fields=["picked"])
    return set(paste.picked)


@transaction.atomic
def of_paste(paste, candidates):
    """The draft for the ticked ones of a paste's candidates: created, or updated with everything typed kept."""
    paste = Paste.objects.select_for_update(no_key=True, of=("self",)).select_related("team").get(pk=paste.pk)
    if paste.draft_id is None:
        draft = Draft.objects.create(user=paste.user, team=paste.team, source=Draft.Source.PASTED)
        paste.draft = draft
        paste.save(update_fields=["draft"])
    else:
        draft = _locked(paste.draft)
    picked = [each for each in candidates if each.phone_number in paste.picked]
    known = {line.phone_number: line for line in lines_of(draft)}
    lines = [known.get(each.phone_number) or _of_candidate(each) for each in picked]
    return save(draft, lines)


def _of_candidate(candidate):
    return DraftNumber(
        phone_number=candidate.phone_number,
        country_code=candidate.country_code,
        number_type=candidate.number_type,
        name=candidate.name,
        requirement_group_id=str(candidate.requirement_group_id or ""),
        upfront_cost=candidate.upfront_cost,
        monthly_cost=candidate.monthly_cost,
        features=candidate.features,
        region=candidate.region,
        warnings=candidate.warnings,
    )


def basket(user):
    """The draft that collects the numbers a user finds, or None."""
    return Draft.objects.filter(user=user, source=Draft.Source.FOUND).select_related("team").first()


@transaction.atomic
def pick(user, team, *, shown, ticked):
    """Update the basket to a page: `shown` are its offers, each with when it was seen, `ticked` the ticked numbers.

    Numbers from other pages stay. Raises `Problem`, and changes nothing, where the basket would hold too many. Returns
    the basket, None where it is empty.
    """
    draft = _basket_to_change(user, team)
    lines = {line.phone_number: line for line in lines_of(draft)}
    for offer, seen_at in shown:
        if offer.phone_number not in ticked:
            lines.pop(offer.phone_number, None)
        elif offer.phone_number not in lines:
            lines[offer.phone_number] = _of_offer(offer, seen_at)
    if len(lines) > submission.MOST_NUMBERS:
        raise problems.Problem(
            f"A request holds at most {submission.MOST_NUMBERS} numbers; with these it would have {len(lines)}. "
            "Untick some, or send the request for the numbers that you have."
        )
    if not lines and not (draft.reason or draft.purpose):
        draft.delete()
        return None
    return save(draft, list(lines.values()), team=team if not draft.lines else draft.team)


def _basket_to_change(user, team):
    try:
        with transaction.atomic():
            draft, _ = Draft.objects.get_or_create(
                user=user, source=Draft.Source.FOUND, defaults={"team": team}
            )
    except IntegrityError:  # created in another tab at the same moment
        draft = Draft.objects.get(user=user, source=Draft.Source.FOUND)
    return _locked(draft)


def _of_offer(offer, seen_at):
    return DraftNumber(
        phone_number=offer.phone_number,
        country_code=offer.country_code,
        number_type=offer.number_type,
        upfront_cost=offer.upfront_cost,
        monthly_cost=offer.monthly_cost,
        features=offer.features,
        region=", ".join(offer.regions)[:200],
        seen_at=seen_at,
    )


def again(asked, user):
    """A draft for the numbers that an earlier request did not get; returns `(draft, how many numbers it has)`.

    Numbers that somebody has requested or bought in the meantime are left out. Where none is left, the draft is None.
    """
    ended = asked.purchases.filter(state__in=sorted(FINAL)).exclude(state=State.PURCHASED).order_by("pk")
    ended = list(ended)
    taken = submission.taken([purchase.phone_number for purchase in ended])
    free = [purchase for purchase in ended if purchase.phone_number not in taken]
    if not free:
        return None, 0
    draft = Draft.objects.create(
        user=user, team=asked.team, source=Draft.Source.AGAIN, reason=asked.reason, purpose=asked.purpose
    )
    return save(draft, [_of_purchase(purchase) for purchase in free]), len(free)


def may_ask_again(asked):
    """Whether any number of a request ended without being bought."""
    return asked.purchases.filter(state__in=sorted(FINAL)).exclude(state=State.PURCHASED).exists()


def _of_purchase(purchase: Purchase):
    return DraftNumber(
        phone_number=purchase.phone_number,
        country_code=purchase.country_code,
        number_type=purchase.number_type,
        name=purchase.name,
        requirement_group_id=str(purchase.requirement_group_id or ""),
        record_calls="yes" if purchase.record_calls else "no",
        upfront_cost=purchase.upfront_cost,
        monthly_cost=purchase.monthly_cost,
        features=tuple(filter(None, purchase.features.split(", "))),
        region=purchase.region,
        warnings=(purchase.warning,) if purchase.warning else (),
        seen_at=purchase.cost_confirmed_at,
    )


# --- Editing drafts -----------------------------------------------------------------------------------------------


@transaction.atomic
def keep(draft, *, team, reason, purpose, pattern, typed):
    """Keep the contents of the form: `typed` maps phone numbers to the texts of their fields.

    Returns the draft, with what other tabs have added or taken out since the form was drawn.
    """
    draft = _locked(draft)
    lines = [
        replace(line, **{name: text[:MOST_TYPED] for name, text in typed.get(line.phone_number, {}).items()})
        for line in lines_of(draft)
    ]
    texts = {"reason": reason, "purpose": purpose, "pattern": pattern}
    return save(draft, lines, team=team, **{name: text[:MOST_TYPED] for name, text in texts.items()})


@transaction.atomic
def take_out(draft, phone_number):
    """Remove a number; what was typed for the others stays."""
    draft = _locked(draft)
    return save(draft, [line for line in lines_of(draft) if line.phone_number != phone_number])


@transaction.atomic
def name_all(draft):
    """Name every number by the draft's pattern."""
    draft = _locked(draft)
    lines = lines_of(draft)
    by_pattern = zip(lines, names(draft.pattern, lines), strict=True)
    return save(draft, [replace(line, name=name) for line, name in by_pattern])


def names(pattern, lines):
    """The names that a pattern gives these numbers, in their order."""
    return name_patterns.names(
        pattern,
        [
            {
                "country": words.country(line.country_code) if line.country_code else "",
                "code": line.country_code,
                "region": line.region.split(", ")[-1],
                "type": NumberType(line.number_type).label.lower() if line.number_type in NumberType else "",
                "last4": line.phone_number[-4:],
            }
            for line in lines
        ],
    )


def looked_up(lines, team):
    """The lines with what IdentityCall's stored lists show: current costs, or that a number is not listed any more."""
    key = pauses.current_key(team) if team else None
    if key is None:
        return lines
    places = {place for line in lines for place in offers.places_of(line)}
    sightings = offers.Sightings(key, places)
    return [_looked_up(line, *sightings.of(line)) for line in lines]


def _looked_up(line, offer: Offer | None, seen_at):
    if seen_at is None or (line.seen_at is not None and seen_at < line.seen_at):
        return line
    if offer is None:
        return replace(line, gone_at=seen_at)
    if None in (offer.upfront_cost, offer.monthly_cost):
        return line
    pasted = (line.upfront_cost, line.monthly_cost)
    return replace(
        line,
        upfront_cost=offer.upfront_cost,
        monthly_cost=offer.monthly_cost,
        number_type=line.number_type or offer.number_type,
        features=line.features or offer.features,
        region=line.region or ", ".join(offer.regions)[:200],
        seen_at=seen_at,
        pasted=pasted if line.seen_at is None and None not in pasted else (),
    )


# --- Sending ------------------------------------------------------------------------------------------------------


@transaction.atomic
def send(draft, *, actor, team, reason, purpose, chosen):
    """Send a draft to the approvers and delete it; a draft sent twice gives the same request.

    `chosen` maps phone numbers to the cleaned values of their fields. Raises `Gone`, `AlreadyMoved` where the draft has
    other numbers by now, and what `submission.submit` raises.
    """
    try:
        draft = _locked(draft)
    except Gone:
        sent = PurchaseRequest.objects.filter(requester=actor.user, form_token=draft.pk).first()
        if sent is None:
            raise
        return sent
    lines = looked_up(lines_of(draft), team)
    if {line.phone_number for line in lines} != chosen.keys():
        raise problems.AlreadyMoved(OTHER_NUMBERS)
    request = submission.submit(
        team=team,
        requester=actor,
        reason=reason,
        purpose=purpose,
        lines=[_line(line, chosen[line.phone_number]) for line in lines],
        form_token=uuid.UUID(str(draft.pk)),
    )
    Draft.objects.filter(pk=draft.pk).delete()
    return request


def _line(line, chosen):
    return submission.RequestedNumber(
        phone_number=line.phone_number,
        country_code=line.country_code,
        number_type=chosen["number_type"],
        name=chosen["name"],
        requirement_group_id=chosen["requirement_group_id"],
        upfront_cost=line.upfront_cost,
        monthly_cost=line.monthly_cost,
        features=", ".join(line.features)[:200],
        region=line.region[:200],
        warning=" ".join(w for w in line.warnings if w not in pasting.FOR_THE_REQUESTER)[:500],
        record_calls=chosen["record_calls"] == "yes",
    )
