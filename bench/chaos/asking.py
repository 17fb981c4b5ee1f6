"""What staff do over HTTP: paste, request, approve, reject, cancel, often two people at the same moment."""

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.chaos.cast import APPROVERS, DISMISSED

SIZES = (1, 1, 2, 2, 3, 4, 5, 8)
SENDING = {"once": 66, "twice at once": 16, "again later": 10, "by two teams": 8}
DECIDING = {
    "one approver": 38,
    "double click": 10,
    "two approvers": 16,
    "approve and reject": 8,
    "approve and cancel": 10,
    "some, reject the rest": 5,
    "cancel soon after": 6,
    "reject": 2,
    "own first": 5,
}


@dataclass(frozen=True)
class Task:
    """One request of the plan: the numbers, the requester, and the races around it."""

    place: int
    team: str
    requester: str
    other_team: str
    offers: tuple
    sending: str
    deciding: str
    paste_lie: bool
    paste_key: bool


@dataclass(frozen=True)
class Click:
    """An approval sent over HTTP, recorded independently of the database. Times are by the clock of this machine."""

    person: str
    purchases: tuple
    sent_at: float


def draw(chance, desk, offers):
    """The plan: all offers, divided into requests."""
    offers = chance.sample(offers, len(offers))
    tasks = []
    while offers:
        size = min(chance.choice(SIZES), len(offers))
        team, sending, deciding = chance.choice(desk.teams), _draw(chance, SENDING), _draw(chance, DECIDING)
        if sending == "by two teams" and deciding == "own first":
            deciding = "one approver"  # the requester is known only when one of the two has won
        tasks.append(
            Task(
                place=len(tasks),
                team=team,
                requester=chance.choice(desk.requesters[team]),
                other_team=chance.choice([name for name in desk.teams if name != team]),
                offers=tuple(offers[:size]),
                sending=sending,
                deciding=deciding,
                paste_lie=chance.random() < 0.08,
                paste_key=chance.random() < 0.1,
            )
        )
        offers = offers[size:]
    return tasks


def _draw(chance, weights):
    return chance.choices(list(weights), weights=list(weights.values()))[0]


class Asking:
    """Carries out the plan, task by task, in several threads."""

    def __init__(self, campaign):
        self.campaign, self.desk = campaign, campaign.desk

    def run(self, task):
        """One request from the paste to the decision."""
        chance = self.campaign.chance(f"task {task.place}")
        requester = self.desk.window(task.requester)
        form = self._prepared(requester, task, task.team)
        if form is None:
            self.campaign.count("requests that could not be asked")
            return
        pages = self._sent(requester, form, task)
        path = next(filter(None, map(_path_of_request, pages)), None)
        if path is None:
            self.campaign.count("requests refused")
            return
        time.sleep(chance.uniform(0, 1))
        self._decide(task, path, chance)
        if task.sending == "again later":
            self._one_request([*pages, requester.send(form)])

    # --- Asking -------------------------------------------------------------------------------------------------

    def _prepared(self, requester, task, team):
        """Paste, select and fill in the form of a request; None if nothing can be requested."""
        form = requester.get("/paste/").form("/paste/")
        if form is None:  # the account has just been deactivated
            return None
        page = requester.send(form, text=_pasted(task, self.desk.secrets))
        verdicts = next((form for form in page.forms if form.values("page")), None)
        if verdicts is None or not verdicts.values("pick"):
            return None
        page = requester.send(verdicts)
        form = page.form("/requests/new/")
        if form is None:
            return None
        options = {"reason": f"Campaign, request {task.place} for {team}"}
        team_id = self.campaign.team_ids[team]
        if task.place % 3 == 0:
            options["n-0-record_calls"] = "no"
        form.fields = form.filled(team=str(team_id), do="send", **options)
        return form

    def _sent(self, requester, form, task):
        if task.sending == "twice at once":
            return self._one_request(at_once(lambda: requester.send(form), self._twin_send(requester, form)))
        if task.sending == "by two teams":
            return self._one_record(requester, form, task)
        return [requester.send(form)]

    def _twin_send(self, requester, form):
        return lambda: requester.another().send(form)

    def _one_request(self, pages):
        """The same form, sent more than once, must make one request."""
        self.campaign.count("forms sent more than once")
        paths = set(filter(None, map(_path_of_request, pages)))
        if len(paths) > 1:
            self.campaign.problem(f"one form made several requests: {sorted(paths)}")
        return pages

    def _one_record(self, requester, form, task):
        """Two teams request the same numbers at the same moment."""
        self.campaign.count("numbers asked for by two teams at once")
        rival = self.desk.window(self.desk.requesters[task.other_team][0])
        other = self._prepared(rival, task, task.other_team)
        if other is None:
            return [requester.send(form)]
        mine, theirs = at_once(lambda: requester.send(form), lambda: rival.send(other))
        return [mine if _path_of_request(mine) else theirs]

    # --- Deciding -----------------------------------------------------------------------------------------------

    def _decide(self, task, path, chance):
        approvers = [person for person in APPROVERS if person != task.requester]
        first, second = chance.sample(approvers, 2)
        if first in DISMISSED and task.place % 2:
            first, second = second, first
        getattr(self, f"_{task.deciding.replace(', ', '_').replace(' ', '_')}")(task, path, first, second)

    def _one_approver(self, task, path, first, second):
        self.approve(first, path)

    def _double_click(self, task, path, first, second):
        window = self.desk.window(first)
        page = window.get(path)
        if page.form("/approve/") is not None:
            click = lambda: self._press(window.another(), path, "approve", page)  # noqa: E731
            self._race(task, click, click)

    def _two_approvers(self, task, path, first, second):
        self._race(task, lambda: self.approve(first, path), lambda: self.approve(second, path))

    def _approve_and_reject(self, task, path, first, second):
        self._race(task, lambda: self.approve(first, path), lambda: self.reject(second, path))

    def _approve_and_cancel(self, task, path, first, second):
        self._race(task, lambda: self.approve(first, path), lambda: self.cancel(task.requester, path))

    def _some_reject_the_rest(self, task, path, first, second):
        window = self.desk.window(first)
        page = window.get(path)
        form = page.form("/approve/")
        if form is not None:
            numbers = form.values("purchase")
            self._press(window, path, "approve", page, purchase=numbers[: len(numbers) // 2 + 1])
        self.reject(second, path)

    def _cancel_soon_after(self, task, path, first, second):
        self.approve(first, path)
        self.cancel(task.requester, path)

    def _reject(self, task, path, first, second):
        self.reject(first, path)

    def _own_first(self, task, path, first, second):
        """The requester forges the approver's form; nobody may approve their own request."""
        page = self.desk.window(first).get(path)
        form = page.form("/approve/")
        if form is not None:
            window = self.desk.window(task.requester)
            token = next((f.values("csrfmiddlewaretoken") for f in window.get(path).forms), [""])
            answer = window.send(form, csrfmiddlewaretoken=token[-1])
            self.campaign.count("own requests approved by a forged form, refused")
            if answer.status != 403:
                self.campaign.problem(f"{task.requester} sent an approval of their own: {answer.status}")
        self.approve(first, path)

    def approve(self, person, path):
        """Open the page and press 'Approve' if the button is there; again if the page was out of date."""
        window = self.desk.window(person)
        for _ in range(2):
            page = window.get(path)
            if page.form("/approve/") is None:
                return
            self._press(window, path, "approve", page)

    def reject(self, person, path):
        window = self.desk.window(person)
        page = window.get(path)
        if page.form("/approve/") is not None:
            self._press(window, path, "reject", page, reason="The campaign says no")

    def cancel(self, person, path):
        window = self.desk.window(person)
        form = window.get(path).form("/cancel/")
        if form is not None:
            window.send(form, reason="No longer needed")

    def _press(self, window, path, button, page, **changes):
        form = page.form("/approve/")
        chosen = changes.get("purchase") or form.values("purchase")
        if button == "approve":
            self.campaign.note_click(window.username, map(int, chosen))
        return window.send(form, to=f"{path}{button}/", **changes)

    def _race(self, task, *actions):
        self.campaign.count(f"races: {task.deciding}")
        at_once(*actions)


def at_once(*actions):
    """Run these at the same moment, each in a thread; returns their results in order."""
    barrier = threading.Barrier(len(actions))

    def run(action):
        barrier.wait(timeout=30)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def _path_of_request(page):
    """The path of the request that this page shows, or None, for example if it is the form again."""
    path = urlsplit(page.url).path
    return path if re.fullmatch(r"/requests/\d+/", path) else None


def _pasted(task, secrets):
    """What staff paste: the provider's JSON, sometimes with a lower price, sometimes with an API key."""
    offers = [dict(offer) for offer in task.offers]
    if task.paste_lie:
        offers = [offer | {"monthly_cost": "0.01"} for offer in offers]
    if task.paste_key:
        rows = [
            f"{offer['phone_number']}\t{offer['country_code']}\t{offer['number_type']}\t"
            f"{offer['upfront_cost']}\t{offer['monthly_cost']}"
            for offer in offers
        ]
        return "\n".join([*rows, f"curl -H 'Authorization: Bearer {secrets[0]}'"])
    return json.dumps({"data": offers})
