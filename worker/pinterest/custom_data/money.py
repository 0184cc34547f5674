"""Parse amounts of money exactly, in all common formats."""

import re
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from worker.event.text import JUNK, clean_text

# ISO 4217 without funds, metals and test codes.
_CODES = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF
CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL
LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR
PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND
TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG ZWL
"""
_CURRENCY_CODES = frozenset(_CODES.split())

# Signs of a single currency. A plain dollar or crown sign is ambiguous.
_SIGNS = """
€ EUR; ₹ INR; ₩ KRW; ₫ VND; ₪ ILS; ₺ TRY; ₽ RUB; ₴ UAH; ₦ NGN; ₱ PHP; ฿ THB; zł PLN; Kč CZK; R$ BRL;
US$ USD; C$ CAD; CA$ CAD; A$ AUD; AU$ AUD; NZ$ NZD; HK$ HKD; S$ SGD; MX$ MXN; £ GBP
"""
_SIGN_CURRENCIES: dict[str, str] = dict(pair.split() for pair in _SIGNS.split(";"))

# Currencies whose amounts are written with a point between thousands and a comma before the decimals.
_POINT_GROUPS = """
EUR BRL ARS CLP COP IDR TRY DKK VND UYU PYG RON RSD ISK BAM MKD CRC VES AOA MZN STN
"""
_POINT_GROUP_CURRENCIES = frozenset(_POINT_GROUPS.split())
_COMMA_GROUPS = """
USD GBP AUD CAD NZD HKD SGD JPY CNY KRW INR MXN ILS THB TWD PHP MYR PKR BDT LKR NGN KES GHS EGP AED SAR QAR
BHD KWD OMR JOD TTD JMD BSD BBD DOP GTQ HNL PEN PAB NIO
"""
_COMMA_GROUP_CURRENCIES = frozenset(_COMMA_GROUPS.split())
# These currencies have three decimals, so three digits after a mark are ambiguous.
_THREE_DECIMALS = frozenset(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"])


def currency_code(value: object) -> str | None:
    """Return the ISO 4217 code, in upper case, of a code or an unambiguous sign, or None."""
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
    """The amount cannot be read; the message says why, without the amount."""


class NegativeAmountError(AmountError):
    """The amount is below zero."""


class Amount(NamedTuple):
    """An exact amount, the currency of its sign, and the text that is sent."""

    number: Decimal
    currency: str | None
    text: str


def read_amount(value: object, currency: str | None) -> Amount:
    """Parse a number or a text as an amount; ``currency`` decides how to read ambiguous separators.

    Raises:
        AmountError: not an amount, below zero, too large, or ambiguous.
    """
    if type(value) is float or type(value) is int:
        return _read(value, currency)
    if type(value) is not str:
        raise AmountError("is neither a number nor a text")
    if len(value) > _LONGEST:
        raise AmountError("is too long")
    return _read(value, currency)


def is_blank(value: object) -> bool:
    """Return whether a value is empty or a placeholder for a missing amount."""
    return value is None or (isinstance(value, str) and (not value.strip() or value.strip().lower() in JUNK))


def format_decimal(number: Decimal) -> str:
    """Return a number as digits, without exponent or trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


# Cached, because prices repeat. ``typed`` distinguishes 1, 1.0 and True.
@lru_cache(maxsize=16_384, typed=True)
def _read(value: str | float, currency: str | None) -> Amount:
    if isinstance(value, str):
        number, sign = _from_text(value, currency)
    else:
        number, sign = _from_number(value), None
    if not number.is_finite():
        raise AmountError("is not a finite number")
    if number < 0:
        raise NegativeAmountError("is below zero")
    if number >= MAX_AMOUNT:
        raise AmountError("is too large to be an amount of money")
    number = round(number, _MOST_DECIMALS)
    return Amount(number, sign, format_decimal(number))


def _from_number(value: float) -> Decimal:
    if isinstance(value, int):
        # Python refuses to convert thousands of digits, so clamp first.
        return Decimal(max(min(value, 10**13), -(10**13)))
    # A double holds fifteen digits exactly.
    return Decimal(format(value, ".15g"))


def _from_text(text: str, currency: str | None) -> tuple[Decimal, str | None]:
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return Decimal(text), None
    match = _NUMBER.search(text)
    if not match:
        raise AmountError("is not an amount")
    digits = match[0].rstrip()
    before, after = text[: match.start()], text[match.start() + len(digits) :]
    sign = _sign(before, after)
    if currency and sign and sign != currency:
        raise AmountError(f"is written with a sign of {sign}, but the currency is {currency}")
    digits = digits.rstrip(",.") if after.strip()[:1] in ("-", "\u2013") else digits
    number = Decimal(_normalise_separators(_GAPS.sub("", digits), currency or sign))
    below_zero = {before.strip()[:1], before.strip()[-1:]} & {"-", "\u2212", "("}
    return (-number if below_zero else number), sign


def _sign(before: str, after: str) -> str | None:
    """Return the currency of the sign or code next to the digits.

    Raises:
        AmountError: there are other words, or two currencies.
    """
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
            raise AmountError("has words in it that are not a currency")
    currencies = signs - {None}
    if len(currencies) > 1:
        raise AmountError("names two currencies")
    return next(iter(currencies), None)


def _normalise_separators(digits: str, currency: str | None) -> str:
    """Return the digits with a point before the decimals, and no other separators."""
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
    """Refuse a single mark before three digits, unless it separates thousands in this currency."""
    group_mark = (
        "." if currency in _POINT_GROUP_CURRENCIES else "," if currency in _COMMA_GROUP_CURRENCIES else None
    )
    if group_mark != mark or currency in _THREE_DECIMALS:
        raise AmountError("could mean thousands or decimals: send a number, or two decimals")
