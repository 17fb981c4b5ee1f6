"""`manage.py create_member USERNAME --team NAME --role ROLE --password-file FILE`"""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from purchasing import audit, people
from purchasing.management.find_team import find_team
from purchasing.management.secret_file import read_secret
from purchasing.states import Role
from purchasing.workflow import WorkflowError


class Command(BaseCommand):
    help = "Give a person a role in a team (or --role auditor, without a team). Sets a new password for one who exists."

    def add_arguments(self, parser):
        parser.add_argument("username")
        parser.add_argument("--team")
        parser.add_argument("--role", required=True, choices=[*Role.values, "auditor"])
        parser.add_argument("--password-file", required=True, metavar="FILE")

    def handle(self, *, username, team, role, password_file, **options):
        password = read_secret(password_file)
        try:
            validate_password(password)
        except ValidationError as weak:
            self.stderr.write(f"Warning: {' '.join(weak.messages)} It should be changed at the first log-in.")
        try:
            people.set_member(
                username,
                role=role,
                password=password,
                team=find_team(team) if team else None,
                actor=audit.system("command line"),
            )
        except WorkflowError as problem:
            raise CommandError(str(problem)) from None
        where = f"{role} of {team}" if team else role
        self.stdout.write(f"{username} is {where}.")
