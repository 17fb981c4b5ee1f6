"""A database that went back in time, or is a copy: nothing is claimed until a superuser says 'go on'."""

import errno
import json
import os
import shutil
import sqlite3
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from django.db import connection, transaction

from purchasing import audit, clock, problems
from purchasing.audit import identity, marks, restores
from purchasing.buying import evidence, held_purchases, procurement, rented
from purchasing.models import ApiKey, Approval, Attempt, AuditEvent, Credential, Desk, Purchase
from purchasing.provider import owned_list, pauses, unrecorded
from purchasing.states import Cause, Outcome, State
from purchasing.teams import restore_alarm, stop_buying
from purchasing.worker import sweep
from tests import factories
from tests.buying.test_procurement import buy, look_now, seen_now
from tests.factories import actor
from tests.healthy_provider import PURCHASE, owned

pytestmark = [pytest.mark.django_db, pytest.mark.database]
NUMBER, OTHER = "+12125550101", "+12125550102"


@pytest.fixture(autouse=True)
def host(settings, tmp_path):
    """Work on the host of this name from now on: each has a folder of its own for its mark."""

    def work_on(name):
        settings.RESTORE_MARK = str(tmp_path / name)
        return tmp_path / name

    work_on("one")
    return work_on


@pytest.fixture
def two(team, sam, ana, provider):
    """Two approved purchases, at a provider that sells whatever is asked for, also twice."""
    provider.http.remove("POST", PURCHASE)
    ids = iter(range(501, 600))

    def sell(request):
        number = json.loads(request.body)["phone_number"]
        return 201, {}, json.dumps({"data": owned(number, next(ids))})

    provider.http.add_callback("POST", PURCHASE, sell)
    return factories.approve(factories.request(team, sam, [NUMBER, OTHER]), ana)


@contextmanager
def lost():
    """What happens in the block is gone afterwards, as after a restored backup from before it."""
    before = transaction.savepoint()
    yield
    transaction.savepoint_rollback(before)


def the_mark():
    return marks.read(AuditEvent.objects.get(seq=1).hash[:32])


def newest():
    last = AuditEvent.objects.order_by("-seq").first()
    return (last.seq, last.hash)


def is_alarm(purchase, provider, words, sent=0):
    """Nothing was claimed, the reason stands with the purchase, and the alarm is on and recorded once."""
    desk = Desk.objects.get()
    assert desk.alarm_at is not None and words in desk.alarm_words
    assert Purchase.objects.get(pk=purchase.pk).waiting_for.endswith(f"'Go on'. {desk.alarm_in_short}")
    assert factories.state_of(purchase) == State.APPROVED
    assert AuditEvent.objects.filter(action="desk.alarm", note=desk.alarm_words).count() == 1
    assert len(provider.purchases) == sent


def only_go_on():
    return restore_alarm.go_on(actor=actor(factories.superuser()), reason="All was checked")


def go_on():
    """A superuser says so; then the list of each key is read, and shows nothing that the record does not explain."""
    held = only_go_on()
    for key in ApiKey.objects.filter(retired_at=None):
        owned_list.read(key)
    unrecorded.end_reviews()
    return held


class TestTheMark:
    def test_of_a_first_start_is_begun_and_holds_the_claim_before_the_call(self, approved, provider):
        noted = []

        def sell(request):
            noted.append((the_mark().seq, the_mark().hash))
            return 201, {}, json.dumps({"data": owned(NUMBER)})

        provider.http.add_callback("POST", PURCHASE, sell)
        assert buy(approved).state == State.PURCHASED
        claimed = AuditEvent.objects.get(action="purchase.purchasing")
        assert noted == [(claimed.seq, claimed.hash)]

    def test_is_brought_forward_by_each_sweep(self, approved, provider):
        sweep.run()
        assert (the_mark().seq, the_mark().hash) == newest()
        stop_buying.stop_all(actor=actor(factories.superuser()), reason="Year end")
        sweep.run()
        assert (the_mark().seq, the_mark().hash) == newest()

    def test_never_goes_backwards_though_processes_write_at_once(self):
        start, count = threading.Barrier(8), 40
        begun = [marks.Mark(0, place, f"{place:064x}") for place in range(count)]

        def write(first):
            start.wait()
            for mark in reversed(begun[first::8]):
                marks.write("shared", mark)

        threads = [threading.Thread(target=write, args=[first]) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert marks.read("shared") == begun[-1]

    def test_of_a_later_epoch_is_not_overwritten(self):
        marks.write("shared", marks.Mark(2, 5, "a" * 64))
        with pytest.raises(marks.Unusable, match="go on after an alarm"):
            marks.write("shared", marks.Mark(1, 900, "b" * 64))
        marks.write("shared", marks.Mark(3, 4, "c" * 64))
        assert marks.read("shared") == marks.Mark(3, 4, "c" * 64)

    def test_is_off_where_the_settings_say_so(self, two, provider, settings):
        settings.RESTORE_MARK = None
        with lost():
            assert buy(two[0]).state == State.PURCHASED
        assert buy(two[0]).state == State.PURCHASED  # what the mark is there to prevent


class TestAFolderThatCannotBeWritten:
    def test_claims_nothing_and_says_why(self, approved, provider, host):
        host("one").write_text("a file in its place")
        waiting = buy(approved)
        assert (waiting.state, Attempt.objects.count(), provider.purchases) == (State.APPROVED, 0, [])
        assert f"The folder {host('one')} (RESTORE_MARK) cannot be written" in waiting.waiting_for
        assert Desk.objects.get().alarm_at is None
        sweep.run()  # goes on with everything else

    def test_sends_nothing_though_it_could_be_written_at_the_claim(self, approved, provider, monkeypatch):
        """The claim is taken back: it is surely not sent."""

        def full(file):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        provider.sells(NUMBER)
        with monkeypatch.context() as disk:
            disk.setattr(os, "fdatasync", full)
            waiting = buy(approved)
        assert (waiting.state, provider.purchases) == (State.APPROVED, [])
        assert Attempt.objects.get().outcome == Outcome.NOT_SENT
        assert "No space left" in waiting.waiting_for

    def test_nor_where_the_mark_holds_something_else(self, approved, provider, host):
        sweep.run()
        [file] = host("one").iterdir()
        file.write_text("something else")
        waiting = buy(approved)
        assert (waiting.state, Attempt.objects.count()) == (State.APPROVED, 0)
        assert "cannot be read" in waiting.waiting_for


class TestADatabaseThatWentBackInTime:
    def test_is_an_alarm_and_nothing_is_bought_again(self, two, provider):
        with lost():
            assert buy(two[0]).state == State.PURCHASED
        waiting = buy(two[0])
        is_alarm(waiting, provider, "ends before it", sent=1)
        assert "until a superuser says 'Go on'" in buy(two[1]).waiting_for
        is_alarm(waiting, provider, "ends before it", sent=1)

    def test_is_found_by_the_sweep_too_and_the_mark_is_left_as_it_was(self, two, provider):
        with lost():
            buy(two[0])
            sweep.run()
            before = the_mark()
        sweep.run()
        sweep.run()
        assert AuditEvent.objects.filter(action="desk.alarm").count() == 1
        assert the_mark() == before

    def test_is_found_though_other_events_have_taken_the_place_of_the_lost_ones(
        self, two, provider, team, tom
    ):
        with lost():
            buy(two[0])
        for _ in range(9):
            audit.record("team.stopped", actor=actor(tom), team=team, note="x")
        is_alarm(buy(two[0]), provider, "is not the one that", sent=1)

    def test_is_found_by_its_epoch_where_it_is_older_than_a_go_on(self, two, provider):
        """As long as the record that the host has seen, so that numbers alone would not tell."""
        with lost():
            buy(two[0])
        with lost():
            sweep.run()
            go_on()
            sweep.run()
        is_alarm(buy(two[0]), provider, "knows of an earlier alarm", sent=1)
        later = Desk.objects.get().epoch
        go_on()
        assert Desk.objects.get().epoch > later
        sweep.run()
        assert Desk.objects.get().alarm_at is None

    def test_that_lost_nothing_goes_on(self, two, provider):
        """A failover to a replica that has everything."""
        buy(two[0])
        with lost():
            pass
        assert buy(two[1]).state == State.PURCHASED
        assert Desk.objects.get().alarm_at is None


class TestSeveralHosts:
    def test_one_that_saw_what_is_lost_stops_all(self, two, provider, host):
        buy(two[1])
        host("two")
        sweep.run()
        host("one")
        with lost():
            buy(two[0])
        host("two")
        sweep.run()
        assert Desk.objects.get().alarm_at is None  # it has seen nothing that is lost
        host("one")
        sweep.run()
        assert Desk.objects.get().alarm_at is not None
        host("two")
        is_alarm(buy(two[0]), provider, "ends before it", sent=2)

    def test_begin_their_marks_anew_after_go_on(self, two, provider, host, ana):
        with lost():
            buy(two[0])
            host("two")
            sweep.run()
        sweep.run()
        go_on()
        for name, purchase in (("one", two[0]), ("two", two[1])):
            host(name)
            held_purchases.approve_again(
                purchase, reason="Checked", actor=actor(ana), seen=seen_now(purchase)
            )
            assert buy(purchase).state == State.PURCHASED, name
            assert the_mark().epoch == Desk.objects.get().epoch

    def test_a_container_without_its_folder_begins_a_mark(self, two, provider, host):
        buy(two[0])
        host("a new container")
        assert buy(two[1]).state == State.PURCHASED
        assert the_mark().seq == AuditEvent.objects.filter(action="purchase.purchasing").last().seq


class TestACopy:
    def test_says_something_else_and_is_an_alarm(self, approved, provider):
        elsewhere = json.dumps([*json.loads(identity.of_database())[:-1], "elsewhere"])
        Desk.objects.update(identity=elsewhere)
        is_alarm(buy(approved), provider, "seems to be a copy or a restored one")

    def test_is_found_though_no_mark_is_kept(self, approved, provider, settings):
        settings.RESTORE_MARK = None
        Desk.objects.update(identity=json.dumps(["sqlite", "1", "2", "3", "/another"]))
        is_alarm(buy(approved), provider, "seems to be a copy or a restored one")

    def test_is_the_database_after_go_on(self, approved, provider, ana):
        Desk.objects.update(identity=json.dumps(["sqlite", "1", "2", "3", "/another"]))
        buy(approved)
        go_on()
        sweep.run()
        desk = Desk.objects.get()
        assert (desk.identity, desk.alarm_at) == (identity.of_database(), None)

    def test_what_this_host_cannot_tell_is_no_difference(self):
        one = json.dumps(["sqlite", "m", "-", "5", "/srv/desk"])
        assert identity.is_same(one, json.dumps(["sqlite", "-", "66", "5", "/srv/desk"]))
        assert not identity.is_same(one, json.dumps(["sqlite", "m", "66", "6", "/srv/desk"]))
        assert not identity.is_same(one, json.dumps(["postgresql", "m", "5", "/srv/desk"]))

    @pytest.mark.skipif(connection.vendor != "postgresql", reason="a right of PostgreSQL")
    def test_a_user_who_may_not_ask_the_server_knows_the_name_alone(self):
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE modest")
            cursor.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
            known = identity._of_server()
            cursor.execute("SET LOCAL ROLE modest")
            modest = identity._of_server()
            cursor.execute("RESET ROLE")
        assert modest == ["postgresql", "-", "-", connection.settings_dict["NAME"]]
        assert identity.is_same(json.dumps(known), json.dumps(modest))


class TestGoOn:
    @pytest.fixture
    def alarm(self, two, provider):
        restore_alarm.sound(restores.Alarm("It is a copy.", epoch=0))
        return two

    def test_holds_what_is_approved_and_it_can_be_approved_again(self, alarm, provider, ana):
        assert go_on() == 2
        for purchase in alarm:
            purchase.refresh_from_db()
            assert (purchase.state, purchase.held_cause) == (State.HELD, Cause.RESTORED)
            assert "went back in time" in purchase.held_words
        assert Approval.objects.filter(superseded_at=None).count() == 0
        held_purchases.approve_again(alarm[0], reason="Not ours", actor=actor(ana), seen=seen_now(alarm[0]))
        assert buy(alarm[0]).state == State.PURCHASED
        held_purchases.give_up(alarm[1], reason="Ours already", actor=actor(ana))
        assert factories.state_of(alarm[1]) == State.FAILED
        assert len(provider.purchases) == 1

    def test_leaves_what_is_being_cancelled_to_its_cancelling(self, alarm, sam):
        Purchase.objects.filter(pk=alarm[0].pk).update(cancel_asked_at=clock.now())
        assert go_on() == 1
        assert factories.state_of(alarm[0]) == State.APPROVED

    def test_is_recorded_with_its_reason(self, alarm):
        go_on()
        last = AuditEvent.objects.order_by("-seq").first()
        assert (last.action, last.note, last.data) == (
            "desk.goes_on_after_alarm",
            "All was checked",
            {"held": 2},
        )

    def test_is_for_superusers_with_a_reason(self, alarm, tom):
        with pytest.raises(problems.NotYours):
            restore_alarm.go_on(actor=actor(tom), reason="Because")
        with pytest.raises(problems.Problem, match="Say why"):
            restore_alarm.go_on(actor=actor(factories.superuser()), reason=" ")
        assert Desk.objects.get().alarm_at is not None

    def test_without_an_alarm_is_a_sentence(self, two):
        with pytest.raises(problems.Problem, match="There is no alarm"):
            go_on()

    def test_and_stop_buying_are_two_things(self, alarm):
        root = actor(factories.superuser("boss"))
        stop_buying.stop_all(actor=root, reason="Year end")
        stop_buying.go_on_all(actor=root, reason="Done")
        assert "until a superuser says 'Go on'" in buy(alarm[0]).waiting_for
        stop_buying.stop_all(actor=root, reason="Year end")
        go_on()
        assert Desk.objects.get().stopped_at is not None

    @pytest.fixture
    def again(self, alarm, ana):
        """Approved again after 'go on'; no list was read since."""
        only_go_on()
        held_purchases.approve_again(alarm[0], reason="Not ours", actor=actor(ana), seen=seen_now(alarm[0]))
        return alarm[0]

    def test_buys_nothing_with_a_key_until_its_list_was_read(self, again, provider):
        assert buy(again).waiting_for == pauses.REVIEW
        unrecorded.end_reviews()
        assert buy(again).waiting_for == pauses.REVIEW
        assert ApiKey.objects.get().pk in pauses.keys_waiting_for_a_read()
        evidence.gather(ApiKey.objects.get().pk)
        sweep.run()
        assert buy(again).state == State.PURCHASED

    def test_nor_while_it_shows_a_number_that_the_record_does_not_explain(self, again, provider, team, tom):
        provider.owned_numbers = [owned("+12125550177", 900)]
        owned_list.read(ApiKey.objects.get())
        sweep.run()
        assert buy(again).waiting_for == pauses.REVIEW
        rented.dismiss(team, [900], reason="Not ours", actor=actor(tom))
        sweep.run()
        assert Credential.objects.get().review_seq is None
        assert buy(again).state == State.PURCHASED

    def test_a_key_that_cannot_be_read_stops_only_its_own_teams(self, again, provider, sam, ana):
        sales = factories.team("Sales")
        members = factories.member("sam", sales, "requester"), factories.member("ana", sales, "approver")
        [other] = factories.approve(factories.request(sales, members[0], ["+12125550103"]), members[1])
        Credential.objects.filter(keys__team=sales).update(review_seq=None)
        assert buy(other).state == State.PURCHASED
        assert buy(again).waiting_for == pauses.REVIEW

    def test_counts_no_list_that_was_read_before_it(self, two, provider):
        """Not one of the database that was put in place of the other, either."""
        look_now(two[0])
        buy(two[0])
        reads = ("GET", "/virtual_numbers")
        assert provider.calls.count(reads) == 1
        Desk.objects.update(epoch=7)
        buy(two[1])
        assert provider.calls.count(reads) == 2


def put_in_place_of(file, copy, how):
    """Put `copy` in the place of the database, with `how`, as somebody does who knows of the files beside it."""
    for suffix in ("-wal", "-shm"):
        Path(f"{file}{suffix}").unlink(missing_ok=True)
    how(copy, file)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="about files")
class TestABackupOfSQLite:
    @pytest.fixture
    def file(self):
        return Path(connection.settings_dict["NAME"])

    @pytest.fixture
    def backup(self, two, file, tmp_path):
        """A backup from before the purchase: the file, and how to bring it back into a database that is in use."""
        sweep.run()
        copy = tmp_path / "backup.sqlite3"
        with closing(sqlite3.connect(file)) as live, closing(sqlite3.connect(copy)) as kept:
            live.backup(kept)
        assert buy(two[0]).state == State.PURCHASED
        return copy

    def test_brought_back_under_a_running_worker_is_an_alarm(self, two, provider, file, backup):
        with closing(sqlite3.connect(file)) as live, closing(sqlite3.connect(backup)) as kept:
            kept.backup(live)
        is_alarm(buy(two[0]), provider, "ends before it", sent=1)

    def test_copied_back_while_no_worker_runs_is_an_alarm(self, two, provider, file, backup):
        connection.close()
        put_in_place_of(file, backup, shutil.copyfile)
        owned_list.forget_reads()
        is_alarm(buy(two[0]), provider, "ends before it", sent=1)

    def test_moved_into_its_place_under_a_running_worker_is_an_alarm_in_the_new_file(
        self, two, provider, file, backup
    ):
        """The worker still has the file open that is gone."""
        put_in_place_of(file, backup, shutil.move)
        procurement.buy(two[1].pk)
        assert Desk.objects.get().alarm_at is not None
        is_alarm(buy(two[0]), provider, "seems to be a copy or a restored one", sent=1)

    def test_used_elsewhere_is_an_alarm_there_alone(self, two, provider, file, backup):
        connection.close()
        connection.settings_dict["NAME"] = str(backup)
        try:
            is_alarm(buy(two[0]), provider, "seems to be a copy or a restored one", sent=1)
        finally:
            connection.close()
            connection.settings_dict["NAME"] = str(file)
        assert Desk.objects.get().alarm_at is None
        assert buy(two[1]).state == State.PURCHASED


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="about databases of a server")
class TestACopyOnPostgreSQL:
    def test_from_before_a_purchase_is_an_alarm_by_its_identity_and_by_the_mark(self, two, provider):
        name = connection.settings_dict["NAME"]
        copy = f"{name}_copy"
        sweep.run()
        connection.close()
        with connection._nodb_cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{copy}" TEMPLATE "{name}"')
        assert buy(two[0]).state == State.PURCHASED
        try:
            connection.close()
            connection.settings_dict["NAME"] = copy
            is_alarm(buy(two[0]), provider, "seems to be a copy or a restored one", sent=1)
            Desk.objects.update(alarm_at=None, identity=None)
            is_alarm(buy(two[0]), provider, "seems to have gone back in time", sent=1)
        finally:
            connection.close()
            connection.settings_dict["NAME"] = name
            with connection._nodb_cursor() as cursor:
                cursor.execute(f'DROP DATABASE "{copy}"')
        assert buy(two[1]).state == State.PURCHASED
