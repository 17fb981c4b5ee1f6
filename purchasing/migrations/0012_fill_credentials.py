"""Give every key the credential of its secret, and move what its lists showed to it.

Reads from before this proved absence by agreeing with each other, which two wrong lists do as well: from now on they
prove none. Numbers that a person released are confirmed as gone; any other that lists lack is asked about.
"""

from django.db import migrations
from django.db.models import F

from purchasing.encryption import Undecryptable, fingerprint

MOVED = (
    "refused_at",
    "refused_words",
    "paused_until",
    "paused_since",
    "pause_reason",
    "doubts_in_a_row",
    "doubted_seq",
    "rate_per_minute",
    "next_call_at",
)


def fill(apps, schema_editor):
    key_model, credential_model = (apps.get_model("purchasing", name) for name in ("ApiKey", "Credential"))
    # The current key of a secret comes first, so that its pauses count.
    for key in key_model.objects.defer("secret").order_by(F("retired_at").desc(nulls_first=True), "-pk"):
        credential, _ = credential_model.objects.get_or_create(
            fingerprint=_fingerprint_of(key), defaults={name: getattr(key, name) for name in MOVED}
        )
        key_model.objects.filter(pk=key.pk).update(credential=credential)
    credential_of = dict(key_model.objects.values_list("pk", "credential"))
    apps.get_model("purchasing", "OfferLook").objects.all().delete()  # a cache of a minute
    for key_id, credential_id in credential_of.items():
        reads = apps.get_model("purchasing", "OwnedRead").objects.filter(key=key_id)
        reads.update(credential=credential_id, whole=False, missing=[], seq=F("began_after"))
    _move_numbers(apps, credential_of)
    released = apps.get_model("purchasing", "Purchase").objects.filter(released_at__isnull=False)
    for purchase in released.exclude(provider_id=None).iterator():
        apps.get_model("purchasing", "VirtualNumber").objects.filter(
            provider_id=purchase.provider_id, phone_number=purchase.phone_number, gone_at__isnull=False
        ).update(confirmed_gone_at=purchase.released_at)


def _fingerprint_of(key):
    try:
        return fingerprint(key.secret) if key.secret else f"wiped {key.pk}"
    except Undecryptable:
        return f"unreadable {key.pk}"


def _move_numbers(apps, credential_of):
    numbers = apps.get_model("purchasing", "VirtualNumber").objects
    for key_id, credential_id in credential_of.items():
        for row in list(numbers.filter(key=key_id).order_by("pk")):
            same = numbers.filter(
                credential=credential_id, provider_id=row.provider_id, phone_number=row.phone_number
            ).first()
            if same is None:
                numbers.filter(pk=row.pk).update(credential=credential_id)
                continue
            # Seen with the same secret in two teams: known since the first time, there if either shows it.
            if row.first_seen_seq < same.first_seen_seq:
                same.first_seen_seq, same.first_seen_at = row.first_seen_seq, row.first_seen_at
            same.gone_at = None if None in (row.gone_at, same.gone_at) else max(row.gone_at, same.gone_at)
            same.save()
            row.delete()


class Migration(migrations.Migration):
    dependencies = [("purchasing", "0011_credential")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
