"""What runs around every view: secrets, log-in, actor and session."""

import contextlib
import ipaddress
import time

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.middleware import LoginRequiredMiddleware as DjangoLoginRequired
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import QueryDict
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRedirect, reswap

from purchasing import audit
from purchasing.redaction import holds_secret, redact

SECRET_WORDS = (
    "What you sent contained an API key. It was removed and is not stored. A key that was copied around is no longer "
    "safe: revoke it in IdentityCall (Settings, API Keys) and tell your team admin."
)


class SecretsMiddleware:
    """Removes everything that looks like an API key from browser input, before anything stores or shows it.

    A view that takes a key has the attribute `takes_secrets`, one that reads uploaded files has `takes_files`; all
    other uploads are discarded. Input that is too large to read is answered with a page that explains it.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        try:
            request.POST  # noqa: B018 - read before the CSRF check, whose error page could not explain the problem
        except RequestDataTooBig:
            return _too_much(request, f"is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE >> 20} MB")
        except TooManyFieldsSent:
            return _too_much(request, f"has more than {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS:,} fields")
        except TooManyFilesSent:
            return _too_much(request, f"holds more than {settings.DATA_UPLOAD_MAX_NUMBER_FILES} files")
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        request.held_secret = False
        if request.method == "POST" and not getattr(view, "takes_files", False):
            _discard(request.FILES)
        if getattr(view, "takes_secrets", False):
            return
        request.GET = self._without_secrets(request, request.GET)
        if request.held_secret:
            request.META["QUERY_STRING"] = request.GET.urlencode()
        if request.method == "POST":
            request.POST = self._without_secrets(request, request.POST)
        if request.held_secret and hasattr(request, "_messages"):
            messages.error(request, SECRET_WORDS)

    def _without_secrets(self, request, fields):
        found = any(
            holds_secret(key) or ("password" not in key and holds_secret(value))
            for key, values in fields.lists()
            for value in values
        )
        if not found:
            return fields
        request.held_secret = True
        clean = QueryDict(mutable=True, encoding=fields.encoding)
        for key, values in fields.lists():
            clean.setlist(redact(key), values if "password" in key else [redact(value) for value in values])
        return clean


def _too_much(request, problem):
    return render(request, "too_much.html", {"problem": problem}, status=400)


def _discard(files):
    for _, several in files.lists():
        for file in several:
            file.close()
    files.clear()


class LoginRequiredMiddleware(DjangoLoginRequired):
    """Django's, but htmx requests without a log-in redirect the whole page to the log-in, and then back."""

    def handle_no_permission(self, request, view_func):
        if getattr(request, "htmx", False):
            back = request.htmx.current_url_abs_path or "/"
            return HttpResponseClientRedirect(redirect_to_login(back, self.get_login_url(view_func)).url)
        return super().handle_no_permission(request, view_func)


class ActorMiddleware:
    """Sets `request.actor`, who acts in this request, for the audit record. The response names its click."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        ip = address_of(request)
        person = request.user.is_authenticated
        request.actor = audit.Actor.person(request.user, ip=ip) if person else audit.Actor.nobody(ip=ip)
        response = self.get_response(request)
        response["X-Request-ID"] = request.actor.click
        return response


def address_of(request):
    """The IP address of a request, as the outermost of our TRUSTED_PROXIES saw it, else of the direct connection.

    Entries of X-Forwarded-For further to the left come from the client and prove nothing.
    """
    if settings.TRUSTED_PROXIES:
        addresses = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
        if len(addresses) >= settings.TRUSTED_PROXIES:
            with contextlib.suppress(ValueError):
                return str(ipaddress.ip_address(addresses[-settings.TRUSTED_PROXIES]))
    return request.META.get("REMOTE_ADDR", "")


class SessionMiddleware:
    """Ends a session after half an hour without a click, and after eight hours in any case.

    Polling does not count as a click, and never redirects a page that somebody is typing into. A form that is sent
    after the session expired is kept until the same person has logged in again (`unsent`).
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        if not request.user.is_authenticated:
            return None
        session, now = request.session, int(time.time())
        polled = is_polled(request)
        if "began_at" not in session:
            begin_session(request)
        elif not (
            -CLOCK_SKEW < now - session["seen_at"] <= settings.SESSION_IDLE
            and -CLOCK_SKEW < now - session["began_at"] <= settings.SESSION_LIFE
        ):
            if polled:
                return _stop_polling(request)
            _end(request, view)
        elif not polled and now - session["seen_at"] >= NOTED_EVERY:
            session["seen_at"] = now
        return None


CLOCK_SKEW = 300  # seconds by which the clocks of our machines may differ
NOTED_EVERY = 60  # seconds, so that not every click writes the session
# Seconds that a session is stored after it expired, so that a form sent too late is not lost.
KEPT_FOR = 3 * 24 * 3600
LONGEST_UNSENT = 2_000_000  # characters


def begin_session(request):
    """Start the time limits of the session of this request."""
    request.session["began_at"] = request.session["seen_at"] = int(time.time())
    request.session.set_expiry(KEPT_FOR)


def is_polled(request):
    """Whether an open page is polling, which the names of polled URLs tell."""
    name = request.resolver_match.url_name or ""
    return (
        bool(getattr(request, "htmx", False))
        and request.method == "GET"
        and name.endswith(("-live", "-news"))
    )


def _stop_polling(request):
    """A response that ends the polling with a message and leaves the page as it is."""
    response = render(request, "partials/run_out.html", status=286)
    return reswap(response, "none")


def _end(request, view):
    """Log the person out, but keep the form they just sent."""
    unsent = _unsent(request, view)
    request.session.flush()
    request.user = AnonymousUser()
    request.actor = audit.Actor.nobody(ip=request.actor.ip, click=request.actor.click)
    if unsent:
        request.session["unsent"] = unsent


def _unsent(request, view):
    """The form that was sent too late, for the same person only: without passwords, keys and files."""
    if request.method != "POST" or getattr(view, "takes_secrets", False):
        return None
    if not getattr(view, "login_required", True):
        return None
    fields = [
        (name, value)
        for name, values in request.POST.lists()
        if name != "csrfmiddlewaretoken" and "password" not in name
        for value in values
    ]
    fits = sum(len(name) + len(value) for name, value in fields) <= LONGEST_UNSENT
    return {"user": request.user.pk, "to": request.get_full_path(), "fields": fields if fits else None}
