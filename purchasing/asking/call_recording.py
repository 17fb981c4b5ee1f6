"""What staff should know before calls are recorded in a country. Hints, not legal advice."""

CONSENT = "Everybody on the call has to agree before it is recorded; recording secretly is a crime there."
STATES = "In some states, such as California and Florida, everybody on the call has to agree before it is recorded."
INFORM = "Callers have to be informed before the call begins that it is recorded, and why."

# The General Data Protection Regulation, and the laws of the United Kingdom and Canada, which require the same.
_INFORMED = "AT BE BG CY CZ DK EE ES FI FR GB GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK CA"
_HINTS = {
    **dict.fromkeys(("DE", "CH"), CONSENT),
    "US": STATES,
    **dict.fromkeys(_INFORMED.split(), INFORM),
}


def hint(country_code: str) -> str:
    """Return a sentence about recording calls in this country, '' where none is known."""
    return _HINTS.get(country_code, "")
