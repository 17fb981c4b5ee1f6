"""A team's money rules: its budget, and the sum from which two approvals are needed."""

from django.db import transaction

from purchasing import audit, permissions, words, workflow
from purchasing.models import Team, User
from purchasing.problems import AlreadyMoved, NotYours
from purchasing.states import Role


@transaction.atomic
def set_rules(team, *, actor, monthly_budget, budget_is_hard, second_approver_from, seen=None):
    """Set a team's budget and its limit for a second approver (amounts in CURRENCY, None for no limit).

    `seen` is the `mark` of the rules that the page showed; raises `AlreadyMoved` where they were changed since. Returns
    whether anything changed.
    """
    if not permissions.may_manage(actor.user, team):
        raise NotYours(f"Only the admin of {team} or a superuser can change its rules.")
    team = workflow.locked_team(team.pk)
    before = in_data(team)
    if seen is not None and seen != mark(team):
        raise AlreadyMoved(
            "Somebody has changed the rules since you opened this page. The rules are now: "
            f"{' '.join(money_in_words(team))} Your changes are not saved yet."
        )
    Team.objects.filter(pk=team.pk).update(
        monthly_budget=monthly_budget,
        budget_is_hard=budget_is_hard,
        second_approver_from=second_approver_from,
    )
    team.refresh_from_db()
    if in_data(team) == before:
        return False
    audit.record(
        "team.rules_changed",
        actor=actor,
        team=team,
        note=" ".join(in_words(team)),
        before=before,
        after=in_data(team),
    )
    return True


def approvers(team):
    """The members who approve for the team; superusers may as well."""
    people = User.objects.filter(memberships__team=team, memberships__role=Role.APPROVER, is_active=True)
    return people.distinct().order_by("username")


def lacks_second_approver(team):
    """Whether the team's rules ask for two approvers and it has fewer among its members."""
    return team.second_approver_from is not None and approvers(team).count() < 2


def in_data(team):
    """A team's rules as the audit record keeps them."""
    return {
        "monthly_budget": None if team.monthly_budget is None else words.plain(team.monthly_budget),
        "budget_is_hard": team.budget_is_hard,
        "second_approver_from": None
        if team.second_approver_from is None
        else words.plain(team.second_approver_from),
    }


def mark(team):
    """A text that changes when the team's rules do, for pages to carry."""
    return "/".join(str(value) for value in in_data(team).values())


def in_words(team):
    """A team's rules in sentences for its members: who approves, and the limits."""
    return [_who_approves(team), *money_in_words(team)]


def _who_approves(team):
    names = [str(person) for person in approvers(team)]
    if not names:
        who = "Only superusers can approve for the team so far: its admin can make somebody an approver."
    else:
        verb = "approves" if len(names) == 1 else "approve"
        who = f"{words.listed(names)} {verb} what others ask for; superusers may as well."
    return f"{who} Nobody approves their own request."


def money_in_words(team):
    """The team's limit for a second approver and its budget, in sentences."""
    sentences = []
    if team.second_approver_from is not None:
        sentences.append(
            f"From {words.money(team.second_approver_from)} a month, counting everything that the same person "
            "requested within 30 days, two people have to approve."
        )
        if lacks_second_approver(team):
            sentences.append("The team has fewer than two approvers, so a superuser has to approve too.")
    if team.monthly_budget is None:
        sentences.append("The team has no budget.")
    elif team.budget_is_hard:
        sentences.append(
            f"The budget is {words.money(team.monthly_budget)} a month; nothing is approved beyond it."
        )
    else:
        sentences.append(
            f"The budget is {words.money(team.monthly_budget)} a month; what goes beyond it is approved with a warning."
        )
    return sentences
