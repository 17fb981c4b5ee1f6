"""Whole lists out of pages. The number pages promise the whole list in one answer, the overview pages
(contradiction 5).

Where an answer carries `meta` (PAG), it must agree with what came: a list that is not provably whole is
`Malformed`.
"""

from typing import Any

from purchasing.identitycall.resources import Malformed, OwnedList, entries_of, read_owned_list

PER_PAGE = 100  # the provider's largest
MOST_PAGES = 200


def page_count(answer: Any) -> int:
    """Return how many pages the answer says there are; 1 where it says nothing."""
    pages = _figure(answer, "total_pages")
    if pages is not None and pages > MOST_PAGES:
        raise Malformed("more pages than can be")
    return 1 if pages is None else pages


def read_single(answer: Any) -> OwnedList:
    """Read a list that came in one answer."""
    entries = entries_of(answer)
    total = _figure(answer, "total_count")
    if total is not None and total != len(entries):
        raise Malformed("the list does not hold as many numbers as it says")
    if _figure(answer, "current_page") not in (None, 0, 1):
        raise Malformed("another page than the first")
    return read_owned_list(entries)


def read_pages(answers: list[Any]) -> OwnedList:
    """Read a list from all its pages, in order. They must agree, and hold together as many numbers as each
    says.
    """
    totals = {(_figure(answer, "total_pages"), _figure(answer, "total_count")) for answer in answers}
    pages, total = totals.pop()
    if totals or total is None or pages != len(answers):
        raise Malformed("the pages do not agree on what the whole list is")
    for place, answer in enumerate(answers, start=1):
        if _figure(answer, "current_page") not in (None, place) or len(entries_of(answer)) > PER_PAGE:
            raise Malformed("another page than the one that was asked for")
    whole = read_owned_list(entry for answer in answers for entry in entries_of(answer))
    if len(whole.numbers) != total:
        raise Malformed("the pages do not hold as many numbers as they say")
    return whole


def _figure(answer: Any, name: str) -> int | None:
    meta = answer.get("meta") if isinstance(answer, dict) else None
    if meta is None:
        return None
    if not isinstance(meta, dict):
        raise Malformed("the meta of the answer is no object")
    figure = meta.get(name)
    if figure is None or (type(figure) is int and figure >= 0):
        return figure
    raise Malformed("a figure of the meta is no number")
