"""`manage.py go_on --reason REASON`"""

from django.core.management.base import BaseCommand, CommandError

from purchasing import audit
from purchasing.models import Desk
from purchasing.problems import Problem
from purchasing.teams import restore_alarm, stop_buying


class Command(BaseCommand):
    help = (
        "Let buying go on: end the alarm of a database that went back in time, or, where there is none, a stop of all "
        "buying. After an alarm every approved number is held until somebody approves it again."
    )

    def add_arguments(self, parser):
        parser.add_argument("--reason", required=True, help="why; it stays in the record")

    def handle(self, *, reason, **options):
        actor = audit.system("command line")
        try:
            if Desk.objects.filter(pk=Desk.ONLY, alarm_at__isnull=False).exists():
                held = restore_alarm.go_on(actor=actor, reason=reason)
                self.stdout.write(f"The alarm is over. Approved numbers that need a new decision: {held}.")
            else:
                stop_buying.go_on_all(actor=actor, reason=reason)
        except Problem as problem:
            raise CommandError(str(problem)) from None
        desk = Desk.objects.get(pk=Desk.ONLY)
        if desk.stopped_at:
            self.stdout.write(f"All buying is still stopped: {desk.stop_reason} Run this again to end that.")
        else:
            self.stdout.write("Buying is active.")
