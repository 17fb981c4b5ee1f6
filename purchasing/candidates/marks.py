"""What stands around phone numbers and in their likeness: dates, times, prices, order numbers, labels, list marks."""

import re

_CURRENCY = r"(?:[€$£¥%]|(?:EUR|USD|GBP|CHF|Euro|Dollar)\b)"
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?"
_MASKED = re.compile(
    rf"""
      (?P<damaged> (?<![\w.,+]) \+? \d (?:[.,]\d{{1,15}})? [eE]\+?\d{{1,3}} (?!\w) )
    | (?<!\d) (?:19|20)\d\d ([-/.]) (?:0?[1-9]|1[0-2]) \2 (?:[0-2]?\d|3[01]) (?!\d|[-./]\d)
          (?:[T ]{_CLOCK}(?:Z|\ ?[+-]\d\d:?\d\d(?!\d))?)?
    | (?<![\d+]) (?<!\d[-./]) (?:[0-2]?\d|3[01]) ([-/.]) (?:[0-2]?\d|3[01]) \3 (?:19|20)\d\d (?!\d|[-./]\d)
    | (?<![\d+]) (?<!\d[-./]) (?:[0-2]?\d|3[01]) ([-/.]) (?:[0-2]?\d|3[01]) \4 \d\d (?=,?\ {_CLOCK})
    | (?<![\d:+]) {_CLOCK} (?![\d:]) (?:\ ?[AaPp][Mm]\b)?
    | [€$£¥]\ ? \d{{1,12}}(?:[.,]\d{{1,12}})*
    | (?<![\d.,+]) \d{{1,6}}[.,]\d\d \ ?{_CURRENCY}
    | (?P<weak> (?<=\s) (?: \d{{1,6}}[.,]\d\d(?:\d\d)?(?=[\s;,|)]|$) | \d{{1,4}}\ ?{_CURRENCY} ) )
    | (?<![\d.+]) (?:[1-9]?\d|1\d\d|2[0-4]\d|25[0-5]) (?:\.(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])){{3}} (?![\d]|\.\d)
    """,
    re.VERBOSE,
)
_CHEAP = re.compile(r"\d[.,:/-]\d|\d[eE]\+?\d|[€$£¥%]|EUR|USD|GBP|CHF|Euro|Dollar")
_PERCENT_PLUS = re.compile(r"%2[bB](?=\d)")
_PLUS_ENTITY = re.compile(r"&(?:#0{0,3}43|#x0{0,3}2[bB]|plus);")
_SPACE_ENTITY = re.compile(r"&(?:nbsp|thinsp|ensp|emsp|#160|#xa0|#x2009|shy|zwnj|#8209);", re.IGNORECASE)

LABELS = frozenset(
    [
        "tel",
        "telefon",
        "telefonnummer",
        "telephone",
        "téléphone",
        "tél",
        "telefono",
        "teléfono",
        "fon",
        "fone",
        "phone",
        "phones",
        "ph",
        "mobil",
        "mobile",
        "mobiltelefon",
        "handy",
        "handynr",
        "cell",
        "cellphone",
        "call",
        "callto",
        "fax",
        "whatsapp",
        "wa",
        "sip",
        "sms",
        "nummer",
        "nummern",
        "rufnummer",
        "number",
        "numbers",
        "no",
        "nr",
        "num",
        "numero",
        "número",
        "numéro",
        "numer",
        "office",
        "work",
        "home",
        "main",
        "büro",
        "zentrale",
        "durchwahl",
        "festnetz",
        "portable",
        "fixe",
        "cel",
        "msisdn",
        "voice",
        "did",
        "e164",
        "type",
        "pref",
        "uri",
        "line",
        "t",
        "m",
        "f",
        "p",
        "n",
        "h",
        "w",
        "o",
        "and",
        "und",
        "et",
        "or",
        "oder",
        "ou",
    ]
)
_IDENTIFIES = [
    "order",
    "bestell",
    "auftrag",
    "rechnung",
    "invoice",
    "kunden",
    "customer",
    "ticket",
    "ref",
    "case",
    "account",
    "konto",
    "iban",
    "bic",
    "artikel",
    "article",
    "sku",
    "item",
    "ustid",
    "vat",
    "steuer",
    "tax",
    "hrb",
    "plz",
    "zip",
    "postal",
    "commande",
    "facture",
    "client",
    "siret",
    "siren",
    "id",
    "uuid",
    "version",
    "vers",
    "serial",
    "serien",
    "tracking",
    "paket",
    "parcel",
    "booking",
    "buchung",
    "vertrag",
    "contract",
    "po",
    "job",
    "build",
    "issue",
    "user",
    "card",
    "karte",
]
_LOOK_BACK = 48
_WORDS_BEFORE = re.compile(r"(?:([A-Za-zÀ-ÿ]+)[^A-Za-zÀ-ÿ0-9\n]{1,3})?([A-Za-zÀ-ÿ]+)([.:=#°/_ -]{0,4})$")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[^\W\d_]+")
_LIST_MARK = re.compile(r"\s*(?:[(\[]?\d{1,4}[.):\]]{1,2}[ \t]+|#\d{1,4}[ \t:.]+)(?=[+(\d]|\S{0,12}[+(]?\d)")

EXTENSION = re.compile(
    r" ?[,;(]? ?(?:(?:ext(?:ension|n)?|durchwahl|dw|nebenstelle|nst|poste|interno|anexo|app(?:arat)?|доб)\b\.?|x|\#)"
    r"[ .:=]{0,3}(?P<digits>\d{1,7})(?!\d|\w)",
    re.IGNORECASE,
)
VANITY = re.compile(
    r"(?<![\w+])(?:\+?\d{1,3}[ .-]?)?\(?(?:0?800|8\d\d|0900|900)\)?[ .-]?(?=[A-Z0-9-]*[A-Z]{3})[A-Z0-9-]{3,20}"
)


def decoded(line: str) -> str:
    """Return the line with the plus signs and spaces that web addresses and web pages write as codes."""
    if "%2" in line:
        line = _PERCENT_PLUS.sub("+", line)
    if "&" in line:
        line = _SPACE_ENTITY.sub(" ", _PLUS_ENTITY.sub("+", line))
    return line


def masked(text: str) -> tuple[str, list[re.Match]]:
    """Blank out what is no phone number, keeping the length; what was blanked out comes along."""
    blanked: list[re.Match] = []
    if not _CHEAP.search(text):
        return text, blanked

    def blank(match: re.Match) -> str:
        blanked.append(match)
        return "\0" * len(match[0])

    return _MASKED.sub(blank, text), blanked


def letters_outside_labels(text: str) -> bool:
    """Say whether the line holds words, other than those that announce a number."""
    if not _LETTER.search(text):
        return False
    return any(word[0].casefold() not in LABELS for word in _WORD.finditer(EXTENSION.sub("", text)))


def list_mark(text: str) -> int:
    """Return where the text goes on behind '1.', '2)' or '#3' at its start."""
    match = _LIST_MARK.match(text)
    return match.end() if match else 0


def is_identifier(text: str, start: int, end: int) -> bool:
    """Say whether digits without a plus sign are part of a word, a web address or an order number."""
    before = text[max(0, start - _LOOK_BACK) : start]
    behind = text[end : end + 12]
    joined = before.split(" ")[-1]
    if any(sign in joined for sign in ("://", "www.", "@")) or behind.startswith(("@", "_")):
        return "wa.me/" not in joined
    if before.endswith(("_", "#", "$", "€", "£", "*")) or re.match(r"-[A-Za-z]", behind):
        return True
    if re.search(r"[A-Za-z0-9]-$", before) and not _is_label(joined[:-1]):
        return True
    words = _WORDS_BEFORE.search(before)
    if not words:
        return False
    if any(_identifies(word) for word in words.group(1, 2) if word):
        return True
    if words[3] and not words[3].strip(".: "):
        return False
    return not _is_label(words[2])


def _is_label(word: str) -> bool:
    return word.casefold() in LABELS


def _identifies(word: str) -> bool:
    word = word.casefold()
    return any(word.startswith(name) if len(name) > 4 else word == name for name in _IDENTIFIES)
