"""Store alerts and the notices about them."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, func, insert, select, text, update

from worker.ledger.rows import upsert
from worker.ledger.schema import alert, alert_notice
from worker.ledger.upkeep import watermarks

# Any number that nothing else in the database locks.
_LOCK_NUMBER = 715_518

# A notice that is sent at once is not late. Older ones are tried no more.
_LATE_SECONDS, _TRIED_SECONDS = 120.0, 86_400.0
_STILL_TRIED_SECONDS = 600.0


class Severity(StrEnum):
    """Say how urgent an alert is. A warning can wait until the morning."""

    WARNING = "warning"
    CRITICAL = "critical"


class Change(StrEnum):
    """Name a change that a notice reports."""

    FIRED = "fired"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """Hold a problem. It was reported at ``fired_at``; None means not yet."""

    rule: str
    subject: str
    severity: Severity
    summary: str
    since: float
    seen_at: float
    fired_at: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Hold a reported change. ``told_at`` is when the webhook accepted it, if there is a webhook."""

    id: int
    at: float
    change: str
    rule: str
    subject: str
    severity: str
    summary: str
    attempts: int
    told_at: float | None
    given_up_at: float | None


def try_lock_alerts(connection: Connection) -> bool:
    """Lock the alerts until the transaction ends. Returns False if another process has the lock."""
    if connection.dialect.name == "sqlite":
        # An immediate transaction has the lock already.
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK_NUMBER))))


def alerts_of_rules(connection: Connection, rules: Iterable[str]) -> dict[tuple[str, str], Alert]:
    """Return the alerts of some rules by rule and subject."""
    rows = connection.execute(select(alert).where(alert.c.rule.in_(list(rules)))).all()
    return {(row.rule, row.subject): _alert(row) for row in rows}


def firing_alerts(connection: Connection) -> list[Alert]:
    """Return reported alerts that have not ended, critical ones first."""
    rows = connection.execute(select(alert).where(alert.c.fired_at.is_not(None))).all()
    return sorted(
        map(_alert, rows), key=lambda alert: (alert.severity is not Severity.CRITICAL, alert.fired_at)
    )


def save_alert(connection: Connection, state: Alert) -> None:
    """Insert or update an alert."""
    key = {"rule": state.rule, "subject": state.subject}
    values = {
        "severity": state.severity.value,
        "summary": state.summary,
        "since": state.since,
        "seen_at": state.seen_at,
        "fired_at": state.fired_at,
    }
    statement = upsert(connection, alert).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def delete_alert(connection: Connection, rule: str, subject: str) -> None:
    """Delete an alert that has ended."""
    connection.execute(delete(alert).where(alert.c.rule == rule, alert.c.subject == subject))


def insert_notice(
    connection: Connection, alert: Alert, change: Change, now: float, *, to_webhook: bool
) -> None:
    """Insert a notice. It is due at once if there is a webhook."""
    values = {
        "at": now,
        "change": change.value,
        "rule": alert.rule,
        "subject": alert.subject,
        "severity": alert.severity.value,
        "summary": alert.summary,
        "attempts": 0,
        "not_before": now if to_webhook else None,
    }
    connection.execute(insert(alert_notice).values(values))


def take_due_notice(connection: Connection, now: float, lease_seconds: float) -> Notice | None:
    """Lease and return the oldest unsent notice if it is due.

    Notices are sent in order, so that no "fired" follows its "resolved".
    """
    oldest = (
        select(alert_notice)
        .where(text("alert_notice.not_before IS NOT NULL"))
        .order_by(alert_notice.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(oldest).one_or_none()
    # A clock that stepped back must not delay it for long.
    if row is None or now < row.not_before <= now + 3_600:
        return None
    leased = update(alert_notice).where(alert_notice.c.id == row.id)
    connection.execute(leased.values(not_before=now + lease_seconds))
    return _notice(row)


def next_notice(connection: Connection, after_id: int, since: float) -> Notice | None:
    """Return the first notice with a higher id that is not older than a time."""
    newer = select(alert_notice).where(alert_notice.c.id > after_id, alert_notice.c.at >= since)
    row = connection.execute(newer.order_by(alert_notice.c.id).limit(1)).one_or_none()
    return _notice(row) if row else None


def record_notice_sent(connection: Connection, notice_id: int, now: float) -> None:
    """Record that the webhook accepted a notice."""
    values = {"told_at": now, "not_before": None}
    connection.execute(update(alert_notice).where(alert_notice.c.id == notice_id).values(values))


def record_notice_failure(
    connection: Connection, notice: Notice, now: float, *, again_at: float | None
) -> None:
    """Record a failed attempt. Without ``again_at`` the notice is given up."""
    values = {"attempts": notice.attempts + 1, "not_before": again_at}
    if again_at is None:
        values["given_up_at"] = now
    connection.execute(update(alert_notice).where(alert_notice.c.id == notice.id).values(values))


def recent_notices(connection: Connection, limit: int) -> list[Notice]:
    """Return the newest notices, the newest first."""
    rows = connection.execute(select(alert_notice).order_by(alert_notice.c.id.desc()).limit(limit))
    return [_notice(row) for row in rows]


def unsent_since(connection: Connection, now: float) -> dict[str, float]:
    """Return the ways of sending that keep failing, each with the time of its oldest unsent notice."""
    oldest_times: dict[str, float] = {}
    for name in ("mail", "chat"):
        position, leased_until = watermarks.read_watermark(connection, f"alerts_to_{name}")
        # A success ends the lease, and a channel that is no longer set leases nothing.
        if now - leased_until < _STILL_TRIED_SECONDS:
            oldest = next_notice(connection, position, now - _TRIED_SECONDS)
            if oldest is not None and now - oldest.at > _LATE_SECONDS:
                oldest_times[name] = oldest.at
    # The oldest notice is tried first, and has a next try until it is sent or given up.
    is_tried = (alert_notice.c.attempts > 0) & (alert_notice.c.not_before > now - _STILL_TRIED_SECONDS)
    of_webhook = connection.scalar(select(func.min(alert_notice.c.at)).where(is_tried))
    if of_webhook is not None and _LATE_SECONDS < now - of_webhook < _TRIED_SECONDS:
        oldest_times["webhook"] = of_webhook
    return oldest_times


def _alert(row: object) -> Alert:
    values = dict(row._mapping)  # type: ignore[attr-defined]  # SQLAlchemy's rows have it.
    return Alert(**values | {"severity": Severity(values["severity"])})


def _notice(row: object) -> Notice:
    values = dict(row._mapping)  # type: ignore[attr-defined]
    values.pop("not_before")
    return Notice(**values)
