"""The documented API of virtual numbers, projects and operators: turns calls into answers, without sockets.

Texts and shapes are the provider's. Where its pages leave a text open (validation of odd values), the shape is
documented and the text is ours.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field

import phonenumbers

from sandbox import practice
from sandbox.keys import Key
from sandbox.plans import NUMBER_TYPES
from sandbox.state import NoLongerAvailable

BASE_PATH = "/api/v1/public"
ROUTES = [
    ("GET", r"/virtual_numbers", "list", "read"),
    ("GET", r"/virtual_numbers/available", "available", "read"),
    ("POST", r"/virtual_numbers/purchase", "purchase", "write"),
    ("GET", r"/virtual_numbers/([0-9]{1,18})", "get", "read"),
    ("PATCH", r"/virtual_numbers/([0-9]{1,18})", "patch", "write"),
    ("GET", r"/projects", "projects", "read"),
    ("POST", r"/operators", "operators", "write"),
]
ENDPOINTS = tuple(endpoint for _, _, endpoint, _ in ROUTES)
ROUTING_STRATEGIES = ("priority", "round_robin", "simultaneous")
UNAUTHORIZED = {"operators": "Invalid API key", "projects": "Invalid or expired API key"}  # OP-LIST, ERR
PROJECT_TIME = "2025-01-15T09:00:00Z"


@dataclass
class Answer:
    """One answer: status, payload for the JSON body (None for no body) and additional headers."""

    status: int
    payload: object = None
    headers: dict = field(default_factory=dict)


@dataclass
class Call:
    """One request to the API: endpoint, key, query and body."""

    endpoint: str
    permission: str
    number_id: int | None = None
    key: Key | None = None
    query: dict = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""

    def fields(self):
        """The JSON object in the body, empty if there is no body; raises Refused (400) for anything else."""
        if not self.body.strip():
            return {}
        if self.content_type.partition(";")[0].strip().lower() != "application/json":
            raise Refused(400, "Content-Type must be application/json")
        try:
            fields = json.loads(self.body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refused(400, "Invalid JSON in request body") from None
        if not isinstance(fields, dict):
            raise Refused(400, "Request body must be a JSON object")
        return fields


class Refused(Exception):
    """The call gets an error as its answer: `{"error": text}`, or `{"errors": [...]}` for a list (ERR)."""

    def __init__(self, status, reason):
        super().__init__(reason)
        self.status = status
        self.reason = reason

    def answer(self):
        shape = "errors" if isinstance(self.reason, list) else "error"
        return Answer(self.status, {shape: self.reason})


def not_found():
    """404: missing, or outside the key's scope (ERR)."""
    return Refused(404, "Resource not found")


def find_call(method, path):
    """The call for a method and path, without key and body; raises Refused (404) if there is none."""
    if path.startswith(BASE_PATH):
        for route_method, pattern, endpoint, permission in ROUTES:
            match = re.fullmatch(pattern, path.removeprefix(BASE_PATH))
            if match and method == route_method:
                return Call(endpoint, permission, int(match[1]) if match.groups() else None)
    raise not_found()


def unauthorized(endpoint):
    """401 with the text from the endpoint's page; the pages have three different texts."""
    return Refused(401, UNAUTHORIZED.get(endpoint, "Unauthorized"))


class Api:
    """Answers calls from the state and the inventory."""

    def __init__(self, state, inventory, *, practice_numbers=True):
        self.state = state
        self.inventory = inventory
        self.practice_numbers = practice_numbers
        self.listings = Counter()  # how often each 'dearer' number was listed

    def answer(self, call):
        """Carry out a call with a working key."""
        try:
            if call.permission not in call.key.permissions:
                raise Refused(403, f"{call.permission.capitalize()} permission required")
            return getattr(self, call.endpoint)(call)
        except Refused as refused:
            return refused.answer()

    def practice_rule(self, phone_number):
        return practice.rule_of(phone_number) if self.practice_numbers else None

    # Virtual numbers

    def list(self, call):
        """VN-LIST: all numbers that the key sees, in one answer."""
        return Answer(200, {"data": [list_form(number) for number in self._seen_by(call.key)]})

    def get(self, call):
        """VN-GET."""
        return Answer(200, {"data": self._detail_form(self._find(call), call.key)})

    def patch(self, call):
        """VN-UPD: changes only the fields that are sent."""
        number = self._find(call)
        fields = call.fields()
        changes = {
            name: fields[name]
            for name in ("name", "active", "recording", "routing_strategy")
            if name in fields
        }
        errors = []
        if not isinstance(changes.get("name", ""), str):
            errors.append("Name must be a string")
        for name in ("active", "recording"):
            if not isinstance(changes.get(name, True), bool):
                errors.append(f"{name.capitalize()} must be true or false")
        if changes.get("routing_strategy", "priority") not in ROUTING_STRATEGIES:
            errors.append("Routing strategy is not included in the list")
        if errors:
            raise Refused(422, errors)
        number = self.state.change(number.id, **changes) if changes else number
        return Answer(200, {"data": self._detail_form(number, call.key)})

    def available(self, call):
        """VN-AVAIL: all offers of one country and type, the same for every key."""
        country_code = call.query.get("country") or "US"
        number_type = call.query.get("number_type") or "mobile"
        if not re.fullmatch(r"[A-Za-z]{2}", country_code):
            raise Refused(422, "country must be a two-letter code")
        if number_type not in NUMBER_TYPES:
            raise Refused(422, f"number_type must be one of {', '.join(NUMBER_TYPES)}")
        offers = self.inventory.offers(country_code.upper(), number_type)
        return Answer(200, {"data": [self._entry(offer) for offer in offers if not self._is_sold(offer)]})

    def purchase(self, call):
        """VN-BUY: buys a number for the key's project, with recording on; answers in the list form."""
        fields = call.fields()
        phone_number = fields.get("phone_number")
        if (
            phone_number is None
            or phone_number == ""
            or (isinstance(phone_number, str) and not phone_number.strip())
        ):
            raise Refused(422, "phone_number is required")
        check_purchase_fields(fields)
        offer = self.inventory.find(phone_number)
        rule = self.practice_rule(phone_number)
        if offer is None or rule == practice.SOLD_OUT or self._is_sold(offer):
            raise Refused(422, f"{phone_number} is no longer available")
        group = fields.get("requirement_group_id")
        if (group is None and rule == practice.PAPERS) or (
            group is not None and group not in practice.APPROVED_GROUPS
        ):
            raise Refused(422, "Requirement group must be approved before purchasing")
        try:
            number = self.state.buy(
                phone_number, country_code=offer.country_code, key=call.key, payload=fields
            )
        except NoLongerAvailable:
            raise Refused(422, f"{phone_number} is no longer available") from None
        return Answer(201, {"data": list_form(number)})

    # Projects and operators

    def projects(self, call):
        """PR-LIST: sorted by name; a bound key gets only its own project."""
        names = sorted(
            (name, number) for number, name in self.state.projects().items() if call.key.sees(number)
        )
        return Answer(200, {"data": [project_form(number, name) for name, number in names]})

    def operators(self, call):
        """OP-NEW: a bound key links the operator to its project, an account-wide key does not link it."""
        fields = call.fields()
        errors = []
        for name, label in (("name", "Name"), ("phone_number", "Phone number")):
            if not isinstance(fields.get(name), str) or not fields[name].strip():
                errors.append(f"{label} can't be blank")
        if not isinstance(fields.get("active", True), bool):
            errors.append("Active must be true or false")
        if fields.get("email") is not None and not isinstance(fields["email"], str):
            errors.append("Email must be a string")
        if errors:
            raise Refused(422, errors)
        operator = self.state.add_operator(
            name=fields["name"].strip(),
            phone_number=_normalised(fields["phone_number"]),
            email=fields.get("email"),
            active=fields.get("active", True),
            project_id=call.key.project_id,
        )
        return Answer(201, {"data": operator_form(operator)})

    # Helpers

    def _seen_by(self, key):
        return [number for number in self.state.numbers() if key.sees(number.project_id)]

    def _find(self, call):
        number = self.state.number(call.number_id)
        if number is None or not call.key.sees(number.project_id):
            raise not_found()
        return number

    def _is_sold(self, offer):
        return self.state.is_sold(offer.phone_number)

    def _entry(self, offer):
        costs = self.state.cost_changes(offer.phone_number)
        tenths = 0
        if not costs and self.practice_rule(offer.phone_number) == practice.DEARER:
            tenths = self.listings[offer.phone_number]
            self.listings[offer.phone_number] += 1
        return offer.entry(tenths=tenths) | costs

    def _detail_form(self, number, key):
        seen = [operator for operator in self.state.operators() if key.sees(operator["project_id"])]
        names = ("id", "name", "phone_number", "initials")
        return {
            "id": number.id,
            "phone_number": number.phone_number,
            "name": number.name,
            "country_code": number.country_code,
            "active": number.active,
            "recording": number.recording,
            "routing_strategy": number.routing_strategy,
            "ai_receptionist_enabled": False,
            "stats": {
                "total_calls": 0,
                "answered_calls": 0,
                "missed_calls": 0,
                "average_duration_seconds": 0,
            },
            "operators": [],
            "available_operators": [
                {name: operator_form(operator)[name] for name in names} for operator in seen
            ],
            "recent_calls": [],
        }


def list_form(number):
    """A number as VN-LIST and VN-BUY show it; in the sandbox numbers have no operators."""
    return {
        "id": number.id,
        "phone_number": number.phone_number,
        "name": number.name,
        "country_code": number.country_code,
        "active": number.active,
        "ai_receptionist_enabled": False,
        "operators": [],
        "operators_count": 0,
    }


def project_form(number, name):
    return {
        "id": number,
        "name": name,
        "language": "en",
        "industry": None,
        "created_at": PROJECT_TIME,
        "updated_at": PROJECT_TIME,
    }


def operator_form(operator):
    words = operator["name"].split()
    initials = (words[0][0] + words[1][0]) if len(words) > 1 else words[0][:2]
    return {
        "id": operator["id"],
        "name": operator["name"],
        "phone_number": operator["phone_number"],
        "email": operator["email"],
        "active": operator["active"],
        "initials": initials.upper(),
        "virtual_numbers_count": 0,
    }


def check_purchase_fields(fields):
    """Raise Refused (422) if a field has another type than VN-BUY documents; null counts as not sent."""
    sent = {name: value for name, value in fields.items() if value is not None}
    for name in ("phone_number", "country_code", "name", "upfront_cost", "monthly_cost"):
        if not isinstance(sent.get(name, ""), str):
            raise Refused(422, f"{name} must be a string")
    if not re.fullmatch(r"[A-Za-z]{2}", sent.get("country_code", "US")):
        raise Refused(422, "country_code must be a two-letter code")
    if sent.get("number_type", "mobile") not in NUMBER_TYPES:
        raise Refused(422, f"number_type must be one of {', '.join(NUMBER_TYPES)}")
    if type(sent.get("requirement_group_id", 1)) is not int:
        raise Refused(422, "requirement_group_id must be an integer")


def _normalised(phone_number):
    try:
        parsed = phonenumbers.parse(phone_number, "US")
    except phonenumbers.NumberParseException:
        return phone_number.strip()
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _no_constant(text):
    raise ValueError(f"{text} is not JSON")
