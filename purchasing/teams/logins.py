"""Log-ins: kept in the record, and slowed down for who guesses passwords.

django-axes was weighed and left: it stores whatever was typed into the field of the name, which may be a password, for
good, it works by signals, and behind a proxy that nobody told it of it counts everybody as one. Here a failed log-in is
counted under keyed hashes: of the name, of the address, and of both. What is typed is recorded only when it is the name
of an account.
"""

from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

from django.conf import settings
from django.db import transaction
from django.utils.crypto import salted_hmac

from purchasing import audit, clock
from purchasing.audit.search import Filter, newest_first
from purchasing.models import FailedLogins, User

FORGOTTEN = timedelta(minutes=30)  # after which failures no longer count
# How many log-ins may fail before one has to wait: of one account from one address, of one account from anywhere, and
# from one address for any account. Each further one doubles the time, up to the longest.
LIMITS = {"both": 5, "name": 20, "address": 60}
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)
KNOWN = 50  # log-ins that are looked back on for an address that somebody has used before
NOBODY = "a name that nobody has"


@dataclass(frozen=True)
class Try:
    """Somebody at an address who says to be `name`."""

    name: str
    actor: audit.Actor  # nobody yet

    @property
    def counted(self):
        """What failures are counted under: `{kind: keyed hash}`."""
        name, address = self.name.casefold(), self.actor.ip
        texts = {"both": f"{name}\n{address}", "name": name}
        if not settings.ADDRESS_IS_OF_PROXY:  # else it is everybody's
            texts["address"] = address
        return {
            kind: salted_hmac(f"purchasing.teams.logins.{kind}", text, algorithm="sha256").hexdigest()
            for kind, text in texts.items()
        }

    @property
    def account(self):
        """The account of that name, or None."""
        return User.objects.filter(username__iexact=self.name).order_by("pk").first() if self.name else None

    @transaction.atomic
    def begin(self):
        """Count this try before the password is looked at, so that many at once gain nothing.

        Returns until when it has to wait instead, or None. What others do from elsewhere does not keep people out at an
        address where they have logged in before.
        """
        rows = self._rows()
        now = clock.now()  # after the locks: others may have counted while they were waited for
        waits = [
            row.blocked_until
            for kind, row in rows.items()
            if row.blocked_until
            and now < row.blocked_until <= now + LONGEST_WAIT  # else a clock went back since
            and not (kind == "name" and self._is_known_here())
        ]
        if waits:
            return max(waits)
        for kind, row in rows.items():
            if not row.last_at <= now < row.last_at + FORGOTTEN:
                row.count = 0
            row.count, row.last_at = row.count + 1, now
            over = row.count - LIMITS[kind]
            row.blocked_until = (
                now + min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(over, 10)) if over >= 0 else None
            )
            row.save()
        return None

    def _rows(self):
        """What was counted so far, locked: `{kind: FailedLogins}`."""
        rows = {}
        for kind, about in sorted(self.counted.items(), key=lambda item: item[1]):
            FailedLogins.objects.get_or_create(about=about, defaults={"last_at": clock.now()})
            rows[kind] = FailedLogins.objects.select_for_update().get(pk=about)
        return rows

    def _is_known_here(self):
        account = self.account
        if account is None:
            return False
        before = newest_first(Filter(person=account.get_username(), action="login.succeeded"))
        return any(event.ip == self.actor.ip for event in islice(before, KNOWN))

    @transaction.atomic
    def failed(self):
        """Record a try that failed, and that the next one has to wait, where it has to."""
        account = self.account
        tried = account.get_username() if account else NOBODY
        data = {"tried": tried} | ({"member": tried, "member_id": account.pk} if account else {})
        if account and not account.is_active:
            data["account"] = "switched off"
        audit.record("login.failed", actor=self.actor, **data)
        if FailedLogins.objects.filter(
            about__in=self.counted.values(), blocked_until__gt=clock.now()
        ).exists():
            audit.record("login.blocked", actor=self.actor, **data)

    @transaction.atomic
    def succeeded(self, user):
        """Record a log-in: it was no failure, and what failed here before it is forgotten."""
        for kind, row in self._rows().items():
            row.count = 0 if kind == "both" else max(0, row.count - 1)
            if row.count < LIMITS[kind]:
                row.blocked_until = None
            row.save()
        actor = audit.Actor.person(user, ip=self.actor.ip, click=self.actor.click)
        audit.record("login.succeeded", actor=actor)


def ended(*, actor):
    """Record that somebody logged out."""
    audit.record("login.ended", actor=actor)


def password_changed(*, actor):
    """Record that somebody changed their password, in the transaction that stores it."""
    name = actor.user.get_username()
    audit.record("member.password_changed", actor=actor, member=name, member_id=actor.user.pk)


def forget_old():
    """Remove counts that no longer count."""
    old = FailedLogins.objects.filter(last_at__lt=clock.now() - 2 * FORGOTTEN)
    if old.exists():
        with transaction.atomic():
            old.delete()
