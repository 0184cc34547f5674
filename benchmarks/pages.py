"""Row "pages": how long each page of the Management UI takes with a million deliveries, a tenth of them orders."""

import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from flask.testing import FlaskClient
from sqlalchemy import text

from benchmarks import history
from benchmarks.growth import POSTGRESQL
from benchmarks.publish import answers
from benchmarks.results import Goal, Result, number
from worker.ledger.database import Ledger
from worker.ledger.schema import BatchStatus, State, delivery, shop_order
from worker.ledger.setup.integrations import Integration
from worker.pipeline.upkeep import purging
from worker.settings import parse
from worker.web.management import create_app

SIZE, ROUNDS, GOAL_MS = 1_000_000, 5, 300
_DAYS, _TOKEN = 30, "the-token-of-the-benchmark"
_EVENTS_A_BATCH = 100
# Of those with a choice: the largest, and those that look for rare orders.
_MORE = (
    "/orders?days=30",
    "/orders?days=92",
    "/orders?days=30&fate=failed",
    "/orders?days=30&fate=never_arrived",
    "/orders?days=30&fate=not_sent",
    "/orders?days=30&source_id=src_bench",
    "/sales?span=1y",
    "/?span=30d",
    "/search?q=event-0000000000000010",
    # It finds nothing, so it reads the newest 100,000 deliveries.
    "/search?q=ORD-1",
    "/failed/review?reason_class=missing_value&action=retry",
    "/sources/src_bench",
    "/integrations/int_bench",
)
# What the two databases say differently.
_SQLITE = {
    "numbers": "WITH RECURSIVE series(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM series WHERE i + 1 < :n)",
    "name": "printf('event-%016d', i)",
    "key": "CAST(printf('%016d', i) AS BLOB)",
    "payload": f"randomblob({history.PAYLOAD_BYTES})",
    "day": "CAST((:began + i * :step) / 86400 AS INTEGER)",
}
_POSTGRESQL = {
    "numbers": "WITH series(i) AS (SELECT generate_series(0, CAST(:n AS integer) - 1))",
    "name": "'event-' || lpad(CAST(i AS text), 16, '0')",
    "key": "convert_to(lpad(CAST(i AS text), 16, '0'), 'UTF8')",
    "payload": f"decode(repeat(md5(CAST(i AS text)), {history.PAYLOAD_BYTES // 16}), 'hex')",
    "day": "CAST(floor((:began + i * :step) / 86400) AS integer)",
}
_BATCHES = """
%(numbers)s INSERT INTO batch (ad_account, credential_id, test, offline, events, status, attempt,
    attempts_spent, unreadable_answers, not_before, hinted_at, created_at, first_tried_at, settled_at)
SELECT :account, :credential, false, false, :per_batch, :settled, 1, 0, 0, t, t, t, t, t
FROM (SELECT :began + i * :step * :per_batch AS t FROM series) AS times
"""
# Every tenth is an order. Of a hundred orders, ten are filtered, two failed, and one waits if it is of the last hour.
_DELIVERIES = """
%(numbers)s INSERT INTO delivery (integration_id, ad_account, test, offline, event_id, event_name, source_name,
    event_time, accepted_at, payload, size_bytes, state, batch_id, reason_class, reason, ended_at, order_key,
    day, currency, value_thousandths)
SELECT :integration, :account, false, false, %(name)s,
    CASE WHEN i %% 10 = 0 THEN 'checkout' ELSE 'page_visit' END,
    CASE WHEN i %% 10 = 0 THEN 'Order Completed' ELSE 'Page Viewed' END,
    CAST(:began + i * :step AS bigint), :began + i * :step, %(payload)s, 1100,
    CASE WHEN i %% 100 = 0 THEN :filtered WHEN i %% 1000 IN (10, 510) THEN :failed ELSE :open END,
    CASE WHEN i %% 100 = 0 OR i > :n - :pending THEN NULL ELSE 1 + i / :per_batch END,
    CASE WHEN i %% 100 = 0 THEN 'consent' WHEN i %% 1000 IN (10, 510) THEN 'missing_value' END,
    CASE WHEN i %% 100 = 0 THEN 'Consent is missing.' WHEN i %% 1000 IN (10, 510) THEN 'No value.' END,
    CASE WHEN i %% 100 = 0 OR i %% 1000 IN (10, 510) THEN :began + i * :step END,
    CASE WHEN i %% 10 = 0 THEN %(key)s END, %(day)s, 'EUR', 25000 FROM series
"""
# One in a hundred never arrived: its number is of no delivery of an order.
_ORDERS = """
%(numbers)s INSERT INTO shop_order (source_id, order_key, sealed_id, ordered_at, day, currency,
    value_thousandths, recorded_at)
SELECT 'src_bench', %(key)s, :sealed, :began + i * :step, %(day)s, 'EUR', 25000, :began + i * :step FROM series
WHERE i %% 10 = 0 OR i %% 1000 = 5
"""
_TALLIES = """
%(numbers)s, kinds(k) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11))
INSERT INTO tally (hour, source_id, integration_id, event_name, outcome, n, last_at)
SELECT CAST(:began / 3600 AS integer) + i, 'src_bench', CASE WHEN k < 4 THEN 0 ELSE :integration END, 'name ' || k,
    CASE WHEN k < 4 THEN 'mapped' WHEN k < 8 THEN 'quality:em' ELSE 'delivered' END, 1000, :began + i * 3600
FROM series, kinds
"""
_ROLLUPS = """
%(numbers)s, kinds(k) AS (VALUES (0), (1), (2), (3), (4), (5), (6), (7))
INSERT INTO rollup (minute, integration_id, what, n)
SELECT CAST(:now / 60 AS integer) - CASE WHEN i < 1440 THEN i ELSE (i - 1400) * 60 END, :integration,
    CASE k WHEN 0 THEN 'delivered' WHEN 1 THEN 'failed' WHEN 2 THEN 'filtered' ELSE 'within:' || k END, 20
FROM series, kinds
"""


def run(quick: bool = False) -> list[Result]:
    """Time every page on both databases."""
    size = 20_000 if quick else SIZE
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        rows = [_measure("SQLite", lambda: history.sqlite(Path(folder)), size)]
    if answers(POSTGRESQL.replace("+psycopg", "")):
        return [*rows, _measure("PostgreSQL", lambda: history.postgresql(POSTGRESQL), size)]
    print(f"  PostgreSQL: does not answer at {urlsplit(POSTGRESQL).hostname}, so nothing was measured")
    return rows


def _measure(name: str, lend: Callable[[], AbstractContextManager[Ledger]], size: int) -> Result:
    with lend() as ledger:
        _lay_down(ledger, history.shop(ledger), size)
        start = time.perf_counter()
        days = purging.sum_order_days(ledger, ledger.now())
        upkeep = time.perf_counter() - start
        times = _time_pages(ledger)
    files = {path: times.pop(path) for path in list(times) if path.endswith("/export")}
    for path, milliseconds in sorted({**times, **files}.items(), key=lambda pair: -pair[1]):
        print(f"  {name}: {number(milliseconds):>6} ms  {path}")
    slowest = max(times, key=times.__getitem__)
    note = (
        f"the slowest of {len(times)} pages is {slowest}; the slowest file takes {number(max(files.values()))} ms; "
        f"upkeep summed up {days} days of orders in {upkeep:.1f} s"
    )
    goal = Goal(f"every page within {GOAL_MS} ms", GOAL_MS, times[slowest], at_most=True)
    others = {"median page": median(times.values())}
    return Result(
        "pages",
        f"{name}, {size:,} deliveries",
        "ms, the slowest page",
        times[slowest],
        others,
        (goal,),
        notes=(note,),
    )


def _time_pages(ledger: Ledger) -> dict[str, float]:
    """Return the median milliseconds of each page, the first call left out."""
    keys = ("ENCRYPTION_KEY", "FLOWER_BASIC_AUTH", "FLOWER_COOKIE_SECRET")
    values = (history.KEY, "flower:password", "cookie")
    app = create_app(ledger, parse({"ADMIN_TOKEN": _TOKEN} | dict(zip(keys, values, strict=True))))
    client = app.test_client()
    client.get("/sign-in")
    cookie = client.get_cookie("signal_form")
    assert cookie
    client.post("/sign-in", data={"csrf": cookie.value, "token": _TOKEN})
    paths = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("ui.") and "GET" in (rule.methods or ()) and not rule.arguments
    ]
    times = {path: _time(client, path) for path in (*paths, *_MORE)}
    return {path: seconds * 1_000 for path, seconds in times.items() if seconds is not None}


def _time(client: FlaskClient, path: str) -> float | None:
    """Return the median seconds of a page, or None if it only redirects or needs parameters."""
    if client.get(path).status_code != 200:
        return None
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        client.get(path).get_data()
        times.append(time.perf_counter() - start)
    return median(times)


def _lay_down(ledger: Ledger, place: Integration, size: int) -> None:
    """Add deliveries over 30 days until now, the shop's orders, and what counts them."""
    now = ledger.now()
    ledger.vault.prepare()
    values: Mapping[str, Any] = {
        "began": now - _DAYS * 86_400,
        "now": now,
        "step": _DAYS * 86_400 / size,
        "account": place.ad_account,
        "credential": place.credential_id,
        "integration": place.number,
        "open": State.OPEN.value,
        "failed": State.FAILED.value,
        "filtered": State.FILTERED.value,
        "settled": BatchStatus.SETTLED.value,
        "per_batch": _EVENTS_A_BATCH,
        "pending": min(1_000, size // 100),
    }
    with ledger.write() as connection:
        if not ledger.is_sqlite:
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        sealed = ledger.vault.seal(b"ORD-1", b"shop order")
        indexes = [index for table in (delivery, shop_order) for index in table.indexes]
        for index in indexes:
            index.drop(connection)
        for template, n in (
            (_BATCHES, size // _EVENTS_A_BATCH),
            (_DELIVERIES, size),
            (_ORDERS, size),
            (_TALLIES, _DAYS * 24),
            (_ROLLUPS, 1_440 + 24 * _DAYS),
        ):
            statement = template % (_SQLITE if ledger.is_sqlite else _POSTGRESQL)
            parameters = {
                name: value for name, value in {**values, "sealed": sealed}.items() if f":{name}" in statement
            }
            connection.execute(text(statement), parameters | {"n": n})
        for index in indexes:
            index.create(connection)
    history.come_to_rest(ledger)
