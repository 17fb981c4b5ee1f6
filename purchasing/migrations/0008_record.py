"""The search of the record, its seals, checks of it, and failed log-ins. Ends with the triggers of the record."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import purchasing.models.search
from purchasing import guard


class Migration(migrations.Migration):
    dependencies = [
        ("purchasing", "0007_seen_versions"),
    ]

    operations = [
        # The tables below are made anew on SQLite, and their triggers go with the old ones.
        migrations.RunPython(migrations.RunPython.noop, guard.switch_on),
        migrations.CreateModel(
            name="AuditCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("ip", models.CharField(blank=True, max_length=45)),
                ("seq", models.BigIntegerField()),
                ("done", models.BigIntegerField(default=0)),
                ("place", models.JSONField(default=dict)),
                ("ended_at", models.DateTimeField(null=True)),
                ("bad_seq", models.BigIntegerField(null=True)),
                ("problem", models.CharField(blank=True, max_length=500)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="AuditDigits",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("segment", models.BigIntegerField()),
                ("digits", purchasing.models.search.ByteText(max_length=16)),
                ("phone_number", models.CharField(max_length=16)),
            ],
        ),
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
                ("at", models.DateTimeField()),
                ("seq", models.BigIntegerField()),
                ("hash", models.CharField(max_length=64)),
                ("public_key", models.CharField(max_length=64)),
                ("signature", models.CharField(max_length=128)),
            ],
            options={
                "ordering": ["number"],
            },
        ),
        migrations.CreateModel(
            name="AuditSegment",
            fields=[
                ("number", models.BigIntegerField(primary_key=True, serialize=False)),
            ],
        ),
        migrations.CreateModel(
            name="AuditStretch",
            fields=[
                ("first_seq", models.BigIntegerField(primary_key=True, serialize=False)),
                ("quarter", models.BigIntegerField()),
                ("reached", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="AuditWord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("segment", models.BigIntegerField()),
                ("word", purchasing.models.search.ByteText(max_length=40)),
                ("seq", models.BigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="FailedLogins",
            fields=[
                ("about", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("count", models.PositiveIntegerField(default=0)),
                ("last_at", models.DateTimeField()),
                ("blocked_until", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name_plural": "failed logins",
            },
        ),
        migrations.AddField(
            model_name="audithead",
            name="quarter",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="audithead",
            name="reached",
            field=models.BigIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="actor",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="attempt",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="purchasing.attempt",
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="purchase",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="events",
                to="purchasing.purchase",
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="request",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="events",
                to="purchasing.purchaserequest",
            ),
        ),
        migrations.AlterField(
            model_name="auditevent",
            name="team",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="purchasing.team",
            ),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["phone_number", "seq"], name="event_by_number"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["click", "seq"], name="event_by_click"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor_name", "seq"], name="event_by_person"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["action", "seq"], name="event_by_action"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor_name", "action", "seq"], name="event_by_person_action"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["team", "actor_name", "seq"], name="event_by_team_person"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["team", "action", "seq"], name="event_by_team_action"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["team", "actor_name", "action", "seq"], name="event_by_all_three"),
        ),
        migrations.AddField(
            model_name="auditcheck",
            name="asked_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddConstraint(
            model_name="auditdigits",
            constraint=models.UniqueConstraint(
                fields=("segment", "digits", "phone_number"), name="one_row_a_part"
            ),
        ),
        migrations.AddIndex(
            model_name="auditstretch",
            index=models.Index(fields=["quarter", "first_seq"], name="stretch_by_quarter"),
        ),
        migrations.AddIndex(
            model_name="auditstretch",
            index=models.Index(fields=["reached", "first_seq"], name="stretch_by_reached"),
        ),
        migrations.AddConstraint(
            model_name="auditword",
            constraint=models.UniqueConstraint(fields=("seq", "word"), name="one_row_a_word"),
        ),
        migrations.AddIndex(
            model_name="auditword",
            index=models.Index(fields=["segment", "word", "seq"], name="word_by_segment"),
        ),
        migrations.RunPython(guard.switch_on, guard.switch_off),
    ]
