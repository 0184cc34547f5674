"""Events are mapped together, and what is wrong with one harms no other."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from tests.ledger.shop import close, place
from tests.pipeline.ingest.test_ingest_bulk import JANE, emails, identify, order, outcomes, parked, take_in
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.intake import inbox, visitors
from worker.ledger.intake.visitors import VersionConflictError
from worker.ledger.schema import delivery
from worker.ledger.schema import integration as integration_table
from worker.ledger.vault import SealError
from worker.pipeline.ingest import cpu_budget, ingest_bulk, map_rows, order_clicks
from worker.pipeline.ingest import outcomes as outcomes_module
from worker.pipeline.ingest.ingest_bulk import ingest


def note_sizes(monkeypatch: pytest.MonkeyPatch, failing: str | None = None) -> list[int]:
    """Return how many events are mapped together each time; the mapping of one may fail."""
    map_events, sizes = outcomes_module.map_events, []

    def note(events: Any) -> Any:
        events = list(events)
        sizes.append(len(events))
        if failing in [event["messageId"] for event, *_ in events]:
            raise ZeroDivisionError
        return map_events(events)

    monkeypatch.setattr(outcomes_module, "map_events", note)
    return sizes


def test_a_mapping_error_parks_its_row_alone_and_tells_nothing_personal(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = sqlite_ledger
    place(ledger)
    mapped = map_rows.to_deliveries

    def fail_for_two(target: Any, one: Any, *rest: Any) -> Any:
        if one.event["messageId"] == "m2":
            raise ZeroDivisionError("jane@example.com")
        return mapped(target, one, *rest)

    monkeypatch.setattr(map_rows, "to_deliveries", fail_for_two)
    ids = take_in(ledger, order("1"), order("2"), order("3"))
    ingest(ledger, ids)
    assert outcomes(ledger) == {"m1": "pending", "m3": "pending"}
    assert parked(ledger) == {ids[1]: "The worker could not map the event (ZeroDivisionError)."}
    assert "jane" not in caplog.text
    # A version that can map it lets it go.
    monkeypatch.setattr(map_rows, "to_deliveries", mapped)
    with ledger.write() as connection:
        inbox.unpark_events(connection)
    ingest(ledger, ids)
    assert outcomes(ledger)["m2"] == "pending"
    close(ledger)


def test_an_event_that_fails_while_several_are_mapped_together_harms_no_other(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite_ledger
    place(ledger)
    sizes = note_sizes(monkeypatch, failing="m2")
    ids = take_in(ledger, order("1"), order("2"), order("3"))
    ingest(ledger, ids)
    assert outcomes(ledger) == {"m1": "pending", "m3": "pending"}
    assert parked(ledger) == {ids[1]: "The worker could not map the event (ZeroDivisionError)."}
    assert sizes == [3, 1, 1, 1]


def test_an_error_before_several_events_are_mapped_together_concerns_one_event(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite_ledger
    place(ledger)
    with_click_ids = order_clicks.with_click_ids_of_order

    def fail_for_two(visitor: Any, opened: Any, ids: Any) -> Any:
        if opened.event["messageId"] == "m2":
            raise ZeroDivisionError
        return with_click_ids(visitor, opened, ids)

    monkeypatch.setattr(order_clicks, "with_click_ids_of_order", fail_for_two)
    ids = take_in(ledger, order("1"), order("2"), order("3"))
    ingest(ledger, ids)
    assert outcomes(ledger) == {"m1": "pending", "m3": "pending"}
    assert parked(ledger) == {ids[1]: "The worker could not map the event (ZeroDivisionError)."}


def test_events_that_take_long_together_are_mapped_alone(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite_ledger
    place(ledger)
    sizes = note_sizes(monkeypatch)
    monkeypatch.setattr(map_rows, "_MAX_SECONDS_TOGETHER", 0.0)
    ingest(ledger, take_in(ledger, order("1"), order("2")))
    assert outcomes(ledger) == {"m1": "pending", "m2": "pending"}
    assert sizes == [2, 1, 1]


def test_blocks_of_events_grow_while_they_are_quick_and_large_events_are_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def sizes(*bodies: int) -> list[int]:
        rows = [(SimpleNamespace(body=b" " * size), True) for size in bodies]
        blocks = list(map_rows._blocks(rows))  # type: ignore[arg-type]
        assert [row for block in blocks for row in block] == rows
        return list(map(len, blocks))

    assert sizes() == []
    assert sizes(*[1000] * 200) == [8, 16, 32, 64, 64, 16]
    assert sizes(9000, 9000, 10, 10, 9000, 10) == [1, 1, 2, 1, 1]
    monkeypatch.setattr(map_rows, "_BLOCK_SECONDS", 0.0)
    assert sizes(*[1000] * 10) == [8, 1, 1]


def test_an_event_that_takes_too_much_processor_time_is_parked_and_the_others_go_on(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = sqlite_ledger
    place(ledger)
    mapped, busy, tries = map_rows.to_deliveries, ["m2"], []
    monkeypatch.setattr(cpu_budget, "_MAX_CPU_SECONDS", 0.05)
    save, races = visitors.save_visitors, iter([True])

    def burn_for_two(target: Any, one: Any, *rest: Any) -> Any:
        tries.append(one.event["messageId"])
        began = time.thread_time()
        while one.event["messageId"] in busy and time.thread_time() - began < 0.1:
            pass
        return mapped(target, one, *rest)

    def lose_one_race(*given: Any) -> None:
        if next(races, False):
            raise VersionConflictError
        save(*given)

    monkeypatch.setattr(map_rows, "to_deliveries", burn_for_two)
    monkeypatch.setattr(visitors, "save_visitors", lose_one_race)
    ids = take_in(ledger, order("1"), order("2"), order("3"))
    ingest(ledger, ids)
    assert outcomes(ledger) == {"m1": "pending", "m3": "pending"}
    assert parked(ledger) == {ids[1]: "Mapping the event takes too much processor time."}
    # Mapping again after a lost race costs nothing more.
    assert (tries.count("m1"), tries.count("m2")) == (2, 2)
    assert "event_too_costly" in caplog.text
    with ledger.read() as connection:
        assert [group.events for group in inbox.parked_by_reason(connection)] == [1]
    # A version that maps it faster lets it go.
    busy.clear()
    with ledger.write() as connection:
        inbox.unpark_events(connection)
    ingest(ledger, ids)
    assert outcomes(ledger)["m2"] == "pending"
    close(ledger)


@pytest.mark.parametrize(
    "error", [LedgerBusyError("busy"), SealError("no key"), OperationalError("", {}, Exception("away"))]
)
def test_an_outage_while_mapping_parks_nothing(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ledger = sqlite_ledger
    place(ledger)
    monkeypatch.setattr(ingest_bulk, "_LEDGER_RETRY_PAUSES_SECONDS", (0.0,))

    def away(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(map_rows, "to_deliveries", away)
    ids = take_in(ledger, order("1"))
    with pytest.raises(type(error)):
        ingest(ledger, ids)
    assert parked(ledger) == {ids[0]: None}


@pytest.mark.parametrize("how", ["config", "mapping"])
def test_an_integration_that_cannot_take_an_event_parks_its_own_delivery_alone(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    good, bad = place(ledger), place(ledger, ad_account_id="22", token="pina_2")
    broken = {"event_overrides": {"Order Completed": {"event_name": 7}}}
    mapping = map_rows.to_deliveries

    def fail(target: Any, *given: Any) -> Any:
        if target.integration.number == bad.number:
            raise KeyError("of jane@example.com")
        return mapping(target, *given)

    if how == "mapping":
        monkeypatch.setattr(map_rows, "to_deliveries", fail)
    else:
        with ledger.write() as connection:
            of_bad = update(integration_table).where(integration_table.c.id == bad.number)
            connection.execute(of_bad.values(config=bad.config | broken))
    ids = take_in(ledger, identify("jane@example.com"), order("1"), order("2"))
    done = ingest(ledger, ids)
    assert (done["created"], done["mapped"], done["consumed"]) == (2, 0, 1)
    assert outcomes(ledger) == {"m1": "pending", "m2": "pending"}
    name = "KeyError" if how == "mapping" else "ConfigError"
    assert set(parked(ledger).values()) == {f"The worker could not map the event ({name})."}
    close(ledger)

    # A version that can read it takes what is missing, and nothing twice.
    monkeypatch.setattr(map_rows, "to_deliveries", mapping)
    with ledger.write() as connection:
        connection.execute(update(integration_table).values(config=good.config))
        inbox.unpark_events(connection)
    assert ingest(ledger, ids)["created"] == 2
    with ledger.read() as connection:
        rows = connection.execute(select(delivery.c.integration_id, delivery.c.state)).all()
    assert sorted(map(tuple, rows)) == [(good.number, 0)] * 2 + [(bad.number, 0)] * 2
    assert emails(ledger) == {"m1": [JANE], "m2": [JANE]}
    assert parked(ledger) == {}
    close(ledger)
