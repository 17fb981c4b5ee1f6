"""Other disturbances during the storm: the queue, keys, people, prices, and 'Stop buying'."""

from dataclasses import dataclass

from django.db import transaction
from django_tasks import TaskResultStatus
from django_tasks_db.models import DBTaskResult

from bench.chaos.cast import ACTOR, ADMIN, DISMISSED, ROOT, new_key
from purchasing import audit, clock, tasks
from purchasing.models import ApiKey, Purchase, Team, User
from purchasing.states import State

ALIVE = (State.APPROVED, State.PURCHASING, State.UNCONFIRMED, State.HELD, State.PURCHASED)


@dataclass(frozen=True)
class Span:
    """A period in which all (`who` is '') or one team could buy nothing."""

    who: str
    began_at: object
    ended_at: object


@dataclass(frozen=True)
class Dismissal:
    """An approver whose account was switched off with one event of the record and on again with another."""

    who: str
    began_seq: int
    ended_seq: int


@dataclass(frozen=True)
class Price:
    """The cost of a number, once and per month, from some moment between these two on."""

    phone_number: str
    cost: str
    began_at: object
    ended_at: object


@transaction.atomic
def switch(username, *, on):
    """Switch an account on or off without ending its sessions; returns the place of this in the record.

    A claim and this lock the account before they write their events, so the record has them in their true order.
    """
    person = User.objects.select_for_update(no_key=True).get(username=username)
    User.objects.filter(pk=person.pk).update(is_active=on)
    action = "member.activated" if on else "member.deactivated"
    return audit.record(action, actor=ACTOR, member=username, member_id=person.pk).seq


class Mischief:
    """Causes one random disturbance after another until the storm is over."""

    WEIGHTS = {
        "deliver_tasks_again": 10,
        "lose_tasks": 5,
        "replace_a_key": 2,
        "dismiss_an_approver": 2,
        "stop_buying": 2,
        "change_prices": 4,
    }

    def __init__(self, campaign):
        self.campaign, self.desk, self.provider = campaign, campaign.desk, campaign.provider
        self.chance = campaign.chance("mischief")
        self.stops, self.dismissals, self.prices = [], [], []

    def run(self):
        while not self.campaign.storm_over.is_set():
            self.see_to_keys()
            deed = self.chance.choices(list(self.WEIGHTS), weights=list(self.WEIGHTS.values()))[0]
            getattr(self, f"_{deed}")()
            self.campaign.storm_over.wait(self.chance.uniform(0.3, 1.2))

    # --- The queue --------------------------------------------------------------------------------------------------

    def _deliver_tasks_again(self):
        """Queue tasks for the same purchase 2 and 50 times, and one for a purchase that does not exist."""
        known = list(Purchase.objects.filter(state__in=ALIVE).order_by("pk").values_list("pk", flat=True))
        for pk in self.chance.sample(known, min(len(known), 6)):
            for _ in range(self.chance.choice((2, 2, 2, 50))):
                tasks.buy.enqueue(pk)
                self.campaign.count("tasks delivered again")
            tasks.apply.enqueue(pk)
        for pk in ApiKey.objects.order_by("?").values_list("pk", flat=True)[:2]:
            tasks.check.enqueue(pk)
        tasks.buy.enqueue(10**9)

    def _lose_tasks(self):
        waiting = list(
            DBTaskResult.objects.filter(status=TaskResultStatus.READY).values_list("pk", flat=True)
        )
        lost = self.chance.sample(waiting, len(waiting) // 3)
        DBTaskResult.objects.filter(pk__in=lost).delete()
        self.campaign.count("tasks deleted", len(lost))

    # --- Keys -------------------------------------------------------------------------------------------------------

    def _replace_a_key(self):
        """Replace a key while it is in use; the old one is revoked before, after, or never."""
        team = self.chance.choice(self.desk.teams)
        old, when = self.desk.keys[team][-1], self.chance.choice(("before", "after", "never"))
        if when == "before":
            self.provider.revoke_key(old.name)
        self.give_new_key(team, moved=self.chance.random() < 0.2)
        if when == "after":
            self.provider.revoke_key(old.name)
        self.campaign.count(f"keys replaced, the old one revoked {when}")

    def give_new_key(self, team, *, moved=False):
        """Create a key at the provider and store it with `set_key`; with `moved`, it is bound to another project."""
        old = self.desk.keys[team][-1]
        project_id = self.chance.randrange(200, 300) if moved else old.project_id
        key = new_key(self.chance, team, len(self.desk.keys[team]) + 1, project_id)
        self.provider.add_key(key.name, key.secret, key.project_id)
        self.desk.keys[team].append(key)
        file = self.campaign.stage.keys / key.name
        file.touch(mode=0o600)
        file.write_text(key.secret)
        if not self.campaign.stage.run_command("set_key", team, "--api-key-file", str(file)):
            self.campaign.problem(f"set_key {team} failed")

    def see_to_keys(self):
        """Act as a team admin whose key is refused, or paused for minutes."""
        for key in ApiKey.objects.filter(retired_at=None).select_related("team"):
            if key.credential.refused_at or (
                key.credential.paused_until
                and (key.credential.paused_until - clock.now()).total_seconds() > 5
            ):
                self.campaign.count("keys replaced after a refusal or a long pause")
                self.give_new_key(key.team.name)

    # --- People -----------------------------------------------------------------------------------------------------

    def _dismiss_an_approver(self):
        """Deactivate an account for a while. Purchases it approved that are not claimed yet must not be sent."""
        person = self.chance.choice(DISMISSED)
        began_seq = switch(person, on=False)
        self.campaign.storm_over.wait(self.chance.uniform(1, 3))
        self.dismissals.append(Dismissal(person, began_seq, switch(person, on=True)))
        self.campaign.count("approvers dismissed for a while")

    def _stop_buying(self):
        """'Stop buying' and 'Go on' over HTTP: nothing may be claimed in between."""
        if self.chance.random() < 0.5:
            self._stop(ROOT, "", "/teams/", "/buying/stop/", "/buying/go-on/")
        else:
            team = self.chance.choice(self.desk.teams)
            page = f"/teams/{Team.objects.get(name=team).slug}/"
            self._stop(ADMIN, team, page, f"{page}stop/", f"{page}go-on/")

    def _stop(self, person, who, page, stop, go_on):
        window = self.desk.window(person)
        window.send(window.get(page).form(stop), reason="The campaign stops")
        began_at = clock.now()
        self.campaign.storm_over.wait(self.chance.uniform(0.5, 2))
        form = window.get(page).form(go_on)
        ended_at = clock.now()
        window.send(form, reason="The campaign goes on")
        self.stops.append(Span(who, began_at, ended_at))
        self.campaign.count("buying stopped for a while")

    # --- Prices -----------------------------------------------------------------------------------------------------

    def _change_prices(self):
        """Raise or lower the prices of some offers."""
        open_ones = Purchase.objects.filter(state__in=(State.PENDING, State.APPROVED)).order_by("pk")
        numbers = list(open_ones.values_list("phone_number", "monthly_cost"))
        for phone_number, monthly in self.chance.sample(numbers, min(len(numbers), 2)):
            if monthly is not None:
                cost = f"{monthly * self.chance.choice((2, 3)) / self.chance.choice((1, 1, 4)):.2f}"
                began_at = clock.now()
                self.provider.set_costs(phone_number, cost, cost)
                self.prices.append(Price(phone_number, cost, began_at, clock.now()))
                self.campaign.count("prices changed")
