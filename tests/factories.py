"""Records for tests, made through the product's own functions."""

import hashlib
import itertools
from decimal import Decimal

from purchasing import audit, clock
from purchasing.approving import approvals
from purchasing.asking import drafts, submission
from purchasing.models import Credential, Draft, Purchase, Team, User
from purchasing.teams import keys, members, teams

SYSTEM = audit.system("test")
KEY = "idc_" + "k" * 28 + "1234"
PASSWORD = "a password of the tests"
_count = itertools.count(1)


def key_of(name):
    """The API key of the team of this name."""
    return KEY if name == "Support" else f"idc_{hashlib.sha256(name.encode()).hexdigest()[:28]}1234"


def team(name="Support", key=True) -> Team:
    """A team with a key of its own, or this one."""
    key = key_of(name) if key is True else key
    made = teams.create_team(name, actor=SYSTEM)
    if key:
        stored = keys.set_key(made, key, actor=SYSTEM)
        Credential.objects.filter(pk=stored.credential_id, projects__isnull=True).update(projects=[1])
    return made


def member(username, team, role) -> User:
    """A person with one role in one team."""
    return members.set_member(username, role=role, password=PASSWORD, team=team, actor=SYSTEM)


def auditor(username="ida") -> User:
    """A person who reads every team."""
    return members.set_member(username, role="auditor", password=PASSWORD, actor=SYSTEM)


def superuser(username="root") -> User:
    """The superuser who installed it."""
    return User.objects.create_superuser(username, password=PASSWORD)


def actor(user):
    """The person as an actor."""
    return audit.Actor.person(user)


def line(phone_number, **fields):
    """One number as it is requested: a US local number for 1.00 once and 2.00 a month."""
    return submission.RequestedNumber(
        phone_number=phone_number,
        **{
            "country_code": "US",
            "number_type": "local",
            "name": "Desk",
            "upfront_cost": Decimal("1.00"),
            "monthly_cost": Decimal("2.00"),
            **fields,
        },
    )


def request(team, requester, phone_numbers, **fields):
    """A request that is waiting for approval."""
    return submission.submit(
        team=team,
        requester=actor(requester),
        reason="New desks",
        lines=[line(number, **fields) for number in phone_numbers],
    )


def draft(person, phone_numbers, **fields):
    """A request of that person's that is not sent yet, as if its US numbers had been pasted."""
    made = Draft.objects.create(user=person, source=Draft.Source.PASTED)
    lines = [drafts.DraftNumber(number, country_code="US", **fields) for number in phone_numbers]
    return drafts.save(made, lines)


def approve(request, approver, **options):
    """Every pending purchase of a request, approved."""
    request.refresh_from_db()
    ids = list(request.purchases.filter(state="pending").values_list("pk", flat=True))
    return approvals.approve(request.pk, ids, approver=actor(approver), version=request.version, **options)


def state_of(purchase) -> str:
    """The state that is stored now."""
    return Purchase.objects.get(pk=purchase.pk).state


def actions(purchase) -> list[str]:
    """What the record holds about a purchase, oldest first."""
    return list(purchase.events.order_by("seq").values_list("action", flat=True))


def lose(keys, how):
    """These keys cannot be read with any more: 'refused' by IdentityCall, or their secrets are 'wiped'."""
    if how == "refused":
        Credential.objects.filter(keys__in=keys).update(refused_at=clock.now())
    else:
        keys.update(secret=None)
