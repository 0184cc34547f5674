"""Read ad accounts at Pinterest: keep the tokens of the sign-ins fresh, and store the Event Quality Scores.

Nothing here is needed for sending: events have credentials of their own.
"""

from collections.abc import Callable
from dataclasses import asdict

from worker import logs
from worker.ledger.database import Ledger
from worker.ledger.setup import pinterest_connections
from worker.ledger.setup.pinterest_connections import Login, Reading
from worker.pinterest.client.account_client import AccountApiError, AccountClient

log = logs.of(__name__)

_LOOKBACKS = ("1d", "14d")
# Longer than the client's deadline, so that a second refresher starts only after the first one has died.
_LEASE_SECONDS = 120.0
_RETRY_SECONDS = 900.0
# Scores of a day change a few times a day.
_READ_EVERY_SECONDS = 6 * 3_600.0
# Pinterest limits reading per minute; a run must also not hold its thread for long.
_MOST_ACCOUNTS_A_RUN = 10
_SECONDS_PER_DAY = 86_400
_NO_APP = "PINTEREST_APP_ID and PINTEREST_APP_SECRET are not set, so the sign-in cannot be refreshed."


def read_pinterest(ledger: Ledger, client: AccountClient | None, clock: Callable[[], float]) -> None:
    """Refresh the tokens that are due, then read the scores that are due; without an app there is no client."""
    ledger.vault.prepare()
    while True:
        with ledger.write() as connection:
            login = pinterest_connections.claim_refresh(connection, ledger.vault, clock(), _LEASE_SECONDS)
        if login is None:
            break
        _refresh(ledger, client, login, clock)
    for _ in range(_MOST_ACCOUNTS_A_RUN if client else 0):
        now = clock()
        with ledger.write() as connection:
            reading = pinterest_connections.claim_reading(connection, now, now + _READ_EVERY_SECONDS)
        if reading is None or client is None:
            return
        _read_scores(ledger, client, reading, clock)


def _refresh(ledger: Ledger, client: AccountClient | None, login: Login, clock: Callable[[], float]) -> None:
    """Replace a sign-in's tokens; of two refreshers the first one stores, and the other one changes nothing."""
    try:
        if client is None:
            raise AccountApiError(_NO_APP)
        tokens = client.tokens(refresh_token=login.refresh_token)
    except AccountApiError as error:
        again_at = clock() + max(_RETRY_SECONDS, error.wait_seconds or 0)
        with ledger.write() as connection:
            pinterest_connections.postpone_refresh(connection, login, again_at, str(error))
        log.warning("sign_in_not_refreshed", login=login.id, status=error.status)
        return
    ledger.vault.prepare()
    with ledger.write() as connection:
        stored = pinterest_connections.replace_tokens(
            connection, ledger.vault, login.id, clock(), version=login.version, **asdict(tokens)
        )
    log.info("sign_in_refreshed", login=login.id, stored=stored)


def _read_scores(ledger: Ledger, client: AccountClient, reading: Reading, clock: Callable[[], float]) -> None:
    with ledger.read() as connection:
        login = pinterest_connections.load_login(connection, ledger.vault, reading.login_id)
    if login is None:
        return
    try:
        scores = {
            lookback: client.quality_scores(login.access_token, reading.ad_account_id, lookback)
            for lookback in _LOOKBACKS
        }
    except AccountApiError as error:
        _note_failure(ledger, reading, login, error, clock())
        return
    now = clock()
    with ledger.write() as connection:
        pinterest_connections.store_scores(
            connection, reading.ad_account, scores, int(now // _SECONDS_PER_DAY), now
        )


def _note_failure(ledger: Ledger, reading: Reading, login: Login, error: AccountApiError, now: float) -> None:
    again_at = now + max(_RETRY_SECONDS, error.wait_seconds or 0)
    with ledger.write() as connection:
        # Pinterest counts the requests of the sign-in together, so a limit is for all its ad accounts.
        pinterest_connections.postpone_reading(
            connection, reading, again_at, str(error), of_login=error.status == 429
        )
        if error.status == 401:
            # Revoked: the next run tries the refresh token, which says whether a person must connect again.
            pinterest_connections.postpone_refresh(connection, login, now, login.problem)
    log.warning("scores_not_read", ad_account=reading.ad_account_id, status=error.status)
