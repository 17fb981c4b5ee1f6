"""Filters that turn records into readable text."""

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
    """The numbers that an entry of the register applies to."""
    return words.kind_of_numbers(entry.country_code, entry.number_type)


@register.filter
def outcome(attempt):
    """The outcome of an attempt, in words."""
    return words.OUTCOMES[attempt.outcome]


@register.filter
def type_name(number_type):
    """The type of a number in words: 'Toll-free'."""
    return NumberType(number_type).label if number_type in NumberType.values else "type not known"


@register.filter
def badge(state, count=None):
    """The badge of a state, with a count where one is given."""
    label = State(state).label if count is None else f"{count} {State(state).label}"
    return format_html('<span class="badge {}">{}</span>', state, label)


@register.filter
def state_badge(value):
    """The badge of a state; any other text unchanged."""
    return badge(value) if value in State.values else value


@register.filter
def utc_micro(at):
    """A time in UTC to the microsecond, as the audit chain hashes it."""
    return f"{at.astimezone(UTC).isoformat(timespec='microseconds')}"
