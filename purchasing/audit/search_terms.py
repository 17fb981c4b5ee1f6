"""What a text can be found by: its words, and the parts of a phone number. For what is kept and what is asked alike."""

import re
import unicodedata

LONGEST_WORD = 40
MOST_WORDS = 700  # of one event; a reason of 1,000 characters has at most 500, the rest are names
SHORTEST_PART = 3  # digits of a number that somebody knows a part of


def words(*texts):
    """The different words of some texts, small and without accents, in the order of the alphabet: 'Zoë' is 'zoe'."""
    text = " ".join(texts)
    if not text.isascii():
        text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    found = {word[:LONGEST_WORD] for word in re.findall(r"[^\W_]+", text.casefold())}
    return sorted(found)[:MOST_WORDS]


def digits(phone_number):
    """What a number can be found by: '+155512' by itself, '155512', '55512', '5512' and '512'."""
    bare = phone_number.removeprefix("+")
    return [phone_number, *(bare[place:] for place in range(len(bare) - SHORTEST_PART + 1))]


def after(prefix):
    """The least text, byte by byte, that is greater than all that begin with `prefix`."""
    return f"{prefix[:-1]}{chr(ord(prefix[-1]) + 1)}"
