"""After the storm people decide over HTTP what is held, by what its page offers, and what still waits for approval."""

from bench.chaos.cast import ADMIN, APPROVERS
from purchasing.models import Purchase
from purchasing.states import State

TRIES = 3  # decisions that a purchase gets; held again after that, it stays held


class Deciding:
    """Round after round until nothing is left to decide."""

    def __init__(self, campaign):
        self.campaign, self.desk = campaign, campaign.desk
        self.chance = campaign.chance("deciding")
        self.tries, self.left_held = {}, set()
        self.bought = {}

    def round(self):
        """Decide what can be decided now; how many decisions were made."""
        self.bought = {entry["phone_number"]: entry["id"] for entry in self.campaign.provider.ledger()}
        made = 0
        waiting = Purchase.objects.select_related("request__requester")
        for purchase in waiting.filter(state=State.PENDING).order_by("pk"):
            made += self._approve(purchase)
        for purchase in waiting.filter(state=State.HELD).order_by("pk"):
            if self._is_to_be_decided(purchase):
                self.tries[purchase.pk] = self.tries.get(purchase.pk, 0) + 1
                made += self._decide(purchase)
        return made

    def _is_to_be_decided(self, purchase):
        """One in ten is left held, for the record; the others get some tries."""
        if purchase.pk not in self.tries and self.chance.random() < 0.1:
            self.left_held.add(purchase.pk)
        return purchase.pk not in self.left_held and self.tries.get(purchase.pk, 0) < TRIES

    def _approve(self, purchase):
        """What nobody got round to in the storm, by somebody who has not said yes to it yet."""
        said_yes = purchase.approvals.filter(superseded_at=None).values_list("approver__username", flat=True)
        person = self._person(purchase, but=set(said_yes))
        self.campaign.asking.approve(person, f"/requests/{purchase.request_id}/")
        return 1

    def _person(self, purchase, *, but=frozenset()):
        """Somebody who may approve this, other than who asked and than `but`."""
        return next(p for p in APPROVERS if p != purchase.request.requester.username and p not in but)

    def _decide(self, purchase):
        person = ADMIN if purchase.is_in_doubt and self.chance.random() < 0.3 else self._person(purchase)
        window = self.desk.window(person)
        path = f"/purchases/{purchase.pk}/"
        page = window.get(path)
        again, bought = page.form("/try-again/"), page.form("/it-was-bought/")
        give_up, approve = page.form("/give-up/"), page.form("/approve-again/")
        if approve is not None and self.chance.random() < 0.7:
            self._count("approved again")
            self.campaign.note_click(person, [purchase.pk])
            return self._sent(window, approve, reason="Still wanted", unconfirmed_cost_ok="on")
        if again is not None and self.chance.random() < 0.8:
            self._count("it was not bought, try again")
            self.campaign.note_click(person, [purchase.pk])
            return self._sent(window, again, reason="Three clean reads")
        if bought is not None and purchase.phone_number in self.bought:
            self._count("it was bought")
            return self._sent(
                window, bought, provider_id=self.bought[purchase.phone_number], reason="Seen in IdentityCall"
            )
        if give_up is not None:
            self._count("given up")
            return self._sent(window, give_up, reason="Not worth the trouble")
        return 0

    def _sent(self, window, form, **fields):
        window.send(form, **fields)
        return 1

    def _count(self, what):
        self.campaign.count(f"decided: {what}")
