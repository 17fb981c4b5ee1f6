"""`manage.py rotate_encryption_key`"""

from django.core.management.base import BaseCommand, CommandError

from purchasing import audit
from purchasing.problems import Problem
from purchasing.teams import keys


class Command(BaseCommand):
    help = (
        "Encrypt every stored API key with the newest (the first) of API_KEY_ENCRYPTION_KEYS. Put a new key in front "
        "of the others, restart web and worker, run this, then remove the old ones. All or nothing."
    )

    def handle(self, **options):
        try:
            count = keys.reencrypt(actor=audit.system("command line"))
        except Problem as problem:
            raise CommandError(str(problem)) from None
        stored = "1 stored API key is" if count == 1 else f"{count} stored API keys are"
        self.stdout.write(
            f"{stored} now encrypted with the newest key. The older ones in API_KEY_ENCRYPTION_KEYS are now "
            "needed only for backups of the database."
        )
