"""Readiness checks of a web process."""

from collections.abc import Callable

from kombu import Connection

from worker.ledger.database import Ledger
from worker.monitoring import checks
from worker.monitoring.checks import Readiness


def readiness_of(ledger: Ledger, connect: Callable[[], Connection] | None = None) -> Readiness:
    """Return the checks of the collector and the Management API.

    A missing broker is only degraded: events are still accepted and kept, and pages are shown. As a failure, it
    would make a load balancer stop all traffic in an outage that loses nothing.
    """
    why = "Events are kept in the ledger and continue when it is back."
    return Readiness(
        (
            lambda: checks.check_database(ledger),
            lambda: checks.check_migrations(ledger),
            lambda: checks.check_keys(ledger),
            lambda: checks.as_degraded(checks.check_broker(connect or configured_broker), why),
        )
    )


def configured_broker() -> Connection:
    """Return an unopened connection to the configured broker."""
    # The Celery app reads its settings when it is imported.
    from worker.app import app

    return app.connection_for_write()
