"""Phone numbers are found as people of each country write them; sizes, prices, dates and ids are not taken for some."""

import time

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from worker.event.phones_in_text import find_phones
from worker.event.redaction import clean_free_text, clean_url

_MARKETS = """
US CN GB JP DE KR FR IN CA BR IT ES AU RU NL MX PL TR ID SE CH BE AT DK NO FI PT IE CZ GR HU RO TW HK SG MY TH VN PH
SA AE IL ZA AR CL CO PE NZ EG NG UA
"""
COUNTRIES = _MARKETS.split()


def _cleaned(text: str, *regions: str) -> str:
    return clean_free_text(text, lambda: regions)


@pytest.mark.parametrize("country", COUNTRIES)
@pytest.mark.parametrize("kind", [PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE])
def test_a_number_in_its_countrys_usual_form_is_removed(country: str, kind: int) -> None:
    example = phonenumbers.example_number_for_type(country, kind)
    assert example is not None
    number = phonenumbers.format_number(example, PhoneNumberFormat.NATIONAL)
    assert _cleaned(f"gift for Ann, {number}, thanks", country) == "gift for Ann, , thanks"
    assert _cleaned(number, country) == ""
    # After a word for a phone, the country need not be known.
    assert _cleaned(f"Tel. {number} please") == "Tel. please"


@pytest.mark.parametrize(
    ("text", "regions", "cleaned"),
    [
        ("Tel. 0171 1234567", "", "Tel."),
        ("lamp 06 12 34 56 78 red", "", "lamp red"),
        ("06.12.34.56.78", "", ""),
        ("06-12-34-56-78", "", ""),
        ("size 42 06 12 34 56 78", "", "size 42"),
        ("(11) 91234-5678", "", ""),
        ("(11) 1234-5678", "", ""),
        ("11 91234-5678", "BR", ""),
        ("090-1234-5678", "", ""),
        ("03-1234-5678", "", ""),
        ("01632 960123", "", ""),
        ("ring me on 07700 900123", "", "ring me on"),
        ("0161 496 0000", "", ""),
        ("555-123-4567", "", ""),
        ("555.123.4567", "", ""),
        ("1-800-555-0199", "", ""),
        ("call 555 123 4567", "", "call"),
        ("212 555 0123", "US", ""),
        ("tel 5551234567", "", "tel"),
        ("phone: 612345678", "", "phone:"),
        ("regalo para 612 34 56 78", "ES", "regalo para"),
        ("regalo para 612 345 678", "", "regalo para"),
        ("prezent 512 345 678", "PL", "prezent"),
        ("dárek 601 123 456", "CZ", "dárek"),
        ("prenda 912 345 678", "PT", "prenda"),
        ("regalo 312 345 6789", "IT", "regalo"),
        ("gave til 20 12 34 56", "DK", "gave til"),
        ("gave til 412 34 567", "NO", "gave til"),
        ("gift 8123 4567", "SG", "gift"),
        ("gift 5123 4567", "HK", "gift"),
        ("98765 43210", "IN", ""),
        ("whatsapp 98765 43210", "", "whatsapp"),
        ("098765 43210", "", ""),
        ("mobile no. 98765 43210", "", "mobile no."),
        ("my phone number is 98765 43210", "", "my phone number is"),
        ("0532 123 45 67", "", ""),
        ("0(532) 123 45 67", "", ""),
        ("0 532 123 45 67", "TR", ""),
        ("8 (912) 345-67-89", "", ""),
        ("8 912 345 67 89", "RU", ""),
        ("тел. 8 912 345 67 89", "", "тел."),
        ("0412 345 678", "", ""),
        ("(02) 9876 5432", "", ""),
        ("02 9876 5432", "", ""),
        ("06-12345678", "", ""),
        ("070-123 45 67", "", ""),
        ("08-12 34 56", "", ""),
        ("0812-3456-7890", "", ""),
        ("0912-345-678", "", ""),
        ("02-1234-5678", "", ""),
        ("010-1234-5678", "", ""),
        ("0171/1234567", "", ""),
        ("030/12345678", "", ""),
        ("011 15-2345-6789", "", ""),
        ("050-123-4567", "", ""),
        ("079 123 45 67", "", ""),
        ("0470 12 34 56", "", ""),
        ("0664 1234567", "", ""),
        ("55 1234 5678", "MX", ""),
        ("131 2345 6789", "CN", ""),
        ("電話:03-1234-5678", "", "電話:"),
        ("电话13123456789", "", "电话"),
        ("전화 01012345678", "", "전화"),
        ("τηλ. 691 234 5678", "", "τηλ."),
        ("+49 171 1234567", "", ""),
        ("0049 171 1234567", "", ""),
        ("01711234567", "DE", ""),
        ("Tel-5551234567", "", "Tel-"),
        ("a 0171 1234567, b 0171 7654321", "", "a , b"),
    ],
)
def test_a_national_number_is_removed_from_free_text(text: str, regions: str, cleaned: str) -> None:
    assert _cleaned(text, *regions.split()) == cleaned


ANYWHERE = [(), ("US",), ("DE",), ("GB", "PL"), ("JP",), ("BR",), ("IN",), ("ES",), ("DK",), ("FR",)]


@pytest.mark.parametrize("regions", ANYWHERE)
@pytest.mark.parametrize(
    "text",
    [
        "Nike Air 270 720 1000",
        "sizes 30 32 34",
        "30 32 34 36 38",
        "EUR 36 37 38 39 40",
        "20 30 40 50 60 70",
        "SPF 30 50 100",
        "0-3 3-6 6-12 12-18",
        "01 02 03 04 05",
        "iPhone 15 128 256 512",
        "Canon EOS 2000 1300 4000",
        "Intel i7 12700 3200 1600",
        "Schrank 600 500 400",
        "lamp 2 x 100 cm 120x60x75",
        "RAL 9010 7016 9005",
        "LEGO 10294 75192",
        "4006381333931",
        "4 006381 333931",
        "EAN 4006381333931",
        "012345678905",
        "0 12345 67890 5",
        "978-3-16-148410-0",
        "SKU 0123456789",
        "art. 555.123.4567",
        "order 1234567890",
        "order 112-3941689-8772232",
        "ORD-2024-10-1234",
        "ORD-555-123-4567",
        "1Z999AA10123456784",
        "RB123456785DE",
        "00340434161094042557",
        "2024-01-29 12:30:00",
        "29.01.2024 12:30",
        "01-02-2024 14 30",
        "2023 2024 2025",
        "2 for 1 2024/2025",
        "1,299.00 - 1,500.00",
        "$1 299 000",
        "12 990 Ft",
        "1.299.000 Rp",
        "0.50 0.75 1.00 1.25",
        "192.168.100.200",
        "lat 52.520008 13.404954",
        "v1.2.3.4567",
        "12345678",
        "1234-5678",
        "0000000000",
        "00 11 22 33 44",
    ],
)
def test_other_numbers_stay(text: str, regions: tuple[str, ...]) -> None:
    assert _cleaned(text, *regions) == text


@pytest.mark.parametrize(
    ("url", "regions", "cleaned"),
    [
        ("https://a.example/?q=06+12+34+56+78&r=1", "", "https://a.example/?r=1"),
        ("https://a.example/?q=06%2012%2034%2056%2078", "", "https://a.example/"),
        ("https://a.example/?q=612+34+56+78", "ES", "https://a.example/"),
        ("https://a.example/?q=%28030%29+12345678", "", "https://a.example/"),
        ("https://a.example/?note=tel+98765+43210", "", "https://a.example/"),
        ("https://a.example/call/0171-1234567/x", "", "https://a.example/call/-/x"),
        ("https://a.example/nike-air-270-720-1000", "US", None),
        ("https://a.example/?q=nike+air+270+720+1000", "US", None),
        ("https://a.example/?sku=0123456789&ean=4006381333931", "DE", None),
        ("https://a.example/2024/01/29/sale?size=30+32+34", "DE", None),
        ("https://a.example/?id=1234567890&t=1700000000000", "US", None),
        ("https://a.example/p/12-345-6789", "US", None),
    ],
)
def test_a_national_number_is_removed_from_a_url(url: str, regions: str, cleaned: str | None) -> None:
    assert clean_url(url, regions.split) == (url if cleaned is None else cleaned)


def test_the_persons_countries_are_not_asked_for_a_text_without_a_number() -> None:
    def regions() -> list[str]:
        raise AssertionError

    assert clean_free_text("Size 42, 2 x 100 cm", regions) == "Size 42, 2 x 100 cm"
    assert clean_url("https://a.example/p?size=42#top", regions) == "https://a.example/p?size=42#top"


@example("98.-56(06 12 -06 12 -.2(64-+79(106 12 (1a7 178432")
@example("1.+0906 12  99/2106 12 06 12 /5106 12 27) 1181(505")
@given(st.lists(st.sampled_from([*"0123456789 ().-/+", "06 12 ", "Tel ", "a"]), max_size=40).map("".join))
def test_the_spans_are_in_order_and_cleaning_twice_changes_nothing(text: str) -> None:
    spans = find_phones(text, ["DE"])
    flat = [edge for span in spans for edge in span]
    assert flat == sorted(flat)
    once = _cleaned(text, "DE")
    assert _cleaned(once, "DE") == once


def test_a_text_of_many_numbers_costs_little() -> None:
    for part in ("0 612 34 56 78 ", "1 ", "(1) 23-4 ", "tel 1 ", "06 12 "):
        began = time.thread_time()
        find_phones((part * 4096)[:4096])
        assert time.thread_time() - began < 1
