"""Log in, log out, change a password, or choose one through an invitation. There is no sign-up."""

from django.contrib.auth import views
from django.contrib.auth.decorators import login_not_required
from django.urls import path

from purchasing.views import accounts, mail
from purchasing.views.members import Welcome

urlpatterns = [
    path("login/", accounts.LogIn.as_view(), name="login"),
    path("logout/", accounts.LogOut.as_view(), name="logout"),
    path("password/", accounts.ChangePassword.as_view(), name="password_change"),
    path("password/done/", views.PasswordChangeDoneView.as_view(), name="password_change_done"),
    path("welcome/<uidb64>/<token>/", login_not_required(Welcome.as_view()), name="welcome"),
    path("unsent/", accounts.unsent, name="unsent"),
    path("mail/", mail.choose, name="mail-settings"),
]
