"""How long buying takes at the plan, said before a request is sent."""

import pytest

from purchasing.asking import buying_time
from purchasing.models import Credential
from purchasing.provider import pauses
from tests import factories
from tests.views.access import words

pytestmark = pytest.mark.django_db


def numbers(count, number_type="local"):
    return [factories.line(f"+1212555{place:04d}", number_type=number_type) for place in range(count)]


@pytest.mark.parametrize(
    "rate, count, unrecorded, said",
    [
        (60, 100, 0, "about 2 minutes for 100 numbers at 60 calls a minute"),
        (60, 100, 100, "about 4 minutes for 100 numbers at 60 calls a minute"),
        (60, 100, 50, "about 3 minutes for 100 numbers at 60 calls a minute"),
        (300, 100, 0, "less than a minute for 100 numbers at 300 calls a minute"),
        (60, 50, 0, "about a minute for 50 numbers at 60 calls a minute"),
        (60, 1, 0, "less than a minute for 1 number at 60 calls a minute"),
        (12, 100, 0, "about 13 minutes for 100 numbers at 12 calls a minute"),
        (6000, 100, 0, "less than a minute for 100 numbers at 6,000 calls a minute"),
    ],
)
def test_is_said_in_words(team, rate, count, unrecorded, said):
    key = pauses.current_key(team)
    key.credential.rate_per_minute = rate
    assert buying_time.in_words(key, numbers(count), unrecorded) == said


def test_one_hundred_numbers_of_one_kind_take_less_than_130_seconds_on_the_smallest_plan():
    assert 100 < buying_time.seconds(60, numbers(100), 0) < 130


def test_a_type_that_is_not_known_is_looked_for_in_four_lists():
    known, unknown = (buying_time.seconds(60, numbers(100, kind), 0) for kind in ("local", ""))
    assert unknown > known + 10


def test_nothing_is_said_without_a_key_or_a_number(team):
    assert buying_time.in_words(None, numbers(3), 0) == ""
    assert buying_time.in_words(pauses.current_key(team), [], 0) == ""


def test_stands_on_the_form_with_the_choice_not_to_record(client, team, sam):
    Credential.objects.update(rate_per_minute=60)
    draft = factories.draft(sam, [f"+121255501{place:02d}" for place in range(60)], number_type="local")
    client.force_login(sam)
    text = words(client.get(f"/requests/new/?draft={draft.pk}"))
    assert "Buying then takes about a minute for 60 numbers at 60 calls a minute, or about 2 minutes" in text
    assert "if no calls are recorded." in text
