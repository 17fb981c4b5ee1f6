"""What table headings, JSON keys and the words in cells mean."""

import re
from functools import lru_cache

from purchasing.countries import folded

# Best first: if several columns or keys have the same role, the earlier word wins.
_HEADINGS = {
    "phone": """
        phonenumber e164 e164number msisdn didnumber virtualnumber telephonenumber telefonnummer rufnummer
        rufnummern telefonnummern numerodetelephone numerotelephone numtel telefonnr rufnr phonenumbers
        phoneno telno telefoonnummer numerodetelefono numeroditelefono mobilenumber mobilnummer handynummer
        did tn phone telephone telefon tel telefono telefoon teléfono number numbers numero numeros nummer
        nummern mobile mobil handy portable
    """,
    "area": "areacode vorwahl ortsvorwahl indicatif prefix",
    "country": """
        countrycode country countryiso isocountry iso isocode iso2 alpha2 land landercode laendercode
        landerkurzel laenderkurzel landeskurzel landerkennung landeskennung landercodeiso staat pays
        codepays codedupays pais paese callingcode landesvorwahl
    """,
    "type": """
        numbertype phonenumbertype type typ nummerntyp nummertyp rufnummerntyp rufnummernart nummernart art
        typedenumero typenumero tipo category kategorie
    """,
    "name": "name label displayname anzeigename bezeichnung nom libelle friendlyname nombre nome",
    "upfront": """
        upfrontcost upfront upfrontcosts upfrontprice upfrontfee setup setupcost setupcosts setupfee
        setupprice onetime onetimecost onetimefee onetimeprice nrc activationfee activationcost einmalig
        einmalkosten einmaligekosten einmalpreis einrichtung einrichtungskosten einrichtungsgebuhr
        einrichtungspreis anschlussgebuhr bereitstellung bereitstellungsgebuhr fraisuniques
        fraisdinstallation fraisdactivation fraisinitiaux coutinitial coutunique coutdinstallation
        coutdactivation miseenservice fraisdemiseenservice
    """,
    "monthly": """
        monthlycost monthly monthlycosts monthlyprice monthlyfee monthlyrate mrc permonth costpermonth
        pricepermonth monthlyrental monatlich monatskosten monatlichekosten monatspreis monatsgebuhr
        monatlichegebuhr grundgebuhr kostenpromonat preispromonat promonat mensuel coutmensuel prixmensuel
        fraismensuels tarifmensuel parmois abonnement abonnementmensuel
    """,
    "features": """
        features feature capabilities capability funktionen funktion leistungsmerkmale merkmale fonctions
        fonctionnalites services
    """,
    "region": """
        regioninformation region regionname regions city town ort ortsnetz stadt gebiet bundesland state
        province locality location ratecenter ville localite departement lieu
    """,
    "group": "requirementgroupid requirementgroup",
    "price": "price cost costs preis kosten prix cout tarif gebuhr fee rate amount betrag montant",
}
_ROLES = {word: (role, rank) for role, words in _HEADINGS.items() for rank, word in enumerate(words.split())}
_UNITS = re.compile(r"\([^)]*\)|\[[^\]]*\]|[€$£¥]|\b(?:EUR|USD|GBP|CHF)\b")

_TYPES = {
    "local": """
        local geographic geo geographical fixed fixedline landline lokal ort ortsnetz festnetz geografisch
        fixe geographique fijo
    """,
    "mobile": "mobile mobil mobilfunk cell cellular handy gsm portable movil mobiltelefon mobilenumber mobilnummer",
    "national": "national nationale nongeographic nichtgeografisch nongeographique landesweit",
    "toll-free": "tollfree freephone freecall free kostenlos gebuhrenfrei gratuit numerovert gratis 0800 800",
}
_TYPE_OF = {word: number_type for number_type, words in _TYPES.items() for word in words.split()}


@lru_cache(maxsize=2048)
def role_of(heading: str) -> tuple[str, int]:
    """Return the role of a heading or key, and its rank among the words for that role; ('', 0) if it has none."""
    word = folded(_UNITS.sub(" ", heading[:120]))
    return _ROLES.get(word) or _ROLES.get(word.rstrip("0123456789")) or ("", 0)


@lru_cache(maxsize=2048)
def type_of(text: str) -> str:
    """Return the number type that a word means, or ''."""
    word = folded(text[:60])
    for end in ("numbers", "number", "nummern", "nummer", "rufnummer", "phone"):
        if word not in _TYPE_OF:
            word = word.removesuffix(end)
    return _TYPE_OF.get(word, "")
