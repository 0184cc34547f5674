"""Normalise and hash identifiers as Pinterest requires."""

import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import lru_cache
from hashlib import sha256
from urllib.parse import unquote

from worker.event.text import clean_text
from worker.pinterest.user_data.countries import country_code, state_code
from worker.pinterest.user_data.phone_numbers import phone_digits

_LONGEST = 256
_HASH = re.compile(r"[0-9a-fA-F]{64}")
# The hash of a blank field, which identifies no one.
_HASH_OF_NOTHING = sha256(b"").hexdigest()
_MAIL_SEPARATORS = str.maketrans(";|\n", ",,,")
_EMAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+\.[^@\s<>,;.]+")
_MADE_UP = "1234567890"
_MOBILE_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_POSTCODE_GAPS = re.compile(r"[\s\-\u2010-\u2015]+")
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ](\d\d)?(?:.*(Z))?.*)?", re.ASCII)
_MONTH_NAMED = re.compile(
    r"(?:(\d{1,2})[ .-]+([a-z]{3})[a-z]*|([a-z]{3})[a-z]* (\d{1,2}))[, .-]+(\d{4})", re.ASCII
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})", re.ASCII)
_GENDERS = {
    "f": """
        f female woman girl feminine weiblich weibl w frau femme féminin mujer femenino feminino femminile
        femmina donna mulher vrouw vrouwelijk kvinna kvinde kobieta žena женский mrs ms miss mme mlle madame
        señora signora 女 女性
    """,
    "m": """
        m male man boy masculine männlich männl herr homme masculin hombre masculino maschile maschio uomo homem
        mannelijk mand mężczyzna muž мужской mr mister monsieur señor signor 男 男性
    """,
    "n": """
        n nb nonbinary enby x other diverse divers d mx genderqueer
    """,
}
_GENDER_OF = {word: letter for letter, words in _GENDERS.items() for word in words.split()}

_Normaliser = Callable[[str, str | None], str | None]


def hash_value(field: str, value: object, country: str | None = None) -> str | None:
    """Return the SHA-256 of one identifier's normalised value, in lower-case hex, or None if the value is invalid.

    A value that is already a hash is not hashed again. ``country`` (alpha-2, lower case) helps to read phone numbers
    and states.
    """
    if type(value) is str and len(value) <= _LONGEST:
        return _HASHERS[field](value, country)
    text = clean_text(value, _LONGEST)
    return None if text is None else _HASHERS[field](text, country)


def normalise(field: str, value: object, country: str | None = None) -> str | None:
    """Return the normalised value that would be hashed; None if it is invalid or already a hash."""
    text = clean_text(value, _LONGEST)
    return None if text is None or _HASH.fullmatch(text) else _FIELDS[field][0](_composed(text), country)


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _hasher(normaliser: _Normaliser) -> _Normaliser:
    """Return a function that hashes a raw text."""

    def hash_text(raw: str, country: str | None) -> str | None:
        text = clean_text(raw, _LONGEST)
        if text is None:
            return None
        if len(text) == 64 and _HASH.fullmatch(text):
            digest = text.lower()
            return None if digest == _HASH_OF_NOTHING else digest
        normal = normaliser(_composed(text), country)
        return sha256(normal.encode()).hexdigest() if normal else None

    return hash_text


def _lower(text: str) -> str:
    lower = text.lower()
    # Lower-casing can decompose a letter.
    return lower if lower.isascii() else unicodedata.normalize("NFKC", lower)


def _email(text: str, _country: str | None) -> str | None:
    lower = _lower(text).removeprefix("mailto:")
    return lower if _EMAIL.fullmatch(lower) else next(_emails_in(lower), None)


def _emails_in(text: str) -> Iterator[str]:
    """Yield the addresses of a mail link, of a name with an address, or of a list.

    Words between spaces count only if all of them are addresses: one space may be a typing error.
    """
    parts = text.translate(_MAIL_SEPARATORS).split(",")
    words = text.split()
    for part in words if len(words) > 1 and all(map(_EMAIL.fullmatch, words)) else parts:
        _, bracket, inside = part.rpartition("<")
        address = (inside.partition(">")[0] if bracket else part).strip().removeprefix("mailto:")
        address = unquote(address.partition("?")[0]).strip()
        if _EMAIL.fullmatch(address):
            yield address


def _phone(text: str, country: str | None) -> str | None:
    number = text
    if text[:4].lower() == "tel:":
        number, _, extra = text[4:].lstrip("/").partition(";")
        context = extra.partition("phone-context=")[2].partition(";")[0]
        number = f"{context}{number}" if context.startswith("+") and not number.startswith("+") else number
        number = unquote(number)
    digits = phone_digits(_with_ascii_digits(number), country.upper() if country else None)
    # What people type instead of their number is the number of very many.
    return None if digits and (len(set(digits[-7:])) == 1 or digits.endswith(_MADE_UP)) else digits


def _with_ascii_digits(text: str) -> str:
    """Return a text with the digits of every script, such as Arabic or Devanagari, as 0 to 9."""
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def _gender(text: str, _country: str | None) -> str | None:
    return _GENDER_OF.get("".join(filter(str.isalpha, _lower(text))))


def _birthday(text: str, _country: str | None) -> str | None:
    digits = text.replace("-", "")
    if len(digits) == 8 and len(text) == 10 and text[4] == text[7] == "-" and digits.isdecimal():
        return _date(digits[:4], digits[4:6], digits[6:])
    text = _with_ascii_digits(text)
    if match := _YEAR_FIRST.fullmatch(text):
        # Midnight east of Greenwich is the evening before in UTC.
        return _date(match[1], match[3], match[4], 1 if match[6] and int(match[5] or 0) > 12 else 0)
    if match := _YEAR_LAST.fullmatch(text):
        first, second = int(match[1]), int(match[3])
        # With dots the day is first; with slashes and dashes, only a number over 12 distinguishes day and month.
        if match[2] == "." or first > 12 or first == second:
            return _date(match[4], match[3], match[1])
        if second > 12:
            return _date(match[4], match[1], match[3])
    if (match := _MONTH_NAMED.fullmatch(text.lower())) and (month := match[2] or match[3]) in _MONTHS:
        return _date(match[5], str(_MONTHS.index(month) + 1), match[1] or match[4])
    return None


def _date(year: str, month: str, day: str, days_later: int = 0) -> str | None:
    try:
        born = date(int(year), int(month), int(day)) + timedelta(days=days_later)
    except (ValueError, OverflowError):
        return None
    return born.isoformat().replace("-", "") if 1890 <= born.year <= 2100 else None


def _name(text: str, _country: str | None) -> str | None:
    lower = _lower(" ".join(text.split()))
    return lower if any(map(str.isalpha, lower)) and "@" not in lower else None


def _city(text: str, _country: str | None) -> str | None:
    lower = _lower(text)
    if lower.isascii():
        return lower if lower.isalpha() else "".join(filter(str.isalnum, lower)) or None
    return "".join(c for c in lower if unicodedata.category(c)[0] in "LMN") or None


# Countries whose post codes all have five digits, so that a table may have dropped a leading zero.
_FIVE_DIGITS = frozenset(("de", "es", "fr", "it", "mx", "us"))
_COUNTRY_BEFORE = re.compile(r"^(?:de?|at?|ch|fr?|i|it|nl|b|be|l|se?|dk|es?|pl)-(?=\d{4,5}(?:\D|$))")


def _postcode(text: str, country: str | None) -> str | None:
    joined = (
        text
        if text.isascii() and text.isdecimal()
        else _POSTCODE_GAPS.sub("", _COUNTRY_BEFORE.sub("", _lower(_with_ascii_digits(text))))
    )
    if len(joined) == 4 and country in _FIVE_DIGITS and joined.isdecimal():
        joined = f"0{joined}"
    return joined if joined.isalnum() and len(joined) <= 12 else None


def _mobile_id(text: str, _country: str | None) -> str | None:
    lower = text.lower()
    return lower if _MOBILE_ID.fullmatch(lower) and lower.strip("0-") else None


# Each field's normaliser, and its description for explanations.
_FIELDS: dict[str, tuple[_Normaliser, str]] = {
    "em": (_email, "trimmed and lower-cased"),
    "ph": (_phone, "digits with the country code"),
    "ge": (_gender, "as f, m or n"),
    "db": (_birthday, "as YYYYMMDD"),
    "fn": (_name, "trimmed and lower-cased"),
    "ln": (_name, "trimmed and lower-cased"),
    "ct": (_city, "lower-cased, without spaces and punctuation"),
    "st": (state_code, "as a two-letter code, lower-cased"),
    "zp": (_postcode, "lower-cased, without spaces and hyphens"),
    "country": (lambda text, _: country_code(text), "as an ISO 3166 two-letter code, lower-cased"),
    "external_id": (lambda text, _: text, "trimmed"),
    "hashed_maids": (_mobile_id, "trimmed and lower-cased"),
}
NORMALISATIONS = {field: description for field, (_, description) in _FIELDS.items()}

_HASHERS: dict[str, _Normaliser] = {field: _hasher(normaliser) for field, (normaliser, _) in _FIELDS.items()}
# Cached, because a shop's visitors have few different values of these. Each of the others is nearly always new.
_HASHERS |= {field: lru_cache(maxsize=4096)(_HASHERS[field]) for field in ("ge", "fn", "ct", "st", "country")}
