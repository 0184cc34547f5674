"""Tell that the process is alive, and whether it can do its work."""

from flask import Blueprint, Response, jsonify

from worker.api import context

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def get_healthz() -> dict[str, str]:
    """Answer; nothing else is asked, so that trouble elsewhere does not restart this process."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def get_readyz() -> tuple[Response, int]:
    """Say which check failed, if any."""
    body, status = context.readiness().answer()
    return jsonify(body), status
