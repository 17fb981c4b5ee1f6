"""The pages about numbers that the record and IdentityCall's lists disagree about."""

import pytest
import requests

from purchasing.buying import procurement
from purchasing.models import Credential, Purchase, RentedNumber, VirtualNumber
from purchasing.provider import owned_list
from purchasing.states import State
from tests import factories
from tests.healthy_provider import owned
from tests.views.access import NUMBER, Scene, words

pytestmark = pytest.mark.django_db
RENTED, MISSING, KEY = "/teams/support/rented/", "/teams/support/missing/", "/teams/support/key/"


@pytest.fixture
def scene(provider):
    return Scene(provider)


@pytest.fixture
def admin(scene):
    return scene.client("admin")


def post(client, url, **fields):
    return client.post(url, fields, follow=True)


class TestOwnedAlready:
    def test_the_page_offers_the_ids_that_the_list_shows_and_nothing_else(self, scene, admin):
        page = admin.get(f"/purchases/{scene.owned.pk}/")
        said = words(page)
        assert "It is ours, keep it" in said and "Not ours" in said and "4711" in said
        assert "Give up" not in said and "Approve again" not in said

    def test_an_approver_reads_who_decides(self, scene):
        said = words(scene.client("approver").get(f"/purchases/{scene.owned.pk}/"))
        assert "A team admin decides this, but never the requester." in said
        assert "It is ours" not in said and "Give up" not in said

    def test_it_is_kept_at_the_cost_that_is_stated(self, scene, admin):
        url = f"/purchases/{scene.owned.pk}/keep/"
        response = post(admin, url, provider_id="4711", monthly_cost="3.50", reason="Ours")
        assert "Recorded as yours." in words(response)
        found = Purchase.objects.get()
        assert (found.state, found.provider_id, str(found.monthly_cost)) == ("purchased", 4711, "3.5000")
        assert found.upfront_cost is None

    @pytest.mark.parametrize(
        "typed, sentence",
        [
            ({"provider_id": "9"}, "does not show that id any more"),
            ({"provider_id": ""}, "Choose one of the ids"),
            ({"provider_id": "x"}, "does not show that id any more"),
            ({"monthly_cost": "x"}, "Enter an amount"),
            ({"reason": " "}, "Enter a reason"),
        ],
    )
    def test_what_is_wrong_is_a_sentence_and_decides_nothing(self, scene, admin, typed, sentence):
        fields = {"provider_id": "4711", "reason": "Ours", **typed}
        assert sentence in words(post(admin, f"/purchases/{scene.owned.pk}/keep/", **fields))
        assert scene.purchase.state == State.HELD

    def test_not_ours(self, scene, admin):
        said = words(post(admin, f"/purchases/{scene.owned.pk}/not-ours/", reason="It is the sales team's"))
        assert "Recorded as not yours." in said and "It is the sales team's" in said
        assert scene.purchase.state == State.FAILED

    @pytest.mark.parametrize("step, state", [("keep", State.PURCHASED), ("not-ours", State.FAILED)])
    def test_several_are_decided_in_the_list(self, scene, admin, step, state):
        purchase = scene.owned
        said = words(admin.get("/decisions/"))
        assert "IdentityCall's list shows these already" in said and "IdentityCall id 4711" in said
        assert "Give up" not in said
        post(admin, f"/decisions/{step}/", purchase=[purchase.pk], reason="I looked", group="owned")
        assert scene.purchase.state == state

    def test_a_pending_one_that_is_listed_is_offered_to_a_superuser_alone(self, scene, admin):
        url = f"/purchases/{scene.purchase.pk}/"
        assert "It is ours" not in words(scene.client("root").get(url))
        scene.provider.owned_numbers.append(owned(NUMBER, 4711))
        owned_list.read(scene.team.keys.get())
        assert "It is ours" not in words(admin.get(url))
        assert "It is ours" in words(scene.client("root").get(url))


class TestRented:
    def test_lists_what_is_not_in_the_record(self, scene, admin):
        assert scene.unrecorded
        said = words(admin.get(RENTED))
        assert "+1 212-555-0188 IdentityCall id 8" in said
        assert "Rented, but not in the record: 1 number" in words(admin.get("/teams/support/"))
        assert "Keep or dismiss 1 number of Support" in words(admin.get("/"))

    def test_the_ticked_are_kept_and_stand_in_the_list_of_numbers(self, scene, admin):
        said = words(
            post(admin, f"{RENTED}keep/", ticked=[scene.unrecorded], reason="Hotline", monthly_cost="3")
        )
        assert "1 number kept." in said
        said = words(scene.client("asker").get("/numbers/"))
        assert "+1 212-555-0188" in said and "Hotline" in said and "3.00 USD" in said

    def test_or_dismissed(self, scene, admin):
        assert "1 number dismissed." in words(
            post(admin, f"{RENTED}dismiss/", ticked=[scene.unrecorded], reason="From before")
        )
        assert not RentedNumber.objects.get(provider_id=8).kept

    def test_all_of_a_long_baseline_are_dismissed_at_once(self, scene, admin, monkeypatch):
        monkeypatch.setattr("purchasing.views.rented.SHOWN", 1)
        scene.provider.owned_numbers += [owned("+12125550187", 7), owned("+12125550188", 8)]
        owned_list.read(scene.team.keys.get())
        assert "All of them, also those not shown on this page" in words(admin.get(RENTED))
        post(admin, f"{RENTED}dismiss/", everything="on", reason="From before")
        assert RentedNumber.objects.filter(kept=False).count() == 2

    @pytest.mark.parametrize(
        "typed, sentence",
        [
            ({"ticked": []}, "Tick at least one number."),
            ({"ticked": ["77"]}, "Some of these numbers were decided about"),
            ({"ticked": ["x"]}, "Some of these numbers were decided about"),
            ({"reason": ""}, "Enter a reason"),
            ({"monthly_cost": "-1"}, "Enter an amount of 0 or more"),
        ],
    )
    def test_what_is_wrong_is_a_sentence_and_keeps_the_ticks(self, scene, admin, typed, sentence):
        fields = {"ticked": [scene.unrecorded], "reason": "Ours", **typed}
        response = post(admin, f"{RENTED}keep/", **fields)
        assert sentence in words(response)
        if "ticked" not in typed:
            assert 'value="8" checked' in response.content.decode()
        assert not RentedNumber.objects.filter(provider_id=8).exists()

    def test_what_an_answer_named_instead_is_put_before_the_admins(self, scene, admin):
        factories.approve(scene.request, scene.ana)
        scene.provider.answer_purchase({"data": {"id": 66, "phone_number": "+12125550166"}})
        procurement.buy(scene.purchase.pk)
        assert scene.purchase.state == State.UNCONFIRMED
        said = words(admin.get(RENTED))
        assert "says that it bought +1 212-555-0166" in said and "No list shows that number yet" in said
        scene.provider.owned_numbers.append(owned("+12125550166", 66))
        owned_list.read(scene.team.keys.get())
        assert "The list shows it below." in words(admin.get(RENTED))
        post(admin, f"{RENTED}keep/", ticked=["66"], reason="We use it")
        assert "says that it bought" not in words(admin.get(RENTED))


class TestMissing:
    @pytest.fixture
    def lost(self, scene):
        """A kept number that the list no longer shows, beside one that it shows."""
        assert scene.unrecorded
        scene.provider.owned_numbers[:] = [owned("+12125550188", 8)]
        owned_list.read(scene.team.keys.get())

    def test_they_are_gone(self, scene, admin, lost):
        said = words(admin.get(MISSING))
        assert "+1 212-555-0189 IdentityCall id 9" in said and "They are gone" in said
        assert "What became of 1 number?" in words(admin.get(KEY))
        said = words(post(admin, f"{MISSING}gone/", ticked=["9"], reason="Given back"))
        assert "1 number recorded as gone." in said
        assert VirtualNumber.objects.get(provider_id=9).confirmed_gone_at is not None
        assert "What became of" not in words(admin.get(KEY))

    def test_a_reason_and_a_tick_are_needed(self, scene, admin, lost):
        assert "Enter a reason" in words(post(admin, f"{MISSING}gone/", ticked=["9"]))
        assert "Tick at least one" in words(post(admin, f"{MISSING}gone/", reason="Given back"))
        assert VirtualNumber.objects.get(provider_id=9).confirmed_gone_at is None

    def test_the_home_page_asks_while_an_order_is_in_doubt(self, scene, admin, lost):
        assert "What became of" not in words(admin.get("/"))
        factories.approve(scene.request, scene.ana)
        scene.provider.answer_purchase(requests.ReadTimeout())
        procurement.buy(scene.purchase.pk)
        assert "What became of 1 number of Support?" in words(admin.get("/"))
        assert "What became of" not in words(scene.client("approver").get("/"))


class TestABlindKey:
    def test_every_page_says_so(self, scene, admin):
        scene.forget()
        for url in ("/", "/teams/support/", KEY):
            assert "shows no number that this key has shown before" in words(admin.get(url)), url
        said = words(scene.client("asker").get("/find/"))
        assert "Nothing is bought for Support at the moment" in said
        assert "A team admin decides." in words(scene.client("asker").get("/teams/support/"))

    def test_an_admin_says_that_the_key_is_right(self, scene, admin):
        scene.forget()
        assert "Enter a reason" in words(post(admin, f"{KEY}right/"))
        said = words(post(admin, f"{KEY}right/", reason="The old project was closed"))
        assert "1 number recorded as gone. The key is used to buy again." in said
        assert Credential.objects.get(keys__team=scene.team).blind_at is None
        assert "no longer shows its numbers" not in words(admin.get(KEY))
