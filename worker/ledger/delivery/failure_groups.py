"""Group failed deliveries by reason, with what people decided about each group."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select

from worker.ledger.delivery.failures import FailureFilter, failure_conditions
from worker.ledger.rows import upsert
from worker.ledger.schema import State, ad_account, delivery, failure_group

TREND_DAYS = 14
_DAY_SECONDS = 86_400


class GroupState(StrEnum):
    """Say what people decided about a group. A failure after it was resolved opens it again."""

    OPEN = "open"
    IGNORED = "ignored"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class ReasonGroup:
    """Count the failed deliveries of one ad account, event name and reason class. Times are in Unix seconds.

    ``reason`` is one of the group's reasons. ``trend`` counts those of each of the last `TREND_DAYS` days in UTC,
    today's last.
    """

    ad_account: int
    ad_account_id: str
    event_name: str
    reason_class: str
    reason: str
    n: int
    first_at: float
    last_at: float
    trend: tuple[int, ...]
    state: GroupState = GroupState.OPEN
    decided_at: float | None = None
    decided_by: str = ""


def failed_by_reason(connection: Connection, criteria: FailureFilter, now: float) -> list[ReasonGroup]:
    """Return the groups of the selected failed deliveries: open ones first, then the largest."""
    key = (delivery.c.ad_account, delivery.c.event_name, delivery.c.reason_class)
    # The day that the time lies in, by a name that no column has. SQLite may lack floor(), and the databases round a
    # half differently.
    day = func.round(delivery.c.ended_at / _DAY_SECONDS - 0.499999).label("ended_on")
    query = (
        select(
            *key,
            day,
            func.max(delivery.c.reason).label("reason"),
            func.count().label("n"),
            func.min(delivery.c.ended_at).label("first_at"),
            func.max(delivery.c.ended_at).label("last_at"),
        )
        .where(*failure_conditions(criteria))
        .group_by(*key, "ended_on")
    )
    by_key: dict[tuple[Any, ...], list[Any]] = {}
    for row in connection.execute(query):
        by_key.setdefault(tuple(row[:3]), []).append(row)
    decisions = {tuple(row[:3]): row for row in connection.execute(select(failure_group))}
    names = {row.id: row.ad_account_id for row in connection.execute(select(ad_account))}
    today = int(now // _DAY_SECONDS)
    groups = [_group(names[key[0]], days, decisions.get(key), today) for key, days in by_key.items()]
    return sorted(groups, key=lambda group: (group.state is not GroupState.OPEN, -group.n))


def _state_of(state: str | None, decided_at: float, last_at: float) -> GroupState:
    """Return the state of a group that last failed at a time; None is a group without a decision."""
    if state is None or (state == GroupState.RESOLVED and last_at > decided_at):
        return GroupState.OPEN
    return GroupState(state)


def needs_attention(failed: Any) -> ColumnElement[bool]:
    """Select failed deliveries that are neither ignored nor older than the resolution of their group.

    ``failed`` has the columns of deliveries.
    """
    is_settled = exists().where(
        failure_group.c.ad_account == failed.ad_account,
        failure_group.c.event_name == failed.event_name,
        failure_group.c.reason_class == failed.reason_class,
        or_(failure_group.c.state == GroupState.IGNORED.value, failure_group.c.decided_at >= failed.ended_at),
    )
    return ~is_settled


def decide_group(
    connection: Connection, group: ReasonGroup, state: GroupState, actor: str, now: float
) -> None:
    """Store what a person decided about a group."""
    key = {name: getattr(group, name) for name in ("ad_account", "event_name", "reason_class")}
    if state is GroupState.OPEN:
        is_group = and_(*(failure_group.c[name] == value for name, value in key.items()))
        connection.execute(delete(failure_group).where(is_group))
        return
    values = {"state": state.value, "decided_at": now, "decided_by": actor}
    statement = upsert(connection, failure_group).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def _group(ad_account_id: str, days: Iterable[Any], decision: Any, today: int) -> ReasonGroup:
    days = sorted(days, key=lambda row: row.ended_on)
    first, last = days[0], days[-1]
    by_day = {int(row.ended_on): row.n for row in days}
    last_at = max(row.last_at for row in days)
    state = _state_of(decision and decision.state, decision.decided_at if decision else 0.0, last_at)
    is_decided = decision is not None and state is not GroupState.OPEN
    return ReasonGroup(
        ad_account=first.ad_account,
        ad_account_id=ad_account_id,
        event_name=first.event_name,
        reason_class=first.reason_class,
        reason=last.reason,
        n=sum(by_day.values()),
        first_at=min(row.first_at for row in days),
        last_at=last_at,
        trend=tuple(by_day.get(day, 0) for day in range(today - TREND_DAYS + 1, today + 1)),
        state=state,
        decided_at=decision.decided_at if is_decided else None,
        decided_by=decision.decided_by if is_decided else "",
    )


def first_failures(connection: Connection, reason_classes: Iterable[str], since: float) -> dict[str, float]:
    """Return when each ad account first failed with one of these reason classes, after ``since``."""
    query = (
        select(ad_account.c.ad_account_id, func.min(delivery.c.ended_at))
        .join(delivery, delivery.c.ad_account == ad_account.c.id)
        .where(
            delivery.c.state == State.FAILED.value,
            delivery.c.reason_class.in_(list(reason_classes)),
            delivery.c.ended_at >= since,
        )
        .group_by(ad_account.c.ad_account_id)
    )
    return {row[0]: row[1] for row in connection.execute(query)}
