"""Paste numbers: text in, a verdict a row out, pick some, go on to the request form."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from purchasing import candidates, rules, selectors
from purchasing.forms import PasteForm
from purchasing.models import Paste, VirtualNumber
from purchasing.workflow import MOST_NUMBERS

PAGE = 100  # rows; each row is a field of the form


@require_http_methods(["GET", "HEAD", "POST"])
def paste(request):
    """The box to paste into. What was pasted is kept on the server without secrets; its verdicts have a page."""
    if not rules.teams_asked_for_by(request.user).exists():
        raise PermissionDenied("Only requesters ask for numbers. Your team admin can make you one.")
    form = PasteForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        text, country_code = form.cleaned_data["text"], form.cleaned_data["country_code"]
        try:
            read = candidates.read(text, default_country=country_code)
        except candidates.TooLarge as problem:
            form.add_error("text", str(problem))
        else:
            if read.candidates:
                return _keep(request, text, country_code, read)
            form.add_error("text", _nothing_found(read))
    return render(request, "purchasing/paste.html", {"form": form})


def _nothing_found(read):
    if read.not_understood:
        first = read.not_understood[0]
        return f"There is no phone number in this that can be read. Line {first.line}: {first.reason}"
    return "There is no phone number in this. Numbers look like +44 20 7946 0018."


def _keep(request, text, country_code, read):
    picked = []
    kept = Paste.objects.create(
        user=request.user, text=candidates.clean(text), country_code=country_code, picked=picked
    )
    rows = _rows(request.user, read)
    fine = [row.candidate.phone_number for row in rows if row.may_pick]
    kept.picked = fine if len(fine) <= MOST_NUMBERS else []
    kept.save(update_fields=["picked"])
    return redirect("purchasing:paste-verdicts", pk=kept.pk)


@dataclass(frozen=True)
class Row:
    """One line of the verdicts: a candidate or a line that is none, with what is to be said of it."""

    line: int
    written: str
    tone: str
    verdict: str
    details: tuple[str, ...] = ()
    candidate: candidates.Candidate | None = None
    may_pick: bool = False
    link: str = ""


def _rows(user, read):
    numbers = [candidate.phone_number for candidate in read.candidates]
    records, owned = {}, {}
    for start in range(0, len(numbers), 500):
        part = numbers[start : start + 500]
        records.update(selectors.records_of(part))
        for row in (
            VirtualNumber.objects.filter(phone_number__in=part, gone_at=None)
            .select_related("key")
            .defer("key__secret")
        ):
            owned.setdefault(row.phone_number, set()).add(row.key.team_id)
    seen = set(rules.teams_seen_by(user).values_list("pk", flat=True))
    rows = [
        _verdict(candidate, records.get(candidate.phone_number), owned.get(candidate.phone_number), seen)
        for candidate in read.candidates
    ]
    rows += [
        Row(r.line, r.written, "still", "Stands twice", (f"It is in line {r.first_line} already.",))
        for r in read.repeats
    ]
    rows += [Row(n.line, n.written, "bad", "Not understood", (n.reason,)) for n in read.not_understood]
    rows += [Row(s.line, s.written, "still", "Left out", (s.reason,)) for s in read.skipped]
    return sorted(rows, key=lambda row: row.line)


def _verdict(candidate, record, owners, seen):
    row = {"line": candidate.line, "written": candidate.written, "candidate": candidate}
    if record and record.request.team_id in seen:
        when = record.request.created_at
        if record.provider_id:
            verdict = f"Ours already, bought for {record.request.team}"
        else:
            verdict = f"Asked for already by {record.request.requester} on {when:%d %b %Y}"
        return Row(
            tone="bad", verdict=verdict, link=reverse("purchasing:request", args=[record.request_id]), **row
        )
    if record:
        words = "Another team has it" if record.provider_id else "Another team has asked for it"
        return Row(tone="bad", verdict=words, **row)
    if owners:
        words = "Already in your IdentityCall account" if owners & seen else "Another team has it"
        return Row(tone="bad", verdict=words, **row)
    tone = "warn" if candidate.warnings else "ok"
    return Row(tone=tone, verdict="Can be asked for", details=candidate.warnings, may_pick=True, **row)


@require_http_methods(["GET", "HEAD", "POST"])
def verdicts(request, pk):
    """A row for everything that was pasted; the picks of each page are kept before the next one is shown."""
    kept = get_object_or_404(Paste, pk=pk, user=request.user)
    read = candidates.read(kept.text, default_country=kept.country_code)
    rows = _rows(request.user, read)
    pages = Paginator(rows, PAGE)
    page = pages.get_page(request.POST.get("page") or request.GET.get("page"))
    if request.method == "POST":
        picked = _remember(request, kept, rows, page)
        go = request.POST.get("go", "")
        if go.isdecimal() and len(go) < 6:
            return redirect(f"{reverse('purchasing:paste-verdicts', args=[pk])}?page={int(go)}")
        if 1 <= len(picked) <= MOST_NUMBERS:
            return redirect(f"{reverse('purchasing:request-new')}?paste={pk}")
        messages.warning(request, too_few_or_many(len(picked)))
    context = {
        "paste": kept,
        "page": page,
        "picked": set(kept.picked),
        "can_be_asked_for": sum(row.may_pick for row in rows),
        "lines": len(rows),
        "most": MOST_NUMBERS,
    }
    return render(request, "purchasing/verdicts.html", context)


def too_few_or_many(ticked):
    """What to say when a request cannot hold as many numbers as were ticked."""
    if ticked == 0:
        return "Tick at least one number."
    return f"A request holds at most {MOST_NUMBERS} numbers; you have ticked {ticked}."


def _remember(request, kept, rows, page):
    may = {row.candidate.phone_number for row in rows if row.may_pick}
    here = {row.candidate.phone_number for row in page if row.may_pick}
    now = set(kept.picked) & may - here | set(request.POST.getlist("pick")) & here
    kept.picked = [
        row.candidate.phone_number for row in rows if row.may_pick and row.candidate.phone_number in now
    ]
    kept.save(update_fields=["picked"])
    return kept.picked
