"""Everything Number Desk keeps."""

from django.apps import apps as registry

from purchasing.models.audit import AuditCheck, AuditEvent, AuditHead, AuditSeal
from purchasing.models.drafts import Draft, Paste
from purchasing.models.logins import FailedLogins
from purchasing.models.mail import Mail, MailCursor
from purchasing.models.papers import RequirementGroup
from purchasing.models.provider import OfferLook, OwnedRead, RentedNumber, VirtualNumber
from purchasing.models.purchases import (
    Approval,
    Attempt,
    Purchase,
    PurchaseRequest,
    RequestVersion,
    SeenVersion,
)
from purchasing.models.search import AuditDigits, AuditEntry, AuditSegment, AuditStretch, AuditWord
from purchasing.models.teams import ApiKey, Credential, Desk, Membership, StandIn, Team, User

__all__ = [
    "ApiKey",
    "Approval",
    "Attempt",
    "AuditCheck",
    "AuditDigits",
    "AuditEntry",
    "AuditEvent",
    "AuditHead",
    "AuditSeal",
    "AuditSegment",
    "AuditStretch",
    "AuditWord",
    "Credential",
    "Desk",
    "Draft",
    "FailedLogins",
    "Mail",
    "MailCursor",
    "Membership",
    "OfferLook",
    "OwnedRead",
    "Paste",
    "Purchase",
    "PurchaseRequest",
    "RentedNumber",
    "RequestVersion",
    "RequirementGroup",
    "SeenVersion",
    "StandIn",
    "Team",
    "User",
    "VirtualNumber",
]


def make_single_rows(apps=registry, **kwargs):
    """Make the rows that exist exactly once (after each migration and each flush of a test)."""
    models = apps.all_models["purchasing"]  # as they are at this point of the migrations
    head, _ = models["audithead"].objects.get_or_create(pk=AuditHead.ONLY)
    models["desk"].objects.get_or_create(pk=Desk.ONLY)
    if "mailcursor" in models:
        # No mails about events from before mails existed.
        models["mailcursor"].objects.get_or_create(pk=MailCursor.ONLY, defaults={"seq": head.seq})
