"""The names of countries: what is shown, and what is understood of what people type and paste."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from purchasing import countries
from purchasing.countries import COUNTRIES, country_name, country_of, flag, folded


class TestShown:
    @pytest.mark.parametrize(
        ("code", "name"),
        [
            ("CD", "DR Congo"),
            ("CG", "Congo"),
            ("CI", "Côte d’Ivoire"),
            ("CZ", "Czechia"),
            ("DE", "Germany"),
            ("HK", "Hong Kong"),
            ("MK", "North Macedonia"),
            ("MM", "Myanmar"),
            ("MO", "Macao"),
            ("PS", "Palestine"),
            ("SH", "St. Helena"),
            ("SZ", "Eswatini"),
            ("TR", "Türkiye"),
            ("TT", "Trinidad and Tobago"),
            ("XK", "Kosovo"),
            ("XX", "XX"),
            ("", ""),
        ],
    )
    def test_names_are_those_that_staff_expect(self, code, name):
        assert country_name(code) == name

    def test_every_country_has_a_name_of_its_own_and_the_list_is_by_name(self):
        codes, names = zip(*countries.all_countries(), strict=True)
        assert set(codes) == set(COUNTRIES)
        assert len(set(names)) == len(names) > 240
        assert list(names) == sorted(names, key=folded)
        assert not any("&" in name or name == code for code, name in countries.all_countries())


class TestUnderstood:
    @pytest.mark.parametrize(
        ("code", "written"),
        [
            (
                "CZ",
                "Czechia|Czech Republic|Tschechien|Tschechische Republik|Tchéquie|Chequia|Cechia|Tsjechië|cz",
            ),
            (
                "DE",
                "Germany|Deutschland|Allemagne|Alemania|Germania|Duitsland|BRD|🇩🇪|Germany (DE)|DE - Germany",
            ),
            ("GB", "UK|United Kingdom|Great Britain|Großbritannien|England|Regno Unito|Verenigd Koninkrijk"),
            ("US", "USA|United States|United States of America|Vereinigte Staaten|États-Unis|Estados Unidos"),
            ("CD", "DR Congo|Congo - Kinshasa|Congo, Democratic Republic of the|Congo (DRC)|Kongo-Kinshasa"),
            ("CG", "Congo|Kongo|Congo-Brazzaville"),
            ("CI", "Cote d'Ivoire|Côte d’Ivoire|Ivory Coast|Elfenbeinküste|Costa d’Avorio|Ivoorkust"),
            ("HK", "Hong Kong|Hongkong|Hong-Kong|Hong Kong SAR China"),
            ("KN", "Saint Kitts and Nevis|St. Kitts & Nevis|St Kitts and Nevis|Saint-Christophe-et-Niévès"),
            ("MK", "North Macedonia|Macedonia|Mazedonien|Nordmazedonien|Macédoine du Nord"),
            ("TR", "Türkiye|Turkiye|Turkey|Türkei|Turquie|Turchia"),
            ("NL", "Netherlands|The Netherlands|Holland|Niederlande|Pays-Bas|Paesi Bassi|Nederland"),
            ("GR", "Greece|EL|Griechenland"),
            ("", "nowhere|XX|Berlin|DE FR| |x" + "x" * 5000),
        ],
    )
    def test_names_as_people_write_them(self, code, written):
        names = [*written.split("|"), *written.upper().split("|"), *written.lower().split("|")]
        assert {name: country_of(name) for name in names} == dict.fromkeys(names, code)

    def test_every_name_that_is_shown_is_understood(self):
        for code, name in countries.all_countries():
            for written in (name, f"{name} ({code})", f"{flag(code)} {name} ({code})", f"{code}, {name}"):
                assert country_of(written) == code, written

    def test_every_name_in_the_languages_of_pasted_tables_is_understood_as_one_country(self):
        names = [pair for language in countries.LANGUAGES for pair in countries.names_in(language).items()]
        assert [(code, name) for code, name in names if country_of(name) != code] == []

    def test_every_language_that_there_are_names_in_can_be_asked_for(self):
        assert countries.names_in("cs")["CZ"] == "Česko"
        assert countries.names_in("ja")["JP"] == "日本"


def test_a_language_is_loaded_when_it_is_first_needed():
    code = """
import django; django.setup()
from dashboard import urls
from purchasing import countries
loaded = lambda: countries.names_in.cache_info().currsize
counts = [loaded()]
for use in (lambda: countries.country_of("de"), lambda: countries.country_name("DE"),
            countries.all_countries, lambda: countries.country_of("Deutschland")):
    use()
    counts.append(loaded())
print(counts)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "dashboard.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == f"[0, 0, 1, 1, {len(countries.LANGUAGES)}]"
