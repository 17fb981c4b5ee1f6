"""Purchases that the provider carries out long after it was asked, when a person has ordered another try already.

The first call is silent; every whole list for `LATE` seconds says, truly, that the number is not owned; a person orders
another try; then the first call is carried out after all, just before the second one, which is told 'no longer
available'. Nobody may take that for 'not bought'.
"""

import time
from datetime import datetime

LATE = 24  # seconds: longer than a call may last, the window, and the reads after it
AHEAD = 1.8  # seconds before the first call is carried out at which the person presses 'Try again'
SECOND_WAITS = 2.2  # seconds that the second call is kept waiting: shorter than a call may last


class Late:
    """Some numbers of the plan, with a fault each that is set before all others."""

    def __init__(self, campaign, numbers):
        self.provider = campaign.provider
        for number in numbers:
            self.provider.set_fault(kind="buys_late", seconds=LATE, times=1, phone_number=number)
        self.numbers = set(numbers)
        self.second_tries = set()

    def bought_at(self, phone_number):
        """When the provider carries the first call out, in seconds of this machine's clock, or None."""
        if phone_number in self.numbers:
            for row in list(self.provider.purchase_calls.values()):
                if row["phone_number"] == phone_number and row["fault"] == "buys_late":
                    return datetime.fromisoformat(row["time"]).timestamp() + LATE
        return None

    def is_too_early(self, phone_number):
        """Whether a person should still wait with their decision, for the moment just before it is bought."""
        bought_at = self.bought_at(phone_number)
        return bought_at is not None and time.time() < bought_at - AHEAD

    def before_second_try(self, phone_number):
        """Keep the second call waiting until the first one is carried out."""
        bought_at = self.bought_at(phone_number)
        if bought_at is not None and time.time() < bought_at:
            self.provider.set_fault(
                kind="slow_before", seconds=SECOND_WAITS, times=1, phone_number=phone_number
            )
            self.second_tries.add(phone_number)
