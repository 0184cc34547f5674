"""Tell that the process is alive."""

from flask import Blueprint

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    """Answer; nothing else is asked, so that trouble elsewhere does not restart this process."""
    return {"status": "ok"}
