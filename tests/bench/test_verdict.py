"""How the campaign compares what it did with what Number Desk did, and what stays of a campaign that ends BAD."""

import signal
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from django.db import connection, transaction

from bench.chaos import __main__ as chaos
from bench.chaos import mischief, verdict
from bench.chaos.mischief import Dismissal, Price
from purchasing.models import Approval, Attempt, AuditEvent, User
from tests import factories, test_races
from tests.wire import wait_until

NUMBER = "+12125550101"
CLAIMED = datetime(2026, 3, 1, 12, tzinfo=UTC)
CALLED = CLAIMED + timedelta(seconds=1)
SEEN, ROSE = CLAIMED - timedelta(minutes=9), CLAIMED - timedelta(minutes=4)
COSTS = {"upfront_cost": Decimal("1.00"), "monthly_cost": Decimal("2.00")}


def judged(
    *,
    shown,
    confirmed_at,
    confirmed_then=True,
    rose_at=ROSE,
    fell_at=None,
    at_first=COSTS,
    approved_at=CLAIMED - timedelta(minutes=1),
    anyway=False,
):
    """The problem found, or None, for a number approved at 1.00 that costs 1.50 from `rose_at` (to `fell_at`)."""
    data = {"cost_confirmed_at": (CLAIMED - timedelta(seconds=5)).isoformat()} if shown else {}
    event = SimpleNamespace(seq=9, attempt_id=4, data=data)
    changes = [(rose_at, "1.50"), (fell_at, "1.00")] if fell_at else [(rose_at, "1.50")]
    prices = [Price(NUMBER, cost, at, at + timedelta(seconds=0.2)) for at, cost in changes]
    mischief = SimpleNamespace(prices=prices)
    books = SimpleNamespace(
        events={7: [event]},
        purchases={7: SimpleNamespace(cost_confirmed_at=confirmed_at)},
        campaign=SimpleNamespace(offers={NUMBER: at_first}, mischief=mischief),
    )
    attempt = SimpleNamespace(pk=4, purchase_id=7, claimed_seq=9, claimed_at=CLAIMED)
    approval = SimpleNamespace(purchase_id=7, unconfirmed_cost_ok=anyway, created_at=approved_at, **COSTS)
    entry = {"phone_number": NUMBER, "payload": {"upfront_cost": "1.00", "monthly_cost": "2.00"}}
    terms = {"cost_confirmed": confirmed_then}
    return verdict._otherwise_than_approved(books, entry, terms, approval, attempt, CALLED)


def test_a_price_that_the_look_before_the_claim_showed_may_not_be_dearer():
    assert "upfront_cost was approved as 1.00" in judged(shown=True, confirmed_at=CLAIMED)


def test_one_that_rose_since_the_look_may_be():
    assert judged(shown=True, confirmed_at=CLAIMED, rose_at=CLAIMED - timedelta(seconds=20)) is None


def test_where_the_list_lacked_the_number_the_last_confirmed_cost_stands():
    assert judged(shown=False, confirmed_at=SEEN) is None


@pytest.mark.parametrize("anyway", [True, False])
def test_but_not_when_that_cost_was_dearer_already(anyway):
    late = ROSE + timedelta(seconds=1)
    assert "upfront_cost was approved as 1.00" in judged(shown=False, confirmed_at=late, anyway=anyway)


def test_its_list_may_be_read_later_than_the_first_of_the_request_was_asked_for():
    fell_at = ROSE + timedelta(seconds=30)
    assert judged(shown=False, confirmed_at=fell_at - timedelta(seconds=9), fell_at=fell_at) is None


def test_but_not_later_than_the_approval_that_used_its_cost():
    fell_at = ROSE + timedelta(seconds=30)
    dearer = {"confirmed_at": ROSE + timedelta(seconds=9), "approved_at": ROSE + timedelta(seconds=20)}
    assert "never less than 1.50" in judged(shown=False, fell_at=fell_at, **dearer)


def test_while_a_price_is_being_changed_the_list_may_show_the_one_before():
    assert judged(shown=False, confirmed_at=ROSE + timedelta(seconds=0.1)) is None


def test_an_unlisted_cost_needs_an_approval_of_unconfirmed_costs():
    never = {"shown": False, "confirmed_at": None, "confirmed_then": False}
    assert "no list had shown its price" in judged(**never)
    assert judged(**never, anyway=True) is None


def test_when_its_time_is_overwritten_any_time_before_the_approval_counts():
    later = CALLED + timedelta(minutes=1)
    assert judged(shown=False, confirmed_at=later) is None
    dearer = {"upfront_cost": "1.20", "monthly_cost": "2.00"}
    assert "never less than 1.20" in judged(shown=False, confirmed_at=later, at_first=dearer)


def test_the_table_ends_with_what_is_bad():
    """A log that is cut in the middle still has its end."""
    found = verdict.Verdict(sins={"bought twice": ["+12125550101: twice"]}, others={"audit chain broken": []})
    assert verdict.ending(found)[-2:] == ["BAD:", "  bought twice: +12125550101: twice"]
    assert verdict.ending(verdict.Verdict())[-1] == "GOOD: none of this happened."


# --- The approvals of somebody dismissed -----------------------------------------------------------------------------


def for_dismissed(attempts, approvals, *dismissals):
    books = SimpleNamespace(
        attempts={7: attempts},
        approvals={7: approvals},
        campaign=SimpleNamespace(mischief=SimpleNamespace(dismissals=dismissals)),
    )
    return list(verdict.claimed_for_dismissed(books))


def said_yes(username, *, superseded_at=None):
    return SimpleNamespace(
        approver=SimpleNamespace(username=username),
        created_at=CLAIMED - timedelta(minutes=1),
        superseded_at=superseded_at,
    )


@pytest.mark.parametrize(("seq", "is_bad"), [(3, False), (5, True), (9, False)])
def test_the_record_says_whether_a_claim_came_while_its_approver_was_dismissed(seq, is_bad):
    attempt = SimpleNamespace(pk=4, purchase_id=7, claimed_seq=seq, claimed_at=CLAIMED)
    found = for_dismissed([attempt], [said_yes("dua")], Dismissal("dua", 4, 8))
    assert found == (["attempt 4 on the approval of dua"] if is_bad else [])


def test_the_first_of_two_approvals_counts_too_and_one_that_was_replaced_does_not():
    attempt = SimpleNamespace(pk=4, purchase_id=7, claimed_seq=5, claimed_at=CLAIMED)
    both = [said_yes("dua"), said_yes("ana")]
    assert for_dismissed([attempt], both, Dismissal("dua", 4, 8))
    replaced = [said_yes("dua", superseded_at=CLAIMED - timedelta(seconds=1)), said_yes("ana")]
    assert not for_dismissed([attempt], replaced, Dismissal("dua", 4, 8))


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_an_account_given_back_while_a_claim_waits_for_it_is_no_finding(transactional_db):
    """By its time such a claim came while the approver was dismissed; by the record, and in truth, after that."""
    team = factories.team()
    sam, ana = factories.member("sam", team, "requester"), factories.member("ana", team, "approver")
    [purchase] = factories.approve(factories.request(team, sam, ["+12125550101"]), ana)
    off = mischief.switch("ana", on=False)
    worker = threading.Thread(target=test_races.race, args=(lambda: test_races.claimed(purchase),))
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=ana.pk)
        worker.start()
        if connection.vendor == "postgresql":
            wait_until(_somebody_waits_for_a_row, 20)
        on = mischief.switch("ana", on=True)
    worker.join(30)
    attempt = Attempt.objects.get(purchase=purchase)
    if connection.vendor == "postgresql":  # on SQLite the whole claim waits
        assert attempt.claimed_at < AuditEvent.objects.get(seq=on).at
    assert attempt.claimed_seq > on
    assert not for_dismissed([attempt], list(Approval.objects.all()), Dismissal("ana", off, on))


def _somebody_waits_for_a_row():
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()


# --- What stays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_good", [True, False])
def test_a_campaign_that_ends_bad_keeps_its_folder_and_prints_its_name(
    is_good, tmp_path, monkeypatch, capsys
):
    folder, kept = tmp_path / "campaign", []
    folder.mkdir()
    stage = SimpleNamespace(folder=folder, stop=lambda *, keep: kept.append(keep))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    monkeypatch.setattr(chaos, "Stage", lambda **_: stage)
    monkeypatch.setattr(chaos, "_run", lambda *_: is_good)
    assert chaos.main([]) == (0 if is_good else 1)
    assert kept == [not is_good]
    assert folder.exists() != is_good
    assert (str(folder) in capsys.readouterr().out) != is_good
