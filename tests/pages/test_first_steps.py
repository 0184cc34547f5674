"""The steps until the first order are shown until they are done, and what came in of each source."""

import re
import time
from collections import Counter

from tests.api.conftest import Api
from tests.pages.conftest import Pages, write
from worker.ledger.database import Ledger
from worker.ledger.reports import sales_by_day, tallies
from worker.ledger.reports.sales_by_day import Sale
from worker.ledger.reports.tallies import Entry
from worker.ledger.setup.integrations import Integration
from worker.ledger.upkeep import counter_rows


def done(pages: Pages, path: str = "/first-steps") -> list[str]:
    found = re.findall(r'class="done"><a href="[^"]*">([^<]+)<', pages.get(path))
    return [name.split()[0] for name in found]


def count(ledger: Ledger, number: int, name: str, outcome: str, at: float) -> None:
    with ledger.write() as connection:
        tallies.append_tallies(connection, Counter({Entry("src_shop", number, name, outcome): 1}), at)


def test_the_steps_are_done_one_by_one_and_leave_the_overview_at_the_end(
    pages: Pages, api: Api, ledger: Ledger
) -> None:
    assert done(pages, "/") == []
    api.make("/v1/admin/sources", {"id": "src_servers", "name": "Servers", "domains": []})
    assert done(pages, "/") == ["Add"]
    assert "Setup: 1 of 7 steps done" in pages.get("/")
    api.change("/v1/admin/sources/src_servers", {"domains": ["shop.example.com"]})
    assert done(pages, "/") == ["Add", "Enter"]


def test_all_steps_done_are_still_on_their_own_page(pages: Pages, shop: Integration, ledger: Ledger) -> None:
    now = time.time()
    count(ledger, 0, "page_visit", tallies.MAPPED, now)
    write(ledger, shop, "e1", consent="granted")
    count(ledger, shop.number, "page_visit", tallies.TESTED, now)
    assert done(pages, "/") == ["Add", "Enter", "Put", "Connect", "Add", "Send"]
    with ledger.write() as connection:
        sales_by_day.append_sales(connection, [(shop.number, "checkout", Sale(int(now // 86_400), "EUR", 5))])
    assert "steps done" not in pages.get("/")
    assert len(done(pages)) == 7


def test_a_source_shows_what_came_in_and_when_also_after_its_counts_were_folded(
    pages: Pages, shop: Integration, ledger: Ledger
) -> None:
    assert "Nothing was received yet." in pages.get("/sources/src_shop/seen")
    hour = time.time() // 3_600 * 3_600
    for at in (hour + 60, hour + 62, hour + 61):
        count(ledger, 0, "page_visit", tallies.MAPPED, at)
    count(ledger, 0, "checkout", tallies.WITHOUT_DESTINATION, hour - 7_200)
    with ledger.write() as connection:
        assert counter_rows.fold_counters(connection, "tally") == 2
    page = pages.get("/sources/src_shop/seen")
    shown = [time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at)) for at in (hour + 62, hour - 7_200)]
    assert re.findall(r"<b>([^<]+)</b> <time[^>]*>([^<]+)</time>", page) == [
        ("page view", shown[0]),
        ("order", shown[1]),
    ]
    assert "Not received in the last 30 days: cart." in page
    assert "page view" in pages.get("/sources/src_shop")
