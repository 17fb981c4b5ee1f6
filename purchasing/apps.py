"""The application's registration with Django."""

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class PurchasingConfig(AppConfig):
    """Number Desk's one application."""

    name = "purchasing"
    verbose_name = "Number Desk"

    def ready(self):
        from purchasing.models import make_single_rows

        post_migrate.connect(make_single_rows, sender=self)
