"""Post, redirect, get: a form does something and says so, or comes back with what was typed and what is wrong.

The page that is drawn again is one that can be loaded again. `tried` and `drawn` serve forms with lists of choices, and
problems of the form as a whole; `submitted` and `rebound` serve plain ones.
"""

from django import forms
from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import QueryDict

from purchasing import words
from purchasing.models import AuditEvent
from purchasing.problems import NotYours, Problem, WrongField
from purchasing.teams import budgets


def attempted(request, action, *, done):
    """Run `action()`; say `done`, or the sentence of what stood in its way. True when it was done.

    `done` is a text, or a function of the action's result. What the person may not do answers 403.
    """
    try:
        result = action()
    except NotYours as problem:
        raise PermissionDenied(str(problem)) from None
    except Problem as problem:
        messages.warning(request, str(problem))
        return False
    messages.success(request, done(result) if callable(done) else done)
    return True


def beyond_budget(request, purchases):
    """Say by how much, where what this click has just approved goes beyond a budget that only warns."""
    told = AuditEvent.objects.filter(purchase__in=purchases, click=request.actor.click)
    event = told.filter(data__over_budget=True).select_related("team").order_by("seq").first()
    if event is None:
        return
    team, left = event.team, budgets.of(event.team).left
    by = f": it is {words.remaining(left)}" if left is not None and left < 0 else ""
    messages.warning(request, f"This goes beyond the budget of {team}{by}. That is recorded.")


def submitted(request, where, form, action, *, done):
    """Do what a form asks for, or keep what was typed into it (`where` names it) until its page is drawn again."""
    if form.is_valid() and attempted(request, action, done=done):
        return True
    keep_typed(request, where, form)
    return False


def keep_typed(request, where, form):
    """Keep what was typed into a form that is wrong, until its page (`where` names the form) is drawn again.

    What is secret is not kept: it is typed anew.
    """
    keep(request, where, form)
    for name, errors in form.errors.items():
        for error in errors:
            messages.error(request, f"{_label(form, name)}{error}")


def keep(request, where, form, problem=""):
    """The same without a word: its page says what is wrong in the form itself, and `problem` above it."""
    kept = [name for name, field in form.fields.items() if not isinstance(field.widget, forms.PasswordInput)]
    request.session["typed"] = {
        "where": where,
        "values": {name: request.POST.getlist(name)[:1000] for name in kept if name in request.POST},
        "errors": {name: list(errors) for name, errors in form.errors.items()},
        "problem": problem,
    }


def _label(form, name):
    if name not in form.fields or form[name].is_hidden:
        return ""
    return f"{form[name].label}: "


def typed(request, where):
    """What was typed before into the form `where`, once.

    `{"values": {name: [text]}, "errors": {name: [text]}, "problem": text}`
    """
    kept = request.session.get("typed")
    if kept and kept["where"] == where:
        del request.session["typed"]
        return {"problem": "", **kept}
    return {"values": {}, "errors": {}, "problem": ""}


def rebound(request, where, form_class, **options):
    """A form of `form_class`, holding what was typed before into the form `where`, with its errors."""
    kept = typed(request, where)
    data = {name: values[-1] if values else "" for name, values in kept["values"].items()}
    if kept["errors"]:
        return form_class(data, **options)
    return form_class(**options | {"initial": options.get("initial", {}) | data})


def tried(request, where, form, action, *, done):
    """Do what a form asks for and say so; returns what came of it, or None when the form has to come back.

    `done` is a text, or a function of the action's result; '' says nothing.
    """
    if form.is_valid():
        try:
            result = action()
        except NotYours as problem:
            raise PermissionDenied(str(problem)) from None
        except WrongField as problem:
            form.add_error(problem.field, str(problem))
        except Problem as problem:
            form.add_error(None, str(problem))
        else:
            text = done(result) if callable(done) else done
            if text:
                messages.success(request, text)
            return True if result is None else result
    keep_typed(request, where, form)
    return None


def drawn(request, where, form_class, *, fresh=None, **options):
    """A form of `form_class`, once with what was typed into the form `where` and what was wrong with it.

    `fresh` are values that are not what was typed, but what the page shows now.
    """
    kept = typed(request, where)
    if not kept["errors"]:
        options["initial"] = {**options.get("initial", {}), **(fresh or {})}
        return form_class(**options)
    data = QueryDict(mutable=True)
    for name, values in kept["values"].items():
        data.setlist(name, values)
    for name, value in (fresh or {}).items():
        data[name] = value
    form = form_class(data, **options)
    form.errors.clear()
    for name, texts in kept["errors"].items():
        if name == NON_FIELD_ERRORS or name in form.fields:
            form.add_error(None if name == NON_FIELD_ERRORS else name, texts)
    return form
