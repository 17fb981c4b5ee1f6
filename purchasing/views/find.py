"""Find numbers: search and filter IdentityCall's offers, and pick numbers into a basket that outlives the page."""

from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from purchasing import countries, permissions, problems, selectors
from purchasing.asking import drafts, find, submission
from purchasing.models import VirtualNumber
from purchasing.provider import pauses
from purchasing.states import NumberType
from purchasing.views.forms.asking import FindForm
from purchasing.views.paste import ONLY_REQUESTERS

PAGE = 100  # offers; each is a field of the form
LAST = "last-search"  # the cookie with the last search of this browser
YEAR = 365 * 24 * 60 * 60  # seconds


@require_safe
def page(request):
    """The search and its results. Filters work on the stored results, without another call to IdentityCall."""
    teams = _teams(request)
    form, search = _search(request, teams)
    context = {"form": form, "basket": _basket(request.user), "most": submission.MOST_NUMBERS, **search}
    key = pauses.current_key(search["team"])
    context["blind"] = key.credential if key and key.credential.blind_at else None
    if search["country"]:
        shelf = find.look(
            search["team"],
            country_code=search["country"],
            number_type=search["number_type"],
            again=request.GET.get("again") == "1",
        )
        context |= _found(request, form, search, shelf, context["basket"])
    template = "purchasing/partials/offers.html" if request.htmx else "purchasing/find.html"
    response = render(request, template, context)
    if search["country"]:
        last = f"{search['country']}.{search['number_type']}.{search['team'].pk}"
        response.set_cookie(LAST, last, max_age=YEAR, secure=settings.HTTPS, httponly=True, samesite="Lax")
    return response


def _teams(request):
    teams = permissions.teams_asked_for_by(request.user)
    if not teams.exists():
        raise PermissionDenied(ONLY_REQUESTERS)
    return teams


def _search(request, teams):
    """The form, and the search: from the query, else the last one of this browser."""
    given = request.GET.copy()
    last = [*request.COOKIES.get(LAST, "").split("."), "", "", ""]
    for name, value in zip(("country", "number_type", "team"), last, strict=False):
        given.setdefault(name, value)
    if given["number_type"] not in NumberType:
        given["number_type"] = NumberType.LOCAL
    if given["team"] not in {str(pk) for pk in teams.values_list("pk", flat=True)}:
        given["team"] = teams.order_by("name").first().pk
    form = FindForm(given, teams=teams)
    form.is_valid()
    clean = form.cleaned_data
    return form, {
        "team": clean["team"],
        "country": clean.get("country", ""),
        "number_type": clean["number_type"],
        "several_teams": teams.count() > 1,
    }


def _found(request, form, search, shelf, basket):
    """A page of the offers that pass the filters, each with whether it is already requested or owned."""
    clean = form.cleaned_data
    filters = find.Filters(
        digits=clean.get("digits", ""),
        region=clean.get("region", ""),
        feature=clean.get("feature", ""),
        highest=clean.get("highest"),
        sort=clean.get("sort") or "monthly",
    )
    chosen = find.chosen(shelf.offers, filters)
    page = Paginator(chosen, PAGE).get_page(request.GET.get("page"))
    numbers = [offer.phone_number for offer in page]
    records = selectors.records_of(numbers)
    owned = set(
        VirtualNumber.objects.filter(phone_number__in=numbers, gone_at=None).values_list(
            "phone_number", flat=True
        )
    )
    picked = {line["phone_number"] for line in basket["draft"].lines} if basket["draft"] else set()
    query = {
        name: value
        for name in form.fields
        if (value := form[name].value()) not in (None, "") and name != "page"
    }
    return {
        "shelf": shelf,
        "page": page,
        "rows": [(offer, offer.phone_number in records or offer.phone_number in owned) for offer in page],
        "picked": picked,
        "shown": len(chosen),
        "filtered": bool(filters),
        "regions": find.regions_of(shelf.offers),
        "features": find.features_of(shelf.offers),
        "query": urlencode(query),
        "where": f"{countries.flag(search['country'])} {countries.country_name(search['country'])}",
        "kind": NumberType(search["number_type"]).label.lower(),
    }


def _basket(user):
    draft = drafts.basket(user)
    lines = drafts.lines_of(draft) if draft else []
    return {"draft": draft, "count": len(lines), "figures": selectors.figures(lines)}


@require_POST
def pick(request):
    """Update the basket to the ticks of the submitted page; picks from other pages stay."""
    teams = _teams(request)
    form = FindForm(request.POST, teams=teams)
    form.is_valid()
    clean = form.cleaned_data
    team = clean.get("team") or teams.order_by("name").first()
    if clean.get("country"):
        _pick(request, team, clean["country"], clean.get("number_type") or NumberType.LOCAL)
    if request.htmx:
        return render(
            request, "purchasing/partials/basket.html", {"basket": _basket(request.user), "polite": True}
        )
    if request.POST.get("do") == "request" and drafts.basket(request.user):
        return redirect("purchasing:request-new")
    query = request.POST.get("query", "")[:1000]
    page = request.POST.get("do", "").removeprefix("page:")
    if page.isdecimal() and len(page) < 6:
        query += f"&page={page}"
    return redirect(f"{reverse('purchasing:find')}?{query}")


def _pick(request, team, country, number_type):
    """Numbers and costs come from the stored list, never from the form."""
    shelf = find.kept(team, country_code=country, number_type=number_type)
    on_page = set(request.POST.getlist("shown")[:PAGE])
    shown = [(offer, shelf.seen_at) for offer in shelf.offers if offer.phone_number in on_page]
    free = {offer.phone_number for offer, _ in shown} - set(selectors.records_of(sorted(on_page)))
    try:
        drafts.pick(request.user, team, shown=shown, ticked=set(request.POST.getlist("pick")) & free)
    except problems.Problem as problem:
        messages.warning(request, str(problem))


@require_POST
def empty(request):
    """Empty the basket."""
    _teams(request)
    draft = drafts.basket(request.user)
    if draft:
        draft.delete()
        messages.success(request, "The basket is empty.")
    return redirect("purchasing:find")
