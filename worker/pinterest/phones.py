"""Read phone numbers into E.164."""

import re
from functools import lru_cache

import phonenumbers

_EXTENSION = re.compile(r"(?<!\s)\s*(?:ext\.?|extension|x|#)\s*\d{1,6}$")
_DIALLED = re.compile(r"\+?[\d\s().\-/\u2010-\u2015]{5,40}", re.ASCII)
_NOT_A_DIGIT = re.compile(r"\D", re.ASCII)


# A number costs the library 50 to 100 µs, and a visitor's number comes again with each event.
@lru_cache(maxsize=32_768)
def phone_digits(text: str, region: str | None) -> str | None:
    """Return country code and number as digits, without a plus, or None for what is no phone number.

    ``region`` is the alpha-2 code, in upper case, of the country that a national number belongs to; without
    it only numbers that are surely international are read.
    """
    dialled = _EXTENSION.sub("", text.strip().lower())
    if not _DIALLED.fullmatch(dialled):
        return None
    if dialled.startswith("00") and region is None:
        dialled = "+" + dialled[2:]
    if dialled.startswith("+") or region is not None:
        return _parse(dialled, region)
    return _parse_without_region(_NOT_A_DIGIT.sub("", dialled))


def _parse(dialled: str, region: str | None) -> str | None:
    try:
        number = phonenumbers.parse(dialled, region)
    except phonenumbers.NumberParseException:
        return None
    # Possible, not valid: the ranges that are in use change faster than any list of them.
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]


def _parse_without_region(digits: str) -> str | None:
    if digits.startswith("0"):
        return None
    if len(digits) == 11 and digits.startswith("1"):
        return _parse("+" + digits, None)
    try:
        number = phonenumbers.parse("+" + digits, None)
    except phonenumbers.NumberParseException:
        return None
    # Without a plus the first digits are taken for a country's code only where the whole is a number in use.
    return digits if len(digits) > 10 and phonenumbers.is_valid_number(number) else None
