"""What happens around every view."""

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.middleware import LoginRequiredMiddleware as DjangoLoginRequired
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent, TooManyFilesSent
from django.http import QueryDict
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRedirect

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
    """`request.actor`: who acts in this request, for the audit record."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.user.is_authenticated:
            request.actor = audit.Actor.person(request.user, ip=request.META.get("REMOTE_ADDR", ""))
        return self.get_response(request)
