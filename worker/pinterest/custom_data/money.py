"""Read amounts exactly, however they are written."""

import re
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from worker.event.text import JUNK, clean_text

# ISO 4217, with those that are in a shop's use; funds, metals and test codes are left out.
_CODES = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR
PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND
TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL
"""
_CURRENCY_CODES = frozenset(_CODES.split())

# Signs that belong to one currency alone. A dollar, a pound or a crown could be many.
_SIGNS = """
€ EUR; ₹ INR; ₩ KRW; ₫ VND; ₪ ILS; ₺ TRY; ₽ RUB; ₴ UAH; ₦ NGN; ₱ PHP; ฿ THB; zł PLN; Kč CZK; R$ BRL;
US$ USD; C$ CAD; CA$ CAD; A$ AUD; AU$ AUD; NZ$ NZD; HK$ HKD; S$ SGD; MX$ MXN; £ GBP
"""
_SIGN_CURRENCIES: dict[str, str] = dict(pair.split() for pair in _SIGNS.split(";"))

# Where a point parts the thousands and a comma the cents. Elsewhere it is unknown, or the other way round.
_POINT_GROUPS = """
EUR BRL ARS CLP COP IDR TRY DKK VND UYU PYG RON RSD ISK BAM MKD CRC VES AOA MZN STN
"""
_POINT_GROUP_CURRENCIES = frozenset(_POINT_GROUPS.split())
_COMMA_GROUPS = """
USD GBP AUD CAD NZD HKD SGD JPY CNY KRW INR MXN ILS THB TWD PHP MYR PKR BDT LKR NGN KES GHS EGP AED SAR QAR
BHD KWD OMR JOD TTD JMD BSD BBD DOP GTQ HNL PEN PAB NIO
"""
_COMMA_GROUP_CURRENCIES = frozenset(_COMMA_GROUPS.split())
# Three decimals are usual here, so that a single group of three digits could be either.
_THREE_DECIMALS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])


def currency_code(value: object) -> str | None:
    """Return the ISO 4217 code in upper case that a code or an unmistakable sign stands for."""
    text = clean_text(value, 8)
    if text is None:
        return None
    code = text.upper()
    return code if code in _CURRENCY_CODES else _SIGN_CURRENCIES.get(text)


MAX_AMOUNT = Decimal(10) ** 12
_MOST_DECIMALS = 6
_LONGEST = 40

_PLAIN = re.compile(r"\d{1,13}(\.\d{1,2})?", re.ASCII)
_NUMBER = re.compile(r"[0-9][0-9.,'\u2019\s]*")
_GAPS = re.compile(r"[\s'\u2019](?=[0-9]{3})")
_GROUPED = {
    ",": re.compile(r"[0-9]{1,3}(,[0-9]{2,3})*,[0-9]{3}"),
    ".": re.compile(r"[0-9]{1,3}(\.[0-9]{3})+"),
}


class AmountError(Exception):
    """Say why an amount cannot be read; the amount itself is not in the text."""


class NegativeAmountError(AmountError):
    """Say that an amount is below zero."""


class Amount(NamedTuple):
    """Hold an exact amount, the currency that its sign settles, and the text that is sent."""

    number: Decimal
    currency: str | None
    text: str


def read_amount(value: object, currency: str | None) -> Amount:
    """Return the amount that a number or a text stands for; ``currency`` settles how a text is meant.

    Raises:
        AmountError: when it is no amount, is below zero or too large, or could be read in two ways.
    """
    if type(value) is float or type(value) is int:
        return _read(value, currency)
    if type(value) is not str:
        raise AmountError("is neither a number nor a text")
    if len(value) > _LONGEST:
        raise AmountError("is too long")
    return _read(value, currency)


def is_blank(value: object) -> bool:
    """Say whether a value only stands where an amount is missing."""
    return value is None or (isinstance(value, str) and (not value.strip() or value.strip().lower() in JUNK))


def format_decimal(number: Decimal) -> str:
    """Return a number as digits, without exponent, and without zeros that say nothing."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


# Prices repeat: a catalogue has few. ``typed`` keeps 1, 1.0 and True apart.
@lru_cache(maxsize=16_384, typed=True)
def _read(value: str | float, currency: str | None) -> Amount:
    if isinstance(value, str):
        number, signed = _from_text(value, currency)
    else:
        number, signed = _from_number(value), None
    if not number.is_finite():
        raise AmountError("is no finite number")
    if number < 0:
        raise NegativeAmountError("is below zero")
    if number >= MAX_AMOUNT:
        raise AmountError("is too large to be an amount of money")
    number = round(number, _MOST_DECIMALS)
    return Amount(number, signed, format_decimal(number))


def _from_number(value: float) -> Decimal:
    if isinstance(value, int):
        # Turning thousands of digits into a Decimal is refused by Python, and no amount anyway.
        return Decimal(max(min(value, 10**13), -(10**13)))
    # Fifteen digits are what a double holds exactly: beyond them is noise.
    return Decimal(format(value, ".15g"))


def _from_text(text: str, currency: str | None) -> tuple[Decimal, str | None]:
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return Decimal(text), None
    found = _NUMBER.search(text)
    if not found:
        raise AmountError("is no amount")
    digits = found[0].rstrip()
    before, after = text[: found.start()], text[found.start() + len(digits) :]
    sign = _sign(before, after)
    if currency and sign and sign != currency:
        raise AmountError(f"is written with a sign of {sign}, but the currency is {currency}")
    digits = digits.rstrip(",.") if after.strip()[:1] in ("-", "\u2013") else digits
    number = Decimal(_normalise_separators(_GAPS.sub("", digits), currency or sign))
    below_zero = {before.strip()[:1], before.strip()[-1:]} & {"-", "\u2212", "("}
    return (-number if below_zero else number), sign


def _sign(before: str, after: str) -> str | None:
    """Return the currency whose sign or code stands beside the digits; other words make it no amount."""
    around = [part.strip(" \u00a0\u202f-\u2212\u2013()+") for part in (before, after)]
    signs: set[str | None] = set()
    for part in filter(None, around):
        if part.upper() in _CURRENCY_CODES:
            signs.add(part.upper())
        elif part in _SIGN_CURRENCIES:
            signs.add(_SIGN_CURRENCIES[part])
        elif part in ("$", "¥", "kr", "kr.", "Fr.", "Rs", "Rs."):
            signs.add(None)
        else:
            raise AmountError("has words in it that are no currency")
    known = signs - {None}
    if len(known) > 1:
        raise AmountError("names two currencies")
    return next(iter(known), None)


def _normalise_separators(digits: str, currency: str | None) -> str:
    """Return the digits with a point before the decimals and nothing else."""
    if any(c.isspace() or c in "'\u2019" for c in digits):
        raise AmountError("has gaps in odd places")
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return _normalise_both_separators(digits)
    if not points and not commas:
        return digits
    mark = "." if points else ","
    if points + commas > 1:
        if not _GROUPED[mark].fullmatch(digits):
            raise AmountError("has separators in odd places")
        return digits.replace(mark, "")
    whole, _, rest = digits.partition(mark)
    if len(rest) == 3 and len(whole) <= 3 and whole.strip("0"):
        _demand_grouping(mark, currency)
        return whole + rest
    return f"{whole}.{rest or '0'}"


def _normalise_both_separators(digits: str) -> str:
    decimal_mark = max(".", ",", key=digits.rfind)
    group_mark = "," if decimal_mark == "." else "."
    whole, _, rest = digits.rpartition(decimal_mark)
    if decimal_mark in whole or not _GROUPED[group_mark].fullmatch(whole):
        raise AmountError("has separators in odd places")
    return f"{whole.replace(group_mark, '')}.{rest or '0'}"


def _demand_grouping(mark: str, currency: str | None) -> None:
    """Refuse one mark before three digits, unless it is what parts thousands in this currency."""
    habit = (
        "." if currency in _POINT_GROUP_CURRENCIES else "," if currency in _COMMA_GROUP_CURRENCIES else None
    )
    if habit != mark or currency in _THREE_DECIMALS:
        raise AmountError("could mean thousands or decimals: send a number, or two decimals")
