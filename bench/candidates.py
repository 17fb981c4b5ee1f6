"""How long it takes to read pasted text of the largest size allowed: `python -m bench.candidates`.

The bound is 2 seconds on one slow core for every text of 1,000,000 characters or 10,000 lines, including texts made
to be slow. The anchor is the time it takes to parse and check 10,000 numbers with phonenumbers alone.
"""

import json
import sys
import time

import phonenumbers

from purchasing.pasting import MAX_CHARACTERS, MAX_LINES, TooLarge, read

BOUND = 2.0  # seconds


def full(piece: str, length: int = MAX_CHARACTERS) -> str:
    """Repeat a piece up to a length."""
    return (piece * (length // len(piece) + 1))[:length]


def offers(count: int) -> list[dict]:
    """Entries in the format of the documented search answer."""
    return [
        {
            "phone_number": f"+1202{5550000 + place}",
            "country_code": "US",
            "number_type": "local",
            "upfront_cost": "1.00",
            "monthly_cost": "1.00",
            "features": ["sms", "voice"],
            "region_information": [{"region_type": "state", "region_name": "DC"}],
        }
        for place in range(count)
    ]


def texts() -> dict[str, tuple[str, str]]:
    """Each text by name, with the chosen country."""
    ten = range(MAX_LINES)
    return {
        "10,000 numbers, known": ("\n".join(f"+4930{1230000 + place}" for place in ten), ""),
        "10,000 numbers, unknown, +1 555": ("\n".join(f"+1555{1230000 + place}" for place in ten), ""),
        "10,000 numbers, Canada": ("\n".join(f"+1416{5550000 + place}" for place in ten), ""),
        "10,000 numbers, written out": ("\n".join(f"Tel.: +1 (202) 555-{place:04}" for place in ten), ""),
        "10,000 numbers, national": ("\n".join(f"030 {1230000 + place}" for place in ten), "DE"),
        "10,000 numbers, national, ambiguous": ("\n".join(f"49{100000000 + place}" for place in ten), "AT"),
        "10,000 numbers, full-width": ("\n".join(f"＋４９３０１２{place:05}" for place in ten), ""),
        "10,000 times the same number": ("\n".join(["+15551234567"] * MAX_LINES), ""),
        "10,000 damaged cells": ("\n".join(["1.5551E+10"] * MAX_LINES), ""),
        "10,000 rows of CSV": (
            "phone_number,country,type,upfront_cost,monthly_cost\n"
            + "\n".join(f'"+1202{5550000 + place}",US,local,1.00,"1,00"' for place in range(MAX_LINES - 1)),
            "",
        ),
        "10,000 rows without heading": (
            "\n".join(f"+1202{5550000 + place}\tUS\tlocal\t1.00\t1.00" for place in ten),
            "",
        ),
        "10,000 open quotes": ("number,name\n" + "\n".join(['+12025550100,"open'] * (MAX_LINES - 1)), ""),
        "4,000 offers, JSON": (json.dumps({"data": offers(4000)}), ""),
        "2,500 offers, JSON, indented": (json.dumps({"data": offers(2500)}, indent=2), ""),
        "4,000 offers, JSON Lines": ("\n".join(map(json.dumps, offers(4000))), ""),
        "10,000 numbers, JSON list": (json.dumps([f"+1202{5550000 + place}" for place in ten]), ""),
        "4,000 offers, JSON, cut off": (json.dumps({"data": offers(4000)})[:-400], ""),
        "4,000 offers, JSON, one comma missing": (
            json.dumps({"data": offers(4000)}).replace("}, {", "} {", 1),
            "",
        ),
        "60,000 numbers in one line": (full("+15551234567 ")[:-13], ""),
        "60,000 numbers in one line, 00": (full("0049 30 123456 "), ""),
        **{f"1 MB of {piece!r}": (full(piece), "") for piece in PIECES},
        **{f"1 MB of {piece!r}, US": (full(piece), "US") for piece in PIECES if any(map(str.isdigit, piece))},
        **{f"10,000 lines of {piece!r}": ("\n".join([full(piece, 99)] * MAX_LINES), "US") for piece in LINES},
    }


# Pieces that are repeated to fill one line; those with digits are also read with a country.
_PIECES = r"""
1 0 + +1 ( (+ [ { " ' 1- 1. 1/ (0) 00 - a, 1, | ; "", [[ {"a": ["a", [1, {} [] [{}, {"data":[ [" {"a":"
\\ \\" \\u0069 1e [{"phone_number":"+15551234567"}, idc_ a a@ a-1 # &#43;1 %2B1 x1 1:1
€1 1€ A- 800-AAA phone, １ +٤٩ wa.me/1 10:10. 1)(
"""
_WITH_BLANKS = r"""
1 ¦ 00¦ 0049¦ ¦a ¦1E+1 ¦https://a.b/1234567 ¦ext 1 ¦10:10 ¦2025-01-01 ¦1.00 ¦1.1.1.1 ¦1234567 ¦+1234 ¦+1 ¦
Tel 1234567 ¦0049 30 1 ¦030 12345 ¦12345,"""
_BROKEN = [
    "\n",
    "\r",
    "\t",
    '"\n',
    '",\n',
    "\u2028",
    "[\n",
    '{"a":[\n',
    "phone,US\n",
    "\x00",
    "\u200d",
    "\u200b1",
    "\ud800",
]
PIECES = [*_PIECES.split(), *_WITH_BLANKS.split("¦"), *_BROKEN, f"idc{'a' * 40}"]
LINES = """[¦{¦["¦{"a":¦[1,¦{"a": [¦[[1,1],¦{"data": [{"a": 1}, ¦1.00 ¦é ¦Tel ¦(¦phone;¦"¦"a,¦x¦
1 22 333 4444 ¦030 1234567 ¦Call me on 2025-01-31 at 10:30 or order no. 4711, ¦+49 30 123456 1.00 2 """.replace(
    "\n", ""
).split("¦")


def main() -> int:
    """Print the time of each text, the slowest last; the exit status is 0 if all are within the bound."""
    began = time.process_time()
    for place in range(MAX_LINES):
        parsed = phonenumbers.parse(f"+4930{1230000 + place}")
        (
            phonenumbers.is_possible_number(parsed),
            phonenumbers.is_valid_number(parsed),
            phonenumbers.number_type(parsed),
        )
    print(f"{time.process_time() - began:7.3f} s  anchor: phonenumbers alone, 10,000 numbers")
    times = []
    for name, (text, country) in texts().items():
        began = time.process_time()
        try:
            pasted = read(text, default_country=country)
            outcome = (
                f"{pasted.shape}: {len(pasted.candidates)} candidates, {len(pasted.not_understood)} others"
            )
        except TooLarge as problem:
            outcome = f"refused: {problem}"
        times.append((time.process_time() - began, name, outcome))
    for taken, name, outcome in sorted(times):
        print(f"{taken:7.3f} s  {name} ({outcome})")
    slowest = max(times)[0]
    verdict = "within" if slowest < BOUND else "BEYOND"
    print(f"{verdict} the bound of {BOUND} s: the slowest of {len(times)} texts took {slowest:.3f} s")
    return 0 if slowest < BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
