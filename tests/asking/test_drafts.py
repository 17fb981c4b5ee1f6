"""Drafts in two tabs: what one adds, takes out or types is never lost to the other."""

import pytest

from purchasing import clock, pasting, problems
from purchasing.asking import drafts
from purchasing.identitycall.resources import Offer
from purchasing.models import Draft, Paste, PurchaseRequest
from tests import factories, test_races
from tests.factories import actor

NUMBERS = [f"+121255501{n:02d}" for n in range(1, 13)]
ROUNDS = 3


def numbers_of(draft):
    return [line.phone_number for line in drafts.lines_of(Draft.objects.get(pk=draft.pk))]


def pick(person, team, number):
    shown = [(Offer(number, country_code="US"), clock.now())]
    return drafts.pick(person, team, shown=shown, ticked={number})


def keep(draft, team, **typed):
    return drafts.keep(draft, team=team, reason="Desks", purpose="", pattern="Desk {n}", typed=typed)


def send(draft, person, team, numbers=NUMBERS[:2]):
    typed = {"number_type": "local", "name": "Desk", "requirement_group_id": None, "record_calls": "yes"}
    return drafts.send(
        draft,
        actor=actor(person),
        team=team,
        reason="Desks",
        purpose="",
        chosen=dict.fromkeys(numbers, typed),
    )


@pytest.mark.django_db
class TestAnOlderTab:
    """Each step is made with the draft as a tab read it before another tab changed it."""

    @pytest.fixture
    def draft(self, team, sam):
        pick(sam, team, NUMBERS[0])
        return pick(sam, team, NUMBERS[1])

    @pytest.mark.parametrize(
        "step",
        [
            keep,
            lambda draft, team: drafts.name_all(draft),
            lambda draft, team: drafts.take_out(draft, NUMBERS[5]),
        ],
        ids=["keep", "name all", "take out"],
    )
    def test_loses_nothing_that_another_one_added(self, draft, team, sam, step):
        pick(sam, team, NUMBERS[2])
        kept = step(draft, team)
        assert numbers_of(draft) == [line.phone_number for line in drafts.lines_of(kept)] == NUMBERS[:3]

    def test_does_not_bring_back_what_another_one_took_out(self, draft, team):
        drafts.take_out(draft, NUMBERS[0])
        keep(draft, team)
        assert numbers_of(draft) == [NUMBERS[1]]

    def test_names_by_the_pattern_that_another_one_typed(self, draft, team):
        keep(draft, team)
        drafts.name_all(draft)
        assert [line.name for line in drafts.lines_of(Draft.objects.get())] == ["Desk 1", "Desk 2"]

    def test_sends_nothing_but_the_numbers_of_its_form(self, draft, team, sam):
        pick(sam, team, NUMBERS[2])
        with pytest.raises(problems.AlreadyMoved, match="The numbers of this request changed"):
            send(draft, sam, team)
        assert (numbers_of(draft), PurchaseRequest.objects.count()) == (NUMBERS[:3], 0)

    def test_that_sends_it_again_gets_the_same_request(self, draft, team, sam):
        assert send(draft, sam, team) == send(draft, sam, team)

    def test_of_what_was_discarded_changes_and_sends_nothing(self, draft, team, sam):
        Draft.objects.all().delete()
        for step in (keep, lambda draft, team: send(draft, sam, team)):
            with pytest.raises(drafts.Gone, match="sent or discarded in another tab"):
                step(draft, team)
        assert (Draft.objects.count(), PurchaseRequest.objects.count()) == (0, 0)

    def test_with_other_ticks_of_a_paste_keeps_both(self, team, sam):
        paste = Paste.objects.create(user=sam, team=team)
        older = Paste.objects.get()
        for tab, page in ((paste, NUMBERS[:2]), (older, NUMBERS[2:4])):
            drafts.tick(tab, may_pick=NUMBERS, shown=page, ticked=page)
        candidates = pasting.read("\n".join(NUMBERS)).candidates
        assert numbers_of(drafts.of_paste(paste, candidates)) == NUMBERS[:4]


@pytest.mark.django_db
@pytest.mark.parametrize("step", ["keep", "send", "name", f"out:{NUMBERS[0]}"])
def test_a_form_whose_draft_is_discarded_at_the_same_moment_gets_a_sentence(
    client, team, sam, step, monkeypatch
):
    draft = factories.draft(sam, NUMBERS[:1])
    client.force_login(sam)
    locked = drafts._locked  # called after the page has found the draft

    def discarded(draft):
        Draft.objects.all().delete()
        return locked(draft)

    monkeypatch.setattr(drafts, "_locked", discarded)
    form = {"draft": str(draft.pk), "do": step, "n-TOTAL_FORMS": "0", "n-INITIAL_FORMS": "0"}
    response = client.post("/requests/new/", form, follow=True)
    assert "sent or discarded in another tab" in response.content.decode()


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_tabs_that_add_numbers_lose_none(self, team, sam):
        pick(sam, team, NUMBERS[0])
        for place in range(ROUNDS):
            draft = Draft.objects.get()
            first, second = NUMBERS[1 + 2 * place : 3 + 2 * place]
            results = test_races.race(
                lambda first=first: pick(sam, team, first),
                lambda second=second: pick(sam, team, second),
                lambda draft=draft: keep(draft, team, **{NUMBERS[0]: {"name": "Typed"}}),
                lambda draft=draft: drafts.name_all(draft),
            )
            assert [result.problem for result in results] == [None] * 4
            assert sorted(numbers_of(draft)) == NUMBERS[: 3 + 2 * place]

    def test_pages_of_a_paste_that_are_ticked_lose_no_tick(self, team, sam):
        for _ in range(ROUNDS):
            paste = Paste.objects.create(user=sam, team=team)
            tabs = [Paste.objects.get(pk=paste.pk) for _ in range(4)]
            test_races.race(
                *[
                    lambda tab=tab, page=NUMBERS[2 * place : 2 * place + 2]: drafts.tick(
                        tab, may_pick=NUMBERS, shown=page, ticked=page
                    )
                    for place, tab in enumerate(tabs)
                ]
            )
            paste.refresh_from_db()
            assert paste.picked == NUMBERS[:8]

    def test_two_tabs_that_send_a_draft_make_one_request(self, team, sam):
        for place in range(ROUNDS):
            pair = NUMBERS[2 * place : 2 * place + 2]
            draft = factories.draft(sam, pair)
            results = test_races.race(*[lambda draft=draft, pair=pair: send(draft, sam, team, pair)] * 3)
            assert [result.problem for result in results] == [None] * 3
            assert len({result.value.pk for result in results}) == 1
