"""Whole lists from pages. The provider's page on numbers promises the whole list in one answer, its overview
promises pages (contradiction 5).

Where an answer carries `meta` (PAG), it must agree with what arrived: a list that is not provably whole is
`Malformed`.
"""

from typing import Any

from purchasing.identitycall.resources import Malformed, OwnedList, entries_of, read_owned_list

PER_PAGE = 100  # the provider's largest
MOST_PAGES = 200


def page_count(answer: Any) -> int:
    """Return how many pages the answer announces; 1 where it announces none."""
    pages = _figure(answer, "total_pages")
    if pages is not None and pages > MOST_PAGES:
        raise Malformed("more pages than are possible")
    return 1 if pages is None else pages


def read_single(answer: Any) -> OwnedList:
    """Read a list that came in one answer."""
    entries = entries_of(answer)
    total = _figure(answer, "total_count")
    if total is not None and total != len(entries):
        raise Malformed("the list does not hold as many numbers as it announces")
    if _figure(answer, "current_page") not in (None, 0, 1):
        raise Malformed("a different page than the first")
    return read_owned_list(entries)


def read_pages(answers: list[Any]) -> OwnedList:
    """Read a list from all its pages, in order. They must agree with each other and with the announced total."""
    totals = {(_figure(answer, "total_pages"), _figure(answer, "total_count")) for answer in answers}
    pages, total = totals.pop()
    if totals or total is None or pages != len(answers):
        raise Malformed("the pages do not agree on the size of the list")
    for place, answer in enumerate(answers, start=1):
        if _figure(answer, "current_page") not in (None, place) or len(entries_of(answer)) > PER_PAGE:
            raise Malformed("a different page than requested")
    whole = read_owned_list(entry for answer in answers for entry in entries_of(answer))
    if whole.entries != total:
        raise Malformed("the pages do not hold as many numbers as they announce")
    return whole


def _figure(answer: Any, name: str) -> int | None:
    meta = answer.get("meta") if isinstance(answer, dict) else None
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise Malformed("the meta of the answer is not an object")
    figure = meta.get(name)
    if figure is None or (type(figure) is int and figure >= 0):
        return figure
    raise Malformed("a figure of the meta is not a number")
