"""The action source, and the fields of apps and devices."""

from typing import Any

import pytest

from tests.pinterest.conftest import browser, payload, run, server, track
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Mapped

CONTEXT = {"ip": "203.0.113.50", "userAgent": "app/1"}


def source(context: dict[str, Any], properties: dict[str, Any] | None = None, **changes: Any) -> str:
    event = track("Lead", properties, context=CONTEXT | context)
    return str(payload(event, received=server(**changes))["action_source"])


@pytest.mark.parametrize(
    ("context", "properties", "expected"),
    [
        ({}, {}, "web"),
        ({}, {"action_source": "offline"}, "offline"),
        ({"action_source": "APP_IOS"}, {}, "app_ios"),
        ({"library": {"name": "analytics-android"}}, {}, "app_android"),
        ({"library": {"name": "datafly-swift"}}, {}, "app_ios"),
        ({"app": {"name": "Shop"}, "os": {"name": "iOS"}}, {}, "app_ios"),
        ({"app": {"name": "Shop"}, "device": {"type": "android"}}, {}, "app_android"),
        ({"os": {"name": "iOS"}}, {}, "web"),  # a web page on a phone
        ({"channel": "in_store"}, {}, "offline"),
        ({}, {"channel": "POS"}, "offline"),
        ({}, {"offline": True}, "offline"),
        ({"channel": "server"}, {}, "web"),
        ({"channel": "mobile"}, {}, "web"),
    ],
)
def test_the_action_source_of_a_servers_event(
    context: dict[str, Any], properties: dict[str, Any], expected: str
) -> None:
    assert source(context, properties) == expected


IOS_APP = {"app": {"name": "Shop"}, "os": {"name": "iOS"}, "library": {"name": "analytics-ios"}}
ANDROID_APP = {"app": {"name": "Shop"}, "os": {"name": "Android"}}


@pytest.mark.parametrize(
    ("context", "agent", "expected"),
    [
        (IOS_APP, "Shop/7.1 CFNetwork/1410.0.3 Darwin/22.6.0", "app_ios"),
        (IOS_APP, None, "app_ios"),
        (ANDROID_APP, "okhttp/4.9.2", "app_android"),
        (ANDROID_APP, "Dalvik/2.1.0 (Linux; U; Android 13)", "app_android"),
        (ANDROID_APP | {"library": {"name": "analytics-kotlin"}}, "ktor-client", "app_android"),
        (IOS_APP, "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)", "web"),
        (ANDROID_APP, "Opera/9.80 (Android; Opera Mini)", "web"),
        ({"os": {"name": "iOS"}}, "Shop/7.1 CFNetwork", "web"),
        ({"app": {"name": "Shop"}}, "okhttp/4.9.2", "web"),
        ({}, "okhttp/4.9.2", "web"),
        ({"library": {"name": "analytics-kotlin"}}, "okhttp/4.9.2", "app_android"),
        ({"action_source": "app_ios"}, "Shop/7.1 CFNetwork", "app_ios"),
        ({"action_source": "app_ios"}, "Mozilla/5.0 (iPhone)", "web"),
        ({"action_source": "offline"}, "Shop/7.1 CFNetwork", "web"),
    ],
)
def test_an_app_with_the_public_key_is_an_app(
    context: dict[str, Any], agent: str | None, expected: str
) -> None:
    event = track("Lead", {"email": "a@b.example"}, context=context)
    assert payload(event, received=browser(user_agent=agent))["action_source"] == expected


def test_the_bot_filter_lets_an_apps_http_library_pass() -> None:
    event = track("Lead", context=ANDROID_APP)
    sent = payload(event, received=browser(user_agent="okhttp/4.9.2"), options=Options(bot_filter=True))
    assert sent["action_source"] == "app_android"


def test_a_browsers_event_is_always_web() -> None:
    event = track("Lead", {"action_source": "offline"}, context={"library": {"name": "ios"}})
    assert payload(event, received=browser())["action_source"] == "web"


def test_an_offline_event_is_marked_because_it_cannot_be_deduplicated() -> None:
    (outcome,) = run(track("Lead", {"offline": True}, context=CONTEXT), received=server())
    assert isinstance(outcome, Mapped)
    assert (outcome.offline, outcome.action_source) == (True, "offline")


def test_a_web_event_has_no_device_fields() -> None:
    event = track("Lead", context={"locale": "de-DE", "device": {"model": "iPhone"}, "app": {"name": "x"}})
    assert set(payload(event)) == {"event_name", "action_source", "event_time", "event_id", "user_data"}


@pytest.mark.parametrize(
    ("properties", "context", "expected"),
    [
        ({}, {}, None),  # never invented
        ({"opt_out": True}, {}, True),
        ({"optOut": False}, {}, False),
        ({"opt_out": "false"}, {}, False),
        ({}, {"opt_out": True}, True),
        ({}, {"device": {"adTrackingEnabled": False}}, True),
        ({}, {"device": {"adTrackingEnabled": True}}, None),
    ],
)
def test_the_opt_out_is_passed_on_and_never_invented(
    properties: dict[str, Any], context: dict[str, Any], expected: bool | None
) -> None:
    assert payload(track("Lead", properties, context=context)).get("opt_out") is expected
