"""The application's registration with Django."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin
from django.core import checks
from django.db.models.signals import post_migrate


class PurchasingConfig(AppConfig):
    """Number Desk's one application."""

    name = "purchasing"
    default = True
    verbose_name = "Number Desk"

    def ready(self):
        from purchasing import startup
        from purchasing.models import make_single_rows

        checks.register(startup.check_restore_mark)
        post_migrate.connect(make_single_rows, sender=self)


class DeskAdminConfig(admin.AdminConfig):
    """`django.contrib.admin` with our own site."""

    default = False
    default_site = "purchasing.admin_site.Site"
