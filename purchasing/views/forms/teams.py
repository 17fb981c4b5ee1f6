"""Forms about teams, their members and keys. Secrets are never shown again."""

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, SetPasswordForm
from django.core.validators import EmailValidator

from purchasing.encryption import Secret
from purchasing.states import NumberType, Role
from purchasing.teams.keys import KEY_SHAPE, LEAST_RATE, MOST_RATE, SCOPES
from purchasing.views.forms.fields import INCOMPLETE, Amount, CountryField, OneLine, ReasonForm

SCOPE_CHOICES = [(scope, words.capitalize()) for scope, words in SCOPES.items()]
ROLE_CHOICES = [
    (Role.REQUESTER, "Requester: requests numbers"),
    (Role.APPROVER, "Approver: approves or rejects other people's requests"),
    (Role.ADMIN, "Team admin: manages the team, its members and its key"),
]


class KeyField(forms.CharField):
    """An API key, typed or pasted; spaces and invisible characters in it are dropped."""

    widget = forms.PasswordInput(
        attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
    )

    def to_python(self, value):
        return Secret("".join(c for c in super().to_python(value) if c.isprintable() and not c.isspace()))

    def validate(self, value):
        super().validate(value)
        if KEY_SHAPE.fullmatch(value):
            return
        if value.startswith("idc_"):
            plain = value[4:].isalnum() and value.isascii()
            found = f"this one has {len(value) - 4}" if plain else "this one has other characters"
            raise forms.ValidationError(f"An API key is idc_ followed by 32 letters or digits; {found}.")
        raise forms.ValidationError(
            "An API key begins with idc_, followed by 32 letters or digits. Copy the whole key again."
        )


class OwnPassword(forms.Form):
    """Asks for the person's own password again."""

    password = forms.CharField(
        label="Your own password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter the password you log in with."},
    )

    def __init__(self, *args, user, **kwargs):
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self):
        if not self.user.check_password(self.cleaned_data["password"]):
            raise forms.ValidationError("This is not the password you log in with.")
        return ""


class ScopeForm(forms.Form):
    """What the key is for, as stated by the admin."""

    scope = forms.ChoiceField(
        label="This key is for",
        choices=SCOPE_CHOICES,
        widget=forms.RadioSelect,
        error_messages=dict.fromkeys(
            ("required", "invalid_choice"), "Choose one. IdentityCall does not say which it is."
        ),
    )


class RateForm(forms.Form):
    """How many calls a minute the plan allows."""

    rate = forms.IntegerField(
        label="Calls a minute",
        required=False,
        min_value=LEAST_RATE,
        max_value=MOST_RATE,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short"}),
        error_messages={
            "invalid": "Enter a whole number, such as 300.",
            "min_value": f"Enter at least {LEAST_RATE} calls a minute.",
            "max_value": f"Enter at most {MOST_RATE:,} calls a minute.",
        },
    )

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        usual = settings.RATE_LIMIT_PER_MINUTE
        self.fields["rate"].help_text = f"Leave it empty for {usual}, the usual rate here."


class StoreKeyForm(OwnPassword, ScopeForm):
    """A new key."""

    key = KeyField(
        label="New API key",
        help_text="idc_ and 32 letters or digits. It is tested, kept encrypted and never shown again.",
        error_messages={"required": "Paste the API key."},
    )
    field_order = ["key", "scope", "password"]


class RemoveKeyForm(OwnPassword, ReasonForm):
    """Remove the key."""

    seen = forms.IntegerField(
        widget=forms.HiddenInput, error_messages=dict.fromkeys(("required", "invalid"), INCOMPLETE)
    )
    field_order = ["seen", "reason", "password"]


class RolesForm(forms.Form):
    """The roles of one person in a team."""

    roles = forms.MultipleChoiceField(
        label="Roles",
        choices=ROLE_CHOICES,
        widget=forms.CheckboxSelectMultiple,
        error_messages=dict.fromkeys(("required", "invalid_choice"), "Choose at least one role."),
    )


class ChangeRolesForm(RolesForm):
    """New roles for a member; `seen` are the roles that the page showed."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)


class InviteForm(RolesForm):
    """A person to add to the team."""

    username = OneLine(
        label="User name",
        max_length=150,
        help_text="The person logs in with it. Letters, digits and @ . + - _ only.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
        error_messages={"required": "Enter the name that the person logs in with."},
    )
    email = OneLine(
        label="E-mail address",
        required=False,
        max_length=254,
        help_text="The invitation is sent there. Not needed for a person who already has an account.",
        validators=[EmailValidator(message="An address looks like tom@example.com.")],
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    field_order = ["username", "email", "roles"]


class TeamForm(forms.Form):
    """A team's name."""

    name = OneLine(
        label="Name of the team",
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Enter a name."},
    )


class RulesForm(forms.Form):
    """A team's money rules; `seen` identifies the rules that the page showed."""

    seen = forms.CharField(widget=forms.HiddenInput, error_messages={"required": INCOMPLETE})
    monthly_budget = Amount(
        label="Monthly budget",
        required=False,
        help_text="Such as 1000.50. Leave it empty for no budget.",
    )
    budget_is_hard = forms.ChoiceField(
        label="When over budget",
        choices=[("hard", "Refuse the approval"), ("soft", "Warn, and record it")],
    )
    second_approver_from = Amount(
        label="Second approver from this monthly cost",
        required=False,
        help_text="Counts the request and everything else the same person requested for the team within 30 days. "
        "Leave it empty if one approver is enough.",
    )


class StandInForm(forms.Form):
    """A stand-in for an approver, from one day to another."""

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


class LoginForm(AuthenticationForm):
    """Django's, with our own error messages."""

    error_messages = {
        "invalid_login": "The user name or password is wrong. Both are case-sensitive.",
        "inactive": "This account is switched off. Ask your team admin.",
    }


class ChoosePasswordForm(SetPasswordForm):
    """Django's, with our own error messages."""

    error_messages = {"password_mismatch": "The two passwords are not the same."}


class PapersForm(forms.Form):
    """An entry of the register of requirement groups."""

    name = OneLine(
        label="What the papers are",
        max_length=100,
        help_text="Shown to staff, such as “Company register, Berlin office”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Enter a name that staff recognise."},
    )
    country_code = CountryField(
        label="Country", error_messages={"required": "Enter the country whose numbers need the papers."}
    )
    number_type = forms.ChoiceField(
        label="Type of number", required=False, choices=[("", "Every type"), *NumberType.choices]
    )
    provider_id = forms.IntegerField(
        label="Requirement group in IdentityCall",
        required=False,
        min_value=1,
        max_value=2**63 - 1,
        help_text="The id that IdentityCall shows for the approved group. Leave it empty while there is none: "
        "everybody who requests such a number is then warned that papers are missing.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "class": "short", "autocomplete": "off"}),
        error_messages={"invalid": "A whole number, such as 12."},
    )
    valid_until = forms.DateField(
        label="Valid until",
        required=False,
        help_text="The last day on which they are valid. Leave it empty if they do not expire.",
        widget=forms.DateInput(attrs={"type": "date", "class": "short"}, format="%Y-%m-%d"),
        error_messages={"invalid": "A day such as 2027-05-31."},
    )

    def entry(self):
        """The entry's fields and values."""
        return dict(self.cleaned_data)
