"""What shows that a database went back in time; and mails that are about no team."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("purchasing", "0015_rented_numbers")]
    operations = [
        migrations.AddField("desk", "epoch", models.BigIntegerField(null=True)),
        migrations.AddField("desk", "identity", models.TextField(null=True)),
        migrations.AddField("desk", "alarm_at", models.DateTimeField(null=True)),
        migrations.AddField("desk", "alarm_words", models.CharField(max_length=1000, null=True)),
        migrations.AddField("credential", "review_seq", models.BigIntegerField(null=True)),
        migrations.AlterField(
            "mail",
            "team",
            models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="+",
                to="purchasing.team",
                null=True,
            ),
        ),
        migrations.AlterField(
            "purchase",
            "held_cause",
            models.CharField(
                blank=True,
                choices=[
                    ("doubt", "Nobody knows yet whether IdentityCall bought it"),
                    ("owned", "IdentityCall's list shows it already, and no call of ours explains it"),
                    ("price", "IdentityCall now asks more than was approved"),
                    ("cost_unknown", "IdentityCall never confirmed the cost"),
                    ("approver", "The person who approved it may no longer approve"),
                    ("too_long", "It has waited too long since it was approved"),
                    ("restored", "The database went back in time after it was approved"),
                ],
                max_length=20,
            ),
        ),
    ]
