"""The rows of the audit table, rendered directly: a template would take most of the time of the page."""

from html import escape

from django import template
from django.urls import reverse
from django.utils.safestring import mark_safe

register = template.Library()


@register.simple_tag
def audit_rows(rows):
    """All rows of a page, from `desk.rows_of`."""
    audit = reverse("purchasing:audit")
    purchases = reverse("purchasing:purchase", args=[0]).removesuffix("0/")
    requests = reverse("purchasing:requests")
    return mark_safe("".join([_row(row, audit, purchases, requests) for row in rows]))


def _row(row, audit, purchases, requests):
    """One row. Every text goes through `escape`; the rest is whole numbers and fixed markup."""
    who, what = escape(row.who), escape(row.sentence)
    if row.stands_in_for:
        who += f", standing in for {escape(row.stands_in_for)}"
    if row.role:
        who += f' <span class="muted small">{escape(row.role)}</span>'
    if row.state:
        what = f'<span class="badge {escape(row.state)}">{escape(row.label)}</span> {what}'
    if row.note:
        what += _note(escape(row.note))
    if row.has_answer:
        what += _note(f'<a href="{audit}{row.seq:d}/#answer">Call and raw answer</a>')
    number = request = ""
    if row.purchase:
        number = f'<a class="phone-number" href="{purchases}{row.purchase:d}/story/">{escape(row.number)}</a>'
    if row.request:
        request = f'<a class="nowrap" href="{requests}{row.request:d}/">Request {row.request:d}</a>'
    return f"""
        <tr id="event-{row.seq:d}"><th scope="row"><a href="{audit}{row.seq:d}/">{row.seq:d}</a></th>
        <td data-label="When"><time datetime="{escape(row.at)}">{escape(row.when)}</time></td>
        <td data-label="Who">{who}</td>
        <td data-label="What">{what}</td>
        <td data-label="Number">{number}</td>
        <td data-label="Request">{request}</td>
        <td data-label="Team">{escape(row.team)}</td></tr>"""


def _note(markup):
    return f' <span class="note">{markup}</span>'


@register.simple_tag
def options(values):
    """The suggestions that a browser shows while somebody types."""
    return mark_safe("".join([f'<option value="{escape(value)}"></option>' for value in values]))
