"""Filters that turn records into what people read."""

from datetime import UTC

from django import template
from django.utils.html import format_html

from purchasing import words
from purchasing.states import NumberType, State

register = template.Library()
register.filter("phone", words.phone)
register.filter("money", words.money)
register.filter("plain", words.plain)
register.filter("remaining", words.remaining)
register.filter("sums", words.sums)
register.filter("at_least", words.at_least)
register.filter("at_most", words.at_most)
register.filter("numbers", words.numbers)
register.filter("ago", words.ago)
register.filter("grouped", words.grouped)
register.filter("who", words.who)
register.filter("in_place_of", words.in_place_of)
register.filter("sentence", lambda event: words.sentence(event))


register.filter("country", words.country)


@register.filter
def paper_kind(entry):
    """The numbers that an entry of the register speaks of."""
    return words.kind_of_numbers(entry.country_code, entry.number_type)


@register.filter
def outcome(attempt):
    """What an attempt came to, in words."""
    return words.OUTCOMES[attempt.outcome]


@register.filter
def type_name(number_type):
    """The type of a number in words: 'Toll-free'."""
    return NumberType(number_type).label if number_type in NumberType.values else "type not known"


@register.filter
def badge(state, count=None):
    """A state as its badge, with how many are in it where that is given."""
    label = State(state).label if count is None else f"{count} {State(state).label}"
    return format_html('<span class="badge {}">{}</span>', state, label)


@register.filter
def state_badge(value):
    """What a purchase was or became as its badge; other texts as they are."""
    return badge(value) if value in State.values else value


@register.filter
def utc_micro(at):
    """A time in UTC to the microsecond, as it is hashed."""
    return f"{at.astimezone(UTC).isoformat(timespec='microseconds')}"
