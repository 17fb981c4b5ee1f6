"""Where the sandbox's numbers come from: countries, their prefixes and what a number costs there.

One line per country and type: how many digits follow the calling code, then the prefixes in use, with their place
if the plan has one ("212 New York/New York" is city and state). `sandbox.inventory` checks generated numbers with
`phonenumbers`.
"""

from dataclasses import dataclass

NUMBER_TYPES = ("mobile", "local", "toll-free", "national")


@dataclass(frozen=True)
class Area:
    """One prefix of a plan and the place it belongs to, if any."""

    prefix: str
    city: str = ""
    state: str = ""


@dataclass(frozen=True)
class Plan:
    """The numbers of one type in one country; `monthly_cents` is the cost of an ordinary one."""

    country_code: str
    country: str
    calling_code: str
    number_type: str
    digits: int
    areas: tuple[Area, ...]
    monthly_cents: int


TABLE = """
US|United States|1|100
  mobile|10|917 New York/New York, 310 Los Angeles/California, 312 Chicago/Illinois, 305 Miami/Florida
  local|10|212 New York/New York, 415 San Francisco/California, 617 Boston/Massachusetts, 512 Austin/Texas
  toll-free|10|800, 888, 877, 866
CA|Canada|1|110
  mobile|10|647 Toronto/Ontario, 438 Montreal/Quebec, 778 Vancouver/British Columbia
  local|10|416 Toronto/Ontario, 514 Montreal/Quebec, 604 Vancouver/British Columbia
GB|United Kingdom|44|120
  mobile|10|7400, 7800, 7912
  local|10|207 London, 1214 Birmingham, 1614 Manchester, 1314 Edinburgh
  toll-free|10|800, 808
  national|10|330, 333
IE|Ireland|353|150
  mobile|9|83, 85, 87
  local|9|1 Dublin/Leinster
  toll-free|10|1800
  national|9|818
DE|Germany|49|150
  mobile|11|151, 160, 171
  local|10|30 Berlin, 69 Frankfurt am Main/Hesse, 89 Munich/Bavaria, 40 Hamburg
  toll-free|10|800
FR|France|33|140
  mobile|9|6, 7
  local|9|14 Paris, 42 Marseille, 47 Lyon
  toll-free|9|805
  national|9|97, 98
AT|Austria|43|160
  mobile|10|664, 676
  local|8|1 Vienna
  toll-free|9|800
  national|9|720
CH|Switzerland|41|180
  mobile|9|76, 78, 79
  local|9|44 Zurich, 22 Geneva, 31 Bern
  toll-free|9|800
  national|9|58
BE|Belgium|32|150
  mobile|9|470, 485, 495
  local|8|2 Brussels, 3 Antwerp
  toll-free|8|800
  national|8|78
NL|Netherlands|31|150
  mobile|9|61, 62
  local|9|20 Amsterdam, 10 Rotterdam
  toll-free|7|800
  national|9|85
ES|Spain|34|130
  mobile|9|61, 65
  local|9|91 Madrid, 93 Barcelona
  toll-free|9|900
PT|Portugal|351|150
  mobile|9|91, 96
  local|9|21 Lisbon, 22 Porto
  toll-free|9|800
  national|9|707
IT|Italy|39|170
  mobile|10|333, 347
  local|10|02 Milan, 06 Rome
  toll-free|9|800
SE|Sweden|46|120
  mobile|9|70, 73
  local|8|8 Stockholm
  toll-free|9|20
  national|9|10
NO|Norway|47|160
  mobile|8|90, 41
  local|8|22 Oslo, 55 Bergen
  toll-free|8|800
DK|Denmark|45|140
  mobile|8|20, 31
  local|8|33 Copenhagen
  toll-free|8|80
FI|Finland|358|150
  mobile|9|40, 50
  local|9|9 Helsinki
  toll-free|9|800
PL|Poland|48|110
  mobile|9|51, 60
  local|9|22 Warsaw, 12 Krakow
  toll-free|9|800
  national|9|39
CZ|Czechia|420|120
  mobile|9|601, 720
  local|9|2 Prague
  toll-free|9|800
AU|Australia|61|200
  mobile|9|41, 42
  local|9|28 Sydney/New South Wales, 38 Melbourne/Victoria
  toll-free|10|1800
  national|10|1300
NZ|New Zealand|64|210
  mobile|9|21
  local|8|99 Auckland, 44 Wellington
  toll-free|9|800
JP|Japan|81|450
  mobile|10|80, 90
  local|9|3 Tokyo, 6 Osaka
  toll-free|9|120
  national|10|50
SG|Singapore|65|400
  mobile|8|81, 91
  local|8|62 Singapore
HK|Hong Kong|852|300
  mobile|8|51, 61
  local|8|21 Hong Kong
  toll-free|9|800
ZA|South Africa|27|190
  mobile|9|71, 82
  local|9|11 Johannesburg, 21 Cape Town
  toll-free|9|80
BR|Brazil|55|220
  mobile|11|119 Sao Paulo, 219 Rio de Janeiro
  local|10|113 Sao Paulo, 213 Rio de Janeiro
MX|Mexico|52|180
  mobile|10|55 Mexico City, 81 Monterrey
  local|10|33 Guadalajara, 222 Puebla
  toll-free|10|800
"""

# Per cent of the country's price.
DEARER_BY_TYPE = {"mobile": 100, "local": 80, "toll-free": 200, "national": 150}


def _area(text):
    prefix, _, place = text.strip().partition(" ")
    city, _, state = place.partition("/")
    return Area(prefix, city, state)


def _read(table):
    plans = {}
    for line in table.strip().splitlines():
        if not line.startswith(" "):
            country_code, country, calling_code, cents = line.split("|")
            continue
        number_type, digits, areas = line.strip().split("|")
        plans[country_code, number_type] = Plan(
            country_code=country_code,
            country=country,
            calling_code=calling_code,
            number_type=number_type,
            digits=int(digits),
            areas=tuple(_area(text) for text in areas.split(",")),
            monthly_cents=int(cents) * DEARER_BY_TYPE[number_type] // 100,
        )
    return plans


PLANS = _read(TABLE)
