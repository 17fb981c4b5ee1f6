"""How a call to IdentityCall can fail. Each class answers one question: was the number bought?

| class         | bought?                                   | raised for                                   |
|---------------|-------------------------------------------|----------------------------------------------|
| `Declined`    | no, unless an earlier attempt is in doubt | 400, 404, 422 with an error-shaped body (ERR) |
| `Unavailable` | certainly not; ask later                  | never sent, 429, 401, 403                    |
| `Unconfirmed` | unknown                                   | any other failure of a purchase              |
| `Unreadable`  | proves nothing                            | any other failure of other calls             |

The unknown is the default. Texts are for staff. No error holds the API key or leads to an exception that
does.
"""

from typing import Any

WORDS_LENGTH = 500
ANSWER_LENGTH = 2_000
DETAIL_LENGTH = 300


class ProviderError(Exception):
    """IdentityCall gave no usable answer. `str()` is a sentence for staff.

    `status`: the HTTP status, None without one. `words`: the provider's own words, '' without any.
    `answer_text`: an excerpt of the body, for the record. `detail`: the technical cause, for the record. All of
    them are cleaned and cut.
    """

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        words: str = "",
        answer_text: str = "",
        detail: str = "",
    ) -> None:
        super().__init__(text)
        self.status = status
        self.words = words[:WORDS_LENGTH]
        self.answer_text = answer_text[:ANSWER_LENGTH]
        self.detail = detail[:DETAIL_LENGTH]


class Declined(ProviderError):
    """IdentityCall declined, in its own words (400, 404, 422)."""


class Unavailable(ProviderError):
    """Certainly not carried out; the same call may be made later."""

    retry_after: float | None = None


class NotSent(Unavailable):
    """No byte of the request was handed to the socket. `fenced`: too much time had passed since the claim."""

    def __init__(self, text: str, *, fenced: bool = False, **kept: Any) -> None:
        super().__init__(text, **kept)
        self.fenced = fenced


class RateLimited(Unavailable):
    """429: the key has asked too often. `retry_after`: seconds to wait, 0 to 900."""

    retry_after: float

    def __init__(self, text: str, *, retry_after: float, **kept: Any) -> None:
        super().__init__(text, **kept)
        self.retry_after = retry_after


class KeyRefused(Unavailable):
    """401 or 403: the key is wrong, revoked, expired, or may not do this."""


class Unconfirmed(ProviderError):
    """The number may or may not have been bought: only evidence can settle it.

    `bought_instead`: the id and the number that a 201 showed in place of the one that was asked for, or None.
    """

    bought_instead: tuple[int, str] | None = None


class Unreadable(ProviderError):
    """A read or a change gave an answer that proves nothing."""
