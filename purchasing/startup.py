"""What must be true of the database before anything is served or bought."""

import logging
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connection

from purchasing.encryption import Undecryptable
from purchasing.models import ApiKey, Desk

log = logging.getLogger(__name__)


def limit_waiting():
    """From now on no statement of this process waits longer than DATABASE_ANSWER_TIMEOUT for PostgreSQL to answer.

    For the web and the worker. Other commands, such as `migrate` and `verify_audit`, may take as long as they need.
    """
    if connection.vendor == "postgresql":
        connection.settings_dict["OPTIONS"]["answer_timeout"] = settings.DATABASE_ANSWER_TIMEOUT


def refuse_wrong_database():
    """Refuse to start on a database that ever held the sandbox's demo people, unless `SANDBOX` is on.

    Their password is public. Raises `ImproperlyConfigured`. A database that does not answer is ignored here: whatever
    uses it next reports that.
    """
    if settings.SANDBOX:
        return
    try:
        demo = Desk.objects.filter(pk=Desk.ONLY, held_demo_people=True).exists()
    except DatabaseError:
        return
    if demo:
        raise ImproperlyConfigured(
            "This database was made for the sandbox: its demo people have a password that everybody knows. "
            "Use a new database (DATABASE_URL), or set SANDBOX=on."
        )


def check_restore_mark(app_configs, **kwargs):
    """A system check: the restore mark must not be kept where it would be restored together with the database."""
    file = connection.settings_dict["NAME"]
    if settings.SANDBOX or settings.RESTORE_MARK is None or connection.vendor != "sqlite":
        return []
    if not Path(settings.RESTORE_MARK).resolve().is_relative_to(Path(file).resolve().parent):
        return []
    return [
        checks.Warning(
            f"RESTORE_MARK ({settings.RESTORE_MARK}) is in the folder of the database. If that folder is restored "
            "from a backup, nothing shows that the database went back in time.",
            hint="Choose a folder on another volume that outlasts restarts.",
            id="purchasing.W001",
        )
    ]


def log_unreadable_keys():
    """Log which teams' API keys cannot be decrypted with the keys in the settings. Their purchases wait."""
    try:
        for key in ApiKey.objects.filter(retired_at=None).select_related("team"):
            try:
                str(key.secret)
            except Undecryptable as problem:
                log.error("%s: %s", key.team, problem)
    except DatabaseError:
        return
