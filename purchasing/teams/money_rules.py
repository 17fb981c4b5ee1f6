"""A team's money rules: its budget, and the sum from which a second approver is needed."""

from django.db import transaction

from purchasing import audit, permissions, words, workflow
from purchasing.models import Team, User
from purchasing.problems import AlreadyMoved, NotYours
from purchasing.states import Role


@transaction.atomic
def set_rules(team, *, actor, monthly_budget, budget_is_hard, second_approver_from, seen=None):
    """Set a team's budget and its limit for a second approver (amounts in CURRENCY, None for no limit).

    `seen` is the `mark` of the rules that the page showed: where they were changed since, nothing is. Returns whether
    anything was.
    """
    if not permissions.may_manage(actor.user, team):
        raise NotYours(f"Only the admin of {team} or a superuser can change its rules.")
    team = workflow.locked_team(team.pk)
    before = in_data(team)
    if seen is not None and seen != mark(team):
        raise AlreadyMoved(
            "Somebody has changed the rules since you opened this page. Now they are: "
            f"{' '.join(money_in_words(team))} Nothing of yours is saved yet."
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
    """Who approves for the team as its member; a superuser may as well."""
    people = User.objects.filter(memberships__team=team, memberships__role=Role.APPROVER, is_active=True)
    return people.distinct().order_by("username")


def lacks_second_approver(team):
    """Whether two approvers are wanted from some sum on, and the team has not that many of its own."""
    return team.second_approver_from is not None and approvers(team).count() < 2


def in_data(team):
    """A team's rules for the record."""
    return {
        "monthly_budget": None if team.monthly_budget is None else words.plain(team.monthly_budget),
        "budget_is_hard": team.budget_is_hard,
        "second_approver_from": None
        if team.second_approver_from is None
        else words.plain(team.second_approver_from),
    }


def mark(team):
    """A team's rules as a page carries them: they are these as long as it is the same text."""
    return "/".join(str(value) for value in in_data(team).values())


def in_words(team):
    """A team's rules as sentences for all its members: who approves, and what about the money."""
    return [_who_approves(team), *money_in_words(team)]


def _who_approves(team):
    names = [str(person) for person in approvers(team)]
    if not names:
        who = "Nobody approves for the team yet, superusers aside: its admin can make somebody an approver."
    else:
        verb = "approves" if len(names) == 1 else "approve"
        who = f"{words.listed(names)} {verb} what others ask for; superusers may as well."
    return f"{who} Nobody approves their own request."


def money_in_words(team):
    """Its limit for a second approver and its budget, as sentences."""
    sentences = []
    if team.second_approver_from is not None:
        sentences.append(
            f"From {words.money(team.second_approver_from)} a month on, counting all that the same person asked for "
            "within 30 days, two approvers have to say yes."
        )
        if lacks_second_approver(team):
            sentences.append("As the team has not two approvers, the other one has to be a superuser.")
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
