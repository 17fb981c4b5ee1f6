"""Changing the undecided numbers of a request, which makes a new version of it."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import formset_factory
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from purchasing import selectors, words, workflow
from purchasing.asking import submission, versions
from purchasing.states import State
from purchasing.views.forms.asking import EditForm, EditLineForm
from purchasing.views.papers import group_choices, with_choice
from purchasing.views.post_redirect_get import attempt

Lines = formset_factory(
    EditLineForm, extra=0, max_num=submission.MOST_NUMBERS, absolute_max=submission.MOST_NUMBERS
)
TEXTS = ("reason", "purpose")  # the editable fields of the request itself


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request, pk):
    """Change or take out pending numbers of one's own request. Numbers cannot be added."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    if asked.requester_id != request.user.pk:
        raise PermissionDenied(f"Only the requester, {asked.requester}, can change this request.")
    pending, news = _pending(asked), None
    groups = {"groups": group_choices([asked.team])}
    if request.method == "POST":
        form, lines = EditForm(request.POST), Lines(request.POST, prefix="n", form_kwargs=groups)
        if pending and not _is_old(asked, pending, form, lines) and form.is_valid() and lines.is_valid():
            if _save(request, asked, pending, form, lines):
                return redirect("purchasing:request", pk=pk)
            asked.refresh_from_db()
            pending = _pending(asked)
        if pending and _is_old(asked, pending, form, lines):
            news = _news(asked, pending, form, lines)
            form, lines = _brought_up_to_date(asked, pending, form, lines, groups)
    else:
        form = EditForm(initial={name: getattr(asked, name) for name in (*TEXTS, "version")})
        lines = _lines([_shown(workflow.terms(purchase)) for purchase in pending], groups)
    if not pending:
        messages.warning(request, "Everything in this request has been decided, so nothing can be changed.")
        return redirect("purchasing:request", pk=pk)
    for line in lines.forms:
        with_choice(line, line["requirement_group_id"].value())
    rows = list(zip(lines.forms, pending, strict=True))
    context = {"asked": asked, "form": form, "lines": lines, "rows": rows, "news": news}
    return render(request, "purchasing/request_edit.html", context)


def _pending(asked):
    return list(asked.purchases.filter(state=State.PENDING).order_by("pk"))


def _lines(initial, groups):
    return Lines(prefix="n", initial=initial, form_kwargs=groups)


def _shown(line):
    """The form values of one number, from `workflow.terms` or from a line of an older version."""
    return {
        "phone_number": line["phone_number"],
        "name": line["name"],
        "number_type": line["number_type"],
        "requirement_group_id": str(line["requirement_group_id"] or ""),
        "record_calls": "yes" if line["record_calls"] else "no",
    }


def _is_old(asked, pending, form, lines):
    """Whether the form that was sent showed another version or other numbers than the current ones."""
    numbers = [line["phone_number"].value() for line in lines.forms]
    return form["version"].value() != str(asked.version) or numbers != [one.phone_number for one in pending]


def _version_of(form):
    text = form["version"].value() or ""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _news(asked, pending, form, lines):
    """What has changed since the form was drawn, one sentence each."""
    version = _version_of(form)
    changes = versions.changes_since(asked, version) if version else []
    here = {purchase.phone_number for purchase in pending}
    missing = {line["phone_number"].value() for line in lines.forms} - here
    changes += [
        f"{words.phone(purchase.phone_number)} is now: {State(purchase.state).label}."
        for purchase in asked.purchases.filter(phone_number__in=missing).order_by("pk")
    ]
    return list(dict.fromkeys(changes))


def _brought_up_to_date(asked, pending, form, lines, groups):
    """Forms for the current request that keep everything that was typed into the old ones."""
    before = versions.before(asked, _version_of(form))
    old_lines = {line["phone_number"]: _shown(line) for line in before.lines} if before else {}
    typed = {line["phone_number"].value(): line for line in lines.forms}
    initial = []
    for purchase in pending:
        now = _shown(workflow.terms(purchase))
        line, old = typed.get(purchase.phone_number), old_lines.get(purchase.phone_number, now)
        if line:
            sent = {name: line[name].value() for name in line.fields}
            now |= {name: value for name, value in sent.items() if _text(value) != _text(old.get(name))}
        initial.append(now)
    now = {"version": asked.version}
    for name in TEXTS:
        text, old = form[name].value(), getattr(before or asked, name)
        now[name] = text if _text(text) != _text(old) else getattr(asked, name)
    return EditForm(initial=now), _lines(initial, groups)


def _text(value):
    """A form value to compare; browsers may send other line ends."""
    return "\n".join(str(value or "").splitlines())


def _save(request, asked, pending, form, lines):
    chosen = [(purchase.pk, line.cleaned_data) for purchase, line in zip(pending, lines.forms, strict=True)]
    wanted = {
        pk: versions.Change(
            name=line["name"],
            number_type=line["number_type"],
            requirement_group_id=line["requirement_group_id"],
            record_calls=line["record_calls"] == "yes",
        )
        for pk, line in chosen
        if not line["take_out"]
    }
    return attempt(
        request,
        lambda: versions.edit(
            asked.pk,
            actor=request.actor,
            version=form.cleaned_data["version"],
            reason=form.cleaned_data["reason"],
            purpose=form.cleaned_data["purpose"],
            changes=wanted,
            taken_out={pk for pk, line in chosen if line["take_out"]},
        ),
        done="Changed. Approvers see the new version; approvals of the old one no longer count.",
    )
