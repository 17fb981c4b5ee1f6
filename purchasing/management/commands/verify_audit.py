"""`manage.py verify_audit`"""

import sys
import time

from django.core.management.base import BaseCommand, CommandError

from purchasing import audit
from purchasing.audit import verification
from purchasing.models import AuditSeal
from purchasing.provider import unrecorded

BECAME = {
    audit.Kept.REWRITTEN: (
        "Event {seq} has changed since {kept} was exported: the record was rewritten, or an older copy of the database "
        "was restored and used since."
    ),
    audit.Kept.LOST: (
        "The record ends before event {seq}, which it held when {kept} was exported: an older copy of the database was "
        "restored."
    ),
}
WIDTH = 40  # characters of the bar


class Command(BaseCommand):
    help = (
        "Prove that no audit event was changed, removed or inserted, and that the seals are valid. Exits with 1 and "
        "names the first bad row. The check itself is recorded."
    )

    def add_arguments(self, parser):
        parser.add_argument(
            "--kept",
            metavar="FILE",
            help="an export that you kept (CSV or JSON Lines), or its first line, to compare the record with",
        )

    def handle(self, *, kept, **options):
        compared = self._compared(kept) if kept else {}  # before the check itself is recorded
        verdict = audit.verify(progress=Bar(sys.stderr) if sys.stderr.isatty() else None)
        verification.record_verdict(verdict, actor=audit.system("command line"))
        for seq, became in compared.items():
            if became is not audit.Kept.UNCHANGED:
                self.stderr.write(BECAME[became].format(seq=seq, kept=kept))
                sys.exit(1)
            self.stdout.write(f"Event {seq} is unchanged since {kept} was exported.")
        if verdict.whole:
            self.stdout.write(f"The audit chain is whole: {verdict.events} events.")
            if verdict.seals:
                last = AuditSeal.objects.get(number=verdict.seals)
                self.stdout.write(
                    f"Its {verdict.seals} seals are valid; the last one covers event {last.seq}."
                )
            if unrecorded.unknown_numbers().exists():
                self.stdout.write(unrecorded.in_words())
            return
        where = "" if verdict.bad_seq is None else f" at event {verdict.bad_seq}"
        self.stderr.write(f"The audit chain is broken{where}: {verdict.problem}.")
        sys.exit(1)

    def _compared(self, path):
        try:
            with open(path, encoding="utf-8-sig", errors="replace") as file:
                line = file.readline(10_000)
        except OSError as problem:
            raise CommandError(f"{path} cannot be read: {problem.strerror}.") from None
        compared = audit.compare(line)
        if not compared:
            raise CommandError(
                f"The first line of {path} names no event with its hash, so it is not an export."
            )
        return compared


class Bar:
    """A progress bar on one line of a terminal."""

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
