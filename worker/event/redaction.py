"""Remove personal data from free text and URLs."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from urllib.parse import unquote, unquote_plus, urlunsplit

import phonenumbers

from worker.event.phones_in_text import find_phones
from worker.event.text import cached_by_keys, fold_key
from worker.event.urls import split_address

_LONGEST_CACHED = 2048
_LONGEST_KEY = 64
_PIECE = 128

# The search finds the @ and the domain first, then the local part backwards from there. A pattern that starts with
# the local part takes quadratic time on a long word.
_EMAIL_EDGES = r"\s@<>()\[\],;:\"'/?&="
_AT_DOMAIN = re.compile(rf"@[^{_EMAIL_EDGES}]+\.[^\W\d_]{{2,}}")
_EMAIL_EDGE = re.compile(f"[{_EMAIL_EDGES}]")
# A plus or a double zero and 8 to 15 digits, in groups or not. `worker.event.phones_in_text` finds national numbers.
_INTERNATIONAL = re.compile(r"(?<![\w.,])(?:\+|(?<!\d\s)00)[1-9](?:[\s().-]{0,2}\d){7,14}(?!\w)", re.ASCII)
_MAY_HOLD_PHONE = re.compile(r"\d[\d\s().+/-]{6}", re.ASCII)
_MOST_ROUNDS = 6
_MAY_HOLD = re.compile(r"@|\d[\d\s().+/-]{6}", re.ASCII)
_MAY_HOLD_PHONE_IN_URL = re.compile(r"\d(?:[\d\s().+/-]|%[0-9A-Fa-f]{2}){6}", re.ASCII)
_MAY_HOLD_IN_URL = re.compile(r"[?#@%]|eyJ|\d[\d\s().+/-]{6}", re.ASCII)

# An object in JSON, encoded in base64 as in sign-in tokens and links of e-mails: anyone can read what it says.
_ENCODED_JSON = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{12}")

_PERSONAL_WORDS = """
em mail tel telephone mobile mobilenumber msisdn cell auth authorization authcode jwt pwd pass secret
session sessionid sid phpsessid jsessionid apikey accesskey otp pin ssn iban cardnumber creditcard cvv
firstname lastname fullname surname givenname familyname middlename fname lname nom prenom prénom vorname nachname
nombre apellido apellidos cognome voornaam achternaam imie imię nazwisko username login dob birthday dateofbirth address
street signature sig magiclink resetcode
"""
_PERSONAL_KEYS = frozenset(_PERSONAL_WORDS.split())
_ID_KEYS = frozenset(
    ("id", "sku", "ean", "gtin", "upc", "isbn", "mpn", "pid", "productid", "variant", "orderid", "itemid")
)
_PERSONAL_PARTS = ("email", "phone", "token", "passw", "secret")


# Signs that look like others: spaces that do not break, and hyphens and dashes.
_SIGNS = dict.fromkeys(map(ord, "\u00a0\u2007\u202f\u2009"), " ") | dict.fromkeys(range(0x2010, 0x2016), "-")
_SPACED_EMAIL = re.compile(
    r"[^\s@<>()\[\],;:\"'/?&=]{1,64}+\s{0,2}+(?:@|\(at\)|\[at\])\s{0,2}+[\w-]{1,63}+"
    r"(?:\s{0,2}+(?:\.|\(dot\)|\[dot\])\s{0,2}+[\w-]{2,63}+){1,4}+",
    re.IGNORECASE,
)
_PLUS_FOR_SPACE = re.compile(r"(?<=\d)\+(?=\d)")
_SPACED_AT = re.compile(r"\s@|@\s|\(at\)|\[at\]", re.IGNORECASE)


Regions = Callable[[], Sequence[str]]


def clean_free_text(text: str, regions: Regions = tuple) -> str:
    """Remove everything that looks like an e-mail address or a phone number.

    ``regions`` returns the person's likely countries (alpha-2), and is called only for a text that may hold a number.
    """
    # What is left may be a number once its neighbour is gone, rarely more than twice.
    for _ in range(_MOST_ROUNDS):
        plain = _decoded(_plain(text))
        if not _MAY_HOLD.search(plain) and not _SPACED_AT.search(plain):
            break
        cleaned = _without_phones(_without_spaced_emails(_without_emails(plain)), regions)
        if cleaned == plain:
            break
        text = " ".join(cleaned.split())
    return text


def _without_phones(text: str, regions: Regions) -> str:
    text = _INTERNATIONAL.sub("", text)
    return _without(text, find_phones(text, tuple(regions()))) if _MAY_HOLD_PHONE.search(text) else text


def _plain(text: str) -> str:
    """Return a text with full-width letters and unusual spaces and hyphens in their usual form."""
    if text.isascii():
        return text
    text = text.translate(_SIGNS)
    # In pieces, because thousands of combining marks after each other take quadratic time.
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    return "".join(unicodedata.normalize("NFKC", piece) for piece in pieces)


# As in a URL, and as in JSON.
_ENCODED = re.compile(r"(?:%(?:25)*|\\(?=u))(40|2B|20|EF%BC%A0|u0040|uff20|u002B)", re.IGNORECASE)
_SIGN_OF = {"40": "@", "2B": "+", "20": " ", "EF%BC%A0": "@", "U0040": "@", "UFF20": "@", "U002B": "+"}


def _decoded(text: str) -> str:
    """Return a text with the signs of e-mail addresses and phone numbers decoded, if any is encoded."""
    if "%" not in text and "\\" not in text:
        return text
    decoded = _ENCODED.sub(lambda match: _SIGN_OF[match[1].upper()], text)
    # Form encoding has a plus for each space.
    return text if decoded == text else _PLUS_FOR_SPACE.sub(" ", decoded)


def _without_spaced_emails(text: str) -> str:
    return _SPACED_EMAIL.sub("", text) if _SPACED_AT.search(text) else text


# Only ids with one of these signs can be an e-mail address or a phone number: plain digits are an id.
_MAY_BE_PERSONAL_ID = re.compile(r"[@+%()]|^00|[^\x00-\x7f]|\d[\s./-]\d{3}", re.ASCII)
# A phone number as people write it: with a plus, a double zero or brackets, or in groups.
_WRITTEN_PHONE = re.compile(
    r"(?:tel:)?(?:(?:\+|00)[1-9](?:[\s().-]{0,2}\d){7,14}|\(\d{2,5}\)[\s.-]?\d(?:[\s.-]?\d){4,9}"
    r"|0\d{1,4}[\s/]\d(?:[\s.-]?\d){4,9}|\d{3}[\s.-]\d{3}[\s.-]\d{4})",
    re.ASCII,
)
_PLUS_NUMBER = re.compile(r"(?<![\w+])\+[1-9](?:[\s().-]{0,2}\d){7,14}(?!\d)", re.ASCII)


def clean_id(text: str) -> str:
    """Return an id unchanged, or its SHA-256 if it holds an e-mail address or a phone number.

    The same id always gives the same result, so that copies of an event are still recognised.
    """
    if _is_plain_id(text):
        return text
    return _cleaned_id(text) if len(text) <= _LONGEST_CACHED_ID else _cleaned_id.__wrapped__(text)


_LONGEST_CACHED_ID = 64
# More letters and digits than a phone number has digits.
_LONGER_THAN_PHONES = 20


def _is_plain_id(text: str) -> bool:
    """Return whether an id holds nothing personal; False means that it takes a closer look."""
    bare = text.replace("-", "")
    if bare.isalnum() and text.isascii():
        # A phone number begins with a digit; written with hyphens it could be in groups.
        if text[0].isalpha() or len(bare) > _LONGER_THAN_PHONES:
            return True
        if bare == text:
            return text[:2] != "00"
    return not _MAY_BE_PERSONAL_ID.search(text)


def are_plain_product_ids(texts: Sequence[str]) -> bool:
    """Return whether no id holds anything personal; False means that each takes a closer look."""
    if max(map(len, texts), default=0) > _LONGEST_CACHED_ID:
        return all(map(_is_plain_id, texts))
    return all(map(_is_plain_product_id, texts))


# Cached, because a shop sells the same products again and again.
_is_plain_product_id = lru_cache(maxsize=8192)(_is_plain_id)


@lru_cache(maxsize=4096)
def _cleaned_id(text: str) -> str:
    plain = unicodedata.normalize("NFKC", unquote(unquote(_decoded(text)))).strip()
    phone = _WRITTEN_PHONE.fullmatch(plain)
    if (
        _holds_email(plain)
        or (phone and _is_dialled(plain))
        or any(map(_is_dialled, _PLUS_NUMBER.findall(plain)))
    ):
        return sha256(text.encode(errors="surrogatepass")).hexdigest()
    return text


def _is_dialled(text: str) -> bool:
    """Return whether a number that begins like an international one exists; national ones have a written form."""
    number = text.removeprefix("tel:")
    if number.startswith("00"):
        number = "+" + number[2:]
    if not number.startswith("+"):
        return True
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, None))
    except phonenumbers.NumberParseException:
        return False


def clean_device_text(text: str) -> str:
    """Remove e-mail addresses and international phone numbers from a user agent or the name of a device or app."""
    plain = _decoded(_plain(text))
    if "@" not in plain and "+" not in plain:
        return text
    cleaned = _PLUS_NUMBER.sub(
        lambda match: "" if _is_dialled(match[0]) else match[0], _without_emails(plain)
    )
    return text if cleaned == plain else " ".join(cleaned.split())


def _without_emails(text: str) -> str:
    return _without(text, _find_emails(text))


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces = []
    end = 0
    for start, stop in spans:
        pieces.append(text[end:start])
        end = stop
    return "".join([*pieces, text[end:]])


def _find_emails(text: str) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each e-mail address, in time linear in the text's length."""
    earliest = 0
    for domain in _AT_DOMAIN.finditer(text):
        at, stop = domain.span()
        # Each character is read for one @ only, so all slices together are at most as long as the text.
        backwards = text[earliest:at][::-1]
        edge = _EMAIL_EDGE.search(backwards)
        start = at - (edge.start() if edge else len(backwards))
        earliest = at + 1
        if start < at:
            yield start, stop
            earliest = stop


def clean_url(url: str, regions: Regions = tuple) -> str:
    """Remove credentials, personal query keys, and values that look like an e-mail address or a phone number.

    The rest of the URL remains byte for byte. A URL that cannot be parsed becomes empty.
    """
    if _is_plain_url(url) if len(url) <= _LONGEST_CACHED else _is_plain_url.__wrapped__(url):
        return url
    countries = tuple(regions()) if _MAY_HOLD_PHONE_IN_URL.search(url) else ()
    if len(url) <= _LONGEST_CACHED:
        return _cleaned_url(url, countries)
    return _cleaned_url.__wrapped__(url, countries)


# Signs and runs of digits without which no part of a URL is an address, a phone number or encoded.
_UNUSUAL_IN_URL = re.compile(r"[^!\"$&'*,-?A-Z\\^-~]")
_DIGITS_IN_PATH, _DIGITS_IN_QUERY = re.compile(r"\d[\d.-]{6}"), re.compile(r"\d[\d./-]{6}")


# Cached, because visitors share a shop's pages.
@lru_cache(maxsize=4096)
def _is_plain_url(url: str) -> bool:
    """Return whether a URL holds nothing that could be personal; False means that it takes a closer look."""
    if _UNUSUAL_IN_URL.search(url) or "eyJ" in url:
        return False
    path, _, query = url.partition("?")
    if _DIGITS_IN_PATH.search(path) or _DIGITS_IN_QUERY.search(query):
        return False
    return not _have_personal_key(tuple([pair.partition("=")[0] for pair in query.split("&")]))


@cached_by_keys(1024)
def _have_personal_key(names: tuple[str, ...]) -> bool:
    return any(map(is_personal_key, names))


@lru_cache(maxsize=4096)
def _cleaned_url(url: str, regions: tuple[str, ...]) -> str:
    if url.isascii() and not _MAY_HOLD_IN_URL.search(url):
        return url
    try:
        parts = split_address(url)
        host = parts.netloc.rpartition("@")[2]
        path = "/".join(_clean_segment(segment, regions) for segment in parts.path.split("/"))
        query, fragment = _clean_query(parts.query, regions), _clean_query(parts.fragment, regions)
        cleaned = parts._replace(netloc=host, path=path, query=query, fragment=fragment)
        # urlunsplit drops an empty query's question mark and the like, so return a clean URL unchanged.
        return url if cleaned == parts else urlunsplit(cleaned)
    except ValueError:
        return ""


def _clean_query(query: str, regions: tuple[str, ...]) -> str:
    if not query:
        return query
    return "&".join(pair for pair in query.split("&") if not _is_personal(pair, regions))


def is_personal_key(name: str) -> bool:
    """Return whether a key's name suggests personal data or a credential."""
    key = fold_key(name[:_LONGEST_KEY])
    return key in _PERSONAL_KEYS or any(part in key for part in _PERSONAL_PARTS)


def _is_personal(pair: str, regions: tuple[str, ...]) -> bool:
    name, equals, value = pair.partition("=")
    if equals and is_personal_key(unquote_plus(name)):
        return True
    # Ids of products and orders may be digits that begin with a zero.
    if value.isdecimal() and fold_key(name[:_LONGEST_KEY]) in _ID_KEYS:
        return False
    return _leaks(name, regions) or _leaks(value, regions)


def _holds_email(text: str) -> bool:
    return next(_find_emails(text), None) is not None


def _clean_segment(segment: str, regions: tuple[str, ...]) -> str:
    return "-" if _leaks(segment, regions) else segment


def _leaks(raw: str, regions: tuple[str, ...]) -> bool:
    """Return whether a part of a URL holds personal data, also under up to two layers of percent-encoding."""
    # A plus sign may start a phone number or encode a space.
    return _leaks_in(raw, regions) or ("+" in raw and _leaks_in(raw.replace("+", " "), regions))


def _leaks_in(raw: str, regions: tuple[str, ...]) -> bool:
    decoded = raw
    for _ in range(3):
        # Form encoding has a plus for each space.
        plain = _PLUS_FOR_SPACE.sub(" ", _plain(decoded))
        if _MAY_HOLD.search(plain) and (_holds_email(plain) or _holds_phone(plain, regions)):
            return True
        if (_SPACED_AT.search(plain) and _SPACED_EMAIL.search(plain)) or _ENCODED_JSON.search(plain):
            return True
        next_layer = unquote(decoded)
        if next_layer == decoded:
            return False
        decoded = next_layer
    return False


def _holds_phone(text: str, regions: tuple[str, ...]) -> bool:
    return bool(_INTERNATIONAL.search(text) or (_MAY_HOLD_PHONE.search(text) and find_phones(text, regions)))
