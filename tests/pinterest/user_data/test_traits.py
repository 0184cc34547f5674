"""Identifiers among traits."""

from typing import Any

import pytest

from tests.pinterest.conftest import EM, sha
from worker.pinterest.mapping.call import Explanation
from worker.pinterest.user_data.visitor import _hash_traits

FULL = {
    "email": "john.doe@example.com",
    "phone": "+1 555 123 4567",
    "gender": "male",
    "birthday": "1990-04-01",
    "firstName": "John",
    "lastName": "Doe",
    "address": {"city": "San José", "state": "California", "postalCode": "95112", "country": "United States"},
    "externalId": "User-7",
    "idfa": "CDDA802E-FB9C-47AD-9866-0794D394C912",
}
HASHED = {
    "em": [EM],
    "ph": [sha("15551234567")],
    "ge": [sha("m")],
    "db": [sha("19900401")],
    "fn": [sha("john")],
    "ln": [sha("doe")],
    "ct": [sha("sanjosé")],
    "st": [sha("ca")],
    "zp": [sha("95112")],
    "country": [sha("us")],
    "external_id": [sha("User-7")],
    "hashed_maids": [sha("cdda802e-fb9c-47ad-9866-0794d394c912")],
}
SNAKE = {
    "email_address": "john.doe@example.com", "phone_number": 15551234567, "Gender": "M", "date_of_birth": "19900401",
    "first_name": "JOHN", "last_name": "DOE", "city": "san josé", "region": "ca", "zip_code": "95112",
    "country_code": "USA", "external_id": "User-7", "advertising_id": "cdda802e-fb9c-47ad-9866-0794d394c912",
}  # fmt: skip


@pytest.mark.parametrize("traits", [FULL, SNAKE, HASHED])
def test_all_twelve_identifiers_are_found_in_every_spelling(traits: dict[str, Any]) -> None:
    assert _hash_traits(traits, None) == HASHED


def test_each_of_several_values_is_hashed_once() -> None:
    assert _hash_traits(
        {"email": ["john.doe@example.com", "J@D.example", "j@d.example", "", None]}, None
    ) == {"em": [EM, sha("j@d.example")]}


def test_a_national_number_is_read_in_the_persons_country_or_the_default() -> None:
    assert _hash_traits({"phone": "0151 12345678", "country": "Germany"}, "US")["ph"] == [
        sha("4915112345678")
    ]
    assert _hash_traits({"phone": "0151 12345678"}, "DE")["ph"] == [sha("4915112345678")]
    assert _hash_traits({"phone": "0151 12345678"}, None) == {}


@pytest.mark.parametrize(
    "traits", [None, [], "a@b.example", 7, {}, {"email": None}, {"nickname": "a@b.example"}]
)
def test_no_traits_have_no_hashes(traits: object) -> None:
    assert _hash_traits(traits, None) == {}


def test_the_explanation_describes_the_steps_without_the_values() -> None:
    explain = Explanation()
    _hash_traits({"email": [" John.Doe@example.com", EM, "junk"], "phone": "0151"}, None, explain)
    assert [line.text for line in explain.lines] == [
        "em: trimmed and lower-cased, then SHA-256 → 836f82db9912…",
        "em: already a hash, not hashed again → 836f82db9912…",
        "em: one of several values dropped as invalid",
        "ph: dropped, a text of 4 characters is not an international number, and no country is known: "
        "send +, give the country, or set a default",
    ]


def test_the_explanation_shows_personal_data_on_request() -> None:
    explain = Explanation(show_personal=True)
    _hash_traits({"email": "John.Doe@example.com", "phone": "0151"}, None, explain)
    assert str(explain) == (
        "identity  em: 'john.doe@example.com' trimmed and lower-cased, then SHA-256 → 836f82db9912…\n"
        "identity  ph: dropped, '0151' is not an international number, and no country is known: "
        "send +, give the country, or set a default"
    )


def test_the_same_traits_are_hashed_for_each_country_of_the_person() -> None:
    traits = {"phone": "0151 12345678"}
    for _ in range(2):
        assert _hash_traits(traits, "DE") == {"ph": [sha("4915112345678")]}
        assert _hash_traits(traits, None) == {}
    _hash_traits(traits, "DE")["em"] = [EM]
    assert _hash_traits(traits, "DE") == {"ph": [sha("4915112345678")]}


def test_traits_that_differ_in_a_type_are_told_apart() -> None:
    assert _hash_traits({"externalId": 1}, None) == _hash_traits({"externalId": "1"}, None)
    assert _hash_traits({"externalId": True}, None) == {}
