"""Members: their roles, their accounts and how they are invited, each change with its audit event.

A change of roles locks the team's row, as a claim does: a purchase that is claimed at the same moment sees the roles
before or after the change, and the person's next request sees the new ones.
"""

from django.contrib.sessions.models import Session
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from purchasing import audit, permissions
from purchasing.models import Membership, Team, User
from purchasing.problems import AlreadyMoved, NotYours, Problem, WrongField
from purchasing.redaction import holds_secret
from purchasing.states import Role
from purchasing.teams import invitations, teams
from purchasing.workflow import locked_team

# --- Members ------------------------------------------------------------------------------------------------------


@transaction.atomic
def set_member(username, *, role, password, actor, team=None, email=""):
    """Create a user or give an existing one a role: in a team, or 'auditor' for all teams. Sets the password too."""
    if role == "auditor":
        if team is not None:
            raise Problem("An auditor sees every team: leave the team out.")
    elif role not in Role.values:
        raise Problem(f"The roles are {', '.join(Role.values)} and auditor.")
    elif team is None:
        raise Problem("Say for which team.")
    if holds_secret(f"{username} {email}"):
        raise Problem("This is an API key, not the name of a person. Revoke it: it is no longer safe.")
    user = User.objects.filter(username=username).first()
    made = user is None
    if made:
        user = User(username=username, email=email)
        try:
            user.full_clean(exclude=["password"])
        except ValidationError as error:
            raise Problem(" ".join(error.messages)) from None
    if not password:
        raise Problem("The password is empty.")
    user.set_password(password)
    user.is_auditor = user.is_auditor or role == "auditor"
    user.save()
    if team is not None:
        Membership.objects.get_or_create(user=user, team=team, role=role)
    audit.record(
        "member.added" if made else "member.changed", actor=actor, team=team, member=username, role=role
    )
    return user


@transaction.atomic
def invite(team, *, username, email, roles, actor):
    """Give a person roles in the team; returns `(user, made)`: the account, and whether it is new.

    A new account has no password: the person gets a mail with a link to choose one. An existing account (the same user
    name or address) is added to the team. Raises `WrongField` or `Problem`.
    """
    team = teams.locked_by_admin(team, actor)
    roles = _checked(roles)
    user = _known(username, email)
    made = user is None
    user = user or _new_account(username, email)
    held = roles_in(team, user)
    missing = [role for role in roles if role not in held]
    if not missing:
        raise WrongField("roles", f"{user} has this in {team} already: {', '.join(held)}.")
    if Role.ADMIN in missing and user.pk == actor.user.pk:
        raise WrongField("roles", "Nobody makes themselves a team admin: another admin or a superuser can.")
    Membership.objects.bulk_create([Membership(user=user, team=team, role=role) for role in missing])
    audit.record(
        "member.invited" if made else "member.added",
        actor=actor,
        team=team,
        **_named(user),
        role=", ".join(missing),
        **({"email": user.email} if made else {}),
    )
    return user, made


def _known(username, email):
    """The account of this user name or address, or None. Raises `WrongField` where the two do not match."""
    named = User.objects.filter(username__iexact=username).order_by("pk").first()
    addressed = User.objects.filter(email__iexact=email).order_by("pk").first() if email else None
    if named and email and named.email and named.email.lower() != email.lower():
        raise WrongField(
            "username",
            f"There is an account {named} with another address. If that is the person you mean, leave the address "
            "out; if not, choose another user name.",
        )
    if named and addressed and named != addressed:
        raise WrongField("email", f"This address belongs to the account {addressed}, not to {named}.")
    return named or addressed


def _new_account(username, email):
    if holds_secret(f"{username} {email}"):
        raise WrongField("username", "This is an API key, not the name of a person.")
    if not email:
        raise WrongField("email", "Enter the address to send the invitation to.")
    user = User(username=username, email=User.objects.normalize_email(email))
    user.set_unusable_password()
    try:
        user.full_clean(exclude=["password"])
        with transaction.atomic():
            user.save()
    except ValidationError as error:
        field, problems = next(iter(error.message_dict.items()))
        raise WrongField(
            field if field in ("username", "email") else "username", " ".join(problems)
        ) from None
    except IntegrityError:
        raise WrongField("username", "This account was made just now. Send the form again.") from None
    return user


@transaction.atomic
def send_link(team, user, *, actor):
    """Send a member a mail with a new link to choose a password. A change of password ends earlier links."""
    team = teams.locked_by_admin(team, actor)
    if not roles_in(team, user):
        raise AlreadyMoved(f"{user} is not in {team} any more.")
    if not user.is_active:
        raise Problem(f"The account of {user} is switched off. Switch it on first.")
    if not user.email:
        raise Problem(f"There is no address to send a link to {user}.")
    asked = invitations.last_asked(user)
    if asked and invitations.is_on_its_way(asked):
        raise Problem("A mail was sent less than a minute ago. It may take a moment to arrive.")
    audit.record("member.link_sent", actor=actor, team=team, **_named(user))


@transaction.atomic
def change_roles(team, user, *, roles, seen, actor):
    """Give a member exactly these roles; `seen` are those that the page showed. Returns whether an admin is left."""
    team = teams.locked_by_admin(team, actor)
    before, after = roles_in(team, user), _checked(roles)
    if not before:
        raise AlreadyMoved(f"{user} is not in {team} any more.")
    if set(seen) != set(before):
        raise AlreadyMoved(
            f"The roles of {user} were changed since you opened this page. Look at them again."
        )
    if before == after:
        raise Problem(f"{user} has exactly these roles already.")
    _guard_admin(team, user, before, after, actor)
    Membership.objects.filter(user=user, team=team).exclude(role__in=after).delete()
    Membership.objects.bulk_create(
        [Membership(user=user, team=team, role=role) for role in after if role not in before]
    )
    audit.record(
        "member.roles_changed",
        actor=actor,
        team=team,
        **_named(user),
        before=", ".join(before),
        after=", ".join(after),
    )
    return has_admin(team)


@transaction.atomic
def remove_member(team, user, *, actor):
    """Take a person out of the team; the account stays. Returns whether an admin is left."""
    team = teams.locked_by_admin(team, actor)
    before = roles_in(team, user)
    if not before:
        raise AlreadyMoved(f"{user} is not in {team} any more.")
    _guard_admin(team, user, before, [], actor)
    Membership.objects.filter(user=user, team=team).delete()
    audit.record("member.removed", actor=actor, team=team, **_named(user), role=", ".join(before))
    return has_admin(team)


def _guard_admin(team, user, before, after, actor):
    if (Role.ADMIN in before) == (Role.ADMIN in after):
        return
    if user.pk == actor.user.pk:
        raise Problem(
            "Nobody changes their own role as team admin: another admin or a superuser can do it for you."
        )
    if Role.ADMIN in before and not actor.user.is_superuser and not has_admin(team, besides=user):
        raise Problem(f"{user} is the last admin of {team}. Make somebody else its admin first.")


def has_admin(team, *, besides=None):
    """Whether the team has an admin who can log in."""
    admins = Membership.objects.filter(team=team, role=Role.ADMIN, user__is_active=True)
    return admins.exclude(user=besides).exists() if besides else admins.exists()


def roles_in(team, user):
    """The roles of `user` in `team` (memberships alone), in the order of `Role`."""
    held = set(Membership.objects.filter(team=team, user=user).values_list("role", flat=True))
    return [str(role) for role in Role if role in held]


def _checked(roles):
    chosen = [str(role) for role in Role if role in roles]
    if not chosen:
        raise WrongField("roles", "Choose at least one role.")
    return chosen


def _named(user):
    return {"member": user.get_username(), "member_id": user.pk}


# --- Accounts -----------------------------------------------------------------------------------------------------


def may_switch(user, person):
    """Whether `user` may switch the account of `person` off and on.

    Superusers may, and team admins for people who are in no other team; nobody may for their own account.
    """
    if not user.is_active or user.pk == person.pk:
        return False
    if user.is_superuser:
        return True
    teams = Team.objects.filter(memberships__user=person).distinct()
    return not (person.is_superuser or person.is_auditor) and [
        permissions.may_manage(user, t) for t in teams
    ] == [True]


@transaction.atomic
def switch_account(person, *, on, actor):
    """Switch an account on or off. Switching it off ends all its sessions at once."""
    teams = list(Team.objects.filter(memberships__user=person).distinct().order_by("pk"))
    for team in teams:
        locked_team(team.pk)
    person = User.objects.select_for_update(no_key=True).get(pk=person.pk)
    if not may_switch(actor.user, person):
        raise NotYours("Only a superuser can do this, or the team admin of somebody who is in no other team.")
    if person.is_active == on:
        raise AlreadyMoved(f"The account of {person} is switched {'on' if on else 'off'} already.")
    User.objects.filter(pk=person.pk).update(is_active=on)
    if not on:
        _end_sessions(person)
    audit.record(
        "member.activated" if on else "member.deactivated",
        actor=actor,
        team=teams[0] if len(teams) == 1 else None,
        **_named(person),
    )


def _end_sessions(person):
    """End all sessions of a person; otherwise they would work again once the account is switched on."""
    for session in Session.objects.iterator():
        if session.get_decoded().get("_auth_user_id") == str(person.pk):
            session.delete()
