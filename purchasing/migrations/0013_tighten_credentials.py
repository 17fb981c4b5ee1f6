"""Every key has a credential now; what stood with the key is gone from it."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q

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


def to_credential(related_name, on_delete=django.db.models.deletion.CASCADE):
    return models.ForeignKey(on_delete=on_delete, related_name=related_name, to="purchasing.credential")


class Migration(migrations.Migration):
    dependencies = [("purchasing", "0012_fill_credentials")]
    operations = [
        migrations.RemoveConstraint("virtualnumber", "one_row_a_seen_number"),
        migrations.RemoveConstraint("offerlook", "one_look_a_shelf"),
        migrations.RemoveIndex("ownedread", "read_by_key"),
        *(migrations.RemoveField(name, "key") for name in ("ownedread", "virtualnumber", "offerlook")),
        *(migrations.RemoveField("apikey", name) for name in MOVED),
        migrations.RenameField("ownedread", "whole", "complete"),
        migrations.AlterField(
            "apikey", "credential", to_credential("keys", django.db.models.deletion.PROTECT)
        ),
        migrations.AlterField("ownedread", "credential", to_credential("reads")),
        migrations.AlterField("virtualnumber", "credential", to_credential("numbers")),
        migrations.AlterField("offerlook", "credential", to_credential("looks")),
        migrations.AlterField("virtualnumber", "phone_number", models.CharField(blank=True, max_length=16)),
        migrations.AddIndex(
            "ownedread", models.Index(fields=["credential", "-id"], name="read_by_credential")
        ),
        migrations.AddIndex(
            "virtualnumber",
            models.Index(
                fields=["credential"], condition=Q(gone_at__isnull=False), name="gone_by_credential"
            ),
        ),
        migrations.AddConstraint(
            "virtualnumber",
            models.UniqueConstraint(
                fields=["credential", "provider_id", "phone_number"], name="one_row_a_seen_number"
            ),
        ),
        migrations.AddConstraint(
            "offerlook",
            models.UniqueConstraint(
                fields=["credential", "country_code", "number_type"], name="one_look_a_shelf"
            ),
        ),
    ]
