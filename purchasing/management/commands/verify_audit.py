"""`manage.py verify_audit`"""

import sys
import time

from django.core.management.base import BaseCommand

from purchasing import audit, checks
from purchasing.models import AuditSeal

WIDTH = 40  # characters of the bar


class Command(BaseCommand):
    help = (
        "Prove that no audit event was changed, removed or inserted, and that the seals fit. Exits with 1 and names "
        "the first bad row. The check itself is recorded."
    )

    def handle(self, **options):
        verdict = audit.verify(progress=Bar(sys.stderr) if sys.stderr.isatty() else None)
        checks.record_verdict(verdict, actor=audit.system("command line"))
        if verdict.whole:
            self.stdout.write(f"The audit chain is whole: {verdict.events} events.")
            if verdict.seals:
                last = AuditSeal.objects.get(number=verdict.seals)
                self.stdout.write(f"Its {verdict.seals} seals fit; the last is over event {last.seq}.")
            return
        where = "" if verdict.bad_seq is None else f" at event {verdict.bad_seq}"
        self.stderr.write(f"The audit chain is broken{where}: {verdict.problem}.")
        sys.exit(1)


class Bar:
    """How far it is, on one line of a terminal."""

    def __init__(self, terminal):
        self._terminal, self._drawn = terminal, 0.0

    def __call__(self, done, of):
        if time.monotonic() - self._drawn < 0.1 and done < of:
            return
        self._drawn = time.monotonic()
        share = done / of if of else 1
        filled = round(share * WIDTH)
        self._terminal.write(
            f"\r[{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%} {done:,} of {of:,} events"
        )
        if done >= of:
            self._terminal.write("\n")
        self._terminal.flush()
