"""The only module that speaks HTTP: calls to IdentityCall with one API key.

A purchase carries no idempotency key (VN-BUY), so each call is one request on one fresh connection, tried
once. A call returns a value or raises one of `errors`, each of which says whether the number was bought.
Nothing that the network or the provider does raises any other exception.
"""

import ipaddress
import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from requests import PreparedRequest, Request

from purchasing.identitycall import answers, errors, paging, resources
from purchasing.identitycall.answers import Answer, Failure
from purchasing.identitycall.connection import Adapter, Exchange, Fence
from purchasing.identitycall.resources import NumberDetail, OfferList, OwnedList, OwnedNumber, Project

__all__ = ["Client", "Fence"]

NUMBERS = "/virtual_numbers"
PURCHASE_CAP = 64 * 1024  # bytes of a body
READ_CAP = 8 * 1024 * 1024
USER_AGENT = "number-desk"
_NOT_KNOWN = " Whether the number was bought is not known yet."
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_PATH = re.compile(r"[A-Za-z0-9._~/-]*")
_PRINTABLE = re.compile(r"[!-~]{1,500}")

T = TypeVar("T")


class Client:
    """IdentityCall as one API key sees it.

    `connect_timeout` (for each address of the host), `read_timeout` (between two parts of an answer) and
    `deadline` (for a whole call) are seconds. `before_read` runs before each call other than a purchase; what it
    raises is passed on. `verify` is True, or the path of the certificates of the authorities to trust.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        connect_timeout: float = 5,
        read_timeout: float = 25,
        deadline: float = 30,
        before_read: Callable[[], object] | None = None,
        verify: bool | str = True,
    ) -> None:
        if not isinstance(key, str) or not _PRINTABLE.fullmatch(key):
            raise ValueError("An API key is a text of printable ASCII characters without spaces.")
        if not verify:
            raise ValueError("Certificates are always verified.")
        if not all(0 < seconds < 86_400 for seconds in (connect_timeout, read_timeout, deadline)):
            raise ValueError("Timeouts are seconds, more than 0 and less than a day.")
        self._base_url = checked_base_url(base_url)
        self._key = key
        self._clean = answers.cleaner(key)
        self._timeouts = (connect_timeout, read_timeout)
        self._deadline = deadline
        self._before_read = before_read
        self._verify = verify if verify is True else str(verify)

    def __repr__(self) -> str:
        return f"<Client of {self._base_url}>"

    def purchase_number(self, body: bytes, *, phone_number: str, fence: Fence) -> OwnedNumber:
        """Buy a number: one POST of exactly these bytes (VN-BUY). Returns only for a complete 201 that shows the
        number.

        Raises NotSent, RateLimited or KeyRefused (certainly not bought), Declined (not bought by this call),
        else Unconfirmed.
        """
        answer = self._call("POST", f"{NUMBERS}/purchase", body=body, fence=fence, cap=PURCHASE_CAP)
        self._raise_known(answer)
        if isinstance(answer, Failure):
            raise errors.Unconfirmed(_ending(answer) + _NOT_KNOWN, detail=answer.detail)
        bought = _bought(answer)
        if bought is None:
            raise errors.Unconfirmed(_ending(answer) + _NOT_KNOWN, **answers.kept_of(answer, self._clean))
        if bought.phone_number != phone_number:
            error = errors.Unconfirmed(
                f"IdentityCall's answer names another number: {bought.phone_number} under the id {bought.id}."
                + _NOT_KNOWN,
                **answers.kept_of(answer, self._clean),
            )
            error.bought_instead = (bought.id, bought.phone_number)
            raise error
        return replace(bought, answer_text=answers.kept_of(answer, self._clean)["answer_text"])

    def owned_numbers(self) -> OwnedList:
        """Read all numbers of the key (VN-LIST), page by page where the provider pages (contradiction 5).

        Returns the whole list or raises: Unreadable for a list that is not whole and well-formed, as it proves
        nothing.
        """
        first = self._read(NUMBERS)
        if self._understood(paging.page_count, first) <= 1:
            return self._understood(paging.read_single, first)
        pages: list[Any] = []
        count = 1
        while len(pages) < count:
            pages.append(self._read(f"{NUMBERS}?page={len(pages) + 1}&per_page={paging.PER_PAGE}"))
            count = self._understood(paging.page_count, pages[-1])
        return self._understood(paging.read_pages, pages)

    def available(self, *, country_code: str, number_type: str) -> OfferList:
        """Search what is on sale (VN-AVAIL); both parameters are always sent (contradiction 15)."""
        return self._understood(
            resources.read_offers,
            self._read(f"{NUMBERS}/available", country=country_code, number_type=number_type),
        )

    def number(self, number_id: int) -> NumberDetail:
        """Read one number (VN-GET)."""
        return self._detail(number_id, self._read(_path_of(number_id)))

    def update_number(self, number_id: int, **fields: Any) -> NumberDetail:
        """Change the fields of one number that are given (VN-UPD); doing it twice does no harm."""
        return self._detail(number_id, self._read(_path_of(number_id), change=json.dumps(fields).encode()))

    def projects(self) -> tuple[Project, ...]:
        """Read the projects that the key sees (PR-LIST)."""
        return self._understood(resources.read_projects, self._read("/projects"))

    def write_permission(self) -> bool | None:
        """Return whether the key may write, None where that is not certain. Raises nothing for the provider.

        Requests an operator without a name, which cannot be created (OP-NEW): 403 means no, 400 or 422 yes.
        """
        self._pace()
        answer = self._call("POST", "/operators", body=b"{}", cap=PURCHASE_CAP)
        return {403: False, 400: True, 422: True}.get(answer.status) if isinstance(answer, Answer) else None

    def _detail(self, number_id: int, value: Any) -> NumberDetail:
        detail = self._understood(lambda answer: resources.read_detail(resources.data_of(answer)), value)
        if detail.id != number_id:
            raise errors.Unreadable("IdentityCall's answer is about a different number.", status=200)
        return detail

    def _pace(self) -> None:
        if self._before_read is not None:
            self._before_read()

    def _read(self, path: str, *, change: bytes | None = None, **parameters: str) -> Any:
        """Return the JSON value of a complete 200. For any other answer raises what is certain, else Unreadable."""
        self._pace()
        method = "GET" if change is None else "PATCH"
        answer = self._call(method, path, body=change, parameters=parameters, cap=READ_CAP)
        self._raise_known(answer)
        if isinstance(answer, Failure):
            raise errors.Unreadable(_ending(answer), detail=answer.detail)
        if not answer.whole or answer.status != 200:
            raise errors.Unreadable(_ending(answer), **answers.kept_of(answer, self._clean))
        return self._understood(resources.load, answer.body)

    def _understood(self, reader: Callable[[Any], T], value: Any) -> T:
        try:
            return reader(value)
        except resources.Malformed as error:
            problem = errors.Unreadable(
                "IdentityCall's answer could not be understood.", status=200, detail=str(error)
            )
        raise problem

    def _raise_known(self, answer: Answer | Failure) -> None:
        """Raise what is certain: never sent, refused, declined."""
        if isinstance(answer, Failure):
            if answer.never_sent:
                raise errors.NotSent(_ending(answer), fenced=answer.fenced, detail=answer.detail)
            return
        known = answers.refusal(answer, self._clean) or answers.declined(answer, self._clean)
        if known is not None:
            raise known

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        parameters: dict[str, str] | None = None,
        fence: Fence | None = None,
        cap: int,
    ) -> Answer | Failure:
        """Make one call. Raises nothing for what the network or the provider does."""
        handled = answers.handled_now()
        answer: Answer | Failure | None = None
        exchange = Exchange(self._deadline, fence=fence)
        try:
            with exchange, closing(Adapter(exchange)) as adapter:
                request = exchange.guarded(self._prepared, method, path, body, parameters)
                response = adapter.send(
                    request, stream=True, timeout=self._timeouts, verify=self._verify, proxies={}
                )
                with closing(response):
                    answer = answers.read_answer(response, exchange, cap=cap)
        except Exception as error:
            if answer is None:
                answer = answers.failure_of(error, exchange, handled=handled, clean=self._clean)
        return answer

    def _prepared(
        self, method: str, path: str, body: bytes | None, parameters: dict[str, str] | None
    ) -> PreparedRequest:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = Request(
            method, self._base_url + path, headers=headers, data=body, params=parameters
        ).prepare()
        request.headers["Connection"] = "close"
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def checked_base_url(url: str) -> str:
    """Return the base URL without a slash at its end. Raises ValueError where a key must not be sent to it."""
    if not isinstance(url, str) or not _PRINTABLE.fullmatch(url):
        _refuse("must be printable ASCII characters without spaces")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        _refuse("is not well-formed")
    if "@" in parts.netloc or "?" in url or "#" in url or not _PATH.fullmatch(parts.path):
        _refuse("must hold neither a user, a password, a query nor a fragment")
    literal = _address(host)
    if parts.scheme not in ("http", "https") or (literal is None and not _HOST.fullmatch(host)) or port == 0:
        _refuse("must look like https://host/path")
    if parts.scheme == "http" and host != "localhost" and not (literal and literal.is_loopback):
        _refuse("must begin with https:// unless it leads to this very machine")
    at = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{at}{'' if port is None else f':{port}'}{parts.path.rstrip('/')}"


def _refuse(problem: str) -> NoReturn:
    raise ValueError(f"The address of the IdentityCall API {problem}.") from None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _path_of(number_id: int) -> str:
    if not resources.is_id(number_id):
        raise ValueError("The id of a number is a positive integer.")
    return f"{NUMBERS}/{number_id}"


def _bought(answer: Answer) -> OwnedNumber | None:
    if answer.status != 201 or not answer.whole:
        return None
    try:
        return resources.read_owned(resources.data_of(resources.load(answer.body)))
    except resources.Malformed:
        return None


def _ending(answer: Answer | Failure) -> str:
    """Return a sentence for staff about how a call ended."""
    if isinstance(answer, Failure):
        if answer.fenced:
            return "Nothing was sent: too much time had passed since the purchase was started."
        if answer.never_sent:
            return "IdentityCall could not be reached; nothing was sent."
        return (
            "IdentityCall did not answer in time." if answer.late else "The connection to IdentityCall broke."
        )
    if 300 <= answer.status < 400:
        return "IdentityCall pointed to another address, which is not followed."
    if not answer.whole:
        return f"IdentityCall's answer did not arrive whole (status {answer.status})."
    if answer.status >= 500:
        return f"IdentityCall reported a fault of its own (status {answer.status})."
    return f"IdentityCall's answer could not be understood (status {answer.status})."
