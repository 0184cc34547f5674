"""Refunds and cancellations are not sent as sales."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pinterest.conftest import run, track
from worker.pinterest.event_names.overrides import _parse_overrides
from worker.pinterest.mapping.call import Options
from worker.pinterest.mapping.mapping import Dropped, Mapped

ORDER = {"order_id": "O-1", "total": 25.5, "currency": "EUR", "num_items": 2}


def taken_back(name: str, properties: dict[str, Any], **options: Any) -> tuple[str | None, str | None] | None:
    """Return the amount and the currency of a refund; None if the event is no refund."""
    (outcome,) = run(track(name, properties), options=Options(**options))
    if not isinstance(outcome, Dropped):
        return None
    assert outcome.reason_class == "refund"
    assert outcome.reason.endswith("it is not sent as a sale.")
    assert outcome.refund is not None
    return outcome.refund.amount.text if outcome.refund.amount else None, outcome.refund.currency


def test_an_update_that_says_that_the_order_is_refunded_is_not_sent() -> None:
    for state in ({"status": "refunded"}, {"financial_status": "refunded"}):
        assert taken_back("orders/updated", ORDER | state) == (None, None)
    assert taken_back("orders/updated", ORDER | {"financial_status": "partially_refunded"}) is None
    assert taken_back("Ticket Closed", {"status": "returned", "value": 5, "currency": "EUR"}) is None
    charge = {
        "object": "charge",
        "amount": 2000,
        "amount_captured": 2000,
        "amount_refunded": 500,
        "currency": "usd",
    }
    assert taken_back("charge.refunded", {"object": "event", "data": {"object": charge}}) == ("5", "USD")


@pytest.mark.parametrize(
    "name",
    [
        "refund",
        "Refund",
        "Order Refunded",
        "order_refunded",
        "OrderRefunded",
        "orderrefunded",
        "Refunded Order",
        "refunds/create",
        "orders/cancelled",
        "Order Cancelled",
        "Cancelled Order",
        "Order Canceled",
        "order.refunded",
        "dl_refund",
        "Partial Refund",
        "Order Partially Refunded",
        "Product Refunded",
        "charge.refunded",
        "Payment Refunded",
        "Chargeback",
        "Charge Back Created",
        "ORDER_REFUND",
        "Order Returned",
        "Cancel Order",
    ],
)
def test_a_refund_is_dropped_by_its_name_and_counts_with_its_value(name: str) -> None:
    assert taken_back(name, ORDER) == ("25.5", "EUR")
    assert taken_back(name, ORDER | {"total": -25.5}) == ("25.5", "EUR")


@pytest.mark.parametrize(
    "name",
    [
        "Refund Policy Viewed",
        "Return Shipping Viewed",
        "Cancelled Subscription",
        "Checkout Cancelled",
        "Void",
    ],
)
def test_another_event_with_such_a_word_is_sent(name: str) -> None:
    assert taken_back(name, {"order_id": "O-1"}) is None


def test_an_event_about_a_refund_with_a_value_is_no_sale() -> None:
    assert taken_back("Refund Email Opened", ORDER) == ("25.5", "EUR")


@pytest.mark.parametrize("name", ["Order Completed", "purchase", "checkout"])
@pytest.mark.parametrize(
    ("state", "amount"),
    [
        ({"financial_status": "refunded"}, "25.5"),
        ({"status": "Refunded"}, "25.5"),
        ({"order_status": "wc-refunded"}, "25.5"),
        ({"transaction_type": "refund"}, "25.5"),
        ({"payment_status": "chargeback"}, "25.5"),
        ({"status": "cancelled"}, None),
        ({"status": "CANCELED"}, None),
        ({"status": "failed"}, None),
        ({"financial_status": "voided"}, None),
        ({"cancelled_at": "2024-01-29T14:53:20Z"}, None),
        ({"total": -25.5}, "25.5"),
        ({"total": "-25,50 €"}, "25.5"),
        ({"total": {"amount": "-25.50", "currencyCode": "EUR"}}, "25.5"),
        ({"total": "(25.50)"}, "25.5"),
    ],
)
def test_a_checkout_that_was_taken_back_is_dropped(
    name: str, state: dict[str, Any], amount: str | None
) -> None:
    assert taken_back(name, ORDER | state) == (amount, "EUR" if amount else None)


@pytest.mark.parametrize(
    "state",
    [
        {"status": "processing"},
        {"financial_status": "paid"},
        {"status": 5},
        {"cancelled_at": None},
        {"total": 0},
    ],
)
def test_a_checkout_that_holds_is_sent(state: dict[str, Any]) -> None:
    assert taken_back("Order Completed", ORDER | state) is None


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"refund_amount": "5.00", "total": 25.5, "currency": "EUR"}, ("5", "EUR")),
        ({"amount": "€7"}, ("7", "EUR")),
        ({"currency": "USD", "products": [{"id": "A", "price": 2.5, "quantity": 2}]}, ("5", "USD")),
        ({"total": 5, "currency": "Taler"}, (None, None)),
        ({"total": "much", "currency": "EUR"}, (None, None)),
        ({}, (None, None)),
    ],
)
def test_the_refunded_amount_is_read_where_it_is_clear(
    properties: dict[str, Any], expected: tuple[str | None, str | None]
) -> None:
    assert taken_back("Order Refunded", properties) == expected


def test_a_rule_of_the_integration_decides_about_a_refunds_name() -> None:
    rules = _parse_overrides({"Order Cancelled": "lead"}, [])
    (outcome,) = run(track("Order Cancelled", {"order_id": "O-1"}), options=Options(overrides=rules))
    assert isinstance(outcome, Mapped)
    assert outcome.event_name == "lead"


@given(
    st.sampled_from(["total", "revenue", "value"]),
    st.floats(max_value=-0.01, allow_nan=False, allow_infinity=False),
)
def test_a_checkout_below_zero_is_never_sent(key: str, value: float) -> None:
    order = {key: value, "currency": "EUR", "products": [{"id": "A", "price": 5}]}
    assert isinstance(run(track("Order Completed", order))[0], Dropped)
