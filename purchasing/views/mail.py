"""The mails that were sent, and the person's mail settings."""

from dataclasses import dataclass

from csp.decorators import csp
from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_http_methods, require_safe

from purchasing.mail import content, preferences
from purchasing.models import Mail
from purchasing.problems import Problem
from purchasing.teams import invitations

PAGE = 50


class MailForm(forms.Form):
    """The address for mails, and whether to send any."""

    address = forms.EmailField(
        label="Address",
        required=False,
        max_length=254,
        help_text="Without one, no mails are sent to you.",
        error_messages={"invalid": "An address such as sam@example.com."},
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
    wants_mail = forms.BooleanField(
        label="Send me mails",
        required=False,
        help_text="When something is waiting for you, and when your requests are finished.",
    )


def _mails_shown_to(user):
    """One's own; in the sandbox, which has no mailboxes, a superuser sees all."""
    mails = Mail.objects.select_related("user", "team", "request")
    return mails if settings.SANDBOX and user.is_superuser else mails.filter(user=user)


@dataclass(frozen=True)
class ShownMail:
    """A mail as one person may see it."""

    mail: Mail
    title: str
    is_invitation: bool
    text: str
    html: str


def _title_of(mail):
    """The subject; before the mail is written, what kind of mail it is."""
    return mail.subject or content.TITLES[mail.kind]


@require_safe
def listing(request):
    """The mails, newest first."""
    pages = Paginator(_mails_shown_to(request.user), PAGE)
    page = pages.get_page(request.GET.get("page"))
    titled = [(mail, _title_of(mail)) for mail in page.object_list]
    return render(request, "purchasing/mails.html", {"page": page, "titled": titled})


@require_safe
@never_cache
def detail(request, pk):
    """One mail, as text and as it looks in a mailbox."""
    return render(request, "purchasing/mail.html", {"shown": _shown(request, pk)})


@require_safe
@never_cache
@xframe_options_sameorigin
@csp(
    {
        "default-src": ["'none'"],
        "style-src": ["'unsafe-inline'"],  # mail programs support no others; nothing else is allowed
        "form-action": ["'none'"],
        "frame-ancestors": ["'self'"],
        "sandbox": ["allow-popups", "allow-popups-to-escape-sandbox"],
    }
)
def as_html(request, pk):
    """The HTML of a mail, for the frame on its page: no scripts, nothing loaded, and links open a new tab."""
    return HttpResponse(_shown(request, pk).html.replace("<head>", '<head><base target="_blank">', 1))


def _shown(request, pk):
    """The mail as this person may see it. Only the sandbox, which has no mailboxes, shows the link of an invitation."""
    mail = get_object_or_404(_mails_shown_to(request.user), pk=pk)
    text, html, is_invitation = mail.text, mail.html, mail.kind == "invitation"
    if is_invitation:
        link = invitations.link_shown_for(mail.user)
        text, html = content.with_link(text, link), content.with_link(html, link)
    return ShownMail(mail, _title_of(mail), is_invitation, text, html)


@require_http_methods(["GET", "HEAD", "POST"])
def choose(request):
    """Change the person's address, and whether mails are sent to it."""
    user = request.user
    start = {"address": user.email, "wants_mail": user.wants_mail}
    form = MailForm(request.POST if request.method == "POST" else None, initial=start)
    if form.is_valid():
        try:
            preferences.choose(user, actor=request.actor, **form.cleaned_data)
        except Problem as problem:
            form.add_error("address", str(problem))
    if not form.is_valid():
        return render(request, "purchasing/mail_settings.html", {"form": form})
    address = form.cleaned_data["address"]
    if not form.cleaned_data["wants_mail"]:
        messages.success(request, "You will get no more mails.")
    elif address:
        messages.success(request, f"Mails will be sent to {address}.")
    else:
        messages.warning(request, "There is no address, so no mails are sent to you.")
    return redirect("mail-settings")
