"""A provider on a real socket that sells what is requested: for tests with threads, where `responses` is no help."""

import json
import threading
from contextlib import contextmanager

from tests import wire
from tests.healthy_provider import offer, owned


class Seller:
    """Sells every number, once each. `ledger` is what was sold, in order, as (phone_number, last four of the key)."""

    def __init__(self):
        self.ledger = []
        self.posts = []
        self.answer = (
            None  # a function of the peer, instead of the answer to a purchase (which is carried out)
        )
        self.refuse = None  # the same, instead of carrying it out
        self._lock = threading.Lock()

    def __call__(self, peer):
        request = peer.request
        if request.method == "POST":
            return self._sell(peer, json.loads(request.body)["phone_number"])
        if "/available" in request.target:
            return self._show(peer, [offer(f"+121255501{n:02d}") for n in range(100)])
        with self._lock:
            return self._show(
                peer, [owned(number, 500 + place) for place, (number, _) in enumerate(self.ledger)]
            )

    def _sell(self, peer, number):
        with self._lock:
            self.posts.append(number)
            if self.refuse is None:
                self.ledger.append((number, peer.request.headers["authorization"][-4:]))
            place = len(self.ledger) - 1
        if self.refuse or self.answer:
            return (self.refuse or self.answer)(peer)
        return peer.answer(201, json.dumps({"data": owned(number, 500 + place)}).encode())

    @staticmethod
    def _show(peer, entries):
        peer.answer(200, json.dumps({"data": entries}).encode())


@contextmanager
def selling(settings):
    """A `Seller` that the product's settings point to."""
    seller = Seller()
    with wire.serving(seller) as server:
        settings.IDENTITYCALL_API_URL = server.url
        yield seller
