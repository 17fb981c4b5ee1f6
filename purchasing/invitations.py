"""Links with which a person chooses a password, and the mail that brings them."""

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.mail import EmailMultiAlternatives, get_connection
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django_tasks import TaskResultStatus
from django_tasks_db.models import DBTaskResult

from purchasing import audit, clock, people, wake
from purchasing.models import AuditEvent, Team, User
from purchasing.workflow import AlreadyMoved, WorkflowError

MAIL_PATIENCE = 20  # seconds that a mail server may take
AGAIN = timedelta(minutes=1)  # between two mails to the same person


class LinkTokens(PasswordResetTokenGenerator):
    """Django's: a token ends with its time, with the password it was for, and when the account is switched off."""

    key_salt = "purchasing.invitations.LinkTokens"

    def _make_hash_value(self, user, timestamp):
        return f"{super()._make_hash_value(user, timestamp)}{user.is_active}"


tokens = LinkTokens()


def link_for(user):
    """The whole address of the page on which `user` chooses a password."""
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    return settings.SITE_URL + reverse("welcome", args=[uid, tokens.make_token(user)])


def life_of_a_link():
    """How long a link can be used: '3 days', '12 hours'."""
    hours = settings.PASSWORD_RESET_TIMEOUT // 3600
    return f"{hours // 24} days" if hours >= 48 else f"{max(1, hours)} hours"


def send_again(user, *, actor, team):
    """Let the queue send a member a new link. One that was used, or one for an older password, opens nothing."""
    with transaction.atomic():
        team = people.locked_by_admin(team, actor)
        if not people.roles_in(team, user):
            raise AlreadyMoved(f"{user} is not in {team} any more.")
        if not user.is_active:
            raise WorkflowError(f"The account of {user} is switched off. Switch it on first.")
        if not user.email:
            raise WorkflowError(f"There is no address to send a link to {user}.")
        last = last_mail(user)
        if last and last.status != TaskResultStatus.FAILED and clock.now() - last.enqueued_at < AGAIN:
            raise WorkflowError("A mail was sent less than a minute ago. It may take a moment to arrive.")
        audit.record(
            "member.link_sent", actor=actor, team=team, member=user.get_username(), member_id=user.pk
        )
        wake.soon("invite", user.pk)


def last_mail(user):
    """The queue's row of the last mail to `user` (kept for some days), or None."""
    rows = DBTaskResult.objects.filter(task_path="purchasing.tasks.invite", args_kwargs__args=[user.pk])
    return rows.order_by("-enqueued_at").first()


def send(user_id):
    """Send the mail with the link. Raises what the mail server made of it; the queue's row says so then."""
    user = User.objects.filter(pk=user_id, is_active=True).exclude(email="").first()
    if user is None:
        return
    teams = Team.objects.filter(memberships__user=user).distinct().order_by("name")
    asked = AuditEvent.objects.filter(
        team__in=teams, action__in=["member.invited", "member.link_sent"], data__member_id=user.pk
    )
    context = {
        "user": user,
        "is_new": not user.has_usable_password(),
        "invited_by": asked.order_by("-seq").values_list("actor_name", flat=True).first(),
        "teams": [team.name for team in teams],
        "link": link_for(user),
        "life": life_of_a_link(),
        "site": settings.SITE_URL,
    }
    mail = EmailMultiAlternatives(
        "You are invited to Number Desk" if context["is_new"] else "Choose a new password for Number Desk",
        render_to_string("mail/invitation.txt", context),
        to=[user.email],
        connection=get_connection(timeout=MAIL_PATIENCE),
    )
    mail.attach_alternative(render_to_string("mail/invitation.html", context), "text/html")
    mail.send()


def record_choice(user):
    """Record that somebody chose a password with a link, in the transaction that stores it."""
    audit.record(
        "member.password_chosen",
        actor=audit.Actor.person(user),
        member=user.get_username(),
        member_id=user.pk,
    )
