"""A team's register of requirement groups: which papers a number needs, and how its admin keeps it.

IdentityCall tells neither which countries want papers nor which groups are approved (contradiction 13), so the register
that the team admin keeps is all there is: an entry says that numbers of its country and type need papers, and, where it
has an id and is not over, that these are on file.
"""

from django.db import IntegrityError, transaction
from django.utils import timezone

from purchasing import audit, clock, words
from purchasing.models import RequirementGroup
from purchasing.problems import AlreadyMoved, Problem, WrongField
from purchasing.teams import teams

NONE_ON_FILE = "Papers are needed for {what}, and none are on file. Ask the team admin."
CHOOSE = "Papers are needed for {what}. Choose the requirement group."
FIELDS = ("provider_id", "name", "country_code", "number_type", "valid_until")


class Register:
    """One team's register as it stands now, read once for many numbers."""

    def __init__(self, team):
        known = list(RequirementGroup.objects.filter(team=team).order_by("pk")) if team else []
        self.entries = [entry for entry in known if entry.removed_at is None]
        self.names = {entry.provider_id: str(entry) for entry in known}  # also of what was taken out
        self.today = timezone.localdate(clock.now())

    def is_over(self, entry):
        """Whether its last day has passed."""
        return entry.valid_until is not None and entry.valid_until < self.today

    def for_number(self, country_code, number_type):
        """The entries that speak of such numbers; of a number whose type nobody knows, those of its country."""
        return [entry for entry in self.entries if fits(entry, country_code, number_type)]

    def on_file(self, country_code, number_type):
        """The groups that may be chosen for such a number: approved ones that are not over."""
        entries = self.for_number(country_code, number_type)
        return [entry for entry in entries if entry.provider_id is not None and not self.is_over(entry)]

    def of_id(self, provider_id):
        """The entry with this id of IdentityCall's, or None."""
        return next((entry for entry in self.entries if entry.provider_id == provider_id), None)

    def name_of(self, provider_id):
        """What to call a group of this id, '' for None."""
        if provider_id is None:
            return ""
        name = self.names.get(provider_id)
        return f"{name} (requirement group {provider_id})" if name else f"requirement group {provider_id}"

    def problem(self, country_code, number_type, provider_id):
        """What is missing or wrong with a number's papers, '' where nothing is."""
        number = (country_code, number_type, provider_id)
        return self.refusal(*number) or self.advice(*number)

    def advice(self, country_code, number_type, provider_id=None):
        """What to tell about a number before it is asked for, '' where nothing is missing."""
        if provider_id is not None or not self.for_number(country_code, number_type):
            return ""
        words_for = CHOOSE if self.on_file(country_code, number_type) else NONE_ON_FILE
        return words_for.format(what=words.kind_of_numbers(country_code, number_type))

    def refusal(self, country_code, number_type, provider_id):
        """Why a number cannot be asked for, or approved, with this group; '' where it can. None needs no group."""
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


def tell(team, purchases):
    """Give each purchase of a team the name of its papers (`papers`) and what is wrong with them (`papers_problem`)."""
    register = Register(team)
    for purchase in purchases:
        number = (purchase.country_code, purchase.number_type, purchase.requirement_group_id)
        purchase.papers = register.name_of(purchase.requirement_group_id)
        purchase.papers_problem = register.problem(*number)


def fits(entry, country_code, number_type):
    """Whether an entry speaks of numbers of this country and type ('' where nobody knows the type)."""
    return entry.country_code == country_code and (
        not entry.number_type or not number_type or entry.number_type == number_type
    )


# --- How the register is kept: every change is an audit event, nothing is lost ------------------------------------


@transaction.atomic
def add(team, *, actor, provider_id, name, country_code, number_type, valid_until):
    """Add an entry to the register of `team`; returns it.

    `provider_id` is IdentityCall's id of the approved group, None where papers are needed and none are on file yet.
    Raises `NotYours` for anybody but its admin, `WrongField` for an id that the register has already.
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
    """Change an entry; `seen` is `fingerprint` of what the page showed. The old and the new values are recorded."""
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
    """Take an entry out of the register; it stays in the record."""
    team = teams.locked_by_admin(entry.team, actor)
    entry = _current(entry)
    RequirementGroup.objects.filter(pk=entry.pk).update(removed_at=clock.now())
    audit.record("papers.removed", actor=actor, team=team, **in_data(entry))


def in_data(entry):
    """An entry for the record."""
    return {
        "papers": entry.name,
        "provider_id": entry.provider_id,
        "country_code": entry.country_code,
        "number_type": entry.number_type,
        "valid_until": entry.valid_until.isoformat() if entry.valid_until else None,
        "what": words.kind_of_numbers(entry.country_code, entry.number_type),
    }


def fingerprint(entry):
    """What a page showed of an entry, to notice that it was changed since."""
    return "|".join(str(getattr(entry, name)) for name in FIELDS)


def _current(entry):
    """The entry as it is now; the team is locked."""
    current = RequirementGroup.objects.filter(pk=entry.pk, removed_at=None).first()
    if current is None:
        raise AlreadyMoved(f"“{entry}” was taken out of the register meanwhile.")
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
