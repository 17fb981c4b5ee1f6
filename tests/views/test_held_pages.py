"""Purchases that need a decision: their page, the list of them, and every wrong click."""

from datetime import timedelta
from decimal import Decimal

import pytest

from purchasing import clock
from purchasing.asking import price_lookup
from purchasing.buying import held_purchases, procurement
from purchasing.models import OfferLook, Purchase, VirtualNumber
from purchasing.states import State
from tests import factories
from tests.healthy_provider import offer, owned
from tests.views.access import NUMBER, Scene, words

pytestmark = pytest.mark.django_db
STEPS = ("it-was-bought", "try-again", "give-up", "approve-again")


@pytest.fixture
def scene(provider):
    return Scene(provider)


@pytest.fixture
def approver(scene):
    """The browser of an approver, who may decide."""
    return scene.client("approver")


def prices(purchase, **costs):
    """The hidden fields with the price that the page shows from IdentityCall's list."""
    offer, _ = held_purchases.offer_now(purchase)
    shown = {"upfront": offer and offer.upfront_cost, "monthly": offer and offer.monthly_cost} | costs
    return {f"{name}-{purchase.pk}": cost for name, cost in shown.items() if cost is not None}


def decide(client, purchase, step, **fields):
    fields = {
        "provider_id": "4711",
        "reason": "I looked",
        **prices(purchase),
    } | fields
    return client.post(f"/purchases/{purchase.pk}/{step}/", fields, follow=True)


class TestInDoubt:
    def test_the_page_shows_the_evidence_and_every_choice(self, scene, approver):
        purchase = scene.doubtful
        scene.read_until_another_try_is_open()
        said = words(approver.get(f"/purchases/{purchase.pk}/"))
        for choice in (
            "It was bought",
            "It was not bought, try again",
            "Give up",
            "can be charged a second time",
        ):
            assert choice in said

    def test_who_may_not_decide_sees_who_does_and_no_button(self, scene):
        page = scene.client("asker").get(f"/purchases/{scene.doubtful.pk}/")
        assert "A team admin or an approver decides this, but never the requester." in words(page)
        assert 'class="choice"' not in page.content.decode()

    def test_it_was_bought_is_kept_under_the_id(self, scene, approver):
        purchase = scene.doubtful
        scene.provider.owned_numbers.append(owned(NUMBER, 4711))
        assert "Recorded as bought." in words(decide(approver, purchase, "it-was-bought"))
        assert (scene.purchase.state, scene.purchase.provider_id) == (State.PURCHASED, 4711)

    def test_an_id_that_the_list_does_not_show_is_refused(self, scene, approver):
        response = decide(approver, scene.doubtful, "it-was-bought", provider_id="12")
        assert "has no number with id 12" in words(response)
        assert scene.purchase.state == State.HELD

    def test_another_try_before_enough_reads_is_too_early(self, scene, approver):
        assert "Too early" in words(decide(approver, scene.doubtful, "try-again"))
        assert scene.purchase.state == State.HELD

    def test_another_try_is_one_more_approval(self, scene, approver):
        purchase = scene.doubtful
        scene.read_until_another_try_is_open()
        assert "Approved again and queued." in words(decide(approver, purchase, "try-again"))
        assert (scene.purchase.state, purchase.approvals.count()) == (State.APPROVED, 2)

    def test_is_not_approved_again_as_if_nothing_were_in_doubt(self, scene, approver):
        said = words(decide(approver, scene.doubtful, "approve-again"))
        assert "It may have been bought already: decide that first." in said
        assert scene.purchase.state == State.HELD

    def test_a_team_that_also_shows_the_number_is_told_to_look_there(self, scene, approver):
        VirtualNumber.objects.create(
            credential=scene.sales.keys.get().credential,
            provider_id=7,
            phone_number=NUMBER,
            first_seen_seq=1,
            first_seen_at=clock.now(),
        )
        said = words(approver.get(f"/purchases/{scene.doubtful.pk}/"))
        assert "That proves nothing about this order, but check there." in said


class TestGivenUp:
    @pytest.fixture
    def given_up(self, scene, approver):
        decide(approver, scene.doubtful, "give-up")
        return scene.purchase

    def page(self, scene, who):
        return words(scene.client(who).get(f"/purchases/{scene.purchase.pk}/"))

    def test_within_30_days_the_page_says_from_when_on_who_can_end_it(self, scene, given_up):
        day = clock.now() + timedelta(days=30)
        said = self.page(scene, "admin")
        assert f"From {day.day} {day:%B %Y} on, a team admin, but never the requester, can also say" in said
        assert "It was bought after all" not in said and "stop watching" not in said

    def test_after_that_its_admin_says_how_it_ended_and_nobody_else_sees_the_forms(self, scene, given_up):
        Purchase.objects.update(state_changed_at=clock.now() - timedelta(days=31))
        assert "It was bought after all" in self.page(scene, "admin")
        for other in ("asker", "approver", "auditor"):
            assert "It was bought after all" not in self.page(scene, other)

    @pytest.mark.parametrize("step", ["it-was-bought", "stop-watching"])
    def test_the_forms_end_it(self, scene, given_up, step):
        Purchase.objects.update(state_changed_at=clock.now() - timedelta(days=31))
        scene.provider.owned_numbers.append(owned(NUMBER, 4711))
        decide(scene.client("admin"), given_up, step)
        assert scene.purchase.state == (State.PURCHASED if step == "it-was-bought" else State.FAILED)

    def test_an_id_that_another_number_has_is_flagged_on_both_pages(self, scene, given_up):
        other = factories.request(scene.team, scene.person("asker"), ["+12125550109"]).purchases.get()
        Purchase.objects.filter(pk=other.pk).update(state=State.PURCHASED, provider_id=4711)
        Purchase.objects.filter(pk=given_up.pk).update(state_changed_at=clock.now() - timedelta(days=31))
        scene.provider.owned_numbers.append(owned(NUMBER, 4711))
        admin = scene.client("admin")
        decide(admin, given_up, "it-was-bought")
        for one, another in ((given_up, "+1 212-555-0109"), (other, "+1 212-555-0101")):
            said = words(admin.get(f"/purchases/{one.pk}/"))
            assert f"4711 This id is also recorded for {another}" in said


class TestDearer:
    def test_approve_again_shows_the_price_that_it_approves(self, scene, approver):
        assert "IdentityCall now charges 1.00 USD once and 9.00 USD a month" in words(
            approver.get(f"/purchases/{scene.dearer.pk}/")
        )

    def test_approve_again_approves_that_price(self, scene, approver):
        assert "Approved again" in words(decide(approver, scene.dearer, "approve-again"))
        assert (scene.purchase.state, str(scene.purchase.monthly_cost)) == (State.APPROVED, "9.0000")

    def test_where_no_list_shows_it_any_more_nobody_confirms_the_cost_from_before(self, scene, approver):
        purchase = scene.dearer
        Purchase.objects.update(cost_confirmed_at=clock.now())  # before the price rose
        box = f'name="unconfirmed-{purchase.pk}"'
        assert box not in approver.get(f"/purchases/{purchase.pk}/").content.decode()
        OfferLook.objects.update(offers={})
        page = approver.get(f"/purchases/{purchase.pk}/")
        assert box in page.content.decode()
        assert "This approves it at 1.00 USD once and 2.00 USD a month." in words(page)

    def test_a_forged_or_older_price_approves_nothing(self, scene, approver):
        for cost in ("2.00", "0", "-9.00", "NaN", "1e400", "9,00", "", "x" * 5000, "9" * 5000):
            response = decide(approver, scene.dearer, "approve-again", **prices(scene.dearer, monthly=cost))
            assert (response.status_code, scene.purchase.state) == (200, State.HELD), cost

    def test_nothing_is_in_doubt_so_it_was_not_bought_either(self, scene, approver):
        for step in ("it-was-bought", "try-again"):
            assert decide(approver, scene.dearer, step).status_code == 200
        assert scene.purchase.state == State.HELD


WRONG_IDS = {
    "": "Enter the id that IdentityCall shows for the number.",
    "x": "A whole number, such as 4711.",
    "4.5": "A whole number, such as 4711.",
    "<script>": "A whole number, such as 4711.",
    "9" * 5000: "A whole number, such as 4711.",
    "0": "greater than or equal to 1",
    "-1": "greater than or equal to 1",
    str(2**63): "less than or equal to",
}


class TestWhatIsWrong:
    @pytest.mark.parametrize("reason", ["", " \n\u00a0", "\u200b"], ids=["none", "blanks", "invisible"])
    def test_no_reason_is_a_sentence_and_decides_nothing(self, scene, approver, reason):
        for step in STEPS:
            response = decide(approver, scene.doubtful, step, reason=reason)
            assert "Enter a reason. It stays in the record." in words(response), step
        assert scene.purchase.state == State.HELD

    def test_a_wrong_id_is_a_sentence_at_its_place_and_keeps_what_was_typed(self, scene, approver):
        for typed, sentence in WRONG_IDS.items():
            response = decide(
                approver, scene.doubtful, "it-was-bought", provider_id=typed, reason="I saw it there"
            )
            page = response.content.decode()
            assert sentence in words(response), typed
            assert 'id="bought_provider_id_error"' in page
            assert "I saw it there" in page and "<script>" not in page.partition("<main")[2]
        assert scene.purchase.state == State.HELD

    @pytest.mark.parametrize("state", [state for state in State if state != State.HELD])
    def test_what_is_no_longer_held_is_a_sentence_and_stays_as_it_is(self, client, pending, ana, state):
        Purchase.objects.update(state=state)
        client.force_login(ana)
        for step in STEPS:
            response = decide(client, pending.purchases.get(), step)
            assert (response.status_code, pending.purchases.get().state) == (200, state)


class TestSeveral:
    def post(self, client, step, **fields):
        return client.post(
            f"/decisions/{step}/", {"group": "doubt", "reason": "No longer needed"} | fields, follow=True
        )

    def test_are_given_up_for_one_reason(self, scene, approver):
        response = self.post(approver, "give-up", purchase=[scene.doubtful.pk])
        assert "+1 212-555-0101: given up." in words(response)
        assert scene.purchase.state == State.GIVEN_UP

    def test_none_or_forged_ones_are_a_sentence(self, scene, approver):
        assert scene.doubtful
        for ticked in ([], ["x"], ["²"], ["9" * 5000], [999_999], ["-1"], ["'; DROP TABLE x"]):
            for step in ("give-up", "try-again"):
                said = words(self.post(approver, step, purchase=ticked))
                assert "Tick at least one number that still needs a decision." in said, ticked
        assert scene.purchase.state == State.HELD

    def test_no_reason_is_a_sentence(self, scene, approver):
        for group in ("doubt", "", "<script>alert(1)</script>", "x" * 5000):
            response = self.post(approver, "give-up", purchase=[scene.doubtful.pk], reason=" ", group=group)
            assert "Reason: Enter a reason. It stays in the record." in words(response)
            assert "<script>alert" not in response.content.decode()
        assert scene.purchase.state == State.HELD

    def test_no_reason_is_said_at_its_place_too(self, scene, approver):
        fields = {"purchase": [scene.doubtful.pk], "reason": " ", "group": f"doubt-{scene.team.pk}"}
        page = self.post(approver, "give-up", **fields).content.decode()
        assert f'id="several-doubt-{scene.team.pk}_reason_error"' in page

    def test_other_peoples_are_not_decided(self, scene):
        for role in ("other", "asker", "auditor"):
            self.post(scene.client(role), "give-up", purchase=[scene.doubtful.pk])
        assert scene.purchase.state == State.HELD


class TestTheMoney:
    """The cost of another approval, and what it means for the budget, is shown next to its button."""

    SOLD = "+12125550102"

    def rules(self, scene, **fields):
        type(scene.team).objects.filter(pk=scene.team.pk).update(**fields)

    def both(self, client, purchase):
        """The text of the number's page and of the list of decisions."""
        return [words(client.get(address)) for address in (f"/purchases/{purchase.pk}/", "/decisions/")]

    def test_stands_on_both_pages(self, scene, approver):
        purchase = scene.dearer
        self.rules(scene, monthly_budget=Decimal(20))
        for said in self.both(approver, purchase):
            assert (
                "Monthly budget 20.00 USD Committed 3.00 USD Waiting for approval 0.00 USD "
                "Left now 17.00 USD Left after this 10.00 USD" in said
            )

    def test_of_what_is_tried_again_nothing_comes_on_top(self, scene, approver):
        purchase = scene.doubtful
        self.rules(scene, monthly_budget=Decimal(20))
        scene.read_until_another_try_is_open()
        for said in self.both(approver, purchase):
            assert "Left now 17.00 USD Left after this 17.00 USD" in said

    def test_the_buttons_say_what_and_how_much(self, scene, approver):
        page = approver.get(f"/purchases/{scene.dearer.pk}/")
        assert "Approve again, 9.00 USD a month and 1.00 USD once" in words(page)
        page = approver.get("/decisions/")
        assert "Give up the ticked numbers Approve the ticked numbers again" in words(page)
        html = page.content.decode()
        assert 'data-tally="Approve {numbers} again, {monthly} USD a month"' in html
        assert 'data-monthly="9.00" data-needs="7.00"' in html

    def test_what_a_hard_budget_does_not_allow_is_a_sentence_and_no_button(self, scene, approver):
        purchase = scene.dearer
        self.rules(scene, monthly_budget=Decimal(8))
        one, all_of_them = self.both(approver, purchase)
        assert "2.00 USD more than the budget of Support allows." in one
        assert "Approve again, 9.00" not in one and "Give up" in one
        assert "Left after this already 2.00 USD over" in one
        assert "Approve the ticked numbers again" not in all_of_them

    def test_beyond_a_soft_budget_is_said_afterwards(self, scene, approver):
        purchase = scene.dearer
        self.rules(scene, monthly_budget=Decimal(8), budget_is_hard=False)
        said = words(decide(approver, purchase, "approve-again"))
        assert "Approved again and queued." in said
        assert "This goes beyond the budget of Support: it is already 2.00 USD over." in said
        assert "ana: approved +1 212-555-0101 again, beyond the budget" in said

    def test_a_first_yes_names_who_has_to_say_it_too(self, scene, approver):
        purchase = scene.dearer
        factories.member("eve", scene.team, "approver")
        self.rules(scene, second_approver_from=Decimal(1))
        said = words(decide(approver, purchase, "approve-again"))
        assert "Your approval is recorded. ana approved it; eve has to approve it too." in said
        for page in ("/decisions/", f"/purchases/{purchase.pk}/"):
            assert "ana approved it; eve has to approve it too." in words(approver.get(page))

    def test_a_first_yes_at_another_price_has_to_be_given_again(self, scene, approver):
        purchase = scene.dearer
        factories.member("eve", scene.team, "approver")
        self.rules(scene, second_approver_from=Decimal(1))
        decide(approver, purchase, "approve-again")
        scene.provider.offers = [offer(NUMBER, monthly="8.00")]
        OfferLook.objects.all().delete()
        price_lookup.look_again(purchase.pk)
        for page in ("/decisions/", f"/purchases/{purchase.pk}/"):
            assert "ana has to approve it again: the earlier approval was for" in words(approver.get(page))

    def test_each_team_has_its_own(self, scene, provider):
        """Held purchases of two teams are decided separately: each has its own budget."""
        purchase = scene.dearer
        factories.member("ana", scene.sales, "approver")
        bea = factories.member("bea", scene.sales, "requester")
        provider.offers.append(offer(self.SOLD, monthly="9.00"))
        for other in factories.approve(factories.request(scene.sales, bea, [self.SOLD]), scene.ana):
            procurement.buy(other.pk)
        self.rules(scene, monthly_budget=Decimal(20))
        said = words(scene.client("approver").get("/decisions/"))
        assert "Support: IdentityCall now charges more than was approved" in said
        assert "Sales: IdentityCall now charges more than was approved" in said
        assert said.count("Monthly budget 20.00 USD") == said.count("Monthly budget none") == 1
        assert purchase.state == State.HELD


def test_a_cost_that_nobody_knows_is_never_0(provider, team, sam, client):
    ana = factories.member("ana", team, "approver")
    [purchase] = factories.approve(
        factories.request(team, sam, [NUMBER], upfront_cost=None, monthly_cost=None), ana
    )
    provider.offers = []
    procurement.buy(purchase.pk)
    assert factories.state_of(purchase) == State.HELD
    client.force_login(ana)
    for address in (
        "/",
        "/decisions/",
        f"/purchases/{purchase.pk}/",
        f"/requests/{purchase.request_id}/",
        "/requests/",
    ):
        said = words(client.get(address)).replace("Waiting for approval 0.00 USD", "")  # nothing does
        assert "0.00" not in said, address
