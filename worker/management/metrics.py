"""Show the metrics to Prometheus."""

from flask import Blueprint, Response, request

from worker.management import context
from worker.management.errors import ApiError
from worker.telemetry import metrics
from worker.telemetry.metrics import CONTENT_TYPE

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def show() -> Response:
    """Answer with every metric."""
    if not metrics.may_read(request.headers, request.remote_addr, context.settings().metrics_token):
        raise ApiError(403, metrics.REFUSAL)
    return Response(context.exporter().text(), content_type=CONTENT_TYPE)
