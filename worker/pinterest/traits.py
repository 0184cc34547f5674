"""Find a person's identifiers among traits, and hash them."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from worker.events.keys import are_ordinary, fold
from worker.pinterest.countries import country_code
from worker.pinterest.explain import Explanation
from worker.pinterest.normalise import HOW, hash_value, normalise

MOST_VALUES = 10
_LONGEST_KEY = 64
_LONGEST_REMEMBERED = 1024

_SPELLINGS = {
    "em": "em email emails emailaddress mail useremail customeremail hashedemail emailhash emailsha256 "
    "sha256email sha256emailaddress hashedem",
    "ph": "ph phone phones phonenumber telephone tel mobile mobilenumber mobilephone cellphone userphone "
    "customerphone hashedphone phonehash phonesha256 sha256phone sha256phonenumber",
    "ge": "ge gender sex",
    "db": "db birthday birthdate dateofbirth dob birth",
    "fn": "fn firstname givenname forename sha256firstname",
    "ln": "ln lastname familyname surname sha256lastname",
    "ct": "ct city town locality",
    "st": "st state region province statecode regioncode provincecode",
    "zp": "zp zip zipcode postalcode postcode postal",
    "country": "country countrycode countryname",
    "external_id": "externalid externalids",
    "hashed_maids": "hashedmaids maid maids madid madids idfa gaid aaid advertisingid mobileadvertisingid",
}
_ADDRESS = "address"
_ADDRESSES = ("address", "billingaddress", "defaultaddress")
_FIELD_OF = {spelling: field for field, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_FIELD_OF |= dict.fromkeys(_ADDRESSES, _ADDRESS)


def is_trait(key: str) -> bool:
    """Say whether a key is a spelling of one of a person's traits."""
    return _field_of(key[:_LONGEST_KEY]) is not None


@lru_cache(maxsize=4096)
def _field_of(key: str) -> str | None:
    return _FIELD_OF.get(fold(key))


def hash_traits(
    traits: object, default_country: str | None, explain: Explanation | None = None
) -> dict[str, list[str]]:
    """Return the hashes of the identifiers among the traits, by Pinterest's field names.

    Spellings are told by ``_SPELLINGS``; a nested address counts too. Junk has no hash, a field without any
    value no entry. ``default_country`` (alpha-2) is where national phone numbers belong when no country is
    given.
    """
    found = collect(traits)
    values = found.values()
    if explain is not None or set(map(type, values)) != {str} or sum(map(len, values)) > _LONGEST_REMEMBERED:
        return _hash_found(found, default_country, explain)
    return dict(_hash_remembered(tuple(found.items()), default_country))


# A visitor's events come close together, and a server sends the same traits with each.
@lru_cache(maxsize=4096)
def _hash_remembered(found: tuple[tuple[str, str], ...], default_country: str | None) -> dict[str, list[str]]:
    return _hash_found(dict(found), default_country, None)


def _hash_found(
    found: Mapping[str, Any], default_country: str | None, explain: Explanation | None
) -> dict[str, list[str]]:
    country = _known_country(found["country"]) if "country" in found else None
    phone_country = country or (default_country and default_country.lower())
    hashes: dict[str, list[str]] = {}
    for field, value in found.items():
        near = phone_country if field == "ph" else country
        if type(value) is str:
            # By far the most frequent kind.
            digest = hash_value(field, value, near)
            digests = [digest] if digest else []
        else:
            digests = _hash_all(field, value if type(value) is list else [value], near)
        if digests:
            hashes[field] = digests
        if explain is not None:
            _explain(explain, field, value, near, digests)
    return hashes


def collect(traits: object) -> dict[str, Any]:
    """Return the raw values under Pinterest's field names; the first spelling of a field stays."""
    found: dict[str, Any] = {}
    if isinstance(traits, dict):
        _gather(traits, found)
    return found


def _gather(traits: Mapping[str, Any], found: dict[str, Any]) -> None:
    keys = tuple(traits)
    layout = _layout(keys) if are_ordinary(keys) else _layout.__wrapped__(keys)
    for field, key in layout:
        value = traits[key]
        if value is None or field in found:
            continue
        if field is not _ADDRESS:
            found[field] = value
        elif isinstance(value, dict):
            _gather(value, found)


# A sender's traits all have the same keys.
@lru_cache(maxsize=512)
def _layout(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return which keys hold which field, in their order."""
    fields = ((_field_of(key), key) for key in keys if len(key) <= _LONGEST_KEY)
    return [(field, key) for field, key in fields if field is not None]


def _hash_all(field: str, values: list[Any], country: str | None) -> list[str]:
    digests = (hash_value(field, one, country) for one in values[:MOST_VALUES])
    return list(dict.fromkeys(digest for digest in digests if digest))


def _known_country(value: object) -> str | None:
    first = value[0] if isinstance(value, list) and value else value
    return country_code(first) if isinstance(first, str) and len(first) <= _LONGEST_KEY else None


def _why_not(field: str, country: str | None) -> str:
    if field == "ph" and country is None:
        return (
            "is no international number, and no country is known: send +, give the country, or set a default"
        )
    return "is no usable value"


def _explain(
    explain: Explanation, field: str, value: object, country: str | None, digests: list[str]
) -> None:
    values = value if isinstance(value, list) else [value]
    if not digests:
        explain.add("identity", f"{field}: dropped, {explain.raw(value)} {_why_not(field, country)}")
        return
    for one in values[:MOST_VALUES]:
        digest = hash_value(field, one, country)
        normal = normalise(field, one, country)
        if digest is None:
            explain.add("identity", f"{field}: one of several values dropped as unusable")
        elif normal is None:
            explain.add("identity", f"{field}: already a hash, not hashed again → {digest[:12]}…")
        else:
            shown = f" {normal!r}" if explain.show_personal else ""
            explain.add("identity", f"{field}:{shown} {HOW[field]}, then SHA-256 → {digest[:12]}…")
