"""Whatever the provider echoes, nothing made from its answer holds a key."""

import itertools
import json
import re
import traceback

import pytest

from purchasing.identitycall import errors
from purchasing.identitycall.answers import EXCERPT
from tests.identitycall.test_purchase import KEY, client_of, outcome
from tests.identitycall.test_reads import came_of
from tests.wire import serving

BODY = KEY[4:]
OTHER = "idc_" + "Zx8" * 10 + "Zx"  # somebody else's
INVISIBLE = {
    "zero width spaces": "\u200b",
    "soft hyphens": "\u00ad",
    "joiners": "\u2060",
    "byte order marks": "\ufeff",
    "marks of direction": "\u202e",
}
# How a JSON text may write the key between its quotation marks.
FORMS = {
    "as it is": KEY,
    "twice": f"{KEY} {KEY}",
    "without its prefix": BODY,
    "in capitals": KEY.upper(),
    "in capitals without its prefix": BODY.upper(),
    "in small letters": KEY.lower(),
    "of somebody else": OTHER,
    "every letter escaped": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "every letter escaped in capitals": "".join(f"\\u{ord(letter):04X}" for letter in KEY),
    "the underscore escaped": f"idc\\u005f{BODY}",
    "the underscore escaped as in Markdown": f"idc\\\\_{BODY}",
    "the underscore as in an address": f"idc%5F{BODY}",
    "the underscore as in HTML": f"idc&#95;{BODY}",
    "in a header": f"Authorization: Bearer {KEY}",
    "in an address": f"https://api.example/?key={KEY}&x=1",
    "stuck to other words": f"x{KEY}x{BODY}x",
    "cut short": KEY[:24],
    **{f"with {name} in it": f"{KEY[:20]}{letter}{KEY[20:]}" for name, letter in INVISIBLE.items()},
    **{f"full of {name}": letter.join(KEY) for name, letter in INVISIBLE.items()},
}


def holds_key(text):
    """Whether the text holds 12 characters of a key in sequence, however they are written or broken up."""
    read = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    plain = "".join(letter for letter in read if letter.isalnum()).lower()
    return any(
        secret[place : place + 12].lower() in plain
        for secret in (BODY, OTHER[4:])
        for place in range(len(secret) - 11)
    )


def test_this_test_knows_a_key_when_it_sees_one():
    for form in FORMS.values():
        assert holds_key(form) and holds_key(json.loads(f'"{form}"')), form
    assert not holds_key("Number is no longer available: idc_[removed], …6789")


def everything_of(error):
    """All texts that an error has or leads to."""
    texts = [str(error), repr(error), *map(repr, error.args), *map(str, vars(error).values())]
    texts += [error.words, error.answer_text, error.detail, "".join(traceback.format_exception(error))]
    for link in (error.__cause__, error.__context__):
        texts += [repr(link), str(link)]
    return texts


def encoded(text):
    return text.encode()


def said_by_error(form):
    return encoded(f'{{"error": "Not with {form}"}}')


BODIES = {
    "a text of an error": said_by_error,
    "texts of errors": lambda form: encoded(f'{{"errors": ["Not with", "{form}", "or {form}"]}}'),
    "another field": lambda form: encoded(f'{{"message": "{form}"}}'),
    "the name of a field": lambda form: encoded(f'{{"{form}": 1}}'),
    "HTML": lambda form: encoded(f"<html><p title='{form}'>{form}</p>"),
    "plain text": encoded,
    "a cut text": lambda form: encoded(f'{{"error": "{form}'),
    "a number that was bought": lambda form: encoded(f'{{"data": {{"id": 7, "phone_number": "{form}"}}}}'),
}
STATUSES = (201, 302, 401, 422, 500)  # each is made an error of in another place


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_key_in_the_body_of_any_answer_is_in_nothing_that_is_kept(form, body):
    answers = iter(STATUSES)
    with serving(lambda peer: peer.answer(next(answers), body(form))) as server:
        found = [outcome(server.url) for _ in STATUSES]
    assert [error.status for error in found] == list(STATUSES)
    for error in found:
        for text in everything_of(error):
            assert not holds_key(text), text


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_what_stands_beside_it_is_kept(form):
    with serving(lambda peer: peer.answer(422, said_by_error(form))) as server:
        error = outcome(server.url)
    assert (type(error), error.words[:8], error.answer_text[:19]) == (
        errors.Declined,
        "Not with",
        '{"error": "Not with',
    )


KEPT = {
    "as it is": (KEY, "idc_[removed]"),
    "without its prefix": (BODY, "idc_[removed]"),
    "of somebody else": (OTHER, "idc_[removed]"),
    "with a soft hyphen": (f"{KEY[:9]}\u00ad{KEY[9:]}", "idc_[removed]"),
    "too short to be one": ("idc_short", "idc_short"),
}


@pytest.mark.parametrize(("form", "kept"), KEPT.values(), ids=KEPT.keys())
def test_what_is_kept_of_it_says_that_something_was_removed(form, kept):
    with serving(lambda peer: peer.answer(422, said_by_error(form))) as server:
        error = outcome(server.url)
    assert (error.words, error.answer_text) == (f"Not with {kept}", f'{{"error": "Not with {kept}"}}')
    assert str(error) == f"IdentityCall declined: Not with {kept}"


@pytest.mark.parametrize("length", range(8, len(KEY) + 1))
def test_a_key_that_the_excerpt_cuts_is_removed(length):
    """The body is looked at up to a limit; blanks before it are folded, so that its end is kept."""
    padded = b" " * (EXCERPT - length) + KEY.encode()
    with serving(lambda peer: peer.answer(500, padded)) as server:
        error = outcome(server.url)
    assert (type(error), error.answer_text) == (errors.Unconfirmed, "idc_[removed]")


@pytest.mark.parametrize("length", range(8, len(KEY)))
def test_a_key_of_which_only_the_beginning_arrives_is_removed(length):
    """The connection breaks in the middle of it."""
    part = f"Who sent {KEY[:length]}".encode()
    with serving(lambda peer: peer.answer(500, part, length=999)) as server:
        error = outcome(server.url)
    assert (type(error), error.answer_text) == (errors.Unconfirmed, "Who sent idc_[removed]")


def with_head(*lines):
    """Answer with a head of these lines and the body of an error."""
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace")
    return lambda peer: peer.send(head + b'{"error": "no"}')


HEADS = {
    "the words after the status": lambda key: with_head(f"HTTP/1.1 422 {key}", "Content-Length: 15"),
    "the status": lambda key: with_head(f"HTTP/1.1 {key} No", "Content-Length: 15"),
    "the protocol": lambda key: with_head(f"{key} 422 No", "Content-Length: 15"),
    "a header": lambda key: with_head(
        "HTTP/1.1 401 No", f"WWW-Authenticate: Bearer {key}", "Content-Length: 15"
    ),
    "the name of a header": lambda key: with_head("HTTP/1.1 500 No", f"X-{key}: 1", "Content-Length: 15"),
    "a cookie": lambda key: with_head("HTTP/1.1 500 No", f"Set-Cookie: key={key}", "Content-Length: 15"),
    "another address": lambda key: with_head("HTTP/1.1 302 Found", f"Location: /{key}", "Content-Length: 15"),
    "the time to wait": lambda key: with_head("HTTP/1.1 429 No", f"Retry-After: {key}", "Content-Length: 15"),
    "the length": lambda key: with_head("HTTP/1.1 500 No", f"Content-Length: {key}"),
    "the coding": lambda key: with_head("HTTP/1.1 500 No", f"Content-Encoding: {key}", "Content-Length: 15"),
    "the coding of the transfer": lambda key: with_head("HTTP/1.1 500 No", f"Transfer-Encoding: {key}"),
    "a line that is no header": lambda key: with_head(
        "HTTP/1.1 500 No", f"{key} {key}", "Content-Length: 15"
    ),
    "a very long line": lambda key: with_head(
        "HTTP/1.1 500 No", f"X-Long: {key * 2500}", "Content-Length: 15"
    ),
    "the size of a chunk": lambda key: (
        lambda peer: peer.send(
            f"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n{key}\r\nx\r\n".encode()
        )
    ),
    "the extension of a chunk": lambda key: (
        lambda peer: peer.send(f"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\nx;{key}\r\n".encode())
    ),
    "no head at all": lambda key: lambda peer: peer.send(f"{key}\r\n\r\n".encode()),
}


@pytest.mark.parametrize("key", [KEY, BODY, KEY.upper(), OTHER], ids=["key", "bare", "capitals", "other"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_a_key_in_the_head_of_an_answer_is_in_nothing_that_is_kept(head, key):
    with serving(head(key)) as server:
        error = outcome(server.url)
    assert isinstance(error, errors.ProviderError)
    for text in everything_of(error):
        assert not holds_key(text), text


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_a_key_in_the_head_of_an_answer_is_in_no_log(head, console):
    with serving(head(KEY)) as server:
        outcome(server.url)
    assert not holds_key(console.getvalue())


ASK = {
    "owned list": lambda client: client.owned_numbers(),
    "offers": lambda client: client.available(country_code="US", number_type="local"),
    "one number": lambda client: client.number(7),
    "a change": lambda client: client.update_number(7, recording=False),
    "projects": lambda client: client.projects(),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK.keys())
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_key_in_the_answer_to_a_read_is_in_nothing_that_is_kept(form, ask):
    bodies = [body(form) for body in BODIES.values()]
    answers = zip(itertools.cycle((200, 422, 500)), bodies, strict=False)
    with serving(lambda peer: peer.answer(*next(answers))) as server:
        client = client_of(server.url)
        found = [came_of(lambda: ask(client)) for _ in bodies]
    for error in found:
        assert isinstance(error, errors.ProviderError)
        for text in everything_of(error):
            assert not holds_key(text), text


SHOWN = {
    form: text for form, text in FORMS.items() if "without its prefix" not in form
}  # that is no key's form


@pytest.mark.parametrize("form", SHOWN.values(), ids=SHOWN.keys())
def test_a_key_in_what_a_list_shows_is_in_nothing_that_is_made_of_it(form):
    form = json.loads(f'"{form}"') if "x" + KEY not in form else KEY
    shown = {
        "id": 7,
        "phone_number": "+15551234567",
        "name": form,
        "country_code": form,
        "number_type": form,
        "upfront_cost": form,
        "features": [form],
        "region_information": [{"region_name": form}],
    }
    with serving(
        lambda peer: peer.answer(
            200, json.dumps({"data": shown if "/7" in peer.request.target else [shown]}).encode()
        )
    ) as server:
        client = client_of(server.url)
        made = [ask(client) for ask in ASK.values()]
    assert len(made) == 5
    for value in made:
        assert not holds_key(repr(value)), value
