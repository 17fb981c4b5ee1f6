"""What a request held before it was changed, and what is different now, in words."""

from purchasing import words
from purchasing.models import RequestVersion
from purchasing.states import State

LABELS = {
    "name": "name",
    "number_type": "type",
    "requirement_group_id": "requirement group",
    "record_calls": "recording",
    "upfront_cost": "cost once",
    "monthly_cost": "cost a month",
}


def before(asked, version):
    """A request as it stood in an older `version`; None where nothing is kept of it, as of the newest."""
    return RequestVersion.objects.filter(request=asked, version=version).first()


def since(asked, version):
    """What changed in a request since its `version`, a sentence each."""
    old = RequestVersion.objects.filter(request=asked, version__gte=version).order_by("version").first()
    if old is None:
        return []
    sentences = []
    if old.reason != asked.reason:
        sentences.append(f"The reason was: {old.reason}")
    now = {purchase.phone_number: purchase for purchase in asked.purchases.all()}
    for line in old.lines:
        purchase = now.get(line["phone_number"])
        if purchase is not None:
            sentences += _differences(line, purchase)
    return sentences


def _differences(line, purchase):
    number = words.phone(purchase.phone_number)
    if purchase.state != State.PENDING:
        return [f"{number} is now: {State(purchase.state).label}."]
    return [
        f"{number}: {label} was {_shown(field, line.get(field))}, is {_shown(field, getattr(purchase, field))}."
        for field, label in LABELS.items()
        if _shown(field, line.get(field)) != _shown(field, getattr(purchase, field))
    ]


def _shown(field, value):
    if field in ("upfront_cost", "monthly_cost"):
        return words.money(value)
    if field == "record_calls":
        return "recorded" if value else "not recorded"
    return str(value) if value not in (None, "") else "none"
