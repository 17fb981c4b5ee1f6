"""People, teams and their keys."""

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models import Q
from django.utils import timezone

from purchasing.encryption import EncryptedField, fingerprint, fingerprints
from purchasing.states import Role


class User(AbstractUser):
    """A person who logs in. Roles in a team are memberships; an auditor reads every team."""

    is_auditor = models.BooleanField("auditor", default=False, help_text="May read every team's records.")
    wants_mail = models.BooleanField(default=True)

    def __str__(self):
        return self.get_full_name() or self.username


class Desk(models.Model):
    """The single row for the whole installation: who stopped all buying, and the state of the provider."""

    ONLY = 1

    stopped_at = models.DateTimeField(null=True)
    stopped_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    stop_reason = models.CharField(max_length=1000, blank=True)
    held_demo_people = models.BooleanField(default=False)
    swept_at = models.DateTimeField(null=True)
    # Calls to the provider pause for all teams while looks fail or connections are refused.
    paused_until = models.DateTimeField(null=True)
    paused_since = models.DateTimeField(null=True)
    pause_reason = models.CharField(max_length=1000, blank=True)
    probing_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    # Purchase calls in a row that never reached the provider: the pause grows even while looks are answered.
    unsent = models.PositiveIntegerField(default=0)
    # Whether the database went back in time (audit/restores.py). `epoch` grows with each 'go on' after an alarm, null
    # before the first; `identity` is what the database said it is, null until a worker asks.
    epoch = models.BigIntegerField(null=True)
    identity = models.TextField(null=True)  # noqa: DJ001
    alarm_at = models.DateTimeField(null=True)
    alarm_words = models.CharField(max_length=1000, null=True)  # noqa: DJ001

    class Meta:
        verbose_name = "desk"

    @property
    def alarm_in_short(self):
        """The alarm without the names of machines and files, for everybody; '' without one."""
        return f"{self.alarm_words.partition(':')[0].rstrip('.')}." if self.alarm_at else ""


class Team(models.Model):
    """People who buy together, with one key, their own approvers and their own records."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=110, unique=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    stopped_at = models.DateTimeField(null=True)
    stopped_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    stop_reason = models.CharField(max_length=1000, blank=True)
    # Amounts in CURRENCY; null means no limit.
    monthly_budget = models.DecimalField(max_digits=14, decimal_places=4, null=True)
    budget_is_hard = models.BooleanField(default=True)
    second_approver_from = models.DecimalField(max_digits=14, decimal_places=4, null=True)

    class Meta:
        ordering = ["name"]

    def __str__(self):
        return self.name


class Membership(models.Model):
    """One role of one person in one team."""

    user = models.ForeignKey(User, models.PROTECT, related_name="memberships")
    team = models.ForeignKey(Team, models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=20, choices=Role.choices)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "team", "role"], name="one_membership_a_role")]


class StandIn(models.Model):
    """A person who approves for an absent approver, from the first to the last of these days, both included."""

    team = models.ForeignKey(Team, models.PROTECT, related_name="stand_ins")
    approver = models.ForeignKey(User, models.PROTECT, related_name="stand_ins")
    stand_in = models.ForeignKey(User, models.PROTECT, related_name="stands_in_for")
    from_day = models.DateField()
    to_day = models.DateField()
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["from_day", "id"]


class CredentialManager(models.Manager):
    """Finds a credential by its secret."""

    def of(self, secret):
        """The credential of this secret, made now if it was never stored before."""
        found = self.filter(fingerprint__in=fingerprints(secret)).first()
        return found or self.get_or_create(fingerprint=fingerprint(secret))[0]


class Credential(models.Model):
    """One secret of IdentityCall, whichever teams stored it: its pace, pauses, refusals and what its lists showed.

    It is known by a keyed fingerprint, so what it is known for outlives the secret, and a secret that is stored again
    meets its own past.
    """

    fingerprint = models.CharField(max_length=64, unique=True)
    refused_at = models.DateTimeField(null=True)
    refused_words = models.CharField(max_length=500, blank=True)
    paused_until = models.DateTimeField(null=True)
    paused_since = models.DateTimeField(null=True)
    pause_reason = models.CharField(max_length=1000, blank=True)
    doubts_in_a_row = models.PositiveIntegerField(default=0)
    doubted_seq = models.BigIntegerField(default=0)
    rate_per_minute = models.PositiveIntegerField(null=True)
    next_call_at = models.DateTimeField(null=True)
    next_behind_at = models.DateTimeField(null=True)  # of the share that is kept for pages and read-backs
    reading_until = models.DateTimeField(null=True)  # a worker reads a list for all, until then at most
    # Since when its lists show none of the numbers that they showed before, or another project, and what they show.
    blind_at = models.DateTimeField(null=True)
    blind_words = models.CharField(max_length=500, blank=True)
    # After 'go on': nothing is bought until a list that began after this event was read, and every number that it
    # shows and the record does not explain was decided about.
    review_seq = models.BigIntegerField(null=True)
    # The ids of the projects that it last showed (PR-LIST); null: never read.
    projects = models.JSONField(null=True)

    objects = CredentialManager()

    @property
    def rate(self):
        """How many calls per minute it may make."""
        return self.rate_per_minute or settings.RATE_LIMIT_PER_MINUTE


class ApiKeyManager(models.Manager):
    """Loads the secret only when it is read, and the credential with the key."""

    def get_queryset(self):
        return super().get_queryset().defer("secret").select_related("credential")


class ApiKey(models.Model):
    """A team's key for IdentityCall. Only its last four characters are ever shown.

    A replaced key is kept, encrypted, and only used for reads: the numbers that it bought are visible only to it.
    What concerns the secret itself, whoever stored it, is kept by its `credential`.
    """

    team = models.ForeignKey(Team, models.PROTECT, related_name="keys")
    credential = models.ForeignKey(Credential, models.PROTECT, related_name="keys")
    secret = EncryptedField(null=True)  # null once it is retired and no longer needed for reads
    last_four = models.CharField(max_length=4)
    created_at = models.DateTimeField(default=timezone.now)
    retired_at = models.DateTimeField(null=True)
    # What a test showed or a team admin stated; null: not known.
    tested_at = models.DateTimeField(null=True)
    may_write = models.BooleanField(null=True)
    sees = models.CharField(max_length=200, blank=True)
    said_scope = models.CharField(max_length=20, blank=True)

    objects = ApiKeyManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["team"], condition=Q(retired_at__isnull=True), name="one_current_key_a_team"
            )
        ]

    def __str__(self):
        return f"…{self.last_four}"

    def save(self, **options):
        """Save; a new key is given the credential of its secret."""
        if self.credential_id is None and self.secret:
            self.credential = Credential.objects.of(self.secret)
        super().save(**options)
