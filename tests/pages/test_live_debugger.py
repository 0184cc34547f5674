"""The newest deliveries, and one of them closely."""

import html
import json
import re
import time
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import accept
from tests.pages.conftest import Pages, fail, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import find_deliveries
from worker.ledger.delivery.new_deliveries import PAYLOAD
from worker.ledger.setup.integrations import Integration
from worker.operations.deliveries import live_debugger as operations
from worker.operations.deliveries.masking import masked_event, masked_payload
from worker.pipeline.ingest.ingest_bulk import ingest

SENT = {
    "event_name": "checkout",
    "event_source_url": "https://shop.example.com/anna@example.com",
    "user_data": {
        "em": ["836f82db99121b3481011f16b49dfa5fbc714a0d1b1b9f784a1ebbbf5b39577f"],
        "client_ip_address": "203.0.113.50",
        "click_id": "abc",
    },
    "custom_data": {"value": "129.99", "contents": [{"id": "SKU-A", "quantity": 2}]},
}


def test_the_newest_come_first(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    write(ledger, shop, "evt_1st")
    write(ledger, shop, "evt_2nd")
    page = pages.get("/events")

    assert 0 < page.index("evt_2nd") < page.index("evt_1st")


def test_filters_choose_by_state_name_and_id(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    write(ledger, shop, "evt_one")
    fail(ledger, shop, "evt_two", event_name="lead", source_name="Lead Generated")
    shown = {
        query: [one for one in ("evt_one", "evt_two") if one in pages.get(f"/events/newest?{query}")]
        for query in (
            "stands=failed",
            "name=LEAD",
            "name=order+completed",
            "text=one",
            "text=none",
            "source_id=src_shop",
            "source_id=src_other",
        )
    }

    assert shown == {
        "stands=failed": ["evt_two"],
        "name=LEAD": ["evt_two"],
        "name=order+completed": ["evt_one"],
        "text=one": ["evt_one"],
        "text=none": [],
        "source_id=src_shop": ["evt_one", "evt_two"],
        "source_id=src_other": [],
    }


def test_a_range_of_time_and_an_order_choose_among_all_deliveries(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    now = time.time()
    for hours in (50, 30, 1):
        write(ledger, shop, f"evt_{hours}h", accepted_at=now - hours * 3_600)

    def shown(**query: str) -> list[str]:
        return re.findall(r"evt_\d+h", pages.get(f"/events?{urlencode(query)}"))

    def at(hours: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M", time.gmtime(now - hours * 3_600))

    assert shown() == ["evt_1h", "evt_30h", "evt_50h"]
    assert shown(sort="oldest") == ["evt_50h", "evt_30h", "evt_1h"]
    assert shown(since=at(40)) == ["evt_1h", "evt_30h"]
    assert shown(since=at(40), until=at(10)) == ["evt_30h"]
    assert shown(until=at(60)) == []
    assert "Refreshes automatically." in pages.get("/events")
    assert "Refreshes automatically." not in pages.get(f"/events?until={at(0)}")
    assert "must be a time like 2026-01-29T14:00" in pages.get("/events?since=yesterday")
    reversed_range = "/events?since=2026-01-29T14:00&until=2026-01-29T14:00"
    assert "Until: must be later than From." in pages.get(reversed_range)


@pytest.mark.parametrize("sort", ["", "oldest"])
def test_pages_go_on_without_a_gap_and_keep_their_filters(
    pages: Pages, ledger: Ledger, shop: Integration, sort: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each step and each page ends early.
    monkeypatch.setattr(operations, "_IDS_A_STEP", 7)
    monkeypatch.setattr(operations, "_LOOK_SECONDS", 0.0)
    names = [f"evt_{n:03}" for n in range(60)]
    for n, name in enumerate(names):
        (fail if n % 3 == 0 else write)(ledger, shop, name)
    page = pages.get(f"/events?stands=failed&sort={sort}")
    seen = re.findall(r"evt_\d+", page)
    while link := re.search(r'href="(/events\?cursor=[^"]+)"', page):
        assert "stands=failed" in link[1]
        page = pages.get(html.unescape(link[1]))
        seen += re.findall(r"evt_\d+", page)
    assert seen == names[::3] if sort else seen == names[::3][::-1]


def test_the_order_and_its_value_are_columns(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    sent = {**SENT, "custom_data": {"order_id": "ORD-7", "value": "1299.5"}}
    sealed = ledger.vault.seal(json.dumps(sent).encode(), PAYLOAD)
    write(ledger, shop, "e1", payload=sealed, value_thousandths=1_299_500, currency="EUR")
    write(ledger, shop, "e2", payload=b"\0\0\0\1 not what was sealed")
    page = pages.get("/events")
    assert page.count("ORD-7</code>") == 1
    assert ">1,299.50 EUR</td>" in page


def test_a_view_is_an_address(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e_failed")
    write(ledger, shop, "e_order")
    views = dict(re.findall(r'<a href="(/events\?[^"]+)"[^>]*>([^<]+ today)<', pages.get("/events")))
    (failed,) = (html.unescape(address) for address, name in views.items() if name == "Failed today")
    page = pages.get(failed)
    assert "e_failed" in page
    assert "e_order" not in page
    assert re.search(r'aria-current="true" data-days="0">Failed today', page)


def test_a_delivery_is_shown_in_its_stages_and_its_payload_on_request_only(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    write(ledger, shop, "e1", payload=ledger.vault.seal(json.dumps(SENT).encode(), PAYLOAD))
    with ledger.read() as connection:
        number = find_deliveries.newest_delivery_id(connection)
    closed = pages.get(f"/events/{number}")
    opened = pages.get(f"/events/{number}?payload=open")

    assert "No answer yet." in closed
    assert "129.99" not in closed
    assert "129.99" in opened
    assert "836f82db" not in opened
    assert "203.0.113.50" not in opened


def test_a_failed_one_offers_a_retry(pages: Pages, viewer: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1")
    with ledger.read() as connection:
        number = find_deliveries.newest_delivery_id(connection)

    assert "Retry…" in pages.get(f"/events/{number}")
    assert "Retry…" not in viewer.get(f"/events/{number}")


def test_a_payload_that_cannot_be_opened_is_no_crash(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    write(ledger, shop, "e1", payload=b"\0\0\0\1 not what was sealed")
    with ledger.read() as connection:
        number = find_deliveries.newest_delivery_id(connection)

    assert "The payload cannot be opened" in pages.get(f"/events/{number}?payload=open")


def test_masking_tells_what_is_there_and_not_whose() -> None:
    assert masked_payload(SENT) == {
        "event_name": "checkout",
        "event_source_url": "https://shop.example.com/",
        "user_data": {
            "em": ["836f… (64 characters)"],
            "client_ip_address": "203.… (12 characters)",
            "click_id": "…",
        },
        "custom_data": {"value": "129.99", "contents": [{"id": "SKU-A", "quantity": 2}]},
    }


def test_the_click_id_in_a_payloads_address_is_cut_short() -> None:
    assert masked_payload({"event_source_url": "https://shop.example.com/?epik=dj0yJnU9&p=1"}) == {
        "event_source_url": "https://shop.example.com/?epik=dj0y…&p=1"
    }


def happen(ledger: Ledger, **changes: Any) -> None:
    context = {"consent": {"advertising": True}, "ip": "203.0.113.50", "userAgent": "Mozilla/5.0 (X11)"}
    event = {
        "type": "track",
        "event": "Order Completed",
        "messageId": "m1",
        "userId": "customer-4711",
        "traits": {"email": "jane@example.com"},
        "properties": {"order_id": "ORD-1", "total": 129.99, "currency": "EUR", "note": "call +14155550100"},
        "context": context,
    }
    ingest(ledger, accept(ledger, [event | changes], received_at=time.time()))


def first_link(page: str, start: str) -> str:
    found = re.search(f'href="({start}[^"]*)"', page)
    assert found
    return found[1]


def test_a_debugged_sources_event_is_shown_in_four_stages_without_saying_whose_it_is(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    answer = pages.send("/sources/src_shop/debugging", {"on": "yes"})
    assert "Debugging on" in pages.follow(answer)
    happen(ledger)
    live = pages.get("/events/newest")
    delivery = pages.get(first_link(live, "/events/[0-9]"))
    came = pages.get(first_link(live, "/events/inputs/"))

    for page in (delivery, came):
        assert "1. Input" in page
        assert "129.99" in page
        assert "as checkout, by the built-in table" in page
        assert "jane@" not in page
        assert "customer-4711" not in page
        assert "4155550100" not in page
        assert "203.0.113.50" not in page
    assert "What was decided" in delivery
    assert "Payload, personal data masked" in delivery
    assert "mapped to deliveries" in came


def test_what_consent_stopped_was_never_sent(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    happen(ledger, context={"consent": {"advertising": False}})
    page = pages.get(first_link(pages.get("/events"), "/events/"))

    assert (
        "<b>No consent, or a crawler.</b> Consent to advertising was denied.<br><b>What to do:</b> If" in page
    )
    assert "Stopped here: consent to advertising was denied." in page
    assert "<p>Nothing was sent.</p>" in page


def test_switching_debugging_off_deletes_what_was_kept(
    pages: Pages, api: Api, ledger: Ledger, shop: Integration
) -> None:
    pages.send("/sources/src_shop/debugging", {"on": "yes"})
    happen(ledger)
    kept = first_link(pages.get("/events"), "/events/inputs/")
    page = pages.follow(pages.send("/sources/src_shop/debugging", {"on": "no"}))

    assert "The stored events are deleted" in page
    assert pages.client.get(kept).status_code == 404
    told = [entry["action"] for entry in api.get("/v1/admin/audit")["data"]]
    assert told.count("source.debug") == 2


def test_what_becomes_no_delivery_is_seen_while_its_source_is_debugged(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    pages.send("/sources/src_shop/debugging", {"on": "yes"})
    assert "No events since debugging started." in pages.get("/events")
    happen(ledger, type="identify", messageId="i1")
    live = pages.get("/events")

    assert "describes its visitor" in live
    assert "The event describes its visitor." in pages.get(first_link(live, "/events/inputs/"))


def test_viewers_see_whether_a_source_is_debugged_and_switch_nothing(
    viewer: Pages, shop: Integration
) -> None:
    page = viewer.get("/events")

    assert '<span class="tag">off</span>' in page
    assert "Debug Shop" not in page


@pytest.mark.parametrize(
    ("came", "shown"),
    [
        (
            {"traits": {"anything": {"deep": ["hello"]}}},
            {"traits": {"anything": {"deep": ["hell… (5 characters)"]}}},
        ),
        (
            {"properties": {"e_mail": "a@b.example", "total": 5}},
            {"properties": {"e_mail": "a@b.… (11 characters)", "total": 5}},
        ),
        (
            {"properties": {"phone": 14155550100, "zip": None}},
            {"properties": {"phone": "1415… (11 characters)", "zip": None}},
        ),
        ({"search": "mail me: jane@example.com"}, {"search": "mail me:"}),
        ({"url": "https://shop.example.com/?email=x&p=1"}, {"url": "https://shop.example.com/?p=1"}),
        (
            {"url": "https://shop.example.com/?p=1&epik=dj0yJnU9"},
            {"url": "https://shop.example.com/?p=1&epik=dj0y…"},
        ),
        ({"search": "?epik=dj0yJnU9&p=1"}, {"search": "?epik=dj0y…&p=1"}),
        (
            {"cookies": {"_pin_unauth": "a1b2c3d4-e5f6", "_epik": "dj0yJnU9"}},
            {"cookies": {"_pin_unauth": "a1b2… (13 characters)", "_epik": "dj0y… (8 characters)"}},
        ),
        (
            {"products": [{"name": "Widget", "price": 1.5}], "ok": True},
            {"products": [{"name": "Widget", "price": 1.5}], "ok": True},
        ),
        (
            {"userId": 7, "context": {"IP": "203.0.113.50"}},
            {"userId": "…", "context": {"IP": "203.… (12 characters)"}},
        ),
    ],
)
def test_an_event_as_it_came_in_is_masked_wherever_it_speaks_of_a_person(came: Any, shown: Any) -> None:
    assert masked_event(came) == shown


def test_the_decision_about_consent_is_shown_with_the_delivery(
    pages: Pages, api: Api, ledger: Ledger, shop: Integration
) -> None:
    decision = "consent to advertising was granted, by OneTrust"
    write(ledger, shop, "evt_asked", consent=decision)
    (found,) = api.get("/v1/admin/deliveries?find=evt_asked")["data"]
    assert found["consent"] == decision
    assert "Consent to advertising was granted, by OneTrust." in pages.get(f"/events/{found['id']}")


def test_a_duplicate_has_the_order_id_of_its_first_copy(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    properties = {"order_id": "ORD-1", "total": 9.99, "currency": "EUR", "num_items": 1}
    for message_id in ("m1", "m2"):
        happen(ledger, messageId=message_id, properties=properties)
    page = pages.get("/events?stands=duplicate")
    assert page.count('<span class="tag duplicate">') == 1
    assert '<a href="/search?q=ORD-1"><code class="nowrap">ORD-1</code></a>' in page
