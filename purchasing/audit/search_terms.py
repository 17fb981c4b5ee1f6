"""Search terms: the words of a text and the parts of a phone number, made the same way for events and for queries."""

import re
import unicodedata

LONGEST_WORD = 40
MOST_WORDS = 700  # per event: a reason of 1,000 characters has at most 500, the rest is for names
SHORTEST_PART = 3  # digits: the shortest part of a phone number that can be searched for


def words(*texts: str) -> list[str]:
    """The distinct words of the texts, lower case, without accents, in alphabetical order: 'Zoë' becomes 'zoe'."""
    text = " ".join(texts)
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    found = {word[:LONGEST_WORD] for word in re.findall(r"[^\W_]+", text.casefold())}
    return sorted(found)[:MOST_WORDS]


def digits(phone_number: str) -> list[str]:
    """The texts that find a phone number: '+155512' by itself, '155512', '55512', '5512' and '512'."""
    bare = phone_number.removeprefix("+")
    return [phone_number, *(bare[place:] for place in range(len(bare) - SHORTEST_PART + 1))]


def after(prefix: str) -> str:
    """The smallest text, byte by byte, that sorts after every text that starts with `prefix`."""
    return f"{prefix[:-1]}{chr(ord(prefix[-1]) + 1)}"
