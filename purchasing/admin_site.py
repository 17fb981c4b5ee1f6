"""Django's admin for superusers, read-only, with the same log-in as everyone else."""

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator

from purchasing.views.accounts import LogOut


class Site(admin.AdminSite):
    """Log-ins, log-outs and new passwords use the product's own pages, which throttle and record them."""

    site_header = site_title = "Number Desk"
    index_title = "Windows on the records"

    @method_decorator(login_not_required)
    def login(self, request, extra_context=None):
        return redirect_to_login(request.GET.get("next") or reverse("admin:index"), settings.LOGIN_URL)

    def logout(self, request, extra_context=None):
        return LogOut.as_view()(request)

    def password_change(self, request, extra_context=None):
        return redirect("password_change")

    def password_change_done(self, request, extra_context=None):
        return redirect("password_change_done")
