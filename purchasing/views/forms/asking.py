"""Forms about requests: finding, pasting, sending and deciding."""

from dataclasses import dataclass

from django import forms

from purchasing.asking import name_patterns
from purchasing.asking.find import SORTS
from purchasing.asking.name_patterns import PLACEHOLDERS
from purchasing.audit import clean
from purchasing.pasting import files
from purchasing.states import NumberType
from purchasing.views.forms.fields import (
    INCOMPLETE,
    REASON_LENGTH,
    Amount,
    CountryField,
    OneLine,
    Pasted,
    ReasonForm,
    TeamField,
    Text,
)


class PasteForm(forms.Form):
    """Pasted text or a file. The reader limits its size, so that an error loses nothing that was pasted."""

    text = Pasted(
        label="Numbers you want",
        strip=False,
        required=False,
        widget=forms.Textarea(
            attrs={"rows": 10, "class": "paste", "spellcheck": "false", "autocomplete": "off"}
        ),
        help_text=(
            "Paste what you have: IdentityCall's list (JSON), rows of a spreadsheet, a mail, or one number per line "
            "like +44 20 7946 0018. Pasted prices are checked before anything is bought."
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
    team = TeamField(label="Team", help_text="This team's key is used to ask IdentityCall what is on offer.")

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
        """The text of the file; a problem with it is shown beside the field."""
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
    """What to search for at IdentityCall, and how to filter its answer. Every field has a usable default."""

    team = TeamField(label="Team", required=False)
    country = CountryField(label="Country", required=False)
    number_type = forms.ChoiceField(
        label="Type", required=False, choices=NumberType.choices, initial=NumberType.LOCAL
    )
    digits = OneLine(
        label="Digits",
        required=False,
        max_length=30,
        help_text="555 anywhere, +1212* from the start, *00 at the end, ? for one digit.",
        widget=forms.TextInput(attrs={"inputmode": "tel", "autocomplete": "off"}),
    )
    region = OneLine(
        label="Region",
        required=False,
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "off", "list": "regions"}),
    )
    feature = OneLine(
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
    """The fields that apply to the request as a whole."""

    team = TeamField(label="Team", help_text="The team that pays for the numbers and uses them.")
    reason = Text(
        rows=3,
        max_length=REASON_LENGTH,
        help_text="Why are these numbers needed? The approver reads this to decide.",
        error_messages={"required": "Enter why these numbers are needed. The approver reads this to decide."},
    )
    purpose = OneLine(
        label="Purpose",
        required=False,
        max_length=200,
        help_text="What they will be used for, such as “hotline on the winter flyer”.",
    )
    pattern = OneLine(
        label="Name them with a pattern",
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
    """The choices for one number of a request. `groups` are the choices of requirement groups."""

    phone_number = forms.CharField(widget=forms.HiddenInput, max_length=16)
    name = OneLine(label="Name", required=False, max_length=100)
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
    """The fields of a request as a whole, with the version that its page showed."""

    reason = Text(
        rows=3,
        max_length=REASON_LENGTH,
        help_text="Why are these numbers needed? The approver reads this to decide.",
        error_messages={"required": "Enter why these numbers are needed. The approver reads this to decide."},
    )
    purpose = OneLine(
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
    """One pending number of a request, which can also be taken out."""

    take_out = forms.BooleanField(label="Take out", required=False)


class SeenForm(forms.Form):
    """'Seen', with the version that the page showed."""

    version = forms.IntegerField(min_value=1, max_value=2**31 - 1)


class DecisionForm(forms.Form):
    """Approving or rejecting some numbers of a request, with the version that the page showed."""

    version = forms.IntegerField(
        min_value=1, error_messages=dict.fromkeys(("required", "invalid", "min_value"), INCOMPLETE)
    )
    purchase = forms.TypedMultipleChoiceField(
        coerce=int, error_messages={"required": "Tick at least one number."}
    )
    reason = Text(
        required=False,
        max_length=REASON_LENGTH,
        error_messages={"required": "Enter why you reject. The requester reads this."},
    )
    unconfirmed_cost_ok = forms.BooleanField(required=False)

    def __init__(self, *args, purchases, reason_required=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = reason_required
        self.fields["purchase"].choices = [(purchase.pk, purchase.phone_number) for purchase in purchases]
        self.fields["purchase"].error_messages["invalid_choice"] = "Choose numbers of this request only."


class CancelForm(forms.Form):
    """A reason, optional for the requester."""

    reason = Text(
        rows=2,
        required=False,
        max_length=REASON_LENGTH,
        error_messages={"required": "Enter a reason. The requester reads this."},
    )

    def __init__(self, *args, reason_required, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = reason_required


class BoughtForm(ReasonForm):
    """'It was bought', with IdentityCall's id of the number."""

    provider_id = forms.IntegerField(
        label="IdentityCall's id of the number",
        min_value=1,
        max_value=2**63 - 1,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
        error_messages={
            "required": "Enter the id that IdentityCall shows for the number.",
            "invalid": "A whole number, such as 4711.",
        },
    )
    field_order = ["provider_id", "reason"]


class StatedCostsForm(ReasonForm):
    """A reason, with the costs of a number where the person knows them."""

    upfront_cost = Amount(
        label="Cost once",
        required=False,
        help_text="Leave it empty if you do not know it: it is never guessed.",
    )
    monthly_cost = Amount(label="Cost per month", required=False)


class KeepForm(StatedCostsForm):
    """'It is ours, keep it', under one of the ids that the list shows."""

    provider_id = forms.TypedChoiceField(
        label="IdentityCall's id of the number",
        coerce=int,
        widget=forms.RadioSelect,
        error_messages={
            "required": "Choose one of the ids that the list shows.",
            "invalid_choice": "The list does not show that id any more. Choose one that it shows now.",
        },
    )
    field_order = ["provider_id", "upfront_cost", "monthly_cost", "reason"]

    def __init__(self, *args, ids, **options):
        if len(ids) == 1:
            options["initial"] = {"provider_id": ids[0], **options.get("initial", {})}
        super().__init__(*args, **options)
        self.fields["provider_id"].choices = [(pk, str(pk)) for pk in ids]


class TickedForm(ReasonForm):
    """The ticked numbers of a table, by their ids, or all of them; and a reason."""

    ticked = forms.TypedMultipleChoiceField(
        label="Numbers",
        coerce=int,
        required=False,
        error_messages={
            "invalid_choice": "Some of these numbers were decided about since you opened this page. Tick again."
        },
    )
    everything = forms.BooleanField(label="All of them, also those not shown on this page", required=False)

    def __init__(self, *args, ids, **options):
        super().__init__(*args, **options)
        self.ids = list(ids)
        self.fields["ticked"].choices = [(pk, str(pk)) for pk in self.ids]

    def clean(self):
        """Replace the ticks with all ids where all were chosen."""
        cleaned = super().clean()
        if cleaned.get("everything"):
            cleaned["ticked"] = self.ids
        elif not cleaned.get("ticked") and "ticked" not in self.errors:
            raise forms.ValidationError("Tick at least one number.")
        return cleaned

    @property
    def marked(self):
        """The ids that were ticked, as the page draws them again."""
        return {int(pk) for pk in self["ticked"].value() or [] if str(pk).isdecimal()}


class RentedForm(TickedForm, StatedCostsForm):
    """The ticked numbers, a reason, and the costs of each where the person knows them."""

    field_order = ["ticked", "everything", "upfront_cost", "monthly_cost", "reason"]
