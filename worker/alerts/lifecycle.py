"""Check the alert rules; notify once when a problem begins and once when it is over."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from worker import logs
from worker.alerts import rules
from worker.alerts.channels import Channel, WebhookChannel
from worker.alerts.rule_figures import gather_figures
from worker.alerts.rules import RuleProblem
from worker.ledger.database import Ledger
from worker.ledger.reports import measures
from worker.ledger.upkeep import alerts, watermarks
from worker.ledger.upkeep.alerts import Alert, Change, Notice, Severity

# Between two attempts.
_FIRST_RETRY_SECONDS = 15.0
_MAX_RETRY_SECONDS = 900.0
# Older notices are dropped.
_GIVE_UP_SECONDS = 86_400.0

log = logs.of(__name__)

# Longer than the webhook's deadline, so that no second process sends the same notice.
_LEASE_SECONDS = 60.0
_MAX_NOTICES_PER_RUN = 20
_NEW_CHANNEL_SECONDS = 600.0


def check_figures(
    ledger: Ledger,
    free_bytes: Callable[[], int],
    now: float,
    *,
    to_webhook: bool,
    queues: Mapping[str, int] | None = None,
) -> list[Change]:
    """Check all rules that are checked often, and queue notices; return the changes.

    Without the messages of ``queues`` the alerts about them stay as they are.
    """
    with ledger.snapshot() as connection:
        figures = gather_figures(connection, free_bytes(), now, queues)
    names = tuple(name for name in rules.RULES if queues is not None or name != "queue_unread")
    return update_alerts(ledger, names, rules.find_problems(figures), now, to_webhook=to_webhook)


def send_to_channel(ledger: Ledger, channel: Channel, clock: Callable[[], float]) -> int:
    """Send new notices to a channel of people, in order; return how many it accepted.

    A failed one is tried again with the next run, for a day.
    """
    name = f"alerts_to_{channel.name}"
    for count in range(_MAX_NOTICES_PER_RUN):
        now = clock()
        with ledger.write() as connection:
            position, leased_until = watermarks.read_watermark(connection, name)
            if now < leased_until <= now + _LEASE_SECONDS:
                return count
            # A new channel gets only recent notices.
            since = now - (_GIVE_UP_SECONDS if position or leased_until else _NEW_CHANNEL_SECONDS)
            notice = alerts.next_notice(connection, position, since)
            if notice is None:
                return count
            watermarks.set_watermark(connection, name, notice.id - 1, now + _LEASE_SECONDS)
        trouble = channel.send(notice.id, notice_content(notice))
        if trouble is not None:
            log.error("alert_channel", channel=channel.name, notice=notice.id, error=trouble)
            return count
        with ledger.write() as connection:
            watermarks.set_watermark(connection, name, notice.id, 0.0)
    return _MAX_NOTICES_PER_RUN


def send_notices(ledger: Ledger, webhook: WebhookChannel, clock: Callable[[], float]) -> int:
    """Send queued notices to the webhook, in order; return how many it accepted."""
    for count in range(_MAX_NOTICES_PER_RUN):
        with ledger.write() as connection:
            notice = alerts.take_due_notice(connection, clock(), _LEASE_SECONDS)
        if notice is None:
            return count
        trouble = webhook.send(notice.id, notice_content(notice))
        with ledger.write() as connection:
            if trouble is None:
                alerts.record_notice_sent(connection, notice.id, clock())
                continue
            _postpone_notice(connection, notice, trouble, clock())
        return count
    return _MAX_NOTICES_PER_RUN


def notice_content(notice: Notice) -> dict[str, object]:
    """Return the body of a notice; ``text`` is for chat services, ``page`` the path of the page about it."""
    what_to_do = rules.advice(notice.rule) if notice.change != Change.RESOLVED else ""
    words = {Change.ESCALATED: "Now critical", Change.RESOLVED: "Resolved"}
    headline = f"{words.get(Change(notice.change), notice.severity.capitalize())}: {notice.summary}"
    return {
        "id": notice.id,
        "change": notice.change,
        "rule": notice.rule,
        "subject": notice.subject,
        "severity": notice.severity,
        "headline": headline,
        "summary": notice.summary,
        "what_to_do": what_to_do,
        "at": notice.at,
        "page": rules.page_path(notice.rule, notice.subject),
        "text": f"{headline} {what_to_do}".strip(),
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
    again_at = None if now - notice.at > _GIVE_UP_SECONDS else now + _retry_delay_seconds(attempts)
    alerts.record_notice_failure(connection, notice, now, again_at=again_at)
    word = "given_up" if again_at is None else "put_off"
    log.error("alert_webhook", notice=notice.id, state=word, attempts=attempts, error=trouble)


def update_alerts(
    ledger: Ledger, names: Sequence[str], problems: Iterable[RuleProblem], now: float, *, to_webhook: bool
) -> list[Change]:
    """Update the alerts of some rules in one transaction."""
    by_key = {(problem.rule, problem.subject): problem for problem in problems}
    changes: list[tuple[Alert, Change]] = []
    with ledger.write() as connection:
        if not alerts.try_lock_alerts(connection):
            # Another process checks at this moment.
            return []
        measures.record_heartbeat(connection, measures.WATCH, now)
        stored = alerts.alerts_of_rules(connection, names)
        for key in sorted(stored.keys() | by_key.keys()):
            changes += _update_alert(connection, stored.get(key), by_key.get(key), now)
        for alert, change in changes:
            alerts.insert_notice(connection, alert, change, now, to_webhook=to_webhook)
    for alert, change in changes:
        log_change(alert, change)
    return [change for _, change in changes]


def _update_alert(
    connection: Connection, alert: Alert | None, problem: RuleProblem | None, now: float
) -> Iterator[tuple[Alert, Change]]:
    rule = alert.rule if alert else problem.rule if problem else ""
    then = next_step(alert, problem, now, rules.alert_delay_seconds(rule))
    if then.alert is not None:
        alerts.save_alert(connection, then.alert)
    elif alert is not None:
        alerts.delete_alert(connection, alert.rule, alert.subject)
    of = then.alert or alert
    if then.change is not None and of is not None:
        yield of, then.change


# A problem is over after this long. A shorter time would report a flapping problem repeatedly.
_RESOLVE_AFTER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class _Step:
    """Hold the next state of an alert (None when it is over), and the change to report."""

    alert: Alert | None
    change: Change | None = None


def next_step(alert: Alert | None, problem: RuleProblem | None, now: float, wait_seconds: float) -> _Step:
    """Return the next state of an alert."""
    if problem is None:
        return _without_problem(alert, now) if alert else _Step(None)
    if alert is None:
        new = Alert(problem.rule, problem.subject, problem.severity, problem.summary, since=now, seen_at=now)
        return _wait(new, now, wait_seconds)
    worse = problem.severity is Severity.CRITICAL and alert.severity is Severity.WARNING
    # The severity never falls, so that a change back and forth is reported once.
    severity = problem.severity if worse else alert.severity
    # A clock that stepped back must not delay the alert.
    since = min(alert.since, now)
    updated = replace(alert, severity=severity, summary=problem.summary, since=since, seen_at=now)
    if alert.fired_at is None:
        return _wait(updated, now, wait_seconds)
    return _Step(updated, Change.ESCALATED if worse else None)


def _wait(alert: Alert, now: float, wait_seconds: float) -> _Step:
    if now - alert.since < wait_seconds:
        return _Step(alert)
    return _Step(replace(alert, fired_at=now), Change.FIRED)


def _without_problem(alert: Alert, now: float) -> _Step:
    if alert.fired_at is None:
        return _Step(None)
    if 0 <= now - alert.seen_at < _RESOLVE_AFTER_SECONDS:
        return _Step(alert)
    return _Step(None, Change.RESOLVED)


def _retry_delay_seconds(attempts: int) -> float:
    """Return how long to wait after this number of failed attempts."""
    return min(_MAX_RETRY_SECONDS, _FIRST_RETRY_SECONDS * 2.0 ** min(attempts - 1, 16))
