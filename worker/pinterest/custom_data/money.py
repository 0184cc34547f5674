"""Parse amounts of money exactly, in all common formats."""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from worker.event.text import JUNK, fold_keys
from worker.pinterest.custom_data.currencies import currency_code, plain_text, sign_currencies

# Currencies that are written with a point before the decimals: a comma separates thousands.
_POINT_DECIMALS = """
USD GBP AUD CAD NZD HKD SGD JPY CNY KRW INR MXN ILS THB TWD PHP MYR PKR BDT LKR NGN KES GHS EGP AED SAR QAR
BHD KWD OMR JOD TTD JMD BSD BBD DOP GTQ HNL PEN PAB NIO CHF
"""
_POINT_DECIMAL_CURRENCIES = frozenset(_POINT_DECIMALS.split())
# These are written without decimals, so one mark before three digits separates thousands.
_WHOLE = "BIF CLP COP DJF GNF HUF IDR ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF"
_NO_DECIMALS = frozenset(_WHOLE.split())
# Three digits after a mark are the decimals, or thousands.
_THREE_DECIMALS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))

MAX_AMOUNT = Decimal(10) ** 12
_MOST_DECIMALS = 6
_LONGEST = 80

_PLAIN = re.compile(r"\d{1,13}(\.\d{1,6})?", re.ASCII)
_NUMBER = re.compile(r"[0-9][0-9.,:'\u2019\s]*")
_GAPS = re.compile(r"[\s'\u2019]")
_GAPPED = re.compile(r"[0-9]{1,3}([\s'\u2019][0-9]{3})+([.,][0-9]*)?")
# Some write the hundredths after a colon, as in Sweden.
_COLON = re.compile(r"[0-9]+:[0-9]{2}")
_GROUPED = {
    ",": re.compile(r"[0-9]{1,3}(,[0-9]{2,3})*,[0-9]{3}"),
    ".": re.compile(r"[0-9]{1,3}(\.[0-9]{3})+"),
}
_DASHES = "-\u2013\u2014\u2212"
# The Arabic marks for decimals and for thousands.
_ARABIC = str.maketrans({"\u066b": ".", "\u066c": "'"})


class AmountError(Exception):
    """The amount cannot be read; the message says why, without the amount."""


class NegativeAmountError(AmountError):
    """The amount is below zero; ``size`` is the amount without its minus."""

    def __init__(self, size: "Amount") -> None:
        super().__init__("is below zero")
        self.size = size


class Amount(NamedTuple):
    """An exact amount, the currency of its sign, and the text that is sent."""

    number: Decimal
    currency: str | None
    text: str


def read_amount(value: object, currency: str | None) -> Amount:
    """Parse a number, a text or an object with a currency as an amount.

    A text of digits with one point is a decimal number. In a text with a currency's sign, ``currency`` or the sign
    decides what a mark before three digits separates.

    Raises:
        AmountError: not an amount, below zero, too large, ambiguous, or in another currency.
    """
    if type(value) is float or type(value) is int:
        return _read(value, currency)
    if type(value) is dict:
        return _read_object(fold_keys(value), currency)
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
        return _checked(*_from_text(value, currency))
    return _checked(_from_number(value), None)


def _checked(number: Decimal, currency: str | None) -> Amount:
    if not number.is_finite():
        raise AmountError("is not a finite number")
    if number < 0:
        raise NegativeAmountError(_checked(-number, currency))
    if number >= MAX_AMOUNT:
        raise AmountError("is too large to be an amount of money")
    # Adding zero removes the sign of -0.0.
    number = round(number, _MOST_DECIMALS) + 0
    return Amount(number, currency, format_decimal(number))


def _from_number(value: float) -> Decimal:
    if isinstance(value, int):
        # Python refuses to convert thousands of digits, so clamp first.
        return Decimal(max(min(value, 10**13), -(10**13)))
    # A double holds fifteen digits exactly.
    return Decimal(format(value, ".15g"))


# Two prices: what the shop counts, and what the buyer saw.
_TWO_PRICES = ("shopmoney", "presentmentmoney")
_OBJECT_AMOUNTS = ("amount", "value", "price")
_MINOR_AMOUNTS = ("centamount", "amountcents", "cents", "amountminor", "minorunits", "amountincents")
_DIGIT_COUNTS = ("fractiondigits", "currencyminorunit", "precision", "scale", "exponent")


def _read_object(money: Mapping[str, Any], currency: str | None) -> Amount:
    """Read an object with folded keys; an amount is in minor units only where the object says so."""
    prices = [fold_keys(money[key]) for key in _TWO_PRICES if type(money.get(key)) is dict]
    if prices:
        own = [part for part in prices if currency and _object_currency(part) == currency]
        return _read_object((own or prices)[0], currency)
    own_currency = _object_currency(money)
    if own_currency and currency and own_currency != currency:
        raise AmountError(f"is in {own_currency}, but the currency is {currency}")
    number, sign = _object_number(money, own_currency or currency)
    return _checked(number, own_currency or sign)


def _object_currency(money: Mapping[str, Any]) -> str | None:
    raw = next((money[key] for key in ("currencycode", "currency", "currencyiso") if key in money), None)
    code = currency_code(raw)
    if code is None and not is_blank(raw):
        raise AmountError("has a currency that is not known")
    return code


def _object_number(money: Mapping[str, Any], currency: str | None) -> tuple[Decimal, str | None]:
    if "units" in money or "nanos" in money:
        # Google's Money: whole units, and billionths.
        return _plain(money.get("units", 0)) + _plain(money.get("nanos", 0)) / 10**9, None
    minor = _first(money, _MINOR_AMOUNTS)
    raw = _first(money, _OBJECT_AMOUNTS) if minor is None else minor
    digits = _first(money, _DIGIT_COUNTS)
    if minor is not None and digits is None:
        digits = 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    if digits is not None or "divisor" in money:
        divisor = Decimal(10) ** _plain(digits) if digits is not None else _plain(money["divisor"])
        if not 1 <= divisor <= 10**_MOST_DECIMALS:
            raise AmountError("has a number of decimals that is not known")
        return _plain(raw) / divisor, None
    if type(raw) is not str or len(raw) > _LONGEST:
        return _plain(raw), None
    amount = _read(raw, currency)
    return amount.number, amount.currency


def _first(money: Mapping[str, Any], keys: tuple[str, ...]) -> Any:
    return next((money[key] for key in keys if key in money), None)


def _plain(value: object) -> Decimal:
    """Return a number, or a text that is a whole number."""
    if type(value) is int or type(value) is float:
        return _from_number(value)
    if type(value) is str and _PLAIN.fullmatch(value.strip()):
        return Decimal(value.strip())
    raise AmountError("has no number in it")


def _from_text(text: str, currency: str | None) -> tuple[Decimal, str | None]:
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return Decimal(text), None
    if not text.isascii() and any(letter.isdigit() and not letter.isdecimal() for letter in text):
        raise AmountError("has raised digits")
    text = plain_text(text).translate(_ARABIC)
    match = _NUMBER.search(text)
    if not match:
        raise AmountError("is not an amount")
    digits = match[0].rstrip()
    before, after = text[: match.start()].strip(), text[match.start() + len(digits) :].strip()
    signs = _signs(before, after)
    if currency and signs and currency not in signs:
        raise AmountError(f"is written with a sign of {_named(signs)}, but the currency is {currency}")
    own = currency if currency in signs else signs[0] if signs and signs[0] != "?" else None
    # In "12,-" the dash is in the place of the decimals; in "12-" it says that the amount is below zero.
    is_dash = after[:1] in _DASHES and after != ""
    has_mark = digits[-1] in ",.:"
    below_zero = (is_dash and not has_mark) or {before[:1], before[-1:]} & {*_DASHES, "("}
    digits = digits.rstrip(",.:") if is_dash else digits
    number = Decimal(_normalise_separators(digits, currency or own, signs))
    return (-number if below_zero else number), own


def _named(signs: tuple[str, ...]) -> str:
    return " or ".join(signs[1:4] if signs[0] == "?" else signs[:1])


def _signs(before: str, after: str) -> tuple[str, ...]:
    """Return the currencies that the signs, codes or names next to the digits may mean, the usual one first.

    Raises:
        AmountError: there are other words, or two currencies.
    """
    around = [part.strip(f" {_DASHES}()+:=") for part in (before, after)]
    codes: tuple[str, ...] = ()
    for part in filter(None, around):
        for word in [part] if _currencies(part) else part.split():
            currencies = _currencies(word)
            if not currencies:
                raise AmountError("has words in it that are not a currency")
            common = tuple(code for code in currencies if code in codes) if codes else currencies
            if not any(code != "?" for code in common):
                raise AmountError("names two currencies")
            codes = common
    return codes


def _currencies(word: str) -> tuple[str, ...]:
    code = currency_code(word)
    return sign_currencies(word) or ((code,) if code else ())


def _normalise_separators(digits: str, currency: str | None, signs: tuple[str, ...]) -> str:
    """Return the digits with a point before the decimals, and no other separators."""
    if _GAPS.search(digits):
        if not _GAPPED.fullmatch(digits):
            raise AmountError("has gaps in odd places")
        return _GAPS.sub("", digits).replace(",", ".")
    if signs and _COLON.fullmatch(digits):
        return digits.replace(":", ".")
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return _normalise_both_separators(digits)
    if ":" in digits or points + commas > 1:
        return _normalise_groups(digits, "." if points else ",")
    mark = "." if points else ","
    whole, _, rest = digits.partition(mark)
    if len(rest) == 3 and len(whole) <= 3 and whole.strip("0") and _is_grouping(mark, currency, signs):
        return whole + rest
    return f"{whole}.{rest or '0'}"


def _normalise_groups(digits: str, mark: str) -> str:
    if not _GROUPED[mark].fullmatch(digits):
        raise AmountError("has separators in odd places")
    return digits.replace(mark, "")


def _normalise_both_separators(digits: str) -> str:
    decimal_mark = max(".", ",", key=digits.rfind)
    group_mark = "," if decimal_mark == "." else "."
    whole, _, rest = digits.rpartition(decimal_mark)
    if decimal_mark in whole or not _GROUPED[group_mark].fullmatch(whole):
        raise AmountError("has separators in odd places")
    return f"{whole.replace(group_mark, '')}.{rest or '0'}"


_AMBIGUOUS = "could mean thousands or decimals: send a number, or two decimals"


def _is_grouping(mark: str, currency: str | None, signs: tuple[str, ...]) -> bool:
    """Return whether one mark before three digits separates thousands and not decimals.

    Raises:
        AmountError: it could be either.
    """
    if mark == "." and (not signs or currency in _THREE_DECIMALS):
        return False
    if currency in _THREE_DECIMALS:
        raise AmountError(_AMBIGUOUS)
    if currency in _NO_DECIMALS:
        return True
    point_decimals = _POINT_DECIMAL_CURRENCIES.intersection((currency,) if currency else signs)
    if (mark == "." and point_decimals) or (mark == "," and not signs and not point_decimals):
        raise AmountError(_AMBIGUOUS)
    return True


def settle_cell(cell: str, currency: object) -> str:
    """Return the amount in a cell of a spreadsheet with its thousands and decimals distinguished.

    Unlike in JSON, one point before three digits may separate thousands.

    Raises:
        AmountError: it could be either.
    """
    if not _CELL.fullmatch(cell):
        return cell
    code = currency_code(currency)
    if code in _THREE_DECIMALS:
        return cell
    if code is None or code in _POINT_DECIMAL_CURRENCIES - _NO_DECIMALS:
        raise AmountError(_AMBIGUOUS)
    return cell.replace(".", "")


_CELL = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")
