"""A team's API key: testing, storing, removing, wiping and re-encrypting it.

A test spends nothing. It reads the owned list (a key that cannot read could buy without anybody being able to check, so
it is not accepted), reads the projects, and makes one call that must fail: the failure proves that the key may not
write, in which case it is not accepted either, or shows that it probably may. A key that could not be tested is not
stored: it would replace one that works, and while IdentityCall cannot be reached nothing is bought anyway. On the
server, `manage.py set_key` stores a key untested.

The network is used outside of transactions; the result of a test is stored afterwards, under the locks, by somebody who
still is the team's admin.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from purchasing import audit, clock, permissions, problems
from purchasing.audit.search import Filter, newest_first
from purchasing.encryption import Secret, Undecryptable, fingerprint
from purchasing.identitycall import errors
from purchasing.identitycall.client import Client
from purchasing.identitycall.resources import OwnedList
from purchasing.models import ApiKey, Attempt, Credential, Purchase, Team
from purchasing.problems import AlreadyMoved, NotYours, Problem
from purchasing.provider import owned_list, pauses, turns, unrecorded
from purchasing.states import OPEN, Outcome, State
from purchasing.teams import teams
from purchasing.workflow import locked_team

# Calls a minute. With fewer, the lists that are looked at before a purchase would be too old when they are read.
LEAST_RATE, MOST_RATE = 12, 6000
TEST_WAIT = 5  # seconds that a page waits for a turn in the key's rate
LONGEST_TEST_CALL = 15  # seconds that one call of a test may take, because a person waits for it
SCOPES = {"project": "one project", "account": "the whole account"}
REFUSED = {
    401: "IdentityCall does not accept this key: it was mistyped, has expired, or was revoked.",
    403: "This key may not read. It could buy a number and nobody could check that, so it is not used. "
    "Make one with read and write in IdentityCall.",
}
NO_WRITE = "This key may not write, so nothing could be bought with it. Make one with read and write in IdentityCall."
KEY_SHAPE = re.compile(r"idc_[A-Za-z0-9]{32}")  # AUTH


class NotAccepted(problems.WrongField):
    """A new key was not accepted; the text says why."""

    def __init__(self, text):
        super().__init__("key", text)


@dataclass(frozen=True)
class KeyReport:
    """What else a key that can read may do, as far as a test can show; None where the test could not show it."""

    projects: tuple | None
    may_write: bool | None

    @property
    def sees(self):
        """The projects as text, their count first: '2 projects: Sales, Support'. At most 200 characters."""
        if self.projects is None:
            return ""
        count, names = len(self.projects), ", ".join(p.name or f"project {p.id}" for p in self.projects)
        text = f"{count} project" if count == 1 else f"{count} projects"
        text = f"{text}: {names}" if names else text
        return text if len(text) <= 200 else f"{text[:199]}…"

    @property
    def sentence(self):
        """The result of the test, for the page and the audit record."""
        writes = {
            True: "It probably may buy.",
            False: "It cannot buy: IdentityCall says that it has no write permission.",
            None: "The test could not show whether it may buy.",
        }
        sees = f"It sees {self.sees}." if self.sees else "Its projects could not be read."
        return f"It can read. {sees} {writes[self.may_write]}"


def is_account_wide(key):
    """Whether the key sees two or more projects, so that it is for the whole account. One project proves nothing."""
    count = key.sees.partition(" ")[0]
    return count.isdecimal() and int(count) >= 2


# --- Testing ------------------------------------------------------------------------------------------------------


def _client(secret, *, before_read=None):
    return Client(
        settings.IDENTITYCALL_API_URL,
        secret,
        connect_timeout=settings.IDENTITYCALL_CONNECT_TIMEOUT,
        read_timeout=min(LONGEST_TEST_CALL, settings.IDENTITYCALL_READ_TIMEOUT),
        deadline=min(LONGEST_TEST_CALL, settings.IDENTITYCALL_DEADLINE),
        before_read=before_read,
    )


@dataclass(frozen=True)
class Test:
    """What a test read: the owned list, when and after which event it began, and what else the key may do."""

    owned: OwnedList
    began_after: int
    began_at: datetime
    report: KeyReport

    def keep(self, key):
        """Store the list that was read, for all that it settles. Runs in the caller's transaction."""
        projects = self.report.projects
        owned_list.keep(
            key,
            self.owned,
            began_after=self.began_after,
            began_at=self.began_at,
            projects=None if projects is None else [project.id for project in projects],
        )


def _tested(client):
    """Test what the key may do. Raises a `ProviderError` or `Busy` where the test did not prove that it can read."""
    began_after, began_at = audit.position(), clock.now()
    owned = client.owned_numbers()
    report = KeyReport(_or_none(client.projects), _or_none(client.write_permission))
    return Test(owned, began_after, began_at, report)


def _or_none(call):
    try:
        return call()
    except (errors.ProviderError, turns.Busy):
        return None


def test_stored(team, *, actor):
    """Test the stored key; returns `(passed, sentence)`.

    A key that was marked as refused and passes is used again: purchases that waited for it are due at once. Raises
    `Problem` where no call could be made.
    """
    _require_admin(team, actor)
    key = pauses.current_key(team)
    if key is None:
        raise Problem(f"{team} has no API key to test.")
    try:
        secret = ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk)
        turn = lambda: turns.take_turn(key, patience=TEST_WAIT)  # noqa: E731
        test = _tested(_client(secret, before_read=turn))
    except (turns.Busy, Undecryptable) as problem:
        raise Problem(str(problem)) from None
    except errors.ProviderError as error:
        return False, _note_failure(team, key, error, actor)
    pauses.provider_answered()
    return _note_report(team, key, test, actor)


def _note_failure(team, key, error, actor):
    """Record that a test did not prove that the key can read."""
    refused = isinstance(error, errors.KeyRefused)
    sentence = REFUSED.get(error.status, str(error)) if refused else f"The test was inconclusive. {error}"
    with transaction.atomic():
        team = teams.locked_by_admin(team, actor)
        if refused or isinstance(error, errors.RateLimited):
            pauses.after_failed_read(key, error)
        if refused:
            ApiKey.objects.filter(pk=key.pk).update(tested_at=clock.now())
        _record("key.tested", actor, team, key, note=sentence, passed=False)
    return sentence


@transaction.atomic
def _note_report(team, key, test, actor):
    """Record what a test showed. It clears a refusal that is older than the test, unless the key cannot write."""
    team, now = teams.locked_by_admin(team, actor), clock.now()
    current = pauses.current_key(team, lock=True)
    if current is None or current.pk != key.pk:
        raise AlreadyMoved("The key was replaced or removed while it was tested.")
    report = test.report
    test.keep(current)
    shown = {"sees": report.sees, "may_write": report.may_write}
    ApiKey.objects.filter(pk=key.pk).update(
        tested_at=now, **{name: value for name, value in shown.items() if value not in (None, "")}
    )
    passed = report.may_write is not False
    refused = Credential.objects.filter(pk=key.credential_id, refused_at__lte=test.began_at)
    resumes = passed and refused.update(refused_at=None, refused_words="") > 0
    if resumes:
        pauses.resume(current.credential)
    _record("key.tested", actor, team, key, note=report.sentence, passed=passed)
    sentence = f"{report.sentence}{unrecorded.said_of(current.credential)}"
    if resumes:
        sentence += " Purchases that waited for the key are bought now."
    elif current.credential.refused_at:
        sentence += " It stays marked as refused."
    return passed, sentence


# --- Storing and removing -----------------------------------------------------------------------------------------


@transaction.atomic
def set_key(team, secret, *, actor):
    """Store a key for the team, untested, in place of the current one, which is kept for reads only.

    Raises `Problem` for a text that does not have the form of a key (AUTH). Approved purchases are due at once.
    """
    secret = Secret(secret.strip())
    if not KEY_SHAPE.fullmatch(secret):
        raise Problem("An API key is idc_ followed by 32 letters or digits.")
    team = Team.objects.select_for_update(no_key=True).get(pk=team.pk)
    now = clock.now()
    replaced = pauses.current_key(team, lock=True)
    ApiKey.objects.filter(team=team, retired_at=None).update(retired_at=now)
    key = ApiKey.objects.create(team=team, secret=secret, last_four=secret[-4:])
    if replaced and replaced.credential.rate_per_minute:
        # The plan is the account's: another key of it has the same rate until somebody says otherwise.
        unset = Credential.objects.filter(pk=key.credential_id, rate_per_minute=None)
        unset.update(rate_per_minute=replaced.credential.rate_per_minute)
    pauses.plan(Purchase.objects.filter(request__in=team.requests.all(), state=State.APPROVED), now)
    audit.record(
        "key.replaced" if replaced else "key.stored", actor=actor, team=team, key=key.last_four, key_id=key.pk
    )
    return key


def store(team, secret, *, scope, actor):
    """Test a new key and store it in place of the current one; returns `(key, sentence)`.

    `scope` is what the admin says the key is for ('project' or 'account'); a key that sees two or more projects is for
    the account. Raises `NotAccepted` for a key that is refused, cannot read or write, or could not be tested.
    """
    _require_admin(team, actor)
    if not KEY_SHAPE.fullmatch(secret):
        raise NotAccepted("An API key is idc_ followed by 32 letters or digits.")
    if scope not in SCOPES:
        raise Problem("Say whether the key is for one project or for the whole account.")
    if _is_current(team, secret):
        raise NotAccepted("This key is stored already. To test it, use “Test the key”.")
    try:
        test = _tested(_client(secret))
    except errors.KeyRefused as error:
        raise _not_accepted(team, actor, REFUSED.get(error.status, str(error))) from None
    except errors.ProviderError as error:
        raise _not_accepted(
            team, actor, f"{error} The key could not be tested and is not stored. Try again in a few minutes."
        ) from None
    report = test.report
    if report.may_write is False:
        raise _not_accepted(team, actor, NO_WRITE)
    with transaction.atomic():
        team = teams.locked_by_admin(team, actor)
        key = set_key(team, secret, actor=actor)
        key.tested_at, key.sees, key.may_write = clock.now(), report.sees, report.may_write
        proved = is_account_wide(key)
        key.said_scope = "" if proved else scope
        key.save(update_fields=["tested_at", "sees", "may_write", "said_scope"])
        test.keep(key)
        _record("key.tested", actor, team, key, note=report.sentence, passed=True)
        if not proved:
            _record("key.scope_said", actor, team, key, scope=SCOPES[scope])
    sentence = f"{report.sentence}{unrecorded.said_of(key.credential)}"
    if proved and scope != "account":
        sentence += " So it is for the whole account, not for one project as you said."
    return key, sentence


def _not_accepted(team, actor, text):
    with transaction.atomic():
        team = teams.locked_by_admin(team, actor)
        audit.record("key.not_stored", actor=actor, team=team, note=text)
    return NotAccepted(text)


def _is_current(team, secret):
    key = pauses.current_key(team)
    try:
        return key is not None and ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk) == secret
    except Undecryptable:
        return False


@transaction.atomic
def say_scope(team, *, scope, actor):
    """Record what an admin says the key is for, where the projects that it sees do not prove it."""
    team = teams.locked_by_admin(team, actor)
    key = pauses.current_key(team, lock=True)
    if key is None:
        raise Problem(f"{team} has no API key.")
    if scope not in SCOPES:
        raise Problem("Say whether the key is for one project or for the whole account.")
    if is_account_wide(key):
        raise Problem("The projects that this key sees prove that it is for the whole account.")
    ApiKey.objects.filter(pk=key.pk).update(said_scope=scope)
    _record("key.scope_said", actor, team, key, scope=SCOPES[scope])


@transaction.atomic
def set_rate(team, *, rate, actor):
    """Set how many calls a minute the plan of the team's key allows; None for the usual rate. Returns what counts now.

    Raises `Problem` for a rate that no plan has.
    """
    team = teams.locked_by_admin(team, actor)
    key = pauses.current_key(team, lock=True)
    if key is None:
        raise Problem(f"{team} has no API key.")
    if rate is not None and not LEAST_RATE <= rate <= MOST_RATE:
        raise Problem(
            f"Enter {LEAST_RATE} to {MOST_RATE:,} calls a minute, as your IdentityCall plan allows."
        )
    credential = key.credential  # locked with the key; the rate counts for every team that stored this secret
    was, credential.rate_per_minute = (credential.rate_per_minute, credential.rate), rate
    if was[0] != rate:
        Credential.objects.filter(pk=credential.pk).update(rate_per_minute=rate)
        _record("key.rate_set", actor, team, key, rate=credential.rate, before=was[1])
    return credential.rate


def scope_event(key):
    """The event in which somebody said what the key is for, or None."""
    if not key.said_scope:
        return None
    events = newest_first(Filter(team=key.team_id, action="key.scope_said"))
    return next((event for event in events if event.data["key_id"] == key.pk), None)


@transaction.atomic
def remove(team, *, seen, reason, actor):
    """Retire the key: nothing more is bought with it. `seen` is the id of the key that the page showed."""
    team = teams.locked_by_admin(team, actor)
    key = pauses.current_key(team, lock=True)
    if key is None or key.pk != seen:
        raise AlreadyMoved("The key was replaced or removed since you opened this page. Look at it again.")
    reason = audit.clean(reason).strip()
    if not reason:
        raise Problem("Say why: the reason stays in the record.")
    now = clock.now()
    ApiKey.objects.filter(pk=key.pk).update(retired_at=now)
    pauses.plan(_waiting(team), now)  # each records at once what it waits for
    _record("key.removed", actor, team, key, note=reason)


def _require_admin(team, actor):
    """Check the role before the network is used; it is checked again under the lock."""
    if not permissions.may_manage(actor.user, team):
        raise NotYours(teams.NOT_ITS_ADMIN.format(team=team))


def _waiting(team):
    return Purchase.objects.filter(request__in=team.requests.all(), state=State.APPROVED)


def _record(action, actor, team, key, **details):
    audit.record(action, actor=actor, team=team, key=key.last_four, key_id=key.pk, **details)


# --- Retired keys -------------------------------------------------------------------------------------------------


def kept(team):
    """The team's retired keys whose secret is still stored: needed for reads, or wiped by the next sweep."""
    return team.keys.filter(retired_at__isnull=False, secret__isnull=False).order_by("-retired_at")


def needed_keys():
    """The ids of keys that reads need: for calls under way or in doubt, and for numbers bought but not finished."""
    watched = Q(outcome=Outcome.OPEN) | Q(outcome=Outcome.UNCONFIRMED, purchase__state__in=sorted(OPEN))
    watched |= Q(purchase__cancel_asked_at__isnull=False)
    unfinished = Purchase.objects.filter(state=State.PURCHASED, applied_at=None, bought_with__isnull=False)
    return {
        *Attempt.objects.filter(watched).values_list("key", flat=True),
        *unfinished.values_list("bought_with", flat=True),
    }


def wipe_unneeded():
    """Wipe the secrets of retired keys that no read needs any more. Safe to run at any time."""
    retired = ApiKey.objects.filter(retired_at__isnull=False, secret__isnull=False)
    if not retired.exists():
        return
    for key in retired.exclude(pk__in=needed_keys()).select_related("team").order_by("pk"):
        with transaction.atomic():
            team = locked_team(key.team_id)
            if key.pk in needed_keys():  # something began to need it before the lock was held
                continue
            held = ApiKey.objects.filter(pk=key.pk, retired_at__isnull=False, secret__isnull=False)
            if held.update(secret=None):
                _record("key.wiped", audit.SWEEP, team, key)


@transaction.atomic
def reencrypt(*, actor):
    """Encrypt every stored key with the newest of API_KEY_ENCRYPTION_KEYS; returns how many.

    Raises `Problem`, and changes nothing, where a key cannot be decrypted.
    """
    stored = ApiKey.objects.filter(secret__isnull=False).select_related("team").order_by("pk")
    stored = list(stored.select_for_update(no_key=True, of=("self",)))
    for key in stored:
        try:
            secret = ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk)
        except Undecryptable:
            raise Problem(
                f"The API key {key} of {key.team} cannot be read: the encryption key it was stored with is missing "
                "from API_KEY_ENCRYPTION_KEYS. Put that back, or store a new API key. Nothing was changed."
            ) from None
        ApiKey.objects.filter(pk=key.pk).update(secret=str(secret))
        Credential.objects.filter(pk=key.credential_id).update(fingerprint=fingerprint(secret))
    audit.record("key.reencrypted", actor=actor, count=len(stored))
    return len(stored)
