from django.db import migrations, models


class Migration(migrations.Migration):
    """The share of a key's rate that is kept for pages and read-backs; who reads its lists just now."""

    dependencies = [("purchasing", "0013_tighten_credentials")]

    operations = [
        migrations.AddField(
            model_name="credential",
            name="next_behind_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="credential",
            name="reading_until",
            field=models.DateTimeField(null=True),
        ),
    ]
