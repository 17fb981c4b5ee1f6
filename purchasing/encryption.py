"""A model field that is encrypted at rest."""

import hmac

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import models
from django.db.models.lookups import IsNull


class Undecryptable(Exception):
    """The stored secret cannot be read: none of API_KEY_ENCRYPTION_KEYS encrypted it."""

    def __init__(self, words=None):
        super().__init__(
            words
            or "A stored API key cannot be decrypted: the encryption key it was stored with is missing "
            "from API_KEY_ENCRYPTION_KEYS. Nothing is bought with it until that is fixed."
        )


class Secret(str):
    """Text whose repr hides it in tracebacks and logs."""

    __slots__ = ()

    def __repr__(self):
        return "Secret(…)"


class EncryptedField(models.TextField):
    """Text kept encrypted by the newest of API_KEY_ENCRYPTION_KEYS and read with any of them.

    Saving a row again re-encrypts it with the newest key. It cannot be searched, and serializers
    (`dumpdata`) write the ciphertext.
    """

    description = "Encrypted text"

    def get_prep_value(self, value):
        if value is None:
            return None
        return _cipher().encrypt(str(value).encode()).decode()

    def from_db_value(self, value, expression, connection):
        if value is None:
            return None
        try:
            return Secret(_cipher().decrypt(value.encode()).decode())
        except InvalidToken:
            raise Undecryptable from None

    def value_to_string(self, obj):
        return self.get_prep_value(self.value_from_object(obj))

    def get_lookup(self, lookup_name):
        return IsNull if lookup_name == "isnull" else None

    def get_transform(self, lookup_name):
        return None


def _cipher():
    return MultiFernet([Fernet(key) for key in settings.API_KEY_ENCRYPTION_KEYS])


def fingerprint(secret):
    """What a secret is known by (64 hex digits): an HMAC under a subkey of the newest encryption key.

    Nobody can test a guess against it without that key.
    """
    return fingerprints(secret)[0]


def fingerprints(secret):
    """Its fingerprints under all encryption keys, newest first: an older one was stored before a rotation."""
    return [
        hmac.digest(hmac.digest(key.encode(), b"fingerprint", "sha256"), str(secret).encode(), "sha256").hex()
        for key in settings.API_KEY_ENCRYPTION_KEYS
    ]
