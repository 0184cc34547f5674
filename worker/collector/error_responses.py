"""Answer every error in one JSON format."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Flask, Response, g
from sqlalchemy.exc import DBAPIError
from werkzeug.exceptions import HTTPException

from worker import logs
from worker.event.envelope import EnvelopeError
from worker.ledger.database import is_ledger_unavailable
from worker.logs import error_location

_LEDGER_RETRY_AFTER_SECONDS = 5

log = logs.of(__name__)

# `json.dumps` with options would make an encoder each time.
_TO_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_HTTP_ERRORS = {
    400: ("BAD_REQUEST", "The request could not be read."),
    404: ("NOT_FOUND", "Not found."),
    405: ("METHOD_NOT_ALLOWED", "Method not allowed. Send events with POST."),
    413: ("BODY_TOO_LARGE", "body must be at most 512 KB (524288 bytes), or 4 MB if it is signed."),
}


class RefusedError(Exception):
    """Refuse a request with a status, a code and a message; ``errors`` lists the invalid events of a batch."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after_seconds: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.errors = errors
        super().__init__(message)


def json_response(body: Mapping[str, Any], status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(_TO_JSON(body), status, content_type="application/json")


def add_error_handlers(app: Flask) -> None:
    """Register the handlers that answer every error in the JSON format."""
    app.register_error_handler(RefusedError, _refused)
    app.register_error_handler(EnvelopeError, _invalid)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)


def count_rejected(code: str, events: int = 1) -> None:
    """Count the rejected events of this request by code, for the metrics."""
    g.setdefault("rejected", Counter())[code] += events


def _refused(refusal: RefusedError) -> Response:
    body: dict[str, Any] = {
        "success": False,
        "error": {"code": refusal.code, "message": refusal.message},
    }
    if refusal.errors:
        body["errors"] = refusal.errors
    count_rejected(refusal.code, max(1, len(refusal.errors)))
    response = json_response(body, refusal.status)
    if refusal.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_seconds)
    if refusal.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _invalid(error: EnvelopeError) -> Response:
    code = "INVALID_BODY" if error.field == "body" else "INVALID_EVENT"
    return _refused(RefusedError(400, code, str(error)))


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    code, message = _HTTP_ERRORS.get(status, ("HTTP_ERROR", f"{error.name}."))
    response = _refused(RefusedError(status, code, message))
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    if is_ledger_unavailable(error):
        log.warning("ledger_away", error=_cause(error))
        message = "The event could not be stored. Send it again later."
        return _refused(
            RefusedError(503, "UNAVAILABLE", message, retry_after_seconds=_LEDGER_RETRY_AFTER_SECONDS)
        )
    log.error("request_failed", error=error_location(error))
    return _refused(
        RefusedError(500, "INTERNAL_ERROR", "Internal error. Nothing of the request was accepted.")
    )


def _cause(error: Exception) -> str:
    """Return the driver's message without values; SQLAlchemy's text would quote parameters."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).splitlines()
    return f"{type(cause).__name__} {lines[0] if lines else ''}".strip()
