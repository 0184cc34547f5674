"""While a source is debugged its events are kept whole, sealed, with each decision about them."""

import time
from typing import Any

import pytest

from tests.ledger.shop import accept, place
from worker import retention
from worker.ledger.database import Ledger
from worker.ledger.intake import debug_inputs
from worker.ledger.intake.debug_inputs import Input
from worker.pipeline.ingest.debugging import open_debug_input
from worker.pipeline.ingest.ingest_bulk import ingest

ORDER = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m1",
    "anonymousId": "device",
    "properties": {
        "order_id": "ORD-1",
        "total": 5,
        "currency": "EUR",
        "products": [{"id": "A", "quantity": 2}],
    },
    "context": {"consent": {"advertising": True}, "ip": "203.0.113.50", "userAgent": "Mozilla/5.0"},
}


@pytest.fixture
def ledger(sqlite_ledger: Ledger) -> Ledger:
    """Return one on SQLite: the statements are tested on both databases with the ledger."""
    return sqlite_ledger


def debug(ledger: Ledger, until: float) -> None:
    with ledger.write() as connection:
        debug_inputs.set_debugging(connection, "src_shop", until)


def happen(ledger: Ledger, *events: dict[str, Any]) -> list[Input]:
    ingest(ledger, accept(ledger, events, received_at=time.time()))
    with ledger.read() as connection:
        return debug_inputs.newest_debug_inputs(connection, time.time(), 100)


@pytest.mark.parametrize("since", [None, -10.0])
def test_nothing_is_kept_of_a_source_that_nobody_debugs(ledger: Ledger, since: float | None) -> None:
    place(ledger)
    if since is not None:
        debug(ledger, time.time() + since)

    assert happen(ledger, ORDER) == []


def test_an_event_is_kept_with_each_integrations_decisions(ledger: Ledger) -> None:
    one, other = place(ledger), place(ledger, ad_account_id="1234567890")
    debug(ledger, time.time() + 60)
    (kept,) = happen(ledger, ORDER)
    seen = open_debug_input(ledger.vault, kept)

    assert (kept.event_id, kept.name, kept.outcome) == ("m1", "Order Completed", "mapped")
    assert seen.event == ORDER
    assert [decided.integration_id for decided in seen.decisions] == [one.id, other.id]
    said = [f"{line['step']}: {line['text']}" for line in seen.decisions[0].lines]
    assert "as checkout, by the built-in table" in "\n".join(said)
    assert b"ORD-1" not in kept.body
    assert kept.forget_at == pytest.approx(time.time() + 60 + retention.DEBUG_INPUT_SECONDS, abs=30)


def test_what_becomes_no_delivery_is_kept_too(ledger: Ledger) -> None:
    place(ledger)
    debug(ledger, time.time() + 60)
    kept = happen(ledger, {"type": "identify", "messageId": "i1", "anonymousId": "device", "traits": {}})

    assert [(one.name, one.event_id, one.outcome) for one in kept] == [("identify", "i1", "consumed")]


def test_who_it_was_shows_in_no_decision(ledger: Ledger) -> None:
    place(ledger)
    debug(ledger, time.time() + 60)
    (kept,) = happen(ledger, ORDER | {"traits": {"email": "jane@example.com", "phone": "+14155550100"}})
    lines = str(open_debug_input(ledger.vault, kept).decisions)

    assert "em" in lines
    assert "jane" not in lines
    assert "4155550100" not in lines
    assert "203.0.113.50" not in lines
