"""What concerns a secret, whichever team stored it, gets a row of its own (filled in 0012, tightened in 0013)."""

import django.db.models.deletion
from django.db import migrations, models


def to_credential(related_name, **options):
    return models.ForeignKey(
        on_delete=django.db.models.deletion.CASCADE,
        related_name=related_name,
        to="purchasing.credential",
        null=True,
        **options,
    )


class Migration(migrations.Migration):
    dependencies = [("purchasing", "0010_label_of_approved")]
    operations = [
        migrations.CreateModel(
            name="Credential",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("fingerprint", models.CharField(max_length=64, unique=True)),
                ("refused_at", models.DateTimeField(null=True)),
                ("refused_words", models.CharField(blank=True, max_length=500)),
                ("paused_until", models.DateTimeField(null=True)),
                ("paused_since", models.DateTimeField(null=True)),
                ("pause_reason", models.CharField(blank=True, max_length=1000)),
                ("doubts_in_a_row", models.PositiveIntegerField(default=0)),
                ("doubted_seq", models.BigIntegerField(default=0)),
                ("rate_per_minute", models.PositiveIntegerField(null=True)),
                ("next_call_at", models.DateTimeField(null=True)),
                ("blind_at", models.DateTimeField(null=True)),
                ("blind_words", models.CharField(blank=True, max_length=500)),
                ("projects", models.JSONField(null=True)),
            ],
        ),
        migrations.AddField("apikey", "credential", to_credential("keys")),
        migrations.AddField("ownedread", "credential", to_credential("reads")),
        migrations.AddField("virtualnumber", "credential", to_credential("numbers")),
        migrations.AddField("offerlook", "credential", to_credential("looks")),
        migrations.AddField("virtualnumber", "confirmed_gone_at", models.DateTimeField(null=True)),
        migrations.AddField("virtualnumber", "confirmed_seq", models.BigIntegerField(default=0)),
        migrations.AddField("ownedread", "seq", models.BigIntegerField(default=0)),
        migrations.AddField("ownedread", "gone_seq", models.BigIntegerField(default=0)),
        migrations.AddField("ownedread", "unreadable", models.JSONField(default=list)),
        migrations.AddField("ownedread", "projects", models.JSONField(null=True)),
        migrations.AddField("attempt", "projects", models.JSONField(null=True)),
        migrations.AddField("purchase", "cancel_asked_at", models.DateTimeField(null=True)),
    ]
