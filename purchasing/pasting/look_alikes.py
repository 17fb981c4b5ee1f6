"""What resembles or surrounds phone numbers: dates, times, prices, order numbers, labels, list marks."""

import re

_CURRENCY = r"(?:[€$£¥%](?!\ ?\d)|(?:EUR|USD|GBP|CHF|Euro|Dollar)\b)"
_CLOCK = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?"
_AMOUNT = r"(?:0|[1-9]\d{0,5})[.,]\d\d(?:\d\d)?(?=[\s;,|)]|$)"
_BYTE = r"(?:[1-9]?\d|1\d\d|2[0-4]\d|25[0-5])"
_DAY = r"(?:[0-2]?\d|3[01])"
_MASKED = re.compile(
    rf"""
    (?<!\d)(?=[\d+€$£¥])(?:
      (?P<damaged> (?<![\w.,+]) \+? \d (?:[.,]\d{{1,15}})? [eE]\+?\d{{1,3}} (?!\w) )
    | (?:19|20)\d\d ([-/.]) (?:0?[1-9]|1[0-2]) \2 {_DAY} (?!\d|[-./]\d)
          (?:[T ]{_CLOCK}(?:Z|\ ?[+-]\d\d:?\d\d(?!\d))?)?
    | (?<!\+) (?<!\d[-./]) {_DAY} ([-/.]) {_DAY} \3 (?:19|20)\d\d (?!\d|[-./]\d)
    | (?<!\+) (?<!\d[-./]) {_DAY} ([-/.]) {_DAY} \4 \d\d (?=,?\ {_CLOCK})
    | (?<![:+]) {_CLOCK} (?![\d:]) (?:\ ?[AaPp][Mm]\b)?
    | (?: [€$£¥]\ ? \d{{1,12}}(?:[.,]\d{{1,12}})* )+
    | (?<![.,+]) \d{{1,6}}[.,]\d\d \ ?{_CURRENCY}
    | (?P<weak> (?<!\S) (?: {_AMOUNT} (?:\ {{1,3}}{_AMOUNT})* (?!\ ?\d) | [1-9]\d{{0,3}}\ ?{_CURRENCY} ) )
    | (?<![.+]) {_BYTE} (?:\.{_BYTE}){{3}} (?![\d]|\.\d)
    )""",
    re.VERBOSE,
)
_CHEAP = re.compile(r"\d[.,:/-]\d|\d[eE]\+?\d|[€$£¥%]|EUR|USD|GBP|CHF|Euro|Dollar")
_CHAT_LINK = re.compile(r"(wa\.me/|whatsapp\.com/send/?\?phone=)(?=\d)")
_PERCENT_PLUS = re.compile(r"%2[bB](?=\d)")
_PLUS_ENTITY = re.compile(r"&(?:#0{0,3}43|#x0{0,3}2[bB]|plus);")
_SPACE_ENTITY = re.compile(r"&(?:nbsp|thinsp|ensp|emsp|#160|#xa0|#x2009|shy|zwnj|#8209);", re.IGNORECASE)

_LABEL_WORDS = """
    tel telefon telefonnummer telephone téléphone tél telefono teléfono fon fone phone phones ph mobil mobile
    mobiltelefon handy handynr cell cellphone call callto fax whatsapp wa sip sms nummer nummern rufnummer
    number numbers no nr num numero número numéro numer office work home main büro zentrale durchwahl
    festnetz portable fixe cel msisdn voice
    did e164 type pref uri line ext extension extn x dw nst nebenstelle poste t m f p n h w o and und et or oder ou
"""
LABELS = frozenset(_LABEL_WORDS.split())
_IDENTIFYING_BEGINNINGS = """
    order bestell auftrag rechnung invoice kunden customer ticket account konto artikel article vertrag contract serial
    serien tracking paket parcel booking buchung commande facture client postal version steuer refer
"""
_IDENTIFYING_WORDS = """
    ref case iban bic sku item ustid vat tax hrb plz zip siret siren id uuid vers po job build issue user card
    karte port
"""
_IDENTIFIES = re.compile(
    "|".join(
        [*(rf"{word}[^\W\d_]*" for word in _IDENTIFYING_BEGINNINGS.split()), *_IDENTIFYING_WORDS.split()]
    ),
    re.IGNORECASE,
)
_JOINED_BEHIND = re.compile("[@_]|-[A-Za-z]")
_LOOK_BACK = 48
_WORDS_BEFORE = re.compile(r"(?:([A-Za-zÀ-ÿ]+)[^A-Za-zÀ-ÿ0-9\n]{1,3})?([A-Za-zÀ-ÿ]+)([.:=#°/_ -]{0,4})$")
_WORD = re.compile(r"[^\W\d_]+")
# An area code in brackets is not a list mark: a mark has few digits, and a complete number follows it.
_LIST_MARK = re.compile(
    r"\s*(?:"
    r"[1-9]\d?[.)][ \t]+(?=[+(\d])"
    r"|(?:[1-9]\d{2,3}[.)]|[(\[][1-9]\d?[)\]])[ \t]+(?=[+0]|\([+0])"
    r"|#\d{1,4}[ \t:.]+(?=[+(\d])"
    r")"
)

EXTENSION = re.compile(
    r" ?[,;(]? ?(?:(?:ext(?:ension|n)?|durchwahl|dw|nebenstelle|nst|poste|interno|anexo|app(?:arat)?|доб)\b\.?|x|\#)"
    r"[ .:=]{0,3}(?P<digits>\d{1,7})(?!\d|\w)",
    re.IGNORECASE,
)
VANITY = re.compile(
    r"(?<![\w+])(?:\+?\d{1,3}[ .-]?)?\(?(?:0?800|8\d\d|0900|900)\)?[ .-]?(?=[A-Z0-9-]{0,20}[A-Z]{3})[A-Z0-9-]{3,20}"
)


def decoded(line: str) -> str:
    """Return the line with plus signs and spaces decoded from URL and HTML notation."""
    if "wa.me/" in line or "whatsapp" in line:
        line = _CHAT_LINK.sub(r"\1+", line)  # such links omit the plus sign
    if "%2" in line:
        line = _PERCENT_PLUS.sub("+", line)
    if "&" in line:
        line = _SPACE_ENTITY.sub(" ", _PLUS_ENTITY.sub("+", line))
    return line


def masked(text: str) -> tuple[str, list[re.Match[str]]]:
    """Return the text, of the same length, with what is not a phone number blanked out, and what was blanked out."""
    blanked: list[re.Match[str]] = []
    if not _CHEAP.search(text):
        return text, blanked

    def blank(match: re.Match[str]) -> str:
        blanked.append(match)
        return "\0" * (match.end() - match.start())

    return _MASKED.sub(blank, text), blanked


def letters_outside_labels(text: str) -> bool:
    """Return whether the line has words other than labels of a number."""
    return any(word[0].casefold() not in LABELS for word in _WORD.finditer(text))


def list_mark(text: str) -> int:
    """Return where the text continues after a '1.', '2)' or '#3' at its start."""
    match = _LIST_MARK.match(text)
    return match.end() if match else 0


def is_identifier(text: str, start: int, end: int) -> bool:
    """Return whether digits without a plus sign are part of a word, a web address or an order number."""
    if _JOINED_BEHIND.match(text, end):
        return True
    before = text[max(0, start - _LOOK_BACK) : start]
    if not before or before.isspace():
        return False
    joined = before[before.rfind(" ") + 1 :]
    if any(sign in joined for sign in ("://", "www.", "@")):
        return True
    if joined and (
        joined[-1] in "_#$€£*"
        or (joined[-1] == "-" and joined[-2:-1].isalnum() and not _is_label(joined[:-1]))
    ):
        return True
    words = _WORDS_BEFORE.search(before)
    if not words:
        return False
    if any(word and _IDENTIFIES.fullmatch(word) for word in words.group(1, 2)):
        return True
    if words[3] and not words[3].strip(".: "):
        return False
    return not _is_label(words[2])


def _is_label(word: str) -> bool:
    return word.casefold() in LABELS
