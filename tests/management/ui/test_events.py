"""The newest deliveries, and one of them closely."""

import json

from tests.management.ui.conftest import Pages, fail, write
from worker.ledger import finding
from worker.ledger.deliveries import PAYLOAD
from worker.ledger.engine import Ledger
from worker.ledger.integrations import Integration
from worker.management.ui.masking import masked

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
        for query in ("stands=failed", "name=LEAD", "name=order+completed", "text=one", "text=none")
    }

    assert shown == {
        "stands=failed": ["evt_two"],
        "name=LEAD": ["evt_two"],
        "name=order+completed": ["evt_one"],
        "text=one": ["evt_one"],
        "text=none": [],
    }


def test_a_delivery_is_shown_in_its_stages_and_its_payload_on_request_only(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    write(ledger, shop, "e1", payload=ledger.vault.seal(json.dumps(SENT).encode(), PAYLOAD))
    with ledger.read() as connection:
        number = finding.newest_id(connection)
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
        number = finding.newest_id(connection)

    assert "Retry…" in pages.get(f"/events/{number}")
    assert "Retry…" not in viewer.get(f"/events/{number}")


def test_a_payload_that_cannot_be_opened_is_no_crash(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    write(ledger, shop, "e1", payload=b"\0\0\0\1 not what was sealed")
    with ledger.read() as connection:
        number = finding.newest_id(connection)

    assert "The payload cannot be opened" in pages.get(f"/events/{number}?payload=open")


def test_masking_tells_what_is_there_and_not_whose() -> None:
    assert masked(SENT) == {
        "event_name": "checkout",
        "event_source_url": "https://shop.example.com/",
        "user_data": {
            "em": ["836f… (64 characters)"],
            "client_ip_address": "203.… (12 characters)",
            "click_id": "…",
        },
        "custom_data": {"value": "129.99", "contents": [{"id": "SKU-A", "quantity": 2}]},
    }
