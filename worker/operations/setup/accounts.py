"""List ad accounts, pause and resume them, and set their rates.

NotFoundError is raised for an object that does not exist.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from sqlalchemy import Connection

from worker.formats import count_text
from worker.ledger.reports import account_status
from worker.ledger.reports.account_status import WaitingDeliveries
from worker.ledger.setup import ad_accounts as store
from worker.ledger.setup.ad_accounts import AccountRateLimit, Credential
from worker.operations.caller import Caller
from worker.operations.errors import NotFoundError
from worker.operations.setup import token_expiry

RUNNING, BREAKER_OPEN, PARTLY_PAUSED, PAUSED = "running", "breaker_open", "partly_paused", "paused"
DEFAULT_REASON = "Paused manually."
LONGEST_REASON = 300
# Requests a second, and requests at once.
LOWEST_RATE, HIGHEST_RATE = 0.01, 100_000
SMALLEST_BURST, LARGEST_BURST = 1, 100_000


@dataclass(frozen=True, slots=True)
class CredentialStatus(Credential):
    """Describe an access token with its state; times are in Unix seconds."""

    state: str
    token_expires_at: float | None


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """Describe an ad account: its state, its rate, and what waits for it."""

    ad_account_id: str
    state: str
    reason: str | None
    rate_limit_rps: float
    rate_limit_burst: int
    pending: int
    in_flight: int
    oldest_waiting_seconds: float | None
    credentials: Sequence[CredentialStatus]


def list_accounts(caller: Caller) -> list[AccountStatus]:
    """Return the ad accounts that an integration uses or that still hold batches, ordered by id."""
    with caller.ledger.read() as connection:
        pending, in_flight = (
            account_status.pending_by_account(connection),
            account_status.in_flight_by_account(connection),
        )
        ends = token_expiry.ends_by_credential(connection)
        return [
            _status(credentials, pending.get(account_id), in_flight.get(account_id), ends, caller.now)
            for account_id, credentials in _by_account(connection)
        ]


def get_account(caller: Caller, ad_account_id: str) -> AccountStatus:
    """Return one ad account."""
    for account in list_accounts(caller):
        if account.ad_account_id == ad_account_id:
            return account
    raise NotFoundError("ad account", ad_account_id)


def pause_account(caller: Caller, ad_account_id: str, reason: str = DEFAULT_REASON) -> bool:
    """Stop sending with every access token of an ad account; return whether that changed anything.

    Its events are accepted and wait. A new access token does not end the pause.
    """
    with caller.changing() as change:
        paused = [
            store.pause_credential(
                change.connection, credential.id, store.MANUAL, reason, change.actor, change.now
            )
            for credential in _credentials(change.connection, ad_account_id)
        ]
        if any(paused):
            change.record("account.pause", ad_account_id, {"reason": [None, reason]})
        return any(paused)


def resume_account(caller: Caller, ad_account_id: str, *, only_manual: bool = False) -> bool:
    """Send with every access token of an ad account again; return whether that changed anything.

    ``only_manual`` leaves out the tokens that the delivery paused for a reason of its own.
    """
    with caller.changing() as change:
        credentials = [
            credential
            for credential in _credentials(change.connection, ad_account_id)
            if not only_manual or credential.paused_class == store.MANUAL
        ]
        resumed = [
            store.resume_credential(change.connection, credential.id, now=change.now)
            for credential in credentials
        ]
        if any(resumed):
            change.record("account.resume", ad_account_id, {"reason": [_reason(credentials), None]})
        return any(resumed)


def pause_all_accounts(caller: Caller, reason: str = DEFAULT_REASON) -> int:
    """Pause every ad account; return how many that changed."""
    return sum(pause_account(caller, ad_account_id, reason) for ad_account_id in _account_ids(caller))


def resume_all_accounts(caller: Caller) -> int:
    """Resume every ad account that was paused manually; return how many that changed."""
    return sum(
        resume_account(caller, ad_account_id, only_manual=True) for ad_account_id in _account_ids(caller)
    )


def set_account_rate(
    caller: Caller, ad_account_id: str, *, rps: float | None = None, burst: int | None = None
) -> bool:
    """Set an ad account's rate from its next request on; return whether that changed anything.

    None leaves a value as it is. What was spent of the rate stays spent.
    """
    with caller.changing() as change:
        current = _credentials(change.connection, ad_account_id)[0]
        before = {"rate_limit_rps": current.rate_limit_rps, "rate_limit_burst": current.rate_limit_burst}
        values = {"rate_limit_rps": rps, "rate_limit_burst": burst}
        changes = {
            name: [before[name], value] for name, value in values.items() if value not in (None, before[name])
        }
        if changes:
            rate = AccountRateLimit(rps or current.rate_limit_rps, burst or current.rate_limit_burst)
            store.set_rate_limit(change.connection, current.ad_account, rate, change.now)
            change.record("account.rate", ad_account_id, changes)
        return bool(changes)


def _account_state(states: Sequence[str]) -> str:
    """Return the state of an ad account: the worst one of its credentials."""
    if PAUSED in states:
        return PAUSED if set(states) == {PAUSED} else PARTLY_PAUSED
    return BREAKER_OPEN if BREAKER_OPEN in states else RUNNING


def _account_ids(caller: Caller) -> list[str]:
    with caller.ledger.read() as connection:
        return [ad_account_id for ad_account_id, _ in _by_account(connection)]


def _by_account(connection: Connection) -> Iterator[tuple[str, list[Credential]]]:
    credentials = sorted(
        store.used_credentials(connection), key=lambda credential: (credential.ad_account_id, credential.id)
    )
    for ad_account_id, of_account in groupby(credentials, key=lambda credential: credential.ad_account_id):
        yield ad_account_id, list(of_account)


def _credentials(connection: Connection, ad_account_id: str) -> list[Credential]:
    credentials = dict(_by_account(connection)).get(ad_account_id)
    if credentials is None:
        raise NotFoundError("ad account", ad_account_id)
    return credentials


def _status(
    credentials: Sequence[Credential],
    pending: WaitingDeliveries | None,
    in_flight: WaitingDeliveries | None,
    ends: Mapping[int, float],
    now: float,
) -> AccountStatus:
    since = [waiting.since for waiting in (pending, in_flight) if waiting]
    statuses = [_credential_status(credential, ends.get(credential.id)) for credential in credentials]
    return AccountStatus(
        ad_account_id=credentials[0].ad_account_id,
        state=_account_state([credential.state for credential in statuses]),
        reason=_reason(credentials),
        rate_limit_rps=credentials[0].rate_limit_rps,
        rate_limit_burst=credentials[0].rate_limit_burst,
        pending=pending.deliveries if pending else 0,
        in_flight=in_flight.deliveries if in_flight else 0,
        oldest_waiting_seconds=max(0.0, now - min(since)) if since else None,
        credentials=statuses,
    )


def _credential_status(credential: Credential, token_expires_at: float | None) -> CredentialStatus:
    state = BREAKER_OPEN if credential.breaker_open_until is not None else RUNNING
    state = state if credential.paused_at is None else PAUSED
    return CredentialStatus(**asdict(credential), state=state, token_expires_at=token_expires_at)


def _reason(credentials: Sequence[Credential]) -> str | None:
    """Return why an ad account does not run: the reason of its first credential that does not."""
    for credential in credentials:
        if credential.paused_at is not None:
            return credential.paused_reason
    for credential in credentials:
        if credential.breaker_open_until is not None:
            failed = count_text(credential.breaker_failures, "time")
            return f"Pinterest failed {failed} in a row; one batch at a time tries again."
    return None
