"""Report that the process is alive, and whether it can do its work."""

from flask import Blueprint, Response, jsonify

from worker.api import context

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz", endpoint="get_healthz")
def _get_healthz() -> dict[str, str]:
    """Answer without any check, so that other failures do not restart this process."""
    return {"status": "ok"}


@blueprint.get("/readyz", endpoint="get_readyz")
def _get_readyz() -> tuple[Response, int]:
    """Report whether the process is ready, and which check failed."""
    body, status = context.readiness().answer()
    return jsonify(body), status
