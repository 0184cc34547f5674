"""Pinterest's closed contract."""

from copy import deepcopy
from typing import Any

import pytest

from tests.pinterest.test_golden import CHECKOUT, PAGE_VISIT
from worker.pinterest.mapping.contract import SharedContent, contract_error


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the documented checkout with one value changed, or removed if the value is ``...``."""
    event: Any = deepcopy(CHECKOUT)
    *above, last = path.split(".")
    holder = event
    for step in above:
        holder = holder[int(step) if step.isdigit() else step]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return event  # type: ignore[no-any-return]


@pytest.mark.parametrize("event", [CHECKOUT, PAGE_VISIT])
def test_the_documented_payloads_pass(event: dict[str, Any]) -> None:
    assert contract_error(event) is None


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("event_id", ..., "event_id is missing."),
        ("user_data", ..., "user_data is missing."),
        ("custom_event_name", "x", "event has a key that Pinterest does not know."),
        ("custom_data.order_quantity", 3, "custom_data has a key that Pinterest does not know."),
        ("custom_data.category_name", "x", "custom_data has a key that Pinterest does not know."),
        ("custom_data.contents.0.name", "x", "contents has a key that Pinterest does not know."),
        ("user_data.bd", ["0" * 64], "user_data has a key that Pinterest does not know."),
        ("advertiser_tracking_enabled", True, "event has a key that Pinterest does not know."),
        ("event_time", 1706540000.5, "event_time must be of type int."),
        ("event_time", True, "event_time must be of type int."),
        ("event_time", 0, "event_time is not a Unix time in seconds."),
        ("event_source_url", None, "event_source_url must be of type str."),
        ("event_id", "", "event_id is empty."),
        ("action_source", "server", "action_source is not one of Pinterest's."),
        ("event_name", "Order Completed", "event_name has characters that Pinterest does not accept."),
        ("opt_out", "false", "opt_out must be of type bool."),
        ("custom_data", {}, "custom_data is empty."),
        ("custom_data", None, "custom_data must be of type dict."),
        ("custom_data.value", 129.99, "value must be of type str."),
        ("custom_data.value", "1e21", "value or num_items is not a plain number above zero."),
        ("custom_data.num_items", "3", "num_items must be of type int."),
        ("custom_data.num_items", 0, "value or num_items is not a plain number above zero."),
        ("custom_data.content_ids", "SKU-A", "content_ids must be of type list."),
        ("custom_data.content_ids", [7], "content_ids must be a list of texts."),
        ("custom_data.contents", [None], "contents must be a list of objects."),
        ("custom_data.contents.0.quantity", 2.0, "quantity must be of type int."),
        (
            "custom_data.contents.0.item_price",
            "",
            "item_price is empty.",
        ),
        (
            "custom_data.contents.0.item_price",
            "$5",
            "item_price or quantity is not a plain number above zero.",
        ),
        ("user_data.em", "0" * 64, "em must be of type list."),
        ("user_data.em", [], "em is empty."),
        (
            "user_data.em",
            ["john.doe@example.com"],
            "user_data has a value that is not a SHA-256 hash.",
        ),
        ("user_data.em", ["0 " * 32], "user_data has a value that is not a SHA-256 hash."),
        ("user_data.em", ["a" * 63, "b" * 65], "user_data has a value that is not a SHA-256 hash."),
        ("user_data.em", ["a" * 31 + "," + "a" * 32], "user_data has a value that is not a SHA-256 hash."),
        ("user_data.em", [7], "user_data has a value that is not a SHA-256 hash."),
        ("user_data.em", ["A" * 64], "user_data has a value that is not a SHA-256 hash."),
        (
            "user_data",
            {"click_id": "x", "client_ip_address": "203.0.113.50"},
            "user_data must have em, hashed_maids, or both client_ip_address and client_user_agent.",
        ),
    ],
)
def test_a_payload_that_pinterest_would_refuse_has_a_reason(path: str, value: Any, sentence: str) -> None:
    assert contract_error(changed(path, value)) == sentence


def test_nobody_can_change_what_events_share_of_a_product() -> None:
    content = SharedContent({"id": "SKU-1"})
    for change in (
        lambda: content.update(id="SKU-2"),
        lambda: content.__setitem__("id", "SKU-2"),
        lambda: content.__delitem__("id"),
        lambda: content.__ior__({"id": "SKU-2"}),
        lambda: content.pop("id"),
        content.popitem,
        lambda: content.setdefault("quantity", 1),
        content.clear,
    ):
        with pytest.raises(TypeError, match="events share this object"):
            change()
    assert content == {"id": "SKU-1"}


def test_a_shared_product_is_refused_each_time_it_is_wrong() -> None:
    for wrong in ({"id": ""}, {"price": "1"}, {"item_price": "1e5"}, {"quantity": 0}):
        content = SharedContent(wrong)
        for _ in range(2):
            event = changed("custom_data.contents", [content])
            assert contract_error(event) is not None
