"""Which papers a number needs, by its team's register of requirement groups. Reads only.

IdentityCall tells neither which countries want papers nor which groups are approved (contradiction 13), so the register
that the team admin keeps is all there is: an entry says that numbers of its country and type need papers, and, where it
has an id and is not over, that these are on file.
"""

from django.utils import timezone

from purchasing import clock, words
from purchasing.models import RequirementGroup

NONE_ON_FILE = "Papers are needed for {what}, and none are on file. Ask the team admin."
CHOOSE = "Papers are needed for {what}. Choose the requirement group."


class Register:
    """One team's register as it stands now, read once for many numbers."""

    def __init__(self, team):
        self.entries = list(RequirementGroup.objects.filter(team=team, removed_at=None)) if team else []
        self.today = timezone.localdate(clock.now())

    def is_over(self, entry):
        """Whether its last day has passed."""
        return entry.valid_until is not None and entry.valid_until < self.today

    def for_number(self, country_code, number_type):
        """The entries that speak of such numbers; of a number whose type nobody knows, those of its country."""
        return [entry for entry in self.entries if fits(entry, country_code, number_type)]

    def on_file(self, country_code, number_type):
        """The groups that may be chosen for such a number: approved ones that are not over."""
        entries = self.for_number(country_code, number_type)
        return [entry for entry in entries if entry.provider_id is not None and not self.is_over(entry)]

    def of_id(self, provider_id):
        """The entry with this id of IdentityCall's, or None."""
        return next((entry for entry in self.entries if entry.provider_id == provider_id), None)

    def advice(self, country_code, number_type, provider_id=None):
        """What to tell about a number before it is asked for, '' where nothing is missing."""
        if provider_id is not None or not self.for_number(country_code, number_type):
            return ""
        words_for = CHOOSE if self.on_file(country_code, number_type) else NONE_ON_FILE
        return words_for.format(what=words.kind_of_numbers(country_code, number_type))

    def refusal(self, country_code, number_type, provider_id):
        """Why a number cannot be asked for, or approved, with this group; '' where it can. None needs no group."""
        if provider_id is None:
            return ""
        entry = self.of_id(provider_id)
        if entry is None:
            return (
                f"The requirement group {provider_id} is not in the team's register. The team admin keeps it."
            )
        if self.is_over(entry):
            last_day = words.day(entry.valid_until)
            return f"The papers “{entry}” were valid until {last_day}. Choose others, or ask the team admin."
        if not fits(entry, country_code, number_type):
            return (
                f"The papers “{entry}” are for {words.kind_of_numbers(entry.country_code, entry.number_type)}, "
                f"not for {words.kind_of_numbers(country_code, number_type)}."
            )
        return ""


def fits(entry, country_code, number_type):
    """Whether an entry speaks of numbers of this country and type ('' where nobody knows the type)."""
    return entry.country_code == country_code and (
        not entry.number_type or not number_type or entry.number_type == number_type
    )
