"""The team's register of requirement groups, kept by its admin. Every change is an audit event; nothing is lost."""

from django.db import IntegrityError, transaction

from purchasing import audit, clock, papers, people, problems, words
from purchasing.models import RequirementGroup
from purchasing.problems import AlreadyMoved, Problem

FIELDS = ("provider_id", "name", "country_code", "number_type", "valid_until")


@transaction.atomic
def add(team, *, actor, provider_id, name, country_code, number_type, valid_until):
    """Add an entry to the register of `team`; returns it.

    `provider_id` is IdentityCall's id of the approved group, None where papers are needed and none are on file yet.
    Raises `NotYours` for anybody but its admin, `WrongField` for an id that the register has already.
    """
    team = people.locked_by_admin(team, actor)
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
    team = people.locked_by_admin(entry.team, actor)
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
    team = people.locked_by_admin(entry.team, actor)
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
        other = papers.Register(entry.team).of_id(entry.provider_id)
        raise problems.WrongField(
            "provider_id", f"The register has this id already: “{other or entry.provider_id}”."
        ) from None
