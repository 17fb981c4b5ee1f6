"""Forms that come back with what was typed and every sentence at its field, on a page that can be loaded again.

Like `doing.submitted` and `rebound`, for forms with lists of choices, and for problems of the form as a whole.
"""

from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied
from django.http import QueryDict

from purchasing.problems import NotYours, Problem, WrongField
from purchasing.views.doing import keep_typed, typed


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
