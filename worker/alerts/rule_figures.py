"""The figures that the rules check, and how they are read."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from worker.event.received import Trust
from worker.event.times import parse_time
from worker.ledger.intake import inbox
from worker.ledger.reports import account_status, measures
from worker.ledger.reports.account_status import AccountState
from worker.ledger.setup import ad_accounts, integrations, pinterest_connections, sources
from worker.ledger.setup.ad_accounts import Credential
from worker.ledger.upkeep import alert_queries
from worker.pinterest.client.answer_decisions import REFUSALS, RETRIED

# Counting stops here, because it runs every 30 seconds; alerts then say "or more".
MAX_COUNTED_WAITING = 2_000_000
MAX_COUNTED_FAILURES = 20_000
# A status of the Event Quality Score is compared with those of this many days before.
COMPARED_DAYS = 7
# A source has a problem when it uses this share of its backlog limit.
BACKLOG_SHARE = 0.8
_SECONDS_A_DAY = 86_400
# Each process of a host with a wrong clock says so every minute.
_SKEW_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """Hold the state of one ad account; times are in Unix seconds.

    ``waiting`` counts pending and in-flight events, up to `MAX_COUNTED_WAITING`. ``oldest_event_at`` is when the
    oldest of them happened, ``waiting_since`` when it was accepted. ``exhausted`` counts deliveries among the
    newest `MAX_COUNTED_FAILURES` that failed after every retry. ``paused_class`` is empty without a pause.
    """

    ad_account_id: str
    waiting: int = 0
    waiting_since: float | None = None
    oldest_event_at: float | None = None
    delivered_an_hour: int = 0
    exhausted: int = 0
    # Signed events of the last two hours whose ids public events with other content had used before.
    contradicted: int = 0
    breaker_open_until: float | None = None
    paused_class: str | None = None
    paused_reason: str = ""
    # Since when something could have been sent, and when the last request was.
    due_since: float | None = None
    last_request_at: float = 0.0


@dataclass(frozen=True, slots=True)
class TokenFigures:
    """Hold when the access token of an enabled integration expires."""

    integration_id: str
    ad_account_id: str
    expires_at: float


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """Hold how much of its backlog limit a source uses."""

    source_id: str
    events: int
    limit: int
    # Signed and public events have separate limits.
    trust: str = "signed"


@dataclass(frozen=True, slots=True)
class Figures:
    """Hold all figures at one time; ``pulses`` has the last heartbeat of each part.

    ``sign_ins`` has why the sign-in of an ad account cannot be refreshed. ``statuses`` has Pinterest's Event Quality
    Score by ad account, platform and ingestion source, then by day.
    """

    now: float
    accounts: tuple[AccountFigures, ...] = ()
    tokens: tuple[TokenFigures, ...] = ()
    full_sources: tuple[SourceFigures, ...] = ()
    inbox_since: float | None = None
    parked: int = 0
    free_bytes: int | None = None
    pulses: Mapping[str, float] = field(default_factory=dict)
    # By host: how many seconds its clock is ahead of the database's.
    skews: Mapping[str, float] = field(default_factory=dict)
    sign_ins: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[tuple[str, str, str], Mapping[int, str]] = field(default_factory=dict)
    # Messages in each queue of events. The number of waiting events is only counted as far as the longest queue.
    queues: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0


def gather_figures(
    connection: Connection, free_bytes: int, now: float, queues: Mapping[str, int] | None = None
) -> Figures:
    """Return the figures of all rules that are checked often."""
    heartbeats = measures.last_heartbeats(connection)
    queues = queues or {}
    return Figures(
        now=now,
        accounts=tuple(_accounts(connection, now)),
        tokens=tuple(_tokens(connection)),
        full_sources=tuple(_sources(connection)),
        inbox_since=account_status.oldest_waiting_since(connection),
        parked=alert_queries.count_parked(connection),
        free_bytes=free_bytes,
        pulses=heartbeats,
        skews=measures.skews_since(heartbeats, now - _SKEW_SECONDS),
        sign_ins={
            reading.ad_account_id: reading.login_problem
            for reading in pinterest_connections.readings(connection)
            if reading.login_problem
        },
        statuses=pinterest_connections.statuses_since(connection, int(now // _SECONDS_A_DAY) - COMPARED_DAYS),
        queues=queues,
        waiting=inbox.count_waiting(connection, max(queues.values(), default=0)),
    )


@dataclass(frozen=True, slots=True)
class _AccountContext:
    """Hold figures of all ad accounts, by account id."""

    oldest: dict[str, float]
    delivered: dict[str, int]
    exhausted: dict[str, int]
    contradicted: dict[str, int]
    credentials: dict[str, list[Credential]]
    due_since: dict[str, float]


def _accounts(connection: Connection, now: float) -> Iterator[AccountFigures]:
    credentials: dict[str, list[Credential]] = defaultdict(list)
    for credential in ad_accounts.used_credentials(connection):
        credentials[credential.ad_account_id].append(credential)
    context = _AccountContext(
        alert_queries.oldest_event_times(connection),
        alert_queries.delivered_per_hour(connection, now),
        alert_queries.count_failed_with(connection, RETRIED, MAX_COUNTED_FAILURES),
        alert_queries.contradicted_by_account(connection, now),
        credentials,
        alert_queries.due_since(connection),
    )
    for account in account_status.account_statuses(connection, now, MAX_COUNTED_WAITING):
        yield _account(account, context)


def _account(account: AccountState, context: _AccountContext) -> AccountFigures:
    name = account.ad_account_id
    credentials = context.credentials.get(name, [])
    since = [at for at in (account.pending_since, account.in_flight_since) if at is not None]
    paused = sorted(
        (credential for credential in credentials if credential.paused_class is not None),
        # A pause by a person needs no alert.
        key=lambda credential: (
            credential.paused_class not in REFUSALS,
            credential.paused_class == ad_accounts.MANUAL,
        ),
    )
    return AccountFigures(
        ad_account_id=name,
        waiting=account.pending + account.in_flight,
        waiting_since=min(since, default=None),
        oldest_event_at=context.oldest.get(name),
        delivered_an_hour=context.delivered.get(name, 0),
        exhausted=context.exhausted.get(name, 0),
        contradicted=context.contradicted.get(name, 0),
        breaker_open_until=max(
            (credential.breaker_open_until for credential in credentials if credential.breaker_open_until),
            default=None,
        ),
        paused_class=paused[0].paused_class if paused else None,
        paused_reason=(paused[0].paused_reason or "") if paused else "",
        # While batches wait for a retry, pending events may have to wait for them.
        due_since=context.due_since.get(name, account.pending_since if not account.in_flight else None),
        last_request_at=account.last_request_at,
    )


def _tokens(connection: Connection) -> Iterator[TokenFigures]:
    for integration in integrations.iterate_integrations(connection):
        expires_at = parse_time(integration.config.get("token_expires_at"))
        if integration.enabled and expires_at is not None:
            yield TokenFigures(integration.id, integration.ad_account_id, expires_at)


def _sources(connection: Connection) -> Iterator[SourceFigures]:
    # Counting a large inbox is slow, so only sources whose limit the whole inbox comes near are counted.
    span = alert_queries.inbox_span(connection)
    limits = {
        (source.id, trust): source.backlog_limit(trust)
        for source in sources.iterate_sources(connection)
        for trust in Trust
    }
    keys = [key for key, limit in limits.items() if span >= BACKLOG_SHARE * limit]
    backlogs = inbox.backlogs(connection, sorted({source_id for source_id, _ in keys}))
    for source_id, trust in keys:
        key = source_id, trust
        yield SourceFigures(source_id, backlogs[key], limits[key], trust.name.lower())
