"""Report that this process runs without a key that the ledger needs."""

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.reports import measures

log = logs.of(__name__)


def report_missing_key(ledger: Ledger) -> None:
    """Log a missing key, and note it for the alert. The work stays in the ledger for a process that has the key."""
    log.error("key_missing")
    with ledger.write() as connection:
        measures.record_heartbeat(connection, measures.KEY_MISSING, ledger.now())
