"""Links for choosing a password, sent by mail. They are made when the mail is sent and stored nowhere."""

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from purchasing import audit, clock
from purchasing.audit.search import Filter, newest_first
from purchasing.models import Mail

ACTIONS = ("member.invited", "member.link_sent")  # the events that such a mail is about
SENT_AGAIN_AFTER = timedelta(minutes=1)  # between two mails to the same person


class LinkTokens(PasswordResetTokenGenerator):
    """Django's tokens end with their time and with a new password; these also when the account is switched off."""

    key_salt = "purchasing.teams.invitations.LinkTokens"

    def _make_hash_value(self, user, timestamp):
        return f"{super()._make_hash_value(user, timestamp)}{user.is_active}"


tokens = LinkTokens()


def link_for(user):
    """The full URL of the page on which `user` chooses a password."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return settings.SITE_URL + reverse("welcome", args=[uid, tokens.make_token(user)])


def link_shown_for(user):
    """The link for a page to show, in the sandbox only: it has no mailboxes. '' for a user who has a password.

    In production the link goes to the person's mailbox and nowhere else.
    """
    return link_for(user) if settings.SANDBOX and user.is_active and not user.has_usable_password() else ""


def life_of_a_link():
    """How long a link can be used: '3 days', '12 hours'."""
    hours = max(1, settings.PASSWORD_RESET_TIMEOUT // 3600)
    if hours >= 48:
        return f"{hours // 24} days"
    return "1 hour" if hours == 1 else f"{hours} hours"


def last_asked(user):
    """The event of the last link that somebody requested for `user`, or None."""
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
    """The mail for such an event, or None where it is not queued yet, was never queued, or was deleted as too old."""
    mails = Mail.objects.filter(user=asked.data["member_id"], kind="invitation").order_by("-pk")
    return next((mail for mail in mails if asked.seq in mail.events), None)


def is_on_its_way(asked):
    """Whether a link was requested a moment ago and its mail has not been given up since."""
    mail = mail_of(asked)
    return clock.now() - asked.at < SENT_AGAIN_AFTER and not (mail and mail.given_up_at)


def record_choice(user):
    """Record that a user chose a password with a link; called in the transaction that stores it."""
    audit.record(
        "member.password_chosen",
        actor=audit.Actor.person(user),
        member=user.get_username(),
        member_id=user.pk,
    )
