"""Known numbers that lists no longer show: what became of them? One question for each id, answered by people.

Until it is answered no list of the key proves that a number is not there. A key that shows none of what it knows is
*blind*: its team admin says whether it is still the right key.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F

from purchasing import audit, clock, permissions, workflow
from purchasing.buying import adoption, held_purchases
from purchasing.encryption import Undecryptable
from purchasing.identitycall import errors
from purchasing.models import (
    ApiKey,
    Attempt,
    Credential,
    OwnedRead,
    Purchase,
    RentedNumber,
    Team,
    User,
    VirtualNumber,
)
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.provider import owned_list, pauses, turns
from purchasing.states import WATCHED, Outcome, State

WHO_DECIDES = "Only the team admin can say what became of these numbers."
AGREE = "A second list, at least a minute after the first that lacked {numbers}, has to agree. Try again in a minute."


@dataclass(frozen=True)
class Missing:
    """A known number that the last list of a key lacks, and to whom the question belongs."""

    provider_id: int
    phone_number: str  # '' where its entry could never be read
    credential_id: int
    since: datetime | None  # None where no list ever showed it
    purchase: Purchase | None
    kept: RentedNumber | None

    @property
    def team(self) -> Team | None:
        """The team that owns the number, or None where no record here has its id: a superuser is asked."""
        if self.purchase is not None:
            return self.purchase.request.team
        return self.kept.team if self.kept is not None else None

    @property
    def pair(self) -> tuple[int, str]:
        """The id and the phone number, as `owned_list.confirm_gone` takes them."""
        return self.provider_id, self.phone_number


def of_team(team: Team, user: User) -> list[Missing]:
    """What `user` is asked about on the page of a team, one for each id: the team's own numbers.

    For superusers also those that the team's keys knew and no record here has.
    """
    bought = Purchase.objects.filter(
        request__team=team, state=State.PURCHASED, released_at=None, provider_id__isnull=False
    )
    gone = VirtualNumber.objects.filter(gone_at__isnull=False, confirmed_gone_at=None)
    credentials = {
        *team.keys.values_list("credential", flat=True),
        *bought.values_list("bought_with__credential", flat=True),
        *gone.filter(provider_id__in=bought.values("provider_id")).values_list("credential", flat=True),
    }
    found = _of(pk for pk in credentials if pk is not None)
    return _one_an_id(one for one in found if _is_asked(one, team, user))


def open_questions(user: User) -> list[tuple[Team, int]]:
    """The teams that `user` manages with numbers missing, and how many, where an order in doubt needs the answer."""
    doubts = Attempt.objects.filter(outcome=Outcome.UNCONFIRMED, purchase__state__in=sorted(WATCHED))
    teams: dict[Team, int] = {}
    for key in ApiKey.objects.filter(
        credential__in=set(doubts.values_list("key__credential", flat=True)), secret__isnull=False
    ).select_related("team"):
        for one in _of([key.credential_id]):
            team = one.team or key.team
            if team not in teams and permissions.may_manage(user, team):
                teams[team] = len(of_team(team, user))
    return [(team, count) for team, count in teams.items() if count]


def _is_asked(one: Missing, team: Team, user: User) -> bool:
    return one.team == team if one.team is not None else user.is_active and user.is_superuser


def _one_an_id(found: Iterable[Missing]) -> list[Missing]:
    return list({one.pair: one for one in found}.values())


def _of(credentials: Iterable[int]) -> list[Missing]:
    """What the last well-formed lists of these credentials lack and nobody has confirmed as gone."""
    pairs = []
    for credential_id in sorted(credentials):
        reads = OwnedRead.objects.filter(credential=credential_id, well_formed=True)
        last = reads.order_by("-began_after", "-pk").first()
        pairs += [(credential_id, pk, number) for pk, number in (last.missing if last else [])]
    ids = {pk for _, pk, _ in pairs}
    rows = {
        (row.credential_id, row.provider_id, row.phone_number): row
        for row in VirtualNumber.objects.filter(provider_id__in=ids)
    }
    bought = {
        purchase.provider_id: purchase
        for purchase in Purchase.objects.filter(provider_id__in=ids)
        .select_related("request__team", "bought_with")
        .defer("bought_with__secret")
    }
    kept = {
        row.provider_id: row
        for row in RentedNumber.objects.filter(provider_id__in=ids, kept=True, ended_at=None).select_related(
            "team"
        )
    }
    found = []
    for credential_id, pk, number in pairs:
        row, purchase = rows.get((credential_id, pk, number)), bought.get(pk)
        is_rented = (
            purchase is not None
            and purchase.released_at is None
            and purchase.bought_with is not None
            and purchase.bought_with.credential_id == credential_id
        )
        unanswered = row is not None and row.gone_at is not None and row.confirmed_gone_at is None
        if unanswered or is_rented:
            since = row.gone_at if row is not None else None
            found.append(Missing(pk, number, credential_id, since, purchase, kept.get(pk)))
    return found


def confirm_gone(team: Team, provider_ids: Collection[int], *, reason: str, actor: audit.Actor) -> int:
    """Record that these numbers are gone; what was bought here is no longer rented. Returns how many. All or none.

    The lists are read again first. What a list shows is not gone, whatever anybody says.
    """
    _check(team, reason, actor)
    wanted = set(provider_ids)
    if not wanted:
        raise Problem("Tick at least one number.")
    assert actor.user is not None  # checked above
    chosen = [one for one in of_team(team, actor.user) if one.provider_id in wanted]
    _read_again({one.credential_id for one in chosen})
    with transaction.atomic():
        workflow.locked_team(team.pk)
        _check(team, reason, actor)
        chosen = [one for one in of_team(team, actor.user) if one.provider_id in wanted]
        if {one.provider_id for one in chosen} != wanted:
            raise AlreadyMoved(
                "Some of these numbers are shown again, or somebody else has answered. Look at the page again."
            )
        _lock(chosen)
        _record_gone(team, chosen, reason.strip(), actor)
    return len(chosen)


def key_is_right(team: Team, *, reason: str, actor: audit.Actor) -> int:
    """End the blindness of the team's key: what it knew is gone, and the projects that it shows are its own.

    Returns how many numbers were confirmed as gone. Raises `Problem` where the list or the projects cannot be read.
    """
    _check(team, reason, actor)
    key = pauses.current_key(team)
    if key is None or not key.credential.blind_at:
        raise AlreadyMoved("The key shows its numbers again, or was replaced. Look at the page again.")
    _read_again({key.credential_id})
    try:
        projects = [project.id for project in turns.client_for(key).projects()]
    except (errors.ProviderError, turns.Busy, Undecryptable) as problem:
        raise Problem(f"The projects of the key could not be read: {problem}") from None
    with transaction.atomic():
        workflow.locked_team(team.pk)
        _check(team, reason, actor)
        current = pauses.current_key(team, lock=True)
        chosen = _one_an_id(_of([key.credential_id]))
        _lock(chosen)
        if current is None or current.pk != key.pk or not _is_blind(key):
            raise AlreadyMoved("The key shows its numbers again, or was replaced. Look at the page again.")
        _record_gone(team, chosen, reason.strip(), actor)
    with transaction.atomic():  # of its own: it locks purchases that wait for the key
        _lock_credentials({key.credential_id})
        Credential.objects.filter(pk=key.credential_id).update(projects=sorted(projects))
        if _is_blind(key):
            owned_list.see(key.credential)
    return len(chosen)


def _is_blind(key: ApiKey) -> bool:
    return Credential.objects.filter(pk=key.credential_id, blind_at__isnull=False).exists()


def _check(team: Team, reason: str, actor: audit.Actor) -> None:
    if actor.user is None or not permissions.may_manage(permissions.as_stored(actor.user), team):
        raise NotYours(WHO_DECIDES)
    if not reason.strip():
        raise Problem("Say why: the reason stays in the record.")


def _read_again(credentials: Collection[int]) -> None:
    """Read the lists that lack the numbers once more, where a key can still be read."""
    for credential_id in sorted(credentials):
        usable = ApiKey.objects.filter(
            credential=credential_id, credential__refused_at=None, secret__isnull=False
        )
        key = usable.order_by(F("retired_at").desc(nulls_first=True), "-pk").first()
        try:
            if key is not None:
                owned_list.read(key)
        except (errors.ProviderError, turns.Busy, Undecryptable) as problem:
            raise Problem(f"IdentityCall's list of owned numbers could not be read: {problem}") from None


def _lock(chosen: list[Missing]) -> None:
    """Lock every credential whose lists have shown one of these numbers."""
    rows = VirtualNumber.objects.filter(provider_id__in=[one.provider_id for one in chosen])
    _lock_credentials({one.credential_id for one in chosen} | set(rows.values_list("credential", flat=True)))


def _lock_credentials(credentials: Collection[int]) -> None:
    list(Credential.objects.select_for_update(no_key=True).filter(pk__in=credentials).order_by("pk"))


def _record_gone(team: Team, chosen: list[Missing], reason: str, actor: audit.Actor) -> None:
    """Record each number as gone; a purchase of this team's, as no longer rented, once two lists lack it.

    One that the list of another key shows under its id is still rented: it is that key's from now on.
    """
    released: dict[int, Purchase] = {}
    moved: dict[int, ApiKey] = {}
    ours = [one.purchase for one in chosen if one.purchase is not None and one.team == team]
    for request_id in sorted({purchase.request_id for purchase in ours}):
        ids = [purchase.pk for purchase in ours if purchase.request_id == request_id]
        _, locked = workflow.locked(request_id, ids)
        for purchase in locked:
            if purchase.state != State.PURCHASED or purchase.released_at is not None:
                continue
            elsewhere = adoption.shown(purchase).get(purchase.provider_id or 0)
            if elsewhere is None:
                released[purchase.pk] = purchase
            else:
                moved[purchase.pk] = elsewhere
    too_early = [str(one) for one in released.values() if not _two_lists_lack(one, chosen)]
    if too_early:
        raise Problem(AGREE.format(numbers=", ".join(too_early[: owned_list.NAMED])))
    now = clock.now()
    for pk, key in moved.items():
        Purchase.objects.filter(pk=pk).update(bought_with=key)
    for one in chosen:
        ended = released.get(one.purchase.pk) if one.purchase is not None else None
        if ended is not None:
            Purchase.objects.filter(pk=ended.pk).update(released_at=now, due_at=None)
            event = audit.record("purchase.released", actor=actor, purchase=ended, note=reason)
        else:
            event = audit.record(
                "number.gone",
                actor=actor,
                team=team,
                note=reason,
                provider_id=one.provider_id,
                phone_number=one.phone_number or f"the number with the id {one.provider_id}",
            )
        owned_list.confirm_gone({one.pair}, event)
    RentedNumber.objects.filter(
        provider_id__in=[one.provider_id for one in chosen], team=team, ended_at=None
    ).update(ended_at=now)


def _two_lists_lack(purchase: Purchase, chosen: list[Missing]) -> bool:
    """Whether two lists at least a minute apart lack it, and it was not bought just now."""
    assert purchase.purchased_at is not None  # stored with the state
    if purchase.purchased_at > clock.now() - timedelta(seconds=settings.SETTLE_WINDOW):
        return False
    reads = OwnedRead.objects.filter(well_formed=True).order_by("-began_after", "-pk")
    last = [
        reads.filter(credential=one.credential_id).first()
        for one in chosen
        if one.purchase is not None and one.purchase.pk == purchase.pk
    ]
    return any(read is not None and held_purchases.lacked_before(purchase, read) for read in last)
