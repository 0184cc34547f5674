"""What the mapping saw of a visitor is what the match quality counts."""

import time
from typing import Any

import pytest

from tests.ledger.shop import accept, close, place
from worker.ledger.database import Ledger
from worker.ledger.reports import match_quality_counts
from worker.ledger.reports.match_quality_counts import Quality
from worker.pinterest.mapping.payload_checks import Failed, Mapped
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.pipeline.ingest.outcomes import _qualities

ORDER = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m1",
    "properties": {
        "email": "jane@example.com",
        "currency": "EUR",
        "products": [{"id": "A", "price": 5, "quantity": 2}],
    },
    "context": {"ip": "203.0.113.5", "userAgent": "Mozilla/5.0", "consent": {"advertising": True}},
}


def mapped(**changes: Any) -> Mapped:
    given: dict[str, Any] = {
        "event_name": "checkout",
        "event_id": "m1",
        "event_time": 1,
        "action_source": "web",
        "payload": {},
        "source_name": "Order Completed",
        "custom_event_name": None,
        "late": False,
        "offline": False,
        "computed": (),
        "warnings": (),
        "problems": (),
        "identifiers": ("em", "ip_ua"),
    }
    return Mapped(**(given | changes))


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (mapped(), ("em", "ip_ua")),
        (mapped(late=True), ("em", "ip_ua", "late")),
        # However many values were computed, the event counts once.
        (mapped(computed=("value", "num_items"), late=True), ("em", "ip_ua", "computed", "late")),
        (Failed("checkout", "m1", "x", "missing_value", "words"), ("invalid=missing_value",)),
    ],
)
def test_an_outcome_is_put_in_a_few_words(outcome: Mapped | Failed, expected: tuple[str, ...]) -> None:
    assert _qualities(outcome) == expected


def test_events_count_once_from_the_inbox_to_the_tallies(ledger: Ledger) -> None:
    """A second copy, an event without an identity and one that an override drops among them."""
    place(ledger, event_overrides={"Order Dreamt Of": "drop"})
    nobody = ORDER | {"messageId": "m2", "properties": {}, "context": {"consent": {"advertising": True}}}
    dropped = ORDER | {"messageId": "m3", "event": "Order Dreamt Of"}
    ids = accept(ledger, [ORDER, ORDER, nobody, dropped], received_at=time.time())
    ingest(ledger, ids)

    with ledger.read() as connection:
        ((key, found),) = match_quality_counts.quality_since(connection, 0).items()
    assert key.event_name == "checkout"
    assert found == Quality(
        valid=1, computed=1, identifiers={"em": 1, "ip_ua": 1}, invalid={"no_identity": 1}
    )
    close(ledger)
