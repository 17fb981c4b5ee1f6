"""The numbers on offer: generated on first use, the same for the same seed."""

import random
import threading
from dataclasses import dataclass

import phonenumbers
from phonenumbers import PhoneNumberType

from sandbox import practice
from sandbox.plans import PLANS

PLAIN_NUMBERS = 20  # in each list, before its practice numbers
MANY = {("US", "local"): 25}  # times as many: a long list to practise searching
SEED = 1

TYPES = {
    "mobile": {PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE},
    "local": {PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE},
    "toll-free": {PhoneNumberType.TOLL_FREE},
    "national": {PhoneNumberType.UAN, PhoneNumberType.VOIP, PhoneNumberType.SHARED_COST},
}
NORTH_AMERICA = {"US", "CA"}


@dataclass(frozen=True)
class Offer:
    """One number on offer. Costs are cents of a currency that the provider never names."""

    phone_number: str
    country_code: str
    country: str
    number_type: str
    city: str
    state: str
    upfront_cents: int
    monthly_cents: int

    def entry(self, *, tenths=0):
        """The offer as the search shows it (VN-AVAIL), with costs higher by `tenths`."""
        places = [("country", self.country), ("state", self.state), ("city", self.city)]
        return {
            "phone_number": self.phone_number,
            "country_code": self.country_code,
            "number_type": self.number_type,
            "upfront_cost": _decimal(self.upfront_cents * (10 + tenths) // 10),
            "monthly_cost": _decimal(self.monthly_cents * (10 + tenths) // 10),
            "features": _features(self.country_code, self.number_type),
            "region_information": [
                {"region_type": kind, "region_name": name} for kind, name in places if name
            ],
        }


class Inventory:
    """Every number that was ever on offer. `sandbox.state` knows which are sold and which costs changed."""

    def __init__(self, seed=SEED, plain_numbers=PLAIN_NUMBERS):
        self.seed = seed
        self.plain_numbers = plain_numbers
        self._lists = {}
        self._by_number = {}
        self._lock = threading.Lock()

    def offers(self, country_code, number_type):
        """The offers of one country and type, in a fixed order; empty if there is no such plan."""
        plan = PLANS.get((country_code, number_type))
        if plan is None:
            return ()
        with self._lock:
            if plan not in self._lists:
                offers = tuple(_generate(plan, seed=self.seed, plain_numbers=self.plain_numbers))
                self._lists[plan] = offers
                self._by_number |= {offer.phone_number: offer for offer in offers}
            return self._lists[plan]

    def find(self, phone_number):
        """The offer of exactly this number, or None."""
        for plan in PLANS.values():
            starts = tuple(f"+{plan.calling_code}{area.prefix}" for area in plan.areas)
            if phone_number.startswith(starts):
                self.offers(plan.country_code, plan.number_type)
        return self._by_number.get(phone_number)


def _generate(plan, *, seed, plain_numbers):
    chance = random.Random(f"{seed}/{plan.country_code}/{plan.number_type}")
    made = set()
    count = plain_numbers * MANY.get((plan.country_code, plan.number_type), 1)
    endings = [None] * count + list(practice.BY_ENDING)
    for ending in endings:
        area = plan.areas[len(made) % len(plan.areas)]
        phone_number = _draw(plan, area, ending, chance=chance, made=made)
        made.add(phone_number)
        times = chance.choice((1, 1, 1, 2))  # one in four costs twice as much
        yield Offer(
            phone_number=phone_number,
            country_code=plan.country_code,
            country=plan.country,
            number_type=plan.number_type,
            city=area.city,
            state=area.state,
            upfront_cents=plan.monthly_cents * times,
            monthly_cents=plan.monthly_cents * times,
        )


def _draw(plan, area, ending, *, chance, made):
    """Draw digits until the number is valid in the numbering plan; most draws are."""
    while True:
        count = plan.digits - len(area.prefix) - len(ending or "")
        digits = "".join(chance.choice("0123456789") for _ in range(count)) + (ending or "")
        if ending is None and digits[-3:-1] == practice.RESERVED:
            continue
        phone_number = f"+{plan.calling_code}{area.prefix}{digits}"
        parsed = phonenumbers.parse(phone_number)
        if (
            phone_number not in made
            and phonenumbers.is_valid_number(parsed)
            and phonenumbers.region_code_for_number(parsed) == plan.country_code
            and phonenumbers.number_type(parsed) in TYPES[plan.number_type]
        ):
            return phone_number


def _features(country_code, number_type):
    if number_type in {"mobile", "local"} and country_code in NORTH_AMERICA:
        return ["sms", "voice", "mms"]
    if number_type == "mobile" or country_code in NORTH_AMERICA:
        return ["sms", "voice"]
    return ["voice"]


def _decimal(cents):
    return f"{cents // 100}.{cents % 100:02}"
