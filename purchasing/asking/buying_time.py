"""How long buying takes at the plan of a team's key, for the form of a request."""

from collections.abc import Sequence

from purchasing import words
from purchasing.models import ApiKey
from purchasing.provider import offers, turns

LOOK_SERVES = 52  # seconds for which one look at a list serves all purchases


def in_words(key: ApiKey | None, numbers: Sequence[offers.Listed], unrecorded: int) -> str:
    """Such as 'about 2 minutes for 100 numbers at 60 calls a minute'; '' without a key or a number.

    The calls of `unrecorded` of these numbers are not to be recorded.
    """
    if key is None or not numbers:
        return ""
    rate = key.credential.rate
    shown = f"{_about(seconds(rate, numbers, unrecorded))} for {words.numbers(len(numbers))}"
    return f"{shown} at {rate:,} calls a minute"


def seconds(rate: int, numbers: Sequence[offers.Listed], unrecorded: int) -> float:
    """How long the worker takes for these numbers at `rate` calls a minute, if nothing else uses the key.

    Each number is one call, and one more where recording is switched off after it. The owned list, and each list of
    offers that the numbers are in, is looked at first, and those of the number at hand again after `LOOK_SERVES`.
    """
    pace = turns.Pace(rate)
    places = [offers.places_of(number) for number in numbers]
    first = len({place for those in places for place in those}) + 1
    again = max(map(len, places)) + 1
    calls = len(numbers) + unrecorded + first - again / 2
    a_second = max(0.1 * pace.spread / 60, pace.spread / 60 - again / LOOK_SERVES)
    return max(0.0, calls - pace.burst) / a_second


def _about(taken: float) -> str:
    if taken < 45:
        return "less than a minute"
    minutes = max(1, round(taken / 60))
    return "about a minute" if minutes == 1 else f"about {minutes} minutes"
