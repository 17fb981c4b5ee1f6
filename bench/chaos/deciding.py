"""People decide held purchases over HTTP with the buttons of the page, and in the calm those still pending."""

import time

from bench.chaos.cast import ADMIN, APPROVERS
from purchasing.models import Purchase
from purchasing.states import State

TRIES = 3  # decisions per purchase; if held again after that, it stays held
LOOK_AGAIN = 4  # seconds until somebody reopens the page of a held purchase during the storm


class Deciding:
    """During the storm only choices that a page offers as safe; in the calm all but one in ten, left for the record."""

    def __init__(self, campaign):
        self.campaign, self.desk = campaign, campaign.desk
        self.chance = campaign.chance("deciding")
        self.tries, self.left_held = {}, set()
        self.bought = {}

    def run(self):
        """During the storm: another try where the page offers it, and purchases that are not in doubt."""
        looked_at = {}
        while not self.campaign.storm_over.wait(0.3):
            for purchase in self._held():
                if time.monotonic() - looked_at.get(purchase.pk, 0) > LOOK_AGAIN:
                    looked_at[purchase.pk] = time.monotonic()
                    self._decide(purchase, calm=False)

    def round(self):
        """In the calm: make the decisions that are possible now; returns how many were made."""
        self.bought = {entry["phone_number"]: entry["id"] for entry in self.campaign.provider.ledger()}
        pending = Purchase.objects.select_related("request__requester").filter(state=State.PENDING)
        made = sum(self._approve(purchase) for purchase in pending.order_by("pk"))
        return made + sum(self._decide(purchase, calm=True) for purchase in self._held())

    def _held(self):
        """The purchases to decide now, those with only one right moment first."""
        held = Purchase.objects.select_related("request__requester").filter(state=State.HELD).order_by("pk")
        found = [purchase for purchase in held if self._is_to_be_decided(purchase)]
        return sorted(found, key=lambda purchase: purchase.phone_number not in self.campaign.late.numbers)

    def _is_to_be_decided(self, purchase):
        if purchase.pk not in self.tries:
            self.tries[purchase.pk] = 0
            if self.chance.random() < 0.1 and purchase.phone_number not in self.campaign.late.numbers:
                self.left_held.add(purchase.pk)
        if purchase.pk in self.left_held or self.tries[purchase.pk] >= TRIES:
            return False
        return not self.campaign.late.is_too_early(purchase.phone_number)

    def _approve(self, purchase):
        """Approve purchases left from the storm, by somebody who has not approved them yet."""
        said_yes = purchase.approvals.filter(superseded_at=None).values_list("approver__username", flat=True)
        person = self._person(purchase, but=set(said_yes))
        self.campaign.asking.approve(person, f"/requests/{purchase.request_id}/")
        return 1

    def _person(self, purchase, *, but=frozenset()):
        """A person who may approve this, other than the requester and `but`."""
        return next(p for p in APPROVERS if p != purchase.request.requester.username and p not in but)

    def _decide(self, purchase, *, calm):
        """Open the page and press one of its buttons; 1 if one was pressed."""
        person = (
            ADMIN if calm and purchase.is_in_doubt and self.chance.random() < 0.3 else self._person(purchase)
        )
        window = self.desk.window(person)
        page = window.get(f"/purchases/{purchase.pk}/")
        form, words, fields = self._choice(page, purchase, calm)
        if form is None:
            return 0
        self.tries[purchase.pk] += 1
        self.campaign.count(f"decided: {words}")
        self.campaign.note_click(person, [purchase.pk])
        window.send(form, **fields)
        return 1

    def _choice(self, page, purchase, calm):
        """The form of the page to send, in words, and its values."""
        again, bought = page.form("/try-again/"), page.form("/it-was-bought/")
        give_up, approve = page.form("/give-up/"), page.form("/approve-again/")
        at_any_price = {f"unconfirmed-{purchase.pk}": "on"}
        if approve is not None and self.chance.random() < 0.7:
            return approve, "approved again", {"reason": "Still wanted"} | at_any_price
        if again is not None and (not calm or self.chance.random() < 0.8):
            self.campaign.late.before_second_try(purchase.phone_number)
            return again, "it was not bought, try again", {"reason": "Three clean reads"} | at_any_price
        if not calm:
            return None, "", {}
        if bought is not None and purchase.phone_number in self.bought:
            provider_id = str(self.bought[purchase.phone_number])
            return bought, "it was bought", {"provider_id": provider_id, "reason": "Seen in IdentityCall"}
        return give_up, "given up", {"reason": "Not worth the trouble"}
