"""Links with which a person chooses a password. A mail brings them; they are made when it is sent and kept nowhere."""

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from purchasing import audit, clock
from purchasing.audit.search import Filter, newest_first
from purchasing.models import Mail

ACTIONS = ("member.invited", "member.link_sent")  # the events that such a mail tells of
SENT_AGAIN_AFTER = timedelta(minutes=1)  # between two mails to the same person


class LinkTokens(PasswordResetTokenGenerator):
    """Django's: a token ends with its time, with the password it was for, and when the account is switched off."""

    key_salt = "purchasing.teams.invitations.LinkTokens"

    def _make_hash_value(self, user, timestamp):
        return f"{super()._make_hash_value(user, timestamp)}{user.is_active}"


tokens = LinkTokens()


def link_for(user):
    """The whole address of the page on which `user` chooses a password."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return settings.SITE_URL + reverse("welcome", args=[uid, tokens.make_token(user)])


def link_shown_for(user):
    """The link, where a page may show it: in the sandbox, where nobody reads a mailbox, for who has no password yet.

    In earnest it is for the person's own mailbox alone.
    """
    return link_for(user) if settings.SANDBOX and user.is_active and not user.has_usable_password() else ""


def life_of_a_link():
    """How long a link can be used: '3 days', '12 hours'."""
    hours = max(1, settings.PASSWORD_RESET_TIMEOUT // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return "1 hour" if hours == 1 else f"{hours} hours"


def last_asked(user):
    """The event with which somebody had a link sent to `user` last, or None."""
    asked = (
        next(
            (
                event
                for event in newest_first(Filter(action=action))
                if event.data.get("member_id") == user.pk
            ),
            None,
        )
        for action in ACTIONS
    )
    return max(filter(None, asked), key=lambda event: event.seq, default=None)


def mail_of(asked):
    """The mail that came of such an event, or None: it is on its way, was never made, or was forgotten long since."""
    mails = Mail.objects.filter(user=asked.data["member_id"], kind="invitation").order_by("-pk")
    return next((mail for mail in mails if asked.seq in mail.events), None)


def is_on_its_way(asked):
    """Whether a link was asked for a moment ago, and its mail not given up since."""
    mail = mail_of(asked)
    return clock.now() - asked.at < SENT_AGAIN_AFTER and not (mail and mail.given_up_at)


def record_choice(user):
    """Record that somebody chose a password with a link, in the transaction that stores it."""
    audit.record(
        "member.password_chosen",
        actor=audit.Actor.person(user),
        member=user.get_username(),
        member_id=user.pk,
    )
