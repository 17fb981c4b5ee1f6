"""Faults at the provider: gusts of faults of all kinds, drawn from shuffled decks."""

import itertools

CONNECTION = [
    {"kind": "hang_before"},
    {"kind": "hang_after"},
    {"kind": "close_before"},
    {"kind": "close_after"},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "slow_before", "seconds": 1},
    {"kind": "slow_after", "seconds": 1},
    {"kind": "drip_head", "seconds": 0.05},
    {"kind": "drip_body", "seconds": 0.05},
    {"kind": "head_cut"},
    {"kind": "status_before", "status": 500},
    {"kind": "status_before", "status": 503},
    {"kind": "body_empty"},
    {"kind": "body_truncated"},
    {"kind": "body_unmeasured"},
    {"kind": "body_not_json"},
    {"kind": "body_huge", "megabytes": 10},
    {"kind": "body_gzip"},
    {"kind": "body_no_id"},
    {"kind": "body_text_id"},
]
PURCHASE = [
    *CONNECTION,
    {"kind": "slow_before", "seconds": 4},
    {"kind": "slow_after", "seconds": 4},
    {"kind": "buys_late", "seconds": 2},
    {"kind": "buys_late", "seconds": 5},
    {"kind": "refuse", "seconds": 1, "times": 1},
    *({"kind": "status_before", "status": status} for status in (200, 202, 204, 408, 409, 418, 502, 504)),
    *({"kind": "status_after", "status": status} for status in (200, 202, 204, 409, 500, 502, 503, 504)),
    {"kind": "unauthorized", "times": 1},
    {"kind": "forbidden", "times": 1},
    {"kind": "rate_limited", "retry_after": "seconds", "seconds": 1},
    {"kind": "rate_limited", "retry_after": "date", "seconds": 2},
    {"kind": "rate_limited", "retry_after": "none", "times": 1},
    {"kind": "rate_limited", "retry_after": "nonsense", "times": 1},
    {"kind": "rate_limited", "retry_after": "huge", "times": 1},
    *(
        {"kind": "redirect_" + phase, "status": status, "location": location}
        for phase, status, location in itertools.product(
            ("before", "after"), (302, 307, 308), ("self", "other")
        )
    ),
    *(
        {"kind": "declined", "form": form, "status": status}
        for form, status in [
            ("error", 422),
            ("errors", 422),
            ("html", 422),
            ("empty", 422),
            ("huge", 422),
            ("shapeless", 422),
            ("object", 422),
            ("html", 404),
            ("error", 404),
            ("empty", 400),
        ]
    ),
    {"kind": "body_wrong_number"},
    {"kind": "body_field", "field": "id"},
    {"kind": "body_field", "field": "id", "value": -7},
    {"kind": "body_field", "field": "phone_number"},
]
LIST = [
    *({**fault, "endpoint": "list"} for fault in CONNECTION),
    {"kind": "list_lag", "seconds": 3},
    {"kind": "list_lag", "seconds": 5},
    {"kind": "list_empty"},
    {"kind": "list_half"},
    {"kind": "list_half", "times": 4},
    {"kind": "list_garbage"},
    {"kind": "list_paged"},
    {"kind": "rate_limited", "endpoint": "list", "seconds": 1, "times": 1},
    {"kind": "unauthorized", "endpoint": "list", "times": 1},
    {"kind": "redirect_before", "endpoint": "list"},
]
AVAILABLE = [
    *({**fault, "endpoint": "available"} for fault in CONNECTION if "id" not in fault["kind"]),
    {"kind": "offers_empty"},
    {"kind": "offers_half"},
    {"kind": "offers_garbage"},
    {"kind": "offers_missing"},
    {"kind": "offers_missing", "field": "monthly_cost"},
    {"kind": "offers_null"},
    {"kind": "offers_odd"},
    {"kind": "offers_extra"},
    {"kind": "offers_cost", "value": "NaN"},
    {"kind": "offers_cost", "value": "1e400"},
    {"kind": "offers_cost", "value": "1,00"},
    {"kind": "offers_cost", "value": "-1.00"},
    {"kind": "list_paged", "endpoint": "available"},
]
LATER = [  # reading the number back, and switching what was asked for
    *({**fault, "endpoint": endpoint} for fault in CONNECTION for endpoint in ("get", "patch")),
    {"kind": "body_wrong_number", "endpoint": "get"},
    {"kind": "body_field", "endpoint": "get", "field": "recording", "value": "no"},
    {"kind": "declined", "endpoint": "patch"},
    {"kind": "rate_limited", "endpoint": "patch", "seconds": 1},
]
# Not drawn: a provider that buys and then explicitly denies it (status_after with an error-shaped 400, 404 or 422, a
# 401, 403 or 429). No client can detect that.


class Deck:
    """Cards in random order, reshuffled after the last one, so that every kind occurs."""

    def __init__(self, chance, cards):
        self._chance, self._cards, self._left = chance, cards, []

    def draw(self):
        if not self._left:
            self._left = self._chance.sample(self._cards, len(self._cards))
        return self._left.pop()


def missing_kinds(kinds):
    """The provider's kinds of fault that no deck contains; there should be none."""
    return set(kinds) - {fault["kind"] for fault in (*PURCHASE, *LIST, *AVAILABLE, *LATER)}


class Weather:
    """Gusts and calms until the end is signalled. Some answers contain an API key, as if the provider echoed it."""

    def __init__(self, campaign):
        self.campaign = campaign
        self.chance = campaign.chance("weather")
        self.decks = [
            # deck, how often it blows, which share of the calls it hits, how often at most
            (Deck(self.chance, PURCHASE), 1.0, 0.6, 4),
            (Deck(self.chance, PURCHASE), 0.7, 0.6, 4),
            (Deck(self.chance, LIST), 0.35, 0.7, 2),
            (Deck(self.chance, AVAILABLE), 0.35, 0.7, 2),
            (Deck(self.chance, LATER), 0.5, 0.7, 3),
        ]

    def run(self):
        while not self.campaign.storm_over.is_set():
            faults = [self.campaign.provider.set_fault(**fault) for fault in self._gust()]
            self.campaign.storm_over.wait(self.chance.uniform(0.8, 2))
            for fault in faults:
                self.campaign.provider.clear_fault(fault)
            self.campaign.storm_over.wait(self.chance.uniform(0.2, 1))

    def _gust(self):
        for deck, often, share, most in self.decks:
            fault = {"probability": share, "times": most, "seed": self.chance.randrange(10**6), **deck.draw()}
            if fault["kind"] in ("declined", "status_before", "body_not_json") and self.chance.random() < 0.5:
                fault["text"] = f"No. Authorization: Bearer {self.chance.choice(self.campaign.desk.secrets)}"
            if self.chance.random() < often:
                yield fault
