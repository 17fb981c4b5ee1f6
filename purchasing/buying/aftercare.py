"""After a purchase: brings the number's name and the recording of its calls to what was requested, and proves it.

The name goes with the purchase and stands in its answer, so most purchases need no further call. IdentityCall switches
recording ON at purchase (VN-BUY): 'do not record' is one PATCH directly after it, whose own answer proves it. A PATCH
may be repeated without harm (VN-UPD), so it is repeated until the answer agrees.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from purchasing import clock, jobs, selectors
from purchasing.buying import outcomes
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.identitycall.client import Client
from purchasing.identitycall.resources import NumberDetail, OwnedNumber, clean_text
from purchasing.models import ApiKey, Purchase, VirtualNumber
from purchasing.provider import pauses, turns
from purchasing.states import State

SLOW = 15 * 60  # seconds between tries once the first ones have failed


def shown_by(bought: OwnedNumber, purchase: Purchase) -> bool | None:
    """Whether the answer to a purchase shows it set up as requested; False: recording has to be switched off next.

    None: its name has to be looked at again.
    """
    if not purchase.record_calls:
        return False
    return True if _has_name(bought, purchase) else None


def switch_off(purchase_id: int, key: ApiKey, *, place: datetime) -> None:
    """Switch the recording of a number off that was bought just now, in the place taken for it; else do nothing."""
    purchase = _unapplied().filter(pk=purchase_id, record_calls=False).first()
    if purchase is not None:
        _apply(purchase, key, place=place)


def apply(purchase_id: int) -> None:
    """Set the bought number's name and call recording as requested; repeated until the provider shows them so."""
    purchase = _unapplied().filter(selectors.is_due(clock.now()), pk=purchase_id).first()
    if purchase is not None:
        _apply(purchase, _key_for(purchase))


def _unapplied() -> QuerySet[Purchase]:
    purchases = Purchase.objects.select_related("request__team", "bought_with").defer("bought_with__secret")
    return purchases.filter(state=State.PURCHASED, applied_at=None)


def _apply(purchase: Purchase, key: ApiKey, *, place: datetime | None = None) -> None:
    # Only switching recording off is urgent; the rest comes when the key's rate is free.
    try:
        if purchase.record_calls:
            reader, changer = turns.client_for(key, behind=True), turns.client_for(key)
        else:
            reader = changer = turns.client_for(key, place=place)
        is_sure = place is not None or _is_listed(purchase, key)
        problem = _apply_settings(reader, changer, purchase, is_sure=is_sure)
    except turns.Busy as busy:
        _plan(purchase, busy.until)
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


def _is_listed(purchase: Purchase, key: ApiKey) -> bool:
    """Whether the key's list showed the number under its id: a person may have typed another number's id."""
    assert purchase.provider_id is not None  # stored with the state
    shown = VirtualNumber.objects.filter(credential=key.credential_id, provider_id=purchase.provider_id)
    return shown.filter(phone_number=purchase.phone_number).exists()


def _apply_settings(reader: Client, changer: Client, purchase: Purchase, *, is_sure: bool) -> str:
    """Change what differs; the answer proves it. Returns what still differs, in words, or ''.

    The number is read first, unless recording is to be switched off and its id `is_sure` to be its own.
    """
    assert purchase.provider_id is not None  # stored with the state
    if is_sure and not purchase.record_calls:
        wrong: dict[str, bool | str] = {"recording": False}
        if purchase.name:
            wrong["name"] = purchase.name
    else:
        shown = reader.number(purchase.provider_id)
        if shown.phone_number != purchase.phone_number:
            return _another(shown, purchase, "it is left as it is")
        wrong = _differences(shown, purchase)
    if not wrong:
        return ""
    changed = changer.update_number(purchase.provider_id, **wrong)
    if changed.phone_number != purchase.phone_number:
        return _another(changed, purchase, "the change may have reached that one")
    still = _differences(changed, purchase)
    return f"IdentityCall does not show it yet: {', '.join(sorted(still))}." if still else ""


def _another(shown: NumberDetail, purchase: Purchase, what: str) -> str:
    return f"IdentityCall shows {shown.phone_number} under the id {purchase.provider_id}; {what}."


def _differences(detail: NumberDetail, purchase: Purchase) -> dict[str, bool | str]:
    """The fields of VN-UPD that have to change for this number to be as requested."""
    wanted: dict[str, bool | str] = {}
    if detail.recording != purchase.record_calls:
        wanted["recording"] = purchase.record_calls
    if not _has_name(detail, purchase):
        wanted["name"] = purchase.name
    return wanted


def _has_name(shown: NumberDetail | OwnedNumber, purchase: Purchase) -> bool:
    # Compared in cleaned form: spaces that reading folds would differ for ever.
    return not purchase.name or shown.name == clean_text(purchase.name)


@transaction.atomic
def _store_result(purchase: Purchase, problem: str) -> None:
    now = clock.now()
    if problem:
        gaps = settings.EVIDENCE_CHECK_DELAYS
        gap = gaps[purchase.checks] if purchase.checks < len(gaps) else min(SLOW, 60 * (purchase.checks + 1))
        _plan(purchase, now + timedelta(seconds=gap), checks=purchase.checks + 1, applied_words=problem[:500])
    elif _waiting(purchase).update(applied_at=now, applied_words="", due_at=None):
        outcomes.record_applied(purchase)


@transaction.atomic
def _plan(purchase: Purchase, due_at: datetime, **fields: object) -> None:
    """Try again at this time."""
    if _waiting(purchase).update(due_at=due_at, **fields):
        jobs.enqueue_at(due_at, "apply", purchase.pk)


def _waiting(purchase: Purchase) -> QuerySet[Purchase]:
    return Purchase.objects.filter(pk=purchase.pk, state=State.PURCHASED, applied_at=None)
