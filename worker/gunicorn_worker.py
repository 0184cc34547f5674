"""Serve HTTP as gunicorn's threads do, and repeat nothing of what is no HTTP."""

from contextlib import suppress
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http.errors import (
    LimitRequestHeaders,
    LimitRequestLine,
    ParseException,
    UnsupportedTransferCoding,
)
from gunicorn.workers.gthread import ThreadWorker

from worker import logs

log = logs.of(__name__)

_STATUSES: dict[type[Exception], HTTPStatus] = {
    LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}


class QuietWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types.
    """Answer a request that cannot be read by its status alone; gunicorn would quote it, and log who sent it."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = _STATUSES.get(type(exc), HTTPStatus.BAD_REQUEST)
        log.warning("request_unreadable", status=status.value, error=type(exc).__name__)
        # Whoever hangs up meanwhile wants no answer.
        with suppress(OSError):
            util.write_error(client, status.value, status.phrase, "")
