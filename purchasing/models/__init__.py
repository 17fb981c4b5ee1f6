"""Everything Number Desk keeps."""

from purchasing.models.audit import AuditEvent, AuditHead
from purchasing.models.drafts import Draft, Paste
from purchasing.models.mail import Mail, MailCursor
from purchasing.models.papers import RequirementGroup
from purchasing.models.provider import OfferLook, OwnedRead, VirtualNumber
from purchasing.models.purchases import Approval, Attempt, Purchase, PurchaseRequest, RequestVersion
from purchasing.models.teams import ApiKey, Desk, Membership, StandIn, Team, User

__all__ = [
    "ApiKey",
    "Approval",
    "Attempt",
    "AuditEvent",
    "AuditHead",
    "Desk",
    "Draft",
    "Mail",
    "MailCursor",
    "Membership",
    "OfferLook",
    "OwnedRead",
    "Paste",
    "Purchase",
    "PurchaseRequest",
    "RequestVersion",
    "RequirementGroup",
    "StandIn",
    "Team",
    "User",
    "VirtualNumber",
]


def make_single_rows(**kwargs):
    """Make the rows that exist exactly once (after each migration, and after each flush of a test)."""
    head, _ = AuditHead.objects.get_or_create(pk=AuditHead.ONLY)
    Desk.objects.get_or_create(pk=Desk.ONLY)
    migrated = kwargs.get("apps")
    if migrated is None or "mailcursor" in migrated.all_models["purchasing"]:  # not on the way back
        # What happened before there were mails is not told any more.
        MailCursor.objects.get_or_create(pk=MailCursor.ONLY, defaults={"seq": head.seq})
