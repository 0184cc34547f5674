"""A source whose events fail, lack consent or stop coming is reported, with its own limits."""

import pytest

from tests.alerts.test_lifecycle_in_ledger import firing
from tests.ledger.shop import NOW, accept, new, place, write
from worker.alerts import source_rules
from worker.ledger.database import Ledger
from worker.ledger.reports import tallies
from worker.ledger.reports.shop_orders import Fate, ShopOrder, store_orders
from worker.ledger.schema import State
from worker.ledger.setup import sources
from worker.ledger.setup.sources import Source
from worker.ledger.upkeep import alerts
from worker.ledger.upkeep.alert_queries import EndedCount
from worker.ledger.upkeep.alerts import Change

HOUR = int(NOW // 3_600)
FAILED, FILTERED, DELIVERED = tallies.FAILED, tallies.FILTERED, tallies.DELIVERED


def source(**limits: float) -> Source:
    return Source("src_shop", "Shop", (), NOW, NOW, {"alert_thresholds": limits})


def ended(name: str, ago: int = 0, **outcomes: int) -> list[EndedCount]:
    return [EndedCount("src_shop", name, HOUR - ago, outcome, n) for outcome, n in outcomes.items()]


@pytest.mark.parametrize(
    ("counts", "limits", "expected"),
    [
        ([], {}, []),
        # All checkouts are refused, among many page views that arrive.
        (
            [*ended("checkout", failed=30), *ended("page_visit", delivered=9_000)],
            {},
            [
                "failure_rate critical: 30 of 30 checkout events of src_shop that ended in the last 2 hours "
                "failed (100 %)."
            ],
        ),
        # Exactly the share is not above it, and too few events are not judged.
        (ended("checkout", failed=4, delivered=16), {}, []),
        (ended("checkout", failed=4), {}, []),
        # A small shop is judged by a day; what was fixed hours ago is not reported if there is enough since then.
        (
            ended("checkout", 20, failed=2, delivered=3),
            {},
            [
                "failure_rate warning: 2 of 5 checkout events of src_shop that ended in the last 24 hours "
                "failed (40 %)."
            ],
        ),
        ([*ended("checkout", 20, failed=900), *ended("checkout", delivered=20)], {}, []),
        (ended("checkout", 24, failed=900), {}, []),
        # Limits of the source.
        (ended("checkout", failed=30), {"failure_percent": 100}, []),
        (ended("checkout", filtered=60, delivered=40), {}, []),
        (
            ended("checkout", filtered=60, delivered=40),
            {"filtered_percent": 50, "success_percent": 41},
            [
                "filtered_rate warning: 60 of 100 checkout events of src_shop that ended in the last 2 hours "
                "were filtered: consent is missing, or a crawler sent them (60 %).",
                "success_rate warning: 40 of 100 checkout events of src_shop that ended in the last 2 hours "
                "were delivered (40 %).",
            ],
        ),
    ],
    ids=range(10),
)
def test_rates_beyond_a_sources_limits_are_problems(
    counts: list[EndedCount], limits: dict[str, float], expected: list[str]
) -> None:
    found = source_rules._find_rates(counts, [source(**limits)], HOUR)
    assert [f"{one.rule} {one.severity}: {one.summary}" for one in found] == expected


@pytest.mark.parametrize(
    ("last", "limits", "is_silent"),
    [(24, {}, False), (25, {}, True), (25, {"silent_hours": 30}, False), (700, {"silent_hours": 0}, False)],
)
def test_a_source_that_sent_events_and_sends_none_is_silent(
    last: int, limits: dict[str, float], is_silent: bool
) -> None:
    found = source_rules._find_silent({"src_shop": HOUR - last}, [source(**limits)], HOUR)
    assert bool(found) is is_silent
    assert source_rules._find_silent({}, [source()], HOUR) == []


def check(ledger: Ledger, now: float) -> list[Change]:
    return source_rules.check_rates(ledger, now, to_webhook=False)


def test_refused_checkouts_are_reported_and_their_reason_as_new_once(ledger: Ledger) -> None:
    shop = place(ledger)
    accept(ledger, [{"type": "track", "event": "Order Completed"}])
    assert check(ledger, NOW) == []
    failed = {"state": State.FAILED, "reason_class": "missing_value", "reason": "A checkout needs a value."}
    write(ledger, [new(ledger, shop, f"e{n}", **failed) for n in range(5)])
    assert check(ledger, NOW) == [Change.FIRED, Change.FIRED]
    assert sorted(firing(ledger)) == [
        "failure_rate src_shop",
        "new_failure_reason src_shop:checkout:missing_value",
    ]
    # Two days later the rate is over and the reason known. The source sends nothing, which is reported.
    assert sorted(check(ledger, NOW + 2 * 86_400)) == [Change.FIRED, Change.RESOLVED, Change.RESOLVED]
    later = NOW + 3 * 86_400
    write(ledger, [new(ledger, shop, "late", accepted_at=later, **failed)], later)
    check(ledger, later)
    assert firing(ledger) == ["source_silent src_shop"]


def test_the_limits_are_read_from_the_source(ledger: Ledger) -> None:
    place(ledger)
    with ledger.write() as connection:
        known = sources.load_source(connection, "src_shop")
        assert known is not None
        known.options["alert_thresholds"] = {"silent_hours": 1}
        sources.update_source(connection, known, NOW)
    accept(ledger, [{"type": "page"}])
    assert check(ledger, NOW + 2 * 3_600) == [Change.FIRED]


@pytest.mark.parametrize(
    ("fates", "limits", "is_reported"),
    [
        ({Fate.DELIVERED: 9, Fate.FAILED: 1, Fate.FILTERED: 90}, {}, False),
        ({Fate.DELIVERED: 8, Fate.NEVER_ARRIVED: 2}, {}, True),
        ({Fate.DELIVERED: 8, Fate.NEVER_ARRIVED: 2}, {"accuracy_percent": 80}, False),
        ({Fate.NEVER_ARRIVED: 50}, {"accuracy_percent": 0}, False),
        ({Fate.NEVER_ARRIVED: 4}, {}, False),
        ({}, {}, False),
    ],
    ids=range(6),
)
def test_orders_that_do_not_arrive_are_reported(
    fates: dict[Fate, int], limits: dict[str, float], is_reported: bool
) -> None:
    found = source_rules._find_inaccurate({"src_shop": fates}, [source(**limits)])
    assert bool(found) is is_reported


def test_the_orders_of_a_day_are_compared_but_not_those_of_the_last_hour(ledger: Ledger) -> None:
    place(ledger)
    orders = [
        ShopOrder("src_shop", f"{ago}-{n}", NOW - ago, int((NOW - ago) // 86_400))
        for ago, count in ((7_200, 5), (600, 40), (100_000, 40))
        for n in range(count)
    ]
    with ledger.write() as connection:
        store_orders(connection, ledger.vault, orders, NOW)
    assert check(ledger, NOW) == [Change.FIRED]
    with ledger.read() as connection:
        (alert,) = alerts.firing_alerts(connection)
    assert alert.summary.startswith("Of 5 orders of src_shop with consent in the last day, 0 were delivered")
