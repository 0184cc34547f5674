"""Find a person's identifiers in the traits, customers and addresses of senders, in their spellings."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worker.event.json_in_text import open_text
from worker.event.json_text import short_key
from worker.event.text import cached_by_keys, fold_key, fold_keys
from worker.pinterest.user_data.countries import country_code

_LONGEST = 64
# Currencies of one country, or of one where most buyers who pay with them live. The euro has none.
_CURRENCIES = """
ae AED; ar ARS; au AUD; bg BGN; br BRL; ca CAD; ch CHF; cl CLP; cn CNY; co COP; cz CZK; dk DKK; eg EGP;
gb GBP; hk HKD; hu HUF; id IDR; il ILS; in INR; is ISK; jp JPY; ke KES; kr KRW; kz KZT; ma MAD; mx MXN;
my MYR; ng NGN; no NOK; nz NZD; pe PEN; ph PHP; pk PKR; pl PLN; qa QAR; ro RON; rs RSD; ru RUB; sa SAR;
se SEK; sg SGD; th THB; tr TRY; tw TWD; ua UAH; us USD; uy UYU; vn VND; za ZAR
"""
_BY_CURRENCY = {row.split()[1]: row.split()[0] for row in _CURRENCIES.split(";")}


def person_regions(
    countries: Sequence[object],
    remembered: str | None,
    default: str | None,
    properties: Mapping[str, Any],
    context: Mapping[str, Any],
) -> Iterator[str]:
    """Yield a person's likely countries, alpha-2 in lower case, the most certain first. One may come twice.

    The order: a country that the event states, the country of an earlier ``identify`` call, the default of the
    integration or else of the source, the currency, the locale. Phone numbers, states and free text use the same order.
    """
    for raw in countries:
        if isinstance(raw, str) and len(raw) <= _LONGEST and (code := country_code(raw)):
            yield code
    if remembered:
        yield remembered
    if default:
        yield default.lower()
    currency = properties.get("currency")
    if isinstance(currency, str) and (by_currency := _BY_CURRENCY.get(currency.strip().upper())):
        yield by_currency
    locale = context.get("locale")
    if isinstance(locale, str) and len(locale) <= _LONGEST:
        # The region follows the language and perhaps the script, as in zh-Hant-TW.
        for part in locale.partition(".")[0].replace("_", "-").split("-")[1:]:
            if len(part) == 2 and country_code(part) == part.lower():
                yield part.lower()


_LONGEST_KEY = 64
_MOST_ADDRESSES = 5

# Where a place has a code and a name, the code comes first.
_SPELLINGS = {
    "em": "em email emails emailaddress emailaddresses mail mailaddress",
    "ph": "ph phone phones phonenumber phonenumbers telephone telephonenumber tel mobile mobilenumber mobilephone "
    "mobilephonenumber cellphone cell msisdn",
    "ge": "ge gender sex",
    "db": "db birthday birthdate dateofbirth dob birth",
    "fn": "fn firstname givenname forename fname",
    "ln": "ln lastname familyname surname lname secondname",
    "ct": "ct city town locality cityname addresslocality",
    "st": "statecode regioncode provincecode regionisocode st state region province stateprovince stateorprovince "
    "statename regionname provincename administrativearea addressregion",
    "zp": "zp zip zipcode postalcode postcode postal zippostalcode",
    "country": "countrycode countrycodev2 countryiso countryiso2 countryisocode isocountrycode country countryid "
    "countryname addresscountry",
    "external_id": "externalid externalids",
    "hashed_maids": "hashedmaids maid maids madid madids idfa gaid aaid advertisingid mobileadvertisingid gpsadid "
    "advertisingids adid rdid iosidfa iosadvertisingid iosadid androidadvertisingid androidadid androidgaid "
    "googleadvertisingid googleadid googleaid appleadvertisingid mobileadid mobileadids deviceadvertisingid "
    "advertiserid advertisementid",
}
_FULL_NAME, _ADDRESS = "full_name", "address"
_NAMES = "name fullname displayname"
# The first address that has a field counts for it.
_ADDRESSES = (
    "address addresses traits location defaultaddress primaryaddress homeaddress billingaddress billing "
    "billingdetails billinginfo invoiceaddress shippingaddress shipping shippingdetails deliveryaddress"
)
_OF_A_PERSON = ("user", "customer", "buyer", "client", "contact", "guest", "member", "profile", "payer")
_OF_BILLING, _OF_SHIPPING = ("billing", "invoice"), ("shipping", "delivery")
_HASH_FORMS = ("sha256{}", "hashed{}", "{}sha256", "{}hash", "{}hashed")


def _spellings() -> dict[str, tuple[int, str]]:
    """Return the rank and the field of each folded spelling; of two that an object has, the lower rank counts."""
    table: dict[str, tuple[int, str]] = {}
    for field, text in [*_SPELLINGS.items(), (_FULL_NAME, _NAMES)]:
        for rank, base in enumerate(text.split()):
            forms = (base, *(form.format(base) for form in _HASH_FORMS))
            for spelling in forms:
                table.setdefault(spelling, (rank, field))
            for extra, prefix in enumerate((*_OF_A_PERSON, *_OF_BILLING, *_OF_SHIPPING), 1):
                # A shipping method has a name too.
                if field != _FULL_NAME or prefix not in _OF_SHIPPING:
                    for spelling in forms[:3] if prefix in ("user", "customer") else (base,):
                        table.setdefault(f"{prefix}{spelling}", (100 * extra + rank, field))
    for rank, address in enumerate(_ADDRESSES.split()):
        table[address] = (10_000 + rank, _ADDRESS)
    return table


_FIELD_OF = _spellings()
_EMAIL_AND_PHONE = ("em", "ph", "hashed_maids")
# In an event's properties, a city may be a shop's and a name a product's.
_NAMES_OF_PEOPLE = frozenset(("firstname", "givenname", "forename", "lastname", "familyname", "surname"))
_NAMES_OF_PEOPLE |= {"birthday", "birthdate", "dateofbirth", "dob"}
PERSONAL_PROPERTIES = {
    spelling
    for spelling, (rank, field) in _FIELD_OF.items()
    if field != _ADDRESS and (rank >= 100 or field in _EMAIL_AND_PHONE)
} | _NAMES_OF_PEOPLE


def is_trait(key: str) -> bool:
    """Return whether a key is a spelling of one of a person's traits, and of nothing else."""
    _, field = _FIELD_OF.get(fold_key(key[:_LONGEST_KEY]), (0, None))
    return field is not None and (field != _FULL_NAME or fold_key(key) != "name")


class Traits(dict[str, Any]):
    """A person's raw values by Pinterest's field names; ``hashes`` has their hashes by the person's likely country.

    The events of one person share it, so it is never changed.
    """

    __slots__ = ("hashes",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.hashes: dict[str | None, dict[str, list[str]]] = {}


def collect_traits(traits: object) -> Traits:
    """Return the raw values by Pinterest's field names; the best spelling of a field counts."""
    key = short_key(traits, _LONGEST_KNOWN) if type(traits) is dict else None
    if key is None:
        return Traits(_find_traits(traits))
    result = _KNOWN.get(key)
    if result is None:
        result = Traits(_find_traits(traits))
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = result
    return result


# By the traits as JSON: a visitor's events are close together, and a server sends the same traits with each.
# Even more would be slower for visitors never seen before, because the processor's caches hold less of anything else.
_KNOWN: dict[bytes, Traits] = {}
_MOST_KNOWN, _LONGEST_KNOWN = 4096, 1024


def _find_traits(traits: object) -> dict[str, Any]:
    if type(traits) is str:
        traits = open_text(traits)
    values: dict[str, Any] = {}
    if isinstance(traits, dict):
        _collect(traits, values)
        full_name = values.pop(_FULL_NAME, None)
        if isinstance(full_name, dict):
            values = _find_traits(full_name) | values
        elif full_name is not None:
            values |= {field: name for field, name in _split_name(full_name).items() if field not in values}
    return values


def _collect(traits: Mapping[str, Any], values: dict[str, Any]) -> None:
    for field, key in _layout(tuple(traits)):
        value = traits[key]
        if value is None or value == "" or field in values:
            continue
        if field is _ADDRESS:
            for address in _addresses(value):
                _collect(address, values)
        elif type(value) is dict and field is not _FULL_NAME:
            values[field] = _text_of(value)
        elif type(value) is list and any(type(entry) is dict for entry in value):
            values[field] = [
                _text_of(entry) if type(entry) is dict else entry for entry in value[:_MOST_ADDRESSES]
            ]
        else:
            values[field] = value


def _addresses(value: object) -> list[dict[str, Any]]:
    if type(value) is dict:
        return [value]
    opened = open_text(value)
    several = opened[:_MOST_ADDRESSES] if isinstance(opened, list) else [opened]
    return [address for address in several if isinstance(address, dict)]


def _text_of(value: dict[str, Any]) -> Any:
    """Return the code or the name of a place, the address or the number in an object; else the object."""
    folded = fold_keys(value)
    number, calling_code = folded.get("number"), folded.get("countrycode", folded.get("callingcode"))
    if number and str(calling_code).strip("+").isdecimal():
        return f"+{str(calling_code).strip('+')} {number}"
    return next((folded[key] for key in _TEXT_KEYS if key in folded), value)


_TEXT_KEYS = (
    *("regioncode", "code", "isocode", "iso2", "iso", "abbr", "value", "region"),
    *("email", "emailaddress", "address", "phone", "phonenumber", "e164", "number", "name", "label"),
)


@cached_by_keys(512)
def _layout(keys: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return each known key with its field, the best spellings first, and addresses last."""
    ranked = []
    for place, key in enumerate(keys):
        if len(key) <= _LONGEST_KEY and (entry := _FIELD_OF.get(fold_key(key))):
            ranked.append((*entry, place, key))
    ranked.sort(key=lambda entry: (entry[0], entry[2]))
    return [(field, key) for _, field, _, key in ranked]


_TITLE_WORDS = """
mr mrs ms miss mister dr prof sir mx herr frau mme mlle m monsieur madame señor señora sr sra signor signora & und and
med. phil. jur. rer. nat. dipl. ing. mag.
"""
_TITLES = frozenset(_TITLE_WORDS.split())
_SUFFIXES = frozenset(("jr", "ii", "iii", "iv", "md", "phd", "esq", "dds", "mba", "bsc", "msc"))
_FAMILY_FIRST = re.compile("[\u3005-\u30ff\u3400-\u9fff\uac00-\ud7a3]+")


def _split_name(value: object) -> dict[str, str]:
    """Return the first and the last name of a full name; nothing if it is a single word."""
    if not isinstance(value, str) or len(value) > 4 * _LONGEST_KEY or "@" in value:
        return {}
    before, _, after = value.partition(",")
    family, given = _name_words(before), _name_words(after)
    if not given:
        words = family
        # Chinese, Japanese and Korean names begin with the family's.
        if len(words) == 2 and all(map(_FAMILY_FIRST.fullmatch, words)):
            words.reverse()
        given, family = words[:1], words[1:]
    return {"fn": " ".join(given), "ln": " ".join(family)} if given and family else {}


def _name_words(text: str) -> list[str]:
    """Return the words of a name without titles in front of it and academic degrees after it."""
    words = text.split()
    while words and not _TITLES.isdisjoint((words[0].casefold(), words[0].strip(".").casefold())):
        words.pop(0)
    while words and words[-1].replace(".", "").casefold() in _SUFFIXES:
        words.pop()
    return words


_BILLING = ("billing", "billingaddress", "billingdetails", "invoiceaddress")
_SHIPPING = ("shipping", "shippingaddress", "shippingdetails", "deliveryaddress")
_PEOPLE = (
    *("contact", "guest", "member", "payer", "profile", "customerproperties", "userproperties"),
    *("buyer", "client", "user", "customer"),
)
PEOPLE_PROPERTIES = frozenset((*_BILLING, *_SHIPPING, *_PEOPLE))


def people_in(properties: Mapping[str, Any]) -> Iterator[object]:
    """Yield the parts of an event's properties that name its person, under folded keys; later parts take precedence.

    The person to whom an order is sent counts only if it has no other.
    """
    flat: dict[tuple[str, ...], dict[str, Any]] = {}
    for key in properties:
        if key not in PERSONAL_PROPERTIES:
            continue
        groups = (group for group in (_OF_BILLING, _OF_SHIPPING) if key.startswith(group))
        flat.setdefault(next(groups, ()), {})[key] = properties[key]
    billing = [properties[key] for key in _BILLING if key in properties] + [flat.get(_OF_BILLING)]
    people = [properties[key] for key in _PEOPLE if key in properties]
    if not any(isinstance(open_text(part), dict) for part in billing):
        yield from (properties[key] for key in _SHIPPING if key in properties)
        yield flat.get(_OF_SHIPPING)
    yield from billing
    yield from people
    yield flat.get(())
