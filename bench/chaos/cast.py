"""The teams with keys and the people with roles, created through Number Desk's own functions."""

import string
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from django.contrib.auth.hashers import make_password

from bench.chaos.browser import Browser
from purchasing import audit
from purchasing.models import Membership, Team, User
from purchasing.states import Role
from purchasing.teams import keys
from purchasing.teams.teams import create_team

PASSWORD = "a password of the campaign"
ACTOR = audit.system("campaign")
APPROVERS = ("ana", "bob", "cem", "dua")  # of every team
BOTH = ("bob",)  # also a requester
DISMISSED = ("cem", "dua")  # their accounts are deactivated for a while
ADMIN, ROOT = "tom", "root"
TWO_APPROVALS = "Team2"  # wants a second approver for everything


@dataclass
class Key:
    """A key of a team: its name at the provider, its secret and its project."""

    name: str
    secret: str
    project_id: int | None


@dataclass
class Desk:
    """Teams by name with all keys they ever had, requesters by team, and a browser for each person."""

    keys: dict[str, list[Key]] = field(default_factory=dict)
    requesters: dict[str, list[str]] = field(default_factory=dict)
    browsers: dict[str, Browser] = field(default_factory=dict)

    @property
    def teams(self):
        return list(self.keys)

    @property
    def secrets(self):
        """Every secret that must not appear anywhere."""
        return [key.secret for keys in self.keys.values() for key in keys]

    def window(self, username):
        """A browser window of this person, for use in one thread."""
        return self.browsers[username].another()


def new_key(chance, team, number, project_id):
    """A key that the provider has never seen."""
    letters = "".join(chance.choice(string.ascii_letters + string.digits) for _ in range(32))
    return Key(f"{team.lower()}-{number}", f"idc_{letters}", project_id)


def assemble(chance, provider, *, teams):
    """Make teams, keys and people in the database and at the provider; every second key is bound to a project."""
    desk = Desk()
    for place in range(teams):
        name = f"Team{place + 1}"
        key = new_key(chance, name, 1, 101 + place if place % 2 else None)
        provider.add_key(key.name, key.secret, key.project_id)
        team = create_team(name, actor=ACTOR)
        keys.set_key(team, key.secret, actor=ACTOR)
        desk.keys[name] = [key]
        desk.requesters[name] = [f"asks{place + 1}", *BOTH]
    _make_people(desk)
    Team.objects.filter(name=TWO_APPROVALS).update(second_approver_from=0)
    return desk


def _make_people(desk):
    """Everybody has the same password, hashed only once because that takes more than half a second."""
    password = make_password(PASSWORD)
    User.objects.create(username=ROOT, password=password, is_superuser=True, is_staff=True)
    for name, requesters in desk.requesters.items():
        team = Team.objects.get(name=name)
        roles = [(ADMIN, Role.ADMIN), *((person, Role.APPROVER) for person in APPROVERS)]
        for username, role in [*roles, *((person, Role.REQUESTER) for person in requesters)]:
            person, _ = User.objects.get_or_create(username=username, defaults={"password": password})
            Membership.objects.create(user=person, team=team, role=role)


def log_in_all(desk, url, log):
    """Everybody logs in once, through the form."""
    usernames = [*{person for group in desk.requesters.values() for person in group}, *APPROVERS, ADMIN, ROOT]
    for username in sorted(set(usernames)):
        desk.browsers[username] = Browser(url, username, log)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda browser: browser.log_in(PASSWORD), desk.browsers.values()))
