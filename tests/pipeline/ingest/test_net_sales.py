"""What is refunded is subtracted in the sales report."""

import time
from decimal import Decimal
from typing import Any

from tests.ledger.shop import accept, place
from tests.pipeline.ingest.test_ingest_bulk import HERE
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.reports import sales_by_day
from worker.ledger.reports.sales_by_day import SalesLine
from worker.pipeline.ingest.ingest_bulk import ingest

TODAY = int(time.time() // 86_400)


def refund(event_id: str, **properties: Any) -> dict[str, Any]:
    return {
        "context": {"ip": HERE["ip"], "userAgent": HERE["user_agent"]},
        "type": "track",
        "event": "Order Refunded",
        "messageId": event_id,
        "properties": {"currency": "EUR"} | properties,
    }


def work(ledger: Ledger, *events: dict[str, Any]) -> None:
    ingest(ledger, accept(ledger, events, received_at=time.time(), trust=Trust.SIGNED))


def report(ledger: Ledger) -> list[SalesLine]:
    with ledger.read() as connection:
        return sales_by_day.sales_since(connection, TODAY - 1)


def test_refunds_are_summed_by_day_and_currency_and_a_repeated_one_counts_once(ledger: Ledger) -> None:
    place(ledger)
    work(ledger, refund("r-1", total=20), refund("r-2", total="-5,50 €"), refund("r-1", total=20))
    work(ledger, refund("r-1", total=20))
    (line,) = report(ledger)
    assert (line.event_name, line.currency, line.n, line.value) == ("refund", "EUR", 2, Decimal("25.5"))
