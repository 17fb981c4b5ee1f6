"""After a purchase: reads the number back, applies its name and the recording choice, and checks that they took hold.

IdentityCall switches recording ON at purchase (VN-BUY). A PATCH may be repeated without harm (VN-UPD), so it is
repeated until the read-back agrees.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction

from purchasing import audit, clock, selectors
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.identitycall.client import Client
from purchasing.identitycall.resources import NumberDetail, clean_text
from purchasing.models import ApiKey, Purchase
from purchasing.provider import pauses, turns
from purchasing.states import State

# Seconds that it waits for its turn: the same process also reads evidence.
AFTERCARE_WAIT = 5
SLOW = 15 * 60  # seconds between tries once the first ones have failed


def apply(purchase_id: int) -> None:
    """Set the bought number's name and call recording as requested; repeated until the provider shows them so."""
    purchase = (
        Purchase.objects.select_related("request__team", "bought_with")
        .defer("bought_with__secret")
        .filter(selectors.is_due(clock.now()), pk=purchase_id, state=State.PURCHASED, applied_at=None)
        .first()
    )
    if purchase is None:
        return
    key = _key_for(purchase)
    try:
        problem = _apply_settings(turns.client_for(key, patience=AFTERCARE_WAIT), purchase)
    except turns.Busy as busy:
        Purchase.objects.filter(pk=purchase.pk).update(due_at=busy.until)
        return
    except Undecryptable as error:
        problem = str(error)
    except errors.ProviderError as error:
        problem = str(error)
        if isinstance(error, errors.RateLimited | errors.KeyRefused):
            pauses.after_failed_read(key, error)
    _store_result(purchase, problem)


def _key_for(purchase: Purchase) -> ApiKey:
    """The key that bought it, even if it was replaced, as another key may see another project; else the current key."""
    usable = ApiKey.objects.filter(credential__refused_at=None, secret__isnull=False)
    own = usable.filter(pk=purchase.bought_with_id).first() if purchase.bought_with_id else None
    key = own or pauses.current_key(purchase.request.team) or purchase.bought_with
    assert key is not None  # every purchase was bought with one
    return key


def _apply_settings(client: Client, purchase: Purchase) -> str:
    """Read, change what differs, read again. Returns what still differs, in words, or ''."""
    assert purchase.provider_id is not None  # stored with the state
    shown = client.number(purchase.provider_id)
    if shown.phone_number != purchase.phone_number:  # a person may have typed another number's id
        return f"IdentityCall shows {shown.phone_number} under the id {purchase.provider_id}; it is left as it is."
    wrong = _differences(shown, purchase)
    if not wrong:
        return ""
    client.update_number(purchase.provider_id, **wrong)
    still = _differences(client.number(purchase.provider_id), purchase)
    return f"IdentityCall does not show it yet: {', '.join(sorted(still))}." if still else ""


def _differences(detail: NumberDetail, purchase: Purchase) -> dict[str, bool | str]:
    """The fields of VN-UPD that have to change for this number to be as requested."""
    wanted: dict[str, bool | str] = {}
    if detail.recording != purchase.record_calls:
        wanted["recording"] = purchase.record_calls
    # Compared in cleaned form: spaces that reading folds would differ for ever.
    if purchase.name and detail.name != clean_text(purchase.name):
        wanted["name"] = purchase.name
    return wanted


@transaction.atomic
def _store_result(purchase: Purchase, problem: str) -> None:
    now = clock.now()
    waiting = Purchase.objects.filter(pk=purchase.pk, state=State.PURCHASED, applied_at=None)
    if problem:
        gaps = settings.EVIDENCE_CHECK_DELAYS
        gap = gaps[purchase.checks] if purchase.checks < len(gaps) else min(SLOW, 60 * (purchase.checks + 1))
        waiting.update(
            checks=purchase.checks + 1, applied_words=problem[:500], due_at=now + timedelta(seconds=gap)
        )
    elif waiting.update(applied_at=now, applied_words="", due_at=None):
        audit.record(
            "purchase.applied",
            actor=audit.WORKER,
            purchase=purchase,
            record_calls=purchase.record_calls,
            name=purchase.name,
        )
