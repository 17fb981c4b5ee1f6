"""What can come of a call to IdentityCall other than an answer to use. Each class answers: was the number
bought?

| class         | bought?                                   | raised for                                   |
|---------------|-------------------------------------------|----------------------------------------------|
| `Declined`    | no, unless an earlier attempt is in doubt | 400, 404, 422 with an error-shaped body (ERR) |
| `Unavailable` | surely not; ask later                     | never sent, 429, 401, 403                    |
| `Unconfirmed` | nobody knows                              | everything else that comes of a purchase     |
| `Unreadable`  | says nothing                              | everything else that comes of other calls    |

The unknown is the default. Texts are for staff. No error holds the API key, nor leads to an exception that
does.
"""

from typing import Any

WORDS_LENGTH = 500
SAID_LENGTH = 2_000
DETAIL_LENGTH = 300


class ProviderError(Exception):
    """IdentityCall gave no answer to use. `str()` is a sentence for staff.

    `status`: the HTTP status, None without one. `words`: the provider's own words, '' without any. `said`: an
    excerpt of the body, for the record. `detail`: what failed in technical words, for the record. All of them
    are cleaned and cut.
    """

    def __init__(
        self, text: str, *, status: int | None = None, words: str = "", said: str = "", detail: str = ""
    ) -> None:
        super().__init__(text)
        self.status = status
        self.words = words[:WORDS_LENGTH]
        self.said = said[:SAID_LENGTH]
        self.detail = detail[:DETAIL_LENGTH]


class Declined(ProviderError):
    """IdentityCall says no, in words of its own (400, 404, 422)."""


class Unavailable(ProviderError):
    """Surely not carried out; the same call may be made later."""

    retry_after: float | None = None


class NotSent(Unavailable):
    """No byte of the request was handed to the socket. `fenced`: because too much time had passed since the
    claim.
    """

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
    """The number may have been bought or not: only evidence tells."""


class Unreadable(ProviderError):
    """A read or a change gave nothing that proves anything."""
