"""Record the shop's own orders, and show what became of them."""

from typing import Any

from marshmallow import fields

from worker.api import context, pagination
from worker.api.blueprint import Blueprint
from worker.api.fields import Integer, ListOf, Nested, Number, Shape, Text, at_most, between
from worker.api.pagination import PageQuery, cursor_at, page_of
from worker.ledger.reports.shop_orders import Fate
from worker.operations.reports import orders as operations
from worker.operations.reports.orders import Accuracy, OrderLine

_MOST_ORDERS = 1_000

blueprint = Blueprint(
    "orders",
    __name__,
    url_prefix="/v1/admin",
    description="The shop's own orders, compared with the deliveries",
)


class _OrdersBody(Shape):
    """The shop's own orders: each an event, or an order alone as the shop exports it."""

    source_id = Text(required=True)
    orders = ListOf(
        fields.Dict(),
        required=True,
        validate=at_most(_MOST_ORDERS, "orders"),
        metadata={
            "example": [
                {"order_id": "ORD-1", "timestamp": "2026-01-29T14:53:20Z", "total": 129.99, "currency": "USD"}
            ],
        },
    )


class _WrongOrder(Shape):
    """An order that was not recorded; the first has the number 1."""

    number = Integer()
    message = Text()


class _OrdersAnswer(Shape):
    """What was recorded."""

    new = Integer()
    known = Integer()
    wrong = ListOf(Nested(_WrongOrder))


class _DaysQuery(Shape):
    """Choose the orders."""

    days = fields.Integer(
        load_default=7,
        validate=between(1, operations.MAX_DAYS),
        error_messages={"invalid": "must be a whole number"},
    )
    source_id = Text(load_default=None)


class _Counted(Shape):
    n = Integer()
    value = Text()


class _OrderLineAnswer(Shape):
    """The orders of one day, source, ad account and currency, by what became of them."""

    day = Text()
    source_id = Text()
    ad_account_id = Text(allow_none=True)
    currency = Text()
    ordered = Nested(_Counted)
    delivered = Nested(_Counted)
    waiting = Nested(_Counted)
    failed = Nested(_Counted)
    filtered = Nested(_Counted)
    not_sent = Nested(_Counted)
    never_arrived = Nested(_Counted)


class _AccuracyAnswer(Shape):
    """How many orders with consent are delivered."""

    delivered = Integer()
    expected = Integer()
    percent = Number(allow_none=True)


class _ReconciliationAnswer(Shape):
    """What became of the shop's orders; ``before`` is as many days earlier."""

    accuracy = Nested(_AccuracyAnswer)
    before = Nested(_AccuracyAnswer)
    data = ListOf(Nested(_OrderLineAnswer))


class _UndeliveredQuery(PageQuery, _DaysQuery):
    """Choose a page of the orders that are missing."""


class _UndeliveredAnswer(Shape):
    """An order that an ad account does not have."""

    order_id = Text()
    source_id = Text()
    ordered_at = Text()
    value = Text()
    currency = Text(allow_none=True)
    ad_account_id = Text(allow_none=True)
    fate = Text()
    reason = Text()
    delivery_id = Integer(allow_none=True)


@blueprint.route("/orders", methods=["POST"])
@blueprint.arguments(_OrdersBody)
@blueprint.response(200, _OrdersAnswer)
def _post_orders(body: dict[str, Any]) -> dict[str, Any]:
    """Record the shop's own orders. Safe to repeat: an order counts once. Nothing is sent."""
    result = operations.record(
        context.request_caller(), body["source_id"], body["orders"], context.app_settings().retention_days
    )
    errors = [{"number": number, "message": message} for number, message in sorted(result.wrong.items())]
    return {"new": result.new, "known": result.known, "wrong": errors}


@blueprint.route("/orders")
@blueprint.arguments(_DaysQuery, location="query")
@blueprint.response(200, _ReconciliationAnswer)
def _get_orders(query: dict[str, Any]) -> dict[str, Any]:
    """Show what became of the orders of the last days: each is in exactly one of the counts of its line."""
    report = operations.reconcile(context.request_caller(), query["days"], query["source_id"])
    return {
        "accuracy": _accuracy(report.accuracy),
        "before": _accuracy(report.before),
        "data": [_line(line) for line in operations.lines_of(report.sums)],
    }


@blueprint.route("/orders/undelivered")
@blueprint.arguments(_UndeliveredQuery, location="query")
@blueprint.response(200, page_of(_UndeliveredAnswer))
def _get_orders_undelivered(query: dict[str, Any]) -> dict[str, Any]:
    """List the orders that an ad account does not have, the last recorded first, each with its reason."""
    before, limit = pagination.number_after(query.get("cursor")), query["limit"]
    missing = operations.list_undelivered(
        context.request_caller(), query["days"], limit, source_id=query["source_id"], before=before
    )
    numbers = {order.row.number for order in missing}
    has_more = len(numbers) == limit
    return {
        "data": [operations.plain_of(order) for order in missing],
        "next_cursor": cursor_at(min(numbers)) if has_more else None,
        "has_more": has_more,
    }


def _accuracy(accuracy: Accuracy) -> dict[str, Any]:
    percent = accuracy.percent
    return {
        "delivered": accuracy.delivered,
        "expected": accuracy.expected,
        "percent": None if percent is None else round(percent, 2),
    }


def _line(line: OrderLine) -> dict[str, Any]:
    fates = {
        fate.name.lower(): {"n": line.n[fate], "value": line.value(fate).replace(",", "")} for fate in Fate
    }
    return {
        "day": line.day,
        "source_id": line.source_id,
        "ad_account_id": line.ad_account_id or None,
        "currency": line.currency,
        "ordered": {"n": line.ordered, "value": line.value(None).replace(",", "")},
        **fates,
    }
