"""Say whether a web process is ready."""

from collections.abc import Callable

from kombu import Connection

from worker.ledger.database import Ledger
from worker.monitoring import checks
from worker.monitoring.checks import Readiness


def readiness_of(ledger: Ledger, connect: Callable[[], Connection] | None = None) -> Readiness:
    """Return the checks of the collector and the Management API; the broker is the configured one by default.

    Without a broker both still work: events are accepted and kept, pages are shown. If that counted as a
    failure, a load balancer would take the whole shop offline in an outage that loses nothing.
    """
    why = "Events are kept in the ledger and go on when it is back."
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
