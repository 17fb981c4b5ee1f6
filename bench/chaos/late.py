"""Purchases that the provider carries out long after the call, when a person has already ordered another try.

The first call gets no answer. For `LATE` seconds every whole list shows, correctly, that the number is not owned. A
person orders another try. Then the provider carries out the first call, just before the second one, which gets 'no
longer available'. That must not be taken for 'not bought'.
"""

import time
from datetime import datetime

LATE = 24  # seconds: longer than a call may last, the window, and the reads after it
AHEAD = 1.8  # seconds between 'Try again' and the execution of the first call
SECOND_WAITS = 2.2  # seconds that the second call has to wait: less than a call may last


class Late:
    """Some numbers of the plan, each with a fault that is set before all others."""

    def __init__(self, campaign, numbers):
        self.provider = campaign.provider
        for number in numbers:
            self.provider.set_fault(kind="buys_late", seconds=LATE, times=1, phone_number=number)
        self.numbers = set(numbers)
        self.second_tries = set()

    def bought_at(self, phone_number):
        """When the provider carries out the first call, in seconds by this machine's clock, or None."""
        if phone_number in self.numbers:
            for row in list(self.provider.purchase_calls.values()):
                if row["phone_number"] == phone_number and row["fault"] == "buys_late":
                    return datetime.fromisoformat(row["time"]).timestamp() + LATE
        return None

    def is_too_early(self, phone_number):
        """Whether a person should still wait, to decide just before the number is bought."""
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
