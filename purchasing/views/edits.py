"""Changing a request that nobody has decided yet: a new version of it."""

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.forms import formset_factory
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from purchasing import selectors, versions, workflow
from purchasing.forms import EditForm, EditLineForm
from purchasing.states import State
from purchasing.views.doing import attempted
from purchasing.views.papers import group_choices, with_choice

Lines = formset_factory(
    EditLineForm, extra=0, max_num=workflow.MOST_NUMBERS, absolute_max=workflow.MOST_NUMBERS
)


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request, pk):
    """The pending numbers of one's own request, to change or take out; numbers are not added here."""
    asked = get_object_or_404(selectors.requests_seen_by(request.user), pk=pk)
    if asked.requester_id != request.user.pk:
        raise PermissionDenied(f"Only {asked.requester}, who asked, can change this request.")
    pending = list(asked.purchases.filter(state=State.PENDING).order_by("pk"))
    if not pending:
        messages.warning(
            request, "Everything in this request has been decided; nothing can be changed any more."
        )
        return redirect("purchasing:request", pk=pk)
    groups = {"groups": group_choices([asked.team])}
    if request.method == "POST":
        form, lines = EditForm(request.POST), Lines(request.POST, prefix="n", form_kwargs=groups)
        if [line["phone_number"].value() for line in lines.forms] != [one.phone_number for one in pending]:
            messages.warning(request, "The request has changed since you opened this page. Here it is now.")
            return redirect("purchasing:request-edit", pk=pk)
        if form.is_valid() and lines.is_valid() and _save(request, asked, pending, form, lines):
            return redirect("purchasing:request", pk=pk)
    else:
        form = EditForm(initial={"reason": asked.reason, "purpose": asked.purpose, "version": asked.version})
        lines = Lines(prefix="n", initial=[_initial(purchase) for purchase in pending], form_kwargs=groups)
    for line in lines.forms:
        with_choice(line, line["requirement_group_id"].value())
    rows = list(zip(lines.forms, pending, strict=True))
    return render(
        request, "purchasing/request_edit.html", {"asked": asked, "form": form, "lines": lines, "rows": rows}
    )


def _initial(purchase):
    return {
        "phone_number": purchase.phone_number,
        "name": purchase.name,
        "number_type": purchase.number_type,
        "requirement_group_id": str(purchase.requirement_group_id or ""),
        "record_calls": "yes" if purchase.record_calls else "no",
    }


def _save(request, asked, pending, form, lines):
    chosen = [(purchase.pk, line.cleaned_data) for purchase, line in zip(pending, lines.forms, strict=True)]
    changes = {
        pk: versions.Change(
            name=line["name"],
            number_type=line["number_type"],
            requirement_group_id=line["requirement_group_id"],
            record_calls=line["record_calls"] == "yes",
        )
        for pk, line in chosen
        if not line["take_out"]
    }
    return attempted(
        request,
        lambda: versions.edit(
            asked.pk,
            actor=request.actor,
            version=form.cleaned_data["version"],
            reason=form.cleaned_data["reason"],
            purpose=form.cleaned_data["purpose"],
            changes=changes,
            taken_out={pk for pk, line in chosen if line["take_out"]},
        ),
        done="Changed. The approvers see the new version; a yes to the old one no longer counts.",
    )
