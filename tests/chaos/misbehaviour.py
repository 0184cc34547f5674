"""A script with every kind of response that Pinterest may send."""

from collections.abc import Sequence
from typing import Any

WORDS = "The event could not be processed."
# Longer than the stack's REQUEST_DEADLINE: the worker closes the connection although the events were accepted.
TOO_LATE_SECONDS = 5.0


def script(seed: int, bad_ids: Sequence[str]) -> dict[str, Any]:
    """Return a script that fails ``bad_ids`` for good, and breaks about every fifth response.

    The rules apply in order, up to the first that decides the response.
    """
    marks = {"event_ids": list(bad_ids), "error_message": WORDS}
    return {
        "seed": seed,
        "rules": [
            {"latency_seconds": [0.0, 0.15]},
            # Answered after the worker has closed the connection.
            {"probability": 0.01, "latency_seconds": TOO_LATE_SECONDS},
            {"fail_events": {**marks, "as": 200}},
            {"probability": 0.5, "fail_events": {**marks, "as": 422}},
            # A 422 that lists nothing, and a 200 that lists one event too few.
            {"probability": 0.01, "fail_events": {**marks, "as": 422, "list": "none"}},
            {"probability": 0.01, "fail_events": {**marks, "as": 200, "list": "short"}},
            {"probability": 0.04, "status": 429, "headers": {"Retry-After": "1"}},
            {"probability": 0.05, "status": 500},
            {"probability": 0.02, "accept_then_cut": "reset"},
            {"probability": 0.02, "accept_then_cut": "close"},
            {"probability": 0.01, "truncate": 20},
            {"probability": 0.01, "cut": "reset"},
        ],
    }
