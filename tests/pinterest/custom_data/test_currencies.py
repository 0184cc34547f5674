"""Currencies by code, number, sign and name."""

import pytest
from babel import Locale
from babel.numbers import get_currency_precision

from worker.pinterest.custom_data import currencies, money
from worker.pinterest.custom_data.currencies import currency_code, sign_currencies


@pytest.mark.parametrize(
    ("stated", "code"),
    [
        ("usd", "USD"),
        (" EUR ", "EUR"),
        ("€", "EUR"),
        ("&euro;", "EUR"),
        ("&#8364;", "EUR"),
        ("&#82;&#36;", "BRL"),
        ("Euro", "EUR"),
        ("US Dollar", "USD"),
        ("U.S. Dollars", "USD"),
        ("Pounds Sterling", "GBP"),
        ("RMB", "CNY"),
        ("人民币", "CNY"),
        ("Kč", "CZK"),
        ("ZŁ", "PLN"),
        ("Ft", "HUF"),
        ("лв.", "BGN"),
        ("S/.", "PEN"),
        ("د.إ", "AED"),
        ("978", "EUR"),
        (978, "EUR"),
        ("036", "AUD"),
        (36, "AUD"),
        ("\uff35\uff33\uff24", "USD"),
        ({"code": "SEK", "name": "Kronor"}, "SEK"),
        ({"isoCode": "chf"}, "CHF"),
    ],
)
def test_a_currency_is_known_by_code_number_sign_and_name(stated: object, code: str) -> None:
    assert currency_code(stated) == code


@pytest.mark.parametrize(
    "stated",
    ["$", "kr", "¥", "Rs.", "Dollar", "XXX", "000", "999", 1000, "RO", "SR", "KM", "", None, True, [], {}],
)
def test_an_ambiguous_or_unknown_currency_is_none(stated: object) -> None:
    assert currency_code(stated) is None


def test_english_names_and_single_signs_agree_with_cldr() -> None:
    locale = Locale.parse("en")
    for code in currencies._CURRENCY_CODES - {"SLL", "ZWL", "XCG"}:
        assert currency_code(locale.currencies[code]) == code, code
        sign = locale.currency_symbols.get(code, code)
        assert code in sign_currencies(sign), (code, sign)


def test_decimals_agree_with_cldr() -> None:
    assert {code for code in currencies._CURRENCY_CODES if get_currency_precision(code) == 3} | {"IQD"} == (
        money._THREE_DECIMALS
    )
    assert all(get_currency_precision(code) == 0 for code in money._NO_DECIMALS)
