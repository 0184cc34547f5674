"""Personal data in ids, device names and user agents is not sent in clear, and an opt-out counts in every form."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.pinterest.conftest import custom_data, payload, run, server, sha, track
from worker.event.problems import Problem
from worker.event.redaction import _cleaned_id, clean_id
from worker.pinterest.mapping.payload_checks import Mapped

PERSONAL_IDS = [
    "john.doe@example.com",
    "ORD-john.doe@example.com-17",
    "john.doe%40example.com",
    "john.doe%2540example.com",
    "john\uff20example.com",
    "+4915112345678",
    "+49 151 12345678",
    "+49-151-12345678",
    "00491711234567",
    "tel:+14155552671",
    "%2B4915112345678",
    "%2B49+151+12345678",
    "ORD+ +33 6 12 34 56 78",
    "(415) 555-2671",
    "415-555-2671",
    "0171 1234567",
    "\uff0b4915112345678",
]
PLAIN_IDS = [
    "4900123456",
    "1234567890",
    "0123456789",
    "01711234567",
    "4915112345678",
    "0012345678",
    "ORD-1001",
    "112-1234567-1234567",
    "SKU+BLUE+42",
    "2024-01-29",
    "2024-01-29-000123",
    "100%",
    "gid://shopify/Order/5551234567",
    "a1b2c3d4-e5f6-4890-abcd-ef1234567890",
    "#1001",
    "R(12)",
    "Größe 42",
    "@home",
    "4006381333931",
    "1Z999AA10123456784",
]


@pytest.mark.parametrize("raw", PERSONAL_IDS)
def test_an_id_with_personal_data_is_sent_as_its_hash(raw: str) -> None:
    properties = {
        "order_id": raw,
        "event_id": raw,
        "products": [{"product_id": raw, "price": 1, "quantity": 1}],
    }
    (outcome,) = run(track("Order Completed", properties | {"total": 1, "currency": "EUR"}))
    assert isinstance(outcome, Mapped)
    data = outcome.payload["custom_data"]
    ids = [
        outcome.event_id,
        outcome.payload["event_id"],
        data["order_id"],
        *data["content_ids"],
        data["contents"][0]["id"],
    ]
    assert ids == [sha(raw)] * 5
    assert outcome.problems.count(Problem.ID_CLEANED) == 3
    assert raw not in json.dumps(outcome.payload, ensure_ascii=False)


@pytest.mark.parametrize("raw", PLAIN_IDS)
def test_other_ids_are_sent_as_they_are(raw: str) -> None:
    sent = payload(track("Lead", {"order_id": raw, "event_id": raw, "content_ids": [raw]}))
    assert (sent["event_id"], sent["custom_data"]["order_id"], sent["custom_data"]["content_ids"]) == (
        raw,
        raw,
        [raw],
    )


def test_an_id_that_is_sent_as_it_is_gets_no_warning_at_any_time() -> None:
    for _ in range(2):
        (outcome,) = run(track("Lead", {"order_id": "".join(["OR", "D-1"]), "event_id": int("1234567890")}))
        assert isinstance(outcome, Mapped)
        assert outcome.problems == ()


@given(st.text(max_size=80))
def test_cleaning_an_id_again_changes_nothing(text: str) -> None:
    assert clean_id(clean_id(text)) == clean_id(text)


@given(st.text("0014ab-", max_size=40) | st.from_regex(r"(?a:00|[a0-9])[\d-]{6,40}", fullmatch=True))
@example("a1-415-555-2671")
@example("0049-171-1234567-0049-171-1234567")
def test_the_quick_look_at_an_id_finds_what_the_closer_one_finds(text: str) -> None:
    assert clean_id(text) == _cleaned_id.__wrapped__(text)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_id_contains_an_e_mail_address(before: str, after: str) -> None:
    assert "john.doe@example.com" not in clean_id(f"{before} john.doe@example.com {after}")


def test_personal_data_is_cut_out_of_user_agents_and_device_names() -> None:
    device = {"model": "Jane's phone jane@example.com", "manufacturer": "+49 151 12345678", "type": "ios"}
    context = {
        "userAgent": "Shop/1.0 (jane@example.com; +4915112345678) Mozilla/5.0",
        "ip": "203.0.113.50",
        "app": {"name": "Shop"},
        "os": {"name": "iOS"},
        "device": device,
    }
    sent = payload(track("Lead", context=context), received=server())
    assert sent["user_data"]["client_user_agent"] == "Shop/1.0 (; ) Mozilla/5.0"
    assert sent["device_model"] == "Jane's phone"
    assert "device_brand" not in sent


def test_a_user_agent_without_personal_data_is_not_changed() -> None:
    agent = "Mozilla/5.0 (compatible; Example/1.0; +https://example.com/bot) Chrome/126.0.0.0 Build/QP1A.190711.020"
    sent = payload(track("Lead", context={"userAgent": agent, "ip": "203.0.113.50"}), received=server())
    assert sent["user_data"]["client_user_agent"] == agent


@pytest.mark.parametrize(
    "stated", [True, 1, "true", "TRUE", "1", "yes", "Y", "ja", "oui", "on", "opted_out", "opt-out"]
)
def test_an_opt_out_counts_in_every_form(stated: Any) -> None:
    for event in (
        track("Lead", {"opt_out": stated}),
        track("Lead", {"optOut": stated}),
        track("Lead", context={"opt_out": stated}),
        track("Lead", {"opt_out": False}, context={"optOut": stated}),
    ):
        (outcome,) = run(event)
        assert isinstance(outcome, Mapped)
        assert outcome.payload["opt_out"] is True
        assert outcome.problems == ()


@pytest.mark.parametrize("stated", [False, 0, "false", "0", "no", "N", "nein", "off"])
def test_a_no_is_no_opt_out(stated: Any) -> None:
    assert payload(track("Lead", {"opt_out": stated}))["opt_out"] is False


@pytest.mark.parametrize("stated", ["maybe", "denied", "granted", 2, -1, [], {}, {"value": False}, "?"])
def test_an_opt_out_that_is_not_understood_counts_with_a_warning(stated: Any) -> None:
    (outcome,) = run(track("Lead", {"opt_out": stated}))
    assert isinstance(outcome, Mapped)
    assert outcome.payload["opt_out"] is True
    assert outcome.problems == (Problem.FIELD_UNREADABLE,)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ({"limitAdTracking": True}, True),
        ({"limitAdTracking": "true"}, True),
        ({"limit_ad_tracking": "1"}, True),
        ({"adTrackingEnabled": False}, True),
        ({"adTrackingEnabled": "false"}, True),
        ({"adTrackingEnabled": "nein"}, True),
        ({"adTrackingEnabled": "unknown"}, True),
        ({"limitAdTracking": "unknown"}, True),
        ({"limitAdTracking": "false"}, None),
        ({"adTrackingEnabled": "true"}, None),
        ({"adTrackingEnabled": True}, None),
        ({}, None),
    ],
)
def test_a_device_may_limit_tracking(device: dict[str, Any], expected: bool | None) -> None:
    assert payload(track("Lead", context={"device": device})).get("opt_out") is expected


@pytest.mark.parametrize("stated", [None, ""])
def test_an_empty_opt_out_says_nothing(stated: Any) -> None:
    assert "opt_out" not in payload(track("Lead", {"opt_out": stated}))


@pytest.mark.parametrize(
    ("stated", "limited"),
    [(True, True), ("true", True), (1, True), ("?", True), ("no", False), (False, False)],
)
def test_limited_data_processing_counts_in_every_form(stated: Any, limited: bool) -> None:
    assert ("opt_out_type" in custom_data({"limited_data_processing": stated})) is limited
