"""The fields that forms share, from browser input to clean values. Nothing here saves or decides anything."""

from django import forms

from purchasing.audit import clean
from purchasing.countries import all_countries, country_name, country_of, flag

REASON_LENGTH = 1000
INCOMPLETE = "The form was incomplete. Open its page again and send it once more."


class Text(forms.CharField):
    """A line or area of text, cleaned of what cannot be stored. The browser never cuts it off while typing."""

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
    """One line of text; line breaks become spaces."""

    def to_python(self, value):
        return " ".join(super().to_python(value).split())


class Amount(forms.DecimalField):
    """An amount of money, typed with a point before the cents."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "class": "short"})
    default_error_messages = {
        "invalid": "Enter an amount such as 1000.50, with a point before the cents and no thousands separator.",
        "min_value": "Enter an amount of 0 or more.",
        "max_digits": "Enter at most 10 digits before the point.",
        "max_whole_digits": "Enter at most 10 digits before the point.",
        "max_decimal_places": "Enter at most two digits after the point, as in 1000.50.",
    }

    def __init__(self, **options):
        super().__init__(min_value=0, max_digits=12, decimal_places=2, **options)


class Pasted(forms.CharField):
    """Text as it was pasted. Null characters, which no database stores, are dropped instead of refused."""

    def to_python(self, value):
        return super().to_python(value).replace("\0", "")


class CountryInput(forms.TextInput):
    """A country typed as its name, its two letters or its flag; the browser suggests all countries."""

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
    """A country in any spelling, as its two-letter code; '' for none."""

    widget = CountryInput(attrs={"autocomplete": "off", "class": "medium"})

    def clean(self, value):
        written = super().clean(value)
        if not written:
            return ""
        code = country_of(written)
        if not code:
            raise forms.ValidationError(
                f"There is no country “{written[:60]}”. Enter its name, or two letters as in DE."
            )
        return code


class TeamField(forms.ModelChoiceField):
    """One of the teams that the person may request numbers for."""

    def __init__(self, **options):
        options |= {
            "queryset": None,
            "empty_label": None,
            "error_messages": dict.fromkeys(("required", "invalid_choice"), "Choose one of your teams."),
        }
        super().__init__(**options)


class ReasonForm(forms.Form):
    """A required reason and nothing else."""

    reason = Text(
        rows=2,
        max_length=REASON_LENGTH,
        error_messages={"required": "Enter a reason. It stays in the record."},
    )
