"""Audit events are only ever added: the triggers of purchasing/guard.py."""

from django.db import migrations

from purchasing import guard


class Migration(migrations.Migration):
    dependencies = [("purchasing", "0001_initial")]
    operations = [migrations.RunPython(guard.switch_on, guard.switch_off)]
