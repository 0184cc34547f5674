"""Each well-formed event is judged separately."""

from typing import Any

import pytest

from tests.dev.sandbox.samples import DIGEST, event
from worker.dev.sandbox.request_body import EVENT_NAMES, event_problem

NOW = 1_706_540_000.5
WEEK = 7 * 24 * 3_600
DIGESTS = "must hold SHA-256 digests of 64 lower-case hexadecimal digits"


def judge(**changes: Any) -> str | None:
    return event_problem(event(**{"event_time": int(NOW), **changes}), EVENT_NAMES | {"my-event"}, NOW)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"event_name": "my-event"},
        {"action_source": "offline"},
        {"event_time": int(NOW) - WEEK + 1},
        {"user_data": {"client_ip_address": "::1", "client_user_agent": "M", "em": []}},
        {"user_data": {"em": [DIGEST], "bd": ["1980-01-01"], "click_id": "anything"}},
        {"custom_data": {"value": "129.99", "currency": "USD", "predicted_ltv": "-1"}},
        {"custom_data": {"value": None, "currency": None, "contents": [{}]}},
    ],
)
def test_passes_a_good_event(changes: dict[str, Any]) -> None:
    assert judge(**changes) is None


def test_knows_the_22_standard_names() -> None:
    assert len(EVENT_NAMES) == 22


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"event_name": "Order Completed"},
            "event_name 'Order Completed' is neither a standard nor a defined event",
        ),
        ({"action_source": "server"}, "action_source must be web, app_android, app_ios or offline"),
        ({"event_id": ""}, "event_id must not be empty"),
        ({"event_time": int(NOW) + 1}, "event_time is in the future"),
        ({"event_time": int(NOW) * 1_000}, "event_time is in the future"),
        ({"event_time": int(NOW) - WEEK}, "event_time is more than 7 days ago"),
        ({"user_data": {"em": [DIGEST.upper()]}}, f"user_data.em {DIGESTS}"),
        ({"user_data": {"em": ["john.doe@example.com"]}}, f"user_data.em {DIGESTS}"),
        ({"user_data": {"em": [DIGEST], "country": ["us"]}}, f"user_data.country {DIGESTS}"),
        (
            {"user_data": {"em": [], "client_ip_address": ""}},
            "user_data identifies no person: em, hashed_maids, client_ip_address and client_user_agent"
            " are empty",
        ),
        ({"custom_data": {"currency": "usd"}}, "custom_data.currency must be three upper-case letters"),
        ({"custom_data": {"value": "$1,299.00"}}, "custom_data.value must be a plain decimal number"),
        ({"custom_data": {"value": "1e+21"}}, "custom_data.value must be a plain decimal number"),
        ({"custom_data": {"value": "NaN"}}, "custom_data.value must be a plain decimal number"),
        ({"custom_data": {"value": "٣"}}, "custom_data.value must be a plain decimal number"),
        ({"custom_data": {"predicted_ltv": ""}}, "custom_data.predicted_ltv must be a plain decimal number"),
        (
            {"custom_data": {"contents": [{"id": "a"}, {"item_price": "free"}]}},
            "custom_data.contents.item_price must be a plain decimal number",
        ),
    ],
)
def test_fails_an_event_with_a_reason(changes: dict[str, Any], problem: str) -> None:
    assert judge(**changes) == problem
