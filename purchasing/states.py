"""The states of a purchase and the permitted moves. Nothing else decides (docs/architecture.md draws them)."""

from django.db.models import TextChoices


class State(TextChoices):
    """The state of a purchase; staff read the label."""

    PENDING = "pending", "Waiting for approval"
    APPROVED = "approved", "Approved, queued"
    PURCHASING = "purchasing", "Buying now"
    UNCONFIRMED = "unconfirmed", "Checking with the provider"
    HELD = "held", "Needs a decision"
    GIVEN_UP = "given_up", "Given up, still watched"
    PURCHASED = "purchased", "Bought"
    FAILED = "failed", "Could not be bought"
    REJECTED = "rejected", "Rejected"
    CANCELLED = "cancelled", "Cancelled"
    EXPIRED = "expired", "Expired"


# A state that is not a key here is final.
NEXT: dict[State, set[State]] = {
    State.PENDING: {State.APPROVED, State.REJECTED, State.CANCELLED, State.EXPIRED, State.PURCHASED},
    State.APPROVED: {State.PURCHASING, State.PURCHASED, State.CANCELLED, State.HELD},
    State.PURCHASING: {State.PURCHASED, State.FAILED, State.UNCONFIRMED, State.APPROVED},
    State.UNCONFIRMED: {State.PURCHASED, State.HELD},
    State.HELD: {State.PURCHASED, State.APPROVED, State.GIVEN_UP, State.FAILED},
    State.GIVEN_UP: {State.PURCHASED, State.FAILED},
    # Only after a call that was sent, and only by evidence: a refusal can lie.
    State.FAILED: {State.PURCHASED},
    State.CANCELLED: {State.PURCHASED},
}

FINAL = frozenset({State.PURCHASED, State.FAILED, State.REJECTED, State.CANCELLED, State.EXPIRED})
# A phone number has at most one purchase in these states, or bought and not released, across all teams.
OPEN = frozenset(set(State) - FINAL)
# An attempt may have bought the number, or still may: only reads until a person decides.
WATCHED = frozenset({State.UNCONFIRMED, State.HELD, State.GIVEN_UP})


class Cause(TextChoices):
    """Why a purchase is held: what a person has to decide."""

    DOUBT = "doubt", "Nobody knows yet whether IdentityCall bought it"
    OWNED = "owned", "IdentityCall's list shows it already, and no call of ours explains it"
    PRICE = "price", "IdentityCall now asks more than was approved"
    COST_UNKNOWN = "cost_unknown", "IdentityCall never confirmed the cost"
    APPROVER = "approver", "The person who approved it may no longer approve"
    TOO_LONG = "too_long", "It has waited too long since it was approved"
    RESTORED = "restored", "The database went back in time after it was approved"


class Outcome(TextChoices):
    """The outcome of one purchase call."""

    OPEN = "open", "Under way"
    PURCHASED = "purchased", "Bought"
    DECLINED = "declined", "IdentityCall said no"
    NOT_SENT = "not_sent", "Never reached IdentityCall"
    RATE_LIMITED = "rate_limited", "IdentityCall asked to wait"
    KEY_REFUSED = "key_refused", "IdentityCall refused the key"
    UNCONFIRMED = "unconfirmed", "The answer is unknown"


# The call was sent, so it may have bought the number, whatever its answer said.
SENT = frozenset(set(Outcome) - {Outcome.OPEN, Outcome.NOT_SENT})


class NumberType(TextChoices):
    """The types of number, in IdentityCall's words (VN-AVAIL)."""

    LOCAL = "local", "Local"
    MOBILE = "mobile", "Mobile"
    NATIONAL = "national", "National"
    TOLL_FREE = "toll-free", "Toll-free"


class Role(TextChoices):
    """What a person may do in one team; one person may hold several."""

    REQUESTER = "requester", "Requester"
    APPROVER = "approver", "Approver"
    ADMIN = "admin", "Team admin"
