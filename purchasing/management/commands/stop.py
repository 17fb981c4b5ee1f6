"""`manage.py stop --reason REASON`"""

from django.core.management.base import BaseCommand, CommandError

from purchasing import audit
from purchasing.problems import Problem
from purchasing.teams import stop_buying


class Command(BaseCommand):
    help = "Stop all buying. Nothing is claimed after this; purchases under way are finished."

    def add_arguments(self, parser):
        parser.add_argument("--reason", required=True, help="why; it stays in the record")

    def handle(self, *, reason, **options):
        try:
            stop_buying.stop_all(actor=audit.system("command line"), reason=reason)
        except Problem as problem:
            raise CommandError(str(problem)) from None
        self.stdout.write("All buying is stopped.")
