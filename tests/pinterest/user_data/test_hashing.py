"""Normalised and hashed identifiers."""

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.pinterest.conftest import EM, sha
from worker.pinterest.user_data.hashing import NORMALISATIONS, hash_value, normalise

TABLE = [
    ("em", " John.Doe@Example.COM ", None, "john.doe@example.com"),
    ("em", "jöhn@exämple.de", None, "jöhn@exämple.de"),
    ("em", "mailto:John.Doe@example.com", None, "john.doe@example.com"),
    ("em", "mailto:john.doe%40example.com?subject=Hi", None, "john.doe@example.com"),
    ("em", "John Doe <john.doe@example.com>", None, "john.doe@example.com"),
    ("em", '"Doe, John" <john.doe@example.com>', None, "john.doe@example.com"),
    ("em", "john.doe@example.com; j@d.example", None, "john.doe@example.com"),
    ("em", "none, john.doe@example.com", None, "john.doe@example.com"),
    ("em", "john.doe@example.com j@d.example", None, "john.doe@example.com"),
    ("ph", "tel:+1-555-123-4567", None, "15551234567"),
    ("ph", "tel:+49-151-12345678;ext=9", None, "4915112345678"),
    ("ph", "TEL://+4915112345678", None, "4915112345678"),
    ("ph", "tel:151-12345678;phone-context=+49", None, "4915112345678"),
    ("ph", "\u0660\u0661\u0665\u0661\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", "de", "4915112345678"),
    ("ph", "+\u06f4\u06f9 \u0967\u096b\u0967 12345678", None, "4915112345678"),
    ("zp", "\u0661\u0660\u0661\u0661\u0665", None, "10115"),
    ("ph", "+1 (555) 123-4567", None, "15551234567"),
    ("ph", "555-123-4567", "us", "15551234567"),
    ("ph", "+44 (0)20 7946 0958", None, "442079460958"),
    ("ph", "0151 12345678", "de", "4915112345678"),
    ("ph", "0044 20 7946 0958", None, "442079460958"),
    ("ph", 15551234567, None, "15551234567"),
    ("ph", "4915112345678", None, "4915112345678"),
    ("ph", "+39 06 1234 5678", None, "390612345678"),  # Italy keeps its zero
    ("ph", "+1 555 123 4567 ext. 89", None, "15551234567"),
    ("ge", "Female", None, "f"),
    ("ge", "M", None, "m"),
    ("ge", "non-binary", None, "n"),
    ("ge", "Frau", None, "f"),
    ("ge", "weibl.", None, "f"),
    ("ge", "masculino", None, "m"),
    ("ge", "Mr.", None, "m"),
    ("ge", "мужской", None, "m"),
    ("ge", "d", None, "n"),
    ("db", "4 Apr 1990", None, "19900404"),
    ("db", "April 4, 1990", None, "19900404"),
    ("db", "04-Apr-1990", None, "19900404"),
    # Midnight in Berlin, in Chicago, and a day without a zone's shift.
    ("db", "1990-03-31T22:00:00.000Z", None, "19900401"),
    ("db", "1990-04-01T05:00:00Z", None, "19900401"),
    ("db", "1990-04-01T22:00:00+02:00", None, "19900401"),
    ("db", "1990-04-01", None, "19900401"),
    ("db", "1990-04-01T00:00:00.000Z", None, "19900401"),
    ("db", "19900401", None, "19900401"),
    ("db", 19900401, None, "19900401"),
    ("db", "1990/4/1", None, "19900401"),
    ("db", "01.04.1990", None, "19900401"),
    ("db", "04/25/1990", None, "19900425"),
    ("db", "25/04/1990", None, "19900425"),
    ("fn", " Zoë ", None, "zoë"),
    ("fn", "Mary  Ann", None, "mary ann"),
    ("ln", "MÜLLER", None, "müller"),
    ("ln", "O'Neill", None, "o'neill"),
    ("ct", "San José", None, "sanjosé"),
    ("ct", "St. Gallen", None, "stgallen"),
    ("ct", "東京", None, "東京"),
    ("st", "California", None, "ca"),
    ("st", "CA", None, "ca"),
    ("st", "US-CA", None, "ca"),
    ("st", "Québec", None, "qc"),
    ("st", "São Paulo", "br", "sp"),
    ("zp", "02139", None, "02139"),
    ("zp", "SW1A 1AA", None, "sw1a1aa"),
    ("zp", "94105-1234", None, "941051234"),
    ("zp", 90210, None, "90210"),
    # A table dropped the leading zero.
    ("zp", 2110, "us", "02110"),
    ("zp", "1067", "de", "01067"),
    ("zp", "1010", "at", "1010"),
    ("zp", 2110, None, "2110"),
    ("zp", "D-10115", None, "10115"),
    ("zp", "CH-8001", None, "8001"),
    ("zp", "LV-1010", None, "lv1010"),
    ("country", "US", None, "us"),
    ("country", "DEU", None, "de"),
    ("country", "United Kingdom", None, "gb"),
    ("country", "UK", None, "gb"),
    ("country", "Côte d\u2019Ivoire", None, "ci"),
    ("country", "the Netherlands", None, "nl"),
    ("external_id", " User-7 ", None, "User-7"),
    ("external_id", 0, None, "0"),
    (
        "hashed_maids",
        " CDDA802E-FB9C-47AD-9866-0794D394C912 ",
        None,
        "cdda802e-fb9c-47ad-9866-0794d394c912",
    ),
]


@pytest.mark.parametrize(("field", "value", "country", "normal"), TABLE)
def test_a_value_is_normalised_then_hashed_as_utf8(
    field: str, value: object, country: str | None, normal: str
) -> None:
    assert normalise(field, value, country) == normal
    assert hash_value(field, value, country) == sha(normal)


def test_the_documented_hash_is_reproduced() -> None:
    assert hash_value("em", "john.doe@example.com") == EM


JUNK = [
    *((field, junk) for field in NORMALISATIONS for junk in ("", "  ", "null", "undefined", "NaN", None, {}, [], True)),
    *((field, {"a": "b@c.example"}) for field in NORMALISATIONS),
    ("em", "john.doe"),
    ("em", "@example.com"),
    ("em", "a@b"),
    ("em", "a b@c.example"),
    ("em", "a@b@c.example"),
    ("em", "john doe@example.com"),
    ("em", "mailto:"),
    ("em", "John <john>"),
    ("ph", "tel:"),
    ("ph", "1-800-FLOWERS"),
    ("ph", "5551234567"),  # whose country?
    ("ph", "0151 12345678"),
    ("ph", "+12"),
    ("ph", "d41d8cd98f00b204e9800998ecf8427e"),
    ("ge", "unknown"),
    ("db", "04/05/1990"),  # April or May?
    ("db", "1990-02-30"),
    ("db", "2533-04-01"),
    ("db", "9999-12-31T23:00:00Z"),
    ("db", "4 Foo 1990"),
    # What very many people type instead of their number.
    ("ph", "+1 000 000 0000"),
    ("ph", "+1 555 555 5555"),
    ("ph", "+1 123 456 7890"),
    ("db", "1690-01-01"),
    ("db", 639014400000),
    ("fn", "123"),
    ("fn", "john@example.com"),
    ("ct", "---"),
    ("st", "Somewhere"),
    ("st", "New South Wales"),
    ("zp", "????"),
    ("country", "Atlantis"),
    ("hashed_maids", "00000000-0000-0000-0000-000000000000"),
    ("hashed_maids", "device-7"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), JUNK)
def test_invalid_values_are_never_hashed(field: str, value: object) -> None:
    assert hash_value(field, value) is None


@pytest.mark.parametrize("field", NORMALISATIONS)
def test_a_hash_in_upper_or_lower_case_is_recognised(field: str) -> None:
    assert hash_value(field, EM.upper()) == EM
    assert hash_value(field, f" {EM} ") == EM
    assert normalise(field, EM) is None


@pytest.mark.parametrize("field", NORMALISATIONS)
def test_a_hash_is_not_hashed_again(field: str) -> None:
    good = next(value for name, value, _, _ in TABLE if name == field)
    once = hash_value(field, good, "us")
    assert hash_value(field, once, "us") == once


NAMES = st.text(st.characters(categories=("Ll", "Lu", "Mn", "Nd")), min_size=1, max_size=12).map(
    lambda s: "a" + s
)


@given(NAMES, st.sampled_from(["fn", "ln", "ct", "em"]), st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_hashing_is_stable_under_case_spacing_and_unicode_form(name: str, field: str, form: str) -> None:
    value = f"{name}@b.example" if field == "em" else name
    # Some letters do not survive upper-casing: the German sharp s, the final sigma.
    assume(
        unicodedata.normalize("NFKC", value).upper().lower() == unicodedata.normalize("NFKC", value).lower()
    )
    expected = hash_value(field, value)
    assert hash_value(field, f"\u00a0 {unicodedata.normalize(form, value)}\n") == expected  # type: ignore[arg-type]
    assert hash_value(field, unicodedata.normalize("NFKC", value).upper()) == expected
