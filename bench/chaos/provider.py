"""The sandbox provider's control endpoint, as the campaign uses it. Safe from any thread."""

import threading

import requests


class Provider:
    """Sets faults, adds keys, and reports what was really bought."""

    def __init__(self, url):
        self.url = f"{url}/_control"
        self._local = threading.local()
        self.purchase_calls = {}  # by the number of the request; see `collect`
        self._collected = 0

    def _ask(self, method, path, **options):
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        for last in (False, False, True):  # a `refuse` fault drops idle connections, and listens again soon
            try:
                answer = self._local.session.request(method, f"{self.url}/{path}", timeout=20, **options)
                break
            except requests.ConnectionError:
                if last:
                    raise
                threading.Event().wait(1.5)
        answer.raise_for_status()
        return answer.json()["data"]

    def ledger(self):
        return self._ask("GET", "ledger")

    def owned(self):
        return self._ask("GET", "owned")

    def counters(self):
        return self._ask("GET", "counters")

    def kinds(self):
        return self._ask("GET", "kinds")

    def set_fault(self, **fault):
        """Set a fault; returns its id."""
        return self._ask("POST", "faults", json=fault)["id"]

    def clear_fault(self, fault_id):
        self._ask("DELETE", f"faults/{fault_id}")

    def clear_faults(self):
        self._ask("DELETE", "faults")

    def add_key(self, name, secret, project_id):
        self._ask("POST", "keys", json={"name": name, "secret": secret, "project_id": project_id})

    def set_rate_limit(self, per_minute):
        self._ask("POST", "settings", json={"rate_limit": per_minute})

    def revoke_key(self, name):
        self._ask("DELETE", f"keys/{name}")

    def set_costs(self, phone_number, upfront, monthly):
        self._ask(
            "POST",
            "costs",
            json={"phone_number": phone_number, "upfront_cost": upfront, "monthly_cost": monthly},
        )

    def requests(self, after=0):
        """The latest API requests, one by one; an outcome of None is still open."""
        return self._ask("GET", "requests", params={"after": after})

    def last_request(self):
        return self.counters()["total"]

    def collect(self):
        """Keep the new purchase calls; the sandbox forgets old ones."""
        for row in self.requests(self._collected):
            self._collected = row["number"]
            if row["endpoint"] == "purchase":
                self.purchase_calls[row["number"]] = row

    def call_for(self, phone_number, *, since):
        """The latest purchase call for a number that came at `since` (ISO 8601) or later, or None."""
        earlier = (number for number, row in list(self.purchase_calls.items()) if row["time"] < since)
        rows = [
            row
            for row in self.requests(max(earlier, default=0))
            if row["endpoint"] == "purchase" and row["phone_number"] == phone_number and row["time"] >= since
        ]
        return rows[-1] if rows else None


def offers(api_url, secret, shelves):
    """The offers of these `(country, type)` pairs, as the search shows them."""
    found = []
    with requests.Session() as session:
        session.trust_env = False
        for country_code, number_type in shelves:
            answer = session.get(
                f"{api_url}/virtual_numbers/available",
                params={"country": country_code, "number_type": number_type},
                headers={"Authorization": f"Bearer {secret}"},
                timeout=60,
            )
            answer.raise_for_status()
            found += answer.json()["data"]
    return found
