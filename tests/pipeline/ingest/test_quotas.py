"""Strangers fill the ledger only so far, and take nothing from signed events."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.ledger.shop import accept, close, place
from worker.event.received import Trust
from worker.ledger.database import Ledger
from worker.ledger.intake import debug_inputs
from worker.ledger.reports import measures, tallies
from worker.ledger.schema import debug_input, delivery, visitor
from worker.ledger.setup import sources
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.pipeline.ingest.quotas import _REFRESH_SECONDS, NewVisitors, _VisitorQuotas
from worker.pipeline.upkeep.purging import fold_counts

DAY = 86_400
HERE = {"ip": "203.0.113.50", "userAgent": "Mozilla/5.0 (X11)"}


def identify(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "type": "identify",
        "messageId": f"i{number}",
        "userId": f"user-{number}",
        "traits": {"email": f"user{number}@example.com"},
    } | fields


def order(number: int) -> dict[str, Any]:
    properties = {"order_id": f"o{number}", "total": 10, "currency": "EUR", "num_items": 1}
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"o{number}",
        "userId": f"user-{number}",
        "properties": properties,
        "context": HERE,
    }


def bring(ledger: Ledger, events: Sequence[dict[str, Any]], trust: Trust = Trust.PUBLIC) -> None:
    ingest(ledger, accept(ledger, events, received_at=time.time(), trust=trust))


def limit(ledger: Ledger, **options: Any) -> None:
    place(ledger)
    with ledger.write() as connection:
        source = sources.load_source(connection, "src_shop")
        assert source is not None
        sources.update_source(connection, replace(source, options=options), time.time())


def count(ledger: Ledger, table: Any) -> int:
    with ledger.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0


def used(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as connection:
        return dict(tallies.usage_of_source(connection, "src_shop", 0))


def test_public_calls_create_so_many_visitors_a_day_and_the_rest_is_counted(ledger: Ledger) -> None:
    limit(ledger, public_visitors_per_day=5)
    bring(ledger, [identify(number) for number in range(8)])
    bring(ledger, [identify(number) for number in range(8, 12)])
    assert count(ledger, visitor) == 5
    assert used(ledger) == {"public_visitors": 5, "public_visitors_refused": 7}
    with ledger.read() as connection:
        refused = measures.measure_totals(connection).n(measures.REFUSED_BY_QUOTA, tallies.VISITORS_REFUSED)
    assert refused == 7


def test_a_public_flood_keeps_no_signed_visitor_out(ledger: Ledger) -> None:
    limit(ledger, public_visitors_per_day=2)
    bring(ledger, [identify(number) for number in range(4)])
    bring(ledger, [identify(number) for number in range(10, 16)], Trust.SIGNED)
    assert count(ledger, visitor) == 8
    assert used(ledger) == {"public_visitors": 2, "public_visitors_refused": 2, "signed_visitors": 6}


def test_what_exceeds_the_quota_costs_no_delivery(ledger: Ledger) -> None:
    """The event after an identify in the same bulk still has the visitor's e-mail; a later one has none."""
    limit(ledger, public_visitors_per_day=1)
    events = [event for number in range(3) for event in (identify(number), order(number))]
    bring(ledger, events)
    assert count(ledger, delivery) == 3
    assert close(ledger).events["consumed"] == 3


def test_a_visitor_that_is_known_is_updated_beyond_the_quota(ledger: Ledger) -> None:
    limit(ledger, public_visitors_per_day=1)
    bring(ledger, [identify(1), identify(2)])
    bring(ledger, [identify(1, messageId="again", traits={"email": "new@example.com"})])
    with ledger.read() as connection:
        assert list(connection.scalars(select(visitor.c.version))) == [2]
    assert used(ledger)["public_visitors_refused"] == 1


def test_one_source_uses_up_no_other_one_s_quota(ledger: Ledger) -> None:
    limit(ledger, public_visitors_per_day=1)
    place(ledger, "src_other")
    bring(ledger, [identify(1), identify(2)])
    ingest(ledger, accept(ledger, [identify(3)], source_id="src_other", received_at=time.time()))
    assert count(ledger, visitor) == 2


def test_usage_is_folded_and_keeps_its_sums(ledger: Ledger) -> None:
    limit(ledger)
    for number in range(4):
        bring(ledger, [identify(number)])
    assert fold_counts(ledger, time.time()) >= 3
    assert used(ledger) == {"public_visitors": 4}


@dataclass(frozen=True)
class Sent:
    source_id: str
    keys: tuple[bytes, ...]
    trust: int


@pytest.mark.parametrize(
    ("senders", "expected"),
    [
        ([("a", b"1", Trust.PUBLIC)], {b"1": ("a", Trust.PUBLIC)}),
        # A visitor that a signed event names is the signed event's, whichever came first.
        ([("a", b"1", Trust.PUBLIC), ("a", b"1", Trust.SIGNED)], {b"1": ("a", Trust.SIGNED)}),
        ([("a", b"1", Trust.SIGNED), ("a", b"1", Trust.PUBLIC)], {b"1": ("a", Trust.SIGNED)}),
        # A known visitor is not new.
        ([("a", b"known", Trust.PUBLIC)], {}),
    ],
)
def test_a_new_visitor_counts_for_who_brought_it(
    senders: list[tuple[str, bytes, Trust]], expected: dict[bytes, tuple[str, int]]
) -> None:
    events = {number: Sent(source, (key,), trust) for number, (source, key, trust) in enumerate(senders)}
    assert NewVisitors.of(events, {b"1"}).senders == expected


def test_the_count_is_read_every_few_seconds_and_begins_again_each_day(sqlite_ledger: Ledger) -> None:
    clock = [10.0 * DAY]
    quotas = _VisitorQuotas(sqlite_ledger, lambda: clock[0])
    assert [quotas.admit("src", 5, 3) for _ in range(3)] == [3, 2, 0]
    with sqlite_ledger.write() as connection:
        tallies.append_usage(connection, {("src", tallies.PUBLIC_VISITORS): 4}, clock[0])
    # What was admitted and not written, since its transaction failed, is admitted again.
    clock[0] += _REFRESH_SECONDS
    assert quotas.admit("src", 5, 3) == 1
    clock[0] = 11.0 * DAY - 1
    assert quotas.admit("src", 5, 9) == 1
    clock[0] = 11.0 * DAY + 1
    assert quotas.admit("src", 5, 9) == 5


def test_the_quota_costs_no_query_per_bulk(sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    limit(sqlite_ledger)
    reads: list[str] = []
    of_source = tallies.usage_of_source

    def reading(connection: Any, source_id: str, *rest: Any) -> Any:
        reads.append(source_id)
        return of_source(connection, source_id, *rest)

    monkeypatch.setattr("worker.ledger.reports.tallies.usage_of_source", reading)
    for number in range(5):
        bring(sqlite_ledger, [identify(number)])
    assert len(reads) <= 1


def test_public_debug_inputs_push_out_no_signed_ones(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_inputs, "MAX_INPUTS", 3)
    limit(ledger)
    with ledger.write() as connection:
        debug_inputs.set_debugging(connection, "src_shop", time.time() + 60)
    bring(ledger, [order(number) for number in range(2)], Trust.SIGNED)
    bring(ledger, [order(number) for number in range(10, 18)])
    with ledger.read() as connection:
        kept = connection.execute(
            select(debug_input.c.trust, debug_input.c.event_id).order_by(debug_input.c.id)
        )
        assert [(trust, event_id) for trust, event_id in kept] == [
            (Trust.SIGNED, "o0"),
            (Trust.SIGNED, "o1"),
            (Trust.PUBLIC, "o15"),
            (Trust.PUBLIC, "o16"),
            (Trust.PUBLIC, "o17"),
        ]
    assert used(ledger)["debug_inputs_dropped"] == 5
