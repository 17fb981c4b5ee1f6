"""The numbers that a credential owns, as its lists show them. Reads over HTTP; never changes a state.

A *well-formed* list settles that a number is there. A *complete* one, which also holds every number that is known,
proves that a number is not. Nothing here runs inside a database transaction, since it uses the network.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from purchasing import audit, clock, jobs
from purchasing.identitycall import errors
from purchasing.identitycall.client import Client
from purchasing.identitycall.resources import OddEntry, OwnedList
from purchasing.models import ApiKey, Attempt, AuditEvent, Credential, OwnedRead, Purchase, VirtualNumber
from purchasing.provider import pauses
from purchasing.provider.turns import alone, client_for
from purchasing.states import SENT, WATCHED, Outcome, State

LIST_SERVES = 60  # seconds for which a read may be reused
NAMED = 5  # numbers or entries that a sentence names at most
WRONG_PROJECT = "This key was for the project"
LATER_READ = "Another read that began later was stored first."

# The reads that count in this process, by credential: those from the first one on since it started, or since it last
# lost its database connection. By row, not by clock: what a restored database holds from before counts for nothing.
_counts_from: dict[int, int] = {}
_epoch: int | None = None  # of the database that they were read from (audit/restores.py)


def forget_reads() -> None:
    """Count no read that is stored so far. Call it when the database connection was lost: it may be another one."""
    _counts_from.clear()


def count_reads_of(epoch: int | None) -> None:
    """Count only reads of this epoch: after 'go on' all kept reads are older than the alarm."""
    global _epoch
    if epoch != _epoch:
        _epoch = epoch
        forget_reads()


def fresh_read(key: ApiKey, *, not_before_seq: int = 0, max_age: float = LIST_SERVES) -> OwnedRead:
    """A well-formed read of the key's owned list that began at most `max_age` seconds ago and after `not_before_seq`.

    Raises a `ProviderError` when a new one was needed and could not be made.
    """
    recent = _recent_read(key, not_before_seq, max_age)
    if recent is not None:
        return recent
    with alone(key):
        return _recent_read(key, not_before_seq, max_age) or read(key)


def _recent_read(key: ApiKey, not_before_seq: int, max_age: float) -> OwnedRead | None:
    counts_from = _counts_from.get(key.credential_id)
    if counts_from is None:
        return None
    now = clock.now()
    recent = OwnedRead.objects.filter(
        credential=key.credential_id, pk__gte=counts_from, began_at__gt=now - timedelta(seconds=max_age)
    )
    last = recent.order_by("-pk").first()
    if last and last.well_formed and last.began_after >= not_before_seq and last.began_at <= now:
        return last
    return None


def read(key: ApiKey) -> OwnedRead:
    """Read the key's owned list now and store what it showed. A failure is stored too, and raised (`ProviderError`).

    While a call is in doubt that was made when the key knew no number, the projects are read as well: only those
    show whether it is still the key that it was.
    """
    client = client_for(key)
    began_after, began_at = audit.position(), clock.now()
    try:
        owned = client.owned_numbers()
        projects = _projects(client) if _needs_projects(key) else None
    except errors.ProviderError as error:
        OwnedRead.objects.create(
            credential_id=key.credential_id,
            began_after=began_after,
            began_at=began_at,
            ended_at=clock.now(),
            complete=False,
            well_formed=False,
            problem=str(error)[:1000],
        )
        raise
    return keep(key, owned, began_after=began_after, began_at=began_at, projects=projects)


def _needs_projects(key: ApiKey) -> bool:
    doubts = Attempt.objects.filter(
        key__credential=key.credential_id, outcome=Outcome.UNCONFIRMED, projects__isnull=False
    )
    return doubts.filter(purchase__state__in=sorted(WATCHED)).exclude(projects=[]).exists()


def _projects(client: Client) -> list[int] | None:
    try:
        return sorted(project.id for project in client.projects())
    except errors.ProviderError:
        return None  # the list itself was read; it only proves no absence


@transaction.atomic
def keep(
    key: ApiKey,
    owned: OwnedList,
    *,
    began_after: int,
    began_at: datetime,
    projects: Collection[int] | None = None,
) -> OwnedRead:
    """Store what a list showed that was requested at `began_at`, after the event `began_after`.

    Purchases that it may settle are settled at once by a task, and what waited for a read goes on. Locks the
    credential, so that its lists are stored one at a time.
    """
    credential = Credential.objects.select_for_update(no_key=True).get(pk=key.credential_id)
    is_late = OwnedRead.objects.filter(
        credential=credential, well_formed=True, began_after__gt=began_after
    ).exists()
    rows = list(VirtualNumber.objects.filter(credential=credential))
    seen = Shown(owned, rows)
    new = _store_numbers(credential, seen, is_late=is_late)
    lacking = [row for row in rows if seen.lacks(row)]
    missing = {
        (row.provider_id, row.phone_number) for row in lacking if row.confirmed_gone_at is None
    } | _bought_and_missing(credential, seen)
    known = [row for row in rows if row.confirmed_gone_at is None]
    problems = [LATER_READ] if is_late else []
    if missing:
        problems.append(f"It lacks {_named(number or f'id {pk}' for pk, number in sorted(missing))}.")
    nameless = [entry for entry in owned.odd if entry.id is None]
    if owned.odd:
        problems.append(f"It has entries that cannot be read: {_named(map(_in_words, owned.odd))}.")
    stored = OwnedRead.objects.create(
        credential=credential,
        began_after=began_after,
        began_at=began_at,
        ended_at=clock.now(),
        seq=audit.position(),
        complete=not (missing or nameless or is_late),
        well_formed=True,
        count=owned.entries or len(owned.numbers),
        missing=[list(pair) for pair in sorted(missing)],
        unreadable=[[entry.id, entry.shows] for entry in owned.odd],
        gone_seq=max((row.confirmed_seq for row in lacking), default=0),
        projects=None if projects is None else list(projects),
        problem=" ".join(problems)[:1000],
    )
    _counts_from.setdefault(credential.pk, stored.pk)
    pauses.trust_after_read(credential, began_after=began_after)
    if not is_late:
        _note_sight(key, credential, known, seen, projects)
    if _may_settle(credential, new):
        jobs.enqueue("settle_shown", credential.pk)
    return stored


class Shown:
    """What a list shows, compared with the numbers that earlier lists of the credential showed (`rows`)."""

    def __init__(self, owned: OwnedList, rows: Iterable[VirtualNumber]) -> None:
        self.pairs = {(number.id, number.phone_number) for number in owned.numbers}
        self.numbers = {number.phone_number for number in owned.numbers}
        self.odd_ids = {entry.id for entry in owned.odd if entry.id is not None}
        self.ids = {number.id for number in owned.numbers} | self.odd_ids
        self.rows = list(rows)

    def shows(self, row: VirtualNumber) -> bool:
        """Whether the list shows this number: itself, or an entry of its id that cannot be read."""
        return (row.provider_id, row.phone_number) in self.pairs or row.provider_id in self.odd_ids

    def lacks(self, row: VirtualNumber) -> bool:
        """Whether the list lacks the number, under any id."""
        if not row.phone_number:
            return row.provider_id not in self.ids
        return not self.shows(row) and row.phone_number not in self.numbers


def _store_numbers(credential: Credential, seen: Shown, *, is_late: bool) -> list[VirtualNumber]:
    """Store what is shown for the first time, and which numbers are gone or back. Returns the new rows.

    An id is as old as the first list that showed it, whatever number stood under it.
    """
    now, seq = clock.now(), audit.position()
    known = {(row.provider_id, row.phone_number): row for row in seen.rows}
    first_seen: dict[int, tuple[int, datetime]] = {}
    for row in seen.rows:
        at = (row.first_seen_seq, row.first_seen_at)
        first_seen[row.provider_id] = min(at, first_seen.get(row.provider_id, at))
    shown = seen.pairs | {(pk, "") for pk in seen.odd_ids if pk not in first_seen}
    new = []
    for provider_id, phone_number in sorted(shown - known.keys()):
        unread = known.get((provider_id, ""))
        if unread is not None and phone_number:
            VirtualNumber.objects.filter(pk=unread.pk).update(phone_number=phone_number, gone_at=None)
            continue
        first = first_seen.get(provider_id, (seq, now))
        new.append(
            VirtualNumber(
                credential=credential,
                provider_id=provider_id,
                phone_number=phone_number,
                first_seen_seq=first[0],
                first_seen_at=first[1],
            )
        )
    VirtualNumber.objects.bulk_create(new, batch_size=500)
    back = [row.pk for row in seen.rows if row.gone_at is not None and seen.shows(row)]
    _update(back, gone_at=None, confirmed_gone_at=None, confirmed_seq=0)
    if not is_late:
        gone = [row.pk for row in seen.rows if row.gone_at is None and not _is_there(row, seen)]
        _update(gone, gone_at=now)
    return new


def _is_there(row: VirtualNumber, seen: Shown) -> bool:
    return seen.shows(row) or (not row.phone_number and row.provider_id in seen.ids)


def _update(pks: list[int], **fields: object) -> None:
    for start in range(0, len(pks), 500):
        VirtualNumber.objects.filter(pk__in=pks[start : start + 500]).update(**fields)


def _bought_and_missing(credential: Credential, seen: Shown) -> set[tuple[int, str]]:
    """What was bought with this credential longer than the settle window ago and is not shown."""
    bought = Purchase.objects.filter(
        state=State.PURCHASED,
        released_at=None,
        bought_with__credential=credential,
        provider_id__isnull=False,
        purchased_at__lt=clock.now() - timedelta(seconds=settings.SETTLE_WINDOW),
    )
    return {
        (provider_id, phone_number)
        for provider_id, phone_number in bought.values_list("provider_id", "phone_number")
        if provider_id is not None and provider_id not in seen.ids and phone_number not in seen.numbers
    }


def _note_sight(
    key: ApiKey,
    credential: Credential,
    known: list[VirtualNumber],
    seen: Shown,
    projects: Collection[int] | None,
) -> None:
    """Note whether the credential is blind: it shows none of the numbers it knows, or another project than its own."""
    if known and not any(seen.shows(row) or not seen.lacks(row) for row in known):
        _blind(
            key,
            credential,
            "IdentityCall's list shows no number that this key has shown before "
            f"({_named(row.phone_number or f'id {row.provider_id}' for row in known)}), as if the key had been moved "
            "to another project.",
        )
    elif _shows_none(credential) and any(row.gone_at and not seen.lacks(row) for row in known):
        see(credential)  # what it showed for the first time since it is blind says nothing
    if projects is not None:
        note_projects(key, projects)


def note_projects(key: ApiKey, projects: Collection[int]) -> None:
    """Note which projects (their ids) a credential shows. One that is bound to a project and shows another is blind.

    Runs in the caller's transaction and locks the credential.
    """
    credential = Credential.objects.select_for_update(no_key=True).get(pk=key.credential_id)
    before = credential.projects
    is_bound = key.said_scope == "project" and before is not None and len(before) == 1
    if before is not None and is_bound and not set(before) <= set(projects):
        _blind(
            key,
            credential,
            f"{WRONG_PROJECT} with the id {before[0]} and shows another one now.",
        )
        return
    Credential.objects.filter(pk=credential.pk).update(projects=sorted(projects))
    knows = VirtualNumber.objects.filter(credential=credential, confirmed_gone_at=None).exists()
    if credential.blind_at and not (knows and _shows_none(credential)):
        see(credential)


def _shows_none(credential: Credential) -> bool:
    """Whether it is blind because of its numbers, not of its project."""
    return bool(credential.blind_at) and not credential.blind_words.startswith(WRONG_PROJECT)


def _blind(key: ApiKey, credential: Credential, words: str) -> None:
    if credential.blind_at:
        return
    Credential.objects.filter(pk=credential.pk).update(blind_at=clock.now(), blind_words=words[:500])
    for concerned in pauses.concerned(credential, key.pk):
        audit.record(
            "key.blind",
            actor=audit.WORKER,
            team=concerned.team,
            key=concerned.last_four,
            key_id=concerned.pk,
            note=words,
        )


def see(credential: Credential) -> None:
    """End the blindness of a credential: what waited for it is due at once. Runs in the caller's transaction."""
    Credential.objects.filter(pk=credential.pk).update(blind_at=None, blind_words="")
    pauses.resume(credential)  # locks purchases, so before the events
    for key in pauses.concerned(credential):
        audit.record("key.sees_again", actor=audit.WORKER, team=key.team, key=key.last_four, key_id=key.pk)


def _may_settle(credential: Credential, new: list[VirtualNumber]) -> bool:
    """Whether a purchase that a call may have bought can be settled by what was seen for the first time."""
    numbers = [row.phone_number for row in new if row.phone_number]
    sent = Attempt.objects.filter(key__credential=credential, outcome__in=sorted(SENT))
    sent = sent.exclude(purchase__state=State.PURCHASED)
    return any(
        sent.filter(purchase__phone_number__in=numbers[start : start + 500]).exists()
        for start in range(0, len(numbers), 500)
    )


def _in_words(entry: OddEntry) -> str:
    return entry.shows if entry.id is None else f"{entry.shows} under the id {entry.id}"


def _named(items: Iterable[str]) -> str:
    names = list(items)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


# --- What the lists show ------------------------------------------------------------------------------------------


def listed(key: ApiKey, phone_number: str) -> QuerySet[VirtualNumber]:
    """The rows of `phone_number` in the key's last well-formed owned list, the id that was seen last first."""
    shown = VirtualNumber.objects.filter(
        credential=key.credential_id, phone_number=phone_number, gone_at=None
    )
    return shown.order_by("-first_seen_seq", "-pk")


def confirm_gone(pairs: Collection[tuple[int, str]], event: AuditEvent) -> None:
    """Note that a person confirmed these numbers, `(id, phone number)` each, as gone, in the transaction of its event.

    Lists that lack them can be complete again, for what is claimed from then on. What a list shows stays known.
    """
    for provider_id, phone_number in pairs:
        VirtualNumber.objects.filter(
            provider_id=provider_id, phone_number=phone_number, gone_at__isnull=False
        ).update(confirmed_gone_at=event.at, confirmed_seq=event.seq)


def knows_numbers(credential: Credential) -> bool:
    """Whether lists of this credential have shown numbers that nobody confirmed as gone."""
    return VirtualNumber.objects.filter(credential=credential, confirmed_gone_at=None).exists()


def odd_entries(credential_id: int) -> QuerySet[VirtualNumber]:
    """The entries of the last list that cannot be read. Each could be any number: also one that is looked for."""
    return VirtualNumber.objects.filter(credential=credential_id, phone_number="", gone_at=None).order_by(
        "-pk"
    )


def new_odd_entries(read: OwnedRead) -> QuerySet[VirtualNumber]:
    """Those of them that the well-formed list before this one did not have."""
    before = OwnedRead.objects.filter(credential=read.credential_id, well_formed=True, pk__lt=read.pk)
    last = before.order_by("-pk").first()
    known = {entry_id for entry_id, _ in last.unreadable} if last else set()
    new = [entry_id for entry_id, _ in read.unreadable if entry_id is not None and entry_id not in known]
    return odd_entries(read.credential_id).filter(provider_id__in=new[:500])
