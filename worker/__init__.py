"""Deliver a shop's events to the Pinterest Conversions API.

``celery -A worker`` finds the Celery app through ``celery`` below; importing the package alone loads neither
Celery nor a database, so that the domain (``worker.event``, ``worker.pinterest``) stays free of both.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "celery":
        from worker.app import app

        return app
    raise AttributeError(f"module 'worker' has no attribute {name!r}")
