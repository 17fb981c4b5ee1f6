"""`manage.py reconcile`"""

from django.core.management.base import BaseCommand

from purchasing import audit, clock, startup
from purchasing.buying import aftercare, evidence
from purchasing.mail import notices, sending
from purchasing.models import ApiKey, Purchase
from purchasing.provider import unrecorded
from purchasing.states import State
from purchasing.worker import sweep


class Command(BaseCommand):
    help = (
        "Do everything that is due: expire requests, settle calls of a dead worker, read evidence, send mails, and "
        "queue approved purchases. `work` does the same every 15 seconds. Safe to run at any time; it never buys."
    )

    def handle(self, **options):
        startup.refuse_wrong_database()
        sweep.run()
        for key in ApiKey.objects.filter(attempts__outcome="unconfirmed").distinct().order_by("pk"):
            evidence.gather(key.pk)
        due = Purchase.objects.filter(state=State.PURCHASED, applied_at=None, due_at__lte=clock.now())
        for pk in list(due.order_by("pk").values_list("pk", flat=True)):
            aftercare.apply(pk)
        audit.seal_if_due()
        notices.collect()
        sending.send()
        counts = ", ".join(
            f"{Purchase.objects.filter(state=state).count()} {state}"
            for state in State
            if Purchase.objects.filter(state=state).exists()
        )
        self.stdout.write(f"Swept. Purchases: {counts or 'none'}.")
        self.stdout.write(unrecorded.in_words())
