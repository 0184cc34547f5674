"""How other connectors lose or spoil events; each test names one way."""

from hashlib import sha256
from typing import Any

import pytest

from tests.pinterest.conftest import EM, EPIK, browser, custom_data, payload, run, server, sha, track
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Failed, Filtered, Mapped
from worker.pinterest.user_data.visitor import Visitor

IP_UA = {"client_ip_address": "203.0.113.50", "client_user_agent": "Mozilla/5.0 ..."}
ADVERTISING = Options(consent_categories=("advertising",))
PINTEREST = Options(field_mapping="pinterest")


def known(**traits: Any) -> dict[str, Any]:
    """Return the hashed identifiers of an event that brings these traits."""
    data: dict[str, Any] = payload(track("Lead", traits=traits))["user_data"]
    return {key: value for key, value in data.items() if not key.startswith("client_")}


# Identity and hashing


def test_bytes_hashed_as_latin_1() -> None:
    assert known(lastName="Müller", firstName="Zoë", city="San José") == {
        "ln": [sha("müller")],
        "fn": [sha("zoë")],
        "ct": [sha("sanjosé")],
    }
    assert sha("müller") != sha256("müller".encode("latin-1")).hexdigest()


def test_hashed_twice() -> None:
    assert known(email=EM) == {"em": [EM]}


def test_upper_case_digests_passed_through() -> None:
    assert known(email=EM.upper(), phone=sha("15551234567").upper()) == {
        "em": [EM],
        "ph": [sha("15551234567")],
    }


def test_a_phone_digest_stripped_to_its_digits_and_hashed_again() -> None:
    assert known(phone="5f4dcc3b5aa765d61d8327deb882cf99") == {}
    assert known(phone=sha("15551234567")) == {"ph": [sha("15551234567")]}


@pytest.mark.parametrize("blank", ["", "  ", sha("")])
def test_a_blank_email_sent_as_the_hash_of_the_empty_string_or_as_blank(blank: str) -> None:
    assert known(email=blank) == {}


def test_an_arbitrary_external_id_hashed_as_the_email() -> None:
    assert known(external_id="john.doe@example.com") == {"external_id": [sha("john.doe@example.com")]}
    assert payload(track("Lead", userId="john.doe@example.com"))["user_data"] == IP_UA


def test_an_object_as_the_email_hashed_as_its_text() -> None:
    assert known(email={"address": "john.doe@example.com"}) == {"em": [EM]}
    assert known(email={"john.doe@example.com": True}) == {}
    assert known(email="[object Object]") == {}


@pytest.mark.parametrize(
    "written", ["1990-04-01", "1990-04-01T00:00:00Z", "1990/04/01", "01.04.1990", 19900401]
)
def test_a_date_of_birth_with_dashes_or_a_time(written: object) -> None:
    assert known(birthday=written) == {"db": [sha("19900401")]}


def test_a_city_with_punctuation() -> None:
    assert known(city="Winston-Salem") == known(city="winston salem") == {"ct": [sha("winstonsalem")]}


def test_state_and_country_names_instead_of_codes() -> None:
    assert known(state="California", country="United States") == {"st": [sha("ca")], "country": [sha("us")]}


def test_a_british_post_code_reduced_to_digits() -> None:
    assert known(postalCode="SW1A 1AA") == {"zp": [sha("sw1a1aa")]}


def test_an_external_id_lower_cased_on_one_side_only() -> None:
    options = Options(send_user_id=True)
    by_trait = payload(track("Lead", traits={"externalId": " User-7"}))["user_data"]["external_id"]
    by_user_id = payload(track("Lead", userId="User-7 "), options=options)["user_data"]["external_id"]
    assert by_trait == by_user_id == [sha("User-7")]


def test_the_email_replaces_address_and_user_agent() -> None:
    assert payload(track("Lead", {"email": "john.doe@example.com"}))["user_data"] == {**IP_UA, "em": [EM]}


def test_bd_for_db_and_a_text_for_a_list() -> None:
    assert known(birthday="1990-04-01", bd="1990-04-01") == {"db": [sha("19900401")]}


def test_the_click_id_of_the_landing_page_is_fresher_than_the_cookie() -> None:
    event = {
        "type": "page",
        "messageId": "m",
        "context": {"page": {"url": f"https://a.example/?epik={EPIK}"}},
    }
    assert payload(event, received=browser(epik="old"))["user_data"]["partner_id"] == EPIK
    assert payload(event, received=browser(epik="old"), options=PINTEREST)["user_data"]["click_id"] == EPIK


def test_several_values_per_field_ignored() -> None:
    assert known(emails=["john.doe@example.com", "j@example.com"]) == {"em": [EM, sha("j@example.com")]}


# Consent


def test_opt_out_true_by_default() -> None:
    sent = payload(track("Order Completed", {"total": 5, "num_items": 1, "currency": "USD"}))
    assert "opt_out" not in sent
    assert "opt_out_type" not in sent["custom_data"]


def test_the_ldp_flag_in_user_data_instead_of_custom_data() -> None:
    sent = payload(track("Lead", {"opt_out_type": "LDP"}))
    assert sent["custom_data"] == {"opt_out_type": "LDP"}
    assert sent["user_data"] == IP_UA


@pytest.mark.parametrize("received", [browser(), server()])
def test_consent_applied_to_one_path_only(received: Any) -> None:
    event = track("Lead", context={"consent": {"advertising": False}, "ip": "203.0.113.50", "userAgent": "x"})
    (outcome,) = run(event, received=received, options=ADVERTISING, default_consent="allow")
    assert isinstance(outcome, Filtered)


def test_missing_consent_information_read_as_consent() -> None:
    (outcome,) = run(track("Lead"), options=ADVERTISING, default_consent="drop")
    assert isinstance(outcome, Filtered)


# Events and types


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (129.99, "129.99"),
        ("undefined", None),
        ("NaN", None),
        (0.30000000000000004, "0.3"),
        (1e21, None),
        ("1e+21", None),
        ("$1,299.00", "1299"),
    ],
)
def test_value_a_number_or_noise(value: Any, sent: str | None) -> None:
    assert custom_data({"value": value, "currency": "USD"}, "Lead").get("value") == sent


def test_price_preferred_to_the_orders_value() -> None:
    data = custom_data({"product_id": "A", "price": 5, "value": 12, "currency": "USD"})
    assert data["value"] == "12"


def test_total_and_revenue_ignored() -> None:
    assert custom_data({"total": 5}, "Lead")["value"] == custom_data({"revenue": 5}, "Lead")["value"] == "5"


def test_num_items_a_text() -> None:
    assert custom_data({"value": 5, "num_items": "3"}, "Lead")["num_items"] == 3


def test_num_items_zero_when_a_quantity_is_missing() -> None:
    assert custom_data({"products": [{"id": "A"}, {"id": "B"}]})["num_items"] == 2


def test_contents_of_a_quantity_alone_on_events_without_products() -> None:
    assert custom_data({"quantity": 1}) == {}
    assert custom_data({"quantity": 1}, "Lead") == {}


def test_a_null_product_kept() -> None:
    data = custom_data({"products": [None, {"id": "A"}]})
    assert data["contents"] == [{"id": "A", "quantity": 1}]
    assert data["num_items"] == 1


def test_content_ids_as_one_comma_joined_text() -> None:
    assert custom_data({"content_ids": "A,B"})["content_ids"] == ["A", "B"]


def test_numeric_ids_not_texts() -> None:
    data = custom_data({"products": [{"id": 7, "price": 1}], "order_id": 1001})
    assert (data["content_ids"], data["contents"][0]["id"], data["order_id"]) == (["7"], "7", "1001")


def test_a_single_product_as_an_object_instead_of_a_list() -> None:
    assert custom_data({"products": {"id": "A"}})["contents"] == [{"id": "A", "quantity": 1}]


def test_currency_in_lower_case() -> None:
    assert custom_data({"value": 5, "currency": "usd"})["currency"] == "USD"


def test_currency_missing_but_value_present() -> None:
    (outcome,) = run(track("Lead", {"value": 5}))
    assert isinstance(outcome, Mapped)
    assert outcome.warnings == ("value without a currency: Pinterest takes the ad account's",)


def test_epoch_seconds_divided_by_a_thousand() -> None:
    assert payload(track("Lead", timestamp=1706540000))["event_time"] == 1706540000
    (outcome,) = run(track("Lead", timestamp=1706540))
    assert isinstance(outcome, Failed)


def test_milliseconds_sent_as_seconds() -> None:
    assert payload(track("Lead", timestamp=1706540000000))["event_time"] == 1706540000


def test_an_invalid_date_as_null() -> None:
    (outcome,) = run(track("Lead", timestamp="Invalid Date"))
    assert isinstance(outcome, Failed)
    assert outcome.reason_class == "bad_timestamp"


def test_the_time_of_sending_instead_of_the_time_of_the_event() -> None:
    event = track("Lead", timestamp="2024-01-29T12:00:00Z")
    assert payload(event, now=1706600000.0)["event_time"] == 1706529600


@pytest.mark.parametrize("name", ["newsletter opened!", "WEIRD Name", "Ünknown"])
def test_unknown_names_sent_verbatim_and_never_reported(name: str) -> None:
    (outcome,) = run(track(name))
    assert isinstance(outcome, Mapped)
    assert (outcome.event_name, outcome.custom_event_name) == ("custom", name)


def test_an_event_id_that_is_missing_or_random_at_each_attempt() -> None:
    event = track("Lead", messageId=None)
    assert payload(event)["event_id"] == payload(event)["event_id"] != ""


@pytest.mark.parametrize("event_id", [0, "0"])
def test_falsy_but_valid_ids_dropped(event_id: object) -> None:
    assert payload(track("Lead", {"event_id": event_id}))["event_id"] == "0"
    assert payload(track("Lead", messageId=event_id))["event_id"] == "0"


@pytest.mark.parametrize("channel", ["server", "mobile"])
def test_action_source_taken_from_a_channel(channel: str) -> None:
    event = track("Lead", context={"channel": channel, "ip": "203.0.113.50", "userAgent": "x"})
    assert payload(event, received=server())["action_source"] == "web"


APP = {
    "library": {"name": "analytics-ios"},
    "ip": "203.0.113.50",
    "userAgent": "x",
    "network": {"carrier": "T-Mobile", "wifi": False},
}


def test_wifi_false_dropped_as_falsy() -> None:
    assert payload(track("Lead", context=APP), received=server())["wifi"] is False


def test_device_carrier_copied_only_when_something_unrelated_is_set() -> None:
    assert payload(track("Lead", context=APP), received=server())["device_carrier"] == "T-Mobile"


def test_advertiser_tracking_enabled_refused_by_the_schema() -> None:
    sent = payload(track("Lead", {"advertiser_tracking_enabled": True}, context=APP), received=server())
    assert "advertiser_tracking_enabled" not in repr(sent)


def test_personal_data_in_reasons_and_warnings() -> None:
    bad = {
        "total": "john.doe@example.com",
        "currency": "+1 555 123 4567",
        "products": [{"id": "A", "price": "j@d.example"}],
    }
    (outcome,) = run(track("Order Completed", bad, traits={"email": "john@", "phone": "12"}))
    assert isinstance(outcome, Failed)
    said = " ".join([outcome.reason, *outcome.warnings])
    assert not any(raw in said for raw in ("@", "555", "john"))


def test_one_unknown_key_is_http_400_for_the_whole_request() -> None:
    sent = payload(
        track("Product Added", {"product_id": "A", "category_name": "x", "price": 1, "anything": "else"})
    )
    assert set(sent["custom_data"]) == {"value", "num_items", "content_ids", "contents"}


def test_events_from_crawlers() -> None:
    received = browser(user_agent="Mozilla/5.0 (compatible; Pinterestbot/1.0)")
    (outcome,) = run(track("Lead"), received=received, options=Options(bot_filter=True))
    assert isinstance(outcome, Filtered)


def test_a_visitor_without_identity_has_keys_left_out_not_null() -> None:
    assert payload(track("Lead"), visitor=Visitor.EMPTY)["user_data"] == IP_UA
