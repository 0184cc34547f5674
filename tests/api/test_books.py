"""The books over HTTP."""

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import accept, new, pend, write
from worker.api import context
from worker.ledger.database import Ledger
from worker.ledger.schema import State
from worker.ledger.setup.integrations import Integration

NOW = 1_893_456_000.0  # 2030-01-01T00:00:00Z
HOUR, DAY = 3_600, 86_400


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "now", lambda: NOW)


def test_the_books_show_where_everything_is(api: Api, ledger: Ledger, shop: Integration) -> None:
    accept(ledger, [{"type": "track", "event": "x"}])
    pend(ledger, shop, 2)
    write(ledger, [new(ledger, shop, "f", state=State.FAILED)])
    shown = api.get("/v1/admin/books")

    assert shown["balance"] is True
    assert shown["events"] == {"inbox": 1, "consumed": 0, "without_destination": 0, "mapped": 0, "erased": 0}
    assert shown["deliveries"] == {"pending": 2, "failed": 1}
    assert shown["lines"][:2] == [
        {"what": "events accepted", "counted": 1, "found": 1, "balances": True},
        {"what": "deliveries created", "counted": 3, "found": 3, "balances": True},
    ]
    assert shown["accounts"] == {shop.ad_account_id: {"pending": 2, "failed": 1}}

    audited = api.get("/v1/admin/books?audit=true")
    owned = {"what": "waiting deliveries with an integration", "counted": 2, "found": 2, "balances": True}
    assert [line for line in audited["lines"] if line not in shown["lines"]] == [owned]
    audited["lines"].remove(owned)
    assert audited == shown
