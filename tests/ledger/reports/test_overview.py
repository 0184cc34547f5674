"""The numbers of the overview."""

from collections import Counter

import pytest

from tests.ledger.shop import ACCOUNT, NOW, place
from worker.ledger.database import Ledger
from worker.ledger.reports import overview, tallies
from worker.ledger.reports.tallies import Entry
from worker.ledger.setup import ad_accounts, integrations

HOUR, DAY = 3_600, 86_400


def count(ledger: Ledger, at: float, integration: int, **moved: int) -> None:
    with ledger.write() as connection:
        counts = Counter({Entry("src_shop", integration, "checkout", what): n for what, n in moved.items()})
        tallies.append_tallies(connection, counts, at)


def test_a_chart_may_have_some_integrations_and_a_start(ledger: Ledger) -> None:
    count(ledger, NOW, 1, delivered=3)
    count(ledger, NOW, 2, delivered=5)
    count(ledger, NOW - DAY, 2, delivered=7)
    with ledger.read() as connection:
        some = overview.moved_by_step(connection, NOW - HOUR, HOUR, [2])

    assert some == {NOW // HOUR * HOUR: {"delivered": 5}}


def test_the_counts_of_an_ad_account_are_those_of_its_integrations(ledger: Ledger) -> None:
    shop, same, other = place(ledger), place(ledger, "src_same"), place(ledger, "src_far", "1234567890")
    for where, n in ((shop, 3), (same, 5), (other, 7)):
        count(ledger, NOW, where.number, delivered=n)
        count(ledger, NOW - DAY, where.number, delivered=100)
    with ledger.write() as connection:
        before = overview.moved_by_account(connection, NOW - HOUR)
        integrations.remove_integration(connection, same.number)
        after = overview.moved_by_account(connection, NOW - HOUR)

    assert before == {ACCOUNT: {"delivered": 8}, "1234567890": {"delivered": 7}}
    assert after == {ACCOUNT: {"delivered": 3}, "1234567890": {"delivered": 7}}


@pytest.mark.parametrize(
    ("later", "requests"),
    [(0.0, 30.0), (30.0, 15.0 + 1), (59.9, 1.05), (60.0, 1.0), (90.0, 0.5), (121.0, 0.0), (-60.0, 30.0)],
)
def test_the_requests_of_the_last_minute_are_shown(ledger: Ledger, later: float, requests: float) -> None:
    shop = place(ledger)
    minute = NOW // 60 * 60
    with ledger.write() as connection:
        for _ in range(30):
            ad_accounts.take_token(connection, shop.ad_account, minute - 1)
        if later > 0:
            ad_accounts.take_token(connection, shop.ad_account, minute)
        found = overview.requests_per_minute(connection, minute + later)

    assert found.get(ACCOUNT, 0.0) == pytest.approx(requests, abs=0.01)
