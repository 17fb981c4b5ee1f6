"""The request form: a draft that is filled in, saved and sent."""

import uuid

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import formset_factory
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from purchasing import permissions, problems, selectors, words
from purchasing.asking import buying_time, call_recording, drafts, name_patterns, submission
from purchasing.models import Draft, PurchaseRequest
from purchasing.provider import pauses
from purchasing.teams import papers
from purchasing.views.forms.asking import LineForm, RequestForm
from purchasing.views.papers import group_choices, with_choice
from purchasing.views.paste import ONLY_REQUESTERS, too_few_or_many

SENT_BEFORE = (
    "That form was already sent, and this is the request that it created. Nothing was added to it. To request other "
    "numbers, find or paste them again."
)
Lines = formset_factory(
    LineForm, extra=0, max_num=submission.MOST_NUMBERS, absolute_max=submission.MOST_NUMBERS
)


@require_http_methods(["GET", "HEAD", "POST"])
def new(request):
    """The form of a draft. Every button first saves what was typed; 'send' sends the request to the approvers."""
    teams = permissions.teams_asked_for_by(request.user)
    if not teams.exists():
        raise PermissionDenied(ONLY_REQUESTERS)
    named = request.POST.get("draft") or request.GET.get("draft")
    sent = (
        PurchaseRequest.objects.filter(requester=request.user, form_token=_uuid(named)).first()
        if named
        else None
    )
    if sent:  # a second click, a replayed form, or the back button
        messages.warning(request, SENT_BEFORE)
        return redirect("purchasing:request", pk=sent.pk)
    draft = _draft(request, named)
    if draft is None:
        return redirect("purchasing:paste")
    if request.method == "POST":
        try:
            return _post(request, draft, teams)
        except drafts.Gone as gone:
            messages.warning(request, str(gone))
            return redirect("purchasing:requests")
    team = _team(draft, teams)
    initial = {"team": team, "reason": draft.reason, "purpose": draft.purpose, "pattern": draft.pattern}
    return _page(request, draft, teams, RequestForm(teams=teams, initial=initial))


def _draft(request, named):
    """The draft that the request names, else the person's basket; 404 for somebody else's draft."""
    if named:
        return get_object_or_404(Draft.objects.select_related("team"), pk=_uuid(named), user=request.user)
    return drafts.basket(request.user)


def _uuid(text):
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _team(draft, teams):
    """The draft's team if the person may request numbers for it, else the first team they may."""
    return draft.team if draft.team in teams else teams.order_by("name").first()


def _post(request, draft, teams):
    form = RequestForm(request.POST, teams=teams)
    form.is_valid()  # an unknown team is reported beside its field
    team = form.cleaned_data.get("team") or _team(draft, teams)
    lines = Lines(request.POST, prefix="n", form_kwargs={"groups": group_choices(teams)})
    draft = _keep(draft, team, form, lines)
    asked = drafts.lines_of(draft)
    same = [line["phone_number"].value() for line in lines.forms] == [one.phone_number for one in asked]
    do = request.POST.get("do", "keep")
    if not same:  # the numbers changed in another tab, or the form was tampered with
        messages.warning(request, drafts.OTHER_NUMBERS)
    elif do == "send":
        return _send(request, draft, teams, form, lines)
    elif do == "name":
        return _name_all(request, draft, teams, form, lines)
    elif do.startswith("out:"):
        drafts.take_out(draft, do.removeprefix("out:"))
    else:
        messages.success(request, "Saved. You can find it under Requests until it is sent.")
        if do == "leave":
            return redirect("purchasing:requests")
    return redirect(_address(draft))


def _address(draft):
    return f"{reverse('purchasing:request-new')}?draft={draft.pk}"


def _keep(draft, team, form, lines):
    typed = {}
    for line in lines.forms:
        fields = {name: line[name].value() for name in drafts.TYPED}
        typed[line["phone_number"].value()] = {
            name: value for name, value in fields.items() if isinstance(value, str)
        }
    texts = {name: form[name].value() or "" for name in ("reason", "purpose", "pattern")}
    return drafts.keep(draft, team=team, typed=typed, **texts)


def _name_all(request, draft, teams, form, lines):
    wrong = form.errors.get("pattern")
    if wrong is None and not form.cleaned_data["pattern"]:
        form.add_error("pattern", "Type a pattern first, such as Help desk {region} {n}.")
        wrong = True
    if wrong:
        return _page(request, draft, teams, form, lines)
    drafts.name_all(draft)
    messages.success(request, "Names added. You can still change each one.")
    return redirect(_address(draft))


def _send(request, draft, teams, form, lines):
    count = len(draft.lines)
    if not 1 <= count <= submission.MOST_NUMBERS:
        messages.warning(request, too_few_or_many(count))
        return redirect(_address(draft))
    lines_are_fine = lines.is_valid() and _papers_are_fine(form, lines, draft)
    if not (form.is_valid() and lines_are_fine):
        return _page(request, draft, teams, form, lines)
    numbers = {one.phone_number for one in drafts.lines_of(draft)}
    try:
        sent = drafts.send(
            draft,
            actor=request.actor,
            team=form.cleaned_data["team"],
            reason=form.cleaned_data["reason"],
            purpose=form.cleaned_data["purpose"],
            chosen={line.cleaned_data["phone_number"]: line.cleaned_data for line in lines.forms},
        )
    except problems.NotYours as problem:
        raise PermissionDenied(str(problem)) from None
    except drafts.Gone:
        raise
    except (
        problems.AlreadyMoved
    ) as problem:  # everything typed is kept: another tab changed the numbers just now
        messages.warning(request, str(problem))
        return redirect(_address(draft))
    except problems.Problem as problem:
        form.add_error(None, str(problem))
        return _page(request, draft, teams, form, lines)
    if set(sent.purchases.values_list("phone_number", flat=True)) == numbers:
        messages.success(request, "Sent. Nothing is bought until somebody else approves it.")
    else:
        messages.warning(request, SENT_BEFORE)
    return redirect("purchasing:request", pk=sent.pk)


def _papers_are_fine(form, lines, draft):
    """Show beside each number what is wrong with its papers. True when nothing is."""
    team = form.cleaned_data.get("team")
    register = papers.Register(team)
    for line, one in zip(lines.forms, drafts.lines_of(draft), strict=True):
        chosen = line.cleaned_data
        refusal = register.refusal(one.country_code, chosen["number_type"], chosen["requirement_group_id"])
        if refusal:
            line.add_error("requirement_group_id", refusal)
    return team is not None and not any(line.errors for line in lines.forms)


def _page(request, draft, teams, form, lines=None):
    team = form.cleaned_data.get("team") if form.is_bound and hasattr(form, "cleaned_data") else None
    team = team or _team(draft, teams)
    asked = drafts.looked_up(drafts.lines_of(draft), team)
    groups = group_choices(teams)
    if lines is None:
        initial = [{name: getattr(one, name) for name in ("phone_number", *drafts.TYPED)} for one in asked]
        lines = Lines(prefix="n", initial=initial, form_kwargs={"groups": groups})
    register = papers.Register(team)
    rows = []
    for line, one in zip(lines.forms, asked, strict=True):
        chosen = line["requirement_group_id"].value() or ""
        with_choice(line, chosen)
        advice = register.advice(
            one.country_code, line["number_type"].value() or one.number_type, chosen or None
        )
        rows.append((line, one, advice))
    hints = {one.country_code: call_recording.hint(one.country_code) for one in asked if one.country_code}
    key = pauses.current_key(team) if team else None
    unrecorded = sum(one.record_calls == "no" for one in asked)
    context = {
        "draft": draft,
        "form": form,
        "lines": lines,
        "rows": rows,
        "needing_papers": sum(bool(advice) for _, _, advice in rows),
        "figures": selectors.figures(asked),
        "unconfirmed": sum(one.seen_at is None for one in asked),
        "hints": {words.country(code): hint for code, hint in hints.items() if hint},
        "paste": getattr(draft, "paste", None),
        "buying_time": buying_time.in_words(key, asked, unrecorded),
        "buying_time_unrecorded": ""
        if unrecorded == len(asked)
        else buying_time.in_words(key, asked, len(asked)),
    }
    return render(request, "purchasing/request_new.html", context)


@require_safe
def names(request):
    """The names that a pattern gives the numbers of a draft, while it is being typed."""
    draft = get_object_or_404(Draft, pk=_uuid(request.GET.get("draft", "")), user=request.user)
    pattern = request.GET.get("pattern", "")[:100]
    wrong = name_patterns.problem(pattern)
    found = [] if wrong or not pattern.strip() else drafts.names(pattern, drafts.lines_of(draft))
    context = {"draft": draft, "names": found[:5], "more": max(0, len(found) - 5), "wrong": wrong}
    return render(request, "purchasing/partials/names.html", context)


@require_POST
def again(request, pk):
    """Copy what an earlier request did not get into a draft, to be checked before it is sent."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    if not permissions.may_ask(request.user, asked.team):
        raise PermissionDenied(
            f"Only requesters of {asked.team} can request numbers for it. Its team admin can make you one."
        )
    draft, count = drafts.again(asked, request.user)
    if draft is None:
        messages.warning(
            request, "Nothing in it can be requested again: every number was bought or is already requested."
        )
        return redirect("purchasing:request", pk=pk)
    messages.success(
        request,
        f"{words.numbers(count).capitalize()} copied into a new request. Check it, then send it.",
    )
    return redirect(_address(draft))


@require_POST
def discard(request, pk):
    """Discard a draft."""
    get_object_or_404(Draft, pk=pk, user=request.user).delete()
    messages.success(request, "Draft discarded.")
    return redirect("purchasing:requests")
