"""The sales report of each day has what was delivered, to be compared with the shop's own books."""

from decimal import Decimal

from sqlalchemy import func, select

from tests.ledger.shop import NOW, place
from worker.ledger.database import Ledger
from worker.ledger.reports import sales_by_day
from worker.ledger.reports.sales_by_day import MAX_THOUSANDTHS, Sale, SalesLine
from worker.ledger.schema import sale
from worker.ledger.upkeep import counter_rows

TODAY = int(NOW // 86_400)
USD = Sale(TODAY, "USD", 129_990)


def add(ledger: Ledger, *sold: Sale, name: str = "checkout", integration: int = 1) -> None:
    with ledger.write() as connection:
        sales_by_day.append_sales(connection, [(integration, name, one) for one in sold])


def books(ledger: Ledger, since: int = TODAY, source_id: str | None = None) -> list[SalesLine]:
    with ledger.read() as connection:
        return sales_by_day.sales_since(connection, since, source_id)


def test_days_names_and_currencies_are_summed_exactly(ledger: Ledger) -> None:
    add(ledger, USD, USD, USD, Sale(TODAY, "EUR", 10), Sale(TODAY - 1, "USD", 1_000))
    add(ledger, Sale(TODAY, None, None), name="page_visit")

    assert books(ledger, TODAY - 1) == [
        SalesLine(TODAY, "checkout", "EUR", 1, Decimal("0.01")),
        SalesLine(TODAY, "checkout", "USD", 3, Decimal("389.97")),
        SalesLine(TODAY, "page_visit", "", 1, Decimal(0)),
        SalesLine(TODAY - 1, "checkout", "USD", 1, Decimal(1)),
    ]
    assert [line.day for line in books(ledger)] == [TODAY] * 3


def test_an_event_mapped_by_an_older_version_is_in_no_sales_report(ledger: Ledger) -> None:
    add(ledger, Sale())

    assert books(ledger, 0) == []


def test_the_sales_report_may_be_of_one_source(ledger: Ledger) -> None:
    mine = place(ledger)
    add(ledger, USD, integration=mine.number)
    add(ledger, USD, integration=mine.number + 1)

    assert [line.n for line in books(ledger, source_id="src_shop")] == [1]
    assert books(ledger, source_id="src_other") == []


def test_folding_changes_no_sum(ledger: Ledger) -> None:
    for _ in range(5):
        add(ledger, USD, Sale(TODAY, "EUR", 20))
    before = books(ledger)
    with ledger.write() as connection:
        assert counter_rows.fold_counters(connection, "sale", 100) == 8
        assert connection.execute(select(func.count()).select_from(sale)).scalar_one() == 2

    assert books(ledger) == before


def test_no_sum_is_too_large_to_be_shown(ledger: Ledger) -> None:
    many = [Sale(TODAY, "USD", MAX_THOUSANDTHS)] * 1_000
    for _ in range(3):
        add(ledger, *many)
    with ledger.write() as connection:
        assert counter_rows.fold_counters(connection, "sale", 100) == 0

    assert books(ledger) == [SalesLine(TODAY, "checkout", "USD", 3_000, Decimal(MAX_THOUSANDTHS) * 3)]
