"""Countries: their names in English, German and French, as people type and paste them, and their flags."""

import re
import unicodedata
from functools import cache, lru_cache

_NAMES = """
AC Ascension Island|Ascension|Île de l'Ascension
AD Andorra|Andorre
AE United Arab Emirates|Vereinigte Arabische Emirate|Emirats Arabes Unis|UAE
AF Afghanistan
AG Antigua and Barbuda|Antigua und Barbuda|Antigua et Barbuda
AI Anguilla
AL Albania|Albanien|Albanie
AM Armenia|Armenien|Arménie
AO Angola
AR Argentina|Argentinien|Argentine
AS American Samoa|Amerikanisch-Samoa|Samoa américaines
AT Austria|Österreich|Autriche
AU Australia|Australien|Australie
AW Aruba
AX Åland Islands|Aaland-Inseln|Îles Åland
AZ Azerbaijan|Aserbaidschan|Azerbaïdjan
BA Bosnia and Herzegovina|Bosnien und Herzegowina|Bosnie-Herzégovine
BB Barbados|Barbade
BD Bangladesh|Bangladesch
BE Belgium|Belgien|Belgique
BF Burkina Faso
BG Bulgaria|Bulgarien|Bulgarie
BH Bahrain|Bahreïn
BI Burundi
BJ Benin
BL Saint Barthélemy|Saint-Barthélemy
BM Bermuda|Bermudes
BN Brunei
BO Bolivia|Bolivien|Bolivie
BQ Bonaire, Sint Eustatius and Saba|Bonaire, Sint Eustatius und Saba|Bonaire, Saint-Eustache et Saba
BR Brazil|Brasilien|Brésil
BS Bahamas
BT Bhutan|Bhoutan
BW Botswana|Botsuana
BY Belarus|Biélo-Russie
BZ Belize|Bélize
CA Canada|Kanada
CC Cocos Islands|Kokos-Inseln|Îles Cocos
CD The Democratic Republic Of Congo|Demokratische Republik Kongo|République démocratique du Congo
CF Central African Republic|Zentralafrikanische Republik|République Centre-Africaine
CG Congo|Kongo
CH Switzerland|Schweiz|Suisse|Swiss
CI Côte d'Ivoire|Elfenbeinküste|Ivory Coast
CK Cook Islands|Cook-Inseln|Îles Cook
CL Chile|Chili
CM Cameroon|Kamerun|Cameroun
CN China|Chine
CO Colombia|Kolumbien|Colombie
CR Costa Rica
CU Cuba|Kuba
CV Cape Verde|Kap Verde|Cap Vert
CW Curaçao
CX Christmas Island|Weihnachtsinsel|Île Christmas
CY Cyprus|Zypern|Chypre
CZ Czech Republic|Tschechische Republik|République Tchèque|République tchèque
DE Germany|Deutschland|Allemagne|BRD
DJ Djibouti|Dschibuti
DK Denmark|Dänemark|Danemark
DM Dominica|Dominique
DO Dominican Republic|Dominikanische Republik|République Dominicaine
DZ Algeria|Algerien|Algérie
EC Ecuador|Equateur
EE Estonia|Estland|Estonie
EG Egypt|Ägypten|Egypte
EH Western Sahara|Westsahara|Sahara Occidental
ER Eritrea|Erythrée
ES Spain|Spanien|Espagne
ET Ethiopia|Äthiopien|Ethiopie
FI Finland|Finnland|Finlande
FJ Fiji|Fidschi|Fidji
FK Falkland Islands|Falkland-Inseln|Îles Malouines
FM Micronesia|Mikronesien|Micronésie
FO Faroe Islands|Färöer-Inseln|Îles Féroé
FR France|Frankreich
GA Gabon|Gabun
GB United Kingdom|Vereinigtes Königreich|Royaume-Uni|UK|Great Britain|Großbritannien|Grande-Bretagne|England
GD Grenada|Grenade
GE Georgia|Georgien|Géorgie
GF French Guiana|Französisch-Guayana|Guyane française
GG Guernsey|Guernesey
GH Ghana
GI Gibraltar
GL Greenland|Grönland|Groenland
GM Gambia|Gambie
GN Guinea|Guinée
GP Guadeloupe
GQ Equatorial Guinea|Äquatorial-Guinea|Guinée Equatoriale
GR Greece|Griechenland|Grèce
GT Guatemala
GU Guam
GW Guinea-Bissau|Guinée-Bissau
GY Guyana
HK Hong Kong|Hongkong|Hong-Kong
HN Honduras
HR Croatia|Kroatien|Croatie
HT Haiti|Haïti
HU Hungary|Ungarn|Hongrie
ID Indonesia|Indonesien|Indonésie
IE Ireland|Irland|Irlande|Eire
IL Israel|Israël
IM Isle Of Man|Isle of Man|Ile de Man
IN India|Indien|Inde
IO British Indian Ocean Territory|Britisches Territorium im Indischen Ozean
IQ Iraq|Irak
IR Iran
IS Iceland|Island|Islande
IT Italy|Italien|Italie
JE Jersey
JM Jamaica|Jamaika|Jamaïque
JO Jordan|Jordanien|Jordanie
JP Japan|Japon
KE Kenya|Kenia
KG Kyrgyzstan|Kirgistan
KH Cambodia|Kambodscha|Cambodge
KI Kiribati
KM Comoros|Komoren|Comores
KN Saint Kitts And Nevis|Saint Kitts und Nevis|Saint-Christophe-et-Niévès
KP North Korea|Nordkorea|Corée du Nord
KR South Korea|Südkorea|Corée du Sud
KW Kuwait|Koweit
KY Cayman Islands|Kaiman-Inseln|Îles Caïmans
KZ Kazakhstan|Kasachstan
LA Laos
LB Lebanon|Libanon|Liban
LC Saint Lucia|St. Lucia|Sainte-Lucie
LI Liechtenstein
LK Sri Lanka
LR Liberia
LS Lesotho
LT Lithuania|Litauen|Lithuanie
LU Luxembourg|Luxemburg
LV Latvia|Lettland|Lettonie
LY Libya|Libyen|Libye
MA Morocco|Marokko|Maroc
MC Monaco
MD Moldova|Moldau|Moldavie
ME Montenegro|Monténégro
MF Saint Martin|St. Martin|Saint-Martin
MG Madagascar|Madagaskar
MH Marshall Islands|Marshall-Inseln|Îles Marshall
MK Macedonia|Mazedonien|Macédoine
ML Mali
MM Myanmar
MN Mongolia|Mongolei|Mongolie
MO Macao|Macau
MP Northern Mariana Islands|Nördliche Mariannen-Inseln|Îles Mariannes du Nord
MQ Martinique
MR Mauritania|Mauretanien|Mauritanie
MS Montserrat
MT Malta|Malte
MU Mauritius|Maurice
MV Maldives|Maldiven
MW Malawi
MX Mexico|Mexiko|Mexique
MY Malaysia|Malaisie
MZ Mozambique|Mosambik
NA Namibia|Namibie
NC New Caledonia|Neukaledonien|Nouvelle-Calédonie
NE Niger
NF Norfolk Island|Norfolk-Insel|Île Norfolk
NG Nigeria|Nigéria
NI Nicaragua
NL Netherlands|Niederlande|Pays-Bas|Holland|The Netherlands|Hollande
NO Norway|Norwegen|Norvège
NP Nepal|Népal
NR Nauru
NU Niue
NZ New Zealand|Neuseeland|Nouvelle-Zélande
OM Oman
PA Panama
PE Peru|Pérou
PF French Polynesia|Französisch-Polynesien|Polynésie Française
PG Papua New Guinea|Papua-Neuguinea|Papouasie-Nouvelle-Guinée
PH Philippines|Philippinen
PK Pakistan
PL Poland|Polen|Pologne
PM Saint Pierre And Miquelon|St. Pierre und Miquelon|Saint-Pierre-et-Miquelon
PR Puerto Rico|Porto Rico
PS Palestine|Palästina
PT Portugal
PW Palau|Belau
PY Paraguay
QA Qatar|Katar
RE Reunion|La Réunion
RO Romania|Rumänien|Roumanie
RS Serbia|Serbien|Serbie
RU Russia|Russland|Russie
RW Rwanda|Ruanda
SA Saudi Arabia|Saudi-Arabien|Arabie Saoudite
SB Solomon Islands|Solomon-Inseln|Îles Salomon
SC Seychelles|Seychellen
SD Sudan|Soudan
SE Sweden|Schweden|Suède
SG Singapore|Singapur|Singapour
SH Saint Helena|St. Helena|Sainte-Hélène
SI Slovenia|Slowenien|Slovénie
SJ Svalbard And Jan Mayen|Svalbard und Jan Mayen|Svalbard et Jan Mayen
SK Slovakia|Slowakei|Slovaquie
SL Sierra Leone
SM San Marino|Saint-Marin
SN Senegal|Sénégal
SO Somalia|Somalie
SR Suriname
SS South Sudan|Südsudan|Sud-Soudan
ST Sao Tome And Principe|Sao Tome und Principe|Sao Tomé et Principe
SV El Salvador
SX Sint Maarten (Dutch part)|Sint Maarten (Niederländischer Teil)|Saint-Martin (partie néerlandaise)
SY Syria|Syrien|Syrie
SZ Swaziland|Swasiland
TA Tristan da Cunha
TC Turks And Caicos Islands|Turks- und Caicos-Inseln|Îles Turks et Caicos
TD Chad|Tschad|Tchad
TG Togo
TH Thailand|Thaïlande
TJ Tajikistan|Tadschikistan|Tadjikistan
TK Tokelau
TL Timor-Leste
TM Turkmenistan|Turkménistan
TN Tunisia|Tunesien|Tunisie
TO Tonga
TR Turkey|Türkei|Turquie|Turkiye
TT Trinidad and Tobago|Trinidad und Tobago|Trinité-et-Tobago
TV Tuvalu
TW Taiwan
TZ Tanzania|Tansania|Tanzanie
UA Ukraine
UG Uganda|Ouganda
US United States|USA|United States of America|Vereinigte Staaten|Vereinigte Staaten von Amerika|États-Unis|Amerika
UY Uruguay
UZ Uzbekistan|Usbekistan|Ouzbékistan
VA Vatican|Vatikanstadt
VC Saint Vincent And The Grenadines|St. Vincent und die Grenadinen|Saint-Vincent-et-les Grenadines
VE Venezuela|Vénézuela
VG British Virgin Islands|Britische Jungferninseln|Iles Vierges Britanniques
VI U.S. Virgin Islands|Amerikanische Jungferninseln|Iles Vierges Américaines
VN Vietnam
VU Vanuatu
WF Wallis And Futuna|Wallis und Futuna|Wallis-et-Futuna
WS Samoa
XK Kosovo
YE Yemen|Jemen|Yémen
YT Mayotte
ZA South Africa|Südafrika|Afrique du Sud
ZM Zambia|Sambia|Zambie
ZW Zimbabwe|Simbabwe
"""


def folded(text: str) -> str:
    """Return the letters and digits of a text in lower case, without accents and whatever stands between."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
        text = "".join(character for character in text if not unicodedata.combining(character))
    return re.sub(r"[\W_]+", "", text.casefold())


_LISTED = [(line[:2], line[3:].split("|")) for line in _NAMES.strip().splitlines()]
_ENGLISH = {code: names[0] for code, names in _LISTED}
_CODES = {folded(name): code for code, names in _LISTED for name in names if name} | {"el": "GR"}
_FLAG = {code: chr(code - 0x1F1E6 + ord("A")) for code in range(0x1F1E6, 0x1F200)}


def country_name(code: str) -> str:
    """Return the English name of a country, or the code itself."""
    return _ENGLISH.get(code) or code


def flag(code: str) -> str:
    """Return the flag of a country as an emoji."""
    return "".join(chr(ord(letter) - ord("A") + 0x1F1E6) for letter in code)


@cache
def all_countries() -> tuple[tuple[str, str], ...]:
    """Return code and English name of every country, by name."""
    return tuple(sorted(_ENGLISH.items(), key=lambda country: folded(country[1])))


@lru_cache(maxsize=2048)
def country_of(text: str) -> str:
    """Return the ISO code that a code, a name, a flag or a mix such as 'Germany (DE)' stands for, or ''."""
    text = text[:80].translate(_FLAG).strip()
    if text.upper() in _ENGLISH:
        return text.upper()
    for part in (text, *re.split(r"[()/,;:\[\]]+| [-–] ", text)):
        if code := _CODES.get(folded(part)):
            return code
    codes = {part for part in re.split(r"[\W_]+", text) if part in _ENGLISH}
    return codes.pop() if len(codes) == 1 else ""
