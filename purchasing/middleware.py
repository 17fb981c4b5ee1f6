"""What happens around every view."""

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
    "What you sent held an API key. It was cut out and is not kept. A key that was copied around is no longer safe: "
    "revoke it in IdentityCall (Settings, API Keys) and tell your team admin."
)


class SecretsMiddleware:
    """Cuts everything of the form of an API key out of what a browser sends, before anything keeps or shows it.

    A view that takes a key says so by a `takes_secrets` attribute, one that reads uploaded files by `takes_files`;
    files that no view asked for are thrown away. What is too much to be read is answered with a page that says so.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        try:
            request.POST  # noqa: B018 - read here, since nobody could say in words what the CSRF check runs into
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
            _throw_away(request.FILES)
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


def _throw_away(files):
    for _, several in files.lists():
        for file in several:
            file.close()
    files.clear()


class LoginRequiredMiddleware(DjangoLoginRequired):
    """Django's, but an expired log-in answers htmx with a redirect of the whole page, back to where it was."""

    def handle_no_permission(self, request, view_func):
        if getattr(request, "htmx", False):
            back = request.htmx.current_url_abs_path or "/"
            return HttpResponseClientRedirect(redirect_to_login(back, self.get_login_url(view_func)).url)
        return super().handle_no_permission(request, view_func)


class ActorMiddleware:
    """`request.actor`: who acts in this request, for the audit record. The answer names its click."""

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
    """Where a request came from: as the last of our TRUSTED_PROXIES saw it, else whoever connected to us.

    What X-Forwarded-For says further to the left was written by whoever sent the request, and counts for nothing.
    """
    if settings.TRUSTED_PROXIES:
        told = [part.strip() for part in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")]
        if len(told) >= settings.TRUSTED_PROXIES:
            with contextlib.suppress(ValueError):
                return str(ipaddress.ip_address(told[-settings.TRUSTED_PROXIES]))
    return request.META.get("REMOTE_ADDR", "")


class SessionMiddleware:
    """Ends a log-in after half an hour without a click, and after eight hours in any case.

    What an open page asks for by itself is no click, and it is not sent away from what somebody is typing into it. What
    was typed into a form that is sent too late is kept until the same person has logged in again (`unsent`).
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
            -CLOCKS < now - session["seen_at"] <= settings.SESSION_IDLE
            and -CLOCKS < now - session["began_at"] <= settings.SESSION_LIFE
        ):
            if polled:
                return _run_out(request)
            _end(request, view)
        elif not polled and now - session["seen_at"] >= NOTED_EVERY:
            session["seen_at"] = now
        return None


CLOCKS = 300  # seconds by which the clocks of our machines may differ
NOTED_EVERY = 60  # seconds; not each click writes the session
KEPT_FOR = (
    3 * 24 * 3600
)  # seconds that a session is known after its log-in has run out, for what was typed in it
LONGEST_UNSENT = 2_000_000  # characters


def begin_session(request):
    """Begin a log-in in the session of this request."""
    request.session["began_at"] = request.session["seen_at"] = int(time.time())
    request.session.set_expiry(KEPT_FOR)


def is_polled(request):
    """Whether an open page asks by itself: addresses that are polled have such names."""
    name = request.resolver_match.url_name or ""
    return (
        bool(getattr(request, "htmx", False))
        and request.method == "GET"
        and name.endswith(("-live", "-news"))
    )


def _run_out(request):
    """An answer that ends the polling and says why, and leaves the page as it is."""
    response = render(request, "partials/run_out.html", status=286)
    return reswap(response, "none")


def _end(request, view):
    """Log the person out; what they just sent is kept."""
    unsent = _unsent(request, view)
    request.session.flush()
    request.user = AnonymousUser()
    request.actor = audit.Actor.nobody(ip=request.actor.ip, click=request.actor.click)
    if unsent:
        request.session["unsent"] = unsent


def _unsent(request, view):
    """A form that came too late, for its person alone: no passwords, no keys, no files."""
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
