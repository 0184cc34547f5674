"""Gather what the rules of the alerts look at."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from worker.alerts.figures import (
    MOST_FAILURES,
    MOST_WAITING,
    AccountFigures,
    Figures,
    SourceFigures,
    TokenFigures,
)
from worker.alerts.rules import REFUSED_CLASSES, Policy
from worker.alerts.volume import DAYS, HOURS_A_DAY, Series
from worker.events.times import parse_time
from worker.events.trust import Trust
from worker.ledger import accounts, heartbeats, inbox, integrations, sources, standing, watching
from worker.ledger.accounts import Credential
from worker.ledger.standing import AccountStanding
from worker.pinterest.verdict import ReasonClass

# Failing with one of these means that every retry was used up: the event itself was never at fault.
EXHAUSTED = (
    ReasonClass.RATE_LIMITED,
    ReasonClass.UNAVAILABLE,
    ReasonClass.SWITCHED_OFF,
    ReasonClass.NOT_REACHED,
    ReasonClass.NO_ANSWER,
    ReasonClass.UNEXPECTED,
    ReasonClass.UNREADABLE,
)


def gather_figures(connection: Connection, free_bytes: int, now: float) -> Figures:
    """Return one look at everything but the volume of the events."""
    return Figures(
        now=now,
        accounts=tuple(_accounts(connection, now)),
        tokens=tuple(_tokens(connection)),
        full_sources=tuple(_sources(connection)),
        inbox_since=standing.inbox_since(connection),
        parked=watching.parked(connection),
        free_bytes=free_bytes,
        pulses=heartbeats.last(connection),
    )


@dataclass(frozen=True, slots=True)
class _Beside:
    """Hold what is known of all ad accounts, each by its id."""

    oldest: dict[str, float]
    delivered: dict[str, int]
    exhausted: dict[str, int]
    contradicted: dict[str, int]
    credentials: dict[str, list[Credential]]


def _accounts(connection: Connection, now: float) -> Iterator[AccountFigures]:
    credentials: dict[str, list[Credential]] = defaultdict(list)
    for one in accounts.in_use(connection):
        credentials[one.ad_account_id].append(one)
    beside = _Beside(
        watching.oldest_events(connection),
        watching.delivered_an_hour(connection, now),
        watching.failed_with(connection, EXHAUSTED, MOST_FAILURES),
        watching.contradicted(connection, now),
        credentials,
    )
    for stands in standing.accounts(connection, now, MOST_WAITING):
        yield _account(stands, beside)


def _account(stands: AccountStanding, beside: _Beside) -> AccountFigures:
    name = stands.ad_account_id
    mine = beside.credentials.get(name, [])
    since = [at for at in (stands.pending_since, stands.in_flight_since) if at is not None]
    paused = sorted(
        (one for one in mine if one.paused_class is not None),
        key=lambda one: one.paused_class not in REFUSED_CLASSES,
    )
    return AccountFigures(
        ad_account_id=name,
        waiting=stands.pending + stands.in_flight,
        waiting_since=min(since, default=None),
        oldest_event_at=beside.oldest.get(name),
        delivered_an_hour=beside.delivered.get(name, 0),
        exhausted=beside.exhausted.get(name, 0),
        contradicted=beside.contradicted.get(name, 0),
        breaker_open_until=max(
            (one.breaker_open_until for one in mine if one.breaker_open_until), default=None
        ),
        paused_class=paused[0].paused_class if paused else None,
        paused_reason=(paused[0].paused_reason or "") if paused else "",
    )


def _tokens(connection: Connection) -> Iterator[TokenFigures]:
    for one in integrations.every(connection):
        expires_at = parse_time(one.config.get("token_expires_at"))
        if one.enabled and expires_at is not None:
            yield TokenFigures(one.id, one.ad_account_id, expires_at)


def _sources(connection: Connection) -> Iterator[SourceFigures]:
    # Counting is dear where there is much to count, and pointless where all of it together is not near a bound.
    span = watching.inbox_span(connection)
    limits = {
        (source.id, trust): source.backlog_limit(trust)
        for source in sources.every(connection)
        for trust in Trust
    }
    near = [key for key, limit in limits.items() if span >= Policy().backlog_share * limit]
    backlogs = inbox.backlogs(connection, sorted({source_id for source_id, _ in near}))
    for source_id, trust in near:
        key = source_id, trust
        yield SourceFigures(source_id, backlogs[key], limits[key], trust.name.lower())


def gather_volumes(connection: Connection, hour: int) -> list[Series]:
    """Return how many events of each name came, over the days that a silence is measured by."""
    counted: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in watching.created_by_hour(connection, hour - (DAYS + 1) * HOURS_A_DAY):
        counted[row[0], row[1]][row[2]] = row[3]
    return [Series(*key, by_hour) for key, by_hour in counted.items()]
