"""The filter of the auditors' desk: turns an address, or the options of a command, into a `Filter`."""

import re
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from django import forms
from django.forms.utils import flatatt
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import mark_safe

from purchasing import audit, words
from purchasing.audit import search_terms
from purchasing.audit.search import Filter
from purchasing.states import State
from purchasing.views.forms.fields import OneLine

NAMES = ("q", "number", "person", "action", "outcome", "team", "request", "since", "until", "click")
DAY = {"invalid": "A day, such as 2026-05-31."}
MOST_WORDS = 8
SELECTED = mark_safe(" selected")


class QuickSelect(forms.Select):
    """A select rendered directly: Django renders two templates per option, which takes most of the time of the page."""

    def render(self, name, value, attrs=None, renderer=None):
        attributes = flatatt(self.build_attrs(self.attrs, {**(attrs or {}), "name": name}))
        return format_html("<select{}>{}</select>", attributes, _options(_frozen(self.choices), value or ""))


def _frozen(choices):
    return tuple((one, tuple(two) if isinstance(two, list | tuple) else two) for one, two in choices)


@lru_cache(maxsize=500)
def _options(choices, value):
    lines = [
        format_html('<optgroup label="{}">{}</optgroup>', one, _options(two, value))
        if isinstance(two, tuple)
        else format_html('<option value="{}"{}>{}</option>', one, SELECTED if one == value else "", two)
        for one, two in choices
    ]
    return mark_safe("".join(lines))  # each was escaped above


class DayField(forms.DateField):
    """A day as browsers send it, from 2000 to 2200."""

    widget = forms.DateInput(attrs={"type": "date", "class": "short"}, format="%Y-%m-%d")

    def __init__(self, **options):
        super().__init__(required=False, input_formats=["%Y-%m-%d"], error_messages=DAY, **options)

    def clean(self, value):
        day = super().clean(value)
        if day and not 2000 <= day.year <= 2200:
            raise forms.ValidationError(DAY["invalid"])
        return day


class FilterForm(forms.Form):
    """The filter of the events. An empty field matches everything; an event has to match all others."""

    q = OneLine(
        label="Search reasons and names",
        required=False,
        max_length=200,
        help_text="Words or their beginnings, such as “berl desk”.",
        widget=forms.TextInput(attrs={"type": "search"}),
    )
    number = OneLine(
        label="Phone number",
        required=False,
        max_length=40,
        help_text="Any part of it: three digits or more, or its beginning with +.",
        widget=forms.TextInput(attrs={"type": "search", "inputmode": "tel"}),
    )
    person = OneLine(
        label="Who",
        required=False,
        max_length=150,
        help_text="A user name, or worker, sweep, command line.",
        widget=forms.TextInput(attrs={"list": "people", "autocomplete": "off", "autocapitalize": "none"}),
    )
    action = forms.ChoiceField(label="What", required=False, widget=QuickSelect)
    outcome = forms.ChoiceField(
        label="Outcome",
        required=False,
        widget=QuickSelect,
        choices=[("", "Any"), *State.choices],
        help_text="What a number became.",
    )
    team = OneLine(label="Team", required=False, max_length=110, widget=QuickSelect)
    request = forms.IntegerField(
        label="Request",
        required=False,
        min_value=1,
        max_value=2**63 - 1,
        help_text="Its number, such as 17.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), "A whole number, such as 17."),
    )
    since = DayField(label="From")
    until = DayField(label="To", help_text="This day included.")
    click = forms.CharField(required=False, max_length=36, widget=forms.HiddenInput)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["action"].choices = [("", "Anything"), *words.actions()]

    def full_clean(self):
        """As usual, and keeps an invalid day visible, which a date input would hide."""
        super().full_clean()
        show_wrong_days(self)

    def offer(self, offered):
        """Set the choices; a team that is not among them is an error."""
        teams = list(offered.teams.values())
        self.fields["team"].widget.choices = [("", "Any"), *((team.slug, team.name) for team in teams)]
        slug = self.cleaned_data.get("team", "")
        self._team = next((team for team in teams if team.slug == slug), None)
        if slug and not self._team:
            self.add_error("team", "Choose one of the teams that you may read.")

    def clean_number(self):
        written = self.cleaned_data["number"]
        if re.search(r"[^\W\d_]", written):
            raise forms.ValidationError(
                "A phone number has no letters. Names and reasons have a field of their own."
            )
        digits = re.sub(r"[^\d]", "", written)
        plain = "".join(str(int(digit)) for digit in digits)  # also digits of other scripts
        if written and len(plain) < (1 if written.startswith("+") else search_terms.SHORTEST_PART):
            raise forms.ValidationError("At least three digits, or a + and the beginning of the number.")
        return f"+{plain}" if written.startswith("+") else plain

    def clean_q(self):
        written = self.cleaned_data["q"]
        found = search_terms.words(written)
        if written and (not found or min(map(len, found)) < 2):
            raise forms.ValidationError("Words of two letters or more.")
        if len(found) > MOST_WORDS:
            raise forms.ValidationError(f"At most {MOST_WORDS} words.")
        return written

    def clean(self):
        since, until = self.cleaned_data.get("since"), self.cleaned_data.get("until")
        if since and until and since > until:
            self.add_error("until", "This day is before the first one.")
        return self.cleaned_data

    @property
    def more_fields(self):
        """The fields that are folded away while all of them are empty."""
        return [self[name] for name in ("person", "action", "outcome", "team", "request", "since", "until")]

    @property
    def moments(self):
        """The start and the (excluded) end of the dates, in local time; None where no day is given."""
        days = self.cleaned_data
        return (
            begin_of(days["since"]) if days.get("since") else None,
            begin_of(days["until"] + timedelta(days=1)) if days.get("until") else None,
        )

    @property
    def wanted(self):
        """The filter; needs the choices of `offer`."""
        data = self.cleaned_data
        outcome = data["outcome"] and f"purchase.{data['outcome']}"
        since, until = self.moments
        return Filter(
            words=tuple(search_terms.words(data["q"])),
            number=data["number"],
            person=data["person"],
            action=data["action"] or outcome,
            team=self._team.pk if self._team else None,
            request=data["request"],
            click=data["click"],
            since=since,
            until=until,
            nothing=bool(outcome) and data["action"] not in ("", outcome),
        )

    @property
    def query(self):
        """The fields that are filled in, for an address."""
        return {name: self[name].value() for name in NAMES if self[name].value() not in (None, "")}

    @property
    def in_words(self):
        """The filter as a sentence for the head of an export and for the record: 'team Support; from 1 May 2026'."""
        data = self.cleaned_data
        team = self._team.name if self._team else ""
        parts = {
            "words": data["q"] and f"“{data['q']}”",
            "number": data["number"],
            "who": data["person"],
            "what": data["action"] and words.action_in_words(data["action"]).lower(),
            "outcome": data["outcome"] and State(data["outcome"]).label.lower(),
            "team": team,
            "request": data["request"] and str(data["request"]),
            "click": data["click"],
            "from": data["since"] and words.day(data["since"]),
            "to": data["until"] and words.day(data["until"]),
        }
        return "; ".join(f"{name} {value}" for name, value in parts.items() if value) or "everything"


class JumpForm(forms.Form):
    """The day in the list to go to."""

    day = DayField(label="Go to the day")

    def full_clean(self):
        super().full_clean()
        show_wrong_days(self)


def show_wrong_days(form):
    """Show an invalid day in its field as it was typed."""
    for name in form.errors:
        if isinstance(form.fields.get(name), DayField):
            form.fields[name].widget.input_type = "text"


def begin_of(day):
    """The first moment of a local day, in UTC."""
    return timezone.make_aware(datetime.combine(day, time.min)).astimezone(UTC)


class KeptForm(forms.Form):
    """The first line of an export that somebody kept, to be compared with the record."""

    kept = forms.CharField(
        label="First line of the export",
        help_text="It names events with their hashes: the head of the chain and the newest seal.",
        widget=forms.Textarea(attrs={"rows": 4}),
        max_length=20_000,
    )

    def clean_kept(self):
        if not audit.compare(self.cleaned_data["kept"]):
            raise forms.ValidationError(
                "This names no event with its hash. Copy the whole first line of an export."
            )
        return self.cleaned_data["kept"]
