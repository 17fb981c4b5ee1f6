"""What views share: doing something through the layers below and saying what came of it."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied

from purchasing.workflow import NotYours, WorkflowError


def attempted(request, action, *, done):
    """Run `action()`; say `done`, or the sentence of what stood in its way. True when it was done.

    `done` is a text, or a function of the action's result. What the person may not do answers 403.
    """
    try:
        result = action()
    except NotYours as problem:
        raise PermissionDenied(str(problem)) from None
    except WorkflowError as problem:
        messages.warning(request, str(problem))
        return False
    messages.success(request, done(result) if callable(done) else done)
    return True


def submitted(request, where, form, action, *, done):
    """Do what a form asks for, or keep what was typed into it (`where` names it) until its page is drawn again."""
    if form.is_valid() and attempted(request, action, done=done):
        return True
    keep_typed(request, where, form)
    return False


def keep_typed(request, where, form):
    """Keep what was typed into a form that is wrong, until its page (`where` names the form) is drawn again."""
    request.session["typed"] = {
        "where": where,
        "values": {name: request.POST.getlist(name)[:1000] for name in form.fields if name in request.POST},
        "errors": {name: list(errors) for name, errors in form.errors.items()},
    }
    for errors in form.errors.values():
        for error in errors:
            messages.error(request, error)


def typed(request, where):
    """What was typed before into the form `where`, once: `{"values": {name: [text]}, "errors": {name: [text]}}`."""
    kept = request.session.get("typed")
    if kept and kept["where"] == where:
        del request.session["typed"]
        return kept
    return {"values": {}, "errors": {}}


def rebound(request, where, form_class, **options):
    """A form of `form_class`, holding what was typed before into the form `where`, with its errors."""
    kept = typed(request, where)
    data = {name: values[-1] if values else "" for name, values in kept["values"].items()}
    if kept["errors"]:
        return form_class(data, **options)
    return form_class(**options | {"initial": options.get("initial", {}) | data})
