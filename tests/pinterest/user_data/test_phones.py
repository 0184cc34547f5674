"""Phone numbers, with and without a country."""

import pytest

from worker.pinterest.user_data.hashing import phone_digits


@pytest.mark.parametrize(
    ("text", "region", "digits"),
    [
        ("+1 (555) 123-4567", None, "15551234567"),
        ("(555) 123-4567", "US", "15551234567"),
        ("1 555 123 4567", "US", "15551234567"),
        ("+1 555 123 4567", "DE", "15551234567"),  # a plus takes precedence over the country
        ("020 7946 0958", "GB", "442079460958"),
        ("00 49 151 12345678", None, "4915112345678"),
        ("011 44 20 7946 0958", "US", "442079460958"),
        ("1 (555) 123-4567", None, "15551234567"),
        ("0151 12345678", None, None),
        ("+1 555 CALL NOW", None, None),
        ("+999 123 456 789", None, None),
        ("12345", "US", None),
        ("1" * 41, "US", None),
        ("٠١٢٣٤٥٦٧٨٩", "EG", None),
        ("555-123-4567", "XX", None),
    ],
)
def test_a_phone_number_becomes_e164(text: str, region: str | None, digits: str | None) -> None:
    assert phone_digits(text, region) == digits
