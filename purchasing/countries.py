"""Countries: their names in English, their names as people type and paste them, and their flags.

The names are those of Unicode's CLDR, which Babel brings along. A country is what has a numbering plan. A language is
loaded when it is first asked for.
"""

import re
import unicodedata
from functools import cache, lru_cache

from babel import Locale
from phonenumbers import SUPPORTED_REGIONS as COUNTRIES

LANGUAGES = ("en", "de", "fr", "es", "it", "nl")  # as for the headings of pasted tables
# English names where Unicode's is longer than what people say, or means more than this code does here.
_ENGLISH = {
    "CD": "DR Congo",
    "CG": "Congo",
    "HK": "Hong Kong",
    "MM": "Myanmar",
    "MO": "Macao",
    "PS": "Palestine",
    "SH": "St. Helena",  # Ascension and Tristan da Cunha have codes of their own
}
# What people write besides: short, former and other names.
_ALSO = """
AE UAE
AX Aaland-Inseln
BQ Bonaire, Sint Eustatius and Saba|Bonaire, Sint Eustatius und Saba|Bonaire, Saint-Eustache et Saba
CC Cocos Islands
CD Democratic Republic of the Congo|Congo, Democratic Republic of the|Congo (Democratic Republic of the)|Congo (DRC)
CD The Democratic Republic of Congo|Demokratische Republik Kongo|République démocratique du Congo
CF République Centre-Africaine
CG Kongo
CH Swiss
CI Ivory Coast|Elfenbeinküste
CV Kap Verde
CZ Czech Republic|Tschechische Republik|République tchèque
DE BRD
FO Färöer-Inseln
GB UK|Great Britain|Großbritannien|Grande-Bretagne|England
GR EL
IE Eire
KG Kirgistan
LT Lithuanie
MD Moldau
MK Macedonia|Mazedonien|Macédoine
MO Macau
MP Nördliche Mariannen-Inseln
NL Holland|The Netherlands|Hollande
PS Palästina
PW Belau
SB Solomon-Inseln
SJ Svalbard und Jan Mayen
SS Sud-Soudan
SZ Swaziland|Swasiland
TC Îles Turks et Caicos
TR Turkey
US USA|United States of America|Vereinigte Staaten von Amerika|Amerika
VA Vatican
VC Saint Vincent and the Grenadines
VI Îles Vierges Américaines
"""


def folded(text: str) -> str:
    """Return the letters and digits of a text in lower case, without accents and whatever stands between."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
        text = "".join(character for character in text if not unicodedata.combining(character))
    return re.sub(r"[\W_]+", "", text.casefold())


_FLAG = {code: chr(code - 0x1F1E6 + ord("A")) for code in range(0x1F1E6, 0x1F200)}


@cache
def names_in(language: str) -> dict[str, str]:
    """Return the name of every country in a language such as 'pt', by code. The first time takes milliseconds."""
    names = Locale.parse(language).territories
    return {code: names[code] for code in COUNTRIES if code in names}


@cache
def _english() -> dict[str, str]:
    return {code: name.replace("&", "and") for code, name in (names_in("en") | _ENGLISH).items()}


@cache
def _codes() -> dict[str, str]:
    """Return the code of every name that is understood; names are as `_key` makes them."""
    codes = {_key(name): code for language in LANGUAGES for code, name in names_in(language).items()}
    codes |= {_key(name): code for code, name in _english().items()}
    for line in _ALSO.strip().splitlines():
        codes |= dict.fromkeys(map(_key, line[3:].split("|")), line[:2])
    return codes


def _key(name: str) -> str:
    """Return the letters of a name, with 'and' for '&' and 'Saint' for 'St.'."""
    return folded(re.sub(r"\bst\b", "saint", name.replace("&", " and "), flags=re.IGNORECASE))


def country_name(code: str) -> str:
    """Return the English name of a country, or the code itself."""
    return _english().get(code) or code


def flag(code: str) -> str:
    """Return the flag of a country as an emoji."""
    return "".join(chr(ord(letter) - ord("A") + 0x1F1E6) for letter in code)


@cache
def all_countries() -> tuple[tuple[str, str], ...]:
    """Return code and English name of every country, by name."""
    return tuple(sorted(_english().items(), key=lambda country: folded(country[1])))


@lru_cache(maxsize=2048)
def country_of(text: str) -> str:
    """Return the ISO code that a code, a name, a flag or a mix such as 'Germany (DE)' stands for, or ''."""
    text = text[:80].translate(_FLAG).strip()
    if text.upper() in COUNTRIES:
        return text.upper()
    for part in (text, *re.split(r"[()/,;:\[\]]+| [-–] ", text)):
        if code := _codes().get(_key(part)):
            return code
    codes = {part for part in re.split(r"[\W_]+", text) if part in COUNTRIES}
    return codes.pop() if len(codes) == 1 else ""
