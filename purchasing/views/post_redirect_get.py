"""Post, redirect, get: a POST does what its form asks for and redirects; the next page shows the outcome.

`submit` keeps a form that failed in the session, with what was typed and what is wrong, until `redraw` shows it again.
So a reload never submits anything twice.
"""

from django import forms
from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import QueryDict

from purchasing import words
from purchasing.models import AuditEvent
from purchasing.problems import NotYours, Problem, WrongField
from purchasing.teams import budgets


def attempt(request, action, *, done):
    """Run `action()` and show `done`, or the reason why it could not be done. True when it was done.

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


def submit(request, where, form, action, *, done):
    """Do what a form asks for and show `done`; returns the action's result (True for None), or None when it failed.

    On failure the form `where` is kept for `redraw`. `done` is a text, or a function of the action's result; '' shows
    nothing.
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
    send_back(request, where, form)
    return None


def redraw(request, where, form_class, *, fresh=None, **options):
    """A form of `form_class`; after a failure, once with what was typed into the form `where` and its errors.

    `fresh` are values that always come from the page as it is now, never from what was typed.
    """
    kept = take_typed(request, where)
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


def send_back(request, where, form):
    """Keep what was typed into a form that is wrong, and show its errors above the page."""
    keep_typed(request, where, form)
    for name, errors in form.errors.items():
        show = messages.warning if name == NON_FIELD_ERRORS else messages.error
        for error in errors:
            show(request, f"{_label(form, name)}{error}")


def keep_typed(request, where, form, problem=""):
    """Keep what was typed into the form `where`, with its errors, for `take_typed`.

    Passwords and keys are not kept: they have to be typed again. `problem` is a sentence about the form as a whole.
    """
    kept = [name for name, field in form.fields.items() if not isinstance(field.widget, forms.PasswordInput)]
    request.session["typed"] = {
        "where": where,
        "values": {name: request.POST.getlist(name)[:1000] for name in kept if name in request.POST},
        "errors": {name: list(errors) for name, errors in form.errors.items()},
        "problem": problem,
    }


def take_typed(request, where):
    """What was kept of the form `where`; it is handed out once.

    `{"values": {name: [text]}, "errors": {name: [text]}, "problem": text}`
    """
    kept = request.session.get("typed")
    if kept and kept["where"] == where:
        del request.session["typed"]
        return {"problem": "", **kept}
    return {"values": {}, "errors": {}, "problem": ""}


def _label(form, name):
    if name not in form.fields or form[name].is_hidden:
        return ""
    return f"{form[name].label}: "


def warn_if_over_budget(request, purchases):
    """Show by how much the approvals of this click exceed a budget that only warns."""
    of_click = AuditEvent.objects.filter(purchase__in=purchases, click=request.actor.click)
    event = of_click.filter(data__over_budget=True).select_related("team").order_by("seq").first()
    if event is None:
        return
    team, left = event.team, budgets.of(event.team).left
    by = f": it is {words.remaining(left)}" if left is not None and left < 0 else ""
    messages.warning(request, f"This goes beyond the budget of {team}{by}. That is recorded.")
