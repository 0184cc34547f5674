"""Amounts of money in all formats."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pinterest.custom_data.money import (
    AmountError,
    NegativeAmountError,
    format_decimal,
    is_blank,
    read_amount,
    settle_cell,
)


@pytest.mark.parametrize(
    ("value", "currency", "text"),
    [
        (129.99, "USD", "129.99"),
        (1299, None, "1299"),
        (0, None, "0"),
        (50.0, None, "50"),
        (0.30000000000000004, None, "0.3"),
        (389.96999999999997, None, "389.97"),
        (100 / 3, None, "33.333333"),
        (1e-7, None, "0"),
        ("129.99", None, "129.99"),
        ("1299.00", None, "1299"),
        ("$1,299.00", "USD", "1299"),
        ("1.299,00 €", "EUR", "1299"),
        ("1.299,00 €", None, "1299"),  # both marks are present: not ambiguous
        ("€ 49,9", None, "49.9"),
        ("49,90", None, "49.9"),
        ("1,299", "USD", "1299"),
        # One point is a decimal point, whatever the currency.
        ("1.299", "EUR", "1.299"),
        ("19.995", "EUR", "19.995"),
        ("150.000", "IDR", "150"),
        ("1.299", None, "1.299"),
        ("1.299", "USD", "1.299"),
        ("1.299", "KWD", "1.299"),
        ("1.299 €", None, "1299"),
        ("1,234,567", None, "1234567"),
        ("1.234.567,89", None, "1234567.89"),
        ("12,34,567.89", "INR", "1234567.89"),
        ("1 299,00 €", None, "1299"),
        ("1\u202f299,00\u00a0€", None, "1299"),
        ("1'299.00", "CHF", "1299"),
        ("CHF 1\u2019299.\u2013", None, "1299"),
        ("1.299,- €", None, "1299"),
        ("USD 12", None, "12"),
        ("US$12.50", "USD", "12.5"),
        ("0.125", "EUR", "0.125"),
        ("1299.125", None, "1299.125"),
        ("kr 99", "SEK", "99"),
        ("+5", None, "5"),
        (-0.0, None, "0"),
        ("-0.0", None, "0"),
        ("1,29,900.00", None, "129900"),
        ("1'299.00", None, "1299"),
        # Prices as shops of many countries write them.
        ("\uffe51,980", None, "1980"),
        ("19,800\uc6d0", None, "19800"),
        ("\u20a919,800", "KRW", "19800"),
        ("Rp 150.000", None, "150000"),
        ("Rp1.250.000,00", "IDR", "1250000"),
        ("12 990 Ft", "HUF", "12990"),
        ("12.990 Ft", None, "12990"),
        ("R 1 299,00", "ZAR", "1299"),
        ("NT$1,200", None, "1200"),
        ("HK$1,280.00", "HKD", "1280"),
        ("12,50 lei", None, "12.5"),
        ("\u20ac 12,-", None, "12"),
        ("12:50 kr", "SEK", "12.5"),
        ("1299:-", None, "1299"),
        ("1.299 kr.", "DKK", "1299"),
        ("R$ 1.299,90", "BRL", "1299.9"),
        ("1 299,90 z\u0142", "PLN", "1299.9"),
        ("1 299 K\u010d", None, "1299"),
        ("12,50 \u043b\u0432.", "BGN", "12.5"),
        ("\u20b91,29,900", None, "129900"),
        ("150.000\u20ab", None, "150000"),
        ("S/. 1,299.90", "PEN", "1299.9"),
        ("$12.990", "CLP", "12990"),
        ("$1,299", None, "1299"),
        ("AED 120.00", None, "120"),
        ("KD 12.500", None, "12.5"),
        ("120.00 \u062f.\u0625", "AED", "120"),
        ("US $1,299.00", None, "1299"),
        ("$12.50 USD", "USD", "12.5"),
        ("12,50 Euro", "EUR", "12.5"),
        ("12,50&nbsp;&euro;", None, "12.5"),
        ("&amp;#8364;12.50", "EUR", "12.5"),
        ("1\u2009299,00\u00a0\u20ac", None, "1299"),
        # Digits of other scripts, and the Arabic marks.
        ("\u0661\u066c\u0662\u0669\u0669\u066b\u0665\u0660", None, "1299.5"),
        ("\u06f1\u06f2\u06f3\u06f4", None, "1234"),
        ("\u0967,\u0968\u096f\u096f.\u0966\u0966", None, "1299"),
        ("\uff11\uff0c\uff12\uff19\uff19\uff0e\uff10\uff10", None, "1299"),
    ],
)
def test_an_amount_is_read_exactly(value: object, currency: str | None, text: str) -> None:
    assert read_amount(value, currency).text == text


@pytest.mark.parametrize(
    ("value", "currency", "why"),
    [
        ("1,299", None, "could mean thousands or decimals"),
        ("$1.299", "USD", "could mean thousands or decimals"),
        ("1,299", "EUR", "could mean thousands or decimals"),
        ("1,299", "KWD", "could mean thousands or decimals"),
        ("$12", "EUR", "is written with a sign of USD or CAD or AUD, but the currency is EUR"),
        ("12\u2079\u2079 \u20ac", None, "has raised digits"),
        ("12 3456", None, "has gaps in odd places"),
        ("12:50", None, "has separators in odd places"),
        ("10 - 15 \u20ac", None, "has words in it that are not a currency"),
        ("€12", "USD", "is written with a sign of EUR, but the currency is USD"),
        ("€12 USD", None, "names two currencies"),
        ("1,29,9", None, "has separators in odd places"),
        ("1.299.00", None, "has separators in odd places"),
        ("1,2.3,4", None, "has separators in odd places"),
        ("12 34", None, "has gaps in odd places"),
        ("12 apples", None, "has words in it that are not a currency"),
        ("1e21", None, "has words in it that are not a currency"),
        ("free", None, "is not an amount"),
        ("", None, "is not an amount"),
        (1e21, None, "is too large to be an amount of money"),
        (10**25, None, "is too large to be an amount of money"),
        ("9" * 13, None, "is too large to be an amount of money"),
        ("1" * 81, None, "is too long"),
        (float("nan"), None, "is not a finite number"),
        (float("inf"), None, "is not a finite number"),
        (True, None, "is neither a number nor a text"),
        (None, None, "is neither a number nor a text"),
        ([1], None, "is neither a number nor a text"),
    ],
)
def test_an_invalid_or_ambiguous_amount_is_refused_with_the_reason(
    value: object, currency: str | None, why: str
) -> None:
    with pytest.raises(AmountError) as error:
        read_amount(value, currency)
    assert str(error.value).startswith(why)


@pytest.mark.parametrize(
    "value", [-1, -0.01, "-1.00", "\u22121,00 €", "$-5", "(12.00)", "12.00-", {"amount": -1}]
)
def test_a_negative_amount_is_refused(value: object) -> None:
    with pytest.raises(NegativeAmountError):
        read_amount(value, None)


@pytest.mark.parametrize(
    ("text", "code"), [("€5", "EUR"), ("5 PLN", "PLN"), ("5 zł", "PLN"), ("$5", None), ("5", None)]
)
def test_an_unambiguous_sign_gives_the_currency(text: str, code: str | None) -> None:
    assert read_amount(text, None).currency == code


@pytest.mark.parametrize(
    ("money", "currency", "read"),
    [
        ({"amount": "12.00", "currencyCode": "USD"}, None, ("USD", "12")),
        ({"amount": "12.00", "currency_code": "usd"}, "USD", ("USD", "12")),
        ({"value": 12.5, "currency": "EUR"}, None, ("EUR", "12.5")),
        ({"amount": "1.299,00 \u20ac"}, None, ("EUR", "1299")),
        (
            {"type": "centPrecision", "currencyCode": "EUR", "centAmount": 1999, "fractionDigits": 2},
            None,
            ("EUR", "19.99"),
        ),
        ({"currencyCode": "JPY", "centAmount": 1999, "fractionDigits": 0}, None, ("JPY", "1999")),
        ({"units": "12", "nanos": 500_000_000, "currencyCode": "USD"}, None, ("USD", "12.5")),
        ({"amount": 1999, "divisor": 100, "currency_code": "USD"}, None, ("USD", "19.99")),
        ({"cents": 1999, "currency_iso": "EUR"}, None, ("EUR", "19.99")),
        ({"amount": 5000, "currency": {"code": "USD"}, "scale": 2}, None, ("USD", "50")),
        ({"price": "1999", "currency_code": "GBP", "currency_minor_unit": 2}, None, ("GBP", "19.99")),
    ],
)
def test_an_object_of_money_is_read(money: object, currency: str | None, read: tuple[str, str]) -> None:
    assert read_amount(money, currency)[1:] == read


TWO_PRICES = {
    "shop_money": {"amount": "10.00", "currency_code": "USD"},
    "presentment_money": {"amount": "9.10", "currency_code": "EUR"},
}


@pytest.mark.parametrize(("currency", "text"), [("USD", "10"), ("EUR", "9.1"), (None, "10")])
def test_of_two_prices_that_in_the_events_currency_counts(currency: str | None, text: str) -> None:
    assert read_amount(TWO_PRICES, currency).text == text


@pytest.mark.parametrize(
    ("money", "why"),
    [
        ({}, "has no number in it"),
        ({"amount": None}, "has no number in it"),
        ({"amount": [1]}, "has no number in it"),
        ({"amount": "many"}, "is not an amount"),
        ({"amount": 5, "currency": "JPY"}, "is in JPY, but the currency is USD"),
        ({"amount": 5, "currency": "Taler"}, "has a currency that is not known"),
        ({"centAmount": 1999, "fractionDigits": 99}, "has a number of decimals that is not known"),
        ({"amount": 1999, "divisor": 0}, "has a number of decimals that is not known"),
        ({"amount": float("inf")}, "is not a finite number"),
    ],
)
def test_an_object_without_a_clear_amount_is_refused(money: object, why: str) -> None:
    with pytest.raises(AmountError, match=why):
        read_amount(money, "USD")


@pytest.mark.parametrize(
    ("cell", "currency", "settled"),
    [
        ("1.299", "EUR", "1299"),
        ("150.000", "Rp", "150000"),
        ("12.990", "HUF", "12990"),
        ("1.250", "KWD", "1.250"),
        ("0.125", "USD", "0.125"),
        ("19.99", "EUR", "19.99"),
        ("1.299,00", "EUR", "1.299,00"),
        ("1299.125", None, "1299.125"),
    ],
)
def test_one_point_in_a_cell_separates_thousands_where_nothing_else_is_possible(
    cell: str, currency: str | None, settled: str
) -> None:
    assert settle_cell(cell, currency) == settled


@pytest.mark.parametrize("currency", ["USD", "GBP", None, "unknown"])
def test_a_cell_with_one_point_is_refused_where_both_are_possible(currency: str | None) -> None:
    with pytest.raises(AmountError, match="could mean thousands or decimals"):
        settle_cell("1.299", currency)


@given(st.text("0123456789.,:'\u2019 \u00a0-$\u20acRpkr\u066b\u066c\u0661", max_size=40))
def test_a_price_text_becomes_plain_digits_or_is_refused(text: str) -> None:
    for currency in (None, "EUR", "IDR"):
        with suppress(AmountError):
            amount = read_amount(text, currency)
            assert amount.text == format_decimal(amount.number)
            assert amount.number >= 0
            # What was read stays the same when it is read again.
            assert read_amount(amount.text, currency).number == amount.number


@given(st.decimals(min_value=0, max_value=10**11, places=2))
def test_two_decimals_are_exact_as_number_and_as_text(amount: Decimal) -> None:
    assert Decimal(read_amount(str(amount), None).text) == amount
    assert Decimal(read_amount(float(amount), None).text) == amount


@given(st.floats() | st.integers() | st.text(max_size=45))
def test_an_amount_becomes_plain_digits_or_is_refused(value: object) -> None:
    try:
        amount = read_amount(value, "USD")
    except AmountError:
        return
    assert amount.text.replace(".", "", 1).isascii()
    assert amount.text.replace(".", "", 1).isdigit()
    assert Decimal(amount.text) == amount.number


def test_a_formatted_number_has_no_exponent_and_no_trailing_zeros() -> None:
    assert format_decimal(Decimal("1E+3")) == "1000"
    assert format_decimal(Decimal("1.500")) == "1.5"
    assert format_decimal(Decimal("100")) == "100"


@pytest.mark.parametrize("value", [None, "", " ", "null", "NaN", "undefined"])
def test_a_placeholder_is_blank(value: object) -> None:
    assert is_blank(value)
    assert not is_blank(0)
