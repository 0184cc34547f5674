"""The overview and its figures."""

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete

from tests.ledger.shop import accept
from tests.pages.conftest import ACCOUNT, Pages, fail, write
from worker.alerts import rules
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.reports.tallies import SECONDS_PER_HOUR, Entry
from worker.ledger.schema import delivery
from worker.ledger.setup import ad_accounts
from worker.ledger.setup.integrations import Integration
from worker.ledger.setup.sources import Source
from worker.ledger.upkeep import alerts
from worker.ledger.upkeep.alerts import Alert, Severity
from worker.operations.reports import overview
from worker.operations.reports.overview import Span
from worker.pages.routes.overview import _SPANS


def figure(page: str, name: str) -> str:
    return page.partition(f"<dt>{name}</dt><dd>")[2].partition("</dd>")[0]


def count(ledger: Ledger, where: Integration, at: float, **outcomes: int) -> None:
    with ledger.write() as connection:
        counts = Counter(
            {Entry("src_shop", where.number, "checkout", what): n for what, n in outcomes.items()}
        )
        tallies.append_tallies(connection, counts, at)


def test_an_empty_site_says_what_to_do_first(pages: Pages) -> None:
    page = pages.get("/")

    assert "Nothing is set up yet." in page
    assert '<a href="/sources">Add a source</a>' in page


def test_an_empty_site_offers_viewers_nothing_that_they_may_not_do(viewer: Pages) -> None:
    page = viewer.get("/")

    assert "Nothing is set up yet." in page
    assert 'href="/integrations/add"' not in page


def test_an_ad_account_whose_integrations_are_off_does_not_run(pages: Pages, shop: Integration) -> None:
    assert '<span class="tag good">running</span>' in pages.get("/")
    pages.send(f"/integrations/{shop.id}/enabled", {"enabled": "no"})

    page = pages.get("/")
    assert '<span class="tag">off</span>' in page
    assert "running" not in page


def test_an_ad_account_shows_what_waits_and_what_moved(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    write(ledger, shop, "e1", "e2", accepted_at=time.time() - 130)
    fail(ledger, shop, "e3")
    count(ledger, shop, time.time(), delivered=1_234, filtered=5)
    page = pages.get("/")

    assert f'Pinterest <span class="soft small">ad account {ACCOUNT}</span>' in page
    assert figure(page, "Pending") == "2"
    assert figure(page, "In flight") == "0"
    assert figure(page, "Delivered") == "1,234"
    assert figure(page, "Filtered") == "5"
    assert "<dt>Oldest waiting</dt><dd>2 minutes</dd>" in page
    assert "0.00 of 70 requests a second in the last minute; burst of 140" in page
    assert f'<a href="/failed?ad_account_id={ACCOUNT}">1</a>' in page


def test_the_part_that_refreshes_is_no_whole_page(pages: Pages, shop: Integration) -> None:
    part = pages.get("/overview/figures?span=7d")

    assert "<html" not in part
    assert "Deliveries, last 7 days" in part


@pytest.mark.parametrize("key", list(_SPANS))
def test_every_length_of_time_is_drawn(pages: Pages, ledger: Ledger, shop: Integration, key: str) -> None:
    fail(ledger, shop, "e1", "e2")

    page = pages.get(f"/?span={key}")
    assert "failed: 2" in page
    assert '<rect class="failed"' in page


def test_counts_of_long_ago_are_not_of_now(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    count(ledger, shop, time.time() - 3 * 86_400, delivered=7)

    assert figure(pages.get("/?span=24h"), "Delivered") == "0"
    assert figure(pages.get("/?span=7d"), "Delivered") == "7"
    assert "delivered: 7" in pages.get("/?span=30d")


def test_charts_outlive_the_events(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2")
    with ledger.write() as connection:
        connection.execute(delete(delivery))

    assert all("failed: 2" in pages.get(f"/?span={key}") for key in _SPANS)


def test_latency_is_drawn_and_said_in_words(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    with ledger.write() as connection:
        took = {tallies.latency_step(2): 60, tallies.latency_step(300): 40}
        tallies._append_rollups(
            connection, Counter({(shop.number, what): n for what, n in took.items()}), time.time()
        )
    page = pages.get("/?span=1h")

    assert "median</abbr> 2 s" in page
    assert "p95</abbr> 5 min" in page
    assert '<rect class="half"' in page
    assert '<rect class="most"' in page


def test_charts_of_one_ad_account_leave_the_others_out(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    count(ledger, shop, time.time(), delivered=3)
    count(ledger, replace(shop, number=shop.number + 1), time.time(), delivered=4)

    assert "delivered: 7" in pages.get("/")
    assert "delivered: 3" in pages.get(f"/?account={ACCOUNT}")


def test_the_rate_stands_beside_its_limit_and_the_breaker_says_how_it_is(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    with ledger.write() as connection:
        for _ in range(30):
            ad_accounts.take_token(connection, shop.ad_account, time.time())
    page = pages.get("/")

    assert "0.50 of 70 requests a second in the last minute" in page
    assert "closed: sending continues" in page
    with ledger.write() as connection:
        ad_accounts.set_breaker(connection, shop.credential_id, 5, time.time() + 60)
    assert "open: sending is paused" in pages.get("/")


def test_an_inbox_that_nobody_works_on_is_told(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    accept(ledger, [{"type": "page"}], received_at=time.time() - 130)

    assert "Events have waited to be mapped for 2 minutes." in pages.get("/")


@pytest.mark.parametrize(
    ("counts", "median", "p95"),
    [
        ({}, 0.0, 0.0),
        ({"within:2": 1}, 2, 2),
        ({"within:0.5": 50, "within:2": 45, "within:30": 5}, 0.5, 2),
        ({"within:0.5": 49, "within:2": 45, "within:30": 6}, 2, 30),
    ],
)
def test_median_and_p95_are_upper_bounds(counts: dict[str, int], median: float, p95: float) -> None:
    latency = overview._latency_of(0.0, Counter(counts))

    assert (latency.median, latency.p95) == (median, p95)


def test_steps_end_now_and_begin_at_round_times() -> None:
    now = 100 * SECONDS_PER_HOUR + 1.0

    assert Span("", "", 3, SECONDS_PER_HOUR).starts(now) == [
        98.0 * SECONDS_PER_HOUR,
        99.0 * SECONDS_PER_HOUR,
        100.0 * SECONDS_PER_HOUR,
    ]


@pytest.mark.parametrize(("span", "days"), [("1h", 0), ("24h", 0), ("7d", 0), ("30d", 1)])
def test_a_chart_of_days_says_that_they_are_in_utc(
    pages: Pages, shop: Integration, span: str, days: int
) -> None:
    assert pages.get(f"/?span={span}").count("Days begin at midnight in UTC.") == days


def test_what_needs_attention_comes_first(pages: Pages, ledger: Ledger, shop: Integration) -> None:
    fail(ledger, shop, "e1", "e2")
    fail(ledger, shop, "e3", reason_class="refused")
    with ledger.write() as connection:
        ad_accounts.pause_credential(connection, shop.credential_id, "by_hand", "", "kim", time.time())
        alert = Alert(
            "clock_differs", "h", Severity.WARNING, f"ad account {ACCOUNT} of src_shop", 1.0, 1.0, 1.0
        )
        alerts.save_alert(connection, alert)
    pages.send(
        "/failed/mark",
        {"ad_account_id": ACCOUNT, "event_name": "checkout", "reason_class": "refused", "state": "ignored"},
    )
    section = pages.get("/").partition("Needs attention")[2].partition("</section>")[0]

    assert f"<strong>ad account Pinterest ({ACCOUNT}) of Shop</strong>" in section
    assert f"Pinterest ({ACCOUNT})</a> is paused.</strong>" in section
    assert "Shop</a> has sent no event in the last month." in section
    assert "Value is missing" in section
    assert "Pinterest refused the event" not in section


def test_a_quiet_site_says_that_nothing_needs_attention(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    with ledger.write() as connection:
        counts = Counter({Entry("src_shop", 0, "checkout", tallies.ACCEPTED): 1})
        tallies.append_tallies(connection, counts, time.time())

    assert "Nothing needs attention" in pages.get("/")


@pytest.mark.parametrize(
    ("took", "later", "reads"),
    [(0.0, 0.0, 2), (0.2, 0.0, 2), (0.5, 9.9, 1), (0.5, 10.1, 2), (3.0, 59.0, 1), (3.0, 61.0, 2)],
)
def test_a_slow_answer_is_kept_twenty_times_as_long_as_it_took(took: float, later: float, reads: int) -> None:
    at, numbers = [1_000.0], iter(range(9))

    def read() -> int:
        at[0] += took
        return next(numbers)

    answer = overview._SlowAnswer[int](lambda: at[0])
    assert answer.get(read) == 0
    at[0] += later
    assert answer.get(read) == reads - 1


@pytest.mark.parametrize(
    ("last_hour", "silent_hours", "silent"),
    [(None, 24, True), (976, 24, False), (975, 24, True), (1, 0, False)],
)
def test_a_source_is_silent_beyond_its_threshold(
    last_hour: int | None, silent_hours: int, silent: bool
) -> None:
    shop = source_with({"alert_thresholds": {"silent_hours": silent_hours}})

    assert bool(overview._silence_of(shop, last_hour, 1_000)) is silent


def source_with(options: dict[str, Any]) -> Source:
    return Source("src_shop", "Shop", (), 0.0, 0.0, options)


def test_a_period_is_compared_with_the_one_before_up_to_the_same_time(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    now = time.time()
    count(ledger, shop, now, delivered=3)
    count(ledger, shop, now - 86_400 - 120, delivered=2)
    # Later than now, a day before.
    count(ledger, shop, now - 86_400 + 120, delivered=100)
    page = pages.get("/?span=1h")
    assert "the changes compare with these" not in page
    page = pages.get("/?span=24h")

    late_in_the_hour = 'delivered: 103 <span class="soft">+5,050 %</span>'
    assert 'delivered: 3 <span class="soft">+50 %</span>' in page or late_in_the_hour in page


def test_the_page_that_an_alert_names_answers(pages: Pages, shop: Integration) -> None:
    subjects = {"token_expiring": shop.id, "volume_dropped": f"{shop.id}:checkout"}
    of_sources = ("inbox_near_bound", "source_silent", "filtered_rate", "success_rate", "order_accuracy")
    subjects |= dict.fromkeys(of_sources, shop.source_id) | {"data_quality": f"{shop.source_id}:list_cut"}
    for rule in [*rules.RULES, *rules.SOURCE_RULES, rules.VOLUME_RULE, rules.DATA_RULE, rules.LEDGER_RULE]:
        path = rules.page_path(rule, subjects.get(rule, ACCOUNT))
        assert pages.client.get(path.partition("#")[0]).status_code == 200, rule
    assert f'id="account-{ACCOUNT}"' in pages.get("/")
    assert rules.page_path("token_refused", ACCOUNT) == f"/#account-{ACCOUNT}"


def test_the_overview_says_that_alerts_cannot_be_sent(
    pages: Pages, shop: Integration, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Alerts cannot be sent" not in pages.get("/")
    monkeypatch.setattr(alerts, "unsent_since", lambda connection, now: {"mail": now, "chat": now})
    page = pages.get("/")
    assert "Needs attention" in page
    assert "Alerts cannot be sent by e-mail." in page
    assert "Alerts cannot be sent to the chat." in page
