"""`manage.py set_key TEAM --api-key-file FILE`"""

from django.core.management.base import BaseCommand, CommandError

from purchasing import audit
from purchasing.management.find_team import find_team
from purchasing.management.secret_file import read_secret
from purchasing.problems import Problem
from purchasing.teams import keys


class Command(BaseCommand):
    help = "Replace a team's API key. Purchases that wait for a key are bought with the new one."

    def add_arguments(self, parser):
        parser.add_argument("team")
        parser.add_argument("--api-key-file", required=True, metavar="FILE")

    def handle(self, *, team, api_key_file, **options):
        team = find_team(team)
        try:
            key = keys.set_key(team, read_secret(api_key_file), actor=audit.system("command line"))
        except Problem as problem:
            raise CommandError(str(problem)) from None
        self.stdout.write(f"{team} now buys with the API key {key}.")
