"""Browser input to clean values: the fields that forms share. Nothing here saves, moves or decides."""

from django import forms

from purchasing.audit import clean
from purchasing.countries import all_countries, country_name, country_of, flag

REASON_LENGTH = 1000
INCOMPLETE = "The page that this came from was not complete. Open it again, and send it once more."


class Text(forms.CharField):
    """A line or an area of text: cleaned of what cannot be kept, and never cut off by the browser while typing."""

    def __init__(self, *, rows=None, **options):
        if rows:
            options["widget"] = forms.Textarea(attrs={"rows": rows})
        super().__init__(**options)
        length = options.get("max_length")
        if length:
            self.error_messages["max_length"] = f"At most {length} characters; this has %(show_value)d."

    def widget_attrs(self, widget):
        attrs = super().widget_attrs(widget)
        attrs.pop("maxlength", None)
        return attrs

    def to_python(self, value):
        return clean(super().to_python(value)).strip()


class OneLine(Text):
    """One line: what was broken into several is joined."""

    def to_python(self, value):
        return " ".join(super().to_python(value).split())


class Amount(forms.DecimalField):
    """An amount of money as it is typed, with a point before the cents."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "class": "short"})
    default_error_messages = {
        "invalid": "Write an amount such as 1000.50: a point before the cents, nothing between the thousands.",
        "min_value": "An amount is 0 or more.",
        "max_digits": "This is too much. An amount has at most 10 digits before the point.",
        "max_whole_digits": "This is too much. An amount has at most 10 digits before the point.",
        "max_decimal_places": "At most two digits after the point, as in 1000.50.",
    }

    def __init__(self, **options):
        super().__init__(min_value=0, max_digits=12, decimal_places=2, **options)


class Pasted(forms.CharField):
    """Text as it was pasted; null characters, which no database keeps, are left out instead of refused."""

    def to_python(self, value):
        return super().to_python(value).replace("\0", "")


class CountryInput(forms.TextInput):
    """A country that is typed: its name, its two letters or its flag, with all of them offered by the browser."""

    template_name = "purchasing/widgets/country.html"

    def get_context(self, name, value, attrs):
        context = super().get_context(name, value, attrs)
        context["widget"]["attrs"]["list"] = f"{context['widget']['attrs'].get('id', name)}_list"
        context["countries"] = [country_in_words(code) for code, _ in all_countries()]
        return context

    def format_value(self, value):
        return country_in_words(value) if value in dict(all_countries()) else value


def country_in_words(code):
    """A country as the field shows it: '🇩🇪 Germany (DE)'."""
    return f"{flag(code)} {country_name(code)} ({code})"


class CountryField(OneLine):
    """A country, however it is written, as its two-letter code; '' for none."""

    widget = CountryInput(attrs={"autocomplete": "off", "class": "medium"})

    def clean(self, value):
        written = super().clean(value)
        if not written:
            return ""
        code = country_of(written)
        if not code:
            raise forms.ValidationError(
                f"There is no country “{written[:60]}”. Write its name, or two letters as in DE."
            )
        return code


class TeamField(forms.ModelChoiceField):
    """One of the teams that the person may ask for."""

    def __init__(self, **options):
        options |= {
            "queryset": None,
            "empty_label": None,
            "error_messages": dict.fromkeys(("required", "invalid_choice"), "Choose one of your teams."),
        }
        super().__init__(**options)


class ReasonForm(forms.Form):
    """Only a reason, which is required."""

    reason = Text(
        rows=2,
        max_length=REASON_LENGTH,
        error_messages={"required": "Say why: the reason stays in the record."},
    )
