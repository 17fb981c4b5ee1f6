"""`manage.py seed_demo`: people, teams and requests for practice, only in the sandbox."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils.text import slugify

from purchasing import audit
from purchasing.approving import approvals
from purchasing.asking import submission
from purchasing.encryption import Undecryptable
from purchasing.identitycall.errors import ProviderError
from purchasing.models import ApiKey, Desk, PurchaseRequest, Team, User
from purchasing.provider import offers, pauses, turns
from purchasing.teams import keys, members, teams
from sandbox import keys as sandbox_keys
from sandbox import practice

PASSWORD = "numberdesk"
KEYS = {"Support": sandbox_keys.SUPPORT_KEY, "Sales": sandbox_keys.SALES_KEY}
# sam is not in Sales, so its records can be used to check that other teams' records are hidden.
ROLES = [
    ("sam", "requester", "Support"),
    ("ana", "approver", "Support"),
    ("ana", "approver", "Sales"),
    ("tom", "admin", "Support"),
    ("tom", "admin", "Sales"),
    ("ida", "auditor", None),
]
ACTOR = audit.system("demo")


class Command(BaseCommand):
    help = (
        "Put the demo people (password numberdesk), two teams with keys of the sandbox and some requests into the "
        "sandbox's database. Does this once; later runs only restore the keys. Needs the running sandbox provider."
    )

    def add_arguments(self, parser):
        parser.add_argument("--people-only", action="store_true", help="people, teams and keys; no requests")

    def handle(self, *, people_only, **options):
        if not settings.SANDBOX:
            raise CommandError("The demo people have a public password, so they need SANDBOX=on.")
        if not Desk.objects.filter(pk=Desk.ONLY, held_demo_people=True).exists():
            if User.objects.exists():
                raise CommandError(
                    "This database has people of its own; the demo people, whose password everybody knows, are not "
                    "put among them. Choose another DATABASE_URL."
                )
            make_people()
        for name, secret in KEYS.items():
            keep_key(name, secret)
        if not people_only and not PurchaseRequest.objects.exists():
            try:
                make_requests(offers_to_ask_for())
            except (ProviderError, turns.Busy) as problem:
                raise CommandError(
                    f"The sandbox provider could not be asked for numbers: {problem}"
                ) from None
        self.stdout.write("The demo people are ready: sam, ana, tom, ida, root.")


@transaction.atomic
def make_people():
    """Create teams, people and roles. The database is marked first, before it has people with a public password."""
    Desk.objects.filter(pk=Desk.ONLY).update(held_demo_people=True)
    made = {name: teams.create_team(name, actor=ACTOR) for name in KEYS}
    for username, role, team in ROLES:
        members.set_member(
            username,
            role=role,
            password=PASSWORD,
            team=made.get(team),
            email=f"{username}@example.com",
            actor=ACTOR,
        )
    User.objects.create_superuser("root", email="root@example.com", password=PASSWORD)
    audit.record("member.added", actor=ACTOR, member="root", role="superuser")


def team_of(name):
    """The team created under this name. It may have been renamed since, but its slug stays."""
    return Team.objects.get(slug=slugify(name))


def keep_key(name, secret):
    """Store the team's key if it has none that can be decrypted (the encryption key may have been replaced)."""
    team = team_of(name)
    key = pauses.current_key(team)
    try:
        if key and ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk):
            return
    except Undecryptable:
        pass
    keys.set_key(team, secret, actor=ACTOR)


# --- Requests -----------------------------------------------------------------------------------------------------

# Team, requester, country, type, reason, names of the numbers, ana's decision.
WANTED = [
    (
        "Support",
        "sam",
        "DE",
        "local",
        "The help desk in Berlin opens in December and needs a line, and one to hand calls over to.",
        ["Help desk Berlin", "Help desk Berlin, second line"],
        "approve",
    ),
    (
        "Support",
        "sam",
        "US",
        "toll-free",
        "A free number for the new flyer.",
        ["Flyer"],
        "We have a toll-free number that is hardly called. Please print that one.",
    ),
    (
        "Support",
        "sam",
        "GB",
        "local",
        "Three colleagues start in London in January.",
        ["London 1", "London 2", "London 3"],
        None,
    ),
    ("Sales", "root", "FR", "mobile", "A number for the stand at the fair in Paris.", ["Fair Paris"], None),
]


def offers_to_ask_for():
    """For each request in `WANTED`, sandbox offers without special behaviour."""
    found = []
    for team, _, country_code, number_type, _, names, _ in WANTED:
        key = pauses.current_key(team_of(team))
        listed, _ = offers.available(key, country_code=country_code, number_type=number_type)
        plain = [offer for number, offer in listed.items() if practice.rule_of(number) is None]
        found.append(plain[: len(names)])
    return found


@transaction.atomic
def make_requests(found):
    """Submit and decide as the people would; the worker buys the approved numbers."""
    ana = audit.Actor.person(User.objects.get(username="ana"))
    for (team, requester, _, _, reason, names, decision), wanted in zip(WANTED, found, strict=True):
        if not wanted:
            continue
        asked = submission.submit(
            team=team_of(team),
            requester=audit.Actor.person(User.objects.get(username=requester)),
            reason=reason,
            lines=[line_for(offer, name) for offer, name in zip(wanted, names, strict=False)],
        )
        chosen = [purchase.pk for purchase in asked.purchases.all()]
        if decision == "approve":
            approvals.approve(asked.pk, chosen, approver=ana, version=asked.version)
        elif decision:
            approvals.reject(asked.pk, chosen, approver=ana, version=asked.version, reason=decision)


def line_for(offer, name):
    """An offer as a line of a request."""
    return submission.RequestedNumber(
        phone_number=offer.phone_number,
        country_code=offer.country_code,
        number_type=offer.number_type,
        name=name,
        upfront_cost=offer.upfront_cost,
        monthly_cost=offer.monthly_cost,
        features=", ".join(offer.features),
        region=", ".join(offer.regions),
    )
