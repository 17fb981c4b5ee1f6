"""Teams, keys and members: what the commands and pages make of them, each with its audit event."""

import re

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.text import slugify

from purchasing import audit, clock, pauses
from purchasing.models import ApiKey, Membership, Purchase, Team, User
from purchasing.redaction import holds_secret
from purchasing.states import Role, State
from purchasing.workflow import WorkflowError

KEY_SHAPE = re.compile(r"idc_[A-Za-z0-9]{32}")


@transaction.atomic
def create_team(name, *, actor, monthly_budget=None):
    """A new team, with a monthly budget in CURRENCY or None.

    Raises `WorkflowError` for a name that is empty, too long or taken.
    """
    name = audit.clean(name).strip()
    if not name or len(name) > 100:
        raise WorkflowError("A team's name has 1 to 100 characters.")
    slug = slugify(name) or "team"
    if Team.objects.filter(name__iexact=name).exists():
        raise WorkflowError(f"There is a team {name} already.")
    taken = set(Team.objects.filter(slug__startswith=slug).values_list("slug", flat=True))
    slug = next(s for s in (slug, *(f"{slug}-{n}" for n in range(2, 10_000))) if s not in taken)
    team = Team.objects.create(name=name, slug=slug, monthly_budget=monthly_budget)
    audit.record("team.created", actor=actor, team=team)
    return team


@transaction.atomic
def set_key(team, secret, *, actor):
    """Store a key for the team in place of the current one, which is kept for reads alone.

    Raises `WorkflowError` for a text that has not a key's form (AUTH). What waited for a key is due at once.
    """
    secret = secret.strip()
    if not KEY_SHAPE.fullmatch(secret):
        raise WorkflowError("An API key is idc_ followed by 32 letters or digits.")
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    now = clock.now()
    replaced = ApiKey.objects.filter(team=team, retired_at=None).update(retired_at=now)
    key = ApiKey.objects.create(team=team, secret=secret, last_four=secret[-4:])
    pauses.plan(Purchase.objects.filter(request__in=team.requests.all(), state=State.APPROVED), now)
    audit.record("key.replaced" if replaced else "key.stored", actor=actor, team=team, key=key.last_four)
    return key


@transaction.atomic
def set_member(username, *, role, password, actor, team=None, email=""):
    """Make or change a person: a role in a team, or 'auditor' for all teams; one who exists gets the password."""
    if role == "auditor":
        if team is not None:
            raise WorkflowError("An auditor reads every team: leave the team out.")
    elif role not in Role.values:
        raise WorkflowError(f"The roles are {', '.join(Role.values)} and auditor.")
    elif team is None:
        raise WorkflowError("Say for which team.")
    if holds_secret(f"{username} {email}"):
        raise WorkflowError("This is an API key, not the name of a person. Revoke it: it is no longer safe.")
    user = User.objects.filter(username=username).first()
    made = user is None
    if made:
        user = User(username=username, email=email)
        try:
            user.full_clean(exclude=["password"])
        except ValidationError as error:
            raise WorkflowError(" ".join(error.messages)) from None
    if not password:
        raise WorkflowError("The password is empty.")
    user.set_password(password)
    user.is_auditor = user.is_auditor or role == "auditor"
    user.save()
    if team is not None:
        Membership.objects.get_or_create(user=user, team=team, role=role)
    audit.record(
        "member.added" if made else "member.changed", actor=actor, team=team, member=username, role=role
    )
    return user
