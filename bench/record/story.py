"""The events of an invented company: requests, approvals, purchases, doubts, log-ins.

This module uses no database. The same seed gives the same company.
"""

import itertools
import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

BEGIN = datetime(2024, 1, 8, 7, 0, tzinfo=UTC)
PLACES = [
    "Berlin",
    "Hamburg",
    "Lyon",
    "Paris",
    "London",
    "Leeds",
    "Boston",
    "Austin",
    "Vienna",
    "Graz",
    "Zürich",
]
THINGS = ["help desk", "reception", "fair", "flyer", "campaign", "night shift", "pilot", "branch", "hotline"]
WHY = [
    "The {thing} in {place} opens in {month} and needs {count} lines of its own.",
    "{place}: {count} colleagues start in the {thing}, order {order}.",
    "Replaces the old line of the {thing} in {place}; cost centre {order}.",
    "For the {thing}. The customer in {place} asked for a local number, ticket {order}.",
]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "September", "October", "November"]
NOES = ["We have one that is hardly called.", "Too dear; ask again with fewer.", "{place} has numbers left."]
# Calling code and area, how many digits follow, and the percentage of numbers. French ones occur only early on.
NUMBERS = [
    ("US", ["+1212", "+1415", "+1617", "+1512", "+1305", "+1773"], 7, 45),
    ("DE", ["+4930", "+4940", "+4989", "+49221"], 7, 25),
    ("GB", ["+4420", "+44113", "+44161"], 8, 20),
    ("FR", ["+331", "+334"], 8, 10),
]


@dataclass
class Company:
    """Teams with their people, by name: requesters, approvers, admins."""

    teams: list[str]
    requesters: dict[str, list[str]] = field(default_factory=dict)
    approvers: dict[str, list[str]] = field(default_factory=dict)
    admins: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, teams=20):
        company = cls([f"Team {n:02d}" for n in range(1, teams + 1)])
        for n, team in enumerate(company.teams, start=1):
            company.requesters[team] = [f"req{n:02d}{letter}" for letter in "abc"]
            company.approvers[team] = [f"app{n:02d}{letter}" for letter in "ab"]
            company.admins[team] = f"adm{n:02d}"
        return company


@dataclass
class Request:
    number: int
    team: str
    requester: str
    reason: str
    created_at: datetime


@dataclass
class Purchase:
    number: int
    request: Request
    phone_number: str
    country_code: str
    name: str
    state: str = "pending"
    approver: str = ""
    attempt: int | None = None


class Story:
    """Endless events as dicts: `for event in Story(Company.of()).events()`; the lists hold what they refer to."""

    def __init__(self, company, *, seed=1, in_flight=60):
        self.company, self.random, self.in_flight = company, random.Random(seed), in_flight
        self.now = BEGIN
        self.requests, self.purchases, self.attempts = [], [], []
        self._numbers = set()
        self._attempt = itertools.count(1)

    def events(self):
        """Steps of several dozen stories in parallel, with an occasional log-in."""
        running = []
        while True:
            if len(running) < self.in_flight:
                running.append(self._request())
            self.now += timedelta(seconds=self.random.expovariate(1 / 45))
            if self.random.random() < 0.02:
                yield self._log_in()
                continue
            story = self.random.choice(running)
            try:
                yield from next(story)
            except StopIteration:
                running.remove(story)

    def _log_in(self):
        team = self.random.choice(self.company.teams)
        name = self.random.choice(self.company.requesters[team] + self.company.approvers[team])
        if self.random.random() < 0.1:
            return self._event(
                "login.failed", "somebody", role="nobody", data={"tried": name, "member": name}
            )
        return self._event("login.succeeded", name)

    def _event(self, action, actor, *, role="", click=None, **details):
        self.now += timedelta(microseconds=self.random.randrange(200, 900))
        role = role or ("system" if actor in ("worker", "sweep") else actor[:3])
        by_person = role not in ("system", "nobody")
        return {
            "at": self.now,
            "action": action,
            "actor": actor if by_person else None,
            "actor_name": actor,
            "actor_role": {"req": "requester", "app": "approver", "adm": "admin"}.get(role, role),
            "ip": f"10.0.{hash_of(actor) % 8}.{hash_of(actor) % 250}" if by_person else "",
            "click": click if click is not None else (self._click() if by_person else ""),
            "purchase": None,
            "request": None,
            "team": None,
            "attempt": None,
            "was": "",
            "became": "",
            "note": "",
            "data": {},
            **details,
        }

    def _click(self):
        """A click id as from `audit.actors.new_click`, at the time of the story."""
        milliseconds = int(self.now.timestamp() * 1000)
        return str(uuid.UUID(int=(milliseconds << 80) | self.random.getrandbits(76) | (0x7 << 76)))

    # --- One request ------------------------------------------------------------------------------------------------

    def _request(self):
        """The steps of one request; each is a list of simultaneous events."""
        rnd = self.random
        team = rnd.choice(self.company.teams)
        count = rnd.choice([1, 1, 2, 3, 3, 5, 8, 12, 20])
        order, place, thing = rnd.randrange(10_000, 99_999), rnd.choice(PLACES), rnd.choice(THINGS)
        text = rnd.choice(WHY).format(
            thing=thing, place=place, month=rnd.choice(MONTHS), count=count, order=order
        )
        asked = Request(
            len(self.requests) + 1, team, rnd.choice(self.company.requesters[team]), text, self.now
        )
        self.requests.append(asked)
        purchases = [self._purchase(asked, f"{place} {thing} {n}") for n in range(1, count + 1)]
        click = self._click()
        yield [
            self._event(
                "request.submitted",
                asked.requester,
                click=click,
                request=asked,
                note=text,
                data={"numbers": count},
            ),
            *(self._step(p, "pending", asked.requester, click=click, data=terms(p)) for p in purchases),
        ]
        yield from self._decision(asked, purchases)

    def _purchase(self, asked, name):
        country, areas, more, _ = self.random.choices(NUMBERS, [weight for *_, weight in NUMBERS])[0]
        if country == "FR" and self.now > BEGIN + timedelta(days=150):
            country, areas, more, _ = NUMBERS[0]
        while True:
            number = f"{self.random.choice(areas)}{self.random.randrange(10 ** (more - 1), 10**more)}"
            if number not in self._numbers:
                break
        self._numbers.add(number)
        purchase = Purchase(len(self.purchases) + 1, asked, number, country, name)
        self.purchases.append(purchase)
        return purchase

    def _step(self, purchase, state, actor, *, kind=None, **details):
        was, purchase.state = ("" if state == "pending" else purchase.state), state
        attempt = details.pop("attempt", None)
        action = kind or f"purchase.{state}"
        became = "" if kind else state
        return self._event(
            action,
            actor,
            request=purchase.request,
            purchase=purchase,
            attempt=attempt,
            was="" if kind else was,
            became=became,
            **details,
        )

    def _tell(self, purchase, action, actor, **details):
        return self._event(action, actor, request=purchase.request, purchase=purchase, **details)

    def _decision(self, asked, purchases):
        rnd, approver = self.random, self.random.choice(self.company.approvers[asked.team])
        if rnd.random() < 0.3:
            yield [self._event("request.reminded", "sweep", request=asked)]
        if rnd.random() < 0.3:
            note = "Once: 1.00 USD before, 1.50 USD now. A month: 2.00 USD before, 2.50 USD now."
            yield [self._tell(p, "purchase.price_changed", "worker", note=note) for p in purchases]
        click, fate = self._click(), rnd.random()
        if fate < 0.06:
            note = rnd.choice(NOES).format(place=rnd.choice(PLACES))
            yield [self._step(p, "rejected", approver, click=click, note=note) for p in purchases]
            return
        if fate < 0.1:
            yield [self._step(p, "cancelled", asked.requester, click=click) for p in purchases]
            return
        for purchase in purchases:
            purchase.approver = approver
        second = rnd.random() < 0.4
        if second:
            first = self.company.admins[asked.team]
            yield [
                self._tell(p, "purchase.approved_first", first, click=click, data=terms(p)) for p in purchases
            ]
            click = self._click()
        yield [self._step(p, "approved", approver, click=click, data=terms(p)) for p in purchases]
        for purchase in purchases:
            yield from self._buying(purchase)

    def _buying(self, purchase):
        rnd = self.random
        while rnd.random() < 0.57:
            yield [
                self._tell(
                    purchase, "purchase.waits_long", "sweep", note="IdentityCall could not be reached."
                )
            ]
            yield [self._claim(purchase)]
            note = "IdentityCall asked to wait."
            yield [self._step(purchase, "approved", "worker", attempt=purchase.attempt, note=note)]
        yield [self._claim(purchase)]
        fate = rnd.random()
        if fate < 0.05:
            note = "IdentityCall said no: the number is not available any more."
            yield [self._step(purchase, "failed", "worker", attempt=purchase.attempt, note=note)]
            return
        if fate < 0.25:
            note = "No answer came within 30 seconds."
            yield [self._step(purchase, "unconfirmed", "worker", attempt=purchase.attempt, note=note)]
            if fate < 0.12:
                yield [self._step(purchase, "held", "worker", note="No evidence within the time set for it.")]
            note = "The list of owned numbers shows it."
        else:
            note = "IdentityCall confirmed the purchase."
        data = {"provider_id": 1000 + purchase.number}
        yield [self._step(purchase, "purchased", "worker", attempt=purchase.attempt, note=note, data=data)]
        yield [self._tell(purchase, "purchase.applied", "worker")]

    def _claim(self, purchase):
        purchase.attempt = next(self._attempt)
        self.attempts.append((purchase.attempt, purchase, self.now))
        data = {"payload_hash": f"{purchase.attempt:064x}", "key": "1234"}
        return self._step(purchase, "purchasing", "worker", attempt=purchase.attempt, data=data)


def terms(purchase):
    """The data of an event about a request or an approval."""
    return {
        "phone_number": purchase.phone_number,
        "version": 1,
        "country_code": purchase.country_code,
        "number_type": "local",
        "name": purchase.name,
        "requirement_group_id": None,
        "record_calls": True,
        "upfront_cost": "1.0000",
        "monthly_cost": "2.0000",
        "cost_confirmed": True,
    }


def hash_of(text):
    """A number that is the same on every run."""
    return sum(place * ord(character) for place, character in enumerate(text, start=1))
