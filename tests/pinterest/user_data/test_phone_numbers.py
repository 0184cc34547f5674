"""Phone numbers, with and without a country."""

import random
from collections.abc import Iterator

import phonenumbers
import pytest

from worker.pinterest.user_data import phone_numbers
from worker.pinterest.user_data.phone_numbers import phone_digits


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


def _typed(count: int) -> Iterator[tuple[str, str | None]]:
    """Yield numbers of all countries as people type them, some with mistakes, and the country of who types them."""
    rng = random.Random(7)
    regions = [*sorted(phonenumbers.SUPPORTED_REGIONS), "XX", None]
    for _ in range(count):
        region = rng.choice(regions)
        example = phonenumbers.example_number_for_type(region or "DE", rng.choice((0, 1, 3)))
        number = phonenumbers.format_number(example, rng.choice((0, 1, 2))) if example else "020 7946 0958"
        number = "".join(
            rng.choice("0123456789") if sign.isdigit() and rng.random() < 0.2 else sign for sign in number
        )
        if rng.random() < 0.2:
            number = rng.choice(("0", "1", "00", "011", "+", "+0")) + number
        at = rng.randrange(len(number) + 1)
        sign = rng.choice(("", "", "", "-", ".", "/", "(", ") ", "\u2010", "\t", "+", "7", "12"))
        yield (
            number[:at] + sign + number[at:],
            rng.choice(regions) if rng.random() < 0.2 else region,
        )


def test_a_usual_number_is_read_as_the_library_reads_it() -> None:
    read = [(text, region, phone_numbers._usual(text, region)) for text, region in _typed(4_000)]
    known = [one for one in read if one[2] is not None]
    assert len(known) > len(read) / 3
    assert [one for one in known if phone_numbers._unusual.__wrapped__(*one[:2]) != one[2]] == []
