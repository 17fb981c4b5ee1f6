"""The addresses of Number Desk's own pages."""

from django.urls import path

from purchasing.views import approvals, audit, edits, held, home, numbers, paste, requests, team_rules, teams

app_name = "purchasing"
urlpatterns = [
    path("", home.home, name="home"),
    path("live/", home.live, name="home-live"),
    path("paste/", paste.paste, name="paste"),
    path("paste/<uuid:pk>/", paste.verdicts, name="paste-verdicts"),
    path("requests/", requests.listing, name="requests"),
    path("requests/new/", requests.new, name="request-new"),
    path("requests/<int:pk>/", requests.detail, name="request"),
    path("requests/<int:pk>/live/", requests.live, name="request-live"),
    path("requests/<int:pk>/edit/", edits.edit, name="request-edit"),
    path("requests/<int:pk>/approve/", approvals.approve, name="request-approve"),
    path("requests/<int:pk>/reject/", approvals.reject, name="request-reject"),
    path("requests/<int:pk>/cancel/", requests.cancel, name="request-cancel"),
    path("approvals/", approvals.queue, name="approvals"),
    path("approvals/news/", approvals.news, name="approvals-news"),
    path("decisions/", held.listing, name="held"),
    path("decisions/give-up/", held.give_up_several, name="held-give-up-several"),
    path("decisions/try-again/", held.try_again_several, name="held-try-again-several"),
    path("purchases/<int:pk>/", held.detail, name="purchase"),
    path("purchases/<int:pk>/it-was-bought/", held.it_was_bought, name="purchase-bought"),
    path("purchases/<int:pk>/try-again/", held.try_again, name="purchase-again"),
    path("purchases/<int:pk>/give-up/", held.give_up, name="purchase-give-up"),
    path("purchases/<int:pk>/approve-again/", held.approve_again, name="purchase-approve-again"),
    path("numbers/", numbers.listing, name="numbers"),
    path("audit/", audit.listing, name="audit"),
    path("teams/", teams.listing, name="teams"),
    path("teams/<slug:slug>/", teams.detail, name="team"),
    path("teams/<slug:slug>/stop/", teams.stop, name="team-stop"),
    path("teams/<slug:slug>/go-on/", teams.go_on, name="team-go-on"),
    path("teams/<slug:slug>/rules/", team_rules.set_rules, name="team-rules"),
    path("teams/<slug:slug>/stand-ins/", team_rules.name_stand_in, name="team-stand-in"),
    path("teams/<slug:slug>/stand-ins/<int:pk>/end/", team_rules.end_stand_in, name="team-stand-in-end"),
    path("buying/stop/", teams.stop_all, name="stop-all"),
    path("buying/go-on/", teams.go_on_all, name="go-on-all"),
]
