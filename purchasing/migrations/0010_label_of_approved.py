"""An approved purchase is labelled 'Approved, queued'. Labels are not stored, so the database does not change."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("purchasing", "0009_filed_in_lots"),
    ]

    operations = [
        migrations.AlterField(
            model_name="purchase",
            name="state",
            field=models.CharField(
                choices=[
                    ("pending", "Waiting for approval"),
                    ("approved", "Approved, queued"),
                    ("purchasing", "Buying now"),
                    ("unconfirmed", "Checking with the provider"),
                    ("held", "Needs a decision"),
                    ("given_up", "Given up, still watched"),
                    ("purchased", "Bought"),
                    ("failed", "Could not be bought"),
                    ("rejected", "Rejected"),
                    ("cancelled", "Cancelled"),
                    ("expired", "Expired"),
                ],
                default="pending",
                max_length=12,
            ),
        ),
    ]
