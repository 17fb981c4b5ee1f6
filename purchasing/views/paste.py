"""Paste numbers: text or a file goes in, each row gets a verdict, and the ticked ones go on to the request form."""

from datetime import timedelta

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from purchasing import clock, jobs, pasting, permissions
from purchasing.asking import drafts, verdicts
from purchasing.asking.submission import MOST_NUMBERS
from purchasing.middleware import SECRET_WORDS
from purchasing.models import Paste
from purchasing.provider import offers
from purchasing.views.forms.asking import PasteForm

PAGE = 100  # rows; each row is a field of the form
LOOK_UP_WAIT = 60  # seconds after which the page stops polling for the worker's look-up
ONLY_REQUESTERS = "Only requesters can request numbers. Your team admin can give you that role."


@require_http_methods(["GET", "HEAD", "POST"])
def paste(request):
    """The form to paste into. The text is stored without API keys; its verdicts have a page of their own."""
    teams = permissions.teams_asked_for_by(request.user)
    if not teams.exists():
        raise PermissionDenied(ONLY_REQUESTERS)
    if request.method != "POST":
        return render(request, "purchasing/paste.html", {"form": PasteForm(teams=teams)})
    form = PasteForm(request.POST, request.FILES, teams=teams)
    if form.is_valid():
        upload = form.cleaned_data["file"]
        where, text = ("file", upload.text) if upload else ("text", form.cleaned_data["text"])
        try:
            pasted = pasting.read(text, default_country=form.cleaned_data["country_code"])
        except pasting.TooLarge as problem:
            form.add_error(where, str(problem))
        else:
            if pasted.candidates:
                return _keep(request, form, teams, text, upload, pasted)
            form.add_error(where, _nothing_found(pasted))
    return render(request, "purchasing/paste.html", {"form": form})


paste.takes_files = True


def _nothing_found(pasted):
    if pasted.not_understood:
        first = pasted.not_understood[0]
        return f"No phone number in this could be read. Line {first.line}: {first.reason}"
    return "There is no phone number in this. Numbers look like +44 20 7946 0018."


def _keep(request, form, teams, text, upload, pasted):
    team = form.cleaned_data.get("team") or teams.order_by("name").first()
    rows = verdicts.rows(request.user, pasted)
    fine = [row.candidate.phone_number for row in rows if row.may_pick]
    kept = Paste.objects.create(
        user=request.user,
        team=team,
        text=pasting.clean(text),
        file_name=upload.name if upload else "",
        country_code=form.cleaned_data["country_code"],
        records=pasting.dump(pasted),
        picked=fine if len(fine) <= MOST_NUMBERS else [],
    )
    jobs.enqueue("look_up", str(kept.pk))
    if pasted.held_secret and upload:
        messages.error(request, SECRET_WORDS)
    return redirect("purchasing:paste-verdicts", pk=kept.pk)


@require_http_methods(["GET", "HEAD", "POST"])
def paste_verdicts(request, pk):
    """The verdicts of a paste, in pages; the ticks of a page are stored before another page is shown."""
    kept, rows = _rows_of(request, pk)
    pages = Paginator(rows, PAGE)
    page = pages.get_page(request.POST.get("page") or request.GET.get("page"))
    if request.method == "POST":
        picked = _remember(request, kept, rows, page)
        go = request.POST.get("go", "")
        if go.isdecimal() and len(go) < 6:
            return redirect(f"{reverse('purchasing:paste-verdicts', args=[pk])}?page={int(go)}")
        if 1 <= len(picked) <= MOST_NUMBERS:
            draft = drafts.of_paste(kept, [row.candidate for row in rows if row.may_pick])
            return redirect(f"{reverse('purchasing:request-new')}?draft={draft.pk}")
        messages.warning(request, too_few_or_many(len(picked)))
    context = {
        "paste": kept,
        "page": page,
        "picked": set(kept.picked),
        "requestable": sum(row.may_pick for row in rows),
        "lines": len(rows),
        "most": MOST_NUMBERS,
        **_progress(kept, rows),
    }
    return render(request, "purchasing/verdicts.html", context)


@require_safe
def paste_live(request, pk):
    """The progress of the look-up, and its results for the rows of a page; 204 if there is nothing new."""
    kept, rows = _rows_of(request, pk)
    context = _progress(kept, rows)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "purchasing/partials/verdicts_live.html",
        context | {"paste": kept, "page": page, "live": True},
    )


@require_POST
def paste_look_up(request, pk):
    """Look the numbers up at IdentityCall again; the ticks of the page are stored."""
    kept, rows = _rows_of(request, pk)
    page = Paginator(rows, PAGE).get_page(request.POST.get("page"))
    _remember(request, kept, rows, page)
    verdicts.look_up_again(kept)
    return redirect(f"{reverse('purchasing:paste-verdicts', args=[pk])}?page={page.number}")


def _rows_of(request, pk):
    """The paste and its rows; lists from more than a minute before the paste are too old."""
    kept = get_object_or_404(Paste.objects.select_related("team", "draft"), pk=pk, user=request.user)
    if not kept.records:
        kept.records = pasting.dump(pasting.read(kept.text, default_country=kept.country_code))
    since = kept.created_at - timedelta(seconds=offers.OFFERS_SERVE)
    pasted = pasting.load(kept.records)
    return kept, verdicts.rows(request.user, pasted, team=kept.team, since=since)


def _progress(kept, rows):
    """The progress of the look-up, and whether the page goes on polling."""
    offered = [row.offered for row in rows if row.may_pick]
    seen = [one.seen_at for one in offered if one.seen_at]
    waits = kept.looked_at is None
    silent = waits and clock.now() - kept.created_at > timedelta(seconds=LOOK_UP_WAIT)
    return {
        "looking": waits,
        "silent": silent,
        "poll": waits and not silent,
        "looked_up": len(seen),
        "of": len(offered),
        "oldest": min(seen, default=None),
        "seen": f"{len(seen)}-{max(seen).timestamp() if seen else 0}-{waits}-{silent}",
    }


def too_few_or_many(ticked):
    """The message for a number of ticks that does not make a request."""
    if ticked == 0:
        return "Tick at least one number."
    return f"A request holds at most {MOST_NUMBERS} numbers; you have ticked {ticked}."


def _remember(request, kept, rows, page):
    """Store the ticks of a page; returns all ticked numbers of the paste."""
    return drafts.tick(
        kept,
        may_pick=[row.candidate.phone_number for row in rows if row.may_pick],
        shown=[row.candidate.phone_number for row in page if row.may_pick],
        ticked=request.POST.getlist("pick"),
    )
