"""List failed deliveries, and retry or discard them."""

from dataclasses import dataclass
from typing import Any

from flask import Response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.api.errors import ApiError
from worker.api.failed import export_response
from worker.formats import count_text
from worker.ledger.delivery.failures import FailureFilter
from worker.operations.deliveries import failed as operations
from worker.operations.deliveries.failed import Extent
from worker.pages.base import blueprint, redirect_to
from worker.pages.charts import draw_trend
from worker.pages.forms import row_id

_ROWS_A_PAGE = 100
# A request ends long before gunicorn's timeout; the page then goes on with the next one.
_MOST_A_REQUEST = 5_000
# The preview checks each delivery, so it stops at this number.
_MOST_LOOKED_AT = 20_000
_CHOICES = ("ad_account_id", "reason_class", "event_name")
_ACTIONS = ("retry", "discard")


@dataclass(slots=True)
class _Progress:
    """Hold the progress of a retry or discard, which the page carries from request to request."""

    done: int
    alone: int
    late: int
    after: int


@blueprint.get("/failed")
def _failed_page() -> str:
    """Group failed deliveries by reason; with a group chosen, list it."""
    choice = _choice(request.args)
    after = request.args.get("after", 0, type=row_id)
    caller, criteria = context.request_caller(), FailureFilter(**choice)
    groups = operations.group_failed(caller, criteria)
    failures = operations.list_failed(caller, criteria, _ROWS_A_PAGE + 1, after) if choice else []
    page = failures[:_ROWS_A_PAGE]
    return render_template(
        "failed.html",
        choice=choice,
        groups=groups,
        retention=count_text(round(context.app_settings().retention_days), "day"),
        draw_trend=draw_trend,
        total=sum(group.n for group in groups),
        found=page,
        parked=[] if choice else operations.list_parked(caller),
        after=page[-1].id if len(failures) > len(page) else None,
    )


@blueprint.get("/failed/export")
def _failed_export() -> Response:
    """Give failed deliveries as JSON lines, without their payloads."""
    return export_response(FailureFilter(**_choice(request.args)))


@blueprint.post("/failed/parked")
def _post_unpark() -> AnyResponse:
    """Process events again that were set aside, a bounded number in a request."""
    operations.unpark(context.request_caller())
    return redirect_to("ui.failed_page", "unparked")


@blueprint.post("/failed/mark")
def _post_mark() -> AnyResponse:
    """Resolve or ignore a group, or open it again."""
    values = {name: request.form.get(name, "") for name in (*_CHOICES, "state")}
    operations.mark_group(context.request_caller(), **values)
    return redirect_to("ui.failed_page", "marked")


@blueprint.post("/failed/review")
def _review_page() -> str:
    """Preview a retry or a discard."""
    action, criteria, force, caller = _action(), _criteria(), _force(), context.request_caller()
    total = operations.count_failed(caller, criteria)
    extent = Extent(most=_MOST_LOOKED_AT, dry_run=True)
    preview = operations.retry_failed(caller, criteria, force=force, extent=extent)
    return render_template(
        "failed_review.html",
        action=action,
        total=total,
        would=preview,
        looked_at=preview.moved + preview.left_alone.total(),
        force=force,
        hidden=_hidden(),
    )


@blueprint.post("/failed/<any(retry, discard):action>")
def _progress_page(action: str) -> str:
    """Retry or discard a bounded number in a request. The page shows the progress and sends the next request."""
    work = _Progress(**{name: request.form.get(name, 0, type=row_id) for name in _Progress.__slots__})
    criteria, caller = _criteria(), context.request_caller()
    extent = Extent(after_id=work.after, most=_MOST_A_REQUEST)
    if action == "retry":
        did = operations.retry_failed(caller, criteria, force=_force(), extent=extent)
    else:
        did = operations.discard_failed(caller, criteria, _reason(), extent=extent)
    work.done, work.late = work.done + did.moved, work.late + did.late
    work.alone, work.after = work.alone + did.left_alone.total(), did.last_id
    fields = _hidden() | {"reason": _reason()} | ({"force": "yes"} if _force() else {})
    return render_template("failed_progress.html", action=action, work=work, left=did.left, hidden=fields)


def _choice(form: Any) -> dict[str, Any]:
    """Return the filters of the list. An event without a name has an empty one."""
    return {name: form[name] for name in _CHOICES if name in form and (form[name] or name == "event_name")}


def _ids() -> tuple[int, ...]:
    return tuple(int(text) for text in request.form.getlist("ids") if text.isdecimal() and len(text) < 19)


def _criteria() -> FailureFilter:
    """Return the selected rows, or the whole group if the form says so."""
    choice, ids = _choice(request.form), _ids()
    if request.form.get("everything") == "yes":
        return FailureFilter(**choice)
    if not ids:
        raise ApiError(422, "Select at least one delivery.")
    return FailureFilter(**choice, ids=ids)


def _hidden() -> dict[str, Any]:
    """Return the hidden fields with which the next form selects the same deliveries."""
    fields: dict[str, Any] = dict(_choice(request.form))
    if request.form.get("everything") == "yes":
        fields["everything"] = "yes"
    else:
        fields["ids"] = _ids()
    return fields


def _force() -> bool:
    return request.form.get("force") == "yes"


def _reason() -> str:
    return request.form.get("reason", "").strip()


def _action() -> str:
    action = request.form.get("action", "")
    if action not in _ACTIONS:
        raise ApiError(422, "Unknown action.")
    return action
