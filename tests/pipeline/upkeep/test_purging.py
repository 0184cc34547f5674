"""What has been kept long enough goes, in small steps, and the books go on balancing."""

from collections import Counter

import pytest
from sqlalchemy import func, select

from tests.ledger.shop import NOW, new, pend, place, stand, write
from tests.pipeline.sandbox import FakePinterest, Stage, accepted
from worker.ledger.database import Ledger
from worker.ledger.intake import imported_lines, visitors
from worker.ledger.intake.visitors import StoredVisitor
from worker.ledger.reports import tallies
from worker.ledger.schema import State, attempt, batch, delivery, rollup
from worker.ledger.schema import audit as audit_table
from worker.ledger.schema import visitor as visitor_table
from worker.ledger.setup import audit_log
from worker.pipeline.upkeep import purging
from worker.pipeline.upkeep.purging import fold_counts, purge_expired

HOUR, DAY = 3_600, 86_400


def rows(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as connection:
        return {
            table.name: connection.scalar(select(func.count()).select_from(table)) or 0
            for table in (delivery, batch, attempt, visitor_table, audit_table)
        }


def test_what_was_delivered_long_ago_goes_with_its_batch_and_history(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 4)
    stage = Stage(ledger, FakePinterest(lambda events: accepted(events, failed=["e1"])))
    stage.batch()
    stage.run()
    before = stand(ledger)
    purge_expired(ledger, 30, NOW + 29 * DAY)
    assert (stand(ledger), rows(ledger)["batch"]) == (before, 1)
    purge_expired(ledger, 30, NOW + 31 * DAY)
    # The books know of them for ever.
    assert stand(ledger) == {}
    assert {name: n for name, n in rows(ledger).items() if n} == {}
    with ledger.read() as connection:
        assert tallies.tally_totals(connection)[tallies.PURGED + tallies.DELIVERED] == 3


def test_what_is_pending_or_in_flight_stays_however_old(ledger: Ledger) -> None:
    shop = place(ledger)
    pend(ledger, shop, 2, prefix="flying")
    Stage(ledger, FakePinterest()).batch()
    pend(ledger, shop, 2, prefix="waiting")
    purge_expired(ledger, 30, NOW + 900 * DAY)
    assert stand(ledger) == {"in_flight": 2, "pending": 2}


def test_a_batch_that_a_kept_failure_refers_to_keeps_its_history(ledger: Ledger) -> None:
    pend(ledger, place(ledger), 2)
    stage = Stage(ledger, FakePinterest(lambda events: accepted(events, failed=["e1"])))
    stage.batch()
    stage.run()
    with ledger.write() as connection:
        connection.execute(delivery.update().where(delivery.c.state == 1).values(ended_at=NOW + 20 * DAY))
    purge_expired(ledger, 30, NOW + 31 * DAY)
    assert stand(ledger) == {"failed": 1}
    assert (rows(ledger)["batch"], rows(ledger)["attempt"]) == (1, 1)


def test_more_than_one_step_of_rows_goes_in_one_purge(sqlite_ledger: Ledger) -> None:
    shop = place(sqlite_ledger)
    wanted = [
        new(sqlite_ledger, shop, f"e{number}", state=State.FAILED, payload=b"x") for number in range(1_100)
    ]
    write(sqlite_ledger, wanted)
    assert purge_expired(sqlite_ledger, 30, NOW + 31 * DAY)["deliveries"] == 1_100
    assert stand(sqlite_ledger) == {}


def test_visitors_and_audit_entries_go_after_a_year_and_a_bit(ledger: Ledger) -> None:
    with ledger.write() as connection:
        visitors.save_visitors(connection, {b"old": StoredVisitor(b"", 0)}, NOW)
        visitors.save_visitors(connection, {b"new": StoredVisitor(b"", 0)}, NOW + 10 * DAY)
        audit_log.append_audit_entry(connection, NOW, "kim", "did", "this", {})
        audit_log.append_audit_entry(connection, NOW + 10 * DAY, "kim", "did", "that", {})
    purge_expired(ledger, 30, NOW + 401 * DAY)
    assert (rows(ledger)["visitor"], rows(ledger)["audit"]) == (1, 1)


def test_lines_of_files_are_known_for_as_long_as_their_events_could_still_be_sent(ledger: Ledger) -> None:
    with ledger.write() as connection:
        imported_lines.insert_imported_lines(connection, [b"old"], NOW)
        imported_lines.insert_imported_lines(connection, [b"new"], NOW + 5 * DAY)
    purge_expired(ledger, 1, NOW + 9 * DAY)
    with ledger.read() as connection:
        assert imported_lines.find_imported_lines(connection, [b"old", b"new"]) == {b"new"}
    purge_expired(ledger, 30, NOW + 34 * DAY)
    with ledger.read() as connection:
        assert imported_lines.find_imported_lines(connection, [b"new"]) == {b"new"}


def test_minutes_are_folded_however_long_the_upkeep_was_away(ledger: Ledger) -> None:
    fold_counts(ledger, NOW)
    for minute in range(300):
        with ledger.write() as connection:
            tallies._append_rollups(connection, Counter({(1, "delivered"): 1}), NOW + minute * 60)
    fold_counts(ledger, NOW + 9 * DAY)
    with ledger.read() as connection:
        kept = connection.execute(select(rollup.c.minute, rollup.c.n)).all()
    assert sum(row.n for row in kept) == 300
    # One row an hour, in place of one a minute.
    assert len(kept) == len({row.minute for row in kept}) <= 6


def test_a_fold_that_was_not_finished_goes_on_where_it_was(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purging, "_MAX_FOLDS", 1)
    monkeypatch.setattr(purging, "_GROUPS_A_FOLD", 2)
    for hour in range(6):
        with ledger.write() as connection:
            for _ in range(2):
                tallies._append_rollups(connection, Counter({(1, "delivered"): 1}), NOW + hour * HOUR)
    for run in range(4):
        fold_counts(ledger, NOW + (5 + run) * DAY)
    with ledger.read() as connection:
        assert [row.n for row in connection.execute(select(rollup.c.n))] == [2] * 6
