"""Compare the shop's own orders with what Pinterest has."""

from typing import Any

from flask import Response, make_response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.formats import csv_text
from worker.ledger.reports.shop_orders import Fate
from worker.operations.deliveries.imports import choose_source
from worker.operations.deliveries.selection import account_names, all_sources, time_zones
from worker.operations.errors import OperationError
from worker.operations.reports import orders as operations
from worker.pages.base import blueprint
from worker.pages.charts import draw_counts
from worker.pages.forms import Form, row_id, source_choices
from worker.pages.words import as_sentence

_DAYS = {"1": "today", "7": "7 days", "30": "30 days", "92": "92 days"}
_SHOWN, _MOST_EXPORTED, _MOST_WRONG = 50, 10_000, 20
# The name of each fate, and what it means.
_FATES = {
    Fate.DELIVERED: ("delivered", "Pinterest accepted it."),
    Fate.WAITING: ("waiting", "It is being sent, or waits for its next try."),
    Fate.FAILED: ("failed", "Not delivered. It can be sent again."),
    Fate.FILTERED: ("no consent", "Not sent, because consent is missing. It must not be sent."),
    Fate.NOT_SENT: ("not sent", "Not sent: a duplicate, or dropped by a rule or a person."),
    Fate.NEVER_ARRIVED: ("never arrived", "No event of this order was received."),
}


@blueprint.get("/orders")
def _orders_page() -> str:
    """Show the accuracy, the orders by day and account, and those that are missing."""
    return _page(Form({"source_id": "", "send_missing": ""}))


@blueprint.post("/orders")
def _post_orders_file() -> AnyResponse:
    """Record the orders of a file; on request send those that never arrived."""
    form = Form(
        {"source_id": request.form.get("source_id", ""), "send_missing": request.form.get("send_missing", "")}
    )
    file = request.files.get("file")
    if file is None or not file.filename:
        form.problem = "Choose a file."
        return make_response(_page(form), 422)
    caller = context.request_caller()
    try:
        result = operations.import_orders(
            caller,
            choose_source(caller, form.values["source_id"] or None),
            file.stream,
            context.app_settings().retention_days,
            # The sweeper finds them within two minutes.
            send_missing=len if form.values["send_missing"] == "yes" else None,
        )
    except OperationError as error:
        form.problem = as_sentence(error.message)
        return make_response(_page(form), 422)
    return make_response(_page(form, result=result), 422 if result.wrong else 200)


@blueprint.get("/orders/export")
def _orders_export() -> Response:
    """Export the orders that are missing as CSV."""
    days, source_id, fates = _choice()
    missing = operations.list_undelivered(
        context.request_caller(), days, _MOST_EXPORTED, source_id=source_id or None, fates=fates
    )
    names = account_names(context.request_caller())
    lines = [
        operations.plain_of(order) | {"ad_account_name": names.get(order.row.ad_account_id, "")}
        for order in missing
    ]
    header = list(lines[0]) if lines else ["order_id"]
    answer = Response(csv_text(header, (list(line.values()) for line in lines)), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="missing-orders.csv"'
    return answer


def _choice() -> tuple[int, str, tuple[Fate, ...]]:
    days, name = request.args.get("days", ""), request.args.get("fate", "").upper()
    fates = (Fate[name],) if name in Fate.__members__ and name != "DELIVERED" else operations.UNDELIVERED
    return int(days) if days in _DAYS else 7, request.args.get("source_id", ""), fates


def _page(form: Form, result: operations.OrderCounts | None = None) -> str:
    days, source_id, fates = _choice()
    caller, before = context.request_caller(), request.args.get("before", type=row_id)
    report = operations.reconcile(caller, days, source_id or None)
    missing = operations.list_undelivered(
        caller, days, _SHOWN, source_id=source_id or None, fates=fates, before=before
    )
    source_list = all_sources(caller)
    is_sent = form.values["send_missing"] == "yes"
    numbers = {order.row.number for order in missing}
    parameters: dict[str, Any] = {"days": str(days), "source_id": source_id}
    parameters["fate"] = fates[0].name.lower() if len(fates) == 1 else ""
    by_day = dict(report.by_day)
    days_shown = range(report.first_day, report.last_day + 1)
    trend = [
        (operations.day_text(day), by_day.get(day, operations.Accuracy()).percent or 0.0)
        for day in days_shown
    ]
    return render_template(
        "orders.html",
        found=report,
        lines=operations.lines_of(report.sums),
        missing=missing,
        older=min(numbers) if len(numbers) == _SHOWN else None,
        fates=_FATES,
        reasons=[
            (fate.name.lower(), name) for fate, (name, _) in _FATES.items() if fate in operations.UNDELIVERED
        ],
        never=Fate.NEVER_ARRIVED,
        failed=Fate.FAILED,
        spans=_DAYS,
        sources=source_choices(source_list),
        zones=time_zones(source_list, source_id or None),
        given=parameters,
        trend=trend,
        draw_counts=draw_counts,
        form=form,
        done=result,
        wrong=_wrong_lines(result, is_sent=is_sent) if result else [],
        is_sent=is_sent,
    )


def _wrong_lines(result: operations.OrderCounts, *, is_sent: bool) -> list[tuple[int, str]]:
    """Return the first wrong lines; those that Pinterest would refuse only if they were to be sent."""
    refusals = {number: f"was not sent: {reason}" for number, reason in result.incomplete.items()}
    return sorted((result.wrong | (refusals if is_sent else {})).items())[:_MOST_WRONG]
