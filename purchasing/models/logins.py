"""Failed log-ins, counted to slow down password guessing."""

from django.db import models


class FailedLogins(models.Model):
    """The number of recent failed log-ins for an account, for an IP address, or for both together.

    `about` is a keyed hash, because people sometimes type a password into the name field.
    """

    about = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField()
    blocked_until = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "failed logins"
