"""A source's data quality is the same from API, page and command line, from the collector on."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from tests.ledger.shop import new, write
from tests.operations.surfaces import World
from worker.collector.wsgi import create_app
from worker.event.problems import FoundProblem, Problem
from worker.ledger.delivery.find_deliveries import find_after
from worker.ledger.reports import data_problems, tallies
from worker.ledger.schema import inbox
from worker.ledger.setup import integrations
from worker.pipeline.ingest.ingest_bulk import ingest
from worker.settings import parse

PATH = "/v1/admin/sources/src_shop/data-quality"
PRODUCTS = [{"product_id": "A", "price": 5, "quantity": 1}]
ORDER = {"order_id": "1", "total": 5, "currency": "EUR", "products": PRODUCTS}


class Shop:
    """Send events to the collector, and let a worker map them."""

    def __init__(self, world: World) -> None:
        self.world = world
        secrets = {"ADMIN_TOKEN": "t" * 20, "FLOWER_COOKIE_SECRET": "t" * 20, "FLOWER_BASIC_AUTH": "a:b"}
        app = create_app(world.ledger, parse({"ENCRYPTION_KEY": "ab" * 32} | secrets), offer=len)
        self.client = app.test_client(use_cookies=False)
        self.key = world.api.get("/v1/admin/sources/src_shop")["pipeline_key"]

    def track(self, name: str, properties: dict[str, Any], ip: str = "8.8.8.8", **fields: Any) -> None:
        event = {"event": name, "properties": properties, "context": {"consent": {"advertising": True}}}
        headers = {"Authorization": f"Bearer {self.key}", "User-Agent": "Mozilla/5.0"}
        answer = self.client.post(
            "/v1/t", json=event | fields, headers=headers, environ_base={"REMOTE_ADDR": ip}
        )
        assert answer.status_code == 200, answer.text
        with self.world.ledger.read() as connection:
            ids = list(connection.scalars(select(inbox.c.id)))
        ingest(self.world.ledger, ids)


@pytest.fixture
def shop(make_world: Callable[[], World]) -> Shop:
    return Shop(make_world())


def problems(world: World) -> dict[str, Any]:
    return {row["problem"]: row for row in world.api.get(PATH)["data"]}


def note(world: World, problem: FoundProblem, name: str = "Bestellung", mapped: int = 1) -> None:
    """Record an event with a problem, as ingest does."""
    with world.ledger.read() as connection:
        (where,) = integrations.integrations_of_source(connection, "src_shop")
    event = new(
        world.ledger,
        where,
        f"{name} {time.time()}",
        source_name=name,
        event_name="custom",
        problems=(problem,),
    )
    write(world.ledger, [event], now := time.time())
    with world.ledger.write() as connection:
        entry = tallies.Entry("src_shop", 0, "custom", tallies.MAPPED)
        tallies.append_tallies(connection, tallies.Counter({entry: mapped}), now)
        data_problems.append_problems(connection, [[event]], now)


def test_an_unreadable_currency_goes_from_the_collector_to_every_surface(shop: Shop) -> None:
    shop.track("Order Completed", ORDER)
    shop.track("Order Completed", ORDER | {"order_id": "2", "currency": "xyzzy"}, messageId="bad")
    world = shop.world
    answer = world.api.get(PATH)
    row = problems(world)["currency_unreadable"]
    with world.ledger.read() as connection:
        (bad,) = (one for one in find_after(connection, 0, 9) if one.event_id == "bad")

    assert answer["source_id"] == "src_shop"
    assert answer["events"] == {"24h": 2, "7d": 2, "30d": 2}
    assert row["title"] == "Currency not readable"
    assert row["spans"] == {key: {"n": 1, "events": 2, "share": 0.5} for key in ("24h", "7d", "30d")}
    most = {"event_name": "checkout", "n": 1, "events": 2, "share": 0.5}
    assert row["most_affected"]["24h"] == most
    (example,) = row["examples"]
    assert (example["event_name"], example["delivery_id"]) == ("Order Completed", bad.id)
    assert "xyzzy" not in str(answer)

    page = world.pages.get("/data-quality?source_id=src_shop")
    assert "Currency not readable" in page
    assert '<td class="number" data-of="Share of all">50 %</td>' in page
    assert "checkout: 50 %" in page
    assert f'href="/events/{bad.id}"' in page
    assert row["what_to_do"] in page
    assert "/data-quality?source_id=src_shop" in world.pages.get("/sources/src_shop")
    printed = world.shell("data-quality", "src_shop")
    assert "currency_unreadable: Currency not readable" in printed
    assert "24h  1 of 2 events (50 %), most affected checkout: 50 %" in printed
    assert f"delivery {bad.id}" in printed


def test_an_invalid_quantity_is_counted_even_if_the_event_fails(shop: Shop) -> None:
    product = {"product_id": "A", "price": 5, "quantity": "many"}
    shop.track("Order Completed", {"order_id": "3", "currency": "EUR", "total": 5, "products": [product]})
    old = {"timestamp": "2020-01-01T00:00:00Z", "messageId": "old"}
    shop.track("Order Completed", {"total": 5, "currency": "EUR", "products": [product]}, **old)
    assert problems(shop.world)["quantity_unreadable"]["spans"]["24h"]["n"] == 2


def test_a_source_without_problems_says_so(shop: Shop) -> None:
    shop.track("Order Completed", ORDER)
    assert shop.world.api.get(PATH)["data"] == []
    assert "No problems in 1 event of the last 30 days." in shop.world.pages.get(
        "/data-quality?source_id=src_shop"
    )
    assert "No problems in 1 event of" in shop.world.shell("data-quality", "src_shop")
    assert shop.world.api.error("GET", "/v1/admin/sources/src_none/data-quality")[0] == 404
    shop.world.shell("data-quality", "src_none")
    assert shop.world.refused


def test_a_proxy_that_is_not_trusted_is_named(shop: Shop) -> None:
    shop.track("Order Completed", ORDER, ip="10.0.0.7")
    shop.track("Order Completed", ORDER | {"order_id": "2"}, ip="10.0.0.7")
    expected = "100 % of the events come from private addresses, like 10.0.0.7: set TRUSTED_PROXIES."
    assert problems(shop.world)["address_not_public"]["what_to_do"] == expected


def test_private_addresses_are_blamed_on_the_proxy_that_is_missing(make_world: Callable[[], World]) -> None:
    world = make_world()
    problem = Problem.ADDRESS_NOT_PUBLIC
    note(world, FoundProblem(problem, "the address is not public"), "Order")
    assert "TRUSTED_PROXIES to the addresses" in problems(world)[problem]["what_to_do"]
    note(world, FoundProblem(problem, "the address is not public", "10.0.0.7"), mapped=3)
    expected = "50 % of the events come from private addresses, like 10.0.0.7: set TRUSTED_PROXIES."
    assert problems(world)[problem]["what_to_do"] == expected
    assert expected in world.pages.get("/data-quality?source_id=src_shop")
