"""Persons in the places and spellings of senders."""

from typing import Any

import pytest

from tests.pinterest.conftest import payload, run, sha, track
from worker.event.problems import Problem
from worker.pinterest.mapping.mapping import Mapped
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
        ("Dr. med. Jane Doe", ("Jane", "Doe")),
        ("von Berg, Dr. Jane", ("Jane", "von Berg")),
        ("Jane Doe Jr.", ("Jane", "Doe")),
        ("Jane Doe, Ph.D.", ("Jane", "Doe")),
        ("Phil Collins", ("Phil", "Collins")),
        ("山田 太郎", ("太郎", "山田")),
        ("김 민준", ("민준", "김")),
        ("Mr & Mrs Doe", None),
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
    ("traits", "field", "normal"),
    [
        ({"email": [{"value": "jane@shop.example", "primary": True}]}, "em", "jane@shop.example"),
        ({"emails": [{"address": "jane@shop.example"}]}, "em", "jane@shop.example"),
        ({"phone": {"countryCode": "49", "number": "1711234567"}}, "ph", "491711234567"),
        ({"phones": [{"number": "+49 171 1234567"}]}, "ph", "491711234567"),
        ({"gender": {"id": 1, "label": "Female"}}, "ge", "f"),
        ({"country": {"iso": "US", "name": "United States"}}, "country", "us"),
    ],
)
def test_a_value_inside_an_object_is_read(traits: dict[str, Any], field: str, normal: str) -> None:
    assert payload(track("Lead", traits=traits))["user_data"][field] == [sha(normal)]


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"email": "jane(at)shop"}, ["e-mail address"]),
        ({"email": {"a": 1}, "phone": "call me"}, ["e-mail address", "phone number"]),
        ({"phone": "0171 1234567"}, ["phone number"]),
        ({"birthday": "04/05/1990"}, ["birthday"]),
        ({"country": "Narnia"}, ["country"]),
        ({"email": "", "phone": "null", "birthday": " ", "gender": "unknown", "city": "-"}, []),
        ({"email": "jane@shop.example", "phone": "+49 171 1234567"}, []),
    ],
)
def test_what_is_there_and_cannot_be_read_is_a_warning(traits: dict[str, Any], words: list[str]) -> None:
    (outcome,) = run(track("Lead", traits=traits))
    assert isinstance(outcome, Mapped)
    assert [*outcome.warnings] == [f"the person's {word} is left out: it cannot be read" for word in words]
    assert [*outcome.problems] == [Problem.FIELD_UNREADABLE] * len(words)


@pytest.mark.parametrize(
    ("key", "answer"), [("name", False), ("billing_city", True), ("full_name", True), ("id", False)]
)
def test_only_a_key_that_is_always_personal_is_a_trait(key: str, answer: bool) -> None:
    assert is_trait(key) is answer
