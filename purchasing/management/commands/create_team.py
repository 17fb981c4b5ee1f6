"""`manage.py create_team NAME --api-key-file FILE`"""

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from purchasing import audit
from purchasing.identitycall.resources import parse_cost
from purchasing.management.secret_file import read_secret
from purchasing.problems import Problem
from purchasing.teams import keys, teams


class Command(BaseCommand):
    help = "Create a team that buys with the API key in a file, which contains only the key."

    def add_arguments(self, parser):
        parser.add_argument("name")
        parser.add_argument("--api-key-file", required=True, metavar="FILE")

        parser.add_argument(
            "--budget", metavar="N", help="how much the team may commit per month, in CURRENCY"
        )

    def handle(self, *, name, api_key_file, budget, **options):
        actor = audit.system("command line")
        secret = read_secret(api_key_file)
        amount = None if budget is None else parse_cost(budget)
        if budget is not None and amount is None:
            raise CommandError("The budget must be an amount such as 250 or 99.50.")
        try:
            with transaction.atomic():
                team = teams.create_team(name, actor=actor, monthly_budget=amount)
                key = keys.set_key(team, secret, actor=actor)
        except Problem as problem:
            raise CommandError(str(problem)) from None
        self.stdout.write(f"Created the team {team} with the API key {key}.")
