"""`manage.py sandbox`"""

import sys
from pathlib import Path

from django.conf import settings
from django.core.management.base import BaseCommand

from sandbox import server


class Command(BaseCommand):
    help = "Run the stand-in provider on 127.0.0.1. It sells numbers that do not exist."

    def add_arguments(self, parser):
        parser.add_argument("--port", type=int, default=8001)
        parser.add_argument(
            "--state", type=Path, default=settings.BASE_DIR / "var" / "sandbox", metavar="FOLDER"
        )

    def handle(self, *, port, state, **options):
        sys.exit(server.serve(port=port, state_dir=state))
