"""Django's admin: read-only views of the records, people and teams, for superusers."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group

from purchasing import models

admin.site.unregister(Group)  # roles are memberships; changes of a group would not be recorded


class Window(admin.ModelAdmin):
    """Read-only."""

    show_full_result_count = False

    def has_add_permission(self, request):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(models.AuditEvent)
class AuditEventWindow(Window):
    list_display = ["seq", "at", "actor_name", "action", "phone_number", "team", "note"]
    list_select_related = ["team"]
    list_per_page = 50
    ordering = ["-seq"]


@admin.register(models.AuditSeal)
class AuditSealWindow(Window):
    list_display = ["number", "at", "seq", "hash", "public_key"]
    ordering = ["-number"]


@admin.register(models.Purchase)
class PurchaseWindow(Window):
    list_display = ["phone_number", "state", "request", "provider_id", "state_changed_at"]
    ordering = ["-id"]


@admin.register(models.Attempt)
class AttemptWindow(Window):
    list_display = ["id", "purchase", "outcome", "http_status", "claimed_at", "ended_at"]
    ordering = ["-id"]


@admin.register(models.User)
class PeopleWindow(Window, UserAdmin):
    """Accounts, read-only: they are changed by commands and pages that record the change."""

    list_display = ["username", "is_active", "is_auditor", "is_superuser", "last_login"]


@admin.register(models.Team)
class TeamWindow(Window):
    list_display = ["name", "is_active", "stopped_at"]


@admin.register(models.Membership)
class MembershipWindow(Window):
    list_display = ["user", "team", "role"]
