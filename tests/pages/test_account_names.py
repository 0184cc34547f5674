"""Every page names an ad account alike: its name, with its id."""

import time

import pytest

from tests.api.conftest import Api
from tests.pages.conftest import ACCOUNT, Pages, fail
from worker.ledger.database import Ledger
from worker.ledger.reports import sales_by_day
from worker.ledger.reports.sales_by_day import Sale
from worker.ledger.setup import integrations, pinterest_connections
from worker.ledger.setup.integrations import Integration
from worker.pages import words

NAMED = f"Pinterest ({ACCOUNT})"


@pytest.fixture
def _busy(ledger: Ledger, api: Api, shop: Integration) -> None:
    """Fail a delivery, sell something and report an order that never arrived."""
    fail(ledger, shop, "e1")
    with ledger.write() as connection:
        sold = Sale(int(time.time() // 86_400), "USD", 129_990)
        sales_by_day.append_sales(connection, [(shop.number, "checkout", sold)])
    order = {"order_id": "A-1", "timestamp": time.time(), "total": 9.99, "currency": "EUR"}
    answer = api.call("POST", "/v1/admin/orders", {"source_id": "src_shop", "orders": [order]})
    assert answer.status_code == 200, answer.text


@pytest.mark.usefixtures("_busy")
@pytest.mark.parametrize(
    ("path", "times"),
    [
        ("/", 1),
        (f"/?account={ACCOUNT}", 2),
        ("/failed", 1),
        (f"/failed?ad_account_id={ACCOUNT}", 2),
        ("/events", 1),
        ("/events/1", 1),
        ("/search?q=e1", 1),
        ("/orders", 2),
        # In the filter, in the line of the day and in the sum.
        ("/sales", 3),
        ("/integrations", 1),
    ],
)
def test_a_page_names_the_ad_account(pages: Pages, path: str, times: int) -> None:
    assert pages.get(path).count(NAMED) == times


@pytest.mark.usefixtures("_busy")
def test_an_integrations_pages_name_its_ad_account(pages: Pages, shop: Integration) -> None:
    for path in ("", "/delete"):
        assert NAMED in pages.get(f"/integrations/{shop.id}{path}")


@pytest.mark.usefixtures("_busy")
def test_an_export_of_missing_orders_has_the_name_in_a_column(pages: Pages) -> None:
    header, line = pages.get("/orders/export").splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True))["ad_account_name"] == "Pinterest"


def test_the_name_at_pinterest_comes_before_those_of_the_integrations(
    ledger: Ledger, api: Api, shop: Integration
) -> None:
    api.make("/v1/admin/sources", {"id": "src_b", "name": "B", "domain": "b.example.com"})
    config = {"ad_account_id": ACCOUNT, "access_token": "another"}
    made = {"source_id": "src_b", "vendor": "pinterest", "name": "Second", "config": config}
    api.make("/v1/admin/integrations", made)
    with ledger.write() as connection:
        assert integrations.account_names(connection) == {ACCOUNT: "Pinterest, Second"}
        facts = {"name": "Shoes <b>", "country": "DE", "currency": "EUR", "time_zone": "Europe/Berlin"}
        pinterest_connections.attach_reading(connection, shop.ad_account, 1, 1.0, **facts)
    with ledger.read() as connection:
        assert integrations.account_names(connection) == {ACCOUNT: "Shoes <b>"}


def test_a_name_is_no_markup_and_a_deleted_integration_leaves_the_id(
    pages: Pages, ledger: Ledger, api: Api, shop: Integration
) -> None:
    fail(ledger, shop, "e1")
    api.change(f"/v1/admin/integrations/{shop.id}", {"name": "<i>50 % & \u202eüü 🛍"})
    assert "&lt;i&gt;50 % &amp; \u202eüü 🛍" in pages.get("/failed")
    with ledger.write() as connection:
        integrations.remove_integration(connection, shop.number)
    assert f'<td data-of="Ad account">{ACCOUNT}</td>' in pages.get("/failed")


@pytest.mark.parametrize(
    ("names", "given", "shown"),
    [
        ({"1": "Shop"}, "1", "Shop (1)"),
        ({"1": "Shop"}, "2", "2"),
        ({"1": "1"}, "1", "1"),
        ({}, None, "none"),
        ({}, "", "none"),
        ({"1": "x" * 61}, "1", "x" * 60 + "… (1)"),
    ],
)
def test_an_id_is_written_with_its_name(names: dict[str, str], given: str | None, shown: str) -> None:
    assert words.with_id(names, given) == shown
