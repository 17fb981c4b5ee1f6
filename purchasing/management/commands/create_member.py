"""`manage.py create_member USERNAME --team NAME --role ROLE --password-file FILE [--email ADDRESS]`"""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_email
from django.db import transaction

from purchasing import audit
from purchasing.mail import preferences
from purchasing.management.find_team import find_team
from purchasing.management.secret_file import read_secret
from purchasing.problems import Problem
from purchasing.states import Role
from purchasing.teams import members


class Command(BaseCommand):
    help = "Give a person a role in a team (or --role auditor, without a team). Resets an existing password."

    def add_arguments(self, parser):
        parser.add_argument("username")
        parser.add_argument("--team")
        parser.add_argument("--role", required=True, choices=[*Role.values, "auditor"])
        parser.add_argument("--password-file", required=True, metavar="FILE")
        parser.add_argument(
            "--email", metavar="ADDRESS", help="where to send mails; without it none are sent"
        )

    def handle(self, *, username, team, role, password_file, email, **options):
        password = read_secret(password_file)
        actor = audit.system("command line")
        try:
            if email is not None:
                validate_email(email)
        except ValidationError:
            raise CommandError("--email is not an email address.") from None
        try:
            validate_password(password)
        except ValidationError as weak:
            self.stderr.write(f"Warning: {' '.join(weak.messages)} It should be changed at the first log-in.")
        try:
            with transaction.atomic():
                user = members.set_member(
                    username,
                    role=role,
                    password=password,
                    team=find_team(team) if team else None,
                    email=email or "",
                    actor=actor,
                )
                if email is not None:  # without --email, an existing person keeps their address
                    preferences.choose(user, address=email, wants_mail=user.wants_mail, actor=actor)
        except Problem as problem:
            raise CommandError(str(problem)) from None
        where = f"{role} of {team}" if team else role
        self.stdout.write(f"{username} is {where}.")
