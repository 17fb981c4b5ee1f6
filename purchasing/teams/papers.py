"""A team's register of requirement groups ('papers' on the pages): which numbers need one, and which are approved.

The API shows neither which countries require a group nor which groups are approved (contradiction 13), so the register,
which the team admin keeps, is the only source. An entry says that numbers of its country and type need a group; with an
id, and until its last day of validity, also that this group is on file.
"""

from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from purchasing import audit, clock, words
from purchasing.models import RequirementGroup
from purchasing.problems import AlreadyMoved, Problem, WrongField
from purchasing.teams import teams

NONE_ON_FILE = "Papers are needed for {what}, and none are on file. Ask the team admin."
CHOOSE = "Papers are needed for {what}. Choose the requirement group."
FIELDS = ("provider_id", "name", "country_code", "number_type", "valid_until")


@dataclass(frozen=True)
class Papers:
    """The requirement group of one number: what it is called, and what is missing or wrong with it ('' for nothing)."""

    name: str
    problem: str


class Register:
    """One team's current register, read once for many numbers."""

    def __init__(self, team):
        known = list(RequirementGroup.objects.filter(team=team).order_by("pk")) if team else []
        self.entries = [entry for entry in known if entry.removed_at is None]
        self.names = {entry.provider_id: str(entry) for entry in known}  # including removed entries
        self.today = timezone.localdate(clock.now())

    def is_over(self, entry):
        """Whether the last day of an entry has passed."""
        return entry.valid_until is not None and entry.valid_until < self.today

    def for_number(self, country_code, number_type):
        """The entries for such numbers; where the type is not known (''), all entries of the country."""
        return [entry for entry in self.entries if fits(entry, country_code, number_type)]

    def on_file(self, country_code, number_type):
        """The groups that can be chosen for such a number: approved and still valid."""
        entries = self.for_number(country_code, number_type)
        return [entry for entry in entries if entry.provider_id is not None and not self.is_over(entry)]

    def of_id(self, provider_id):
        """The current entry with this IdentityCall id, or None."""
        return next((entry for entry in self.entries if entry.provider_id == provider_id), None)

    def name_of(self, provider_id):
        """The name of the group with this id, '' for None."""
        if provider_id is None:
            return ""
        name = self.names.get(provider_id)
        return f"{name} (requirement group {provider_id})" if name else f"requirement group {provider_id}"

    def of_purchase(self, purchase):
        """The `Papers` of a purchase."""
        number = (purchase.country_code, purchase.number_type, purchase.requirement_group_id)
        return Papers(
            name=self.name_of(purchase.requirement_group_id),
            problem=self.refusal(*number) or self.advice(*number),
        )

    def advice(self, country_code, number_type, provider_id=None):
        """What is missing for a number without a group, '' where nothing is."""
        if provider_id is not None or not self.for_number(country_code, number_type):
            return ""
        words_for = CHOOSE if self.on_file(country_code, number_type) else NONE_ON_FILE
        return words_for.format(what=words.kind_of_numbers(country_code, number_type))

    def refusal(self, country_code, number_type, provider_id):
        """Why a number cannot be requested or approved with this group, '' where it can be (as with None: no group)."""
        if provider_id is None:
            return ""
        entry = self.of_id(provider_id)
        if entry is None:
            return (
                f"The requirement group {provider_id} is not in the team's register. The team admin keeps it."
            )
        if self.is_over(entry):
            last_day = words.day(entry.valid_until)
            return f"The papers “{entry}” were valid until {last_day}. Choose others, or ask the team admin."
        if not fits(entry, country_code, number_type):
            return (
                f"The papers “{entry}” are for {words.kind_of_numbers(entry.country_code, entry.number_type)}, "
                f"not for {words.kind_of_numbers(country_code, number_type)}."
            )
        return ""


def fits(entry, country_code, number_type):
    """Whether an entry is for numbers of this country and type ('' where the type is not known)."""
    return entry.country_code == country_code and (
        not entry.number_type or not number_type or entry.number_type == number_type
    )


# --- Changes of the register: each is an audit event, nothing is deleted ------------------------------------------


@transaction.atomic
def add(team, *, actor, provider_id, name, country_code, number_type, valid_until):
    """Add an entry to the register of `team`; returns it.

    `provider_id` is IdentityCall's id of the approved group, None where a group is needed and none is on file yet.
    Raises `NotYours` for anybody but the team admin, `WrongField` for an id that the register has already.
    """
    team = teams.locked_by_admin(team, actor)
    entry = RequirementGroup(
        team=team,
        provider_id=provider_id,
        name=audit.clean(name),
        country_code=country_code,
        number_type=number_type,
        valid_until=valid_until,
        created_at=clock.now(),
    )
    _save(entry)
    audit.record("papers.added", actor=actor, team=team, **in_data(entry))
    return entry


@transaction.atomic
def change(entry, *, actor, seen, **fields):
    """Change an entry and record the old and new values. `seen` is the `fingerprint` of what the page showed."""
    team = teams.locked_by_admin(entry.team, actor)
    entry = _current(entry)
    if fingerprint(entry) != seen:
        raise AlreadyMoved(f"“{entry}” was changed since you opened this page. Look at it again.")
    before = in_data(entry)
    for name in FIELDS:
        setattr(entry, name, audit.clean(fields[name]) if name == "name" else fields[name])
    if in_data(entry) == before:
        raise Problem("Nothing was changed.")
    _save(entry)
    audit.record("papers.changed", actor=actor, team=team, **in_data(entry), before=before)
    return entry


@transaction.atomic
def remove(entry, *, actor):
    """Remove an entry from the register. Its row and its history stay."""
    team = teams.locked_by_admin(entry.team, actor)
    entry = _current(entry)
    RequirementGroup.objects.filter(pk=entry.pk).update(removed_at=clock.now())
    audit.record("papers.removed", actor=actor, team=team, **in_data(entry))


def in_data(entry):
    """An entry as the audit record keeps it."""
    return {
        "papers": entry.name,
        "provider_id": entry.provider_id,
        "country_code": entry.country_code,
        "number_type": entry.number_type,
        "valid_until": entry.valid_until.isoformat() if entry.valid_until else None,
        "what": words.kind_of_numbers(entry.country_code, entry.number_type),
    }


def fingerprint(entry):
    """A text that changes when the entry does, for pages to carry."""
    return "|".join(str(getattr(entry, name)) for name in FIELDS)


def _current(entry):
    """The current version of an entry. The caller has locked the team. Raises `AlreadyMoved` where it was removed."""
    current = RequirementGroup.objects.filter(pk=entry.pk, removed_at=None).first()
    if current is None:
        raise AlreadyMoved(f"“{entry}” was removed from the register in the meantime.")
    return current


def _save(entry):
    try:
        with transaction.atomic():
            entry.save()
    except IntegrityError:
        other = Register(entry.team).of_id(entry.provider_id)
        raise WrongField(
            "provider_id", f"The register has this id already: “{other or entry.provider_id}”."
        ) from None
