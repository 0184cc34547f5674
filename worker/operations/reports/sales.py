"""Report the delivered events and their values by day."""

from collections.abc import Sequence
from decimal import Decimal

from worker.ledger.reports import sales_by_day as sales_store
from worker.ledger.reports.sales_by_day import SalesLine
from worker.operations.caller import Caller
from worker.operations.deliveries.selection import last_days


def report_sales(caller: Caller, days: int, source_id: str | None = None) -> list[SalesLine]:
    """Return what was delivered on each of the last days, the latest first, by event name and currency.

    Where something was refunded, a line ``refund`` has it with a minus, and a line ``net`` the checkouts without it.
    """
    first_day, _ = last_days(caller, days, source_id)
    with caller.ledger.read() as connection:
        lines = sales_store.sales_since(connection, first_day, source_id)
    return sorted(_with_net(lines), key=lambda line: -line.day)


def _with_net(lines: Sequence[SalesLine]) -> list[SalesLine]:
    def place(line: SalesLine) -> tuple[int, str, str]:
        return line.day, line.currency, line.ad_account_id

    sales = {place(line): line for line in lines if line.event_name == "checkout"}
    result: list[SalesLine] = []
    for line in lines:
        if line.event_name != sales_store.REFUND:
            result.append(line)
            continue
        checkouts = sales.get(place(line), line._replace(n=0, value=Decimal(0)))
        net = checkouts.value - line.value
        result += [line._replace(value=-line.value), checkouts._replace(event_name="net", value=net)]
    return result
