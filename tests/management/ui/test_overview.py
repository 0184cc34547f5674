"""The overview, its charts, and the search over all states."""

import time
from collections import Counter
from unittest.mock import patch

import pytest

from tests.management.ui.conftest import ACCOUNT, Pages, fail, write
from worker.ledger import tallies
from worker.ledger.engine import Ledger
from worker.ledger.integrations import Integration
from worker.ledger.tallies import SECONDS_AN_HOUR, Entry
from worker.management.ui import figures
from worker.management.ui.charts import SPANS, Bar, Span, highest, share, stacked


def figure(page: str, name: str) -> str:
    return page.partition(f"<dt>{name}</dt><dd>")[2].partition("</dd>")[0]


def count(ledger: Ledger, where: Integration, at: float, **outcomes: int) -> None:
    with ledger.write() as connection:
        counts = Counter(
            {Entry("src_shop", where.number, "checkout", what): n for what, n in outcomes.items()}
        )
        tallies.append(connection, counts, at)


def test_an_empty_site_says_what_to_do_first(pages: Pages) -> None:
    page = pages.get("/")

    assert "Nothing is set up yet." in page
    assert 'href="/integrations/add"' in page


def test_an_ad_account_shows_what_waits_and_what_moved(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    write(ledger, shop, "e1", "e2", accepted_at=time.time() - 130)
    fail(ledger, shop, "e3")
    count(ledger, shop, time.time(), delivered=1_234, filtered=5)
    page = pages.get("/")

    assert f"Ad account {ACCOUNT}" in page
    assert figure(page, "Pending") == "2"
    assert figure(page, "In flight") == "0"
    assert figure(page, "Delivered") == "1,234"
    assert figure(page, "Filtered") == "5"
    assert "Oldest waiting: 2 minutes." in page
    assert "70 requests a second, 140 at once" in page
    assert f'<a href="/failed?ad_account_id={ACCOUNT}">1</a>' in page


def test_the_part_that_refreshes_is_no_whole_page(pages: Pages, shop: Integration) -> None:
    part = pages.get("/overview/figures?span=7d")

    assert "<html" not in part
    assert "Deliveries, last 7 days" in part


@pytest.mark.parametrize("key", list(SPANS))
def test_every_length_of_time_is_drawn(pages: Pages, ledger: Ledger, shop: Integration, key: str) -> None:
    fail(ledger, shop, "e1", "e2")

    page = pages.get(f"/?span={key}")
    assert "failed: 2</li>" in page
    assert '<rect class="failed"' in page


def test_counts_of_long_ago_are_not_of_now(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    count(ledger, shop, time.time() - 3 * 86_400, delivered=7)

    assert figure(pages.get("/?span=24h"), "Delivered") == "0"
    assert figure(pages.get("/?span=7d"), "Delivered") == "7"
    assert "delivered: 7</li>" in pages.get("/?span=30d")


def test_too_many_to_count_by_the_minute_are_not_counted_wrong(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    fail(ledger, shop, "e1", "e2", "e3")
    with patch.object(figures, "MOST_COUNTED_ONE_BY_ONE", 2):
        assert "Too many events came in to count them by the minute." in pages.get("/?span=1h")


def test_steps_end_now_and_begin_at_round_times() -> None:
    now = 100 * SECONDS_AN_HOUR + 1.0

    assert Span("", "", 3, SECONDS_AN_HOUR).starts(now) == [
        98.0 * SECONDS_AN_HOUR,
        99.0 * SECONDS_AN_HOUR,
        100.0 * SECONDS_AN_HOUR,
    ]


def test_bars_stand_on_each_other_and_the_highest_fills_the_height() -> None:
    drawn = stacked([Bar(0, 3, 1, 0), Bar(1, 0, 0, 0)])

    assert drawn.count("<rect") == 2
    assert '<rect class="delivered" x="45.00" y="50.00" width="410.00" height="150.00"/>' in drawn
    assert '<rect class="failed" x="45.00" y="0.00" width="410.00" height="50.00"/>' in drawn


def test_nothing_is_a_chart_too() -> None:
    assert "<rect" not in stacked([Bar(0, 0, 0, 0)])
    assert highest([]) == 1
    assert 'width="0.00"' in share(0, 0)


def test_an_order_an_event_and_a_visitor_are_found_in_every_state(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    order_key = ledger.vault.keyed_hash("order", "src_shop", "ORD-001")
    visitor_key = ledger.vault.keyed_hash("anonymous", "src_shop", "visitor-1")
    write(ledger, shop, "e1", order_key=order_key)
    fail(ledger, shop, "e2", anonymous_key=visitor_key)

    assert "pending</span>" in pages.get("/search?q=ORD-001")
    assert "failed</span>" in pages.get("/search?q=visitor-1")
    assert "A checkout needs a value." in pages.get("/search?q=e2")
    assert "Nothing is known of it." in pages.get("/search?q=ORD-002")
