"""Show the metrics to Prometheus."""

from flask import Blueprint, Response, request

from worker.api import context
from worker.api.errors import ApiError
from worker.monitoring import metrics
from worker.monitoring.metrics import CONTENT_TYPE

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics", endpoint="get_metrics")
def _get_metrics() -> Response:
    """Answer with every metric."""
    if not metrics.may_read(request.headers, request.remote_addr, context.app_settings().metrics_token):
        raise ApiError(403, metrics.REFUSAL)
    return Response(context.exporter().text(), content_type=CONTENT_TYPE)
