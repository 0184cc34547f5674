"""Look at what may be wrong, and tell of each thing once when it begins and once when it is over."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from worker import logs
from worker.alerts import rules, volume
from worker.alerts.figures import (
    MAX_COUNTED_FAILURES,
    MAX_COUNTED_WAITING,
    AccountFigures,
    Figures,
    SourceFigures,
    TokenFigures,
)
from worker.alerts.lifecycle import next_step
from worker.alerts.rules import REFUSED_CLASSES, Problem, Thresholds
from worker.alerts.volume import HOURS_PER_DAY, LOOK_BACK_DAYS, Series
from worker.alerts.webhook import GIVE_UP_SECONDS, Webhook, retry_delay_seconds
from worker.event.received import Trust
from worker.event.times import parse_time
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.reports import account_status, measures
from worker.ledger.reports.account_status import AccountState
from worker.ledger.reports.tallies import SECONDS_PER_HOUR
from worker.ledger.setup import ad_accounts, integrations, sources
from worker.ledger.setup.ad_accounts import Credential
from worker.ledger.upkeep import alert_figures as watching
from worker.ledger.upkeep import alerts
from worker.ledger.upkeep.alerts import Alert, Change, Notice
from worker.pinterest.client.answers import ReasonClass

# Failing with one of these means that every retry was used up: the event itself was never at fault.
_EXHAUSTED = (
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
        inbox_since=account_status.oldest_waiting_since(connection),
        parked=watching.count_parked(connection),
        free_bytes=free_bytes,
        pulses=measures.last_heartbeats(connection),
    )


@dataclass(frozen=True, slots=True)
class _AccountContext:
    """Hold what is known of all ad accounts, each by its id."""

    oldest: dict[str, float]
    delivered: dict[str, int]
    exhausted: dict[str, int]
    contradicted: dict[str, int]
    credentials: dict[str, list[Credential]]


def _accounts(connection: Connection, now: float) -> Iterator[AccountFigures]:
    credentials: dict[str, list[Credential]] = defaultdict(list)
    for one in ad_accounts.used_credentials(connection):
        credentials[one.ad_account_id].append(one)
    beside = _AccountContext(
        watching.oldest_event_times(connection),
        watching.delivered_per_hour(connection, now),
        watching.count_failed_with(connection, _EXHAUSTED, MAX_COUNTED_FAILURES),
        watching.contradicted_by_account(connection, now),
        credentials,
    )
    for stands in account_status.account_statuses(connection, now, MAX_COUNTED_WAITING):
        yield _account(stands, beside)


def _account(stands: AccountState, beside: _AccountContext) -> AccountFigures:
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
    for one in integrations.iterate_integrations(connection):
        expires_at = parse_time(one.config.get("token_expires_at"))
        if one.enabled and expires_at is not None:
            yield TokenFigures(one.id, one.ad_account_id, expires_at)


def _sources(connection: Connection) -> Iterator[SourceFigures]:
    # Counting is dear where there is much to count, and pointless where all of it together is not near a bound.
    span = watching.inbox_span(connection)
    limits = {
        (source.id, trust): source.backlog_limit(trust)
        for source in sources.iterate_sources(connection)
        for trust in Trust
    }
    near = [key for key, limit in limits.items() if span >= Thresholds().backlog_share * limit]
    backlogs = inbox.backlogs(connection, sorted({source_id for source_id, _ in near}))
    for source_id, trust in near:
        key = source_id, trust
        yield SourceFigures(source_id, backlogs[key], limits[key], trust.name.lower())


def _gather_volumes(connection: Connection, hour: int) -> list[Series]:
    """Return how many events of each name came, over the days that a silence is measured by."""
    counted: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in watching.created_by_hour(connection, hour - (LOOK_BACK_DAYS + 1) * HOURS_PER_DAY):
        counted[row[0], row[1]][row[2]] = row[3]
    return [Series(*key, by_hour) for key, by_hour in counted.items()]


log = logs.of(__name__)

# Above the webhook's deadline, so that no second process tells the same meanwhile.
_LEASE_SECONDS = 60.0
_MAX_NOTICES_PER_RUN = 20
_HEARTBEAT_SECONDS = 10.0


class Heartbeat:
    """Write down that a part is alive, no more often than every ten seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._written_at = float("-inf")

    def beat(self, ledger: Ledger, now: float) -> None:
        """Note that the part runs at this moment."""
        with self._lock:
            # A clock that stepped back is no reason for silence.
            if 0 <= now - self._written_at < _HEARTBEAT_SECONDS:
                return
            self._written_at = now
        with ledger.write() as connection:
            measures.record_heartbeat(connection, self._name, now)


def check_figures(
    ledger: Ledger, free_bytes: Callable[[], int], now: float, *, to_webhook: bool
) -> list[Change]:
    """Look at everything but the events' volume, and note what there is to tell."""
    with ledger.snapshot() as connection:
        figures = gather_figures(connection, free_bytes(), now)
    return _update_alerts(
        ledger, tuple(rules.RULES), rules.find_problems(figures), now, to_webhook=to_webhook
    )


def check_volume(ledger: Ledger, now: float, *, to_webhook: bool) -> list[Change]:
    """Look for events that stopped coming; this reads more, and changes by the hour."""
    hour = int(now // SECONDS_PER_HOUR)
    with ledger.read() as connection:
        series = _gather_volumes(connection, hour)
    seen = volume.find_dropped(series, hour)
    return _update_alerts(ledger, (rules.VOLUME_RULE,), seen, now, to_webhook=to_webhook)


def send_notices(ledger: Ledger, webhook: Webhook, clock: Callable[[], float]) -> int:
    """Tell the webhook what it was not told yet, in order; return how many notices it took."""
    for done in range(_MAX_NOTICES_PER_RUN):
        with ledger.write() as connection:
            notice = alerts.take_due_notice(connection, clock(), _LEASE_SECONDS)
        if notice is None:
            return done
        trouble = webhook.tell(notice.id, notice_content(notice))
        with ledger.write() as connection:
            if trouble is None:
                alerts.record_notice_sent(connection, notice.id, clock())
                continue
            _postpone_notice(connection, notice, trouble, clock())
        return done
    return _MAX_NOTICES_PER_RUN


def notice_content(notice: Notice) -> dict[str, object]:
    """Return what the webhook is told; ``text`` is what chat services show."""
    what_to_do = rules.advice(notice.rule) if notice.change != Change.RESOLVED else ""
    head = f"[{notice.change}] {notice.rule}: {notice.summary}"
    return {
        "id": notice.id,
        "change": notice.change,
        "rule": notice.rule,
        "subject": notice.subject,
        "severity": notice.severity,
        "summary": notice.summary,
        "what_to_do": what_to_do,
        "at": notice.at,
        "text": f"{head} {what_to_do}".strip(),
    }


def log_change(one: Alert, change: Change) -> None:
    """Write a change into the log."""
    log.warning(
        "alert",
        rule=one.rule,
        subject=one.subject,
        change=str(change),
        severity=str(one.severity),
        summary=one.summary,
    )


def _postpone_notice(connection: Connection, notice: Notice, trouble: str, now: float) -> None:
    attempts = notice.attempts + 1
    again_at = None if now - notice.at > GIVE_UP_SECONDS else now + retry_delay_seconds(attempts)
    alerts.record_notice_failure(connection, notice, now, again_at=again_at)
    word = "given_up" if again_at is None else "put_off"
    log.error("alert_webhook", notice=notice.id, state=word, attempts=attempts, error=trouble)


def _update_alerts(
    ledger: Ledger, names: Sequence[str], seen: Iterable[Problem], now: float, *, to_webhook: bool
) -> list[Change]:
    """Take every alert of some rules one look further, in one transaction."""
    by_key = {(one.rule, one.subject): one for one in seen}
    told: list[tuple[Alert, Change]] = []
    with ledger.write() as connection:
        if not alerts.try_lock_alerts(connection):
            # Another process looks at this moment, at the same.
            return []
        measures.record_heartbeat(connection, measures.WATCH, now)
        known = alerts.alerts_of_rules(connection, names)
        for key in sorted(known.keys() | by_key.keys()):
            told += _update_alert(connection, known.get(key), by_key.get(key), now)
        for one, change in told:
            alerts.insert_notice(connection, one, change, now, to_webhook=to_webhook)
    for one, change in told:
        log_change(one, change)
    return [change for _, change in told]


def _update_alert(
    connection: Connection, known: Alert | None, seen: Problem | None, now: float
) -> Iterator[tuple[Alert, Change]]:
    rule = known.rule if known else seen.rule if seen else ""
    then = next_step(known, seen, now, rules.alert_delay_seconds(rule))
    if then.alert is not None:
        alerts.save_alert(connection, then.alert)
    elif known is not None:
        alerts.delete_alert(connection, known.rule, known.subject)
    of = then.alert or known
    if then.change is not None and of is not None:
        yield of, then.change
