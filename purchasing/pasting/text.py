"""Makes pasted text safe to keep, and normalises it for the search for numbers."""

import re
import unicodedata

from purchasing.pasting.results import MAX_WRITTEN
from purchasing.redaction import redact

_BREAK = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
# Controls, surrogates, noncharacters, and invisible characters that could split a number or reverse its digits: soft
# hyphen, zero width, direction marks, byte order mark, variation selectors, keycap.
_UNWANTED = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    "\u00ad\u034f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u20e3\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(1, 17))
    + "\U000e0000-\U000e0fff]+"
)
# Joiners matter to emoji and to some scripts, never next to ASCII.
_JOINER = re.compile("[\u200c\u200d](?![^\x00-\x7f\u200c\u200d])|(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]")


def printable(text: str) -> str:
    """Return the text with one kind of line break and without invisible or invalid characters; API keys remain."""
    text = _BREAK.sub("\n", text)
    if text.isascii() and text.isprintable():
        return text
    return _JOINER.sub("", _UNWANTED.sub("", text))


def clean(text: str) -> str:
    """Return pasted text as it may be kept and shown: without API keys and invisible or invalid characters.

    Cleaning again changes nothing. Line numbers are those of `clean(text).split("\\n")`.
    """
    return redact(printable(text))


def cut(text: str, limit: int = MAX_WRITTEN) -> str:
    """Return clean text as one line of at most `limit` characters; longer text ends in an ellipsis."""
    text = " ".join(text[: limit * 8].split())
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def tidy(text: str, limit: int = MAX_WRITTEN) -> str:
    """Return any text as one clean line of at most `limit` characters."""
    return cut(clean(text[: limit * 8]), limit)


def _plain_characters() -> dict[int, str]:
    """Map each look-alike of a digit, plus, dash, dot, slash, bracket or space to one ASCII character."""
    plain = {}
    for code in range(0x80, 0x1FBFA):
        character = chr(code)
        if (digit := unicodedata.decimal(character, None)) is not None:
            plain[code] = str(digit)
        elif unicodedata.category(character) == "Zs":
            plain[code] = " "
        elif unicodedata.category(character) == "Pd":
            plain[code] = "-"
    plain.update({code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)})
    for ascii_form, lookalikes in {
        "+": "＋﹢⁺₊➕✚",
        "-": "−⁃⁻₋﹣－‑ー➖",
        ".": "․·•∙⋅・。．",
        "/": "⁄∕⧸／",
        "(": "❨⁽₍",
        ")": "❩⁾₎",
        " ": "\u200c\u200d\u2800\u3164",
    }.items():
        plain.update({ord(lookalike): ascii_form for lookalike in lookalikes})
    return plain


_PLAIN = _plain_characters()


def plain(text: str) -> str:
    """Return text of the same length with its digits and the separators of numbers as ASCII."""
    return text if text.isascii() else text.translate(_PLAIN)
