"""Amounts of money in all formats."""

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
        ("1.299", "EUR", "1299"),
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
    ],
)
def test_an_amount_is_read_exactly(value: object, currency: str | None, text: str) -> None:
    assert read_amount(value, currency).text == text


@pytest.mark.parametrize(
    ("value", "currency", "why"),
    [
        ("1,299", None, "could mean thousands or decimals"),
        ("1.299", None, "could mean thousands or decimals"),
        ("1.299", "USD", "could mean thousands or decimals"),
        ("1,299", "EUR", "could mean thousands or decimals"),
        ("1.299", "KWD", "could mean thousands or decimals"),
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
        ("1" * 41, None, "is too long"),
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


@pytest.mark.parametrize("value", [-1, -0.01, "-1.00", "\u22121,00 €", "$-5", "(12.00)"])
def test_a_negative_amount_is_refused(value: object) -> None:
    with pytest.raises(NegativeAmountError):
        read_amount(value, None)


@pytest.mark.parametrize(
    ("text", "code"), [("€5", "EUR"), ("5 PLN", "PLN"), ("5 zł", "PLN"), ("$5", None), ("5", None)]
)
def test_an_unambiguous_sign_gives_the_currency(text: str, code: str | None) -> None:
    assert read_amount(text, None).currency == code


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
