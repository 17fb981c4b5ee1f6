"""What staff should know before calls are recorded in a country: hints for the choice, no legal advice."""

CONSENT = "Everybody on the call has to agree before it is recorded; recording in secret is a crime there."
STATES = "In some states, such as California and Florida, everybody on the call has to agree before it is recorded."
TELL = "Callers have to be told that the call is recorded, and why, before it begins."

# The General Data Protection Regulation, and the laws of the United Kingdom and Canada that want the same.
_TOLD = "AT BE BG CY CZ DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK CA"
_HINTS = {
    **dict.fromkeys(("DE", "CH"), CONSENT),
    "US": STATES,
    **dict.fromkeys(_TOLD.split(), TELL),
}


def hint(country_code: str) -> str:
    """Return a sentence about recording calls in this country, '' where nothing is kept about it."""
    return _HINTS.get(country_code, "")
