"""Log-ins: recorded, and slowed down against guessed passwords.

Why not django-axes: it permanently stores whatever is typed as the user name, which may be a password; it works by
signals; and behind a proxy that it was not configured for it counts everybody as one client. Here a failed log-in is
counted under keyed hashes of the user name, of the address, and of both. The user name is recorded only where it is
that of an account.
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

FORGOTTEN = timedelta(minutes=30)  # failures older than this no longer count
# How many log-ins may fail before the next has to wait: for one account from one address ('both'), for one account from
# anywhere ('name'), and for any account from one address ('address'). Each further failure doubles the wait.
LIMITS = {"both": 5, "name": 20, "address": 60}
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(minutes=15)
KNOWN = 50  # past log-ins that are searched for a known address
NOBODY = "a name that nobody has"


@dataclass(frozen=True)
class Try:
    """An attempt to log in as `name` from the actor's address."""

    name: str
    actor: audit.Actor  # without a user: nobody is logged in yet

    @property
    def counted(self):
        """The keys that failures are counted under: `{kind: keyed hash}`."""
        name, address = self.name.casefold(), self.actor.ip
        texts = {"both": f"{name}\n{address}", "name": name}
        if not settings.ADDRESS_IS_OF_PROXY:  # otherwise everybody has the same one
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
        """Count this attempt before the password is checked, so that parallel attempts gain nothing.

        Returns None, or the time until which the attempt is blocked. Failures elsewhere do not block a person at an
        address from which they have logged in before.
        """
        rows = self._rows()
        now = clock.now()  # after the locks: others may have counted while this waited for them
        waits = [
            row.blocked_until
            for kind, row in rows.items()
            if row.blocked_until
            and now < row.blocked_until <= now + LONGEST_WAIT  # otherwise the clock was set back since
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
        """The counts so far, locked: `{kind: FailedLogins}`."""
        rows = {}
        # Always in the order of the keys, so that two attempts at once do not deadlock.
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
        """Record a failed attempt and, where it now applies, that further ones are blocked."""
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
        """Record a log-in: it does not count as a failure, and earlier failures of this person here are forgotten."""
        for kind, row in self._rows().items():
            row.count = 0 if kind == "both" else max(0, row.count - 1)
            if row.count < LIMITS[kind]:
                row.blocked_until = None
            row.save()
        actor = audit.Actor.person(user, ip=self.actor.ip, click=self.actor.click)
        audit.record("login.succeeded", actor=actor)


def ended(*, actor):
    """Record a log-out."""
    audit.record("login.ended", actor=actor)


def password_changed(*, actor):
    """Record that a user changed their password; called in the transaction that stores it."""
    name = actor.user.get_username()
    audit.record("member.password_changed", actor=actor, member=name, member_id=actor.user.pk)


def forget_old():
    """Delete counts that no longer matter."""
    old = FailedLogins.objects.filter(last_at__lt=clock.now() - 2 * FORGOTTEN)
    if old.exists():
        with transaction.atomic():
            old.delete()
