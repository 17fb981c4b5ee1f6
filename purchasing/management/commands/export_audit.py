"""`manage.py export_audit FILE [--format …] [filters]`"""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from purchasing import audit
from purchasing.audit import export
from purchasing.audit.desk import everything
from purchasing.audit.search import Reader
from purchasing.views.forms.audit import FilterForm

FILTERS = {
    "q": "words from reasons and names, or their beginnings",
    "number": "any part of a phone number",
    "person": "who did it",
    "action": "what was done, such as purchase.approved",
    "outcome": "what a number became, such as purchased",
    "team": "the short name of a team, as in its address",
    "request": "the number of a request",
    "since": "the first day, such as 2026-05-01",
    "until": "the last day",
}


class Command(BaseCommand):
    help = (
        "Write audit events to a file, newest first: all of them, or those that match the filters. The first line "
        "names the head of the chain. FILE - is the standard output. The export is recorded."
    )

    def add_arguments(self, parser):
        parser.add_argument("file", metavar="FILE", help="a new file, or - for the standard output")
        parser.add_argument(
            "--format", choices=sorted(export.FORMATS), help="by default the extension of FILE, else csv"
        )
        for name, help_text in FILTERS.items():
            parser.add_argument(f"--{name}", default="", help=help_text)

    def handle(self, *, file, format, **options):
        kind = format or Path(file).suffix.removeprefix(".")
        if kind not in export.FORMATS:
            kind = "csv"
        form = FilterForm({name: options[name] for name in FILTERS})
        form.is_valid()
        offered = everything(*form.moments)
        form.offer(offered)
        if not form.is_valid():
            problems = [f"--{name}: {' '.join(errors)}" for name, errors in form.errors.items()]
            raise CommandError("\n".join(problems))
        with _opened(file) as target:
            pieces = export.begin(
                kind,
                reader=Reader(form.wanted, limits=offered.limits),
                filtered=form.in_words,
                actor=audit.system("command line"),
                sees_all=True,
            )
            for piece in pieces:
                target.write(piece.encode() if isinstance(piece, str) else piece)
        if file != "-":
            self.stderr.write(f"Written to {file}: {form.in_words}.")


@contextmanager
def _opened(file):
    """The standard output, or a new file that only this user can read."""
    if file == "-":
        yield sys.stdout.buffer
        return
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as problem:
        raise CommandError(f"{file}: {problem.strerror}. An existing file is not overwritten.") from None
    with os.fdopen(descriptor, "wb") as target:
        yield target
