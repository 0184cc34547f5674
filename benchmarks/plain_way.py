"""Hash an event's person as a shop's developer would write it, for these very events and no others.

Shares nothing with the worker. Pinterest's SDK and the usual way use it.
"""

from hashlib import sha256

import phonenumbers

_STATES = """
Alabama al Alaska ak Arizona az Arkansas ar California ca Colorado co Connecticut ct Delaware de Florida fl Georgia ga
Hawaii hi Idaho id Illinois il Indiana in Iowa ia Kansas ks Kentucky ky Louisiana la Maine me Maryland md
Massachusetts ma Michigan mi Minnesota mn Mississippi ms Missouri mo Montana mt Nebraska ne Nevada nv Ohio oh
Oklahoma ok Oregon or Pennsylvania pa Tennessee tn Texas tx Utah ut Vermont vt Virginia va Washington wa
Wisconsin wi Wyoming wy
"""
STATES = dict(zip(_STATES.split()[::2], _STATES.split()[1::2], strict=True))
COUNTRIES = {"United States": "us", "Germany": "de", "United Kingdom": "gb", "France": "fr"}
GENDERS = {"female": "f", "male": "m"}


def user_data(event):
    """Return the hashed traits, the address and the user agent of an event."""
    context = event["context"]
    traits = context["traits"]
    data = {
        "client_ip_address": context["ip"],
        "client_user_agent": context["userAgent"],
        "em": digest(traits["email"].strip().lower()),
    }
    return data | known_person(traits) if "address" in traits else data


def known_person(traits):
    """Return the hashes of everything but the e-mail address."""
    address = traits["address"]
    country = COUNTRIES[address["country"]]
    number = phonenumbers.parse(traits["phone"], country.upper())
    phone = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).lstrip("+")
    data = {
        "ph": digest(phone),
        "ge": digest(GENDERS[traits["gender"]]),
        "db": digest(traits["birthday"].replace("-", "")),
        "fn": digest(traits["firstName"].strip().lower()),
        "ln": digest(traits["lastName"].strip().lower()),
        "external_id": digest(traits["externalId"]),
        "ct": digest("".join(filter(str.isalnum, address["city"].lower()))),
        "zp": digest(address["postalCode"].replace(" ", "").lower()),
        "country": digest(country),
    }
    if "state" in address:
        data["st"] = digest(STATES[address["state"]])
    return data


def digest(text):
    """Return a SHA-256 as Pinterest takes it."""
    return [sha256(text.encode()).hexdigest()]
