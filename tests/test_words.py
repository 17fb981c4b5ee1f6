"""Words and sentences: events, sums of money, phone numbers, times."""

import ast
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.template import Context, Template
from django.utils import timezone

from purchasing import audit, words, workflow
from purchasing.approving import approvals
from purchasing.models import AuditEvent
from purchasing.selectors import figures
from purchasing.states import NEXT, SENT, Outcome, State
from tests import factories


class TestMoney:
    @pytest.mark.parametrize(
        "cost, expected",
        [
            (None, "not known"),
            (Decimal(0), "0.00 USD"),
            (Decimal("1.5"), "1.50 USD"),
            (Decimal("2.0000"), "2.00 USD"),
            (Decimal("0.0075"), "0.0075 USD"),
            (Decimal("1E+3"), "1000.00 USD"),
            (Decimal("999999.9999"), "999999.9999 USD"),
        ],
    )
    def test_has_two_to_four_places_and_never_0_for_the_unknown(self, cost, expected):
        assert words.money(cost) == expected

    def test_sums_in_one_line_mention_unknown_prices(self):
        known = factories.line("+1", upfront_cost=Decimal(1), monthly_cost=Decimal(2))
        unknown = factories.line("+1", upfront_cost=None, monthly_cost=None)
        sums = [words.sums(figures(lines)) for lines in ([known], [known, unknown], [unknown])]
        assert sums == [
            "1.00 USD once and 2.00 USD a month",
            "at least 1.00 USD once and 2.00 USD a month; 1 number of unknown price",
            "price not known",
        ]

    @pytest.mark.parametrize(
        "left, expected", [("3", "3.00 USD"), ("0", "0.00 USD"), ("-7.2", "already 7.20 USD over")]
    )
    def test_a_remaining_budget_is_never_a_negative_sum(self, left, expected):
        assert words.remaining(Decimal(left)) == expected

    def test_names_are_listed_as_in_a_sentence(self):
        assert [words.listed(names.split()) for names in ("ana", "ana eve", "ana bob eve")] == [
            "ana",
            "ana and eve",
            "ana, bob and eve",
        ]

    @pytest.mark.parametrize(
        "costs, first, after",
        [
            ([], "0.00 USD", "0.00 USD"),
            ([(1, 2)], "3.00 USD", "2.00 USD"),
            ([(None, None)], "not known", "not known"),
            ([(1, 2), (None, None)], "at least 3.00 USD", "at least 2.00 USD"),
            ([(1, None)], "at least 1.00 USD", "not known"),
            ([(0, 0)], "0.00 USD", "0.00 USD"),
        ],
    )
    def test_sums_mention_unknown_prices(self, costs, first, after):
        lines = [factories.line("+1", upfront_cost=_decimal(a), monthly_cost=_decimal(b)) for a, b in costs]
        template = Template("{% include 'purchasing/partials/figures.html' %}")
        page = template.render(Context({"figures": figures(lines)}))
        assert f'<dd class="money">{first}</dd>' in page
        assert f'<dd class="money">{after}</dd>' in page


def _decimal(number):
    return None if number is None else Decimal(number)


class TestPhoneNumbers:
    @pytest.mark.parametrize(
        "number, expected",
        [
            ("+442079460018", "+44 20 7946 0018"),
            ("+15551234567", "+1 555-123-4567"),
            ("", ""),
            ("x", "x"),
            ("+", "+"),
        ],
    )
    def test_are_grouped_as_people_read_them(self, number, expected):
        assert words.phone(number) == expected


class TestTime:
    @pytest.mark.parametrize(
        "age, expected",
        [
            (-60, "just now"),
            (0, "just now"),
            (59, "just now"),
            (61, "1\xa0minute ago"),
            (3 * 86400, "3\xa0days ago"),
        ],
    )
    def test_is_described_relative_to_now(self, age, expected):
        assert words.ago(timezone.now() - timedelta(seconds=age)) == expected


class TestSentences:
    def event(self, action, **fields):
        return AuditEvent(action=action, phone_number="+442079460018", **{"data": {}} | fields)

    @pytest.mark.parametrize("action", words.EVENTS)
    def test_every_action_has_one_without_missing_data(self, action):
        names = set(re.findall(r"{(\w+)}", words.EVENTS[action])) - {"number", "team"}
        data = dict.fromkeys(names, "1234")
        sentence = words.sentence(self.event(action, data=data))
        assert sentence and "{" not in sentence and "?" not in sentence

    @pytest.mark.parametrize("state", [*State])
    def test_every_move_has_one(self, state):
        assert f"purchase.{state}" in words.EVENTS

    def test_queued_again_is_not_described_as_an_approval_by_a_person(self):
        sentence = words.sentence(self.event("purchase.approved", was=State.PURCHASING))
        assert sentence == "+44 20 7946 0018 was not bought; it is queued again"
        assert (
            words.sentence(self.event("purchase.approved", was=State.HELD))
            == "approved +44 20 7946 0018 again"
        )
        assert (
            words.sentence(self.event("purchase.approved", was=State.PENDING)) == "approved +44 20 7946 0018"
        )

    @pytest.mark.parametrize(
        "action, was, expected",
        [
            ("purchase.approved", State.PENDING, "approved +44 20 7946 0018, beyond the budget"),
            ("purchase.approved", State.HELD, "approved +44 20 7946 0018 again, beyond the budget"),
            (
                "purchase.approved_first",
                "",
                "gave +44 20 7946 0018 its first approval, beyond the budget; a second approver has to approve it too",
            ),
        ],
    )
    def test_approvals_beyond_a_soft_budget_say_so(self, action, was, expected):
        assert words.sentence(self.event(action, was=was, data={"over_budget": True})) == expected
        assert "budget" not in words.sentence(self.event(action, was=was))

    def test_a_stand_in_is_named_with_the_person_they_stand_in_for(self):
        assert words.who(self.event("purchase.approved", actor_name="bob")) == "bob"
        by_both = self.event("purchase.approved", actor_name="bob", on_behalf_of="ana")
        assert words.who(by_both) == "bob, standing in for ana"

    def test_an_action_that_is_new_is_still_readable(self):
        assert words.sentence(self.event("purchase.put_aside")) == "purchase put aside"

    def test_braces_in_the_data_stay_text(self):
        sentence = words.sentence(self.event("member.added", data={"member": "{team.keys}", "role": "{0}"}))
        assert sentence == "added {team.keys} as {0}"

    @pytest.mark.django_db
    def test_one_click_on_several_numbers_is_one_line(self, team, sam, ana):
        asked = factories.request(team, sam, ["+12125550101", "+12125550102"])
        factories.approve(asked, ana)
        sentences = [entry.sentence for entry in words.grouped(asked.events.order_by("-seq"))]
        assert sentences == ["approved 2 numbers", "requested 2 numbers", "sent this request"]

    @pytest.mark.django_db
    def test_two_clicks_are_two_lines(self, team, sam, ana):
        asked = factories.request(team, sam, ["+12125550101", "+12125550102"])
        for purchase in asked.purchases.all():
            approvals.approve(asked.pk, [purchase.pk], approver=factories.actor(ana), version=1)
        sentences = [entry.sentence for entry in words.grouped(asked.events.order_by("-seq"))]
        assert sentences[:2] == ["approved +1 212-555-0102", "approved +1 212-555-0101"]

    @pytest.mark.django_db
    def test_what_the_system_does_is_described_number_by_number(self, team, sam):
        asked = factories.request(team, sam, ["+12125550101", "+12125550102"])
        for purchase in asked.purchases.order_by("pk"):
            audit.record("purchase.price_changed", actor=audit.WORKER, purchase=purchase)
        sentences = [entry.sentence for entry in words.grouped(asked.events.order_by("-seq"))]
        assert sentences[:2] == [
            "the price of +1 212-555-0102 changed",
            "the price of +1 212-555-0101 changed",
        ]


class TestCoverage:
    def test_every_action_that_is_recorded_has_words(self):
        recorded = set()
        for path in (Path(words.__file__).parent).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("record") and node.args:
                    texts = [getattr(part, "value", "") for part in ast.walk(node.args[0])]
                    recorded |= {text for text in texts if re.fullmatch(r"[a-z_]+\.[a-z_]+", str(text))}
        assert len(recorded) > 50
        assert recorded <= set(words.EVENTS)

    @pytest.mark.parametrize("outcome", Outcome)
    def test_every_outcome_of_a_call_has_words(self, outcome):
        assert words.OUTCOMES[outcome].endswith(".")

    @pytest.mark.parametrize("outcome", sorted(SENT))
    def test_no_outcome_of_a_sent_call_says_that_nothing_was_bought(self, outcome):
        """The answer may be a lie, and the words stand on the page of a number that was bought all the same."""
        assert "nothing was bought" not in words.OUTCOMES[outcome]

    @pytest.mark.parametrize("state", [*NEXT, *State])
    def test_what_somebody_else_did_has_words(self, state):
        assert "{number}" in workflow._HAPPENED[State(state)]

    @pytest.mark.parametrize("count, expected", [(0, "0 numbers"), (1, "1 number"), (3, "3 numbers")])
    def test_counts(self, count, expected):
        assert words.numbers(count) == expected
