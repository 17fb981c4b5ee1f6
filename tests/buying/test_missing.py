"""Known numbers that lists no longer show: what became of them? And a key that shows none of what it knew."""

from datetime import timedelta

import pytest
import requests

from purchasing import clock, problems
from purchasing.buying import missing, rented
from purchasing.models import (
    ApiKey,
    AuditEvent,
    Credential,
    OwnedRead,
    Purchase,
    RentedNumber,
    User,
    VirtualNumber,
)
from purchasing.provider import owned_list
from purchasing.states import State
from tests import factories
from tests.buying.test_procurement import buy
from tests.factories import actor
from tests.healthy_provider import OWNED, PROJECTS, during, owned

pytestmark = pytest.mark.django_db
FIRST, SECOND, ASKED = "+12125550188", "+12125550189", "+12125550101"


@pytest.fixture
def root(db):
    return factories.superuser()


@pytest.fixture
def bought(approved, provider):
    """A number bought a day ago, on an account with another one."""
    provider.owned_numbers = [owned(FIRST, 1)]
    owned_list.read(ApiKey.objects.get())
    provider.sells(ASKED, 9)
    buy(approved)
    owned_list.read(ApiKey.objects.get())
    Purchase.objects.update(purchased_at=clock.now() - timedelta(days=1))
    return Purchase.objects.get()


def shows(provider, *numbers, minutes_ago=0):
    """The list shows these from now on, as a read does."""
    provider.owned_numbers = list(numbers)
    read = owned_list.read(ApiKey.objects.first())
    before = clock.now() - timedelta(minutes=minutes_ago)
    OwnedRead.objects.filter(pk=read.pk).update(began_at=before)
    VirtualNumber.objects.filter(gone_at__isnull=False).update(gone_at=before)
    return read


def asked(team, person):
    return [(one.provider_id, one.phone_number) for one in missing.of_team(team, person)]


def gone(team, ids, person, reason="Given back"):
    return missing.confirm_gone(team, ids, reason=reason, actor=actor(person))


class TestTheQuestion:
    def test_is_asked_of_the_team_that_bought_it(self, bought, team, tom, provider, root):
        assert asked(team, root) == []
        shows(provider)
        assert asked(team, tom) == [(9, ASKED)]
        assert asked(team, root) == [(1, FIRST), (9, ASKED)]  # nobody's here: a superuser is asked

    def test_of_the_team_that_kept_it(self, bought, team, tom, provider):
        rented.keep(team, [1], reason="Ours", actor=actor(tom))
        shows(provider, owned(ASKED, 9))
        assert asked(team, tom) == [(1, FIRST)]

    def test_a_bought_number_that_no_list_ever_showed_is_missing_too(self, bought, team, tom, provider):
        VirtualNumber.objects.filter(provider_id=9).delete()
        shows(provider, owned(FIRST, 1))
        assert asked(team, tom) == [(9, ASKED)]

    def test_what_is_shown_again_is_not_asked(self, bought, team, tom, provider):
        shows(provider, owned(FIRST, 1))
        shows(provider, owned(FIRST, 1), owned(ASKED, 9))
        assert asked(team, tom) == []

    def test_it_is_on_the_home_page_while_an_order_is_in_doubt(self, bought, team, sam, ana, tom, provider):
        shows(provider, owned(FIRST, 1))
        assert missing.open_questions(tom) == []
        [other] = factories.approve(factories.request(team, sam, ["+12125550102"]), ana)
        provider.answer_purchase(requests.ReadTimeout())
        assert buy(other).state == State.UNCONFIRMED
        assert missing.open_questions(tom) == [(team, 1)]
        assert missing.open_questions(ana) == []


class TestTheyAreGone:
    def test_a_bought_one_is_no_longer_rented_and_lists_are_complete_again(self, bought, team, tom, provider):
        shows(provider, owned(FIRST, 1), minutes_ago=2)
        assert gone(team, [9], tom) == 1
        bought.refresh_from_db()
        assert bought.released_at is not None
        event = bought.events.order_by("-seq").first()
        assert (event.action, event.note) == ("purchase.released", "Given back")
        assert asked(team, tom) == []
        assert owned_list.read(ApiKey.objects.get()).complete

    def test_one_that_nobody_bought_here_is_confirmed_by_a_superuser(self, bought, team, root, provider):
        shows(provider, owned(ASKED, 9))
        gone(team, [1], root)
        event = AuditEvent.objects.get(action="number.gone")
        assert (event.team, event.data["phone_number"], event.data["provider_id"]) == (team, FIRST, 1)
        row = VirtualNumber.objects.get(provider_id=1)
        assert (row.confirmed_gone_at, row.confirmed_seq) == (event.at, event.seq)

    def test_a_kept_one_no_longer_counts(self, bought, team, tom, provider):
        rented.keep(team, [1], reason="Ours", actor=actor(tom))
        shows(provider, owned(ASKED, 9))
        gone(team, [1], tom)
        assert RentedNumber.objects.get().ended_at is not None

    def test_the_list_is_read_again_first(self, bought, team, tom, provider):
        shows(provider, owned(FIRST, 1), minutes_ago=2)
        provider.owned_numbers.append(owned(ASKED, 9))
        with pytest.raises(problems.AlreadyMoved, match="shown again"):
            gone(team, [9], tom)
        provider.owned_answer = (500, {}, "")
        shown = VirtualNumber.objects.filter(provider_id=9)
        shown.update(gone_at=clock.now())
        OwnedRead.objects.update(missing=[[9, ASKED]])
        with pytest.raises(problems.Problem, match="could not be read"):
            gone(team, [9], tom)

    def test_a_second_list_has_to_agree_a_minute_later(self, bought, team, tom, provider):
        shows(provider, owned(FIRST, 1))
        with pytest.raises(problems.Problem, match="A second list"):
            gone(team, [9], tom)
        assert Purchase.objects.get().released_at is None
        assert asked(team, tom) == [(9, ASKED)]

    def test_what_another_key_shows_is_rented_with_that_key(self, bought, team, tom, provider):
        sales = factories.team("Sales")
        provider.owned_with[factories.key_of("Sales")] = [owned(ASKED, 9)]
        owned_list.read(sales.keys.get())
        shows(provider, owned(FIRST, 1), minutes_ago=2)
        gone(team, [9], tom)
        bought.refresh_from_db()
        assert (bought.released_at, bought.bought_with) == (None, sales.keys.get())
        assert asked(team, tom) == []

    def test_who_lost_the_role_while_the_list_was_read_says_nothing(self, bought, team, tom, provider):
        shows(provider, owned(FIRST, 1), minutes_ago=2)
        during(provider, OWNED, lambda: User.objects.filter(pk=tom.pk).update(is_active=False))
        with pytest.raises(problems.NotYours):
            gone(team, [9], tom)
        assert Purchase.objects.get().released_at is None

    def test_only_the_team_admin_says_so_and_with_a_reason(self, bought, team, tom, ana, provider):
        shows(provider, owned(FIRST, 1), minutes_ago=2)
        with pytest.raises(problems.NotYours):
            gone(team, [9], ana)
        with pytest.raises(problems.Problem, match="Say why"):
            gone(team, [9], tom, reason=" ")
        with pytest.raises(problems.Problem, match="Tick at least one"):
            gone(team, [], tom)
        with pytest.raises(problems.AlreadyMoved):
            gone(team, [1], tom)  # not this team's


class TestABlindKey:
    @pytest.fixture
    def blind(self, bought, team, provider):
        """The key was moved to another project with a number of its own."""
        provider.projects = [2]
        shows(provider, owned(SECOND, 3), minutes_ago=2)
        assert Credential.objects.get().blind_at is not None

    def right(self, team, person, reason="The old project was closed"):
        return missing.key_is_right(team, reason=reason, actor=actor(person))

    def test_an_admin_says_that_it_is_right(self, blind, bought, team, tom):
        assert self.right(team, tom) == 2
        credential = Credential.objects.get()
        assert (credential.blind_at, credential.blind_words, credential.projects) == (None, "", [2])
        bought.refresh_from_db()
        assert bought.released_at is not None
        found = AuditEvent.objects.filter(action__in=["number.gone", "purchase.released", "key.sees_again"])
        assert [event.action for event in found.order_by("seq")] == [
            "number.gone",
            "purchase.released",
            "key.sees_again",
        ]
        assert owned_list.read(ApiKey.objects.get()).complete

    def test_a_key_of_one_project_that_shows_another_is_right_too(self, bought, team, tom, provider):
        ApiKey.objects.update(said_scope="project")
        Credential.objects.update(
            blind_at=clock.now(), blind_words="This key was for the project with the id 1."
        )
        provider.projects = [2]
        assert self.right(team, tom) == 0
        assert Credential.objects.get().projects == [2]
        with pytest.raises(problems.AlreadyMoved):
            self.right(team, tom)

    def test_where_its_projects_cannot_be_read_it_stays_blind(self, blind, team, tom, provider):
        provider.http.replace("GET", PROJECTS, status=500)
        with pytest.raises(problems.Problem, match="projects of the key could not be read"):
            self.right(team, tom)
        assert Credential.objects.get().blind_at is not None

    def test_only_an_admin_and_with_a_reason(self, blind, team, tom, ana):
        with pytest.raises(problems.NotYours):
            self.right(team, ana)
        with pytest.raises(problems.Problem, match="Say why"):
            self.right(team, tom, reason="")
        assert Credential.objects.get().blind_at is not None
