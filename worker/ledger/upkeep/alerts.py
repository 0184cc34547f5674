"""Keep what is wrong, and what there is to tell of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, delete, func, insert, select, text, update

from worker.ledger.rows import upsert
from worker.ledger.schema import alert, alert_notice

# Any number that nothing else in the database locks.
_LOCK_NUMBER = 715_518


class Severity(StrEnum):
    """Say whether it can wait for the morning."""

    WARNING = "warning"
    CRITICAL = "critical"


class Change(StrEnum):
    """Say what there is to tell."""

    FIRED = "fired"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """Hold a thing that is wrong; it has been told since ``fired_at``, and not yet without."""

    rule: str
    subject: str
    severity: Severity
    summary: str
    since: float
    seen_at: float
    fired_at: float | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Hold something that was told; ``told_at`` is when the webhook took it, where one is set."""

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
    """Tell whether no other process is at the alerts until this transaction ends."""
    if connection.dialect.name == "sqlite":
        # An immediate transaction is alone already.
        return True
    return bool(connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK_NUMBER))))


def alerts_of_rules(connection: Connection, rules: Iterable[str]) -> dict[tuple[str, str], Alert]:
    """Return the alerts of some rules, by rule and subject."""
    rows = connection.execute(select(alert).where(alert.c.rule.in_(list(rules)))).all()
    return {(row.rule, row.subject): _alert(row) for row in rows}


def firing_alerts(connection: Connection) -> list[Alert]:
    """Return what has been told and is not over, the gravest first."""
    rows = connection.execute(select(alert).where(alert.c.fired_at.is_not(None))).all()
    return sorted(map(_alert, rows), key=lambda one: (one.severity is not Severity.CRITICAL, one.fired_at))


def save_alert(connection: Connection, one: Alert) -> None:
    """Write an alert down as it is now."""
    key = {"rule": one.rule, "subject": one.subject}
    values = {
        "severity": one.severity.value,
        "summary": one.summary,
        "since": one.since,
        "seen_at": one.seen_at,
        "fired_at": one.fired_at,
    }
    statement = upsert(connection, alert).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def delete_alert(connection: Connection, rule: str, subject: str) -> None:
    """Forget an alert that is over."""
    connection.execute(delete(alert).where(alert.c.rule == rule, alert.c.subject == subject))


def insert_notice(
    connection: Connection, one: Alert, change: Change, now: float, *, to_webhook: bool
) -> None:
    """Note what there is to tell; it is due at once where there is a webhook."""
    values = {
        "at": now,
        "change": change.value,
        "rule": one.rule,
        "subject": one.subject,
        "severity": one.severity.value,
        "summary": one.summary,
        "attempts": 0,
        "not_before": now if to_webhook else None,
    }
    connection.execute(insert(alert_notice).values(values))


def take_due_notice(connection: Connection, now: float, lease_seconds: float) -> Notice | None:
    """Return the oldest notice that was not told, if it is due, and keep others from taking it meanwhile.

    They are told in their order, so that none says "fired" after its "resolved".
    """
    oldest = (
        select(alert_notice)
        .where(text("alert_notice.not_before IS NOT NULL"))
        .order_by(alert_notice.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(oldest).one_or_none()
    # A clock that stepped back must not put it off for long.
    if row is None or now < row.not_before <= now + 3_600:
        return None
    leased = update(alert_notice).where(alert_notice.c.id == row.id)
    connection.execute(leased.values(not_before=now + lease_seconds))
    return _notice(row)


def record_notice_sent(connection: Connection, notice_id: int, now: float) -> None:
    """Note that the webhook took a notice."""
    values = {"told_at": now, "not_before": None}
    connection.execute(update(alert_notice).where(alert_notice.c.id == notice_id).values(values))


def record_notice_failure(
    connection: Connection, notice: Notice, now: float, *, again_at: float | None
) -> None:
    """Note a try that failed; without a next one the notice is given up."""
    values = {"attempts": notice.attempts + 1, "not_before": again_at}
    if again_at is None:
        values["given_up_at"] = now
    connection.execute(update(alert_notice).where(alert_notice.c.id == notice.id).values(values))


def recent_notices(connection: Connection, most: int) -> list[Notice]:
    """Return the latest notices, the latest first."""
    rows = connection.execute(select(alert_notice).order_by(alert_notice.c.id.desc()).limit(most))
    return [_notice(row) for row in rows]


def purge_notices(connection: Connection, before: float) -> int:
    """Remove old notices; return how many."""
    return connection.execute(delete(alert_notice).where(alert_notice.c.at < before)).rowcount


def _alert(row: object) -> Alert:
    values = dict(row._mapping)  # type: ignore[attr-defined]  # SQLAlchemy's rows have it.
    return Alert(**values | {"severity": Severity(values["severity"])})


def _notice(row: object) -> Notice:
    values = dict(row._mapping)  # type: ignore[attr-defined]
    values.pop("not_before")
    return Notice(**values)
