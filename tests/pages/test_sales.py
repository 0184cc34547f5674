"""The sales of each day, to compare with the shop's own books."""

import time

import pytest

from tests.api.conftest import Api
from tests.ledger.shop import place
from tests.pages.conftest import ACCOUNT, Pages
from worker.ledger.database import Ledger
from worker.ledger.reports import sales_by_day
from worker.ledger.reports.sales_by_day import Sale
from worker.ledger.setup.integrations import Integration

TODAY = int(time.time() // 86_400)


@pytest.fixture
def sold(ledger: Ledger, shop: Integration) -> None:
    with ledger.write() as connection:
        orders = [("checkout", Sale(TODAY, "USD", 129_990)), ("checkout", Sale(TODAY, "KWD", 1_234))]
        views = [("page_visit", Sale(TODAY)), ("page_visit", Sale(TODAY - 20))]
        sales_by_day.append_sales(connection, [(shop.number, *one) for one in (*orders * 2, *views)])


@pytest.mark.usefixtures("sold")
def test_count_and_value_stand_by_day_name_and_currency(pages: Pages) -> None:
    page = " ".join(pages.get("/sales").split())

    assert (
        f'<th scope="row" class="nowrap">{time.strftime("%Y-%m-%d", time.gmtime(TODAY * 86_400))}</th>'
        in page
    )
    usd = '<td data-of="Delivered" class="number">2</td> <td data-of="Value" class="number">259.98</td>'
    assert f'{usd} <td data-of="Currency">USD</td>' in page
    assert '<td data-of="Value" class="number">2.468</td> <td data-of="Currency">KWD</td>' in page
    assert '<td data-of="Value" class="number"></td> <td data-of="Currency"></td>' in page


@pytest.mark.usefixtures("sold")
def test_choices_narrow_the_books(pages: Pages) -> None:
    assert pages.get("/sales?span=7d").count('<th scope="row" class="nowrap">20') == 3
    assert pages.get("/sales?event_name=checkout").count('<th scope="row" class="nowrap">20') == 2
    assert pages.get("/sales?source_id=src_shop").count('<th scope="row" class="nowrap">20') == 4
    assert "Nothing was delivered in the last 30 days for this selection." in pages.get(
        "/sales?source_id=src_x"
    )


@pytest.mark.usefixtures("sold")
def test_a_spreadsheet_gets_the_same(pages: Pages) -> None:
    lines = pages.get("/sales/export?event_name=checkout").splitlines()

    date = time.strftime("%Y-%m-%d", time.gmtime(TODAY * 86_400))
    assert lines == [
        "day,event_name,currency,delivered,value,ad_account_id,ad_account_name",
        f"{date},checkout,KWD,2,2.468,{ACCOUNT},Pinterest",
        f"{date},checkout,USD,2,259.98,{ACCOUNT},Pinterest",
    ]


def test_large_values_are_grouped_for_people_and_not_for_spreadsheets(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    with ledger.write() as connection:
        sales_by_day.append_sales(connection, [(shop.number, "checkout", Sale(TODAY, "USD", 1_234_567_890))])

    assert '<td data-of="Value" class="number">1,234,567.89</td>' in pages.get("/sales")
    assert ",1,1234567.89" in pages.get("/sales/export")


def test_the_page_says_where_its_days_begin(
    pages: Pages, ledger: Ledger, api: Api, shop: Integration
) -> None:
    with ledger.write() as connection:
        sales_by_day.append_sales(connection, [(shop.number, "checkout", Sale(TODAY, "USD", 1))])
    order = {"order_id": "A-1", "timestamp": time.time(), "total": 9.99, "currency": "EUR"}
    api.call("POST", "/v1/admin/orders", {"source_id": "src_shop", "orders": [order]})
    for path in ("/sales", "/orders"):
        assert "Days begin at midnight in UTC." in pages.get(path)
    api.change("/v1/admin/sources/src_shop", {"time_zone": "Europe/Berlin"})

    for path in ("/sales", "/orders"):
        assert "Days begin at midnight in Europe/Berlin." in pages.get(path)


def test_refunds_are_shown_with_a_minus_and_the_net_next_to_them(
    pages: Pages, ledger: Ledger, shop: Integration
) -> None:
    with ledger.write() as connection:
        sold = [
            ("checkout", Sale(TODAY, "USD", 100_000)),
            ("refund", Sale(TODAY, "USD", 30_500)),
            ("refund", Sale(TODAY, "EUR", 5_000)),
        ]
        sales_by_day.append_sales(connection, [(shop.number, *one) for one in sold])
    lines = [
        line.split(",", 1)[1].removesuffix(f",{ACCOUNT},Pinterest")
        for line in pages.get("/sales/export").splitlines()[1:]
    ]
    assert lines == [
        "checkout,USD,1,100.00",
        "refund,EUR,1,-5.00",
        "net,EUR,0,-5.00",
        "refund,USD,1,-30.50",
        "net,USD,1,69.50",
    ]
    assert ">69.50</td>" in pages.get("/sales")


def test_an_order_of_two_ad_accounts_is_shown_for_each_and_added_up_for_neither(
    pages: Pages, ledger: Ledger, api: Api, shop: Integration
) -> None:
    other = place(ledger, "src_shop", "42")
    with ledger.write() as connection:
        orders = [Sale(TODAY, "USD", 10_000), Sale(TODAY - 1, "USD", 5_000)]
        sales_by_day.append_sales(
            connection,
            [(number, "checkout", one) for number in (shop.number, other.number) for one in orders],
        )
    page = " ".join(pages.get("/sales").split())
    total = 'All days</th> <td data-of="Event">checkout</td> <td data-of="Delivered" class="number">2</td>'
    assert page.count(total) == 2
    assert page.count(">15.00</td>") == 2
    assert "30.00" not in page
    assert "Orders a day, in the ad account with the most orders" in page
    own = pages.get("/sales?ad_account_id=42")
    assert own.count("All days</th>") == 1
    assert f"({ACCOUNT})</td>" not in own
