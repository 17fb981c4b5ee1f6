"""Log-ins that failed: as many as it takes to slow down who guesses passwords."""

from django.db import models


class FailedLogins(models.Model):
    """How often a log-in failed of late, for an account, for an address, or for both together.

    `about` is a keyed hash: what is typed into the field of the name may be a password.
    """

    about = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField()
    blocked_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "failed logins"
