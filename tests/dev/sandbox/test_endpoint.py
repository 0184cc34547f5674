"""The events endpoint answers as Pinterest does, over real HTTP."""

from typing import Any

import pytest
import requests

from tests.dev.sandbox.samples import ACCOUNT, DIGEST, TOKEN, event, events, post, validator
from worker.dev.sandbox.routes import App
from worker.dev.sandbox.server import Sandbox, sandbox_in_thread

ANSWER = validator("response")
PROCESSED = {"status": "processed", "error_message": "", "warning_message": ""}
STANDARD_HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def failed(words: str) -> dict[str, str]:
    return {"status": "failed", "error_message": words, "warning_message": ""}


def send(sandbox: Sandbox, path: str = "", *, body: bytes = b"", **headers: str) -> requests.Response:
    """Post raw bytes; empty headers are left out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    merged = {name: value for name, value in {**STANDARD_HEADERS, **named}.items() if value}
    url = sandbox.url + (path or f"/v5/ad_accounts/{ACCOUNT}/events")
    return requests.post(url, data=body, headers=merged, timeout=10)


def test_the_documents_checkout_is_processed() -> None:
    """The payload in the product's description, on the date that it names."""
    checkout = {
        "event_name": "checkout",
        "action_source": "web",
        "event_time": 1706540000,
        "event_id": "evt_abc123def456",
        "event_source_url": "https://example.com/checkout/confirmation",
        "user_data": {
            "client_ip_address": "203.0.113.50",
            "client_user_agent": "Mozilla/5.0 ...",
            "em": [DIGEST],
            "click_id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
            "partner_id": "epik_abc123def456",
        },
        "custom_data": {
            "currency": "USD",
            "value": "129.99",
            "order_id": "ORD-001",
            "num_items": 3,
            "content_ids": ["SKU-A", "SKU-B"],
            "contents": [
                {"id": "SKU-A", "item_price": "49.99", "quantity": 2},
                {"id": "SKU-B", "item_price": "30.01", "quantity": 1},
            ],
        },
    }
    with sandbox_in_thread(App(clock=lambda: 1706540001.0)) as sandbox:
        answer = post(sandbox, [checkout]).json()
        kept = sandbox.received(event_id="evt_abc123def456")["last"]
    assert answer == {"num_events_received": 1, "num_events_processed": 1, "events": [PROCESSED]}
    assert [entry["event"] for entry in kept] == [checkout]


def test_good_events_pass_beside_failed_ones_in_order(sandbox: Sandbox) -> None:
    response = post(sandbox, [event("a"), event("b", event_time=1), event("c")])
    assert response.status_code == 200
    ANSWER.validate(response.json())
    assert response.json() == {
        "num_events_received": 3,
        "num_events_processed": 2,
        "events": [PROCESSED, failed("event_time is more than 7 days ago"), PROCESSED],
    }
    assert sandbox.received()["counts"] == {ACCOUNT: {"page_visit": 2}}


def test_a_request_of_failed_events_alone_is_a_200_too(sandbox: Sandbox) -> None:
    response = post(sandbox, [event(event_time=1)])
    assert (response.status_code, response.json()["num_events_processed"]) == (200, 0)


def test_a_script_makes_it_a_422_with_the_list_in_its_details(sandbox: Sandbox) -> None:
    sandbox.behave({"failed_as": 422})
    assert post(sandbox, [event("a")]).status_code == 200
    response = post(sandbox, [event("b"), event("c", event_time=1)])
    assert response.status_code == 422
    assert set(response.json()) == {"code", "message", "details"}
    assert [entry["status"] for entry in response.json()["details"]["events"]] == ["processed", "failed"]


def test_advertisers_names_are_known_to_their_account_only(sandbox: Sandbox) -> None:
    sandbox.behave({"names": {ACCOUNT: ["newsletter-opened"]}})
    named = event(event_name="newsletter-opened")
    assert post(sandbox, [named]).json()["num_events_processed"] == 1
    assert post(sandbox, [named], account="2").json()["num_events_processed"] == 0


def test_a_stopped_clock_lets_old_examples_in(sandbox: Sandbox) -> None:
    sandbox.behave({"now_seconds": 1706540001})
    assert post(sandbox, [event(event_time=1706540000)]).json()["num_events_processed"] == 1


def test_one_malformed_event_takes_the_whole_request_down(sandbox: Sandbox) -> None:
    response = post(sandbox, [*events(999), event(category_name="x")])
    assert response.status_code == 400
    message = "data[999] has an unknown field 'category_name' (version 5.28)"
    assert response.json() == {"code": 4196, "message": message}
    assert sandbox.received()["accepted"] == 0


def test_a_thousand_events_are_taken_and_one_more_is_not(sandbox: Sandbox) -> None:
    response = post(sandbox, events(1_000))
    ANSWER.validate(response.json())
    assert (response.status_code, len(response.json()["events"])) == (200, 1_000)
    assert post(sandbox, events(1_001)).status_code == 400


def test_test_mode_looks_at_twenty_events_and_records_none(sandbox: Sandbox) -> None:
    answer = post(sandbox, events(25), test=True).json()
    assert (answer["num_events_received"], answer["num_events_processed"], len(answer["events"])) == (
        25,
        20,
        20,
    )
    received = sandbox.received()
    assert (received["accepted"], received["tested"]) == (0, 20)
    assert {entry["test"] for entry in received["last"]} == {True}


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer ", "Basic abc", "pina_secret"])
def test_a_request_without_a_bearer_token_is_401(sandbox: Sandbox, authorization: str) -> None:
    response = send(sandbox, Authorization=authorization)
    assert (response.status_code, response.json()["code"]) == (401, 2)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v5/ad_accounts/12a/events", 400),
        ("/v5/ad_accounts/1234567890123456789/events", 400),
        ("/v5/ad_accounts/%31/events", 400),
        (f"/v5/ad_accounts/{ACCOUNT}/events?test=1", 400),
        ("/v5/ad_accounts//events", 404),
        (f"/v5/ad_accounts/{ACCOUNT}/events/", 404),
        (f"/v4/ad_accounts/{ACCOUNT}/events", 404),
    ],
)
def test_a_wrong_path_is_refused(sandbox: Sandbox, path: str, status: int) -> None:
    response = send(sandbox, path, body=b'{"data": []}')
    assert (response.status_code, set(response.json())) == (status, {"code", "message"})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_wrong_method_is_405(sandbox: Sandbox, method: str) -> None:
    response = requests.request(method, sandbox.events_url(ACCOUNT), timeout=10)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "headers",
    [{"Content_Type": "text/plain"}, {"Content_Type": ""}, {"Content_Encoding": "gzip"}],
)
def test_a_body_that_is_not_said_to_be_json_is_400(sandbox: Sandbox, headers: dict[str, str]) -> None:
    assert send(sandbox, body=b'{"data": []}', **headers).status_code == 400


@pytest.mark.parametrize("body", [b"", b"{", b'{"data": NaN}', b"\xff", b"[" * 100_000])
def test_a_body_that_is_not_json_is_400(sandbox: Sandbox, body: bytes) -> None:
    response = send(sandbox, body=body)
    assert response.json() == {"code": 4196, "message": "The body must be JSON in UTF-8"}


def test_a_lone_surrogate_stops_nothing(sandbox: Sandbox) -> None:
    odd: dict[str, Any] = event("\ud800", event_source_url="\ud800")
    assert post(sandbox, [odd]).json()["num_events_processed"] == 1
    assert [line["event_id"] for line in sandbox.ids()] == ["\ud800"]
    assert requests.get(sandbox.url, timeout=10).status_code == 200


def test_tokens_are_remembered_by_fingerprint_only(sandbox: Sandbox) -> None:
    sandbox.behave({"rules": [{"require_token": [TOKEN, "pina_next"]}]})
    post(sandbox, [event()])
    everything = [sandbox.received(), sandbox.requests(), sandbox.behaviour()]
    assert "pina_" not in repr(everything)
    assert len(everything[0]["last"][0]["token"]) == 12
