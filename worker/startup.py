"""Let no worker start on a ledger that it cannot read."""

import time
from collections.abc import Callable

from worker import logs
from worker.ledger import migrate
from worker.ledger.database import Ledger, is_ledger_unavailable
from worker.ledger.migrate import MigrationsMissingError
from worker.ledger.vault import SealError

log = logs.of(__name__)

_PAUSE_SECONDS = 2.0


def await_ledger(ledger: Ledger, sleep: Callable[[float], None] = time.sleep) -> None:
    """Wait until the ledger answers, and make sure that this process may work on it.

    A database that is away comes back. A missing migration or a wrong key needs a hand: the process stops with a
    sentence before it has touched a single row.

    Raises:
        SystemExit: with that sentence.
    """
    while True:
        try:
            return migrate.check_ledger(ledger)
        except (MigrationsMissingError, SealError) as error:
            raise SystemExit(str(error)) from None
        except Exception as error:
            if not is_ledger_unavailable(error):
                raise
            log.warning("ledger_away", error=type(error).__name__)
            sleep(_PAUSE_SECONDS)
