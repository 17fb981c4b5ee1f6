"""The permitted moves are exactly these (docs/architecture.md draws them), and `move` obeys."""

import re
from itertools import product

import pytest

from purchasing import audit, problems, workflow
from purchasing.models import Purchase
from purchasing.states import FINAL, NEXT, OPEN, WATCHED, State
from tests import factories

# Row by row: a state, and how it is left.
TABLE = """
pending      approved rejected cancelled expired purchased
approved     purchasing purchased cancelled held
purchasing   purchased failed unconfirmed approved
unconfirmed  purchased held
held         purchased approved given_up failed
given_up     purchased failed
purchased
failed       purchased
rejected
cancelled    purchased
expired
"""
ROWS = {was: set(follow) for was, *follow in (line.split() for line in TABLE.strip().splitlines())}
MOVES = [(was, to) for was, to in product(ROWS, ROWS)]


def test_the_permitted_moves_are_exactly_these():
    assert {str(was): {str(to) for to in follow} for was, follow in NEXT.items()} == {
        was: follow for was, follow in ROWS.items() if follow
    }
    assert {str(state) for state in State} == set(ROWS)


def test_final_open_and_watched_follow_from_it():
    assert {str(state) for state in FINAL} == {"purchased", "failed", "rejected", "cancelled", "expired"}
    assert {str(state) for state in OPEN} == set(ROWS) - {str(state) for state in FINAL}
    assert {str(state) for state in WATCHED} == {"unconfirmed", "held", "given_up"}


def test_no_machine_approves_again_what_is_in_doubt():
    """From unconfirmed and given up no way leads to a second call; from held only a person's approval does."""
    assert not {State.APPROVED, State.PURCHASING} & (NEXT[State.UNCONFIRMED] | NEXT[State.GIVEN_UP])
    assert [was for was in NEXT if State.PURCHASING in NEXT[was]] == [State.APPROVED]


def test_every_state_has_words_for_staff():
    assert all(re.fullmatch(r"[A-Z][a-z ,]+", state.label) for state in State)
    assert len({state.label for state in State}) == len(State)


@pytest.mark.django_db
@pytest.mark.parametrize(("was", "to"), MOVES, ids=[f"{was}-{to}" for was, to in MOVES])
def test_move_does_what_the_table_permits_and_nothing_else(pending, was, to):
    purchase = pending.purchases.get()
    Purchase.objects.filter(pk=purchase.pk).update(state=was)
    purchase.refresh_from_db()
    before = audit.position()
    if to in ROWS[was]:
        workflow.move(purchase, State(to), actor=factories.SYSTEM, note="because")
        assert factories.state_of(purchase) == purchase.state == to
        event = purchase.events.order_by("-seq").first()
        assert (event.seq, event.action, event.was, event.became) == (before + 1, f"purchase.{to}", was, to)
    else:
        with pytest.raises(problems.ForbiddenMove):
            workflow.move(purchase, State(to), actor=factories.SYSTEM)
        assert (factories.state_of(purchase), audit.position()) == (was, before)
