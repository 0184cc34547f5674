"""The match quality over HTTP."""

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import new, write
from worker.api import context
from worker.ledger.database import Ledger
from worker.ledger.schema import State
from worker.ledger.setup.integrations import Integration

NOW = 1_893_456_000.0  # 2030-01-01T00:00:00Z
HOUR, DAY = 3_600, 86_400


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "now", lambda: NOW)


def test_quality_shows_shares_and_says_what_to_improve(api: Api, ledger: Ledger, shop: Integration) -> None:
    events = [
        *(
            new(ledger, shop, f"em{number}", qualities=("em", "external_id", "ip_ua", "ph"))
            for number in range(9)
        ),
        *(new(ledger, shop, f"ip{number}", qualities=("ip_ua", "partner_id")) for number in range(15)),
        new(ledger, shop, "bad", state=State.FAILED, qualities=("invalid=stale",)),
    ]
    write(ledger, events, NOW)

    assert api.get("/v1/admin/quality") == {
        "since": "2029-12-25T00:00:00.000Z",
        "data": [
            {
                "integration_id": shop.id,
                "event_name": "checkout",
                "since": "2029-12-25T00:00:00.000Z",
                "events": 25,
                "valid": 24,
                "late": 0,
                "computed": 0,
                "invalid": {"stale": 1},
                "shares": {
                    "ip_ua": 1.0,
                    "partner_id": 0.625,
                    "em": 0.375,
                    "external_id": 0.375,
                    "ph": 0.375,
                },
                "advice": [
                    "4 % of the events were not sent, because they were over seven days old when they were received: "
                    "send them sooner.",
                    "Only 38 % of these events carry an e-mail address. Call identify with the email trait "
                    "when a visitor signs in, subscribes or orders: it is what Pinterest matches best.",
                ],
            }
        ],
    }


def test_quality_comes_by_steps_of_time(api: Api, ledger: Ledger, shop: Integration) -> None:
    for hours in (0, 1, 25):
        write(ledger, [new(ledger, shop, f"e{hours}", qualities=("em",))], NOW - hours * HOUR)

    by_day = api.get(f"/v1/admin/quality?since=3d&step_hours=24&integration_id={shop.id}")["data"]
    assert [(one["since"], one["events"]) for one in by_day] == [
        ("2029-12-30T00:00:00.000Z", 1),
        ("2029-12-31T00:00:00.000Z", 1),
        ("2030-01-01T00:00:00.000Z", 1),
    ]
    assert by_day[0]["advice"] == []


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("quality?since=93d", "since: must be within the last 92 days"),
        ("quality?step_hours=0", "step_hours: must be between 1 and 168"),
        ("quality?step_hours=x", "step_hours: must be a whole number"),
        ("quality?integration_id=int_x", "integration_id: there is no integration int_x"),
    ],
)
def test_what_is_wrong_is_named(api: Api, path: str, sentence: str) -> None:
    assert api.error("GET", f"/v1/admin/{path}") == (422, sentence)
