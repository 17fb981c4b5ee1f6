"""`manage.py work`"""

from contextlib import suppress

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from purchasing import audit, startup
from purchasing.problems import Problem
from purchasing.teams import stop_buying
from purchasing.worker import processes


class Command(BaseCommand):
    help = "Buy approved numbers and run all other tasks, until SIGTERM. Processes that end are restarted."
    requires_system_checks = []  # only the supervisor runs them: they take a third of the start of a process

    def add_arguments(self, parser):
        parser.add_argument(
            "--processes",
            type=int,
            default=2,
            help="at least 2: one for all other tasks, the rest buy (default 2)",
        )
        parser.add_argument(
            "--one", choices=["purchases", "default"], help="be one of the processes (used internally)"
        )
        parser.add_argument(
            "--parent", type=int, metavar="PID", help="end when this process, the parent, has ended"
        )

    def handle(self, *, one, parent, **options):
        startup.limit_waiting()
        startup.refuse_wrong_database()
        startup.log_unreadable_keys()
        if one:
            processes.run_one(one, parent=parent)
            return
        if options["processes"] < 2:
            raise CommandError("work needs at least 2 processes: one that buys, one for all other tasks.")
        self.check()
        if settings.START_STOPPED:
            with suppress(Problem):  # all buying is stopped already
                stop_buying.stop_all(actor=audit.system("worker start"), reason="START_STOPPED is on.")
        processes.supervise(options["processes"], parent=parent)
