"""From an event to its outcomes."""

import json
from typing import Any

import pytest

from tests.pinterest.conftest import NOW, browser, payload, run, server, track
from tests.pinterest.test_golden import ORDER
from worker.pinterest.mapping.call import Explanation, Options
from worker.pinterest.mapping.mapping import Failed, Filtered, Mapped, encode_payload

ADVERTISING = Options(consent_categories=("advertising",))


@pytest.mark.parametrize("kind", ["identify", "group", "screen", None])
def test_only_track_and_page_calls_are_sent(kind: str | None) -> None:
    assert run({"type": kind, "event": "Lead"}) == []


def test_without_consent_an_event_is_filtered_with_the_reason() -> None:
    event = track("Lead", context={"consent": {"advertising": False}})
    reason = "consent to advertising was denied"
    assert run(event, options=ADVERTISING) == [Filtered("evt_1", "Lead", reason, consent=reason)]


def test_without_consent_information_the_default_decides() -> None:
    (dropped,) = run(track("Lead"), options=ADVERTISING, default_consent="drop")
    (allowed,) = run(track("Lead"), options=ADVERTISING, default_consent="allow")
    assert isinstance(dropped, Filtered)
    assert isinstance(allowed, Mapped)


@pytest.mark.parametrize(
    ("event", "event_id"),
    [
        (track("Lead", {"event_id": "tag-1"}), "tag-1"),
        (track("Lead", {"eventId": 0}), "0"),
        (track("Lead", {"event_id": "0"}), "0"),
        (track("Lead", {"event_id": ""}), "evt_1"),
        (track("Lead", messageId=7), "7"),
    ],
)
def test_the_event_id_is_the_senders_else_the_message_id(event: dict[str, Any], event_id: str) -> None:
    assert payload(event)["event_id"] == event_id


def test_an_event_without_any_id_has_the_same_one_at_each_attempt() -> None:
    event = track("Lead", messageId=None)
    ids = {payload(event, now=NOW + later)["event_id"] for later in (0, 60, 3000)}
    assert len(ids) == 1
    assert payload(event, received=browser(received_at=1706540000.5))["event_id"] not in ids
    assert payload(track("Lead", {"a": 10**5000}, messageId=None))["event_id"].startswith("evt_")


@pytest.mark.parametrize(
    ("event", "changes", "reason_class", "reason"),
    [
        (
            track("Lead", timestamp="yesterday"),
            {},
            "bad_timestamp",
            "timestamp is not a time.",
        ),
        (
            track("Lead"),
            {"received": server()},
            "no_identity",
            "Pinterest needs an e-mail address, a mobile advertising id, or both an IP address and a user agent, "
            "and the event has none of them.",
        ),
        (
            track("Order Completed", {"order_id": 1}),
            {},
            "missing_value",
            "A checkout needs a value; it is missing, and cannot be computed from the products.",
        ),
        (
            track("Order Completed", {"total": 5}),
            {},
            "missing_num_items",
            "A checkout needs a number of items; it is missing, and cannot be computed from the products.",
        ),
        (
            track("Lead"),
            {"now": NOW + 8 * 86_400},
            "stale",
            "The event is more than seven days old, and Pinterest refuses such events.",
        ),
    ],
)
def test_an_event_that_may_not_be_sent_fails_with_the_reason(
    event: dict[str, Any], changes: dict[str, Any], reason_class: str, reason: str
) -> None:
    (outcome,) = run(event, **changes)
    assert isinstance(outcome, Failed)
    assert (outcome.reason_class, outcome.reason) == (reason_class, reason)
    assert (outcome.event_id, outcome.source_name) == ("evt_1", event["event"])


def test_a_failed_event_keeps_a_payload_that_may_be_forced() -> None:
    (stale,) = run(track("Order Completed", ORDER), now=NOW + 8 * 86_400)
    (nobody,) = run(track("Lead"), received=server())
    assert isinstance(stale, Failed)
    assert isinstance(nobody, Failed)
    assert stale.payload == payload(track("Order Completed", ORDER))
    assert (stale.event_name, stale.event_time) == ("checkout", 1706540000)
    assert nobody.payload is None


def test_under_pinterest_a_checkout_without_value_is_sent_with_a_warning() -> None:
    (outcome,) = run(track("Order Completed", {"order_id": 1}), options=Options(field_mapping="pinterest"))
    assert isinstance(outcome, Mapped)
    assert outcome.warnings == ("checkout without a value", "checkout without a number of items")


def test_a_late_event_is_marked_and_keeps_its_time() -> None:
    (outcome,) = run(track("Lead"), now=NOW + 3700)
    assert isinstance(outcome, Mapped)
    assert (outcome.late, outcome.event_time) == (True, 1706540000)


def test_the_names_of_present_identifiers_are_recorded() -> None:
    event = track("Lead", {"email": "john.doe@example.com"})
    (outcome,) = run(event, received=browser(pin_unauth="p", epik="e"))
    assert isinstance(outcome, Mapped)
    assert outcome.identifiers == ("click_id", "em", "ip_ua", "partner_id")


def test_an_address_without_a_user_agent_is_not_an_identifier() -> None:
    (outcome,) = run(track("Lead", {"email": "john.doe@example.com"}), received=browser(user_agent=None))
    assert isinstance(outcome, Mapped)
    assert outcome.identifiers == ("em",)


def test_contact_data_is_removed_from_the_url_of_the_page() -> None:
    event = {
        "type": "page",
        "messageId": "m",
        "context": {"page": {"url": "https://a.example/?email=b@c.example&d=1"}},
    }
    assert payload(event)["event_source_url"] == "https://a.example/?d=1"
    raw = payload(event, options=Options(clean_free_text=False))["event_source_url"]
    assert raw == "https://a.example/?email=b@c.example&d=1"


@pytest.mark.parametrize(
    ("hint", "options"),
    [
        ({"currency": "EUR"}, Options()),
        ({}, Options(default_country="ES")),
        ({"locale": "es-ES"}, Options(default_country="US")),
        ({"locale": "ca_ES"}, Options(default_country="DE")),
    ],
)
def test_phone_numbers_are_those_of_the_country_of_the_integration_the_currency_or_the_locale(
    hint: dict[str, str], options: Options
) -> None:
    searched = track("Products Searched", {"query": "regalo 612 34 56 78", "currency": hint.get("currency")})
    searched["context"] = {
        "locale": hint.get("locale"),
        "page": {"url": "https://a.example/?q=612+34+56+78&r=1"},
    }
    sent = payload(searched, options=options)
    assert sent["custom_data"]["search_string"] == "regalo"
    assert sent["event_source_url"] == "https://a.example/?r=1"


def test_contact_data_is_removed_from_custom_names() -> None:
    (outcome,) = run(track("Invited a@b.example"))
    assert isinstance(outcome, Mapped)
    assert outcome.custom_event_name == "Invited"


def test_the_payload_is_compact_utf8() -> None:
    assert encode_payload({"a": "ü", "b": [1, True]}) == '{"a":"ü","b":[1,true]}'.encode()


def test_an_explanation_does_not_change_the_outcome() -> None:
    event = track("Order Completed", ORDER)
    assert run(event, explain=Explanation()) == run(event)


def test_a_payload_against_the_contract_fails_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "worker.pinterest.mapping.payload_checks.contract_error",
        lambda _payload: "value must be of type str.",
    )
    (outcome,) = run(track("Lead"))
    assert isinstance(outcome, Failed)
    assert outcome.reason == "Pinterest would refuse the event: value must be of type str."
    assert outcome.payload is None


def test_an_outcome_of_several_names_has_one_user_data(john: Any) -> None:
    options = Options.from_config(
        {"ad_account_id": "1", "access_token": "t", "event_overrides": {"Quote": ["lead", "contact"]}}, []
    )
    outcomes = run(track("Quote"), options=options, visitor=john)
    bodies = [json.loads(encode_payload(one.payload)) for one in outcomes if isinstance(one, Mapped)]
    assert [body.pop("event_name") for body in bodies] == ["lead", "contact"]
    assert bodies[0] == bodies[1]
