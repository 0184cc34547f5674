"""Check the ledger before a worker starts."""

import time
from collections.abc import Callable

from worker import logs
from worker.ledger import migrate
from worker.ledger.database import Ledger, LedgerRefusedError, is_ledger_unavailable
from worker.ledger.vault import SealError

log = logs.of(__name__)

_PAUSE_SECONDS = 2.0


def await_ledger(ledger: Ledger, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the ledger answers, and check its tables and keys.

    Raises:
        SystemExit: a migration is missing, or a setting or key is wrong, which needs an operator; no row was touched.
    """
    while True:
        try:
            return migrate.check_ledger(ledger)
        except (LedgerRefusedError, SealError) as error:
            raise SystemExit(str(error)) from None
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            log.warning("ledger_away", error=type(error).__name__)
            sleep(_PAUSE_SECONDS)
