"""Names by a pattern: 'Help desk {region} {n}' for many numbers at once."""

import re
from collections.abc import Iterable

PLACEHOLDERS = {
    "{country}": "the country's name",
    "{code}": "its two letters",
    "{region}": "the region, else the country",
    "{type}": "local, mobile, national or toll-free",
    "{last4}": "the last four digits",
    "{n}": "1, 2, 3 …",
}
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


def problem(pattern: str) -> str:
    """Say in a sentence what is wrong with a pattern; '' when nothing is."""
    unknown = [word for word in _PLACEHOLDER.findall(pattern) if word not in PLACEHOLDERS]
    if unknown:
        return f"{unknown[0]} is not known. Write {', '.join(PLACEHOLDERS)}."
    if "{" in _PLACEHOLDER.sub("", pattern) or "}" in _PLACEHOLDER.sub("", pattern):
        return "A bracket is not closed. Write for instance {region} {n}."
    return ""


def names(pattern: str, numbers: Iterable[dict[str, str]]) -> list[str]:
    """Return a name for each of the numbers, in their order; {n} counts from 1.

    Each number has `country`, `code`, `region`, `type` and `last4` as texts. A pattern without {n} gives numbers that
    are otherwise alike the same name.
    """
    found = []
    for count, number in enumerate(numbers, start=1):
        said = {**number, "n": str(count), "region": number["region"] or number["country"]}
        name = _PLACEHOLDER.sub(lambda word: said.get(word[0][1:-1], word[0]), pattern)  # noqa: B023 - used at once
        found.append(" ".join(name.split()))
    return found
