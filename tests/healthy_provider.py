"""IdentityCall's answers for tests, shaped as its documentation shows them, and a stand-in for its owned list."""

import json
import re

from django.conf import settings

PURCHASE = f"{settings.IDENTITYCALL_API_URL}/virtual_numbers/purchase"
OWNED = f"{settings.IDENTITYCALL_API_URL}/virtual_numbers"
AVAILABLE = re.compile(re.escape(f"{settings.IDENTITYCALL_API_URL}/virtual_numbers/available"))
PROJECTS = f"{settings.IDENTITYCALL_API_URL}/projects"
OPERATORS = f"{settings.IDENTITYCALL_API_URL}/operators"
ONE = re.compile(re.escape(f"{settings.IDENTITYCALL_API_URL}/virtual_numbers/") + r"\d+$")


def owned(phone_number, number_id=501, **fields):
    """A number in the list form of VN-LIST."""
    return {
        "id": number_id,
        "phone_number": phone_number,
        "name": None,
        "country_code": "US",
        "active": True,
        "ai_receptionist_enabled": False,
        "operators": [],
        "operators_count": 0,
        **fields,
    }


def offer(phone_number, upfront="1.00", monthly="2.00", **fields):
    """A number in the form of VN-AVAIL."""
    return {
        "phone_number": phone_number,
        "country_code": "US",
        "number_type": "local",
        "upfront_cost": upfront,
        "monthly_cost": monthly,
        "features": ["voice", "sms"],
        "region_information": [{"region_type": "country_code", "region_name": "US"}],
        **fields,
    }


class Provider:
    """What IdentityCall would answer just now; tests change it between steps."""

    def __init__(self, http):
        self.http = http
        self.owned_numbers = []
        self.owned_with = {}  # a list of its own, by the key
        self.offers = [offer(f"+121255501{n:02d}") for n in range(1, 60)]
        self.owned_answer = None  # (status, headers, body) or an exception instead of the list
        self.offers_answer = None
        http.add_callback("GET", OWNED, self._owned)
        http.add_callback("GET", AVAILABLE, self._available)
        self.projects = [1]
        http.add_callback("GET", PROJECTS, self._projects)

    def _projects(self, request):
        return 200, {}, json.dumps({"data": [{"id": pk, "name": f"Project {pk}"} for pk in self.projects]})

    def _owned(self, request):
        key = request.headers["Authorization"].removeprefix("Bearer ")
        if key in self.owned_with:
            return _answer(None, self.owned_with[key])
        return _answer(self.owned_answer, self.owned_numbers)

    def _available(self, request):
        return _answer(self.offers_answer, self.offers)

    def answer_purchase(self, body=None, status=201, **options):
        """Answer purchase calls from now on: with an exception, a text, or JSON."""
        self.http.remove("POST", PURCHASE)
        if isinstance(body, dict | list):
            body = json.dumps(body)
        self.http.add("POST", PURCHASE, body=body, status=status, **options)

    def sells(self, phone_number, number_id=501):
        """Answer purchase calls with the documented 201 and show the number in the owned list from then on."""
        self.http.remove("POST", PURCHASE)

        def sell(request):
            self.owned_numbers.append(owned(phone_number, number_id))
            return 201, {}, json.dumps({"data": owned(phone_number, number_id)})

        self.http.add_callback("POST", PURCHASE, sell)

    def tells_of_the_key(self, *, projects=("Support",), write=422):
        """Show these projects, and answer the call that must fail validation with this status, from now on."""
        shown = [{"id": 11 + place, "name": name} for place, name in enumerate(projects)]
        self.http.remove("GET", PROJECTS)
        self.http.remove("POST", OPERATORS)
        self.http.add("GET", PROJECTS, json={"data": shown})
        self.http.add("POST", OPERATORS, json={"error": "no"}, status=write)

    @property
    def purchases(self):
        """The bodies of all purchase calls so far."""
        return [json.loads(call.request.body) for call in self.http.calls if call.request.url == PURCHASE]

    @property
    def calls(self):
        """Method and path of every call so far."""
        requests = [call.request for call in self.http.calls]
        return [
            (request.method, request.url.removeprefix(settings.IDENTITYCALL_API_URL)) for request in requests
        ]


def _answer(instead, numbers):
    if isinstance(instead, Exception):
        raise instead
    if instead is not None:
        return instead
    return 200, {}, json.dumps({"data": numbers})


def during(provider, address, happening):
    """Let something happen while the provider is called at this address, before it answers as usual."""
    provider.http.remove("GET", address)
    answer = {OWNED: provider._owned, AVAILABLE: provider._available}[address]

    def answered(request):
        happening()
        return answer(request)

    provider.http.add_callback("GET", address, answered)
