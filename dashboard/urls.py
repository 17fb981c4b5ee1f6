"""Every URL of Number Desk."""

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.utils.functional import lazy
from django.views.generic import RedirectView

from purchasing.views import health

urlpatterns = [
    path("", include("purchasing.urls")),
    path("accounts/", include("purchasing.account_urls")),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path(
        "favicon.ico",
        # Lazy: on a new server `migrate` and `check` run before `collectstatic`.
        login_not_required(RedirectView.as_view(url=lazy(static, str)("favicon.svg"))),
        name="favicon",
    ),
]
handler500 = "purchasing.views.errors.server_error"
