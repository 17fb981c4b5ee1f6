"""What a team has committed, and what is left of its monthly budget. Sums are exact decimals, in CURRENCY."""

from dataclasses import dataclass
from decimal import Decimal

from django.utils import timezone

from purchasing import clock
from purchasing.models import Purchase, RentedNumber
from purchasing.states import State

COMMITTED_STATES = (State.APPROVED, State.PURCHASING, State.UNCONFIRMED, State.HELD, State.GIVEN_UP)


@dataclass(frozen=True)
class Budget:
    """A team's money this month. `amount` is None where the team has no budget; `left` may be negative."""

    amount: Decimal | None
    hard: bool
    committed: Decimal
    pending: Decimal

    @property
    def left(self):
        """What may still be committed, or None without a budget."""
        return None if self.amount is None else self.amount - self.committed


def of(team):
    """The current budget of `team`."""
    purchases = Purchase.objects.filter(request__team=team)
    return Budget(
        amount=team.monthly_budget,
        hard=team.budget_is_hard,
        committed=committed(purchases) + kept(team),
        pending=_sum(purchases.filter(state=State.PENDING).values_list("upfront_cost", "monthly_cost")),
    )


def committed(purchases):
    """The committed spend of these purchases.

    The sum of: upfront and monthly costs of all that is approved, being bought, in doubt, held or given up; upfront
    costs of what was bought in this calendar month (in `TIME_ZONE`); monthly costs of every rented number.
    """
    reserved = purchases.filter(state__in=COMMITTED_STATES).values_list("upfront_cost", "monthly_cost")
    bought = purchases.filter(state=State.PURCHASED)
    this_month = bought.filter(purchased_at__gte=month_begin()).values_list("upfront_cost")
    rented = bought.filter(released_at__isnull=True).values_list("monthly_cost")
    return _sum(reserved) + _sum(this_month) + _sum(rented)


def kept(team):
    """The monthly costs, where they were stated, of the numbers that a team keeps and that no purchase explains."""
    rows = RentedNumber.objects.filter(team=team, kept=True, ended_at=None)
    return _sum(rows.values_list("monthly_cost"))


def month_begin():
    """The first moment of this calendar month, in `TIME_ZONE`."""
    local = timezone.localtime(clock.now())
    return local.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _sum(rows):
    # Summed in Python, because SQLite adds decimals as floats.
    return sum((cost for row in rows for cost in row if cost is not None), Decimal(0))
