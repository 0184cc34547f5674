"""Hostile events in the shapes of all systems: no exception, no payload that Pinterest refuses, no personal data."""

import json
import random
from collections import Counter
from typing import Any
from urllib.parse import quote

import pytest

from tests.pinterest.conftest import NOW, browser, server
from worker.dev.sandbox.request_body import _check_root
from worker.event.envelope import EnvelopeError, check_envelope
from worker.pinterest.custom_data.trimming import trim_event
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Failed, Mapped, encode_payload, map_event
from worker.pinterest.user_data.visitor import Visitor, apply_identify

EMAIL, PHONE = "canary.bird@example.com", "+4915112345678"
# What must be in no payload, in lower case and without what is between digits.
CANARIES = ("canary.bird", "15112345678")
SPELLINGS = (
    *(
        EMAIL,
        EMAIL.upper(),
        quote(EMAIL),
        quote(quote(EMAIL, safe=""), safe=""),
        f"<{EMAIL}>",
        f"mailto:{EMAIL}",
    ),
    *(f"order of {EMAIL} today", f"https://shop.example/a?next={EMAIL}&epik=abc", f'{{"email": "{EMAIL}"}}'),
    *("canary.bird\uff20example.com", PHONE, "+49 151 12345678", "+49-151-12345678", "tel:+4915112345678"),
    *(
        "%2B49+151+12345678",
        f"call {PHONE} now",
        f"https://shop.example/{quote(PHONE)}?phone={PHONE}",
        f"['{EMAIL}']",
    ),
)
ODD = (
    *(
        None,
        True,
        False,
        0,
        -1,
        -0.0,
        1.5,
        10**18,
        1e300,
        "",
        " ",
        "null",
        "undefined",
        "NaN",
        "1e21",
        "$1,299.00",
    ),
    *(
        "1.299,00 €",
        "19.995",
        "EUR",
        "eur",
        "Euro",
        "💶",
        "e3b0" * 16,
        "x" * 3000,
        "\u202e",
        "İ",
        "DE",
        "2024-02-30",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        [{}],
        {"": None},
        "[1,2",
        "{}",
        '["A","B"]',
        '{"amount": "5", "currencyCode": "USD"}',
    ),
    *(
        {"amount": "5", "currencyCode": "USD"},
        {"value": 5},
        [{"price": 5, "id": 1}],
        "SKU-A,SKU-B",
        "203.0.113.9",
    ),
    *(
        "10.0.0.1",
        "::1",
        "http://[::1",
        "1706540000",
        "2024-01-29T14:53:20.000Z",
        "Order Completed",
        "granted",
        "no",
    ),
)
_WORDS = """
value total revenue currency price quantity products items contents content_ids num_items order_id
product_id id sku item_id name category brand query search_string content_name event_id email phone
user_data opt_out opt_out_type action_source channel offline url predicted_ltv first_name city state zip
country address advertisingId epik traits gender birthday external_id _pin_unauth page app os device network
library locale wifi carrier consent ip userAgent screen timezone languages app_info device_info referrer
title search path model manufacturer version namespace type ecommerce purchase actionField impressions
checkout lineItems line_items variant product order totalPrice note_attributes meta_data billing shipping
customer client_details increment_id grand_total qty_ordered $value Items customer_properties custom_data
event_source_url item_ids number_items product_price product_quantity commerce productListItems cartLine
productVariant searchResult collection cart financial_status refund_amount consentManagement
OnetrustActiveGroups tcString gcs customerPrivacy categories purposes
"""
WORDS = _WORDS.split()
NAMES = (
    """
Order Completed|purchase|checkout_completed|orders/create|Placed Order|CompletePayment|dl_purchase|Product Added|search
Signed Up|view_item_list|refund|Custom Thing|PURCHASE|Product Viewed|page_viewed|order.created|Lead
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


class Hostile:
    """Make events from a seed: shapes of all systems with odd values, and a canary somewhere in many of them."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def event(self) -> dict[str, Any]:
        one = self._random
        event: dict[str, Any] = {"type": one.choice(("track", "track", "track", "page", "identify"))}
        event["event"] = self._text() if one.random() < 0.2 else one.choice(NAMES)
        event["properties"], event["context"] = self._object(0), self._object(1)
        for field in ("userId", "anonymousId", "messageId"):
            if one.random() < 0.3:
                event[field] = self._text()
        for field in ("timestamp", "sentAt"):
            if one.random() < 0.3:
                event[field] = one.choice(("", NOW - 5, "2024-01-29T14:53:20.000Z", "2024-01-29"))
        if one.random() < 0.5:
            event["traits"] = self._object(1)
        event["context"] |= {"ip": "203.0.113.9", "userAgent": f"Phone of {self._text()}"}
        return event

    def _object(self, depth: int) -> dict[str, Any]:
        one = self._random
        keys = [one.choice(WORDS) for _ in range(one.randrange(1, 9))]
        return {self._text()[:40] if one.random() < 0.02 else key: self._value(depth) for key in keys}

    def _value(self, depth: int) -> Any:
        one, at = self._random, self._random.random()
        if depth < 4 and at < 0.25:
            return self._object(depth + 1)
        if depth < 4 and at < 0.4:
            return [self._value(depth + 1) for _ in range(one.randrange(4))]
        if depth < 4 and at < 0.45:
            return json.dumps(self._object(depth + 1))
        return self._scalar()

    def _scalar(self) -> Any:
        one = self._random
        return self._text() if one.random() < 0.3 else one.choice(ODD)

    def _text(self) -> str:
        one = self._random
        return one.choice(SPELLINGS) if one.random() < 0.5 else one.choice(("Lamp", "Größe 42", "A-1", "x"))


def options_of(number: int) -> Options:
    return Options(
        field_mapping=("signal", "pinterest")[number % 2],  # type: ignore[arg-type]
        consent_categories=((), ("advertising",))[number // 2 % 2],
        product_id_source=(None, "variant", "sku")[number % 3],  # type: ignore[arg-type]
        value_basis=("total", "without_tax_and_shipping")[number // 4 % 2],  # type: ignore[arg-type]
        default_country=(None, "DE", "US")[number // 2 % 3],
        send_user_id=True,
    )


def leaks_in(payload: dict[str, Any]) -> list[str]:
    """Return the canaries in a payload, however they are written."""
    text = encode_payload(payload).decode().lower().replace("\uff20", "@")
    digits = "".join(filter(str.isalnum, text.replace("%2b", "").replace("%20", "")))
    return [canary for canary in CANARIES if canary in text or canary in digits]


def run(seed: int, count: int) -> Counter[str]:
    """Map events; return how many had which outcome, and stop at the first fault."""
    hostile, outcomes = Hostile(seed), Counter[str]()
    for number in range(count):
        event = hostile.event()
        try:
            check_envelope(event)
        except EnvelopeError:
            outcomes["refused"] += 1
            continue
        received = (browser(), server(), browser(user_agent=None))[number % 3]
        visitor = apply_identify(Visitor.EMPTY, event, received, "DE")
        if number % 10 == 0:
            event = trim_event(event, 2_000)
        for outcome in map_event(event, received, visitor, options_of(number), NOW, "allow"):
            outcomes[type(outcome).__name__] += 1
            if isinstance(outcome, Failed):
                assert outcome.reason_class != "contract", (number, outcome.reason, event)
            if isinstance(outcome, Mapped):
                sent = json.loads(encode_payload(outcome.payload))
                assert _check_root({"data": [sent]}) is None, (number, event)
                assert leaks_in(outcome.payload) == [], (number, outcome.payload, event)
    return outcomes


def test_hostile_events_are_mapped_without_a_fault() -> None:
    outcomes = run(seed=1, count=400)
    assert outcomes["Mapped"] > 100


@pytest.mark.slow
def test_twenty_thousand_hostile_events_are_mapped_without_a_fault() -> None:
    outcomes = run(seed=2, count=20_000)
    assert outcomes["Mapped"] > 7_000
