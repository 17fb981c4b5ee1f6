"""What people decided about numbers that no purchase explains, and an index that finds a purchase by IdentityCall's id."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def cost_field():
    return models.DecimalField(blank=True, decimal_places=4, max_digits=14, null=True)


class Migration(migrations.Migration):
    dependencies = [("purchasing", "0014_pace")]
    operations = [
        migrations.CreateModel(
            "RentedNumber",
            [
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("provider_id", models.PositiveBigIntegerField(unique=True)),
                ("phone_number", models.CharField(max_length=16)),
                (
                    "team",
                    models.ForeignKey(
                        "purchasing.team",
                        django.db.models.deletion.PROTECT,
                        related_name="rented_numbers",
                    ),
                ),
                ("kept", models.BooleanField()),
                ("reason", models.CharField(max_length=1000)),
                ("upfront_cost", cost_field()),
                ("monthly_cost", cost_field()),
                (
                    "decided_by",
                    models.ForeignKey(
                        settings.AUTH_USER_MODEL, django.db.models.deletion.PROTECT, related_name="+"
                    ),
                ),
                ("decided_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddIndex(
            "purchase",
            models.Index(
                fields=["provider_id"],
                condition=models.Q(provider_id__isnull=False),
                name="purchase_by_provider_id",
            ),
        ),
        migrations.AlterField(
            "purchase",
            "held_cause",
            models.CharField(
                blank=True,
                max_length=20,
                choices=[
                    ("doubt", "Nobody knows yet whether IdentityCall bought it"),
                    ("owned", "IdentityCall's list shows it already, and no call of ours explains it"),
                    ("price", "IdentityCall now asks more than was approved"),
                    ("cost_unknown", "IdentityCall never confirmed the cost"),
                    ("approver", "The person who approved it may no longer approve"),
                    ("too_long", "It has waited too long since it was approved"),
                ],
            ),
        ),
    ]
