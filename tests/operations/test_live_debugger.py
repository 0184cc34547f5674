"""Deliveries are followed while they are made."""

import pytest
from sqlalchemy.exc import OperationalError

from tests.ledger.shop import NOW, new, place, write
from worker.ledger.database import Ledger
from worker.ledger.delivery import find_deliveries
from worker.ledger.schema import State
from worker.operations.caller import Caller
from worker.operations.deliveries import live_debugger


def test_deliveries_are_still_followed_after_an_outage_of_the_database(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, waits, find = place(ledger), [], find_deliveries.find_after
    write(ledger, [new(ledger, shop, "evt_1", state=State.FILTERED)])

    def find_or_fail(*arguments: object) -> object:
        if not waits:
            raise OperationalError("select", {}, Exception("away"))
        return find(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(find_deliveries, "find_after", find_or_fail)
    monkeypatch.setattr(live_debugger.time, "sleep", waits.append)  # type: ignore[attr-defined]
    followed = live_debugger.follow_deliveries(Caller(ledger, "demo", NOW), 0)

    assert next(followed).event_id == "evt_1"
    assert len(waits) == 1
