"""Readiness checks of a web process."""

from collections.abc import Callable
from pathlib import Path

from kombu import Connection

from worker.ledger.database import Ledger
from worker.monitoring import broker_check, checks
from worker.monitoring.checks import Finding, Readiness, State


def readiness_of(
    ledger: Ledger,
    connect: Callable[[], Connection] | None = None,
    spool: Path | None = None,
    most_bytes: int = 0,
) -> Readiness:
    """Return the checks of the collector and the Management API.

    A missing broker is only degraded: events are still accepted and kept, and pages are shown. As a failure, it
    would make a load balancer stop all traffic in an outage that loses nothing.
    """
    why = "Events are kept in the ledger and continue when it is back."

    def check_broker() -> Finding:
        return checks.as_degraded(broker_check.check_broker(connect or _configured_broker), why)

    if spool is None:
        of_ledger = (
            lambda: checks.check_database(ledger),
            lambda: checks.check_migrations(ledger),
            lambda: checks.check_keys(ledger),
        )
        return Readiness((*of_ledger, check_broker))
    spooled = _SpooledLedger(ledger, spool, most_bytes)
    return Readiness(
        (
            spooled.check_database,
            spooled.check_migrations,
            spooled.check_keys,
            spooled.check_spool,
            check_broker,
        )
    )


class _SpooledLedger:
    """Check a ledger; while it is away and the spool has space, the collector is only degraded."""

    def __init__(self, ledger: Ledger, folder: Path, most_bytes: int) -> None:
        self._ledger, self._folder, self._most_bytes = ledger, folder, most_bytes
        self._is_away = False

    def check_database(self) -> Finding:
        finding = checks.check_database(self._ledger)
        self._is_away = finding.state is State.FAILED
        if checks.check_spool(self._folder, self._most_bytes).state is State.FAILED:
            return finding
        return checks.as_degraded(finding, "Events are kept in the spool of this host until it is back.")

    def check_migrations(self) -> Finding:
        return self._unless_away("migrations", checks.check_migrations)

    def check_keys(self) -> Finding:
        return self._unless_away("keys", checks.check_keys)

    def check_spool(self) -> Finding:
        return checks.as_degraded(checks.check_spool(self._folder, self._most_bytes), "")

    def _unless_away(self, name: str, check: Callable[[Ledger], Finding]) -> Finding:
        if self._is_away:
            return Finding(name, State.DEGRADED, "They cannot be looked up while the database is away.")
        return check(self._ledger)


def _configured_broker() -> Connection:
    """Return an unopened connection to the configured broker."""
    # The Celery app reads its settings when it is imported.
    from worker.app import app

    return app.connection_for_write()
