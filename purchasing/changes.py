"""What a request held before it was changed, and what is different now, in words."""

from functools import cached_property

from purchasing import words
from purchasing.models import RequestVersion
from purchasing.states import State
from purchasing.teams import papers

LABELS = {
    "name": "name",
    "number_type": "type",
    "requirement_group_id": "papers",
    "record_calls": "recording",
    "upfront_cost": "cost once",
    "monthly_cost": "cost a month",
}


def before(asked, version):
    """A request as it stood in an older `version`; None where nothing is kept of it, as of the newest."""
    return RequestVersion.objects.filter(request=asked, version=version).first()


def earlier(asked):
    """The older versions of a request, oldest first, each line with what its `papers` are called."""
    register, versions = papers.Register(asked.team), asked.versions.select_related("replaced_by")
    for old in versions:
        for line in old.lines:
            line["papers"] = register.name_of(line.get("requirement_group_id"))
    return versions


def since(asked, version):
    """What changed in a request since its `version`, a sentence each."""
    old = RequestVersion.objects.filter(request=asked, version__gte=version).order_by("version").first()
    if old is None:
        return []
    sentences = []
    if old.reason != asked.reason:
        sentences.append(f"The reason was: {old.reason}")
    if old.purpose != asked.purpose:
        sentences.append(f"The purpose was: {old.purpose}" if old.purpose else "A purpose was added.")
    shown = _Shown(asked.team)
    now = {purchase.phone_number: purchase for purchase in asked.purchases.all()}
    for line in old.lines:
        purchase = now.get(line["phone_number"])
        if purchase is not None:
            sentences += _differences(line, purchase, shown)
    return sentences


def _differences(line, purchase, shown):
    number = words.phone(purchase.phone_number)
    if purchase.state != State.PENDING:
        return [f"{number} is now: {State(purchase.state).label}."]
    return [
        f"{number}: {label} was {before}, is {now}."
        for field, label in LABELS.items()
        if (before := shown(field, line.get(field))) != (now := shown(field, getattr(purchase, field)))
    ]


class _Shown:
    """How a field of a number is shown; reads the team's register of papers when one differs first."""

    def __init__(self, team):
        self.team = team

    @cached_property
    def register(self):
        return papers.Register(self.team)

    def __call__(self, field, value):
        if field in ("upfront_cost", "monthly_cost"):
            return words.money(value)
        if field == "record_calls":
            return "recorded" if value else "not recorded"
        if field == "requirement_group_id" and value:
            return self.register.name_of(value)
        return str(value) if value not in (None, "") else "none"
