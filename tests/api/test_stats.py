"""Hourly counts over HTTP."""

from typing import Any

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import accept, new, place, write
from worker.api import context
from worker.ledger.database import Ledger
from worker.ledger.schema import State
from worker.ledger.setup.integrations import Integration

NOW = 1_893_456_000.0  # 2030-01-01T00:00:00Z
HOUR, DAY = 3_600, 86_400


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "now", lambda: NOW)


def test_stats_count_by_hour_and_integration(api: Api, ledger: Ledger, shop: Integration) -> None:
    other = place(ledger, ad_account_id="2")
    accept(ledger, [{"type": "track", "event": "x"}], received_at=NOW - HOUR)
    write(ledger, [new(ledger, shop, "old")], NOW - 2 * DAY)
    write(ledger, [new(ledger, shop, "e1"), new(ledger, shop, "e2")], NOW - HOUR)
    write(ledger, [new(ledger, other, "e1", state=State.FILTERED, qualities=("em",))], NOW)

    def row(hour: str, one: Integration, **outcomes: int) -> dict[str, Any]:
        return {"hour": hour, "integration_id": one.id, "outcomes": outcomes}

    assert api.get("/v1/admin/stats") == {
        "since": "2029-12-31T00:00:00.000Z",
        "events": [
            {"hour": "2029-12-31T23:00:00.000Z", "outcomes": {"accepted": 1}},
        ],
        "deliveries": [
            row("2029-12-31T23:00:00.000Z", shop, created=2),
            row("2030-01-01T00:00:00.000Z", other, created=1, filtered=1),
        ],
    }
    assert len(api.get("/v1/admin/stats?since=3d")["deliveries"]) == 3
    only = api.get(f"/v1/admin/stats?since=3d&integration_id={other.id}")
    assert (only["events"], len(only["deliveries"])) == ([], 1)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("stats?since=93d", "since: must be within the last 92 days"),
        ("stats?since=x", "since: must be like 90m, 24h, 7d or 2030-01-29T14:53:20Z"),
        ("stats?integration_id=int_x", "integration_id: there is no integration int_x"),
    ],
)
def test_what_is_wrong_is_named(api: Api, path: str, sentence: str) -> None:
    assert api.error("GET", f"/v1/admin/{path}") == (422, sentence)
