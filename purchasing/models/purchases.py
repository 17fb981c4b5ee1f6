"""Requests, their purchases, approvals and purchase calls."""

import uuid
from collections.abc import Callable

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.functional import cached_property

from purchasing.models.teams import ApiKey, Team, User
from purchasing.states import OPEN, Cause, NumberType, Outcome, State


def cost_field(**options):
    """A cost in `CURRENCY`; null if it is not known, which is never the same as 0."""
    return models.DecimalField(max_digits=14, decimal_places=4, null=True, blank=True, **options)


class PurchaseRequest(models.Model):
    """One request to the approvers: 1 to 100 numbers for a team, with a reason."""

    team = models.ForeignKey(Team, models.PROTECT, related_name="requests")
    requester = models.ForeignKey(User, models.PROTECT, related_name="requests")
    reason = models.CharField(max_length=1000)
    purpose = models.CharField(max_length=200, blank=True)
    version = models.PositiveIntegerField(default=1)
    form_token = models.UUIDField(default=uuid.uuid4)
    created_at = models.DateTimeField(default=timezone.now)
    reminded_at = models.DateTimeField(null=True)
    admins_reminded_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["requester", "form_token"], name="one_request_a_form"),
        ]
        indexes = [models.Index(fields=["team", "-id"], name="request_by_team")]

    def __str__(self):
        return f"Request {self.pk}"


class RequestVersion(models.Model):
    """A request as it was before an edit, kept readable."""

    request = models.ForeignKey(PurchaseRequest, models.PROTECT, related_name="versions")
    version = models.PositiveIntegerField()
    reason = models.CharField(max_length=1000)
    purpose = models.CharField(max_length=200, blank=True)
    lines = models.JSONField(default=list)
    replaced_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    replaced_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["version"]
        constraints = [models.UniqueConstraint(fields=["request", "version"], name="one_row_a_version")]


class SeenVersion(models.Model):
    """The version of a request that a person decided on or marked as seen: later changes are shown to them."""

    user = models.ForeignKey(User, models.CASCADE, related_name="+")
    request = models.ForeignKey(PurchaseRequest, models.CASCADE, related_name="+")
    version = models.PositiveIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "request"], name="one_seen_version_a_person"),
        ]


class Purchase(models.Model):
    """One phone number on its way. Only `workflow` writes its state; `due_at` is when the sweep checks it again."""

    request = models.ForeignKey(PurchaseRequest, models.PROTECT, related_name="purchases")
    phone_number = models.CharField(max_length=16)
    country_code = models.CharField(max_length=2, blank=True)
    number_type = models.CharField(max_length=10, choices=NumberType.choices, blank=True)
    name = models.CharField(max_length=100, blank=True)
    requirement_group_id = models.PositiveBigIntegerField(null=True, blank=True)
    features = models.CharField(max_length=200, blank=True)
    region = models.CharField(max_length=200, blank=True)
    warning = models.CharField(max_length=500, blank=True)
    record_calls = models.BooleanField(default=True)
    upfront_cost = cost_field()
    monthly_cost = cost_field()
    # When IdentityCall's list last showed these costs; null means 'as pasted, not confirmed'.
    cost_confirmed_at = models.DateTimeField(null=True)

    state = models.CharField(max_length=12, choices=State.choices, default=State.PENDING)
    version = models.PositiveIntegerField(default=1)
    state_changed_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    waiting_for = models.CharField(max_length=500, blank=True)
    waiting_since = models.DateTimeField(null=True)
    waiting_told_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    window_ends_at = models.DateTimeField(null=True)
    checks = models.PositiveIntegerField(default=0)
    held_cause = models.CharField(max_length=20, choices=Cause.choices, blank=True)
    held_words = models.CharField(max_length=1000, blank=True)
    # Somebody cancelled it after a call that IdentityCall refused: the next read of the list cancels it.
    cancel_asked_at = models.DateTimeField(null=True)

    provider_id = models.PositiveBigIntegerField(null=True)
    purchased_at = models.DateTimeField(null=True)
    bought_with = models.ForeignKey(ApiKey, models.PROTECT, null=True, related_name="purchases")
    released_at = models.DateTimeField(null=True)
    applied_at = models.DateTimeField(null=True)
    applied_words = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["phone_number"],
                condition=Q(state__in=sorted(OPEN)) | Q(state=State.PURCHASED, released_at__isnull=True),
                name="one_record_a_number",
            ),
        ]
        indexes = [
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="purchase_due"),
            models.Index(fields=["state", "-id"], name="purchase_by_state"),
            models.Index(fields=["phone_number"], name="purchase_by_number"),
            models.Index(
                fields=["provider_id"],
                condition=Q(provider_id__isnull=False),
                name="purchase_by_provider_id",
            ),
        ]

    def __str__(self):
        return self.phone_number

    @property
    def confirmed_at(self):
        """When the provider's list showed this cost; None if none did, or if a later one showed more or no cost."""
        return None if self.held_cause in (Cause.PRICE, Cause.COST_UNKNOWN) else self.cost_confirmed_at

    @property
    def is_in_doubt(self):
        """Whether an attempt of this purchase may have bought the number."""
        return self.attempts.filter(outcome=Outcome.UNCONFIRMED).exists()

    @cached_property
    def last_words(self):
        """The note of the last move, for example the reason for a rejection."""
        last = self.events.exclude(became="").order_by("-seq").first()
        return last.note if last else ""


class Approval(models.Model):
    """One approver's approval of one purchase, with the version and the costs that they saw."""

    purchase = models.ForeignKey(Purchase, models.PROTECT, related_name="approvals")
    version = models.PositiveIntegerField()
    approver = models.ForeignKey(User, models.PROTECT, related_name="approvals")
    on_behalf_of = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    upfront_cost = cost_field()
    monthly_cost = cost_field()
    unconfirmed_cost_ok = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)
    # Set when it no longer counts: the purchase has to be approved again.
    superseded_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["id"]


class Attempt(models.Model):
    """One purchase call: what was sent, with which key, and the answer."""

    purchase = models.ForeignKey(Purchase, models.PROTECT, related_name="attempts")
    key = models.ForeignKey(ApiKey, models.PROTECT, related_name="attempts")
    base_url = models.CharField(max_length=300)
    payload = models.TextField()
    payload_hash = models.CharField(max_length=64)
    worker = models.CharField(max_length=100)
    claimed_at = models.DateTimeField()
    claimed_seq = models.BigIntegerField()
    # The ids of the projects that the key showed, where it knew no number at the claim: else null.
    projects = models.JSONField(null=True)
    deadline_at = models.DateTimeField()
    outcome = models.CharField(max_length=20, choices=Outcome.choices, default=Outcome.OPEN)
    http_status = models.PositiveIntegerField(null=True)
    answer = models.TextField(blank=True)
    words = models.CharField(max_length=1000, blank=True)
    ended_at = models.DateTimeField(null=True)
    ended_seq = models.BigIntegerField(null=True)

    # Notes the claim in the restore mark of the host that made it. In memory alone, from the claim to the call.
    keep_mark: Callable[[], None]

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["purchase"], condition=Q(outcome=Outcome.OPEN), name="one_open_attempt_a_purchase"
            )
        ]

    @property
    def number(self):
        """Which attempt of its purchase this is, from 1."""
        return Attempt.objects.filter(purchase=self.purchase_id, pk__lte=self.pk).count()
