"""The control endpoint `/_control/`, which exists only in the sandbox: faults, ledger, counters, keys, offers."""

from dataclasses import asdict

from sandbox.api import Answer, Refused, not_found
from sandbox.faults import KINDS, BadFault
from sandbox.keys import BadKey

PATH = "/_control"


def answer(provider, method, path, query, fields):
    """Carry out one control request; `fields` is its JSON body."""
    name, _, rest = path.removeprefix(PATH).strip("/").partition("/")
    action = ACTIONS.get((method, name))
    if action is None or (rest and (method, name) not in TAKES_REST):
        raise not_found()
    try:
        return Answer(200, {"data": action(provider, query, fields, rest)})
    except (BadFault, BadKey) as error:
        raise Refused(422, str(error)) from None


def index(provider, query, fields, rest):
    return sorted(f"{method} {PATH}/{name}" for method, name in ACTIONS)


def ledger(provider, query, fields, rest):
    return provider.ledger()


def counters(provider, query, fields, rest):
    return provider.counters()


def requests(provider, query, fields, rest):
    after = query.get("after", "0")
    return provider.requests(after=int(after) if after.isdecimal() else 0)


def owned(provider, query, fields, rest):
    return [asdict(number) for number in provider.owned()]


def kinds(provider, query, fields, rest):
    return {name: kind.record() for name, kind in KINDS.items()}


def faults(provider, query, fields, rest):
    return provider.faults()


def set_fault(provider, query, fields, rest):
    return {"id": provider.set_fault(**{"kind": None, **fields})}


def clear_faults(provider, query, fields, rest):
    if rest and not rest.isdecimal():
        raise not_found()
    return {"cleared": provider.clear_faults(int(rest) if rest else None)}


def refuse(provider, query, fields, rest):
    seconds = fields.get("seconds", 2)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
        raise Refused(422, "seconds must be a number from 0 to 3600")
    provider.refuse(seconds)
    return {"seconds": seconds}


def keys(provider, query, fields, rest):
    return [
        {
            "name": key.name,
            "last_four": key.last_four,
            "permissions": key.permissions,
            "project_id": key.project_id,
            "works": key.works(),
        }
        for key in provider.state.keyring.all()
    ]


def add_key(provider, query, fields, rest):
    try:
        key = provider.add_key(**fields)
    except TypeError:
        raise Refused(
            422, "a key has name, secret, permissions, project_id, expires_at and revoked"
        ) from None
    return {"name": key.name, "secret": key.secret}


def revoke_key(provider, query, fields, rest):
    try:
        provider.revoke_key(rest)
    except KeyError:
        raise not_found() from None
    return {"name": rest}


def release(provider, query, fields, rest):
    if not provider.release(_phone_number(fields)):
        raise not_found()
    return {"phone_number": fields["phone_number"]}


def costs(provider, query, fields, rest):
    changes = {name: fields[name] for name in ("upfront_cost", "monthly_cost") if name in fields}
    if not changes:
        raise Refused(422, "give upfront_cost, monthly_cost or both")
    provider.set_cost(_phone_number(fields), **changes)
    return {"phone_number": fields["phone_number"], **changes}


def settings(provider, query, fields, rest):
    limit = fields.get("rate_limit")
    if type(limit) is not int or limit < 0:
        raise Refused(422, "rate_limit must be a whole number, 0 for none")
    provider.set_rate_limit(limit)
    return {"rate_limit": limit}


def reset(provider, query, fields, rest):
    provider.reset()
    return {}


def _phone_number(fields):
    phone_number = fields.get("phone_number")
    if not isinstance(phone_number, str):
        raise Refused(422, "phone_number is required")
    return phone_number


ACTIONS = {
    ("GET", ""): index,
    ("GET", "ledger"): ledger,
    ("GET", "counters"): counters,
    ("GET", "requests"): requests,
    ("GET", "owned"): owned,
    ("GET", "kinds"): kinds,
    ("GET", "faults"): faults,
    ("POST", "faults"): set_fault,
    ("DELETE", "faults"): clear_faults,
    ("POST", "refuse"): refuse,
    ("GET", "keys"): keys,
    ("POST", "keys"): add_key,
    ("DELETE", "keys"): revoke_key,
    ("POST", "release"): release,
    ("POST", "costs"): costs,
    ("POST", "settings"): settings,
    ("POST", "reset"): reset,
}
TAKES_REST = {("DELETE", "faults"), ("DELETE", "keys")}
