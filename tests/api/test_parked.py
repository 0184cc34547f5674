"""Parked events over HTTP: counted by reason, and retried."""

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import NOW, accept, close, place
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.operations.caller import Caller
from worker.operations.deliveries import failed

PARKED = "/v1/admin/parked"


@pytest.fixture(autouse=True)
def parked(ledger: Ledger) -> list[int]:
    ledger.vault.prepare()
    place(ledger)
    ids = accept(ledger, [{"type": "track", "event": "x"} for _ in range(4)])
    with ledger.write() as connection:
        for event_id, reason in zip(ids[:3], ["broken", "broken", "odd"], strict=True):
            inbox.park_event(connection, event_id, reason)
    return ids


def test_they_are_counted_by_reason(api: Api) -> None:
    since = "2025-06-15T15:06:40.000Z"

    assert api.get(PARKED) == {
        "events": 3,
        "reasons": [
            {"reason": "broken", "events": 2, "oldest_at": since},
            {"reason": "odd", "events": 1, "oldest_at": since},
        ],
    }


def test_they_are_worked_on_again_once(api: Api, ledger: Ledger, parked: list[int]) -> None:
    first = api.call("POST", f"{PARKED}/retry").json
    second = api.call("POST", f"{PARKED}/retry").json

    assert (first, second) == ({"unparked": 3, "left": 0}, {"unparked": 0, "left": 0})
    assert api.get(PARKED) == {"events": 0, "reasons": []}
    with ledger.read() as connection:
        assert inbox.overdue_ids(connection, 0, NOW + 1, 10) == parked
    (entry,) = api.get("/v1/admin/audit")["data"]
    assert (entry["action"], entry["object"]) == ("parked.retry", "3 events")
    close(ledger)


def test_a_call_is_bounded(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failed, "_ROWS_A_STEP", 1)

    kim = Caller(ledger, "kim", NOW)

    assert failed.unpark(kim, limit=2) == failed._Unparked(2, 1)
    assert failed.unpark(kim, limit=None) == failed._Unparked(1, 0)
