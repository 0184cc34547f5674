"""Which product id and which value go out, by the integration's options."""

from typing import Any

import pytest

from tests.pinterest.conftest import custom_data, run, track
from worker.pinterest.integration_config import ConfigError
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Mapped

GA4 = {"item_id": "P", "item_group_id": "G", "item_variant": "V", "sku": "S"}
SHOPIFY = {"variant": {"id": "V", "sku": "S", "product": {"id": "P"}}, "id": "L"}
WEBHOOK = {"id": "L", "product_id": "P", "variant_id": "V", "sku": "S", "parent_id": "G"}


@pytest.mark.parametrize(
    ("product", "source", "sent"),
    [
        (WEBHOOK, None, "P"),
        (WEBHOOK, "product", "P"),
        (WEBHOOK, "variant", "V"),
        (WEBHOOK, "sku", "S"),
        (WEBHOOK, "parent", "G"),
        (GA4, "product", "P"),
        (GA4, "variant", "V"),
        (GA4, "sku", "S"),
        (GA4, "parent", "G"),
        (SHOPIFY, "variant", "V"),
        (SHOPIFY, "sku", "S"),
        (SHOPIFY, "parent", "P"),
        ({"productId": 7, "variationId": 8}, "variant", "8"),
    ],
)
def test_the_chosen_id_of_a_product_is_sent(product: dict[str, Any], source: Any, sent: str) -> None:
    data = custom_data({"products": [product]}, options=Options(product_id_source=source))
    assert data["content_ids"] == [sent]
    assert data["contents"][0]["id"] == sent


def test_the_id_of_a_single_product_is_chosen_too() -> None:
    data = custom_data({"product_id": "P", "variant_id": "V"}, options=Options(product_id_source="variant"))
    assert data["content_ids"] == ["V"]


def test_without_the_chosen_id_the_first_is_sent_with_a_warning() -> None:
    products = [{"product_id": "P"}, {"product_id": "Q"}]
    (outcome,) = run(track("x", {"products": products}), options=Options(product_id_source="sku"))
    assert isinstance(outcome, Mapped)
    assert outcome.payload["custom_data"]["content_ids"] == ["P", "Q"]
    assert outcome.warnings == ("a product has no sku id: the first id that is there is sent",)


def test_prefix_and_suffix_are_put_once_around_every_id() -> None:
    options = Options(product_id_prefix="shopify_US_", product_id_suffix="_x")
    data = custom_data({"products": ["1", "shopify_US_2_x"]}, options=options)
    assert data["content_ids"] == ["shopify_US_1_x", "shopify_US_2_x"]
    assert [content["id"] for content in data["contents"]] == data["content_ids"]
    assert custom_data({"content_ids": "1,2"}, options=options)["content_ids"] == [
        "shopify_US_1_x",
        "shopify_US_2_x",
    ]


@pytest.mark.parametrize(
    ("stated", "value"),
    [
        ({"total": 120, "tax": 19, "shipping": 5}, "96"),
        ({"total": 120, "total_tax": "19,00", "shipping_cost": "5.00"}, "96"),
        ({"total": "120.00", "tax": "19"}, "101"),
        ({"total": 120, "shipping_lines": [{"price": "3.00"}, {"price": 2}], "total_tax": 19}, "96"),
        ({"total": 120, "shipping_lines": [{"total": "5.00", "total_tax": "0.95"}]}, "115"),
        ({"total": 120, "shipping": {"amount": "5.00", "currencyCode": "EUR"}}, "115"),
        ({"total": 120, "shipping": {"city": "Berlin"}, "shipping_total": 5}, "115"),
        ({"total": 120, "tax_lines": [{"price": "19.00", "rate": 0.19}]}, "101"),
        ({"total": 10, "tax": 19}, "0"),
        ({"total": 120, "tax": "unknown"}, "120"),
        ({"total": 120}, "120"),
        # Without tax and shipping in Segment's specification.
        ({"revenue": 96, "tax": 19, "shipping": 5}, "96"),
    ],
)
def test_a_value_may_go_without_tax_and_shipping(stated: dict[str, Any], value: str) -> None:
    order = stated | {"currency": "EUR", "num_items": 1}
    options = Options(value_basis="without_tax_and_shipping")
    (outcome,) = run(track("Order Completed", order), options=options)
    assert isinstance(outcome, Mapped)
    assert outcome.payload["custom_data"]["value"] == value
    assert ("value" in outcome.computed) == (
        value not in ("96", "120") or ("total" in stated and value != "120")
    )
    assert custom_data(order, "Order Completed")["value"] == str(stated.get("total", 96)).removesuffix(".00")


@pytest.mark.parametrize(
    "config",
    [
        {"product_id_source": "ean"},
        {"value_basis": "net"},
        {"product_id_prefix": "x" * 65},
        {"product_id_suffix": 5},
        {"product_id_prefix": "a\nb"},
    ],
)
def test_other_options_are_refused(config: dict[str, Any]) -> None:
    known = {"ad_account_id": "1", "access_token": "t"}
    with pytest.raises(ConfigError, match=next(iter(config))):
        Options.from_config(known | config, ())


def test_the_options_are_read_from_the_configuration() -> None:
    chosen = {
        "product_id_source": "sku",
        "product_id_prefix": "shopify_US_",
        "product_id_suffix": "_x",
        "value_basis": "without_tax_and_shipping",
    }
    options = Options.from_config({"ad_account_id": "1", "access_token": "t"} | chosen, ())
    assert {name: getattr(options, name) for name in chosen} == chosen
