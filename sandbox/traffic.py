"""The traffic of the sandbox: counters while it runs, and the latest requests one by one."""

import threading
from collections import Counter, deque
from datetime import UTC, datetime

KEPT = 10_000


class Traffic:
    """Records every API request on arrival, before anything can go wrong with it."""

    def __init__(self):
        self._lock = threading.Lock()
        self.reset()

    def reset(self):
        with self._lock:
            self._total = 0
            self._latest = deque(maxlen=KEPT)
            self._by_endpoint = {}
            self._purchase_posts = Counter()

    def note(self, *, method, endpoint, key, phone_number):
        """Return a new row for this request; the handler fills in `outcome` and `fault`."""
        row = {
            "number": 0,
            "time": datetime.now(UTC).isoformat(),
            "method": method,
            "endpoint": endpoint,
            "key": key,
            "phone_number": phone_number,
            "outcome": None,
            "fault": None,
        }
        with self._lock:
            self._total += 1
            row["number"] = self._total
            self._latest.append(row)
            self._by_endpoint.setdefault(endpoint, Counter())[key] += 1
            if endpoint == "purchase":
                self._purchase_posts[phone_number or ""] += 1
        return row

    def counters(self):
        """Requests by endpoint and key, and purchase POSTs by phone number, successful or not."""
        with self._lock:
            return {
                "total": self._total,
                "requests": {endpoint: dict(keys) for endpoint, keys in self._by_endpoint.items()},
                "purchase_posts": dict(self._purchase_posts),
            }

    def latest(self, after=0):
        """The rows numbered above `after`, oldest first; a request without an outcome is still open."""
        with self._lock:
            return [dict(row) for row in self._latest if row["number"] > after]
