from django.db import migrations, models


class Migration(migrations.Migration):
    """The share of a key's rate that is kept for pages and read-backs; who reads its lists just now."""

    dependencies = [("purchasing", "0010_label_of_approved")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="next_behind_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="apikey",
            name="reading_until",
            field=models.DateTimeField(null=True),
        ),
    ]
