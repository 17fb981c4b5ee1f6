"""Log in, log out and change one's password, each recorded; and forms that were sent after the session expired."""

import re

from django.contrib.auth import views
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from purchasing.audit import clean
from purchasing.middleware import begin_session
from purchasing.teams import logins
from purchasing.views.forms.teams import LoginForm


class LogIn(views.LoginView):
    """Django's, slowed down after failures, and recorded. The session gets a new id and its time limits start."""

    authentication_form = LoginForm

    def post(self, request, *args, **kwargs):
        name = clean(request.POST.get("username", ""))[:150].strip()
        password = request.POST.get("password")
        self.attempt = logins.Try(name, request.actor) if name and password else None
        wait = self.attempt.begin() if self.attempt else None
        if wait:
            form = LoginForm(request, initial={"username": name})
            return self.render_to_response(self.get_context_data(form=form, wait=wait), status=429)
        return super().post(request, *args, **kwargs)

    def form_valid(self, form):
        unsent = self.request.session.get("unsent")  # lost with the session when somebody else logs in
        with transaction.atomic():
            super().form_valid(form)
            self.attempt.succeeded(form.get_user())
        self.request.session.cycle_key()  # Django keeps it when the same person logs in once more
        begin_session(self.request)
        if unsent and unsent["user"] == form.get_user().pk:
            self.request.session["unsent"] = unsent
            return redirect("unsent")
        self.request.session.pop("unsent", None)
        return redirect(self.get_success_url())

    def form_invalid(self, form):
        if self.attempt:
            self.attempt.failed()
        return super().form_invalid(form)


class LogOut(views.LogoutView):
    """Django's, recorded."""

    def post(self, request, *args, **kwargs):
        if request.user.is_authenticated:
            logins.ended(actor=request.actor)
        return super().post(request, *args, **kwargs)


class ChangePassword(views.PasswordChangeView):
    """Django's, recorded. The person's other sessions end with it."""

    def form_valid(self, form):
        with transaction.atomic():
            answer = super().form_valid(form)
            logins.password_changed(actor=self.request.actor)
        return answer


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def unsent(request):
    """A form that was sent after the session expired: shown again, and sent by a click."""
    kept = request.session.get("unsent")
    if not kept:
        return redirect("purchasing:home")
    if request.method == "POST":
        del request.session["unsent"]
        if "send" not in request.POST:
            return redirect("purchasing:home")
        # With 307 the browser sends the same form to the new address.
        return HttpResponse(status=307, headers={"Location": kept["to"]})
    fields = kept["fields"] or []
    context = {
        "fields": fields,
        "typed": [(_label(name), value) for name, value in fields if _is_typed(value)],
        "too_long": kept["fields"] is None,
    }
    return render(request, "registration/unsent.html", context)


def _label(name):
    """A label made from the name of a field: 'n-0-name' becomes 'Name'."""
    return re.sub(r"^\w+-\d+-", "", name).replace("_", " ").capitalize()


def _is_typed(value):
    """Whether a person wrote it, as opposed to a number, an id or a ticked box."""
    return bool(re.search(r"[^\W\d]", value)) and not re.fullmatch(
        r"on|yes|no|hard|soft|[0-9a-f-]{32,}", value
    )
