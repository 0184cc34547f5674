"""docs/data.md names every column that has text of an event unencrypted; the tables are searched for more."""

import re
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from tests.ledger.shop import accept, place
from worker.ledger.database import Ledger
from worker.ledger.intake import debug_inputs
from worker.ledger.schema import metadata
from worker.pipeline.ingest.ingest_bulk import ingest

DOCUMENT = Path(__file__).parents[3] / "docs" / "data.md"
COLUMN = re.compile(r"`([a-z_]+)\.([a-z_]+)`")
MARK = "canary"


def event(number: int, **more: Any) -> dict[str, Any]:
    """Return an event with the mark in every text that a shop or a stranger can choose."""
    return {
        "type": "track",
        "event": f"{MARK} event {number}",
        "messageId": f"{MARK}-id-{number}",
        "anonymousId": f"{MARK}-device-{number}",
        "userId": f"{MARK}-user-{number}",
        "properties": {
            "order_id": f"{MARK}-order-{number}",
            "total": f"{MARK} 5",
            "currency": f"{MARK}",
            "coupon": f"{MARK}-coupon",
            f"{MARK}_key": MARK,
            "products": [{"id": f"{MARK}-product", "name": f"{MARK} name", "category": f"{MARK} category"}],
        },
        "traits": {"email": f"{MARK}@example.com", "phone": MARK, "city": MARK},
        "context": {
            "consent": {"advertising": True},
            "ip": "203.0.113.50",
            "userAgent": f"{MARK} browser",
            "page": {
                "url": f"https://shop.example/{MARK}?_epik={MARK}",
                "referrer": f"https://{MARK}.example",
            },
        },
        **more,
    }


def columns_with_the_mark(ledger: Ledger) -> set[tuple[str, str]]:
    found = set()
    with ledger.read() as connection:
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)).mappings():
                found |= {(table.name, name) for name, value in row.items() if _has_mark(value)}
    return found


def _has_mark(value: Any) -> bool:
    return MARK.encode() in (bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode())


def documented() -> set[tuple[str, str]]:
    section = DOCUMENT.read_text().partition("## In plain text\n")[2].partition("\n## ")[0]
    items = [line.partition(":")[0] for line in section.splitlines() if line.startswith("- `")]
    return {(table, column) for item in items for table, column in COLUMN.findall(item)}


def test_the_document_names_each_column_that_has_text_of_an_event_and_no_other(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    place(ledger, test_mode=True)
    with ledger.write() as connection:
        debug_inputs.set_debugging(connection, "src_shop", time.time() + 60)
    kinds = [
        {},
        {"event": "Order Completed", "messageId": f"{MARK}-order"},
        {"type": "identify", "messageId": f"{MARK}-identify"},
        {"type": "page", "name": f"{MARK} page", "messageId": f"{MARK}-page"},
        {"event": "Products Searched", "messageId": f"{MARK}-search", "properties": {"query": MARK}},
        {"timestamp": f"{MARK}", "messageId": f"{MARK}-time"},
        {"event": "Order Completed", "messageId": f"{MARK}-no-consent", "context": {"consent": {MARK: True}}},
    ]
    ingest(
        ledger, accept(ledger, [event(n, **more) for n, more in enumerate(kinds)], received_at=time.time())
    )
    accept(ledger, [event(99)], received_at=time.time())
    assert columns_with_the_mark(ledger) == documented()


def test_each_column_in_plain_text_exists() -> None:
    columns = {(table.name, column.name) for table in metadata.sorted_tables for column in table.columns}
    assert documented()
    assert documented() <= columns
