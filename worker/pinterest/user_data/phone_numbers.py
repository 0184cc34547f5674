"""Read phone numbers as people type them."""

import re
from functools import lru_cache
from typing import NamedTuple

import phonenumbers
from phonenumbers.re_util import re_compile

_EXTENSION = re.compile(r"(?<!\s)\s*(?:ext\.?|extension|x|#)\s*\d{1,6}$")
_DIALLED = re.compile(r"\+?[\d\s().\-/\u2010-\u2015]{5,40}", re.ASCII)
_NOT_A_DIGIT = re.compile(r"\D", re.ASCII)
_USUAL_SIGNS = str.maketrans("", "", " ().-/")


def phone_digits(text: str, region: str | None) -> str | None:
    """Return country code and number as digits, without a plus, or None if it is not a phone number.

    ``region`` is the alpha-2 code, in upper case, of the country of national numbers; without it, only international
    numbers are accepted.
    """
    return _usual(text, region) or _unusual(text, region)


# Cached, because the library takes 20 to 60 µs per number, and a visitor's number repeats with each event.
@lru_cache(maxsize=8192)
def _unusual(text: str, region: str | None) -> str | None:
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
    # Check for a possible number, not for a valid one: the number ranges in use change faster than the library.
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
    # Without a plus, the first digits count as a country code only if the whole number is valid.
    return digits if len(digits) > 10 and phonenumbers.is_valid_number(number) else None


class _Plan(NamedTuple):
    """A country's rules for its numbers, as the library has them. It reads at most 16 digits with its patterns."""

    country_code: str
    lengths: frozenset[int]
    abroad: re.Pattern[str]
    # What may be in front of an area code, and whether more than that changes then.
    prefixes: re.Pattern[str] | None
    rewrites: bool
    valid: re.Pattern[str]


def _usual(text: str, region: str | None) -> str | None:
    """Return the digits of a number in one of the forms that nearly all have; None means only that it has not.

    The library gives the same answer after many times as long.
    """
    digits = text.translate(_USUAL_SIGNS)
    if not 7 <= len(digits) <= 16 or not digits.isascii():
        return None
    if digits.isdecimal():
        return _national(digits, region) if region is not None else None
    digits = digits[1:]
    return _international(digits) if digits.isdecimal() and text.lstrip(" ")[0] == "+" else None


def _international(digits: str) -> str | None:
    if (plan := _plan_abroad(digits[:3])) is None:
        return None
    number = digits[len(plan.country_code) :]
    is_usual = len(number) in plan.lengths and not (plan.prefixes and plan.prefixes.match(number))
    return digits if is_usual else None


def _national(digits: str, region: str) -> str | None:
    plan = _plan(region)
    if plan is None or digits.startswith(plan.country_code) or plan.abroad.match(digits):
        return None
    rest = digits
    if plan.prefixes and (prefix := plan.prefixes.match(digits)):
        rest = digits[prefix.end() :]
        if plan.rewrites or (plan.valid.fullmatch(digits) and not plan.valid.fullmatch(rest)):
            return None
    return plan.country_code + rest if len(rest) in plan.lengths else None


@lru_cache(maxsize=1024)
def _plan_abroad(digits: str) -> _Plan | None:
    """Return the plan of the country whose code the digits begin with, if it is one of the library's main regions."""
    codes = (digits[:length] for length in (1, 2, 3) if digits[0] != "0")
    code = next((prefix for prefix in codes if int(prefix) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE), None)
    return _plan(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[int(code)][0]) if code else None


@lru_cache(maxsize=512)
def _plan(region: str) -> _Plan | None:
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.general_desc is None or metadata.country_code is None:
        return None
    main = phonenumbers.PhoneMetadata.metadata_for_region(
        phonenumbers.region_code_for_country_code(metadata.country_code)
    )
    if main is None or main.general_desc is None:
        return None
    prefixes = metadata.national_prefix_for_parsing
    return _Plan(
        str(metadata.country_code),
        frozenset(metadata.general_desc.possible_length).intersection(main.general_desc.possible_length),
        re_compile(metadata.international_prefix or "0"),
        re_compile(prefixes) if prefixes else None,
        bool(metadata.national_prefix_transform_rule),
        re_compile(metadata.general_desc.national_number_pattern or ""),
    )
