"""Browser input to clean values. Nothing here saves, moves or decides."""

from dataclasses import dataclass

from django import forms
from django.contrib.auth.forms import AuthenticationForm

from purchasing.asking import name_patterns
from purchasing.asking.find import SORTS
from purchasing.asking.name_patterns import PLACEHOLDERS
from purchasing.audit import clean
from purchasing.countries import all_countries, country_name, country_of, flag
from purchasing.pasting import files
from purchasing.states import NumberType

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


class Line(Text):
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


class CountryField(Line):
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


class LoginForm(AuthenticationForm):
    """Django's, in the words of this place."""

    error_messages = {
        "invalid_login": "This name and password do not fit together. Both take care of upper and lower case.",
        "inactive": "This account is switched off. Ask your team admin.",
    }


class TeamField(forms.ModelChoiceField):
    """One of the teams that the person may ask for."""

    def __init__(self, **options):
        options |= {
            "queryset": None,
            "empty_label": None,
            "error_messages": dict.fromkeys(("required", "invalid_choice"), "Choose one of your teams."),
        }
        super().__init__(**options)


class PasteForm(forms.Form):
    """Pasted text or a file. Its size is judged by the reader, which says so in words and loses nothing."""

    text = Pasted(
        label="Numbers you want",
        strip=False,
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 10, "class": "paste", "spellcheck": "false", "autocomplete": "off"}
        ),
        help_text=(
            "Paste what you have: IdentityCall's list (JSON), rows of a spreadsheet, a mail, or one number per line "
            "like +44 20 7946 0018. Prices in it are a claim and are checked before anything is bought."
        ),
    )
    file = forms.FileField(
        label="Or drop a file here",
        required=False,
        allow_empty_file=True,
        help_text="A table (.xlsx, .csv, .tsv), .json or .txt, up to 5 MB.",
        widget=forms.FileInput(attrs={"class": "drop", "accept": ".xlsx,.csv,.tsv,.json,.jsonl,.txt"}),
    )
    country_code = CountryField(
        label="Country of numbers without + and country code",
        required=False,
        help_text="Only needed when the numbers are written without their country code, such as 030 1234567.",
    )
    team = TeamField(
        label="Team", help_text="IdentityCall is asked with this team's key what is on offer now."
    )

    def __init__(self, *args, teams, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = teams
        if teams.count() < 2:
            del self.fields["team"]

    def clean(self):
        cleaned = super().clean()
        if not cleaned.get("file") and not (cleaned.get("text") or "").strip() and "file" not in self.errors:
            self.add_error("text", "Paste at least one number, or choose a file.")
        return cleaned

    def clean_file(self):
        """The text of the file; what is wrong with it stands beside the field."""
        file = self.cleaned_data["file"]
        if not file:
            return None
        try:
            return Dropped(clean(file.name)[:200], files.text_of(file))
        except files.NotReadable as problem:
            raise forms.ValidationError(str(problem)) from None


@dataclass(frozen=True)
class Dropped:
    """A file that was read."""

    name: str
    text: str


class FindForm(forms.Form):
    """What to look for at IdentityCall, and what of its answer to show. Everything has a value that works."""

    team = TeamField(label="Team", required=False)
    country = CountryField(label="Country", required=False)
    number_type = forms.ChoiceField(
        label="Type", required=False, choices=NumberType.choices, initial=NumberType.LOCAL
    )
    digits = Line(
        label="Digits",
        required=False,
        max_length=30,
        help_text="555 anywhere, +1212* from the start, *00 at the end, ? for one digit.",
        widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "off"}),
    )
    region = Line(
        label="Region",
        required=False,
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "off", "list": "regions"}),
    )
    feature = Line(
        label="Feature",
        required=False,
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "off", "list": "features"}),
    )
    highest = forms.DecimalField(
        label="At most a month",
        required=False,
        min_value=0,
        max_digits=10,
        decimal_places=4,
        localize=False,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "class": "short", "autocomplete": "off"}),
        error_messages=dict.fromkeys(
            ("invalid", "min_value", "max_digits", "max_decimal_places", "max_whole_digits"),
            "An amount such as 2.50.",
        ),
    )
    sort = forms.ChoiceField(label="Order", required=False, choices=list(SORTS.items()), initial="monthly")

    def __init__(self, *args, teams, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = teams


class RequestForm(forms.Form):
    """What a request says as a whole."""

    team = TeamField(label="Team", help_text="The team that pays for the numbers and uses them.")
    reason = Text(
        rows=3,
        max_length=REASON_LENGTH,
        help_text="Why are these numbers needed? The approver decides by it.",
        error_messages={"required": "Say why these numbers are needed: the approver decides by it."},
    )
    purpose = Line(
        label="Purpose",
        required=False,
        max_length=200,
        help_text="What they will be used for, such as “hotline on the winter flyer”.",
    )
    pattern = Line(
        label="Name them by a pattern",
        required=False,
        max_length=100,
        help_text="Such as “Help desk {region} {n}”. "
        + "; ".join(f"{k} is {v}" for k, v in PLACEHOLDERS.items())
        + ".",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args, teams, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = teams

    def clean_pattern(self):
        pattern = self.cleaned_data["pattern"]
        if wrong := name_patterns.problem(pattern):
            raise forms.ValidationError(wrong)
        return pattern


class LineForm(forms.Form):
    """What staff choose for one number of a request. `groups` are the choices of requirement groups."""

    phone_number = forms.CharField(widget=forms.HiddenInput, max_length=16)
    name = Line(label="Name", required=False, max_length=100)
    number_type = forms.ChoiceField(
        label="Type", required=False, choices=[("", "Not known"), *NumberType.choices]
    )
    requirement_group_id = forms.ChoiceField(
        label="Papers",
        required=False,
        error_messages={"invalid_choice": "Choose one of the team's requirement groups."},
    )
    record_calls = forms.ChoiceField(
        label="Record calls", choices=[("yes", "Record"), ("no", "Do not record")], initial="yes"
    )

    def __init__(self, *args, groups=(), **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["requirement_group_id"].choices = [("", "None"), *groups]

    def clean_requirement_group_id(self):
        chosen = self.cleaned_data["requirement_group_id"]
        return int(chosen) if chosen else None


class EditForm(forms.Form):
    """A request as a whole, as its page showed it."""

    reason = Text(
        rows=3,
        max_length=REASON_LENGTH,
        help_text="Why are these numbers needed? The approver decides by it.",
        error_messages={"required": "Say why these numbers are needed: the approver decides by it."},
    )
    purpose = Line(
        label="Purpose",
        required=False,
        max_length=200,
        help_text="What they will be used for, such as “hotline on the winter flyer”.",
    )
    version = forms.IntegerField(
        min_value=1,
        widget=forms.HiddenInput,
        error_messages=dict.fromkeys(("required", "invalid", "min_value"), INCOMPLETE),
    )


class EditLineForm(LineForm):
    """One pending number of a request, which may also be taken out."""

    take_out = forms.BooleanField(label="Take out", required=False)


class SeenForm(forms.Form):
    """'Seen': which version the page showed."""

    version = forms.IntegerField(min_value=1, max_value=2**31 - 1)


class DecisionForm(forms.Form):
    """A yes or no to some numbers of a request, as its page showed them."""

    version = forms.IntegerField(
        min_value=1, error_messages=dict.fromkeys(("required", "invalid", "min_value"), INCOMPLETE)
    )
    purchase = forms.TypedMultipleChoiceField(
        coerce=int, error_messages={"required": "Tick at least one number."}
    )
    reason = Text(
        required=False,
        max_length=REASON_LENGTH,
        error_messages={"required": "Say why you reject: the person who asked reads it."},
    )
    unconfirmed_cost_ok = forms.BooleanField(required=False)

    def __init__(self, *args, purchases, reason_required=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = reason_required
        self.fields["purchase"].choices = [(purchase.pk, purchase.phone_number) for purchase in purchases]
        self.fields["purchase"].error_messages["invalid_choice"] = "Choose numbers of this request only."


class ReasonForm(forms.Form):
    """Only a reason, which is required."""

    reason = Text(
        rows=2,
        max_length=REASON_LENGTH,
        error_messages={"required": "Say why: the reason stays in the record."},
    )


class CancelForm(forms.Form):
    """A reason, which the person who asked may leave out."""

    reason = Text(
        rows=2,
        required=False,
        max_length=REASON_LENGTH,
        error_messages={"required": "Say why: the person who asked reads it."},
    )

    def __init__(self, *args, reason_required, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = reason_required


class BoughtForm(ReasonForm):
    """'It was bought': under which of IdentityCall's ids."""

    provider_id = forms.IntegerField(
        label="IdentityCall's id of the number",
        min_value=1,
        max_value=2**63 - 1,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
        error_messages={
            "required": "Type the id that IdentityCall shows for the number.",
            "invalid": "A whole number, such as 4711.",
        },
    )
    field_order = ["provider_id", "reason"]
