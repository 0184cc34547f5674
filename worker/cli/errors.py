"""Show errors as sentences."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from worker.ledger.database import LedgerBusyError, LedgerRefusedError, is_ledger_unavailable
from worker.ledger.vault import SealError
from worker.settings import SettingsError


@contextmanager
def exit_with_message() -> Iterator[None]:
    """Turn errors that an operator can fix into one sentence and status 1. Others keep their traceback."""
    try:
        yield
    except (SettingsError, LedgerRefusedError, SealError) as error:
        raise SystemExit(str(error)) from None
    except (SQLAlchemyError, LedgerBusyError) as error:
        if not is_ledger_unavailable(error):
            raise
        raise SystemExit(
            f"The ledger cannot be reached: {type(error).__name__}. DATABASE_URL names it."
        ) from None
