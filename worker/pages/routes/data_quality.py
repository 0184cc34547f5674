"""Show the problems in a source's data, and map a name to checkout in one click."""

from flask import render_template, request
from werkzeug.wrappers import Response as AnyResponse

from worker.api import context
from worker.operations.deliveries.selection import all_sources
from worker.operations.reports.data_quality import data_quality
from worker.operations.reports.match_quality_advice import percent
from worker.operations.setup.integrations import map_event_name
from worker.pages import charts
from worker.pages.base import blueprint, redirect_to
from worker.pages.forms import source_choices

_CHECKOUT = "checkout"


@blueprint.get("/data-quality")
def _data_quality_page() -> str:
    """Show the problems of one source, the first one unless another is chosen."""
    caller = context.request_caller()
    sources = all_sources(caller)
    source_id = request.args.get("source_id") or next((source.id for source in sources), None)
    report = data_quality(caller, source_id) if source_id is not None else None
    return render_template(
        "data_quality.html", sources=source_choices(sources), report=report, charts=charts, percent=percent
    )


@blueprint.post("/data-quality/checkout")
def _post_checkout_name() -> AnyResponse:
    """Send the events of a name as checkout from now on."""
    integration_id, event_name = (request.form.get(name, "") for name in ("integration_id", "event_name"))
    caller, rate = context.request_caller(), context.usual_rate()
    record = map_event_name(caller, integration_id, event_name, _CHECKOUT, rate)
    return redirect_to("ui.data_quality_page", "mapped", source_id=record["source_id"])
