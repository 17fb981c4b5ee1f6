"""A team's key is ciphertext wherever it is stored, and a lost encryption key is reported and never sent."""

import pickle
import traceback

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import connection

from purchasing import selectors
from purchasing.buying import aftercare
from purchasing.encryption import EncryptedField, Secret, Undecryptable
from purchasing.models import ApiKey, Attempt, Purchase
from purchasing.provider import turns
from purchasing.states import State
from purchasing.teams import keys
from tests import factories
from tests.factories import KEY

pytestmark = pytest.mark.django_db


def stored():
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM purchasing_apikey ORDER BY id")
        return [row[0] for row in cursor.fetchall()]


def test_the_database_holds_ciphertext(team):
    assert KEY not in stored()[0]
    assert stored()[0].startswith("gAAAA")
    assert ApiKey.objects.values_list("secret", flat=True).get() == KEY


def test_the_same_secret_is_never_stored_alike(team):
    keys.set_key(team, KEY, actor=factories.SYSTEM)
    assert len(set(stored())) == 2


def test_it_does_not_show_itself(team):
    secret = ApiKey.objects.values_list("secret", flat=True).get()
    assert isinstance(secret, Secret)
    assert repr(secret) == "Secret(…)"
    assert KEY not in f"{[secret]} {(secret,)} { ({'key': secret}) }"


def test_it_stays_in_the_database_until_asked_for(team):
    key = ApiKey.objects.get()
    assert "secret" in key.get_deferred_fields()
    assert key.secret == KEY


def test_dumps_hold_ciphertext(team):
    assert KEY not in serializers.serialize("json", ApiKey.objects.all())
    assert KEY not in serializers.serialize("xml", ApiKey.objects.all())


def test_a_pickled_row_does_not_bring_it_along(team):
    assert KEY.encode() not in pickle.dumps(ApiKey.objects.get())


@pytest.mark.parametrize("lookup", ["exact", "contains", "startswith", "in"])
def test_it_cannot_be_searched(team, lookup):
    with pytest.raises(FieldError):
        ApiKey.objects.filter(**{f"secret__{lookup}": KEY}).exists()


def test_its_presence_can_be_queried(team):
    assert ApiKey.objects.filter(secret__isnull=False).count() == 1
    assert EncryptedField().get_prep_value(None) is None
    assert EncryptedField().from_db_value(None, None, connection) is None


class TestRotation:
    def test_the_newest_key_encrypts_and_the_old_one_still_reads(self, team, settings):
        old, new = settings.API_KEY_ENCRYPTION_KEYS[0], Fernet.generate_key().decode()
        settings.API_KEY_ENCRYPTION_KEYS = [new, old]
        key = ApiKey.objects.get()
        assert key.secret == KEY
        key.save()
        settings.API_KEY_ENCRYPTION_KEYS = [new]
        assert ApiKey.objects.values_list("secret", flat=True).get() == KEY

    def test_a_bulk_update_encrypts_as_well(self, team):
        ApiKey.objects.update(secret=KEY[::-1])
        assert KEY[::-1] not in stored()[0]

    def test_every_key_in_the_settings_is_tried(self, team, settings):
        others = [Fernet.generate_key().decode() for _ in range(3)]
        settings.API_KEY_ENCRYPTION_KEYS = [*others, *settings.API_KEY_ENCRYPTION_KEYS]
        assert ApiKey.objects.get().secret == KEY


@pytest.fixture
def lost(approved, settings):
    """A team whose key can no longer be decrypted."""
    settings.API_KEY_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]


class TestLost:
    def test_reading_says_so_and_shows_nothing(self, lost):
        with pytest.raises(Undecryptable, match="API_KEY_ENCRYPTION_KEYS") as caught:
            ApiKey.objects.values_list("secret", flat=True).get()
        text = "".join(traceback.format_exception(caught.value))
        assert stored()[0] not in text
        assert "InvalidToken" not in text

    def test_no_client_is_made(self, lost):
        with pytest.raises(Undecryptable):
            turns.client_for(ApiKey.objects.get())

    def test_rows_that_point_to_the_key_can_still_be_read(self, lost, approved, ana):
        """Pages show purchases and attempts with their keys, which needs no secret."""
        Purchase.objects.update(bought_with=ApiKey.objects.get())
        [purchase] = selectors.purchases_seen_by(ana)
        assert str(purchase.bought_with) == "…1234"
        assert purchase.bought_with.get_deferred_fields() == {"secret"}

    def test_what_is_to_be_done_after_a_purchase_waits_and_says_why(self, lost, approved):
        Purchase.objects.update(
            state=State.PURCHASED, provider_id=7, bought_with=ApiKey.objects.get(), due_at=approved.due_at
        )
        aftercare.apply(approved.pk)
        waiting = Purchase.objects.get()
        assert "decrypted" in waiting.applied_words
        assert waiting.due_at > approved.due_at

    def test_attempts_are_listed_without_the_secret(self, lost, approved):
        assert list(Attempt.objects.select_related("key").defer("key__secret")) == []
