"""Build responses with Pinterest's format and wording."""

import json
from collections.abc import Mapping
from typing import Any

from worker.dev.sandbox.http import Response

# The codes and messages that Pinterest publishes; it publishes none for 404, 405, 413 and 422.
_ERRORS: dict[int, tuple[int, str]] = {
    400: (4196, "The request was invalid."),
    401: (2, "Authentication failed."),
    403: (29, "You are not permitted to access that resource."),
    404: (29, "The resource was not found."),
    405: (4196, "The method is not allowed."),
    413: (4196, "The request is too large."),
    422: (4196, "Not all events were successfully processed."),
    429: (8, "This request exceeded a rate limit."),
    500: (1, "An unexpected error occurred."),
    503: (4197, "The endpoint has been ramped down and is currently not accepting any traffic."),
}

_PROCESSED = json.dumps({"status": "processed", "error_message": "", "warning_message": ""})


def ok(value: object, status: int = 200) -> Response:
    """Answer with a value as JSON."""
    return Response(status, json.dumps(value).encode())


def error(
    status: int,
    message: str | None = None,
    *,
    code: int | None = None,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Answer with Pinterest's error body; the defaults are what Pinterest sends with that status."""
    usual_code, usual_message = _ERRORS.get(status, _ERRORS[500])
    body: dict[str, Any] = {"code": usual_code if code is None else code, "message": message or usual_message}
    if details is not None or status == 422:
        body["details"] = details or {}
    return Response(status, json.dumps(body).encode(), headers=headers or {})


def event_list(
    *,
    received: int,
    looked_at: int,
    failures: Mapping[int, str],
    warnings: Mapping[int, str],
    listing: str = "full",
) -> dict[str, Any]:
    """Build the answer on every event, in request order.

    `listing` is `full`, or breaks the list: `none` leaves it out, `short` drops its last entry, `long` adds
    one.
    """
    answer: dict[str, Any] = {
        "num_events_received": received,
        "num_events_processed": looked_at - len(failures),
    }
    if listing != "none":
        entries = [_entry(failures.get(n), warnings.get(n)) for n in range(looked_at)]
        answer["events"] = {"short": entries[:-1], "long": [*entries, _entry(None, None)]}.get(
            listing, entries
        )
    return answer


def _entry(failure: str | None, warning: str | None) -> dict[str, str]:
    return {
        "status": "processed" if failure is None else "failed",
        "error_message": failure or "",
        "warning_message": warning or "",
    }


def all_processed(count: int) -> Response:
    """Answer that every event was processed: the same response as from `event_list`, but faster."""
    entries = ", ".join([_PROCESSED] * count)
    body = f'{{"num_events_received": {count}, "num_events_processed": {count}, "events": [{entries}]}}'
    return Response(200, body.encode())
