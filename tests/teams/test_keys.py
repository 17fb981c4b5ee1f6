"""A team's key: testing, storing, removing, wiping and re-encrypting it. None of it costs anything."""

from datetime import timedelta

import pytest
import requests
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from purchasing import audit, clock, problems
from purchasing.buying import evidence, procurement
from purchasing.identitycall.errors import KeyRefused
from purchasing.models import ApiKey, Attempt, AuditEvent, Credential, Desk, Membership, Purchase, User
from purchasing.provider import pauses
from purchasing.teams import keys
from purchasing.worker import sweep
from tests import factories
from tests.factories import KEY, actor
from tests.healthy_provider import OPERATORS, OWNED, PROJECTS, PURCHASE, during

pytestmark = pytest.mark.django_db
NEW = "idc_" + "n" * 28 + "9876"
REFUSED = (401, {}, '{"error": "Invalid or expired API key"}')
NO_READ = (403, {}, '{"error": "Read permission required"}')
ANSWERS = {"passed": None, "refused": REFUSED, "unclear": (500, {}, "")}
LOSES = {
    "the role": lambda person: Membership.objects.filter(user=person).delete(),
    "the account": lambda person: User.objects.filter(pk=person.pk).update(is_active=False),
}
TEST_CALLS = [("GET", "/virtual_numbers"), ("GET", "/projects"), ("POST", "/operators")]


def store(team, person, secret=NEW, scope="project"):
    return keys.store(team, secret, scope=scope, actor=actor(person))


def last_event(action):
    return AuditEvent.objects.filter(action=action).order_by("-seq").first()


def tell(action):
    return AuditEvent.objects.filter(action=action).count()


class TestStoring:
    def test_a_key_that_passes_takes_the_place_of_the_old_one(self, team, tom, provider):
        provider.tells_of_the_key()
        old = pauses.current_key(team)

        key, sentence = store(team, tom)

        assert sentence == "It can read. It sees 1 project: Support. It probably may buy."
        current = pauses.current_key(team)
        assert (current.pk, str(current)) == (key.pk, "…9876")
        assert (current.sees, current.may_write, current.said_scope) == (
            "1 project: Support",
            True,
            "project",
        )
        assert current.tested_at is not None
        assert ApiKey.objects.values_list("secret", flat=True).get(pk=key.pk) == NEW
        old.refresh_from_db()
        assert old.retired_at is not None
        assert provider.calls == TEST_CALLS
        assert {call.request.headers["Authorization"] for call in provider.http.calls} == {f"Bearer {NEW}"}
        assert [last_event(f"key.{step}").actor_name for step in ("replaced", "tested", "scope_said")] == [
            "tom"
        ] * 3

    @pytest.mark.parametrize(
        "answer, words",
        [(REFUSED, "does not accept this key"), (NO_READ, "may not read")],
        ids=["refused", "cannot read"],
    )
    def test_a_key_that_is_refused_or_cannot_read_is_not_stored(self, team, tom, provider, answer, words):
        provider.owned_answer = answer
        with pytest.raises(keys.NotAccepted, match=words):
            store(team, tom)
        assert str(pauses.current_key(team)) == "…1234"
        assert not pauses.current_key(team).credential.refused_at
        assert provider.calls == TEST_CALLS[:1]
        assert words in last_event("key.not_stored").note

    @pytest.mark.parametrize(
        "answer",
        [
            requests.ConnectionError("refused"),
            requests.ReadTimeout(),
            (500, {}, "fault"),
            (429, {"Retry-After": "7"}, "{}"),
            (200, {}, '{"data": {}}'),
            (404, {}, '{"error": "Resource not found"}'),
        ],
        ids=["no connection", "no answer", "fault", "too often", "no whole list", "not found"],
    )
    def test_a_key_that_could_not_be_tested_is_not_stored(self, team, tom, provider, answer):
        provider.owned_answer = answer
        with pytest.raises(keys.NotAccepted, match="could not be tested and is not stored"):
            store(team, tom)
        assert str(pauses.current_key(team)) == "…1234"
        assert ApiKey.objects.count() == 1

    @pytest.mark.parametrize(
        "secret", ["idc_" + "k" * 31, "idc_" + "k" * 33, "idc-" + "k" * 32, "", KEY[:-1] + "!"]
    )
    def test_what_is_no_key_is_sent_nowhere(self, team, tom, provider, secret):
        with pytest.raises(keys.NotAccepted, match="32 letters or digits"):
            store(team, tom, secret)
        assert provider.calls == []

    def test_the_key_that_is_stored_already_is_tested_not_stored_again(self, team, tom, provider):
        with pytest.raises(keys.NotAccepted, match="stored already"):
            store(team, tom, KEY)
        assert provider.calls == []

    def test_two_projects_prove_that_it_is_for_the_whole_account(self, team, tom, provider):
        provider.tells_of_the_key(projects=["Sales", "Support"])
        key, sentence = store(team, tom, scope="project")
        assert sentence.endswith("So it is for the whole account, not for one project as you said.")
        assert keys.is_account_wide(key)
        assert (key.said_scope, tell("key.scope_said")) == ("", 0)

    @pytest.mark.parametrize("projects", [[], ["Support"]])
    def test_one_project_proves_nothing_so_the_scope_is_what_the_admin_says(
        self, team, tom, provider, projects
    ):
        provider.tells_of_the_key(projects=projects)
        key, _ = store(team, tom, scope="account")
        assert not keys.is_account_wide(key)
        assert (key.said_scope, keys.scope_event(key).actor_name) == ("account", "tom")

    @pytest.mark.parametrize("status, may", [(422, True), (400, True), (500, None), (201, None)])
    def test_the_call_that_must_fail_shows_whether_it_probably_may_buy(
        self, team, tom, provider, status, may
    ):
        provider.tells_of_the_key(write=status)
        key, sentence = store(team, tom)
        assert key.may_write is may
        assert sentence.count("It probably may buy." if may else "could not") == 1

    def test_a_key_that_proves_that_it_may_not_write_is_not_stored(self, team, tom, provider):
        provider.tells_of_the_key(write=403)
        with pytest.raises(keys.NotAccepted, match="may not write, so nothing could be bought") as refusal:
            store(team, tom)
        assert refusal.value.field == "key"
        assert str(pauses.current_key(team)) == "…1234"
        assert ApiKey.objects.count() == 1
        assert last_event("key.not_stored").note == str(refusal.value)

    def test_projects_that_cannot_be_read_leave_it_unknown(self, team, tom, provider):
        provider.http.remove("GET", PROJECTS)
        provider.http.add("GET", PROJECTS, status=500)
        provider.http.add("POST", OPERATORS, status=422)
        key, sentence = store(team, tom)
        assert (key.sees, key.may_write) == ("", True)
        assert "Its projects could not be read." in sentence

    def test_hundreds_of_projects_fit(self, team, tom, provider):
        provider.tells_of_the_key(projects=[f"Project {n} of the house" for n in range(300)])
        key, _ = store(team, tom)
        key.refresh_from_db()
        assert key.sees.startswith("300 projects: Project 0") and len(key.sees) == 200
        assert keys.is_account_wide(key)

    def test_what_waited_for_a_key_is_due_at_once(self, team, tom, provider, approved):
        provider.tells_of_the_key()
        Purchase.objects.update(due_at=clock.now() + timedelta(minutes=10))
        store(team, tom)
        approved.refresh_from_db()
        assert approved.due_at <= clock.now()

    @pytest.mark.parametrize("role", ["requester", "approver"])
    def test_it_is_for_the_admin(self, team, provider, role):
        with pytest.raises(problems.NotYours):
            store(team, factories.member("eve", team, role))
        assert provider.calls == []

    @pytest.mark.parametrize("loses", LOSES.values(), ids=LOSES)
    @pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
    def test_a_role_or_an_account_that_is_lost_during_the_test_writes_nothing(
        self, team, tom, provider, loses, answer
    ):
        provider.tells_of_the_key()
        provider.owned_answer = answer
        during(provider, OWNED, lambda: loses(tom))
        before = audit.position()
        with pytest.raises(problems.NotYours, match="Only the admin of Support"):
            store(team, tom)
        assert (ApiKey.objects.count(), audit.position()) == (1, before)

    def test_no_event_holds_the_key(self, team, tom, provider):
        provider.tells_of_the_key()
        store(team, tom)
        for event in AuditEvent.objects.all():
            assert NEW[4:30] not in f"{event.note}{event.data}"


def refuse(team):
    """IdentityCall refuses the team's key; returns it."""
    error = KeyRefused("IdentityCall does not accept this API key.", status=401)
    pauses.after_failed_read(pauses.current_key(team), error)
    return pauses.current_key(team)


class TestTesting:
    @pytest.mark.parametrize("loses", LOSES.values(), ids=LOSES)
    @pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
    def test_a_role_or_an_account_that_is_lost_during_the_test_writes_nothing(
        self, team, tom, provider, loses, answer
    ):
        provider.tells_of_the_key()
        provider.owned_answer = answer
        during(provider, OWNED, lambda: loses(tom))
        before = audit.position()
        with pytest.raises(problems.NotYours, match="Only the admin of Support"):
            keys.test_stored(team, actor=actor(tom))
        key = ApiKey.objects.get()
        assert (key.tested_at, key.credential.refused_at, audit.position()) == (None, None, before)

    def test_a_refused_key_that_passes_buys_again(self, team, tom, provider, approved):
        key = refuse(team)
        assert key.credential.refused_at
        provider.tells_of_the_key()
        Purchase.objects.update(due_at=clock.now() + timedelta(minutes=10))

        passed, sentence = keys.test_stored(team, actor=actor(tom))

        assert passed
        assert sentence.endswith("Purchases that waited for the key are bought now.")
        key.refresh_from_db()
        assert (key.credential.refused_at, key.credential.refused_words) == (None, "")
        assert provider.calls == TEST_CALLS
        provider.sells("+12125550101")
        procurement.buy(approved.pk)
        assert factories.state_of(approved) == "purchased"

    def test_one_that_cannot_write_stays_refused(self, team, tom, provider):
        key = refuse(team)
        provider.tells_of_the_key(write=403)
        passed, sentence = keys.test_stored(team, actor=actor(tom))
        key.refresh_from_db()
        assert (passed, key.may_write, key.credential.refused_at is None) == (False, False, False)
        assert sentence.endswith("It stays marked as refused.")

    def test_a_refusal_that_is_newer_than_the_test_stays(self, team, tom, provider):
        provider.tells_of_the_key()

        def answer(request):
            refuse(team)
            return 200, {}, '{"data": []}'

        provider.http.remove("GET", OWNED)
        provider.http.add_callback("GET", OWNED, answer)
        keys.test_stored(team, actor=actor(tom))
        assert pauses.current_key(team).credential.refused_at

    def test_one_that_is_refused_is_marked_and_buys_nothing_more(self, team, tom, provider, approved):
        provider.owned_answer = REFUSED
        passed, sentence = keys.test_stored(team, actor=actor(tom))
        assert not passed
        assert "does not accept this key" in sentence
        assert pauses.current_key(team).credential.refused_at
        assert (tell("key.refused"), last_event("key.tested").data["passed"]) == (1, False)
        procurement.buy(approved.pk)
        assert provider.purchases == []

    def test_one_that_cannot_be_tested_just_now_is_left_as_it_is(self, team, tom, provider):
        provider.tells_of_the_key()
        keys.test_stored(team, actor=actor(tom))
        before = ApiKey.objects.filter(team=team).values().get()
        provider.owned_answer = requests.ReadTimeout()
        passed, sentence = keys.test_stored(team, actor=actor(tom))
        assert (passed, "inconclusive" in sentence) == (False, True)
        after = ApiKey.objects.filter(team=team).values().get()
        for name in ("next_call_at", "secret"):
            before.pop(name, None), after.pop(name, None)
        assert after == before

    def test_an_unknown_result_does_not_replace_a_known_one(self, team, tom, provider):
        provider.tells_of_the_key(projects=["Sales", "Support"])
        keys.test_stored(team, actor=actor(tom))
        provider.http.remove("GET", PROJECTS)
        provider.http.remove("POST", OPERATORS)
        provider.http.remove("GET", PROJECTS)
        provider.http.add("GET", PROJECTS, status=500)
        provider.http.add("POST", OPERATORS, status=500)
        keys.test_stored(team, actor=actor(tom))
        key = pauses.current_key(team)
        assert (keys.is_account_wide(key), key.may_write) == (True, True)

    def test_it_keeps_to_the_rate_of_the_key(self, team, tom, provider):
        Credential.objects.update(next_call_at=clock.now() + timedelta(seconds=90), rate_per_minute=6)
        with pytest.raises(problems.Problem, match="as many calls as its plan allows"):
            keys.test_stored(team, actor=actor(tom))
        assert provider.calls == []

    def test_a_key_that_cannot_be_decrypted_is_a_sentence(self, team, tom, provider, settings):
        settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        with pytest.raises(problems.Problem, match="cannot be decrypted"):
            keys.test_stored(team, actor=actor(tom))

    def test_a_pause_of_the_provider_ends_with_a_test_that_passes(self, team, tom, provider, approved):
        provider.owned_answer = requests.ConnectionError("refused")
        procurement.buy(approved.pk)
        assert Desk.objects.get().failures == 1
        provider.owned_answer = None
        provider.tells_of_the_key()
        keys.test_stored(team, actor=actor(tom))
        assert Desk.objects.get().failures == 0

    def test_without_a_key_it_is_a_sentence(self, db, provider):
        team = factories.team(key=None)
        with pytest.raises(problems.Problem, match="no API key to test"):
            keys.test_stored(team, actor=actor(factories.member("tom", team, "admin")))


class TestSayingWhatItIsFor:
    def test_is_recorded_with_the_name(self, team, tom):
        keys.say_scope(team, scope="account", actor=actor(tom))
        key = pauses.current_key(team)
        assert (key.said_scope, keys.scope_event(key).actor_name) == ("account", "tom")
        assert last_event("key.scope_said").data["scope"] == "the whole account"

    def test_says_nothing_where_it_is_proved(self, team, tom):
        ApiKey.objects.update(sees="2 projects: Sales, Support")
        with pytest.raises(problems.Problem, match="prove"):
            keys.say_scope(team, scope="project", actor=actor(tom))

    def test_takes_no_other_word(self, team, tom):
        with pytest.raises(problems.Problem, match="one project or for the whole account"):
            keys.say_scope(team, scope="everything", actor=actor(tom))


def remove(team, person, reason="It was on a screen that others saw"):
    keys.remove(team, seen=pauses.current_key(team).pk, reason=reason, actor=actor(person))


class TestRemoving:
    def test_nothing_more_is_bought(self, team, tom, provider, approved):
        remove(team, tom)
        assert pauses.current_key(team) is None
        procurement.buy(approved.pk)
        approved.refresh_from_db()
        assert (approved.state, provider.calls) == ("approved", [])
        assert "has no API key" in approved.waiting_for
        assert last_event("key.removed").note == "It was on a screen that others saw"

    def test_wants_a_reason(self, team, tom):
        with pytest.raises(problems.Problem, match="Say why"):
            remove(team, tom, reason=" \n")
        assert pauses.current_key(team)

    def test_never_takes_a_key_that_the_person_did_not_see(self, team, tom):
        seen = pauses.current_key(team).pk
        keys.set_key(team, NEW, actor=factories.SYSTEM)
        with pytest.raises(problems.AlreadyMoved):
            keys.remove(team, seen=seen, reason="Old", actor=actor(tom))
        assert str(pauses.current_key(team)) == "…9876"


def is_wiped(key):
    """The stored value, read from the table itself."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM purchasing_apikey WHERE id = %s", [key.pk])
        return cursor.fetchone()[0] is None


class TestWiping:
    def test_a_key_that_nothing_needs_is_forgotten(self, team, tom):
        key = pauses.current_key(team)
        remove(team, tom)
        keys.wipe_unneeded()
        keys.wipe_unneeded()
        assert is_wiped(key)
        assert (tell("key.wiped"), last_event("key.wiped").actor_name) == (1, "sweep")

    def test_the_key_in_use_never_is(self, team):
        keys.wipe_unneeded()
        assert not is_wiped(pauses.current_key(team))

    def test_not_while_an_attempt_with_it_is_in_doubt(self, team, tom, provider, approved):
        key = pauses.current_key(team)
        provider.answer_purchase(requests.ReadTimeout())
        procurement.buy(approved.pk)
        remove(team, tom)
        keys.wipe_unneeded()
        assert not is_wiped(key)

        provider.owned_numbers.append({"id": 501, "phone_number": "+12125550101"})
        Purchase.objects.update(due_at=clock.now())
        evidence.gather(key.pk)
        assert factories.state_of(approved) == "purchased"
        keys.wipe_unneeded()
        assert not is_wiped(key), "name and recording are not applied yet"
        Purchase.objects.update(applied_at=clock.now(), due_at=None)
        keys.wipe_unneeded()
        assert is_wiped(key)

    def test_not_while_a_call_with_it_is_under_way(self, team, tom, provider, approved):
        key = pauses.current_key(team)

        def in_between(request):
            keys.set_key(team, NEW, actor=factories.SYSTEM)
            keys.wipe_unneeded()
            assert not is_wiped(key)
            return 500, {}, ""

        provider.http.add_callback("POST", PURCHASE, in_between)
        procurement.buy(approved.pk)
        assert Attempt.objects.get().key_id == key.pk

    def test_not_while_a_doubt_was_ordered_to_be_tried_again(self, team, tom, provider, approved):
        key = pauses.current_key(team)
        provider.answer_purchase(requests.ReadTimeout())
        procurement.buy(approved.pk)
        Purchase.objects.update(state="approved")
        remove(team, tom)
        keys.wipe_unneeded()
        assert not is_wiped(key)

    def test_a_wiped_key_is_asked_nothing_by_the_sweep(self, team, tom, provider):
        Credential.objects.update(doubts_in_a_row=pauses.DOUBTS)
        key = pauses.current_key(team)
        remove(team, tom)
        keys.wipe_unneeded()
        evidence.gather(key.pk)
        sweep.run()
        assert provider.calls == []


class TestReEncrypting:
    def ciphertexts(self):
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, secret FROM purchasing_apikey ORDER BY id")
            return dict(cursor.fetchall())

    def test_all_keys_are_encrypted_with_the_newest(self, team, settings, capsys):
        factories.team("Sales", key="idc_" + "s" * 32)
        keys.set_key(team, NEW, actor=factories.SYSTEM)  # the old one is kept, and counts
        [old] = settings.API_KEY_ENCRYPTION_KEYS
        new = Fernet.generate_key().decode()
        settings.API_KEY_ENCRYPTION_KEYS = [new, old]

        call_command("rotate_encryption_key")

        assert capsys.readouterr().out.startswith("3 stored API keys are now encrypted")
        settings.API_KEY_ENCRYPTION_KEYS = [new]
        secrets = ApiKey.objects.order_by("pk").values_list("secret", flat=True)
        assert list(secrets) == [KEY, "idc_" + "s" * 32, NEW]
        event = last_event("key.reencrypted")
        assert (event.actor_name, event.data) == ("command line", {"count": 3})

    def test_what_is_known_of_a_secret_is_found_before_and_after(self, team, settings):
        """By any of the encryption keys, so that nothing is forgotten between the new setting and the command."""
        known = Credential.objects.get()
        [old] = settings.API_KEY_ENCRYPTION_KEYS
        new = Fernet.generate_key().decode()
        settings.API_KEY_ENCRYPTION_KEYS = [new, old]
        assert Credential.objects.of(KEY) == known
        call_command("rotate_encryption_key")
        settings.API_KEY_ENCRYPTION_KEYS = [new]
        assert Credential.objects.of(KEY) == known
        assert KEY not in known.fingerprint

    def test_one_that_cannot_be_read_stops_it_and_nothing_is_changed(self, team, settings):
        lost = Fernet.generate_key().decode()
        [old] = settings.API_KEY_ENCRYPTION_KEYS
        settings.API_KEY_ENCRYPTION_KEYS = [lost]
        factories.team("Sales", key="idc_" + "s" * 32)
        settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode(), old]
        before, events = self.ciphertexts(), AuditEvent.objects.count()

        with pytest.raises(
            CommandError, match=r"The API key …ssss of Sales cannot be read.*Nothing was changed"
        ):
            call_command("rotate_encryption_key")

        assert self.ciphertexts() == before
        assert AuditEvent.objects.count() == events

    def test_a_wiped_key_is_passed_over(self, team, tom, capsys):
        remove(team, tom)
        keys.wipe_unneeded()
        call_command("rotate_encryption_key")
        assert capsys.readouterr().out.startswith("0 stored")


def test_the_record_is_whole_after_all_of_it(team, tom, provider):
    provider.tells_of_the_key()
    store(team, tom)
    keys.test_stored(team, actor=actor(tom))
    keys.say_scope(team, scope="account", actor=actor(tom))
    remove(team, tom)
    keys.wipe_unneeded()
    assert audit.verify().whole
