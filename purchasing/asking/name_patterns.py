"""Names for many numbers at once, from a pattern such as 'Help desk {region} {n}'."""

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
    """Return a sentence on what is wrong with a pattern, '' where nothing is."""
    unknown = [word for word in _PLACEHOLDER.findall(pattern) if word not in PLACEHOLDERS]
    if unknown:
        return f"{unknown[0]} is not known. Use {', '.join(PLACEHOLDERS)}."
    if "{" in _PLACEHOLDER.sub("", pattern) or "}" in _PLACEHOLDER.sub("", pattern):
        return "A bracket is missing. Write, for example, {region} {n}."
    return ""


def names(pattern: str, numbers: Iterable[dict[str, str]]) -> list[str]:
    """Return a name for each of the numbers, in their order; {n} counts from 1.

    Each number has `country`, `code`, `region`, `type` and `last4` as texts. Without {n} in the pattern, several
    numbers may get the same name.
    """
    result = []
    for count, number in enumerate(numbers, start=1):
        values = {**number, "n": str(count), "region": number["region"] or number["country"]}
        name = _PLACEHOLDER.sub(lambda match: values.get(match[0][1:-1], match[0]), pattern)  # noqa: B023 - used at once
        result.append(" ".join(name.split()))
    return result
