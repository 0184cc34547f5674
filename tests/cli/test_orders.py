"""The shop's orders on the command line."""

import json

from tests.cli.conftest import Shell
from worker.dev.shop_walk import _AD_ACCOUNT_ID
from worker.event.times import iso
from worker.ledger.schema import State


def test_orders_are_imported_compared_and_listed(shell: Shell) -> None:
    assert shell.run("orders", "report").exit_code == 1
    shell.add("evt_1", "checkout", State.FAILED, reason="A checkout needs a value.")
    lines = [
        "Order;timestamp;total;currency",
        f"order of evt_1;{iso(shell.now - 60)};10;EUR",
        f"ORD-2;{iso(shell.now - 60)};7.5;EUR",
    ]
    table = "\n".join(lines)
    imported = shell.good("orders", "import", "-", "--column", "Order=order_id", stdin=table)
    counted = (
        "Orders that never arrived: 0 can be sent with --send-missing, 0 lack consent, "
        "1 lacks data that Pinterest requires."
    )
    assert imported.splitlines() == ["Recorded 2 new orders; 0 were known.", counted]
    assert "0 new orders; 2 were" in shell.good(
        "orders", "import", "-", "--column", "Order=order_id", stdin=table
    )
    report = shell.good("orders", "report")
    assert "2 ordered: 1 failed, 1 never arrived  17.50 EUR" in report
    assert report.endswith("Accuracy: 0.0 % of 2 orders with consent.\n")
    missing = shell.good("orders", "missing")
    assert (
        f"order of evt_1  ad account {_AD_ACCOUNT_ID}  failed  delivery 1: A checkout needs a value."
        in missing
    )
    assert "ORD-2" in missing
    listed = [json.loads(line) for line in shell.good("orders", "missing", "--json-lines").splitlines()]
    assert {one["order_id"]: one["delivery_id"] for one in listed} == {"order of evt_1": 1, "ORD-2": None}


def test_wrong_lines_are_named_and_missing_orders_are_sent(shell: Shell) -> None:
    given = {
        "timestamp": iso(shell.now - 60),
        "properties": {"order_id": "ORD-3", "total": 5, "currency": "EUR", "num_items": 1},
        "context": {"traits": {"email": "jane@example.com"}},
    }
    without = given | {"properties": {"order_id": "ORD-4", "total": 5, "currency": "EUR"}}
    text = "\n".join(map(json.dumps, [given, {"timestamp": iso(shell.now)}, without]))
    done = shell.run("orders", "import", "-", "--send-missing", stdin=text)
    assert done.exit_code == 1
    assert "line 2: order_id must be given." in done.output
    assert "line 3: not sent: A checkout needs a number of items" in done.output
    assert "Sent 1 order that had not arrived; 0 are older than 7 days." in done.output
    assert "inbox  Order Completed" in shell.good("find", "ORD-3")
