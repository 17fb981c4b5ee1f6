"""A person at a browser: logs in, opens pages, fills in their forms and sends them."""

import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

from purchasing.redaction import holds_secret


@dataclass
class PageLog:
    """Checks every answer of the web server: none may be a server error or contain a secret."""

    statuses: Counter = field(default_factory=Counter)
    errors: list = field(default_factory=list)
    leaks: list = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look_at(self, response):
        where = f"{response.request.method} {urlsplit(response.url).path}"
        with self._lock:
            self.statuses[response.status_code] += 1
            if response.status_code >= 500:
                self.errors.append(f"{response.status_code} {where}")
            if holds_secret(response.text) or holds_secret(str(response.headers)):
                self.leaks.append(where)


@dataclass
class Form:
    """A form on a page: its address, and its fields with their values, in order."""

    action: str
    fields: list = field(default_factory=list)

    def values(self, name):
        return [value for key, value in self.fields if key == name]

    def filled(self, **changes):
        """The data to send with these fields changed; a list means several values, None means none."""
        kept = [(key, value) for key, value in self.fields if key not in changes]
        for name, value in changes.items():
            values = value if isinstance(value, list) else [] if value is None else [value]
            kept += [(name, item) for item in values]
        return kept


class _FormReader(HTMLParser):
    """Finds the forms of a page, with their fields as a browser would send them."""

    def __init__(self):
        super().__init__()
        self.forms, self._form, self._text, self._select = [], None, None, None

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            self._form = Form(attrs.get("action", ""))
            self.forms.append(self._form)
        elif self._form is not None and tag == "input":
            self._input(attrs)
        elif self._form is not None and tag == "textarea":
            self._text = (attrs.get("name"), [])
        elif self._form is not None and tag == "select":
            self._select = (attrs.get("name"), [])
        elif tag == "option" and self._select is not None:
            self._select[1].append((attrs.get("value", ""), "selected" in attrs))

    def _input(self, attrs):
        kind = attrs.get("type", "text")
        ticked = "checked" in attrs or kind not in ("checkbox", "radio")
        if attrs.get("name") and kind not in ("submit", "button") and ticked:
            self._form.fields.append((attrs["name"], attrs.get("value", "on" if kind == "checkbox" else "")))

    def handle_data(self, data):
        if self._text is not None:
            self._text[1].append(data)

    def handle_endtag(self, tag):
        if tag == "textarea" and self._text is not None:
            self._form.fields.append((self._text[0], "".join(self._text[1]).removeprefix("\n")))
            self._text = None
        elif tag == "select" and self._select is not None:
            name, options = self._select
            chosen = [value for value, selected in options if selected] or [value for value, _ in options[:1]]
            self._form.fields += [(name, value) for value in chosen]
            self._select = None
        elif tag == "form":
            self._form = None


@dataclass
class Page:
    """The answer to a request."""

    status: int
    url: str
    text: str

    @cached_property
    def forms(self):
        reader = _FormReader()
        reader.feed(self.text)
        return reader.forms

    def form(self, action):
        """The form whose address has this ending, or None."""
        return next((form for form in self.forms if urlsplit(form.action).path.endswith(action)), None)


class Browser:
    """The browser of one person."""

    def __init__(self, url, username, log):
        self.url, self.username, self.log = url, username, log
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["Connection"] = (
            "close"  # the server may close a kept connection just as it is used again
        )
        self.session.hooks["response"].append(lambda response, **_: log.look_at(response))

    def log_in(self, password):
        """Log in through the form; raises if that fails."""
        page = self.get("/accounts/login/")
        form = page.form("/login/")
        page = self.send(form, username=self.username, password=password)
        if page.form("/login/") is not None or page.status != 200:
            raise RuntimeError(f"{self.username} cannot log in")

    def another(self):
        """A second window of the same person."""
        window = Browser(self.url, self.username, self.log)
        window.session.cookies.update(self.session.cookies)
        return window

    def get(self, path):
        return self._page(self.session.get(urljoin(self.url, path), timeout=60))

    def send(self, form, *, to=None, **changes):
        """Fill in and send a form of a page; follows redirects."""
        return self.post(to or form.action, form.filled(**changes))

    def post(self, path, fields):
        return self._page(self.session.post(urljoin(self.url, path), data=fields, timeout=60))

    @staticmethod
    def _page(response):
        return Page(response.status_code, response.url, response.text)
