"""Check the alert rules; notify once when a problem begins and once when it is over."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from worker import logs
from worker.alerts import frequent_problems, rates, rules, volume
from worker.alerts.channels import Channel
from worker.alerts.figures import (
    MAX_COUNTED_FAILURES,
    MAX_COUNTED_WAITING,
    AccountFigures,
    Figures,
    SourceFigures,
    TokenFigures,
)
from worker.alerts.lifecycle import next_step
from worker.alerts.rules import COMPARED_DAYS, REFUSED_CLASSES, Problem, Thresholds
from worker.alerts.volume import HOURS_PER_DAY, LOOK_BACK_DAYS, Series
from worker.alerts.webhook import GIVE_UP_SECONDS, Webhook, retry_delay_seconds
from worker.event.received import Trust
from worker.event.times import parse_time
from worker.ledger.database import Ledger
from worker.ledger.intake import inbox
from worker.ledger.reports import account_status, measures
from worker.ledger.reports.account_status import AccountState
from worker.ledger.reports.data_problems import count_problems
from worker.ledger.reports.shop_orders import count_fates_by_source
from worker.ledger.reports.tallies import SECONDS_PER_HOUR
from worker.ledger.setup import ad_accounts, integrations, logins, sources
from worker.ledger.setup.ad_accounts import Credential
from worker.ledger.upkeep import alert_figures as watching
from worker.ledger.upkeep import alerts, retention
from worker.ledger.upkeep.alerts import Alert, Change, Notice
from worker.pinterest.client.decisions import ReasonClass

# Reason classes of deliveries that used up their retries; the event itself is valid.
_EXHAUSTED = (
    ReasonClass.RATE_LIMITED,
    ReasonClass.UNAVAILABLE,
    ReasonClass.SWITCHED_OFF,
    ReasonClass.NOT_REACHED,
    ReasonClass.NO_ANSWER,
    ReasonClass.UNEXPECTED,
    ReasonClass.UNREADABLE,
)


def _gather_figures(connection: Connection, free_bytes: int, now: float) -> Figures:
    """Return the figures of all rules that are checked often."""
    heartbeats = measures.last_heartbeats(connection)
    return Figures(
        now=now,
        accounts=tuple(_accounts(connection, now)),
        tokens=tuple(_tokens(connection)),
        full_sources=tuple(_sources(connection)),
        inbox_since=account_status.oldest_waiting_since(connection),
        parked=watching.count_parked(connection),
        free_bytes=free_bytes,
        pulses=heartbeats,
        skews=measures.skews_since(heartbeats, now - _SKEW_SECONDS),
        sign_ins={
            one.ad_account_id: one.login_problem for one in logins.readings(connection) if one.login_problem
        },
        statuses=logins.statuses_since(connection, int(now // _SECONDS_A_DAY) - COMPARED_DAYS),
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
        watching.oldest_event_times(connection),
        watching.delivered_per_hour(connection, now),
        watching.count_failed_with(connection, _EXHAUSTED, MAX_COUNTED_FAILURES),
        watching.contradicted_by_account(connection, now),
        credentials,
        watching.due_since(connection),
    )
    for standing in account_status.account_statuses(connection, now, MAX_COUNTED_WAITING):
        yield _account(standing, context)


def _account(standing: AccountState, context: _AccountContext) -> AccountFigures:
    name = standing.ad_account_id
    own = context.credentials.get(name, [])
    since = [at for at in (standing.pending_since, standing.in_flight_since) if at is not None]
    paused = sorted(
        (credential for credential in own if credential.paused_class is not None),
        key=lambda credential: credential.paused_class not in REFUSED_CLASSES,
    )
    return AccountFigures(
        ad_account_id=name,
        waiting=standing.pending + standing.in_flight,
        waiting_since=min(since, default=None),
        oldest_event_at=context.oldest.get(name),
        delivered_an_hour=context.delivered.get(name, 0),
        exhausted=context.exhausted.get(name, 0),
        contradicted=context.contradicted.get(name, 0),
        breaker_open_until=max(
            (credential.breaker_open_until for credential in own if credential.breaker_open_until),
            default=None,
        ),
        paused_class=paused[0].paused_class if paused else None,
        paused_reason=(paused[0].paused_reason or "") if paused else "",
        # While batches wait for a retry, pending events may have to wait for them.
        due_since=context.due_since.get(name, standing.pending_since if not standing.in_flight else None),
        last_request_at=standing.last_request_at,
    )


def _tokens(connection: Connection) -> Iterator[TokenFigures]:
    for integration in integrations.iterate_integrations(connection):
        expires_at = parse_time(integration.config.get("token_expires_at"))
        if integration.enabled and expires_at is not None:
            yield TokenFigures(integration.id, integration.ad_account_id, expires_at)


def _sources(connection: Connection) -> Iterator[SourceFigures]:
    # Counting a large inbox is slow, so only sources whose limit the whole inbox comes near are counted.
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
    """Return the hourly number of events of each name, for the days that `volume` compares."""
    counted: dict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row in watching.created_by_hour(connection, hour - (LOOK_BACK_DAYS + 1) * HOURS_PER_DAY):
        counted[row[0], row[1]][row[2]] = row[3]
    return [Series(*key, by_hour) for key, by_hour in counted.items()]


log = logs.of(__name__)

# Longer than the webhook's deadline, so that no second process sends the same notice.
_LEASE_SECONDS = 60.0
_SECONDS_A_DAY = 86_400
# Each process of a host with a wrong clock says so every minute.
_SKEW_SECONDS = 300.0
_MAX_NOTICES_PER_RUN = 20
_NEW_CHANNEL_SECONDS = 600.0
_HEARTBEAT_SECONDS = 10.0


class Heartbeat:
    """Record that a part is alive, at most every ten seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._written_at = float("-inf")

    def beat(self, ledger: Ledger, now: float) -> None:
        """Record that the part runs now."""
        with self._lock:
            # After a clock step back the heartbeat is written again.
            if 0 <= now - self._written_at < _HEARTBEAT_SECONDS:
                return
            self._written_at = now
        with ledger.write() as connection:
            measures.record_heartbeat(connection, self._name, now)


def check_figures(
    ledger: Ledger, free_bytes: Callable[[], int], now: float, *, to_webhook: bool
) -> list[Change]:
    """Check all rules that are checked often, and queue notices; return the changes."""
    with ledger.snapshot() as connection:
        figures = _gather_figures(connection, free_bytes(), now)
    return _update_alerts(
        ledger, tuple(rules.RULES), rules.find_problems(figures), now, to_webhook=to_webhook
    )


def check_volume(ledger: Ledger, now: float, *, to_webhook: bool) -> list[Change]:
    """Check for event names that stopped; this reads more, and its result changes hourly."""
    hour = int(now // SECONDS_PER_HOUR)
    with ledger.read() as connection:
        series = _gather_volumes(connection, hour)
    problems = volume.find_dropped(series, hour)
    return _update_alerts(ledger, (rules.VOLUME_RULE,), problems, now, to_webhook=to_webhook)


def check_data_quality(ledger: Ledger, now: float, most_percent: float, *, to_webhook: bool) -> list[Change]:
    """Check for problems that more than a percentage of a source's events have."""
    hour = int(now // SECONDS_PER_HOUR)
    with ledger.read() as connection:
        counts = count_problems(connection, [hour - hours for hours in frequent_problems.WINDOWS_HOURS])
    problems = frequent_problems.find_frequent(counts, most_percent)
    return _update_alerts(ledger, (rules.DATA_RULE,), problems, now, to_webhook=to_webhook)


def check_rates(ledger: Ledger, now: float, *, to_webhook: bool) -> list[Change]:
    """Check each source's rates and silence against its thresholds, and look for new reasons of failures."""
    hour = int(now // SECONDS_PER_HOUR)
    with ledger.write() as connection:
        all_sources = list(sources.iterate_sources(connection))
        ended = watching.ended_by_name(connection, hour - rates.WINDOW_HOURS + 1)
        last = watching.last_accepted_hours(connection, hour - rates.SILENCE_DAYS * HOURS_PER_DAY)
        kinds = watching.failure_kinds(connection, MAX_COUNTED_FAILURES)
        first_seen = {kind: _first_seen(connection, kind, at) for kind, at in kinds.items()}
        since, until = (now - seconds for seconds in rates.ORDER_SECONDS)
        fates = count_fates_by_source(connection, since, until)
    problems = rates.find_inaccurate(fates, all_sources)
    problems += rates.find_rates(ended, all_sources, hour)
    problems += rates.find_silent(last, all_sources, hour)
    problems += rates.find_new_reasons(kinds, first_seen, now)
    return _update_alerts(ledger, tuple(rules.RATE_RULES), problems, now, to_webhook=to_webhook)


def _first_seen(connection: Connection, kind: watching.FailureKind, at: float) -> float:
    """Return when a kind of failure was first seen, whatever became of that delivery."""
    name = ":".join(("reason", *kind))
    _, known = retention.read_watermark(connection, name)
    if not known:
        retention.set_watermark(connection, name, 0, at)
    return known or at


def send_to_channel(ledger: Ledger, channel: Channel, clock: Callable[[], float]) -> int:
    """Send new notices to a channel of people, in order; return how many it accepted.

    A failed one is tried again with the next run, for a day.
    """
    name = f"alerts_to_{channel.name}"
    for done in range(_MAX_NOTICES_PER_RUN):
        now = clock()
        with ledger.write() as connection:
            position, leased_until = retention.read_watermark(connection, name)
            if now < leased_until <= now + _LEASE_SECONDS:
                return done
            # A channel that is new hears of what is new.
            since = now - (GIVE_UP_SECONDS if position or leased_until else _NEW_CHANNEL_SECONDS)
            notice = alerts.next_notice(connection, position, since)
            if notice is None:
                return done
            retention.set_watermark(connection, name, notice.id - 1, now + _LEASE_SECONDS)
        trouble = channel.send(notice.id, notice_content(notice))
        if trouble is not None:
            log.error("alert_channel", channel=channel.name, notice=notice.id, error=trouble)
            return done
        with ledger.write() as connection:
            retention.set_watermark(connection, name, notice.id, 0.0)
    return _MAX_NOTICES_PER_RUN


def send_notices(ledger: Ledger, webhook: Webhook, clock: Callable[[], float]) -> int:
    """Send queued notices to the webhook, in order; return how many it accepted."""
    for done in range(_MAX_NOTICES_PER_RUN):
        with ledger.write() as connection:
            notice = alerts.take_due_notice(connection, clock(), _LEASE_SECONDS)
        if notice is None:
            return done
        trouble = webhook.send(notice.id, notice_content(notice))
        with ledger.write() as connection:
            if trouble is None:
                alerts.record_notice_sent(connection, notice.id, clock())
                continue
            _postpone_notice(connection, notice, trouble, clock())
        return done
    return _MAX_NOTICES_PER_RUN


def notice_content(notice: Notice) -> dict[str, object]:
    """Return the body of a notice; ``text`` is for chat services."""
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


def log_change(alert: Alert, change: Change) -> None:
    """Log a change."""
    log.warning(
        "alert",
        rule=alert.rule,
        subject=alert.subject,
        change=str(change),
        severity=str(alert.severity),
        summary=alert.summary,
    )


def _postpone_notice(connection: Connection, notice: Notice, trouble: str, now: float) -> None:
    attempts = notice.attempts + 1
    again_at = None if now - notice.at > GIVE_UP_SECONDS else now + retry_delay_seconds(attempts)
    alerts.record_notice_failure(connection, notice, now, again_at=again_at)
    word = "given_up" if again_at is None else "put_off"
    log.error("alert_webhook", notice=notice.id, state=word, attempts=attempts, error=trouble)


def _update_alerts(
    ledger: Ledger, names: Sequence[str], problems: Iterable[Problem], now: float, *, to_webhook: bool
) -> list[Change]:
    """Update the alerts of some rules in one transaction."""
    by_key = {(problem.rule, problem.subject): problem for problem in problems}
    changes: list[tuple[Alert, Change]] = []
    with ledger.write() as connection:
        if not alerts.try_lock_alerts(connection):
            # Another process checks at this moment.
            return []
        measures.record_heartbeat(connection, measures.WATCH, now)
        known = alerts.alerts_of_rules(connection, names)
        for key in sorted(known.keys() | by_key.keys()):
            changes += _update_alert(connection, known.get(key), by_key.get(key), now)
        for alert, change in changes:
            alerts.insert_notice(connection, alert, change, now, to_webhook=to_webhook)
    for alert, change in changes:
        log_change(alert, change)
    return [change for _, change in changes]


def _update_alert(
    connection: Connection, known: Alert | None, problem: Problem | None, now: float
) -> Iterator[tuple[Alert, Change]]:
    rule = known.rule if known else problem.rule if problem else ""
    then = next_step(known, problem, now, rules.alert_delay_seconds(rule))
    if then.alert is not None:
        alerts.save_alert(connection, then.alert)
    elif known is not None:
        alerts.delete_alert(connection, known.rule, known.subject)
    of = then.alert or known
    if then.change is not None and of is not None:
        yield of, then.change
