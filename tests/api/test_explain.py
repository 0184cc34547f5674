"""Explanations over HTTP: the mapping's own words, nothing stored, nothing personal unless asked."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.api.test_integrations import BODY
from worker.ledger.database import Ledger

EXPLAIN = "/v1/admin/explain"
ORDER = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m1",
    "properties": {
        "order_id": "ORD-001",
        "total": "129.99",
        "currency": "USD",
        "quantity": 1,
        "email": "a@b.co",
    },
    "context": {"consent": {"advertising": True}},
}


def explain(api: Api, **body: Any) -> list[dict[str, Any]]:
    answer = api.call("POST", EXPLAIN, body)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json["data"]
    return data


def lines(explained: dict[str, Any]) -> str:
    return "\n".join(line["text"] for line in explained["results"][0]["lines"])


def test_an_event_is_explained_for_an_integration_with_every_default(api: Api) -> None:
    (order,) = explain(api, event=ORDER)
    (result,) = order["results"]
    (outcome,) = result["outcomes"]

    assert (order["type"], order["name"]) == ("track", "Order Completed")
    assert result["integration"] == "an integration with default settings"
    assert (outcome["event_name"], outcome["event_id"]) == ("checkout", "m1")
    assert {"step", "text"} == set(result["lines"][0])


def test_it_is_explained_for_each_integration_of_a_source(api: Api, source: dict[str, Any]) -> None:
    made = api.make("/v1/admin/integrations", BODY)
    (order,) = explain(api, event=ORDER, source_id=source["id"])

    assert [result["integration"] for result in order["results"]] == [f"{made['name']} ({made['id']})"]
    assert (
        explain(api, event=ORDER | {"type": "identify"}, source_id=source["id"])[0]["results"][0]["outcomes"]
        == []
    )


def test_nothing_is_stored_or_told(api: Api, ledger: Ledger) -> None:
    explain(api, event=ORDER)

    assert api.get("/v1/admin/books")["events"]["inbox"] == 0
    assert api.get("/v1/admin/books")["deliveries"] == {}
    assert api.get("/v1/admin/audit")["data"] == []


def test_what_an_earlier_event_told_counts_for_a_later_one(api: Api) -> None:
    identify = {"type": "identify", "traits": {"email": "jane@example.com"}, "anonymousId": "x"}
    page = {"type": "page", "anonymousId": "x", "context": {"consent": {"advertising": True}}}
    alone = explain(api, event=page)[0]["results"][0]["outcomes"][0]
    after = explain(api, events=[identify, page])[1]["results"][0]["outcomes"][0]

    assert ("em" in alone["payload"]["user_data"], "em" in after["payload"]["user_data"]) == (False, True)


def test_a_sources_default_country_reads_phone_numbers(api: Api, source: dict[str, Any]) -> None:
    """As it does in the worker, at the identify call."""
    api.make("/v1/admin/integrations", BODY)
    identify = {"type": "identify", "traits": {"phone": "030 123456"}, "anonymousId": "x"}
    page = {"type": "page", "anonymousId": "x", "context": {"consent": {"advertising": True}}}

    def phone() -> Any:
        explained = explain(api, events=[identify, page], source_id=source["id"])
        return explained[1]["results"][0]["outcomes"][0]["payload"]["user_data"].get("ph")

    before = phone()
    api.change(f"/v1/admin/sources/{source['id']}", {"default_country": "DE"})
    assert (before, len(phone()[0])) == (None, 64)


def test_personal_data_is_shown_only_when_asked_which_is_audited(api: Api, source: dict[str, Any]) -> None:
    hidden = api.call("POST", EXPLAIN, {"event": ORDER, "ip": "198.51.100.7"}).text
    assert "198.51.100.7" not in hidden
    assert "a@b.co" not in hidden
    before = len(api.get("/v1/admin/audit")["data"])
    body = {"event": ORDER, "ip": "198.51.100.7", "show_personal": True}
    shown = api.call("POST", EXPLAIN, body).text
    newest = api.get("/v1/admin/audit")["data"]

    assert "198.51.100.7" in shown
    assert len(newest) == before + 1
    assert (newest[0]["action"], newest[0]["object"]) == ("explain.show_personal", "no source")
    assert newest[0]["changes"] == {"events": [None, 1]}


def test_the_channel_decides_whose_address_counts_and_what_no_consent_means(
    api: Api, source: dict[str, Any]
) -> None:
    api.make("/v1/admin/integrations", BODY)
    event = {key: value for key, value in ORDER.items() if key != "context"}

    def outcome(channel: str) -> str:
        explained = explain(api, event=event, channel=channel, source_id=source["id"])
        return str(explained[0]["results"][0]["outcomes"][0]["outcome"])

    assert (outcome("browser"), outcome("server")) == ("filtered", "sent")


def test_cookies_can_be_given(api: Api) -> None:
    (order,) = explain(api, event=ORDER, pin_unauth="pu-1", epik="ep-1")
    user_data = order["results"][0]["outcomes"][0]["payload"]["user_data"]

    assert (user_data["click_id"], user_data["partner_id"]) == ("pu-1", "ep-1")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "event: give either event or events"),
        ({"event": ORDER, "events": [ORDER]}, "event: give either event or events"),
        ({"event": []}, "event: must be an object"),
        ({"events": [ORDER] * 101}, "events: must be at most 100 events"),
        ({"events": [ORDER, 1]}, "events.1: must be an object"),
        ({"event": {"type": "x"}}, "event.type: must be one of track, page, identify, group"),
        (
            {"events": [ORDER, {"type": "track"}]},
            "events.1.event: must be a text of 1 to 256 characters in a track call",
        ),
        ({"event": ORDER, "source_id": "src_x"}, "source_id: there is no source src_x"),
        ({"event": ORDER, "channel": "mail"}, "channel: must be one of: browser, server"),
        ({"event": ORDER, "show_personal": 1}, "show_personal: must be true or false"),
        ({"event": ORDER, "source": "x"}, "source: is not a known field"),
    ],
)
def test_what_is_wrong_is_named(api: Api, body: Any, sentence: str) -> None:
    assert api.error("POST", EXPLAIN, body) == (422, sentence)
