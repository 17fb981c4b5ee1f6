"""What events are found by moves to tables that a lot of them at once is filed in; all of it is made anew."""

from django.db import migrations, models

from purchasing import guard
from purchasing.audit import filing


class Migration(migrations.Migration):
    dependencies = [
        ("purchasing", "0008_record"),
    ]

    operations = [
        migrations.RunPython(guard.switch_off, guard.switch_on),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("segment", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("action", models.CharField(max_length=50)),
                ("actor_name", models.CharField(max_length=150)),
                ("team_id", models.BigIntegerField(null=True)),
                ("phone_number", models.CharField(max_length=16)),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="auditword",
            name="one_row_a_word",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="event_by_team",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="event_by_number",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="event_by_person",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="event_by_action",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="event_by_person_action",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="event_by_team_person",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="event_by_team_action",
        ),
        migrations.RemoveIndex(
            model_name="auditevent",
            name="event_by_all_three",
        ),
        migrations.RemoveIndex(
            model_name="auditword",
            name="word_by_segment",
        ),
        migrations.AddField(
            model_name="auditevent",
            name="words",
            field=models.TextField(blank=True),
        ),
        migrations.AddField(
            model_name="audithead",
            name="filed",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddConstraint(
            model_name="auditword",
            constraint=models.UniqueConstraint(fields=("segment", "word", "seq"), name="one_row_a_word"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["segment", "phone_number", "team_id", "seq"], name="entry_by_number"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["team_id", "seq"], name="entry_by_team"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["actor_name", "seq"], name="entry_by_person"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["action", "seq"], name="entry_by_action"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["actor_name", "action", "seq"], name="entry_by_person_action"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["team_id", "actor_name", "seq"], name="entry_by_team_person"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["team_id", "action", "seq"], name="entry_by_team_action"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["team_id", "actor_name", "action", "seq"], name="entry_by_all_three"),
        ),
        migrations.AddIndex(
            model_name="auditstretch",
            index=models.Index(
                condition=models.Q(("quarter__lt", models.F("reached"))),
                fields=["first_seq"],
                name="stretch_gone_back",
            ),
        ),
        migrations.RunPython(filing.file_all, migrations.RunPython.noop),
        migrations.RunPython(guard.switch_on, guard.switch_off),
    ]
