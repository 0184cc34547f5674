"""Find the oldest waiting events of each source, signed and public ones apart, by an index of their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, literal_column, select, union_all

from worker.event.received import Trust
from worker.ledger.schema import inbox, source


@dataclass(frozen=True, slots=True)
class InboxGroup:
    """Name the events of one source and trust. Groups take turns."""

    source_id: str
    trust: int


@dataclass(frozen=True, slots=True)
class WaitingGroup:
    """Hold a group with waiting events and when the oldest one was received."""

    group: InboxGroup
    received_at: float


def waiting_groups(connection: Connection, received_before: float) -> list[WaitingGroup]:
    """Return the groups with an event received before a time, the group with the oldest event first.

    Costs one index lookup per source and trust, however long the backlog is.
    """
    oldest = [_oldest_of(trust).label(trust.name) for trust in Trust]
    found = [
        WaitingGroup(InboxGroup(row.id, trust), received_at)
        for row in connection.execute(select(source.c.id, *oldest))
        for trust in Trust
        if (received_at := getattr(row, trust.name)) is not None and received_at < received_before
    ]
    return sorted(found, key=lambda head: head.received_at)


def _oldest_of(trust: Trust) -> Any:
    return (
        select(inbox.c.received_at)
        .where(_belongs_to(source.c.id, trust))
        .order_by(inbox.c.received_at)
        .limit(1)
        .scalar_subquery()
    )


def oldest_ids(
    connection: Connection, groups: Sequence[InboxGroup], received_before: float, most: int
) -> list[list[int]]:
    """Return the ids of each group's oldest events received before a time, at most ``most`` per group."""
    if not groups:
        return []
    parts = [_ids_of(number, group, received_before, most) for number, group in enumerate(groups)]
    found: list[list[int]] = [[] for _ in groups]
    for number, event_id in connection.execute(union_all(*parts)):
        found[number].append(event_id)
    return found


def _ids_of(number: int, group: InboxGroup, received_before: float, most: int) -> Any:
    wanted = (
        select(inbox.c.id)
        .where(_belongs_to(group.source_id, group.trust), inbox.c.received_at < received_before)
        .order_by(inbox.c.received_at)
        .limit(most)
        .subquery(f"group{number}")
    )
    return select(literal_column(str(number)), wanted.c.id)


def _belongs_to(source_id: Any, trust: int) -> Any:
    return (inbox.c.source_id == source_id) & (inbox.c.trust == trust) & inbox.c.parked_reason.is_(None)
