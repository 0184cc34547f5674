"""Answer every error in one format."""

from collections.abc import Iterator
from http import HTTPStatus
from itertools import islice
from typing import Any

from flask import Flask, Response, jsonify
from marshmallow import ValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from worker import logs
from worker.api.fields import Nested, Shape, Text
from worker.event.text import shown_key
from worker.ledger.database import LedgerBusyError, is_ledger_unavailable
from worker.operations.errors import (
    ConflictError,
    DuplicateError,
    InvalidError,
    NotFoundError,
    OperationError,
)

log = logs.of(__name__)

# A body may have thousands of keys that no schema knows.
_MOST_SENTENCES = 50

# Long enough for a database to come back, short enough for a person to wait.
_RETRY_AFTER_SECONDS = 5

_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    422: "VALIDATION_FAILED",
    429: "RATE_LIMITED",
    503: "LEDGER_UNAVAILABLE",
}
_STATUSES: dict[type[OperationError], int] = {
    NotFoundError: 404,
    ConflictError: 409,
    InvalidError: 422,
    OperationError: 400,
}
_SENTENCES = {
    404: "There is nothing at this address. /v1/admin/docs lists all addresses.",
    405: "Method not allowed.",
    413: "The body is too large.",
    500: "Internal error. The log of the process has the details.",
}


class _Error(Shape):
    """Say what is wrong."""

    code = Text(metadata={"example": "VALIDATION_FAILED"})
    message = Text(metadata={"example": "config.ad_account_id: must be digits, at most 18"})


class ErrorAnswer(Shape):
    """Hold the answer to a request that failed."""

    error = Nested(_Error)


class ApiError(Exception):
    """End a request with an error; ``wrong`` has the messages by field, nested as marshmallow nests them."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        wrong: dict[str, Any] | None = None,
    ) -> None:
        self.wrong = wrong or {}
        self.status = status
        self.code = code or _CODES.get(status) or HTTPStatus(status).name
        self.message = message
        self.headers = headers or {}
        super().__init__(message)


def invalid_field_error(field: str, reason: str) -> ApiError:
    """Return the error for one invalid field."""
    return ApiError(422, next(_sentences(reason, field)), wrong={field: reason})


def validation_error(error: ValidationError, path: str = "") -> ApiError:
    """Return the error for a failed validation, with every field."""
    wrong: Any = {path: error.messages} if path else error.messages
    sentences = list(islice(_sentences(error.messages, path), _MOST_SENTENCES + 1))
    if len(sentences) > _MOST_SENTENCES:
        sentences[-1] = "and more"
    return ApiError(422, "; ".join(sentences), wrong=wrong)


def operation_error(error: OperationError) -> ApiError:
    """Return the HTTP error for an operation's error."""
    wrong = dict(error.errors) if isinstance(error, InvalidError) else None
    code = "DUPLICATE" if isinstance(error, DuplicateError) else None
    status = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
    return ApiError(status, error.message, code, wrong=wrong)


def add_api_error_handlers(app: Flask) -> None:
    """Register the handlers that answer every error in one format."""
    app.register_error_handler(ApiError, _answer)
    app.register_error_handler(OperationError, lambda error: _answer(operation_error(error)))
    app.register_error_handler(HTTPException, http_answer)
    app.register_error_handler(IntegrityError, _lost_race)
    # Flask's own log line would quote the URL and the exception's text.
    app.log_exception = _log_unexpected  # type: ignore[method-assign]
    for kind in (LedgerBusyError, PoolTimeoutError, DBAPIError):
        app.register_error_handler(kind, _ledger_trouble)


def _answer(error: ApiError) -> Response:
    response = jsonify(error={"code": error.code, "message": error.message})
    response.status_code = error.status
    response.headers.extend(error.headers)
    return response


def http_answer(error: HTTPException) -> Response:
    """Answer an HTTP error of Flask."""
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    message = _SENTENCES.get(status) or error.description or HTTPStatus(status).phrase
    return _answer(ApiError(status, message, headers=headers))


def _lost_race(_error: IntegrityError) -> Response:
    return _answer(ApiError(409, "Another request changed this at the same time. Try again."))


def _ledger_trouble(error: Exception) -> Response:
    if not is_ledger_unavailable(error):
        raise error
    headers = {"Retry-After": str(_RETRY_AFTER_SECONDS)}
    return _answer(
        ApiError(503, "The database does not respond, or takes no writes. Try again.", headers=headers)
    )


def _log_unexpected(exc_info: Any) -> None:
    log.error("request_failed", error=logs.error_location(exc_info[1]))


def _sentences(messages: Any, path: str = "") -> Iterator[str]:
    if isinstance(messages, dict):
        for key, inner in messages.items():
            place = path if key == "_schema" else f"{path}.{shown_key(key)}".lstrip(".")
            yield from _sentences(inner, place)
    elif isinstance(messages, list):
        for message in messages:
            yield from _sentences(message, path)
    else:
        yield f"{path or 'body'}: {str(messages).rstrip('.')}"
