"""`manage.py work`"""

from django.core.management.base import BaseCommand, CommandError

from purchasing import startup
from purchasing.worker import processes


class Command(BaseCommand):
    help = "Buy what is approved and look after everything else, until SIGTERM. Processes are restarted when they end."
    requires_system_checks = []  # only the supervisor makes them: they are a third of the start of each process

    def add_arguments(self, parser):
        parser.add_argument(
            "--processes",
            type=int,
            default=2,
            help="at least 2: one for all else, the others buy (default 2)",
        )
        parser.add_argument(
            "--one", choices=["purchases", "default"], help="be one of the processes (used by itself)"
        )
        parser.add_argument(
            "--parent", type=int, metavar="PID", help="end when this process, which started it, has ended"
        )

    def handle(self, *, one, parent, **options):
        startup.refuse_wrong_database()
        startup.log_unreadable_keys()
        if one:
            processes.run_one(one, parent=parent)
            return
        if options["processes"] < 2:
            raise CommandError("work needs at least 2 processes: one that buys, one for all else.")
        self.check()
        processes.supervise(options["processes"], parent=parent)
