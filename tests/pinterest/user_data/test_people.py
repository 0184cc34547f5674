"""Persons in the places and spellings of senders."""

from typing import Any

import pytest

from tests.pinterest.conftest import payload, sha, track
from worker.pinterest.user_data.traits import collect_traits, is_trait

IDFA = "CDDA802E-FB9C-47AD-9866-0794D394C912"
JANE = {"em": "jane@shop.example", "fn": "jane", "ln": "doe", "ct": "ottawa"}
ADDRESS = {"first_name": "Jane", "last_name": "Doe", "city": "Ottawa"}
MAX = {"first_name": "Max", "last_name": "Muster", "city": "Berlin"}


@pytest.mark.parametrize(
    ("properties", "context"),
    [
        ({"billing_email": "jane@shop.example", "billing_first_name": "Jane", "billing_last_name": "Doe",
          "billing_city": "Ottawa", "shipping_first_name": "Max", "shipping_city": "Berlin"}, {}),
        ({"email": "jane@shop.example", "billing_address": ADDRESS, "shipping_address": MAX}, {}),
        ({"email": "jane@shop.example", "shippingAddress": ADDRESS}, {}),
        ({"customer": {"email": "jane@shop.example", "default_address": ADDRESS}}, {}),
        ({"customer": '{"email": "jane@shop.example", "name": "Jane Doe", "city": "Ottawa"}'}, {}),
        ({"user": {"email": "jane@shop.example", "name": "Doe, Jane", "address": [ADDRESS]}}, {}),
        ({"user_data": {"emails": ["jane@shop.example"], "address": ADDRESS | {"city": "OTTAWA"}}}, {}),
        ({"user_data": '{"email_address": "jane@shop.example", "address": [{"name": "Jane Doe", "city": "Ottawa"}]}'},
         {}),
        ({}, {"user": {"email": "jane@shop.example", "fullName": "Jane Doe", "city": "Ottawa"}}),
        ({}, {"traits": {"email": "jane@shop.example", "name": "Ms. Jane Doe", "address": {"city": "Ottawa"}}}),
        ({"customer_email": "jane@shop.example", "customer_name": "Jane Doe", "customer_city": "Ottawa"}, {}),
        ({"userProperties": {"customer_email": "jane@shop.example", "customer_first_name": "Jane",
                             "customer_last_name": "Doe", "customer_city": "Ottawa"}}, {}),
    ],
)  # fmt: skip
def test_the_buyer_is_found(properties: dict[str, Any], context: dict[str, Any]) -> None:
    user_data = payload(track("Lead", properties, context=context))["user_data"]
    assert {key: user_data.get(key) for key in JANE} == {key: [sha(value)] for key, value in JANE.items()}


@pytest.mark.parametrize(
    "properties",
    [
        {"city": "Ottawa", "name": "Jane Doe"},
        {"shipping_name": "Express Delivery"},
        {"product": {"name": "Jane Doe"}},
        {"products": [{"name": "Jane Doe", "city": "Ottawa"}]},
        {"store": {"email": "shop@shop.example"}},
        {"customer": "Jane Doe"},
        {"billing_address": "1 Main Street"},
        {"customer": {"name": "Jane"}},
    ],
)
def test_what_need_not_be_the_buyers_is_not_sent(properties: dict[str, Any]) -> None:
    user_data = payload(track("Product Added", properties))["user_data"]
    assert user_data.keys() == {"client_ip_address", "client_user_agent"}


@pytest.mark.parametrize(
    ("properties", "context"),
    [
        ({}, {"device": {"advertisingId": IDFA}}),
        ({}, {"device": {"advertising_id": IDFA.lower()}}),
        ({}, {"device": {"ADVERTISINGID": IDFA}}),
        ({}, {"device": {"IDFA": IDFA}}),
        ({}, {"device": {"gps_adid": IDFA}}),
        ({}, {"idfa": IDFA}),
        ({}, {"GAID": IDFA}),
        ({"idfa": IDFA}, {}),
        ({"aaid": IDFA}, {}),
        ({"gpsAdid": IDFA}, {}),
        ({"user": {"mobile_ad_id": IDFA}}, {}),
    ],
)
def test_a_device_id_is_found(properties: dict[str, Any], context: dict[str, Any]) -> None:
    user_data = payload(track("Lead", properties, context=context))["user_data"]
    assert user_data["hashed_maids"] == [sha(IDFA.lower())]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Jane Doe", ("Jane", "Doe")),
        ("  Jane   Doe ", ("Jane", "Doe")),
        ("Doe, Jane", ("Jane", "Doe")),
        ("Ludwig van Beethoven", ("Ludwig", "van Beethoven")),
        ("Dr. Jane Doe", ("Jane", "Doe")),
        ("Frau Jane Doe", ("Jane", "Doe")),
        ("Jane", None),
        ("jane@shop.example x", None),
        ("", None),
        (7, None),
    ],
)
def test_a_full_name_is_split(name: object, split: tuple[str, str] | None) -> None:
    expected = {} if split is None else {"fn": split[0], "ln": split[1]}
    assert collect_traits({"name": name}) == expected


def test_a_code_of_a_place_counts_before_its_name() -> None:
    traits = {"province": "Ontario", "province_code": "ON", "country": "Canada", "country_code": "CA"}
    assert collect_traits(traits) == {"st": "ON", "country": "CA"}
    assert collect_traits({"region": {"region_code": "BE", "region": "Berlin"}}) == {"st": "BE"}


@pytest.mark.parametrize(
    ("key", "answer"), [("name", False), ("billing_city", True), ("full_name", True), ("id", False)]
)
def test_only_a_key_that_is_always_personal_is_a_trait(key: str, answer: bool) -> None:
    assert is_trait(key) is answer
