"""Read amounts exactly, however they are written."""

import re
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from worker.events.text import JUNK
from worker.pinterest.currencies import CODES, COMMA_GROUPS, POINT_GROUPS, SIGNS, THREE_DECIMALS

LARGEST = Decimal(10) ** 12
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


def plain(number: Decimal) -> str:
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
    if number >= LARGEST:
        raise AmountError("is too large to be an amount of money")
    number = round(number, _MOST_DECIMALS)
    return Amount(number, signed, plain(number))


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
    number = Decimal(_settle(_GAPS.sub("", digits), currency or sign))
    below_zero = {before.strip()[:1], before.strip()[-1:]} & {"-", "\u2212", "("}
    return (-number if below_zero else number), sign


def _sign(before: str, after: str) -> str | None:
    """Return the currency whose sign or code stands beside the digits; other words make it no amount."""
    around = [part.strip(" \u00a0\u202f-\u2212\u2013()+") for part in (before, after)]
    signs: set[str | None] = set()
    for part in filter(None, around):
        if part.upper() in CODES:
            signs.add(part.upper())
        elif part in SIGNS:
            signs.add(SIGNS[part])
        elif part in ("$", "¥", "kr", "kr.", "Fr.", "Rs", "Rs."):
            signs.add(None)
        else:
            raise AmountError("has words in it that are no currency")
    known = signs - {None}
    if len(known) > 1:
        raise AmountError("names two currencies")
    return next(iter(known), None)


def _settle(digits: str, currency: str | None) -> str:
    """Return the digits with a point before the decimals and nothing else."""
    if any(c.isspace() or c in "'\u2019" for c in digits):
        raise AmountError("has gaps in odd places")
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return _settle_both(digits)
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


def _settle_both(digits: str) -> str:
    decimal_mark = max(".", ",", key=digits.rfind)
    group_mark = "," if decimal_mark == "." else "."
    whole, _, rest = digits.rpartition(decimal_mark)
    if decimal_mark in whole or not _GROUPED[group_mark].fullmatch(whole):
        raise AmountError("has separators in odd places")
    return f"{whole.replace(group_mark, '')}.{rest or '0'}"


def _demand_grouping(mark: str, currency: str | None) -> None:
    """Refuse one mark before three digits, unless it is what parts thousands in this currency."""
    habit = "." if currency in POINT_GROUPS else "," if currency in COMMA_GROUPS else None
    if habit != mark or currency in THREE_DECIMALS:
        raise AmountError("could mean thousands or decimals: send a number, or two decimals")
