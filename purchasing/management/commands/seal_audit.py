"""`manage.py seal_audit`"""

from django.core.management.base import BaseCommand

from purchasing import audit


class Command(BaseCommand):
    help = "Sign the head of the audit chain. The worker does it once a day."

    def handle(self, **options):
        seal = audit.seal(actor=audit.system("command line"))
        if seal is None:
            self.stdout.write("Nothing has happened since the last seal.")
            return
        self.stdout.write(
            f"Seal {seal.number} of {seal.at:%Y-%m-%d %H:%M:%S} UTC\nevent {seal.seq}, {seal.hash}\n"
            f"public key {seal.public_key}\nsignature {seal.signature}"
        )
