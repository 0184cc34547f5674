"""Check what a process needs, and describe what is wrong."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from worker.formats import count_text
from worker.ledger import migrate
from worker.ledger.database import Ledger, LedgerBusyError, LedgerReadOnlyError, LedgerRefusedError
from worker.ledger.intake import spool
from worker.ledger.postgresql import is_read_only
from worker.ledger.vault import SealError

# The endpoint needs no password. All requests within this time share the result of the same checks.
_REMEMBERED_SECONDS = 3.0
# The largest request still fits beyond it.
_FULL_SHARE = 0.95


class State(StrEnum):
    """How severe a finding is: a degraded process still does its work, a failed one does not."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check, with a sentence for the person on call."""

    check: str
    state: State
    message: str


Check = Callable[[], Finding]


def check_database(ledger: Ledger) -> Finding:
    """Check that the database answers and takes writes."""
    try:
        ledger.refuse_transaction_pooler()
        ledger.ping()
    except LedgerRefusedError as error:
        return _failed("database", str(error))
    except (SQLAlchemyError, LedgerBusyError, LedgerReadOnlyError, OSError) as error:
        if isinstance(error, LedgerReadOnlyError) or is_read_only(error):
            return _failed("database", "The database takes no writes: it is a standby, or was set read-only.")
        return _failed("database", f"The database does not answer ({type(error).__name__}).")
    return Finding("database", State.OK, "The database answers and takes writes.")


def check_migrations(ledger: Ledger) -> Finding:
    """Check that the database has the tables that this code needs."""
    try:
        migrate.check_version(ledger)
    except LedgerRefusedError as error:
        return _failed("migrations", str(error))
    except (SQLAlchemyError, OSError) as error:
        return _failed("migrations", f"They cannot be looked up ({type(error).__name__}).")
    return Finding("migrations", State.OK, "The ledger has every migration that this code needs.")


def check_keys(ledger: Ledger) -> Finding:
    """Check that ENCRYPTION_KEY opens everything that the ledger holds."""
    try:
        ledger.vault.check()
    except SealError as error:
        return _failed("keys", str(error))
    except (SQLAlchemyError, OSError) as error:
        return _failed("keys", f"They cannot be looked up ({type(error).__name__}).")
    return Finding("keys", State.OK, "ENCRYPTION_KEY opens everything in the ledger.")


def check_spool(folder: Path, most_bytes: int) -> Finding:
    """Check that the spool of this host has space, and that nothing waits in it."""
    spooled = spool.count_spooled(folder)
    size = f"{spooled.size_bytes / 1024**2:,.1f} of {most_bytes / 1024**2:,.0f} MB"
    if spooled.size_bytes > _FULL_SHARE * most_bytes:
        return _failed(
            "spool", f"The spool of this host is full: {count_text(spooled.events, 'event')}, {size}."
        )
    if spooled.unreadable:
        files = count_text(spooled.unreadable, "file")
        message = f"{files} in {folder} with bytes that cannot be read."
        return Finding("spool", State.DEGRADED, message)
    if spooled.events:
        wait = count_text(spooled.events, "event waits", "events wait")
        message = f"{wait} in the spool of this host ({size}) until the database takes events again."
        return Finding("spool", State.DEGRADED, message)
    return Finding("spool", State.OK, "No event waits in the spool of this host.")


def worst_state(findings: Sequence[Finding]) -> State:
    """Return the worst state among findings."""
    states = {finding.state for finding in findings}
    return next((state for state in (State.FAILED, State.DEGRADED) if state in states), State.OK)


def as_degraded(finding: Finding, reason: str) -> Finding:
    """Change a failure to degraded, and append why work continues."""
    if finding.state is not State.FAILED:
        return finding
    return replace(finding, state=State.DEGRADED, message=f"{finding.message} {reason}")


class Readiness:
    """Run checks, and cache their findings for a few seconds.

    Only one thread at a time runs the checks; other threads get the previous findings meanwhile. So clients cannot
    occupy every thread of a process while a server hangs.
    """

    def __init__(self, checks: Sequence[Check], clock: Callable[[], float] = time.monotonic) -> None:
        self._checks, self._clock = checks, clock
        self._looking = threading.Lock()
        self._found: list[Finding] = []
        self._looked_at = float("-inf")

    def findings(self) -> list[Finding]:
        """Return the findings, at most a few seconds old."""
        if self._looking.acquire(blocking=not self._found):
            try:
                if self._clock() - self._looked_at >= _REMEMBERED_SECONDS:
                    self._found = [check() for check in self._checks]
                    self._looked_at = self._clock()
            finally:
                self._looking.release()
        return self._found

    def answer(self) -> tuple[dict[str, Any], int]:
        """Return body and status of the response of ``/readyz``."""
        findings = self.findings()
        state = worst_state(findings)
        body = {"status": state.value, "checks": [asdict(finding) for finding in findings]}
        return body, 503 if state is State.FAILED else 200


def _failed(check: str, message: str) -> Finding:
    return Finding(check, State.FAILED, message)
