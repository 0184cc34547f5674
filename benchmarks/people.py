"""A shop's visitors: as different from each other as real ones, and the same in each run."""

import random
from collections.abc import Mapping
from typing import Any

_FIRST = """
James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan Joseph Jessica
Thomas Sarah Christopher Karen Zoë José Renée Søren Chloé André Jürgen Lena Ana María Mary Ann Jean-Luc Anne-Marie Noah
Olivia Liam Emma Ava Sofía Mateo Lucía Björn Łukasz Aïcha Chinedu Priya Wei Yuki Fatima Omar Ingrid Nils Siobhán Ciarán
"""
_STARTS = """
An Ber Bran Cal Car Dal Dav Eck Fitz Gar Gold Gray Ham Har Hol Hoff Jack John Kauf Kirch Lam Lind Mac Mar Mo Mül Nor
O'Con O'Don Par Pat Peter Ray Rich Rob Rosen San Schnei Stein Tor Wal Wat Whit Wil Zim
"""
_ENDS = """
berg born cía cock den der dez er feld ford gan gate ger hart ham kins land ler ley lin man mer mann nell reira
ry sen ser ski son stein sson ston ton tti vale well wood worth
"""
_PLACES = ("", "", "", "", "New ", "North ", "San ", "St. ", "West ", "Fort ")
_PLACE_ENDS = """
ville burg field ford haven mont port side ton town view wood dale bridge -on-Sea Falls Springs
"""
_STATES = """
Alabama Alaska Arizona Arkansas California Colorado Connecticut Delaware Florida Georgia Hawaii Idaho Illinois Indiana
Iowa Kansas Kentucky Louisiana Maine Maryland Massachusetts Michigan Minnesota Mississippi Missouri Montana Nebraska
Nevada Ohio Oklahoma Oregon Pennsylvania Tennessee Texas Utah Vermont Virginia Washington Wisconsin Wyoming
"""
_MAIL = (
    "gmail.com",
    "yahoo.com",
    "outlook.com",
    "icloud.com",
    "hotmail.com",
    "gmx.de",
    "orange.fr",
    "example.co.uk",
)
_SYSTEMS = (
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
    "Linux; Android 14; Pixel 8",
)
_SOURCES = ("newsletter", "google", "pinterest", "instagram", "facebook", "affiliate")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
# Country, its share, its e-mail-like postcode, and how its people write their phone numbers.
_COUNTRIES: Mapping[str, tuple[int, str, tuple[str, ...]]] = {
    "United States": (
        70,
        "#####",
        ("+1 (AAA) EEE-####", "(AAA) EEE-####", "AAA-EEE-####", "+1AAAEEE####", "AAAEEE####"),
    ),
    "Germany": (12, "#####", ("+49 151 ########", "0171 #######", "+49151########", "0221/#######")),
    "United Kingdom": (10, "SW# #AA", ("+44 7700 ######", "07700 ######", "+447700######", "020 7### ####")),
    "France": (8, "#####", ("+33 6 ## ## ## ##", "06 ## ## ## ##", "+336########")),
}


def person(seed: str) -> dict[str, Any]:
    """Return the context of a visitor's event: address, user agent, page and traits."""
    rng = random.Random(seed)
    first = _word(rng, _FIRST)
    last = _word(rng, _STARTS) + _word(rng, _ENDS)
    if rng.random() < 0.1:
        last += "-" + _word(rng, _STARTS) + _word(rng, _ENDS)
    (country,) = rng.choices(tuple(_COUNTRIES), [share for share, _, _ in _COUNTRIES.values()])
    _, postcode, phones = _COUNTRIES[country]
    number = rng.randrange(10**8)
    return {
        "ip": f"{rng.randrange(24, 99)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}",
        "userAgent": f"Mozilla/5.0 ({rng.choice(_SYSTEMS)}) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{rng.randrange(100, 131)}.0.0.0 Safari/537.36",
        "page": {"url": _url(rng), "title": "Thank you"},
        "traits": {
            "email": f"{_ascii(first)}.{_ascii(last)}{number}@{rng.choice(_MAIL)}",
            "phone": _filled(rng, rng.choice(phones)),
            "gender": rng.choice(("female", "male")),
            "birthday": f"{rng.randrange(1950, 2006)}-{rng.randrange(1, 13):02d}-{rng.randrange(1, 29):02d}",
            "firstName": first,
            "lastName": last,
            "externalId": f"loyalty-{number}",
            "address": {
                "city": rng.choice(_PLACES) + _word(rng, _STARTS) + _word(rng, _PLACE_ENDS),
                **({"state": _word(rng, _STATES)} if country == "United States" else {}),
                "postalCode": _filled(rng, postcode),
                "country": country,
            },
        },
    }


def _word(rng: random.Random, words: str) -> str:
    return rng.choice(words.split())


def _ascii(name: str) -> str:
    return "".join(filter(str.isalpha, name.lower())).encode("ascii", "ignore").decode()


def _filled(rng: random.Random, form: str) -> str:
    """Return a form with its signs replaced: # by a digit, A and E by area and exchange codes as in North America."""
    form = form.replace("AAA", str(rng.choice((212, 305, 312, 415, 503, 617, 702, 808, 917))), 1)
    form = form.replace("EEE", f"{rng.randrange(200, 999)}", 1)
    return "".join(str(rng.randrange(10)) if sign == "#" else sign for sign in form)


def _url(rng: random.Random) -> str:
    """Return a page's address as it is after a click on an advertisement or in a newsletter, or without one."""
    key = "".join(rng.choices(_LETTERS[:52], k=13))
    url = f"https://www.example.com/checkout/order-received/{rng.randrange(10**6)}/?key=wc_order_{key}"
    if rng.random() < 0.6:
        click = "".join(rng.choices(_LETTERS, k=50))
        url += f"&utm_source={rng.choice(_SOURCES)}&utm_campaign=spring_{rng.randrange(1, 60)}&gclid=Cj0KCQ{click}"
    return url
