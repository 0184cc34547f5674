"""What the mapping could not read is counted in the transaction that writes the deliveries."""

import time
from typing import Any

from sqlalchemy import Engine
from sqlalchemy import event as sql_event

from tests.ledger.shop import place
from tests.pipeline.ingest.test_ingest_bulk import order, take_in
from worker.event.problems import FoundProblem, Problem
from worker.event.received import Received
from worker.ledger.database import Ledger
from worker.ledger.reports import data_problems
from worker.pinterest.mapping.mapping import Filtered
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.pipeline.ingest.outcomes import _found_problems

BAD = {"order_id": "1", "total": 5, "currency": "xyzzy", "products": [{"id": "A", "price": 5, "quantity": 1}]}


def counted(ledger: Ledger) -> dict[tuple[str, str], int]:
    with ledger.read() as connection:
        found = data_problems.count_problems(connection, [int(time.time() // 3_600)])
    return {(one.problem, one.event_name): one.counts[0] for one in found}


def test_mapped_events_and_their_problems_are_counted_by_pinterests_name(ledger: Ledger) -> None:
    place(ledger)
    place(ledger, ad_account_id="222")
    page = {
        "type": "page",
        "messageId": "p1",
        "anonymousId": "d",
        "context": {"ip": "203.0.113.5", "userAgent": "x"},
    }
    ingest(ledger, take_in(ledger, order("1"), order("2", messageId="m2", properties=BAD), page))
    found = counted(ledger)
    assert found["", "checkout"] == 2
    assert found["", "page_visit"] == 1
    assert found["currency_unreadable", "checkout"] == 1
    with ledger.read() as connection:
        examples = data_problems.newest_examples(connection, "src_shop")
    (example,) = (one for one in examples if one.problem == "currency_unreadable")
    assert example.event_name == "Order Completed"
    assert example.delivery_id is not None
    assert "currency" in example.sentence


def test_failed_and_duplicate_events_count(ledger: Ledger) -> None:
    place(ledger)
    failing = order("3", messageId="m3", properties=BAD, context={}, anonymousId="stranger")
    copies = [order("2", messageId="m2", properties=BAD) for _ in range(2)]
    ingest(ledger, take_in(ledger, failing, *copies))
    assert counted(ledger)["currency_unreadable", "checkout"] == 3


def test_events_without_problems_cost_no_statement(sqlite_ledger: Ledger) -> None:
    place(sqlite_ledger)
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    ids = take_in(sqlite_ledger, order("1"))
    sql_event.listen(Engine, "before_cursor_execute", note)
    try:
        ingest(sqlite_ledger, ids)
    finally:
        sql_event.remove(Engine, "before_cursor_execute", note)
    assert any("INSERT INTO delivery" in statement for statement in seen)
    assert not any("problem_example" in statement for statement in seen)


def test_a_filtered_event_has_problems_without_sentences() -> None:
    outcome = Filtered("e", "Order", "no consent", (Problem.CONSENT_UNREADABLE,))
    assert _found_problems(outcome, Received("server", 0.0)) == (FoundProblem(Problem.CONSENT_UNREADABLE),)


def test_only_a_private_address_of_a_browsers_event_is_kept() -> None:
    outcome = Filtered("e", "Order", "r", (Problem.ADDRESS_NOT_PUBLIC, Problem.ID_CLEANED))
    for channel, ip, kept in (
        ("browser", "10.0.0.7", "10.0.0.7"),
        ("browser", "172.16.5.5", "172.16.5.5"),
        ("browser", "192.168.1.1", "192.168.1.1"),
        ("browser", "127.0.0.1", "127.0.0.1"),
        ("browser", "fd00::7", "fd00::7"),
        ("browser", "fe80::1", "fe80::1"),
        ("browser", "8.8.8.8", None),
        ("browser", "2606:4700::1111", None),
        ("browser", "unknown", None),
        ("browser", "", None),
        ("browser", None, None),
        ("server", "10.0.0.7", None),
    ):
        found = _found_problems(outcome, Received(channel, 0.0, ip))
        assert [one.address for one in found] == [kept, None]
