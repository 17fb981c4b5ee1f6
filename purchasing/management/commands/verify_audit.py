"""`manage.py verify_audit`"""

import sys

from django.core.management.base import BaseCommand

from purchasing import audit


class Command(BaseCommand):
    help = "Prove that no audit event was changed, removed or inserted. Exits with 1 and names the first bad row."

    def handle(self, **options):
        verdict = audit.verify()
        if verdict.whole:
            self.stdout.write(f"The audit chain is whole: {verdict.events} events.")
            return
        self.stderr.write(f"The audit chain is broken at event {verdict.bad_seq}: {verdict.problem}.")
        sys.exit(1)
