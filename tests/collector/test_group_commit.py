"""Requests that come at once share a commit, but not each other's errors."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from worker.collector.intake import GroupCommit
from worker.ledger.database import Ledger, LedgerBusyError
from worker.ledger.intake.inbox import Accepted
from worker.ledger.schema import inbox

THREADS = 8


def accepted(body: bytes | None) -> Accepted:
    """Return an event; one without a body is what the database refuses."""
    return Accepted("src", None, None, informs=False, received_at=1.0, body=body)  # type: ignore[arg-type]


def bodies(ledger: Ledger) -> dict[int, bytes]:
    with ledger.read() as connection:
        return {row.id: row.body for row in connection.execute(select(inbox.c.id, inbox.c.body))}


def all_at_once(
    ledger: Ledger, together: GroupCommit, requests: Sequence[Sequence[bytes | None]]
) -> list[Any]:
    """Bring requests while another transaction writes, so that all of them wait; return ids or exceptions."""

    def bring(request: Sequence[bytes | None]) -> Any:
        try:
            return together.accept([accepted(body) for body in request], 1.0)
        except Exception as error:  # noqa: BLE001 - it is what the test is about
            return error

    with ThreadPoolExecutor(len(requests)) as pool:
        with ledger.write():
            futures = [pool.submit(bring, request) for request in requests]
            threading.Event().wait(0.3)
        return [future.result(30) for future in futures]


def test_requests_that_wait_share_a_commit_and_each_is_told_its_own_ids(sqlite_ledger: Ledger) -> None:
    commits: list[object] = []
    event.listen(sqlite_ledger.write_engine, "commit", commits.append)
    requests = [[b"%d-%d" % (number, place) for place in range(number + 1)] for number in range(THREADS)]
    told = all_at_once(sqlite_ledger, GroupCommit(sqlite_ledger), requests)
    kept = bodies(sqlite_ledger)
    assert [[kept[id_] for id_ in ids] for ids in told] == requests
    # One of the test's own, one of the first that had the turn, and one of all others.
    assert len(commits) <= 3


def test_a_request_that_the_ledger_refuses_costs_no_other(ledger: Ledger) -> None:
    requests = [[b"0"], [b"1"], [b"2", None], [b"3"], [b"4"]]
    told = all_at_once(ledger, GroupCommit(ledger), requests)
    assert isinstance(told.pop(2), IntegrityError)
    assert [[bodies(ledger)[id_] for id_ in ids] for ids in told] == [[b"0"], [b"1"], [b"3"], [b"4"]]
    assert len(bodies(ledger)) == 4


def test_while_the_ledger_is_away_nobody_waits_for_more_than_one_try(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def busy(*_: Any) -> Any:
        tries.append(1)
        threading.Event().wait(0.3)
        raise LedgerBusyError("held for too long")

    monkeypatch.setattr("worker.ledger.intake.inbox.accept_events", busy)
    told = all_at_once(sqlite_ledger, GroupCommit(sqlite_ledger), [[b"a"]] * THREADS)
    assert [type(one) for one in told] == [LedgerBusyError] * THREADS
    assert len(tries) <= 2
    monkeypatch.undo()
    assert GroupCommit(sqlite_ledger).accept([accepted(b"later")], 1.0)


def test_no_transaction_grows_beyond_its_bound(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.collector.intake.MAX_COMMIT_EVENTS", 10)
    told = all_at_once(sqlite_ledger, GroupCommit(sqlite_ledger), [[b"x"] * 12, [b"y"] * 6, [b"z"] * 6])
    assert [len(ids) for ids in told] == [12, 6, 6]
    assert len(bodies(sqlite_ledger)) == 24


def test_each_database_takes_events_and_tells_their_ids(ledger: Ledger) -> None:
    ids = GroupCommit(ledger).accept([accepted(b"a"), accepted(b"b")], 1.0)
    assert [bodies(ledger)[id_] for id_ in ids] == [b"a", b"b"]
