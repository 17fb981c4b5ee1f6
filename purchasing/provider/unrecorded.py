"""Numbers that are rented, as the last lists of keys show, but that the record does not explain."""

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet

from purchasing import words
from purchasing.models import (
    ApiKey,
    Credential,
    OwnedRead,
    Purchase,
    RentedNumber,
    Team,
    VirtualNumber,
)
from purchasing.provider import pauses
from purchasing.states import State


def unknown_numbers() -> QuerySet[VirtualNumber]:
    """The numbers of all keys that can still be read whose id no purchase here has and about which nobody decided.

    One row for each credential that shows a number: where two do, deciding about the id settles both. A number that is
    being bought right now is left out, since its answer is about to name the id.
    """
    readable = ApiKey.objects.filter(secret__isnull=False)
    return _unknown(VirtualNumber.objects.filter(credential__in=readable.values("credential")))


def unknown_of(credential: Credential) -> QuerySet[VirtualNumber]:
    """Those that the last list of one credential shows: what 'go on' after a restore wants a decision about."""
    return _unknown(VirtualNumber.objects.filter(credential=credential))


def unknown_for(team: Team) -> QuerySet[VirtualNumber]:
    """Those that the keys of one team show, the replaced ones that can still be read included."""
    readable = team.keys.filter(secret__isnull=False)
    return _unknown(VirtualNumber.objects.filter(credential__in=readable.values("credential")))


def end_reviews() -> None:
    """End the review of each credential whose list was read since 'go on' and shows nothing without a record."""
    for credential in Credential.objects.filter(review_seq__isnull=False).order_by("pk"):
        assert credential.review_seq is not None
        reads = OwnedRead.objects.filter(
            credential=credential, well_formed=True, began_after__gte=credential.review_seq
        )
        if not reads.exists() or unknown_of(credential).exists():
            continue
        with transaction.atomic():
            mine = Credential.objects.filter(pk=credential.pk, review_seq=credential.review_seq)
            if mine.update(review_seq=None):
                pauses.resume(credential)


def count(numbers: QuerySet[VirtualNumber]) -> int:
    """How many different ids these are."""
    return numbers.values("provider_id").distinct().count()


def in_words() -> str:
    """How many of them there are, over all teams, in a sentence."""
    found = count(unknown_numbers())
    return f"Rented, but not in the record: {words.numbers(found) if found else 'none'}."


def said_of(credential: Credential) -> str:
    """A sentence, with a blank before it, about those that a credential's list shows; '' where it shows none."""
    found = count(unknown_of(credential))
    if not found:
        return ""
    return f" It shows {words.numbers(found)} that {'is' if found == 1 else 'are'} rented, but not in the record."


def _unknown(rows: QuerySet[VirtualNumber]) -> QuerySet[VirtualNumber]:
    bought = Purchase.objects.filter(provider_id=OuterRef("provider_id"))
    decided = RentedNumber.objects.filter(provider_id=OuterRef("provider_id"), ended_at=None)
    under_way = Purchase.objects.filter(phone_number=OuterRef("phone_number"), state=State.PURCHASING)
    listed = rows.filter(gone_at=None).exclude(phone_number="")
    unknown = listed.filter(~Exists(bought), ~Exists(decided), ~Exists(under_way))
    return unknown.order_by("phone_number", "provider_id", "pk")
