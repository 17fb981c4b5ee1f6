"""Browser input to clean values. Nothing here saves, moves or decides."""

import re

import phonenumbers
from django import forms
from django.contrib.auth.forms import AuthenticationForm

from purchasing.audit import clean
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


class LoginForm(AuthenticationForm):
    """Django's, in the words of this place."""

    error_messages = {
        "invalid_login": "This name and password do not fit together. Both take care of upper and lower case.",
        "inactive": "This account is switched off. Ask your team admin.",
    }


class PasteForm(forms.Form):
    """Pasted text. Its size is judged by the reader, which says so in words and loses nothing."""

    text = Pasted(
        label="Numbers you want",
        strip=False,
        widget=forms.Textarea(
            attrs={"rows": 10, "class": "paste", "spellcheck": "false", "autocomplete": "off"}
        ),
        help_text=(
            "Paste IdentityCall's list as it is (JSON), rows of a spreadsheet, or one number per line, like "
            "+44 20 7946 0018. Prices in it are a claim and are checked before anything is bought."
        ),
        error_messages={"required": "Paste at least one number."},
    )
    country_code = Line(
        label="Country of numbers without + and country code",
        required=False,
        help_text="Two letters, such as DE. Only needed when the numbers are written without their country code.",
        widget=forms.TextInput(attrs={"class": "short", "autocomplete": "off"}),
    )

    def clean_country_code(self):
        code = self.cleaned_data["country_code"].upper()
        if code and not re.fullmatch("[A-Z]{2}", code):
            raise forms.ValidationError("Two letters, such as DE or US.")
        if code and code not in phonenumbers.SUPPORTED_REGIONS:
            raise forms.ValidationError(f"There is no country {code}. Two letters, such as DE or US.")
        return code


class RequestForm(forms.Form):
    """What a request says as a whole."""

    team = forms.ModelChoiceField(
        queryset=None,
        empty_label=None,
        help_text="The team that pays for the numbers and uses them.",
        error_messages=dict.fromkeys(("required", "invalid_choice"), "Choose one of your teams."),
    )
    reason = Text(
        rows=3,
        max_length=REASON_LENGTH,
        help_text="Why are these numbers needed? The approver decides by it.",
        error_messages={"required": "Say why these numbers are needed: the approver decides by it."},
    )
    form_token = forms.UUIDField(
        widget=forms.HiddenInput, error_messages=dict.fromkeys(("required", "invalid"), INCOMPLETE)
    )

    def __init__(self, *args, teams, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["team"].queryset = teams


class LineForm(forms.Form):
    """What staff choose for one number of a request."""

    phone_number = forms.CharField(widget=forms.HiddenInput, max_length=16)
    name = Line(label="Name", required=False, max_length=100)
    number_type = forms.ChoiceField(
        label="Type", required=False, choices=[("", "Not known"), *NumberType.choices]
    )
    requirement_group_id = forms.IntegerField(
        label="Requirement group",
        required=False,
        min_value=1,
        max_value=2**31 - 1,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
        error_messages={"invalid": "The group's whole number in IdentityCall, such as 12."},
    )
    record_calls = forms.ChoiceField(
        label="Record calls", choices=[("yes", "Record"), ("no", "Do not record")], initial="yes"
    )


class EditForm(forms.Form):
    """A request as a whole, as its page showed it."""

    reason = Text(
        rows=3,
        max_length=REASON_LENGTH,
        help_text="Why are these numbers needed? The approver decides by it.",
        error_messages={"required": "Say why these numbers are needed: the approver decides by it."},
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


class RulesForm(forms.Form):
    """A team's money rules; `seen` are those that the page showed."""

    seen = forms.CharField(widget=forms.HiddenInput, error_messages={"required": INCOMPLETE})
    monthly_budget = Amount(
        label="Budget a month",
        required=False,
        help_text="Such as 1000.50. Leave it empty for no budget.",
    )
    budget_is_hard = forms.ChoiceField(
        label="Beyond the budget",
        choices=[("hard", "Refuse the approval"), ("soft", "Warn, and record it")],
    )
    second_approver_from = Amount(
        label="Second approver from this monthly sum on",
        required=False,
        help_text="Counts the request and all that the same person asked for in the team within 30 days. "
        "Leave it empty if one approver is enough.",
    )


class StandInForm(forms.Form):
    """Who stands in for whom, and when."""

    approver = forms.ModelChoiceField(queryset=None, empty_label=None, label="Approver who is away")
    stand_in = forms.ModelChoiceField(queryset=None, empty_label="Choose", label="Who decides instead")
    from_day = forms.DateField(
        label="First day", widget=forms.DateInput(attrs={"type": "date", "class": "short"})
    )
    to_day = forms.DateField(
        label="Last day", widget=forms.DateInput(attrs={"type": "date", "class": "short"})
    )

    def __init__(self, *args, approvers, people, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["approver"].queryset = approvers.distinct().order_by("username")
        self.fields["stand_in"].queryset = people
